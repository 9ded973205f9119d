"""Curves: thinned without losing a value that matters, smoothed, joined and grouped."""

from __future__ import annotations

import itertools
import json
import math
import random
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

import sqltrack
from sqltrack.ui import queries
from sqltrack.ui.queries import QueryError
from sqltrack.ui.queries._thinning import bounds, smoothed, thinned
from support.connections import on_one_connection
from support.extras import add_extras

from .conftest import NOW

pytestmark = pytest.mark.no_outbox

STEPS = 4_000


def curves(source: queries.Database, *runs: int, metrics: tuple[str, ...] = ("loss",), **spec: Any) -> dict[str, Any]:
    answer = queries.curves(source, {"runs": list(runs), "metrics": list(metrics), **spec})
    json.dumps(answer, allow_nan=False)
    return answer


def only(answer: dict[str, Any]) -> dict[str, Any]:
    (curve,) = answer["curves"]
    return dict(curve)


@pytest.fixture
def long_run(client: sqltrack.Client) -> queries.Database:
    """Run 1 of 4,000 steps: noise, with spikes of one step."""
    numbers = random.Random(1)
    run = sqltrack.Experiment(client, name="long").get_run(1)
    ys = {step: {"loss": numbers.random()} for step in range(STEPS)}
    for step in (1234, 2718, 3999):
        ys[step]["loss"] = 100.0 + step
    ys[555]["loss"] = -5.0
    run.add_metrics_many([{"step": step, **metrics} for step, metrics in ys.items()])
    return queries.Database(client)


def test_short_curves_are_whole(source: queries.Database) -> None:
    curve = only(curves(source, 1))
    assert (curve["x"], curve["y"]) == ([0, 1, 2, 3], [1.0, 1 / 2, 1 / 3, 1 / 4])
    assert (curve["run"], curve["runs"], curve["metric"]) == (1, [1], "loss")
    assert (curve["exact"], curve["rows"], curve["last"], curve["smooth"]) == (True, 4, {"x": 3, "y": 0.25}, None)


def test_the_sql_gives_the_same_points(source: queries.Database) -> None:
    answer = curves(source, 1, 3, metrics=("loss", "rare"))
    rows = source.client.execute(answer["sql"]).fetchall()
    points = [
        (curve["run"], x, y)
        for curve in answer["curves"]
        if curve["metric"] == "loss"
        for x, y in zip(curve["x"], curve["y"])
    ]
    assert [(run_id, step, loss) for run_id, step, _, loss, _ in rows if loss is not None] == points


def test_all_spikes_survive_thinning_at_their_own_step(long_run: queries.Database) -> None:
    with long_run:
        curve = only(curves(long_run, 1, pixels=100))
        points = dict(zip(curve["x"], curve["y"]))
        assert not curve["exact"]
        assert len(points) <= 400
        assert {step: points.get(step) for step in (1234, 2718, 3999, 555)} == {
            1234: 1334.0,
            2718: 2818.0,
            3999: 4099.0,
            555: -5.0,
        }
        assert curve["x"] == sorted(set(curve["x"]))
        assert (curve["x"][0], curve["x"][-1], curve["rows"]) == (0, STEPS - 1, STEPS)
        # The same again, from the cache and without it.
        assert only(curves(long_run, 1, pixels=100)) == curve
        with queries.Database(long_run.client) as other:
            assert only(curves(other, 1, pixels=100)) == curve


def test_a_zoom_shows_all_points_and_their_neighbors(long_run: queries.Database) -> None:
    with long_run:
        curve = only(curves(long_run, 1, pixels=100, range=[1200, 1300]))
        assert curve["exact"]
        assert curve["x"] == list(range(1199, 1302))


def test_a_logarithmic_axis_has_pixels_of_equal_ratio(long_run: queries.Database) -> None:
    with long_run:
        xs = only(curves(long_run, 1, pixels=50, log_x=True))["x"]
        assert sum(x < 100 for x in xs) > sum(x >= STEPS - 100 for x in xs)
        assert {1234, 2718, 3999, 555} <= set(xs)


def test_smoothing_counts_all_points_and_is_debiased(long_run: queries.Database) -> None:
    assert smoothed([1.0, 3.0], 0.5) == [1.0, pytest.approx(7 / 3)]
    assert smoothed([2.0] * 5, 0.99) == [pytest.approx(2.0)] * 5
    with long_run:
        whole = only(curves(long_run, 1, pixels=5_000, smoothing=0.9))
        thin = only(curves(long_run, 1, pixels=100, smoothing=0.9))
        zoomed = only(curves(long_run, 1, pixels=100, smoothing=0.9, range=[2700, 2750]))
        values = dict(zip(whole["x"], whole["smooth"]))
        assert [values[x] for x in thin["x"]] == thin["smooth"]
        assert [values[x] for x in zoomed["x"]] == zoomed["smooth"]


