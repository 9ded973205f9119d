"""Means over seeds combine runs that differ only in their seeds, on both engines."""

from __future__ import annotations

import math
import statistics
from typing import Any

import pytest

import sqltrack
from sqltrack.errors import NotFoundError, NotSetUpError, UnusableValueError
from sqltrack.seeds import SeedStatistics, seed_statistics
from support.connections import on_one_connection
from support.extras import add_extras

NAN = math.nan


def log(
    experiment: sqltrack.Experiment, values: list[Any], args: dict[str, Any] | None, status: str = "COMPLETED"
) -> int:
    """Create a run and return its id."""
    run = experiment.get_run().set_status(status)
    if args is not None:
        run.set_args(args)
    run.add_metrics_many([{"step": step, "score": value} for step, value in enumerate(values)])
    return run.id


def groups(found: SeedStatistics) -> list[tuple[dict[str, Any], list[int]]]:
    return [(group.args, group.run_ids) for group in found.groups]


def test_runs_that_differ_only_in_the_seed_have_a_mean(
    client: sqltrack.Client, experiment: sqltrack.Experiment
) -> None:
    with on_one_connection(client):
        bad = [log(experiment, [0.1, value, 0.0], {"lr": 0.1, "seed": seed}) for seed, value in enumerate([0.2, 0.4])]
        good = [log(experiment, [value, 0.1], {"seed": seed, "lr": 0.2}) for seed, value in enumerate([0.7, 0.8, 0.9])]
        single = log(experiment, [0.5], {"lr": 0.3, "seed": 0})
    found = seed_statistics(client, "score")
    assert groups(found) == [({"lr": 0.2}, good), ({"lr": 0.3}, [single]), ({"lr": 0.1}, bad)]
    best, alone, worst = found.groups
    assert (best.n, best.mean, best.min, best.max) == (3, pytest.approx(0.8), 0.7, 0.9)
    assert best.stddev == pytest.approx(statistics.stdev([0.7, 0.8, 0.9]))
    assert (alone.n, alone.mean, alone.stddev) == (1, 0.5, None)
    assert worst.mean == pytest.approx(0.3)
    assert (best.experiment_id, best.experiment) == (experiment.id, "experiment")
    assert found[1:] == ([], {}, [])


def test_small_values_may_be_best_and_last_values_may_count(
    client: sqltrack.Client, experiment: sqltrack.Experiment
) -> None:
    log(experiment, [0.3, 0.1, 0.2], {"lr": 1, "seed": 0})
    log(experiment, [0.5, 0.4, 0.05], {"lr": 2, "seed": 0})
    for options, expected in (
        ({}, [(2, 0.5), (1, 0.3)]),
        ({"maximize": False}, [(2, 0.05), (1, 0.1)]),
        ({"value": "last"}, [(1, 0.2), (2, 0.05)]),
        ({"value": "last", "maximize": False}, [(2, 0.05), (1, 0.2)]),
    ):
        found = seed_statistics(client, "score", **options)  # type: ignore[arg-type]
        assert [(group.args["lr"], group.mean) for group in found.groups] == expected, options


@pytest.mark.parametrize(
    ("first", "second", "is_same"),
    [
        ({"a": 1}, {"a": 1.0}, True),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ({"a": {"b": 1, "c": [1, 0.1]}}, {"a": {"c": [1.0, 0.1], "b": 1}}, True),
        ({"a": 1e300}, {"a": 10**300}, True),
        ({}, None, True),
        ({"a": 0.1}, {"a": 0.1 + 1e-16}, False),
        ({"a": 1}, {"a": True}, False),
        ({"a": 1}, {"a": "1"}, False),
        ({"a": None}, {}, False),
        ({"a": None}, {"a": False}, False),
        ({"a": [1, 2]}, {"a": [2, 1]}, False),
        ({"a": {}}, {"a": []}, False),
        ({"a": 2**60}, {"a": 2**60 + 1}, False),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, False),
    ],
)
def test_arguments_are_the_same_if_their_values_are(
    experiment: sqltrack.Experiment,
    client: sqltrack.Client,
    first: dict[str, Any],
    second: dict[str, Any] | None,
    is_same: bool,
) -> None:
    log(experiment, [1], first)
    log(experiment, [1], second)
    assert len(seed_statistics(client, "score").groups) == (1 if is_same else 2)


