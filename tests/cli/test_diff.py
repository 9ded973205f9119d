"""`sqltrack diff` tells in what runs differ."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

import sqltrack
from sqltrack.cli import main
from sqltrack.commands.diff import compare_runs
from support.connections import on_one_connection


@pytest.fixture
def client(client: sqltrack.Client) -> sqltrack.Client:
    """Runs 1 and 2, which differ in some things, and 3, which is as 1."""
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


def test_exactly_what_differs_is_said_to_differ(client: sqltrack.Client) -> None:
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


def test_all_shows_also_what_is_equal_and_marks_it(
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