def test_nan_and_infinities_are_marks(client: sqltrack.Client) -> None:
    run = sqltrack.Experiment(client, name="e").get_run()
    with on_one_connection(client):
        for step, value in enumerate([1.0, math.nan, 2.0, math.inf, -math.inf, math.nan]):
            run.add_metrics({"loss": value}, step=step)
    with queries.Database(client) as source:
        curve = only(curves(source, 1))
        assert (curve["x"], curve["y"], curve["rows"]) == ([0, 2], [1.0, 2.0], 6)
        assert curve["marks"] == [
            {"x": 1, "value": "NaN", "count": 1},
            {"x": 3, "value": "Infinity", "count": 1},
            {"x": 4, "value": "-Infinity", "count": 1},
            {"x": 5, "value": "NaN", "count": 1},
        ]
        assert curve["last"] == {"x": 5, "y": {"$number": "NaN"}}
        assert [mark["count"] for mark in only(curves(source, 1, pixels=1))["marks"]] == [1, 1, 1, 1]
        assert [mark["x"] for mark in only(curves(source, 1, range=[0, 1]))["marks"]] == [1]


def test_x_is_progress_or_another_metric(source: queries.Database) -> None:
    assert only(curves(source, 1, x="progress"))["x"] == [0.0, 0.25, 0.5, 0.75]
    curve = only(curves(source, 1, x=["metric", "acc%"]))
    # In the order of the steps, although the values of x go back.
    assert (curve["x"], curve["y"]) == ([1, 2, 3, 1], [1.0, 1 / 2, 1 / 3, 1 / 4])


def test_x_is_time_if_rows_have_one(filled: sqltrack.Client) -> None:
    with queries.Database(filled) as source:
        with pytest.raises(QueryError) as caught:
            curves(source, 1, x="time")
        assert caught.value.kind == "unknown"
        for step in range(4):
            when = NOW + timedelta(seconds=10 * step)
            sqltrack.Run(filled, run_id=1).add_metrics({"when": when}, step=step, progress=step / 4)
        curve = only(curves(source, 1, x="time", range=[5, 15]))
        assert (curve["x"], curve["y"]) == ([0.0, 10.0, 20.0], [1.0, 1 / 2, 1 / 3])


def test_metrics_in_extras_and_pending_ones_have_curves(filled: sqltrack.Client) -> None:
    with queries.Database(filled) as source:
        curve = only(curves(source, 3, metrics=("rare",)))
        assert (curve["x"], curve["y"], curve["rows"]) == ([1], [7.5], 2)
        add_extras(filled, 1, {0: {"rare": 1}, 9: {"rare": 2}})
        assert [curve["y"] for curve in curves(source, 1, 3, metrics=("rare",))["curves"]] == [[1.0, 2.0], [7.5]]


def test_runs_without_the_metric_have_no_curve(source: queries.Database) -> None:
    answer = curves(source, 1, 6, 99, metrics=("loss", "unknown"))
    assert [(curve["run"], curve["metric"]) for curve in answer["curves"]] == [(1, "loss")]
    assert curves(source)["curves"] == []


def test_a_run_joins_those_that_it_resumes(client: sqltrack.Client) -> None:
    experiment = sqltrack.Experiment(client, name="resumed")
    first, second = experiment.get_run(1), experiment.get_run(2)
    for step in range(4):
        first.add_metrics({"loss": float(step)}, step=step)
        second.add_metrics({"loss": 10.0 + step}, step=step + 2)
    second.add_link("resumes", 1)
    with queries.Database(client) as source:
        curve = only(curves(source, 1, 2, join=True))
        assert (curve["runs"], curve["x"]) == ([1, 2], [0, 1, 2, 3, 4, 5])
        assert curve["y"] == [0.0, 1.0, 10.0, 11.0, 12.0, 13.0]
        assert len(curves(source, 1, 2)["curves"]) == 2


def test_groups_have_a_mean_a_band_and_the_number_of_runs(source: queries.Database) -> None:
    answer = curves(source, 1, 2, 3, 4, group=["args", "model", "name"])
    tiny = next(group for group in answer["groups"] if group["value"] == "tiny")
    ys = [1.0, 1 / 2, 1 / 4]
    mean = sum(ys) / 3
    deviation = math.sqrt(sum((y - mean) ** 2 for y in ys) / 2)
    assert (tiny["metric"], tiny["n_runs"], tiny["x"]) == ("loss", 3, [0, 1, 2, 3])
    # The NaN of run 2 at step 3 does not count.
    assert tiny["n"] == [3, 3, 3, 2]
    assert tiny["mean"][0] == pytest.approx(mean)
    assert tiny["low"][0] == pytest.approx(mean - deviation)
    assert tiny["high"][0] == pytest.approx(mean + deviation)
    sem = curves(source, 1, 2, 4, group=["args", "model", "name"], band="sem")["groups"][0]
    assert sem["high"][0] == pytest.approx(mean + deviation / math.sqrt(3))
    minmax = curves(source, 1, 2, 4, group=["args", "model", "name"], band="minmax")["groups"][0]
    assert (minmax["low"][0], minmax["high"][0]) == (1 / 4, 1.0)


def test_runs_that_differ_only_in_seeds_are_a_group(source: queries.Database) -> None:
    groups = curves(source, 1, 2, 4, group="all_but_seed")["groups"]
    assert [group["n_runs"] for group in groups] == [2, 1]
    assert groups[0]["value"] == {"lr": 0.1, "amp": True}


