"""The statements of sqltrack.queries do what their names say, with the same result on both engines."""

from __future__ import annotations

import json
import math
import sqlite3
import statistics
from typing import Any

import pytest

import sqltrack
from sqltrack.queries import (
    Query,
    best_values,
    differing_args,
    first_value,
    last_values,
    merged_curves,
    seed_statistics,
)

NAN = math.nan


def log(run: sqltrack.Run, values: list[Any], name: str = "score", start: int = 0, **more: list[Any]) -> sqltrack.Run:
    for step, value in enumerate(values, start=start):
        run.add_metrics({name: value, **{key: column[step - start] for key, column in more.items()}}, step=step)
    return run


def rows(client: sqltrack.Client, query: Query) -> list[Any]:
    return client.execute(*query).fetchall()


@pytest.fixture
def two_runs(experiment: sqltrack.Experiment) -> tuple[int, int]:
    first = log(experiment.get_run(), [0.5, 0.9, NAN, 0.9, None, 0.1], test=[0.0, 0.1, 0.2, 0.3, 0.4, 0.5])
    second = log(experiment.get_run(), [-math.inf, 0.2, math.inf, NAN], test=[1.0, 1.1, 1.2, 1.3])
    log(experiment.get_run(), [NAN, None], test=[2.0, 2.1])
    experiment.get_run()
    return first.id, second.id


def test_the_best_value_is_the_first_of_the_greatest_and_never_nan(
    client: sqltrack.Client, two_runs: tuple[int, int]
) -> None:
    first, second = two_runs
    assert rows(client, best_values("score")) == [(first, 1, 0.0, 0.9), (second, 2, 0.0, math.inf)]
    assert rows(client, best_values("score", ["test"], run_ids=[first])) == [(first, 1, 0.0, 0.9, 0.1)]


def test_the_best_value_may_be_the_smallest(client: sqltrack.Client, two_runs: tuple[int, int]) -> None:
    first, second = two_runs
    assert rows(client, best_values("score", maximize=False)) == [(first, 5, 0.0, 0.1), (second, 0, 0.0, -math.inf)]


def test_the_last_value_may_be_nan_but_not_null(client: sqltrack.Client, two_runs: tuple[int, int]) -> None:
    first, second = two_runs
    found = rows(client, last_values("score", ["test"]))
    assert found[0] == (first, 5, 0.0, 0.1, 0.5)
    assert found[1][:2] == (second, 3)
    assert [float(value) != float(value) for *_, value, _ in found] == [False, True, True]
    assert rows(client, last_values("score", run_ids=[first])) == [(first, 5, 0.0, 0.1)]


@pytest.mark.parametrize("name", ["place", 'a"b', "100%", "a %s", "a%%b", "select", "Score", "place_"])
def test_any_name_and_integers_are_allowed(client: sqltrack.Client, run: sqltrack.Run, name: str) -> None:
    log(run, [3, 7, 5], name)
    assert rows(client, best_values(name, ["step", name])) == [(run.id, 1, 0.0, 7)]
    assert rows(client, last_values(name, run_ids=[run.id])) == [(run.id, 2, 0.0, 5)]
    assert [row[-1] for row in rows(client, merged_curves(name))] == [3, 7, 5]
    assert rows(client, seed_statistics(client, name, status=None))[0][2:] == (1, 7, None, 7, 7)


@pytest.mark.parametrize("query", [best_values("nope"), last_values("nope"), merged_curves("nope")])
def test_a_metric_that_does_not_exist_is_an_error(client: sqltrack.Client, query: Query) -> None:
    with pytest.raises(sqltrack.SQLTrackError, match="nope"):
        rows(client, query)


@pytest.mark.parametrize("ids", [[], ["1"], [1.5]])
def test_ids_must_be_some_integers(client: sqltrack.Client, ids: list[Any]) -> None:
    for build in (
        lambda: best_values("score", run_ids=ids),
        lambda: merged_curves(run_ids=ids),
        lambda: differing_args(client, ids),
    ):
        with pytest.raises(ValueError, match="run_ids must hold at least one id|run id must be an int"):
            build()


def test_curves_are_merged_over_a_chain_of_links(experiment: sqltrack.Experiment) -> None:
    client = experiment.client
    first = log(experiment.get_run(), [10, 11, 12, 13, 14])
    other = log(experiment.get_run(), [0])
    second = log(experiment.get_run(), [20, 21, 22], start=3).add_link("resumes", first.id)
    third = log(experiment.get_run(), [30], start=4).add_link("resumes", second.id)
    third.add_link("repeats", other.id)
    merged = [(first.id, r.id, s, 0.0, v) for r, s, v in [(first, 0, 10), (first, 1, 11), (first, 2, 12)]]
    merged += [(first.id, second.id, 3, 0.0, 20), (first.id, third.id, 4, 0.0, 30)]
    assert rows(client, merged_curves("score")) == [*merged, (other.id, other.id, 0, 0.0, 0)]
    for run in (first, second, third):
        assert rows(client, merged_curves("score", run_ids=[run.id])) == merged
    assert rows(client, merged_curves()) == rows(client, merged_curves("score"))
    assert {row[0] for row in rows(client, merged_curves(kind="repeats", run_ids=[third.id]))} == {other.id}


def test_curves_over_progress_alone_are_merged_too(experiment: sqltrack.Experiment) -> None:
    first, second = experiment.get_run(), experiment.get_run()
    for run, progresses in ((first, (0.1, 0.2, 0.3)), (second, (0.3, 0.4))):
        for progress in progresses:
            run.add_metrics({"score": run.id}, progress=progress)
    second.add_link("resumes", first.id)
    found = [(row[1], row[3]) for row in rows(experiment.client, merged_curves("score"))]
    assert found == [(first.id, 0.1), (first.id, 0.2), (second.id, 0.3), (second.id, 0.4)]


