"""`sqltrack runs` sorts runs by any column."""

from __future__ import annotations

import csv
import io
import math
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

import sqltrack
from sqltrack.cli import main
from sqltrack.commands.runs import list_runs
from support.connections import on_one_connection
from support.extras import add_extras

NOW = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
ARGS: list[dict[str, Any] | None] = [
    {"lr": 0.3, "opt": "sgd", "mixed": "b", "status": 2, "deep": {"b": 1}},
    {"lr": 1e-05, "opt": "Adam", "mixed": 10, "status": 1, "deep": {"a": 9}},
    {"lr": math.nan, "opt": None, "mixed": 9},
    {"lr": math.inf, "opt": "adam", "mixed": "A", "status": 3},
    None,
    {"lr": 10, "opt": "rmsprop", "mixed": [1]},
]


@pytest.fixture
def client(client: sqltrack.Client) -> sqltrack.Client:
    """Runs 1 to 6; higher ids are newer. Run 5 has no values."""
    with on_one_connection(client):
        for run_id, args in enumerate(ARGS, start=1):
            run = sqltrack.Experiment(client, name="b" if run_id % 2 else "a").get_run(run_id)
            run.set_created(NOW + timedelta(hours=run_id))
            if args is None:
                continue
            run.set_args(args).set_status("FAILED" if run_id < 3 else "COMPLETED")
            run.add_metrics({"loss": math.nan}, step=0)
            if run_id != 3:
                run.add_metrics({"loss": 1.0 / run_id, "acc": run_id % 4}, step=10 - run_id)
            run.set_started(NOW - timedelta(hours=run_id)).set_updated(NOW + timedelta(hours=run_id * (4 - run_id)))
        add_extras(client, 4, {1: {"f1": 0.5}, 2: {"f1": 2, "loss": -1.5}})
        add_extras(client, 1, {1: {"f1": "NaN"}, 2: {"f1": 1}})
        add_extras(client, 6, {1: {"f1": "NaN"}})
    return client


def ids(client: sqltrack.Client, **options: Any) -> list[int]:
    return [run["id"] for run in list_runs(client, **options).runs]


BEST: list[tuple[dict[str, Any], list[int]]] = [
    ({"best": "acc"}, [6, 2, 1, 4, 5, 3]),
    ({"best": "acc", "maximize": False}, [4, 1, 6, 2, 5, 3]),
    ({"best": "acc", "reverse": True}, [4, 1, 6, 2, 5, 3]),
    ({"best": "acc", "maximize": False, "reverse": True}, [6, 2, 1, 4, 5, 3]),
    ({"best": "loss", "maximize": False}, [4, 6, 2, 1, 5, 3]),
    ({"best": "f1"}, [4, 1, 6, 5, 3, 2]),
    ({"best": "f1", "maximize": False}, [4, 1, 6, 5, 3, 2]),
]
# Columns, the runs sorted by them, and the runs without a value, newest first.
SORTED: list[tuple[str, list[int], list[int]]] = [
    ("id", [1, 2, 3, 4, 5, 6], []),
    ("created", [1, 2, 3, 4, 5, 6], []),
    ("started", [6, 4, 3, 2, 1], [5]),
    ("updated", [6, 4, 3, 1, 2], [5]),
    ("runtime", [6, 4, 1, 3, 2], [5]),
    ("duration", [6, 4, 1, 3, 2], [5]),
    ("step", [3, 6, 4, 2, 1], [5]),
    ("status", [6, 4, 3, 2, 1, 5], []),
    ("experiment", [6, 4, 2, 5, 3, 1], []),
    ("comment", [2, 4], [6, 5, 3, 1]),
    ("tags", [3], [6, 5, 4, 2, 1]),
    ("lr", [2, 1, 6, 4], [5, 3]),
    ("opt", [2, 4, 6, 1], [5, 3]),
    ("mixed", [3, 2, 4, 1, 6], [5]),
    ("args.status", [2, 1, 4], [6, 5, 3]),
    ("args.lr", [2, 1, 6, 4], [5, 3]),
    ("deep", [2, 1], [6, 5, 4, 3]),
    ("acc", [4, 1, 6, 2], [5, 3]),
    ("at step", [6, 4, 2, 1], [5, 3]),
]
WITHOUT_TIES = ("started", "lr", "mixed", "at step")


