"""Curves as data frames and figures: values as in the database, and groups as computed by hand."""

from __future__ import annotations

import math
import statistics
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

import sqltrack
from sqltrack.errors import MissingPackageError, NotFoundError, UnusableValueError
from sqltrack.notebook import group_curves, metric_curves, plot_metrics
from support.connections import on_one_connection
from support.extras import add_extras

mpl.use("agg")

START = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
# Student's t that is exceeded in 5 % of all cases, by degrees of freedom.
STUDENT = {1: 12.7062047364, 2: 4.30265272975}


@pytest.fixture(autouse=True)
def _figures_are_closed() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.fixture
def client(client: sqltrack.Client) -> sqltrack.Client:
    """Runs 1 to 3 with a loss, run 4 that resumes 3, run 5 without rows; 2 has a metric in extras."""
    with on_one_connection(client):
        experiment = sqltrack.Experiment(client, name="experiment")
        for run_id, lr in ((1, 0.1), (2, 0.1), (3, 1.0), (4, 1.0), (5, 1.0)):
            run = experiment.get_run(run_id).set_args({"opt": {"lr": lr}, "seed": run_id}).set_started(START)
            first = 2 if run_id == 4 else 0
            for step in range(first, 0 if run_id == 5 else 4):
                loss = math.nan if (run_id, step) == (1, 2) else 10.0 * run_id + step
                now = START + timedelta(seconds=30 * step)
                run.add_metrics({"loss": loss, "done": step == 3, "now": now}, step=step, progress=step / 4)
        sqltrack.Run(client, run_id=4).add_link("resumes", 3)
        add_extras(client, 2, {1: {"rare": 7.5}, 2: {"rare": "NaN"}})
    return client


def values(frame: pd.DataFrame, run_id: int) -> list[tuple[float, float]]:
    """Return x and value of the points of a run."""
    part = frame[frame["run_id"] == run_id]
    return list(zip(part["x"].tolist(), part["value"].tolist()))


def test_curves_hold_all_finite_points_in_the_order_given(client: sqltrack.Client) -> None:
    frame = metric_curves(client, [2, 1, 5], ["loss", "done"])
    assert list(frame.columns) == ["run_id", "metric", "x", "value", "smooth"]
    assert list(dict.fromkeys(frame["run_id"])) == [2, 1]
    losses = frame[frame["metric"] == "loss"]
    assert values(losses, 1) == [(0, 10.0), (1, 11.0), (3, 13.0)]
    assert values(losses, 2) == [(step, 20.0 + step) for step in range(4)]
    assert values(frame[frame["metric"] == "done"], 1) == [(0, 0.0), (1, 0.0), (2, 0.0), (3, 1.0)]
    assert losses["smooth"].tolist() == losses["value"].tolist()


def test_smoothing_is_a_moving_average_corrected_for_its_start(client: sqltrack.Client) -> None:
    frame = metric_curves(client, [1], "loss", smoothing=0.5)
    expected = [10.0, (0.5 * 10 + 11) / 1.5, (0.25 * 10 + 0.5 * 11 + 13) / 1.75]
    assert frame["smooth"].tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        ("progress", [0.0, 0.25, 0.5, 0.75]),
        ("time", [0.0, 30.0, 60.0, 90.0]),
        ("loss", [20.0, 21.0, 22.0, 23.0]),
        (("metric", "loss"), [20.0, 21.0, 22.0, 23.0]),
    ],
)
def test_x_is_progress_time_or_a_metric(client: sqltrack.Client, x: Any, expected: list[float]) -> None:
    assert metric_curves(client, [2], "loss", x=x)["x"].tolist() == expected


def test_metrics_without_a_column_are_found(client: sqltrack.Client) -> None:
    assert values(metric_curves(client, [1, 2], "rare"), 2) == [(1, 7.5)]


def test_resumed_runs_are_one_curve_named_by_the_first_given(client: sqltrack.Client) -> None:
    expected = [(0, 30.0), (1, 31.0), (2, 42.0), (3, 43.0)]
    for ids, name in (([4, 3], 4), ([3], 3)):
        frame = metric_curves(client, ids, "loss", join=True)
        assert frame["run_id"].unique().tolist() == [name]
        assert values(frame, name) == expected