def test_groups_of_runs_with_other_steps_are_averaged_in_bins(client: sqltrack.Client) -> None:
    experiment = sqltrack.Experiment(client, name="odd steps")
    with on_one_connection(client):
        for run_id in (1, 2):
            for step in range(10):
                experiment.get_run(run_id).add_metrics({"loss": float(run_id)}, step=10 * step + run_id)
    with queries.Database(client) as source:
        (group,) = curves(source, 1, 2, group=["experiment", "name"])["groups"]
        assert set(group["mean"]) == {1.5}
        assert set(group["n"]) == {2}


def test_an_added_and_an_overwritten_value_appear(changing: queries.Database) -> None:
    run = sqltrack.Run(changing.client, run_id=1)
    version = curves(changing, 1)["version"]
    run.add_metrics({"loss": 0.5}, step=0, progress=0.0)
    changed = curves(changing, 1)
    assert only(changed)["y"][0] == 0.5
    assert changed["version"] != version
    run.add_metrics({"loss": 0.1}, step=4)
    assert only(curves(changing, 1))["x"] == [0, 1, 2, 3, 4]


def test_many_curves_are_cut_and_said_so(source: queries.Database) -> None:
    runs = list(range(1, 600))
    answer = queries.curves(source, {"runs": runs, "metrics": ["loss"]})
    assert answer["truncated"] == runs[500:]
    assert len(answer["curves"]) == 5


@pytest.mark.parametrize(
    "spec",
    [
        {"x": "time of day"},
        {"pixels": 0},
        {"pixels": 10**9},
        {"smoothing": 1},
        {"smoothing": "much"},
        {"range": [2, 1]},
        {"range": "all"},
        {"metrics": "loss"},
        {"runs": [None]},
        {"group": ["args", "lr"], "band": "wide"},
    ],
)
def test_wrong_specifications_are_refused(source: queries.Database, spec: dict[str, Any]) -> None:
    with pytest.raises(QueryError) as caught:
        queries.curves(source, {"runs": [1], "metrics": ["loss"], **spec})
    assert caught.value.kind == "request"


def test_thinning_keeps_first_smallest_greatest_and_last_of_each_pixel() -> None:
    numbers = random.Random(2)
    for size in (1, 5, 77, 1_000):
        for log in (False, True):
            xs = sorted(numbers.uniform(-1, 50) for _ in range(size))
            ys = [numbers.gauss(0, 1) for _ in range(size)]
            begins = bounds(xs, range(size), 10, log=log)
            kept = thinned(ys, begins)
            assert (begins[0], begins[-1]) == (0, size)
            assert kept == sorted(set(kept))
            assert len(kept) <= 4 * 10
            for begin, end in itertools.pairwise(begins):
                part = ys[begin:end]
                present = [ys[index] for index in kept if begin <= index < end]
                assert {min(part), max(part)} <= set(present)
                assert {begin, end - 1} <= set(kept)


def test_times_in_the_future_do_not_disturb(client: sqltrack.Client) -> None:
    run = sqltrack.Experiment(client, name="clock").get_run(1)
    run.add_metrics({"loss": 1.0}, step=1)
    run.set_status("COMPLETED").set_updated(datetime(2100, 1, 1, tzinfo=timezone.utc))
    with queries.Database(client) as source:
        assert only(curves(source, 1))["y"] == [1.0]


def test_an_integer_that_no_float_holds_is_left_out(client: sqltrack.Client) -> None:
    run = sqltrack.Experiment(client, name="a").get_run()
    for step, value in enumerate([10**400, 2, -(10**400), 4]):
        run.add_metrics({"huge": value, "loss": 0.5}, step=step)
    with queries.Database(client) as source:
        (curve,) = queries.curves(source, {"runs": [run.id], "metrics": ["huge"]})["curves"]
        assert (curve["x"], curve["y"]) == ([1, 3], [2.0, 4.0])
        (curve,) = queries.curves(source, {"runs": [run.id], "metrics": ["loss"], "x": ["metric", "huge"]})["curves"]
        assert curve["x"] == [2, 4]


def test_infinite_and_distant_progress_does_not_disturb(client: sqltrack.Client) -> None:
    run = sqltrack.Experiment(client, name="far").get_run(1)
    for step, progress in enumerate((0.0, math.inf, -1e308, 1e308, 0.5)):
        run.add_metrics({"loss": math.nan if step % 2 else 1.0}, step=step, progress=progress)
    other = sqltrack.Experiment(client, name="far").get_run(2)
    other.add_metrics_many([{"step": step, "progress": step / 7, "loss": 1.0} for step in range(7)])
    with queries.Database(client) as source:
        found = curves(source, 1, 2, x="progress")["curves"]
        assert found[0]["x"] == [0.0, -1e308, 0.5]
        assert [mark["x"] for mark in found[0]["marks"]] == [1e308]
        for group in (["run", "id"], ["experiment", "name"]):
            answer = curves(source, 1, 2, x="progress", group=[group], pixels=1)
            assert all(map(math.isfinite, answer["groups"][0]["x"]))