def test_several_arguments_may_differ_and_nested_ones_too(
    client: sqltrack.Client, experiment: sqltrack.Experiment
) -> None:
    for number in range(3):
        log(experiment, [number], {"lr": 1, "data": {"seed": number, "size": 5}, "a.b": {"c": number}, "gpu": number})
    found = seed_statistics(client, "score", over=("data.seed", "gpu", "a.b.c"))
    assert [group.args for group in found.groups] == [{"lr": 1, "data": {"size": 5}, "a.b": {}}]
    assert (found.groups[0].n, found.unknown) == (3, [])
    found = seed_statistics(client, "score", over=["gpu", "data.sed", "seed"])
    assert (len(found.groups), found.unknown) == (3, ["data.sed", "seed"])


def test_a_name_with_a_dot_goes_before_a_path(client: sqltrack.Client, experiment: sqltrack.Experiment) -> None:
    for number in range(2):
        log(experiment, [number], {"data.seed": number, "data": {"seed": 0}})
    (group,) = seed_statistics(client, "score", over="data.seed").groups
    assert group.args == {"data": {"seed": 0}}


def test_values_that_are_not_finite_do_not_count_and_are_named(
    client: sqltrack.Client, experiment: sqltrack.Experiment
) -> None:
    fine = log(experiment, [NAN, 0.5, NAN], {"lr": 1, "seed": 0})
    nan = log(experiment, [NAN, NAN], {"lr": 1, "seed": 1})
    infinite = log(experiment, [math.inf, 0.1], {"lr": 1, "seed": 2})
    diverged = log(experiment, [NAN], {"lr": 2, "seed": 0})
    (group, other) = seed_statistics(client, "score").groups
    assert (group.run_ids, group.mean, group.not_finite) == ([fine], 0.5, [nan, infinite])
    assert (other.n, other.mean, other.stddev, other.min, other.not_finite) == (0, None, None, None, [diverged])
    (group, _) = seed_statistics(client, "score", value="last").groups
    assert (group.run_ids, group.not_finite) == ([infinite], [fine, nan])


def test_runs_with_the_same_seed_are_named(client: sqltrack.Client, experiment: sqltrack.Experiment) -> None:
    first, again, _ = (log(experiment, [1.0], {"seed": seed}) for seed in (0, 0.0, 1))
    unseeded = [log(experiment, [1.0], {}) for _ in range(2)]
    (group,) = seed_statistics(client, "score").groups
    assert group.run_ids == [first, again, again + 1, *unseeded]
    assert group.repeated == [again]


def test_only_completed_runs_count_unless_others_are_wanted(
    client: sqltrack.Client, experiment: sqltrack.Experiment
) -> None:
    done = log(experiment, [1.0], {"seed": 0})
    failed = log(experiment, [2.0], {"seed": 1}, status="FAILED")
    running = log(experiment, [3.0], {"seed": 2}, status="RUNNING")
    found = seed_statistics(client, "score")
    assert (groups(found), found.other_statuses) == ([({}, [done])], {"FAILED": 1, "RUNNING": 1})
    found = seed_statistics(client, "score", statuses=("RUNNING", "FAILED", "LOST"))
    assert (groups(found), found.other_statuses) == ([({}, [failed, running])], {"COMPLETED": 1})
    found = seed_statistics(client, "score", statuses=None)
    assert (groups(found), found.other_statuses) == ([({}, [done, failed, running])], {})
    assert seed_statistics(client, "score", statuses=("LOST",)).groups == []


def test_experiments_are_never_mixed(client: sqltrack.Client, experiment: sqltrack.Experiment) -> None:
    other = sqltrack.Experiment(client, name="7")
    log(experiment, [1.0], {"seed": 0})
    log(other, [2.0], {"seed": 1})
    assert [group.experiment for group in seed_statistics(client, "score").groups] == ["7", "experiment"]
    for chosen in ("7", other.id):
        assert [group.mean for group in seed_statistics(client, "score", experiment=chosen).groups] == [2.0]
    with pytest.raises(NotFoundError, match="no experiment 'other'"):
        seed_statistics(client, "score", experiment="other")


def test_runs_without_a_value_are_named(client: sqltrack.Client, experiment: sqltrack.Experiment) -> None:
    log(experiment, [1.0], {})
    empty = experiment.get_run().set_status("COMPLETED").id
    null = log(experiment, [None], {})
    assert seed_statistics(client, "score").without_value == [empty, null]


