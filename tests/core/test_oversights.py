"""Calls that look like oversights cause one warning for each run, and correct calls none."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from sqltrack import Client, Experiment, Run, run_add_metrics
from sqltrack.commands.rewind import apply_rewind, plan_rewind
from sqltrack.errors import DatabaseUnavailableError


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Warnings:
    return Warnings(caplog)


class Warnings:
    """The warnings of this test."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog

    def take(self) -> list[str]:
        """Return the warnings since the last call."""
        messages = [record.getMessage() for record in self._caplog.records]
        self._caplog.clear()
        return messages


def test_a_loop_without_steps_is_warned_of_once(run: Run, warnings: Warnings) -> None:
    with run.track():
        for epoch in range(5):
            run.add_metrics({"loss": 1 / (epoch + 1)})
    (message,) = warnings.take()
    assert message == (
        f"run {run.id} logged 'loss' again at step 0, which replaces the values: use add_metrics(…, step=step)"
    )


@pytest.mark.parametrize("how", ["one step", "progress", "two calls in a loop", "rows of a batch", "a batch again"])
def test_values_that_a_call_replaces_are_warned_of(run: Run, warnings: Warnings, how: str) -> None:
    with run.track():
        if how == "one step":
            run.add_metrics({"a": 1, "b": 1}, step=7).add_metrics({"b": 2, "c": 2}, step=7)
        elif how == "progress":
            run.add_metrics({"b": 1}, progress=0.5).add_metrics({"b": 2}, progress=0.5)
        elif how == "two calls in a loop":
            for value in range(3):
                run.add_metrics({"a": value}).add_metrics({"b": value})
        elif how == "rows of a batch":
            run.add_metrics_many([{"step": 3, "b": 1}, {"step": 4, "b": 2}, {"step": 3, "b": 3}])
        else:
            run.add_metrics_many([{"step": 3, "b": 1}, {"step": 4, "b": 2}])
            run_add_metrics(run.client, run.id, {"b": 3}, 4)
    (message,) = warnings.take()
    assert "replaces the values" in message
    assert ("progress 0.5" in message) == (how == "progress")


def test_calls_that_add_to_a_point_in_time_are_right(run: Run, warnings: Warnings) -> None:
    """Training and validation share a row, and frameworks log the epoch with both."""
    with run.track():
        for epoch in range(3):
            run.add_metrics({"loss": 1 / (epoch + 1), "epoch": epoch}, step=epoch)
            run.add_metrics({"val_loss": math.nan, "epoch": epoch}, step=epoch)
            run.add_metrics({"val_loss": math.nan, "top1": None, "path": Path("x")}, step=epoch)
            run.add_metrics({"path": Path("x")}, step=epoch)
            run.add_metrics({"loss": 0.5}, step=epoch, progress=0.5)
        run.add_metrics_many([{"step": 5, "loss": 1.0}, {"step": 5, "val_loss": 1.0}, {"step": 6, "loss": 2.0}])
    assert ["'path' is stored in the column" in message for message in warnings.take()] == [True]


def test_a_value_that_was_never_stored_is_not_replaced(client: Client, run: Run, warnings: Warnings) -> None:
    with run.track():
        with pytest.raises(ZeroDivisionError), client:
            run.add_metrics({"loss": 1.0}, step=1)
            raise ZeroDivisionError
        run.add_metrics({"loss": 2.0}, step=1)
        with client:
            run.add_metrics({"loss": 1.0}, step=2)
            client.rollback()
            run.add_metrics({"loss": 2.0}, step=2)
    assert warnings.take() == []


def test_runs_are_told_apart(experiment: Experiment, warnings: Warnings) -> None:
    first, second = experiment.get_run(), experiment.get_run()
    with first.track(), second.track():
        for value in range(3):
            first.add_metrics({"loss": value}, step=value)
            second.add_metrics({"loss": -value}, step=value)
        assert warnings.take() == []
        for run in (first, second):
            run.add_metrics({"loss": 9}, step=2)
    assert [message.partition(" logged")[0] for message in warnings.take()] == [f"run {first.id}", f"run {second.id}"]


def test_a_run_that_was_never_started_is_warned_of_once(config: dict[str, Any], run: Run, warnings: Warnings) -> None:
    for step in range(3):
        run.add_metrics({"loss": 1.0}, step=step)
    Client(config).metrics.add(run.id, {"loss": 2.0}, 9, 0.0, None)
    (message,) = warnings.take()
    assert message == (f"run {run.id} was never started, so it has no status: use 'with run.track():' or run.start()")


def test_rows_of_a_planned_run_are_warned_of(run: Run, warnings: Warnings) -> None:
    run.set_status("PLANNED").add_metrics_many([{"step": 1, "loss": 1.0}])
    assert ["never started" in message for message in warnings.take()] == [True]


