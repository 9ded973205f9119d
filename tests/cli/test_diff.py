"""`sqltrack diff` shows the differences between runs."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from typing import Any

import pytest

import sqltrack
from sqltrack.cli import main
from sqltrack.commands.diff import compare_runs
from support.connections import on_one_connection

from .conftest import main_in_terminal


@pytest.fixture
def client(client: sqltrack.Client) -> sqltrack.Client:
    """Runs 1 and 2, which differ in some values, and 3, which equals 1."""
    with on_one_connection(client):
        experiment = sqltrack.Experiment(client, name="experiment")
        for run_id in (1, 2, 3):
            is_other = run_id == 2
            run = experiment.get_run(run_id).set_status("FAILED" if is_other else "COMPLETED")
            args: dict[str, Any] = {"lr": 0.2 if is_other else 0.1, "model": "tiny", "layers": {"a": 1, "b": [1]}}
            args.update({"one": 1 if is_other else True, "empty": None} if is_other else {"one": True})
            run.set_args(args).set_env({"USER": "bob" if is_other else "alice", "HOME": "/home"})
            run.add_metrics({"loss": 3.0, "bad": math.nan, "same": 1}, step=0)
            run.add_metrics({"loss": 1.0 if is_other else 2.0, "bad": math.nan}, step=1)
            if is_other:
                run.set_tags("paper").add_metrics({"only": 5}, step=1)
        client.execute("UPDATE runs SET time_created = '2026-03-01 12:00:00.000000+00:00', time_updated = NULL")
    return client


def differing(rows: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(row["section"], row["name"]) for row in rows if row["differs"]]


def test_exactly_the_differences_are_marked(client: sqltrack.Client) -> None:
    rows = compare_runs(client, [1, 2])
    assert differing(rows) == [
        ("run", "status"),
        ("tags", "paper"),
        *[("args", name) for name in ("lr", "one", "empty")],
        *[("metrics", name) for name in ("loss (last)", "loss (min)")],
        *[("metrics", f"only ({kind})") for kind in ("last", "min", "max")],
        ("env", "USER"),
    ]
    values = {row["name"]: row["values"] for row in rows}
    assert values["lr"] == {1: 0.1, 2: 0.2}
    assert values["empty"] == {2: None}
    assert values["layers"] == {run_id: {"a": 1, "b": [1]} for run_id in (1, 2)}


def test_nan_is_the_same_as_nan(client: sqltrack.Client) -> None:
    rows = {row["name"]: row for row in compare_runs(client, [1, 2])}
    assert not rows["bad (last)"]["differs"]
    assert "bad (min)" not in rows


def test_runs_that_are_the_same_do_not_differ(
    client: sqltrack.Client, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert differing(compare_runs(client, [1, 3])) == []
    assert main(["diff", "1", "3", *options]) == 0
    assert capsys.readouterr() == ("", "the runs do not differ\n")


def test_the_screen_has_a_column_for_each_run(
    client: sqltrack.Client, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["diff", "1", "2", "3", *options]) == 0
    head, _, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["1", "2", "3"]
    cells = [line.split() for line in lines]
    assert cells[0] == ["run", "status", "✔", "COMPLETED", "✖", "FAILED", "✔", "COMPLETED"]
    assert ["args", "lr", "0.1", "0.2", "0.1"] in cells
    assert ["empty", "--", "null", "--"] in cells
    assert ["env", "USER", "alice", "bob", "alice"] in cells
    assert not any("model" in line for line in lines)


def test_all_also_shows_equal_values_and_marks_them(
    client: sqltrack.Client, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    main(["diff", "1", "2", "--all", *options])
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    for equal in ("= model tiny tiny", "= HOME /home /home", "= same (last) 1 1"):
        assert any(line.endswith(equal) for line in lines), equal
    (different,) = (line for line in lines if line.endswith("lr 0.1 0.2"))
    assert "=" not in different


def test_json_holds_the_same(client: sqltrack.Client, options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main(["diff", "1", "2", "--json", *options])
    rows = json.loads(capsys.readouterr().out)
    assert {"section": "args", "name": "lr", "differs": True, "values": {"1": 0.1, "2": 0.2}} in rows
    assert all(row["differs"] for row in rows)
    main(["diff", "1", "2", "--json", "--all", *options])
    assert not all(row["differs"] for row in json.loads(capsys.readouterr().out))


@pytest.mark.parametrize("run_ids", [["1"], ["1", "1"]])
def test_one_run_is_not_enough(
    client: sqltrack.Client, options: list[str], run_ids: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["diff", *run_ids, *options])
    assert caught.value.code == 2
    assert "two or more" in capsys.readouterr().err


def test_an_unknown_run_is_answered_with_the_nearest(
    client: sqltrack.Client, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["diff", "1", "4711", *options]) == 1
    assert capsys.readouterr() == ("", "sqltrack: there is no run 4711; the nearest is 3\n")


@pytest.fixture
def long_values(client: sqltrack.Client) -> sqltrack.Client:
    """Runs 4 to 6 with long values; the last run lacks some of them, or has short ones."""
    experiment = sqltrack.Experiment(client, name="long")
    for run_id in (4, 5, 6):
        run = experiment.get_run(run_id).set_status(f"{'S' * 70}{run_id}")
        run.set_args({"file": f"/data/{'folder/' * 9}{run_id}.ckpt" if run_id < 6 else "x", "text": "t" * 500})
        run.set_extras({"weights": [run_id + (number + 1) / 7 for number in range(65)]})
        if run_id < 6:
            run.set_env({"PATH": f"{'/usr/bin:' * 60}/opt/{run_id}"})
    return client


@pytest.mark.parametrize("arguments", [[], ["--all"]])
def test_a_table_of_long_values_stays_narrow_and_shows_where_they_differ(
    long_values: sqltrack.Client, options: list[str], arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["diff", "4", "5", "6", *arguments, *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) < 3 * 60 + 40
    for row in (
        r"file +…/folder/4\.ckpt +…/folder/5\.ckpt +x$",
        r"PATH +…in:/opt/4 +…in:/opt/5 +--$",
        r"weights +\[4\.1.+… +\[5\.1.+… +\[6\.1.+…$",
    ):
        assert any(re.search(row, line) for line in lines), row


@pytest.mark.parametrize("width", [80, 200])
def test_in_a_terminal_the_difference_of_long_values_can_be_seen(
    long_values: sqltrack.Client, options: list[str], width: int
) -> None:
    lines = main_in_terminal("diff", "4", "5", *options, COLUMNS=str(width))
    assert max(map(len, lines)) <= width
    for run_id in (4, 5):
        assert any(f"folder/{run_id}.ckpt" in line for line in lines)
        assert any(f":/opt/{run_id}" in line for line in lines)


def test_all_other_formats_hold_values_whole(
    long_values: sqltrack.Client, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    weights = [4 + (number + 1) / 7 for number in range(65)]
    for format_ in ("markdown", "latex", "csv", "json"):
        assert main(["diff", "4", "5", "--format", format_, *options]) == 0
        output = capsys.readouterr().out
        assert str(weights)[2:-1] in output or format_ == "json"
        assert f"{'/usr/bin:' * 60}/opt/4" in output
        if format_ == "csv":
            head, *rows = csv.reader(io.StringIO(output))
            assert head == ["section", "name", "4", "5"]
            assert json.loads(next(row for row in rows if row[1] == "weights")[2]) == weights


def test_csv_marks_differences_if_all_is_shown(
    client: sqltrack.Client, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    main(["diff", "1", "2", "--all", "--format", "csv", *options])
    rows = {row["name"]: row for row in csv.DictReader(io.StringIO(capsys.readouterr().out))}
    assert (rows["lr"]["differs"], rows["lr"]["1"], rows["lr"]["2"]) == ("true", "0.1", "0.2")
    assert (rows["model"]["differs"], rows["model"]["1"]) == ("false", "tiny")
    assert rows["HOME"]["section"] == "env"