def test_values_in_extras_count(client: sqltrack.Client, experiment: sqltrack.Experiment) -> None:
    """A value that does not fit into its column is in extras, and so is a metric that cannot have a column."""
    run_ids = [log(experiment, [1, 2], {"seed": seed}) for seed in range(3)]
    name = "score of " + "é%_!" * 20
    add_extras(client, run_ids[0], {7: {"score": 9.5, name: 0.5}})
    add_extras(client, run_ids[1], {7: {"score": "text", name: "NaN"}, 0: {"score": 0.25, name: 0.5}})
    add_extras(client, run_ids[2], {7: {"score": True, name: 10**400}})
    (group,) = seed_statistics(client, "score").groups
    assert (group.n, group.mean) == (3, pytest.approx((9.5 + 2 + 2) / 3))
    (group,) = seed_statistics(client, "score", value="last").groups
    assert group.mean == pytest.approx((9.5 + 2 + 2) / 3)
    (group,) = seed_statistics(client, name, value="last").groups
    assert (group.run_ids, group.not_finite) == ([run_ids[0]], run_ids[1:])


@pytest.mark.parametrize("name", ["step", "run_id", "extras", "progress"])
def test_a_metric_may_be_called_like_a_column(
    client: sqltrack.Client, experiment: sqltrack.Experiment, name: str
) -> None:
    experiment.get_run().set_status("COMPLETED").add_metrics({name: 2.5, "score": 1.0}, step=9)
    assert [group.mean for group in seed_statistics(client, name).groups] == [2.5]


@pytest.mark.parametrize("value", ["text", True, {"a": 1}])
def test_a_metric_that_is_not_a_number_has_no_mean(
    client: sqltrack.Client, experiment: sqltrack.Experiment, value: Any
) -> None:
    experiment.get_run().set_status("COMPLETED").add_metrics({"other": value})
    with pytest.raises(UnusableValueError, match="the values of metric 'other' are .*, expected numbers"):
        seed_statistics(client, "other")


def test_a_database_without_tables_is_said_to_have_none(empty_config: dict[str, Any]) -> None:
    with pytest.raises(NotSetUpError):
        seed_statistics(sqltrack.Client(empty_config), "score")


def test_wrong_arguments_are_refused(client: sqltrack.Client, experiment: sqltrack.Experiment) -> None:
    log(experiment, [1.0], {})
    with pytest.raises(NotFoundError, match="there is no metric 'scor'"):
        seed_statistics(client, "scor")
    with pytest.raises(UnusableValueError, match="'best' or 'last', got 'first'"):
        seed_statistics(client, "score", value="first")  # type: ignore[arg-type]
    with pytest.raises(UnusableValueError, match="got the text 'FAILED'"):
        seed_statistics(client, "score", statuses="FAILED")


def test_settings_show_the_differences_of_groups(client: sqltrack.Client, experiment: sqltrack.Experiment) -> None:
    same: dict[str, Any] = {"model": "cnn", "opt": {"name": "sgd"}, "sizes": [1, 2], "empty": {}}
    log(experiment, [3], {**same, "opt": {"name": "sgd", "lr": 0.1}, "new": None})
    log(experiment, [2], {**same, "opt": {"name": "sgd", "lr": 0.2}})
    log(experiment, [1], {**same, "opt": {"name": "sgd", "lr": 0.2}, "new": 5})
    found = seed_statistics(client, "score")
    assert found.settings() == {"opt.lr": {0: 0.1, 1: 0.2, 2: 0.2}, "new": {0: None, 2: 5}}
    constant = found.settings(constant=True)
    assert list(constant) == ["empty", "model", "opt.name", "sizes"]
    assert constant["sizes"] == {index: [1, 2] for index in range(3)}


def test_values_of_any_size_have_a_mean(client: sqltrack.Client, experiment: sqltrack.Experiment) -> None:
    for seed, value in enumerate([1.7e308, 1.6e308, 1.7e308]):
        log(experiment, [value], {"seed": seed})
    (group,) = seed_statistics(client, "score").groups
    assert group.mean == pytest.approx(1.6666666e308)
    assert group.stddev == pytest.approx(5.7735e306, rel=1e-4)


def test_many_runs_are_read_in_parts(client: sqltrack.Client, experiment: sqltrack.Experiment) -> None:
    with on_one_connection(client), client:
        for number in range(520):
            log(experiment, [number % 2], {"seed": number})
    (group,) = seed_statistics(client, "score").groups
    assert (group.n, group.mean) == (520, 0.5)