@pytest.mark.parametrize("how", ["by another client", "ended", "with a time", "with a status"])
def test_runs_that_were_started_elsewhere_are_right(
    config: dict[str, Any], run: Run, warnings: Warnings, how: str
) -> None:
    other = Run(Client(config), run_id=run.id)
    if how == "by another client":
        other.start()
    elif how == "ended":
        other.start().stop()
    elif how == "with a time":
        run.set_started()
    else:
        run.set_status("COMPLETED")
    run.add_metrics({"loss": 1.0}, step=1)
    assert warnings.take() == []
    other.stop()


def test_a_run_that_has_ended_and_starts_over_is_warned_of_once(
    config: dict[str, Any], run: Run, warnings: Warnings
) -> None:
    with run.track():
        run.add_metrics({"loss": 1.0, "a%b": 1.0}).add_metrics({"loss": 0.5}, step=1)
    for again in (Run(Client(config), run_id=run.id), run, run):
        with again.track():
            again.add_metrics({"a%b": 2.0})
    (message,) = warnings.take()
    assert message == (
        f"run {run.id} has ended, and starts over at step 0: use a new run, or first: sqltrack rewind {run.id} -1"
    )


@pytest.mark.parametrize(
    "how",
    [
        "later step",
        "SLURM_RESTART_COUNT",
        "TORCHELASTIC_RESTART_COUNT",
        "LSB_RESTART",
        "rewound",
        "requeued",
        "other",
        "taken up",
    ],
)
def test_a_run_that_continues_is_right(
    config: dict[str, Any], run: Run, warnings: Warnings, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    with run.track(normal="REQUEUED" if how == "requeued" else "FAILED"):
        run.add_metrics({"loss": 1.0}).add_metrics({"loss": 0.5}, step=1)
    if how == "rewound":
        apply_rewind(run.client, plan_rewind(run.client, run.id, -1))
    elif how.isupper():
        monkeypatch.setenv(how, "Y" if how == "LSB_RESTART" else "1")
    taken = Run(Client(config), run_id=run.id)
    if how == "taken up":
        taken.set_status("RUNNING")
    with taken.track() as again:
        again.add_metrics({"accuracy" if how == "other" else "loss": 2.0}, step=2 if how == "later step" else 0)
    assert warnings.take() == []


def test_a_run_that_is_rewound_while_it_is_tracked_replaces_nothing(run: Run, warnings: Warnings) -> None:
    with run.track():
        run.add_metrics({"loss": 1.0}, step=1).add_metrics({"loss": 2.0}, step=2)
        apply_rewind(run.client, plan_rewind(run.client, run.id, 1, force=True))
        run.add_metrics({"loss": 3.0}, step=2)
    assert warnings.take() == []


def test_a_loop_that_begins_again_is_warned_of_once(run: Run, warnings: Warnings) -> None:
    with run.track():
        for _fold in range(3):
            for epoch in range(3):
                run.add_metrics({"loss": epoch}, step=epoch)
    (message,) = warnings.take()
    assert "went back from step 2 to 0, which replaces values of 'loss'" in message


@pytest.mark.parametrize("first", [0, 1])
def test_a_run_that_goes_back_to_a_checkpoint_is_right(run: Run, warnings: Warnings, first: int) -> None:
    with run.track():
        for step in (first, first + 1, first + 2, first + 1, first + 2):
            run.add_metrics({"loss": step}, step=step)
        # Other metrics may be logged in a separate loop.
        for step in (first, first + 1):
            run.add_metrics({"test loss": step}, step=step)
    assert warnings.take() == []


def test_nothing_is_lost_where_there_was_no_value(run: Run, warnings: Warnings) -> None:
    with run.track():
        run.add_metrics({"loss": 1.0, "val_loss": None}, step=1).add_metrics({"val_loss": 2.0}, step=1)
    assert warnings.take() == []


def test_a_run_that_counts_from_1_and_starts_over_is_warned_of(experiment: Experiment, warnings: Warnings) -> None:
    run = experiment.get_run()
    with run.track():
        run.add_metrics({"loss": 1.0}, step=1).add_metrics({"loss": 0.5}, step=2)
    again = experiment.get_run(run.id)
    with again.track():
        again.add_metrics({"loss": 1.0}, step=1).add_metrics({"loss": 2.0}, step=1)
    (message,) = warnings.take()
    assert "starts over at step 1: use a new run, or first: sqltrack rewind" in message


def test_a_row_that_is_stored_is_no_error_although_the_database_is_away_then(
    run: Run, monkeypatch: pytest.MonkeyPatch, warnings: Warnings
) -> None:
    oversights = run.client.metrics._oversights

    def fail(*_: object) -> None:
        raise DatabaseUnavailableError("gone")

    monkeypatch.setattr(oversights, "_ask", fail)
    run.add_metrics({"loss": 0.5}, step=1)
    assert run.client.execute("SELECT step FROM metrics").fetchall() == [(1,)]
    assert warnings.take() == []
