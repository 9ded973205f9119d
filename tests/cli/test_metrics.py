"""`sqltrack metrics` shows metrics as tables and curves."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
from typing import Any

import pytest

import sqltrack
from sqltrack.cli import main
from sqltrack.commands.metrics import read_curves
from support.connections import on_one_connection
from support.processes import Program

LONG_NAME = "loss of " + "x" * 60


@pytest.fixture
def client(client: sqltrack.Client) -> sqltrack.Client:
    """Run 1 with 30 steps, run 2 that resumes it, run 3 without steps, run 4 without metrics."""
    with on_one_connection(client):
        experiment = sqltrack.Experiment(client, name="experiment")
        first, second, third = (experiment.get_run(run_id) for run_id in (1, 2, 3))
        for step in range(30):
            first.add_metrics({"loss": math.nan if step == 7 else 30.0 - step, "a,b%": step}, step=step)
        first.add_metrics({LONG_NAME: 0.5, "note": "NaN"}, step=4)
        for step in range(20, 40):
            second.add_metrics({"loss": 100.0 + step}, step=step)
        second.add_link("resumes", 1)
        for number in range(5):
            third.add_metrics({"loss": float(number)}, progress=number / 4)
        experiment.get_run(4)
    return client


def test_curves_contain_the_logged_values(client: sqltrack.Client) -> None:
    curves = read_curves(client, 1)
    assert set(curves.names) == {"loss", "a,b%", "note", LONG_NAME}
    assert [point["step"] for point in curves.points] == list(range(30))
    assert math.isnan(curves.points[7]["loss"])
    assert {name: curves.points[4][name] for name in curves.names} == {
        "loss": 26.0,
        "a,b%": 4,
        "note": "NaN",
        LONG_NAME: 0.5,
    }
    assert curves.points[5][LONG_NAME] is None


def test_chosen_metrics_come_in_their_order_and_where_they_have_values(client: sqltrack.Client) -> None:
    curves = read_curves(client, 1, [LONG_NAME, "loss"])
    assert (curves.names, len(curves.points)) == ([LONG_NAME, "loss"], 30)
    assert [point["step"] for point in read_curves(client, 1, [LONG_NAME]).points] == [4]


def test_merged_curves_follow_the_links(client: sqltrack.Client) -> None:
    for run_id in (1, 2):
        points = read_curves(client, run_id, merged=True).points
        assert [point["step"] for point in points] == list(range(40))
        assert [point["run_id"] for point in points] == [1] * 20 + [2] * 20
        assert points[4][LONG_NAME] == 0.5
    assert [point["run_id"] for point in read_curves(client, 3, merged=True).points] == [3] * 5


def test_the_table_shows_the_last_steps(
    client: sqltrack.Client, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["metrics", "1", "loss", *options]) == 0
    output = capsys.readouterr()
    head, _, *lines = output.out.splitlines()
    assert head.split() == ["step", "loss"]
    assert [line.split() for line in lines] == [[str(step), str(30 - step)] for step in range(10, 30)]
    assert output.err == "10 earlier steps, --limit 0 shows all\n"
    main(["metrics", "1", "loss", "--limit", "0", *options])
    output = capsys.readouterr()
    assert (len(output.out.splitlines()), output.err) == (32, "")
    assert "NaN" in output.out


def test_csv_and_json_hold_all_steps(
    client: sqltrack.Client, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    main(["metrics", "1", "--csv", *options])
    rows = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert rows[0] == ["step", "progress", *read_curves(client, 1).names]
    at = {name: index for index, name in enumerate(rows[0])}
    assert len(rows) == 31
    assert (rows[8][at["loss"]], rows[8][at["note"]], rows[9][at["loss"]]) == ("NaN", "", "22.0")
    main(["metrics", "1", "loss", "--json", "--limit", "25", *options])
    points = json.loads(capsys.readouterr().out)
    assert (len(points), points[2]) == (25, {"step": 7, "progress": 0.0, "loss": "NaN"})
    main(["metrics", "2", "loss", "--merged", "--csv", *options])
    assert capsys.readouterr().out.splitlines()[:2] == ["run_id,step,progress,loss", "1,0,0.0,30.0"]


def test_a_plot_in_a_pipe_is_plain_and_as_wide_as_asked(
    client: sqltrack.Client, options: list[str], program: Program
) -> None:
    for width in (50, 120):
        done = program("metrics", "1", "loss", "a,b%", "--plot", *options, env={**os.environ, "COLUMNS": str(width)})
        assert (done.returncode, done.stderr) == (0, "")
        assert "\x1b" not in done.stdout
        assert width - 10 < max(map(len, done.stdout.splitlines())) <= width
        assert done.stdout.splitlines()[-2:] == ["* loss (1 value is not finite)", "+ a,b%"]
        assert "> (step)" in done.stdout


def test_nan_leaves_a_gap(client: sqltrack.Client, options: list[str], program: Program) -> None:
    environment = {**os.environ, "COLUMNS": "100"}
    whole = program("metrics", "2", "loss", "--plot", *options, env=environment).stdout
    gap = program("metrics", "1", "loss", "--plot", *options, env=environment).stdout
    assert len(columns_with_curve(whole)) == 1
    assert len(columns_with_curve(gap)) == 2


def columns_with_curve(plot: str) -> list[tuple[int, int]]:
    """Return the ranges of columns that contain a curve."""
    lines = [line.partition(" | ")[2] for line in plot.splitlines() if " | " in line]
    marked = sorted({match.start() for line in lines for match in re.finditer(r"[*⠁-⣿]", line)})
    ranges: list[tuple[int, int]] = []
    for column in marked:
        if ranges and column == ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], column)
        else:
            ranges.append((column, column))
    return ranges


def test_without_steps_a_plot_shows_progress(
    client: sqltrack.Client, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["metrics", "3", "--plot", *options]) == 0
    assert "> (progress)" in capsys.readouterr().out


def test_a_logarithmic_scale_leaves_out_values_that_are_not_positive(
    client: sqltrack.Client, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["metrics", "3", "--plot", "--log", *options]) == 0
    sqltrack.Run(client, run_id=4).add_metrics({"minus": -1.0}, step=1)
    assert main(["metrics", "4", "--plot", *options]) == 0
    capsys.readouterr()
    assert main(["metrics", "4", "--plot", "--log", *options]) == 1
    assert capsys.readouterr().err == "sqltrack: nothing to draw: 'minus' holds no positive numbers\n"


def test_texts_cannot_be_drawn(client: sqltrack.Client, options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["metrics", "1", "note", "--plot", *options]) == 1
    assert capsys.readouterr().err == "sqltrack: nothing to draw: 'note' holds no finite numbers\n"


def test_a_plot_in_a_terminal_has_colours(
    client: sqltrack.Client, options: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    main(["metrics", "1", "loss", "--plot", *options])
    assert "\x1b[" in capsys.readouterr().out
    monkeypatch.setenv("NO_COLOR", "1")
    main(["metrics", "1", "loss", "--plot", *options])
    assert "\x1b[" not in capsys.readouterr().out


def test_a_run_without_metrics_says_so(
    client: sqltrack.Client, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in ([], ["--plot"]):
        assert main(["metrics", "4", *arguments, *options]) == 0
        assert capsys.readouterr() == ("", "run 4 has no metrics yet\n")
    assert main(["metrics", "4", "--json", *options]) == 0
    assert capsys.readouterr().out == "[]\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["1", "lost"], "run 1 has no metric 'lost'; did you mean 'loss'?"),
        (["2", "note"], "run 2 has no metric 'note'; there are 'loss'"),
        (["4", "loss"], "run 4 has no metric 'loss'; there is none yet"),
        (["7"], "there is no run 7; the nearest is 4"),
    ],
)
def test_unknown_names_are_answered_with_near_ones(
    client: sqltrack.Client,
    options: list[str],
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["metrics", *arguments, *options]) == 1
    assert capsys.readouterr() == ("", f"sqltrack: {message}\n")


def test_metrics_for_which_there_is_no_room_are_named(
    client: sqltrack.Client, options: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = sqltrack.Run(client, run_id=4)
    many: dict[str, Any] = {f"metric{number:02}": number / 7 for number in range(40)}
    run.add_metrics(many, step=1)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["metrics", "4", *options]) == 0
    output = capsys.readouterr()
    assert "metric00" in output.out
    assert "no room for " in output.err
    shown = set(re.findall(r"metric\d\d", output.out))
    assert shown | set(re.findall(r"metric\d\d", output.err)) == set(many)
    assert not shown & set(re.findall(r"metric\d\d", output.err))


def test_a_metric_is_found_by_the_head_of_its_column(client: sqltrack.Client) -> None:
    """A metric with the name of another column has a prefix in tables; a metric that really has that name wins."""
    run = sqltrack.Experiment(client, name="experiment").get_run(9)
    run.add_metrics_many([{"step": 1, "Step": 3.0, "loss": 1.0}])
    run.add_metrics({"step": 2.0, "run_id": 4.0}, step=1)
    for names in (["metrics.step"], ["step"], ["metrics.step", "step"], ["metrics.run_id", "step", "loss"]):
        curves = read_curves(client, 9, names)
        assert curves.points[0]["metrics.step"] == 2.0
        assert curves.names == list(dict.fromkeys(n if "." in n or n == "loss" else f"metrics.{n}" for n in names))
    run.add_metrics({"metrics.step": 5.0}, step=1)
    assert read_curves(client, 9, ["metrics.step"]).points[0]["metrics.step"] == 5.0
    heads = read_curves(client, 9).names
    assert "metrics.metrics.step" in heads
    assert read_curves(client, 9, ["metrics.metrics.step"]).points[0]["metrics.step"] == 2.0
    with pytest.raises(sqltrack.errors.NotFoundError, match="no metric 'metrics.loss'"):
        read_curves(client, 9, ["metrics.loss"])


def test_markdown_and_latex_have_the_steps_of_the_table_and_csv_has_all(
    client: sqltrack.Client, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = {}
    for format_ in ("markdown", "latex", "csv"):
        assert main(["metrics", "1", "loss", "--format", format_, *options]) == 0
        output = capsys.readouterr()
        rows[format_] = [line for line in output.out.splitlines() if re.match(r"(\| +)?\d", line)]
        assert output.err == ("" if format_ == "csv" else "10 earlier steps, --limit 0 shows all\n")
    assert {format_: len(found) for format_, found in rows.items()} == {"markdown": 20, "latex": 20, "csv": 30}
    assert rows["markdown"][-1] == "|   29 |    1 |"
    assert rows["latex"][-1] == r"29 & 1 \\"
    main(["metrics", "1", "--csv", *options])
    short = capsys.readouterr().out
    main(["metrics", "1", "--format", "csv", *options])
    assert capsys.readouterr().out == short


def test_a_scale_without_a_plot_says_what_to_add(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["metrics", "1", "loss", "--log"])
    expected = "sqltrack: --log needs --plot; see: sqltrack metrics --help\n"
    assert (ended.value.code, capsys.readouterr()) == (2, ("", expected))
