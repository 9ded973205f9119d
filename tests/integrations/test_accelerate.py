"""Train with Accelerate, and find in the run what the loop has logged."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from accelerate import Accelerator

import sqltrack
from sqltrack.integrations.accelerate import SQLTrackTracker

pytestmark = pytest.mark.filterwarnings("ignore")

Rows = Callable[[Any], list[dict[str, Any]]]

CONFIG = {"lr": 0.1, "prompt": "x" * 10_000, "model": {"layers": [{"size": 3, "bias": None}]}}

IMPORTS = """
from accelerate import Accelerator
from sqltrack.integrations.accelerate import SQLTrackTracker
"""

SCRIPT = """
accelerator = Accelerator(log_with=SQLTrackTracker(experiment="digits", client=client), cpu=True)
accelerator.init_trackers("digits", config={"lr": 0.1})
for step in range(5):
    accelerator.log({"loss": 1 / (step + 1)}, step=step)
    if step == 2:
        strike()
accelerator.end_training()
"""


def train(tracker: SQLTrackTracker, at: Callable[[int], None] = lambda step: None) -> list[dict[str, Any]]:
    """Train with gradient accumulation, and return the history: a row for each step of the optimizer."""
    accelerator = Accelerator(log_with=tracker, cpu=True, gradient_accumulation_steps=2)
    accelerator.init_trackers("digits", config=CONFIG)
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    loader = torch.utils.data.DataLoader(torch.arange(16.0).reshape(-1, 1) / 16, 2)
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    history: list[dict[str, Any]] = []
    for batch in loader:
        with accelerator.accumulate(model):
            loss = model(batch).square().mean()
            accelerator.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
        if accelerator.sync_gradients:
            history.append({"step": len(history), "loss": float(loss)})
            accelerator.log({"loss": loss.detach()}, step=history[-1]["step"])
            at(history[-1]["step"])
    accelerator.log({"nan": math.nan}, step=len(history))
    accelerator.end_training()
    return [*history, {"step": len(history), "nan": math.nan}]


def test_a_run_has_the_rows_of_the_loop(client: sqltrack.Client, rows: Rows, look: Callable[..., Any]) -> None:
    tracker = SQLTrackTracker(experiment="digits", client=client)
    history = train(tracker)
    assert rows(tracker.tracker) == [pytest.approx(row, nan_ok=True) for row in history]
    assert len(history) == 5
    assert look(tracker.tracker, "status") == "COMPLETED"
    assert look(tracker.tracker, "args") == CONFIG


def test_a_program_gets_the_run_from_the_accelerator(client: sqltrack.Client) -> None:
    accelerator = Accelerator(log_with=SQLTrackTracker(experiment="digits", client=client), cpu=True)
    accelerator.init_trackers("digits")
    accelerator.log({"loss": 0.5}, step=1, log_kwargs={"sqltrack": {"progress": 0.25}})
    run = accelerator.get_tracker("sqltrack", unwrap=True)
    assert isinstance(run, sqltrack.Run)
    accelerator.end_training()
    assert client.execute("SELECT step, progress FROM metrics").fetchall() == [(1, 0.25)]


def test_a_training_continues_its_run(client: sqltrack.Client, rows: Rows, run: sqltrack.Run) -> None:
    for steps in (range(5), range(3, 8)):
        accelerator = Accelerator(log_with=SQLTrackTracker(sqltrack.Run(client, None, run.id)), cpu=True)
        accelerator.init_trackers("digits")
        for step in steps:
            accelerator.log({"loss": 1 / (step + 1)}, step=step)
        accelerator.end_training()
    assert rows(run) == [{"step": step, "loss": 1 / (step + 1)} for step in range(8)]


def test_an_outage_changes_nothing(
    patient_client: sqltrack.Client, outage: Callable[[bool], None], rows: Rows, waits: Any
) -> None:
    tracker = SQLTrackTracker(experiment="digits", client=patient_client)
    history = train(tracker, lambda step: outage(0 <= step < 3))
    assert tracker.tracker is not None
    assert tracker.tracker.flush(60)
    assert rows(tracker.tracker) == [pytest.approx(row, nan_ok=True) for row in history]
    assert len(waits()) == 1


@pytest.mark.engines("sqlite", reason="the frameworks end in the same way, whatever the database")
def test_a_training_that_does_not_reach_its_end_is_not_completed(end_in_all_ways: Callable[..., None]) -> None:
    end_in_all_ways(IMPORTS, SCRIPT)


@pytest.mark.engines("sqlite", reason="the database is not used")
def test_pickled_and_copied_trackers_work(client: sqltrack.Client, rows: Rows) -> None:
    tracker = SQLTrackTracker(experiment="digits", client=client)
    tracker.start()
    for step, other in enumerate((copy.deepcopy(tracker), pickle.loads(pickle.dumps(tracker)))):  # noqa: S301
        other.log({"loss": 0.5}, step)
    tracker.finish()
    assert rows(tracker.tracker) == [{"step": 0, "loss": 0.5}, {"step": 1, "loss": 0.5}]
