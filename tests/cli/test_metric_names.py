"""Metrics may have the names of columns of tables and results: in every command, copy, export and data frame."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack import queries
from sqltrack.cli import main
from sqltrack.commands.metrics import read_curves
from sqltrack.commands.runs import list_runs
from sqltrack.commands.show import describe_run
from sqltrack.errors import UnusableValueError
from sqltrack.pandas import query_dataframe
from sqltrack.polars import query_polars

# Columns of the key, the column for other metrics, columns of other tables and of results, and names that differ from
# others only in a prefix or in case.
KEY = ["run_id", "step", "progress"]
NAMES = [*KEY, "extras", "id", "name", "value", "status", "merged_id", "place", "best", "best_step", "metric"]
NAMES += ["metrics.step", "Step", "ctid", "index", "=", "value_0"]


def value(name: str, run_id: int, step: int) -> int:
    return 1000 * run_id + 10 * NAMES.index(name) + step


@pytest.fixture
def runs(client: sqltrack.Client) -> list[int]:
    """Two runs with three steps of each metric; the second resumes the first."""
    experiment = sqltrack.Experiment(client, name="e")
    for run_id, steps in ((1, range(3)), (2, range(3, 6))):
        run = experiment.get_run(run_id)
        for step in steps:
            run.add_metrics({name: value(name, run_id, step) for name in NAMES}, step=step, progress=step / 8)
    run.add_link("resumes", 1)
    return [1, 2]


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    assert main(list(words)) == 0
    return capsys.readouterr().out


HEADS = {name: f"metrics.{name}" for name in KEY} | {"step": "metrics.metrics.step"}


@pytest.mark.parametrize("merged", [False, True])
def test_curves_have_both_the_metric_and_the_column_of_that_name(
    client: sqltrack.Client, runs: list[int], merged: bool
) -> None:
    """The metric gets a prefix, or several if another metric has that name."""
    curves = read_curves(client, 2, merged=merged)
    assert sorted(curves.names) == sorted(HEADS.get(name, name) for name in NAMES)
    points = [(1, step) for step in range(3) if merged] + [(2, step) for step in range(3, 6)]
    assert curves.points == [
        {"run_id": run_id, "step": step, "progress": step / 8}
        | {HEADS.get(name, name): value(name, run_id, step) for name in NAMES}
        for run_id, step in points
    ]


def test_a_single_metric_has_one_prefix(client: sqltrack.Client, runs: list[int]) -> None:
    assert read_curves(client, 1, ["step", "value"]).names == ["metrics.step", "value"]


def test_tables_csv_and_json_keep_the_true_step(
    runs: list[int], options: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = [["0", "1010"], ["1", "1011"], ["2", "1012"]]
    rows = list(csv.reader(io.StringIO(printed(capsys, "metrics", "1", "step", "--csv", *options))))
    assert rows[0] == ["step", "progress", "metrics.step"]
    assert [row[::2] for row in rows[1:]] == expected
    points = json.loads(printed(capsys, "metrics", "1", "step", "progress", "--json", *options))
    assert points[2] == {"step": 2, "progress": 0.25, "metrics.step": 1012, "metrics.progress": 1022}
    head, _, *lines = printed(capsys, "metrics", "1", "step", *options).splitlines()
    assert (head.split(), [line.split()[::2] for line in lines]) == (["step", "progress", "metrics.step"], expected)
    plot = printed(capsys, "metrics", "1", "step", "--plot", *options)
    assert plot.splitlines()[-1] == "* metrics.step"
    assert "1012" in plot


def test_summaries_and_differences_have_the_true_steps(
    client: sqltrack.Client, runs: list[int], options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for summary in describe_run(client, 2)["metrics"]:
        name = summary["metric"]
        assert (summary["min"], summary["min_step"]) == (value(name, 2, 3), 3)
        assert (summary["last"], summary["last_step"]) == (value(name, 2, 5), 5)
    rows = json.loads(printed(capsys, "diff", "1", "2", "--json", *options))
    last = {row["name"]: row["values"] for row in rows if row["section"] == "metrics" and "(last)" in row["name"]}
    assert last == {f"{name} (last)": {"1": value(name, 1, 2), "2": value(name, 2, 5)} for name in NAMES}


def test_the_best_value_is_found_of_any_metric(client: sqltrack.Client, runs: list[int]) -> None:
    """Even if the metric has no column, or some of its values do not fit into the column."""
    with client._session.keeping_connections():
        for name in NAMES:
            for maximize, step in ((True, 2), (False, 0)):
                run = next(run for run in list_runs(client, best=name, maximize=maximize).runs if run["id"] == 1)
                assert (run["best"], run["best_step"], run["step"]) == (value(name, 1, step), step, 2), name


def test_the_best_value_may_be_one_that_does_not_fit_the_column(
    client: sqltrack.Client, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    run = sqltrack.Experiment(client, name="e").get_run(1)
    for step, number in enumerate([5, 2**70, True, "text", 2**70, float("nan")]):
        run.add_metrics({"x": number}, step=step)
    (listed,) = json.loads(printed(capsys, "runs", "--best", "x", "--json", *options))
    assert (listed["best"], listed["best_step"]) == (2**70, 1)
    assert main(["runs", "--best", "y", *options]) == 1
    assert "there is no metric 'y'" in capsys.readouterr().err


def test_a_copy_holds_each_metric_under_its_name(
    client: sqltrack.Client, runs: list[int], target: sqltrack.Client, tmp_path: Path, capsys: Any
) -> None:
    from sqltrack.commands.copy import copy

    copy(client, target)
    for run_id in runs:
        copied, original = read_curves(target, run_id), read_curves(client, run_id)
        assert sorted(copied.names) == sorted(original.names)
        assert copied.points == original.points


def test_an_export_and_data_frames_hold_the_columns_as_they_are(
    client: sqltrack.Client, runs: list[int], options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The metrics that cannot have a column are in `extras`, next to the columns with their names."""
    printed(capsys, "export", "--output", str(tmp_path), "--format", "jsonl", *options)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    pandas = query_dataframe(client, "SELECT * FROM metrics ORDER BY run_id, step")
    polars = query_polars(client, "SELECT * FROM metrics ORDER BY run_id, step")
    for rows in (lines, pandas.to_dict("records")):
        for row in rows:
            run_id, step = row["run_id"], row["step"]
            assert row["progress"] == step / 8
            assert {**row, **row["extras"]} == {name: value(name, run_id, step) for name in NAMES}
    assert polars["step"].to_list() == list(range(6))