def test_links_in_a_circle_lose_nothing(experiment: sqltrack.Experiment) -> None:
    first, second = log(experiment.get_run(), [1, 2]), log(experiment.get_run(), [3], start=2)
    first.add_link("resumes", second.id).add_link("resumes", first.id)
    second.add_link("resumes", first.id)
    assert [row[-1] for row in rows(experiment.client, merged_curves("score"))] == [1, 2, 3]


def test_args_in_which_runs_differ_are_listed(experiment: sqltrack.Experiment) -> None:
    client = experiment.client
    same = {"epochs": 90, "amp": True, "none": None, "betas": [0.9, 0.99], "nested": {"a": 1}, "name": "x"}
    args: list[dict[str, Any]] = [
        {**same, "lr": 0.1, "flag": True, "list": [1], "text": "1", "odd %s'\" $.a": 1, "gone": None},
        {**same, "lr": 0.2, "flag": 1, "list": [1, 2], "text": 1, "odd %s'\" $.a": 2},
    ]
    runs = [experiment.get_run().set_args(items).id for items in args]
    experiment.get_run().set_args({"lr": 5})
    found = rows(client, differing_args(client, runs))
    expected = [(name, run, items[name]) for run, items in zip(runs, args) for name in items if name not in same]
    parsed = [(name, run, json.loads(value)) for name, run, value in found]
    assert sorted(parsed, key=str) == sorted(expected, key=str)
    assert rows(client, differing_args(client, [runs[0], runs[0]])) == []
    without = experiment.get_run().id
    assert {name for name, _, _ in rows(client, differing_args(client, [runs[0], without]))} == set(args[0])
    client.execute("UPDATE runs SET args = '[1, 2]' WHERE id = %s", (without,))
    assert {name for name, _, _ in rows(client, differing_args(client, [runs[0], without]))} == set(args[0])


def test_mean_and_deviation_over_seeds(experiment: sqltrack.Experiment) -> None:
    client = experiment.client
    scores: dict[float, list[float]] = {0.1: [0.7, 0.75, 0.9], 0.2: [0.5]}
    for lr, values in scores.items():
        for seed, value in enumerate(values):
            run = log(experiment.get_run(), [0.0, value, NAN, 0.1]).set_args({"lr": lr, "seed": seed, "gpu": seed})
            run.set_status("COMPLETED")
    log(experiment.get_run(), [1.0]).set_args({"lr": 0.1, "seed": 9, "gpu": 9}).set_status("FAILED")
    found = rows(client, seed_statistics(client, "score", seeds=("seed", "gpu")))
    assert [(row[0], json.loads(row[1]), row[2]) for row in found] == [
        (experiment.id, {"lr": 0.1}, 3),
        (experiment.id, {"lr": 0.2}, 1),
    ]
    mean, stddev, smallest, greatest = found[0][3:]
    assert mean == pytest.approx(statistics.mean(scores[0.1]))
    assert stddev == pytest.approx(statistics.stdev(scores[0.1]))
    assert (smallest, greatest) == (0.7, 0.9)
    assert found[1][3:] == (0.5, None, 0.5, 0.5)
    everything = rows(client, seed_statistics(client, "score", seeds=("seed", "gpu"), status=None, maximize=False))
    assert sorted(row[2] for row in everything) == [1, 4]


def test_the_deviation_does_not_cancel_and_knows_nan(client: sqltrack.Client) -> None:
    values = "(SELECT 1e9 AS x UNION ALL SELECT 1e9 + 1 UNION ALL SELECT 1e9 + 2 UNION ALL SELECT NULL) AS v"
    assert first_value(client, f"SELECT stddev_samp(x) FROM {values}") == pytest.approx(1.0)
    assert first_value(client, f"SELECT stddev_samp(x) FROM {values} WHERE x IS NULL") is None


@pytest.mark.parametrize(
    "query",
    [
        best_values("score", run_ids=[1, 2]),
        best_values("score"),
        last_values("score", run_ids=[3]),
        merged_curves("score", "test", kind="it's", run_ids=[1]),
    ],
)
def test_the_output_can_be_executed_as_it_is(client: sqltrack.Client, run: sqltrack.Run, query: Query) -> None:
    log(run, [1.0, 2.0], test=[0.0, 0.0])
    assert client.execute(str(query)).fetchall() == rows(client, query)
    assert "%s" not in str(query)


def test_values_are_printed_as_literals(client: sqltrack.Client) -> None:
    printed = str(seed_statistics(client, "100%", seeds=["it's"], status="%s"))
    assert '"100%"' in printed
    assert """'["it''s"]'""" in printed
    assert "status = '%s'" in printed


def test_printed_text_needs_nothing_of_sqltrack(tmp_path: Any) -> None:
    """As pasted into the database's own shell."""
    client = sqltrack.Client(engine="sqlite", dbpath=tmp_path / "plain.db")
    sqltrack.commands.setup(client)
    run = log(sqltrack.Experiment(client, name="x").get_run(), [1.0, 2.0]).set_args({"a": 1})
    connection = sqlite3.connect(tmp_path / "plain.db")
    for query in (best_values("score"), merged_curves(), last_values("score"), differing_args(client, [run.id, 99])):
        assert connection.execute(str(query)).fetchall() == rows(client, query)
    connection.close()