def test_the_best_run_is_on_top_and_runs_without_a_value_are_last(client: sqltrack.Client) -> None:
    """A run with only NaN has no best value. The value may be in a column or in extras."""
    for options, expected in BEST:
        assert ids(client, **options) == expected
    for options, expected in (BEST[0], BEST[4], BEST[6]):
        assert ids(client, limit=2, **options) == expected[:2]
        even = [run_id for run_id in expected if run_id % 2 == 0]
        assert ids(client, experiment="a", **options) == even
        assert ids(client, where="id % 2 = 0", limit=1, **options) == even[:1]


def test_runs_are_sorted_by_any_column_and_missing_values_are_last(client: sqltrack.Client) -> None:
    """Numbers come before texts, and texts before lists and dicts; equal runs are listed newest first."""
    sqltrack.Run(client, run_id=4).set_comment("b")
    sqltrack.Run(client, run_id=2).set_comment("A")
    sqltrack.Run(client, run_id=3).set_tags("paper")
    for column, expected, missing in SORTED:
        found = list_runs(client, sort=column, best="acc").runs
        assert [run["id"] for run in found] == expected + missing, column
        assert {run["id"]: run["best"] for run in found} == {1: 1, 2: 2, 3: None, 4: 0, 5: None, 6: 2}
    for column, expected, missing in SORTED:
        if column not in WITHOUT_TIES:
            continue
        assert ids(client, sort=column, best="acc", reverse=True) == expected[::-1] + missing, column
        chosen = [run_id for run_id in expected + missing if run_id > 2]
        assert ids(client, sort=column, best="acc", where="id > 2", limit=3) == chosen[:3], column


def test_an_argument_that_no_chosen_run_has_is_no_mistake(client: sqltrack.Client) -> None:
    assert ids(client, sort="deep", where="id > 2") == [6, 5, 4, 3]
    assert ids(client, sort="args.deep", where="id > 9") == []


def test_without_a_column_the_order_is_newest_first_and_can_be_reversed(client: sqltrack.Client) -> None:
    assert ids(client) == [6, 5, 4, 3, 2, 1]
    assert ids(client, reverse=True, limit=2) == [1, 2]
    assert ids(client, experiment="a", reverse=True) == [2, 4, 6]


def test_the_column_that_sorts_is_shown_and_comes_first(
    client: sqltrack.Client, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Even if its values are long."""
    for run_id in (1, 2):
        sqltrack.Run(client, run_id=run_id).add_args({"note": f"{run_id}" * 50})
    main(["runs", *options])
    assert " note" not in capsys.readouterr().out
    for name in ("note", "args.note"):
        main(["runs", "--sort", name, "--reverse", *options])
        head, _, *lines = capsys.readouterr().out.splitlines()
        assert head.split()[6] == "note"
        assert [line.split()[0] for line in lines[:2]] == ["2", "1"]


def test_all_formats_have_the_order_and_the_columns(
    client: sqltrack.Client, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for run_id in (1, 2):
        sqltrack.Run(client, run_id=run_id).add_args({"note": f"a|b_{run_id}" * 50})
    main(["runs", "--sort", "opt", "--best", "acc", "--format", "csv", *options])
    head, *rows = csv.reader(io.StringIO(capsys.readouterr().out))
    assert head[:8] == ["id", "experiment", "status", "started", "runtime", "step", "acc", "at step"]
    assert head[8] == "opt"
    assert sorted(head[9:]) == ["args.status", "deep", "lr", "mixed", "note"]
    assert [row[0] for row in rows] == ["2", "4", "6", "1", "5", "3"]
    first = dict(zip(head, rows[0]))
    assert (first["note"], first["lr"], first["runtime"]) == ("a|b_2" * 50, "1e-05", "21600.0")
    main(["runs", "--sort", "opt", "--format", "markdown", *options])
    assert r"a\|b_2" * 50 in capsys.readouterr().out
    main(["runs", "--sort", "opt", "--format", "latex", *options])
    assert r"a\textbar{}b\_2" * 50 in capsys.readouterr().out