@pytest.mark.parametrize("band", ["std", "sem", "ci", "minmax"])
def test_groups_have_mean_band_and_n_at_each_step(client: sqltrack.Client, band: Any) -> None:
    curves = metric_curves(client, [1, 2, 3], "loss")
    groups = group_curves(curves, {1: "a", 2: "a", 3: None}, band=band)
    found = groups[groups["group"] == "a"].set_index("x")
    assert found["n"].to_dict() == {0: 2, 1: 2, 2: 1, 3: 2}
    assert found["mean"].to_dict() == {0: 15.0, 1: 16.0, 2: 22.0, 3: 18.0}
    deviation = statistics.stdev([10.0, 20.0])
    half = {
        "std": deviation,
        "sem": deviation / math.sqrt(2),
        "ci": STUDENT[1] * deviation / math.sqrt(2),
        "minmax": 5.0,
    }[band]
    assert found.loc[0, ["low", "high"]].tolist() == pytest.approx([15.0 - half, 15.0 + half])
    assert found.loc[2, ["low", "high"]].tolist() == [22.0, 22.0]
    assert groups.loc[groups["group"] != "a", "mean"].tolist() == [30.0, 31.0, 32.0, 33.0]


def test_curves_with_few_places_in_common_are_averaged_in_bins() -> None:
    frames = [
        pd.DataFrame({"run_id": run_id, "metric": "loss", "x": np.arange(4) + shift, "smooth": np.arange(4.0) + run_id})
        for run_id, shift in ((1, 0.0), (2, 0.4))
    ]
    groups = group_curves(pd.concat(frames, ignore_index=True), {1: "all", 2: "all"})
    # Four bins of 0.85 from 0 to 3.4.
    assert groups["x"].tolist() == pytest.approx([0.425, 1.275, 2.125, 2.975])
    assert groups["n"].tolist() == [2, 2, 2, 2]
    assert groups["mean"].tolist() == pytest.approx([1.5, 2.5, 3.5, 4.5])


def test_a_plot_has_axes_for_each_metric_and_a_line_for_each_run(client: sqltrack.Client) -> None:
    figure = plot_metrics(client, [1, 2], ["loss", "done"], log_y=True, width=10, height=8)
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "done"]
    assert figure.get_size_inches().tolist() == pytest.approx([10 / 2.54, 8 / 2.54])
    first = figure.axes[0]
    assert first.get_yscale() == "log"
    assert [line.get_label() for line in first.lines] == ["run 1", "run 2"]
    assert first.lines[1].get_ydata().tolist() == [20.0, 21.0, 22.0, 23.0]


@pytest.mark.parametrize(
    ("options", "labels"),
    [
        ({"group_by": "opt.lr"}, ["opt.lr=0.1 (n = 2)", "opt.lr=1.0 (n = 1)"]),
        ({"over": "seed"}, ["opt.lr=0.1 (n = 2)", "opt.lr=1.0 (n = 1)"]),
        ({"over": ["seed", "opt.lr"]}, ["all runs (n = 3)"]),
        ({"group_by": {1: "first", 3: "third"}}, ["first (n = 1)", "third (n = 1)"]),
    ],
)
def test_groups_are_arguments_all_but_some_or_named(
    client: sqltrack.Client, options: dict[str, Any], labels: list[str]
) -> None:
    (axes,) = plot_metrics(client, [1, 2, 3], "loss", **options).axes
    found = [line.get_label().replace("=1 ", "=1.0 ") for line in axes.lines]
    assert found == labels
    assert len(axes.collections) == len(labels)


def test_wrong_requests_are_explained(client: sqltrack.Client) -> None:
    for error, text, call in (
        (NotFoundError, "there is no run 77", lambda: metric_curves(client, [77], "loss")),
        (NotFoundError, "no metric 'gone'", lambda: metric_curves(client, [1], "gone")),
        (UnusableValueError, "expected the ids", lambda: metric_curves(client, [], "loss")),
        (UnusableValueError, "smoothing must be", lambda: metric_curves(client, [1], "loss", smoothing=1)),
        (UnusableValueError, "band must be", lambda: plot_metrics(client, [1], "loss", over="seed", band="x")),  # type: ignore[arg-type]
        (UnusableValueError, "got both", lambda: plot_metrics(client, [1], "loss", over="seed", group_by="seed")),
        (NotFoundError, "has the argument 'gone'", lambda: plot_metrics(client, [1], "loss", group_by="gone")),
    ):
        with pytest.raises(error, match=text):
            call()


def test_matplotlib_is_imported_only_to_plot_and_its_absence_explained(
    client: sqltrack.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "import sys, sqltrack.notebook; print('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingPackageError, match=r"requires 'matplotlib'; install it with: pip install"):
        plot_metrics(client, [1], "loss")