def test_frames_of_curves_have_no_two_columns_of_one_name(client: sqltrack.Client, runs: list[int]) -> None:
    for name in ("merged_id", "value", "place", "best_step"):
        query = queries.merged_curves(name)
        head = f"metrics.{name}" if name == "merged_id" else name
        for frame in (query_dataframe(client, *query), query_polars(client, *query)):
            assert list(frame.columns) == ["merged_id", "run_id", "step", "progress", head]
            assert list(frame["merged_id"]) == [1] * 6
            assert list(frame[head]) == [value(name, 1 + (step > 2), step) for step in range(6)]
        assert list(query_dataframe(client, *queries.best_values(name))[name]) == [value(name, 1, 2), value(name, 2, 5)]


@pytest.mark.parametrize("name", KEY)
@pytest.mark.parametrize("query", [queries.best_values, queries.last_values, queries.merged_curves])
def test_a_query_refuses_the_key_as_a_metric(query: Any, name: str) -> None:
    with pytest.raises(UnusableValueError, match=f"{name!r} is not the column of a metric.* in the column 'extras'"):
        query(name)


@pytest.mark.parametrize("name", [*KEY, "extras"])
def test_a_metric_that_hides_behind_a_column_can_be_renamed(
    client: sqltrack.Client, runs: list[int], options: list[str], capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """But no metric can be renamed to such a name."""
    printed(capsys, "rename-metric", name, "renamed", "--yes", *options)
    curves = read_curves(client, 1, ["renamed"])
    assert [(point["step"], point["renamed"]) for point in curves.points] == [
        (step, value(name, 1, step)) for step in range(3)
    ]
    assert name not in [summary["metric"] for summary in describe_run(client, 1)["metrics"]]
    assert main(["rename-metric", "renamed", name, "--yes", *options]) == 1
    assert "the column of that name has another meaning" in capsys.readouterr().err
