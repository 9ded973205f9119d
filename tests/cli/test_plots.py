"""`sqltrack metrics` compares the curves of several runs, on axes with round numbers."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import sys
from decimal import Decimal

import pytest

import sqltrack
from sqltrack.cli import main
from sqltrack.cli._axis import find_axis
from sqltrack.cli._plot import Curve, print_plot
from sqltrack.commands.metrics import read_curves_of_runs
from sqltrack.commands.run_ranges import RunRange
from sqltrack.errors import NotFoundError
from support.connections import on_one_connection
from support.processes import Program

from .conftest import in_terminal, main_in_terminal

pytestmark = pytest.mark.one_engine

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def client(client: sqltrack.Client) -> sqltrack.Client:
    """Runs 3, 5 and 6 with loss, of which 5 has NaN and infinity; 6 has accuracy, too; 8 has none; 9 has "2024"."""
    with on_one_connection(client):
        experiment = sqltrack.Experiment(client, name="experiment")
        for run_id in (3, 5, 6):
            rows = [{"step": step, "loss": 20.0 - step / run_id} for step in range(40)]
            experiment.get_run(run_id).add_metrics_many(rows)
        experiment.get_run(5).add_metrics({"loss": math.nan}, step=10)
        experiment.get_run(5).add_metrics({"loss": math.inf}, step=11)
        experiment.get_run(6).add_metrics({"accuracy": 0.5}, step=39)
        experiment.get_run(8)
        experiment.get_run(9).add_metrics({"2024": 1.0}, step=1)
    return client


def legend(lines: list[str]) -> list[str]:
    """Return the lines below the labels of the horizontal axis."""
    axis = next(index for index, line in enumerate(lines) if "> (" in line)
    return lines[axis + 2 :]


def test_curves_of_several_runs_are_in_one_plot(client: sqltrack.Client, options: list[str], capsys: Capture) -> None:
    assert main(["metrics", "3", "5-6", "loss", "--plot", *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert legend(lines) == ["* run 3", "+ run 5 (2 values are not finite)", "o run 6"]
    assert lines[0].strip() == "^ (loss)"
    curves = "".join(line.partition(" | ")[2] for line in lines)
    assert all(curves.count(marker) > 5 for marker in "*+o")


def test_with_several_metrics_the_legend_names_run_and_metric(
    client: sqltrack.Client, options: list[str], capsys: Capture
) -> None:
    assert main(["metrics", "3,6", "loss", "accuracy", "--plot", *options]) == 0
    output = capsys.readouterr()
    assert legend(output.out.splitlines()) == ["* run 3 loss", "+ run 6 loss", "o run 6 accuracy"]
    assert output.err == "run 3 has no accuracy\n"


def test_metrics_that_are_not_named_may_be_missing(
    client: sqltrack.Client, options: list[str], capsys: Capture
) -> None:
    assert main(["metrics", "3,6", *options]) == 0
    assert capsys.readouterr().err == "40 earlier steps, --limit 0 shows all\n"


def test_a_run_without_the_metric_is_noted_and_left_out(
    client: sqltrack.Client, options: list[str], capsys: Capture
) -> None:
    assert main(["metrics", "3", "8,9", "loss", "--plot", *options]) == 0
    output = capsys.readouterr()
    assert legend(output.out.splitlines()) == ["* loss"]
    assert output.err == "run 8 has none of these metrics\nrun 9 has none of these metrics\n"
    assert main(["metrics", "3", "8", "lost", *options]) == 1
    assert capsys.readouterr().err == "sqltrack: runs 3, 8 have no metric 'lost'; did you mean 'loss'?\n"


def test_words_like_runs_are_runs_until_a_metric_comes(
    client: sqltrack.Client, options: list[str], capsys: Capture
) -> None:
    """A metric whose name looks like a run must come after another metric, or be given with --metric."""
    assert main(["metrics", "3", "9", "loss", "2024", "--csv", *options]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "run_id,step,progress,loss,2024"
    assert main(["metrics", "9", "--metric", "2024", "--csv", *options]) == 0
    assert capsys.readouterr().out.splitlines() == ["step,progress,2024", "1,0.0,1.0"]
    assert main(["metrics", "9", "2024", *options]) == 1
    assert capsys.readouterr().err == "sqltrack: there is no run 2024; the nearest is 9\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["loss"], "expected the id of a run, or a range such as 5-9, got 'loss'"),
        (["9-3", "loss"], "a range must begin with the smaller id, got '9-3'"),
        (["3", "5,", "loss"], "expected the id of a run, or a range such as 5-9, got '5,'"),
    ],
)
def test_words_that_name_no_runs_are_a_wrong_command_line(
    client: sqltrack.Client, options: list[str], words: list[str], message: str, capsys: Capture
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["metrics", *words, *options])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_words_may_stand_before_and_after_options(client: sqltrack.Client, options: list[str], capsys: Capture) -> None:
    for words in (["3", "--csv", "loss"], ["3", *options, "--csv", "--limit", "0", "loss"], ["--csv", "3", "loss"]):
        assert main([*options, "metrics", *words]) == 0
        assert capsys.readouterr().out.splitlines()[:2] == ["step,progress,loss", "0,0.0,20.0"]
    assert main([*options, "comment", "3", "--yes", "a text"]) == 0
    assert client.execute("SELECT comment FROM runs WHERE id = 3").fetchone() == ("a text",)
    with pytest.raises(SystemExit):
        main([*options, "metrics", "3", "--csv", "loss", "--cvs", "more"])
    assert "there is no option --cvs; did you mean --csv?" in capsys.readouterr().err


def test_metrics_called_like_columns_are_told_from_those(
    client: sqltrack.Client, options: list[str], capsys: Capture
) -> None:
    for run_id in (8, 9):
        run = sqltrack.Run(client, run_id=run_id)
        run.add_metrics({"run_id": run_id / 2, "step": 0.5, "progress": 7.0}, step=3)
    heads = ["run_id", "step", "progress", "metrics.progress", "metrics.run_id", "metrics.step"]
    assert main(["metrics", "8,9", "progress", "run_id", "step", "--csv", *options]) == 0
    rows = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert rows == [heads, ["8", "3", "0.0", "7.0", "4.0", "0.5"], ["9", "3", "0.0", "7.0", "4.5", "0.5"]]
    assert main(["metrics", "8,9", "progress", "run_id", "step", "--json", *options]) == 0
    assert [list(point) for point in json.loads(capsys.readouterr().out)] == [heads] * 2
    assert main(["metrics", "8,9", "run_id", "--plot", *options]) == 0
    assert capsys.readouterr().out.splitlines()[0].strip() == "^ (metrics.run_id)"


def test_tables_of_several_runs_begin_with_the_run(
    client: sqltrack.Client, options: list[str], capsys: Capture
) -> None:
    assert main(["metrics", "6,3", "loss", "--limit", "2", *options]) == 0
    output = capsys.readouterr()
    assert [line.split()[:2] for line in output.out.splitlines()[2:]] == [
        ["6", "38"],
        ["6", "39"],
        ["3", "38"],
        ["3", "39"],
    ]
    assert output.err == "76 earlier steps, --limit 0 shows all\n"
    assert main(["metrics", "6,3", "--csv", *options]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert list(rows[0]) == ["run_id", "step", "progress", "loss", "accuracy"]
    assert ([row["run_id"] for row in rows], rows[-1]["accuracy"]) == (["6"] * 40 + ["3"] * 40, "")
    assert main(["metrics", "5-7", "loss", "--json", *options]) == 0
    points = json.loads(capsys.readouterr().out)
    assert [list(point) for point in points[:1]] == [["run_id", "step", "progress", "loss"]]
    assert points[10]["loss"] == "NaN"


def test_curves_of_runs_come_by_id_with_common_names(client: sqltrack.Client) -> None:
    sqltrack.Run(client, run_id=8).add_metrics({"step": 2.5}, step=1)
    found = read_curves_of_runs(client, [8, RunRange(3, 6)])
    assert list(found) == [8, 3, 5, 6]
    assert [curves.names for curves in found.values()] == [["metrics.step"], ["loss"], ["loss"], ["loss", "accuracy"]]
    with pytest.raises(NotFoundError, match="runs 3, 5 have no metric 'accuracy'"):
        read_curves_of_runs(client, [3, 5], ["accuracy"])


def test_of_a_chain_of_runs_the_first_that_is_named_stands_for_all(client: sqltrack.Client) -> None:
    sqltrack.run_add_link(client, 5, "resumes", 3)
    found = read_curves_of_runs(client, [5, 3, 6], ["loss"], merged=True)
    assert list(found) == [5, 6]
    assert {point["run_id"] for point in found[5].points} <= {3, 5}


def test_steps_and_progress_share_an_axis_only_if_all_runs_have_them(
    client: sqltrack.Client, options: list[str], capsys: Capture
) -> None:
    sqltrack.Run(client, run_id=8).add_metrics_many([{"progress": part / 4, "loss": 1.0} for part in range(4)])
    assert main(["metrics", "3,8", "loss", "--plot", *options]) == 0
    assert "> (step)" in capsys.readouterr().out
    sqltrack.Run(client, run_id=3).add_metrics({"loss": 3.0}, step=40, progress=1.0)
    assert main(["metrics", "3,8", "loss", "--plot", *options]) == 0
    assert "> (progress)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([0.0, 1.0], ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
        ([0.013, 29.7], ["5", "10", "15", "20", "25"]),
        ([-3, -1], ["-3", "-2.5", "-2", "-1.5", "-1"]),
        ([0, 1e12], ["0", "2e11", "4e11", "6e11", "8e11", "1e12"]),
        ([1e9, 1e9 + 1], ["1000000000", *(f"1000000000.{digit}" for digit in (2, 4, 6, 8)), "1000000001"]),
        ([5.0], ["3", "4", "5", "6", "7"]),
        ([-1.7e308, 1.7e308], ["-1e308", "0", "1e308"]),
    ],
)
def test_ticks_are_round_numbers(values: list[float], labels: list[str]) -> None:
    assert [tick.label for tick in find_axis(values).ticks(6)] == labels


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([1.0, 30.0], ["1", "2", "5", "10", "20"]),
        ([1e-5, 1e5], ["0.0001", "0.01", "1", "100", "10000"]),
        ([2.0, 3.0], ["2", "2.2", "2.4", "2.6", "2.8", "3"]),
        ([5e-324, 1e300], ["1e-323", "1e-219", "1e-115", "1e-11", "1e93", "1e197"]),
    ],
)
def test_ticks_of_logarithmic_axes_are_round_numbers(values: list[float], labels: list[str]) -> None:
    ticks = find_axis(values, log=True).ticks(6)
    assert [tick.label for tick in ticks] == labels
    assert [tick.place for tick in ticks] == sorted(tick.place for tick in ticks)


@pytest.mark.parametrize("value", [0.0, -2.0, 5e-324, -5e-324, sys.float_info.max, -sys.float_info.max, 2**63])
@pytest.mark.parametrize("log", [False, True])
def test_a_single_value_is_on_its_axis(value: float, log: bool) -> None:
    if log and value <= 0:
        return
    axis = find_axis([value], log=log)
    assert 0 <= axis.place(value) <= 1
    assert all(-0.001 <= tick.place <= 1.001 for tick in axis.ticks(6))


def test_ticks_of_steps_are_whole_numbers() -> None:
    for values in ([0, 1], [0, 3], [7], [0]):
        labels = [tick.label for tick in find_axis(values, whole=True).ticks(9)]
        assert labels
        assert all(Decimal(label) == int(Decimal(label)) for label in labels)


def test_a_point_is_drawn_in_the_row_of_its_label(capsys: Capture) -> None:
    print_plot([Curve("loss", [0, 1, 2], [0.0, 60.0, 100.0])], x_label="step")
    lines = capsys.readouterr().out.splitlines()
    marked = [line for line in lines if "*" in line and " | " in line]
    assert [line.split()[0] for line in marked] == ["100", "60", "0"]


def test_values_that_no_float_holds_are_counted(capsys: Capture) -> None:
    """Extras may contain integers that are too large, texts and truth values."""
    print_plot([Curve("loss", [0, 1, 2, 3, 4], [1, 10**400, "x", True, 2.0])], x_label="step")
    assert capsys.readouterr().out.splitlines()[-1] == "* loss (3 values are not finite)"


def test_more_curves_than_colours_still_look_different(capsys: Capture) -> None:
    print_plot([Curve(f"run {number}", [0, 1], [number, number]) for number in range(30)], x_label="step")
    signs = [line.split()[0] for line in legend(capsys.readouterr().out.splitlines())]
    assert len(set(signs)) == 30


def test_points_of_long_curves_keep_their_extremes(capsys: Capture) -> None:
    """A single spike among many points is visible."""
    values = [0.0] * 100_000
    values[54_321] = 10.0
    print_plot([Curve("loss", range(100_000), values)], x_label="step")
    top = capsys.readouterr().out.splitlines()[1]
    assert top.startswith("10 |")
    assert top.count("*") == 1


@pytest.mark.parametrize("width", [80, 200])
def test_the_plot_fits_the_terminal_in_colours(client: sqltrack.Client, options: list[str], width: int) -> None:
    lines = main_in_terminal("metrics", "3,5,6", "loss", "--plot", *options, COLUMNS=str(width), LINES="40")
    assert width - 2 <= max(map(len, lines)) <= width
    assert [line[:7] for line in legend(lines)] == ["* run 3", "+ run 5", "o run 6"]
    assert all(sum(sign in line.partition(" | ")[2] for line in lines) > 1 for sign in "*+o")


def test_a_dumb_terminal_gets_no_colours(client: sqltrack.Client, options: list[str]) -> None:
    arguments = ["metrics", "3,5", "loss", "--plot", *options]
    code = f"import sys; from sqltrack.cli import main; sys.exit(main({arguments!r}))"
    assert "\x1b[" in in_terminal(code)
    assert "\x1b" not in in_terminal(code, TERM="dumb")


def test_in_ascii_curves_consist_of_ascii(client: sqltrack.Client, options: list[str], program: Program) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "COLUMNS": "80"}
    done = program("metrics", "3,5,6", "loss", "--plot", *options, env=environment)
    assert (done.returncode, done.stdout.isascii()) == (0, True)
    assert "\\u" not in done.stdout
    assert re.findall(r"^[*+o] run \d", done.stdout, re.MULTILINE) == ["* run 3", "+ run 5", "o run 6"]
