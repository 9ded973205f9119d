"""The training loop to copy: its results, and that a resumed training equals an uninterrupted one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sqltrack
from sqltrack.queries import merged_curves

pytestmark = pytest.mark.guides

SCRIPT = Path(__file__).parents[2] / "examples" / "train_loop.py"

RunExample = Callable[..., str]


def curve(client: sqltrack.Client, run_id: int) -> list[tuple[int, float, float]]:
    query = "SELECT step, train_loss, val_loss FROM metrics WHERE run_id = %s ORDER BY step"
    return [tuple(row) for row in client.execute(query, (run_id,))]


def test_a_resumed_training_ends_where_an_uninterrupted_one_does(
    client: sqltrack.Client, run_example: RunExample
) -> None:
    run_example("train_loop.py", "--epochs", "3")
    run_example("train_loop.py", "--epochs", "6", "--resume", "checkpoints/run-1.npz")
    run_example("train_loop.py", "--epochs", "6")
    assert client.execute("SELECT from_id, kind, to_id FROM run_links").fetchall() == [(2, "resumes", 1)]
    assert [step for step, *_ in curve(client, 2)] == [3, 4, 5]
    assert np.allclose(curve(client, 1) + curve(client, 2), curve(client, 3))
    rows = client.execute(*merged_curves("val_loss", run_ids=[2])).fetchall()
    assert sorted(row[:3] for row in rows) == [(1, 1, 0), (1, 1, 1), (1, 1, 2), (1, 2, 3), (1, 2, 4), (1, 2, 5)]


def test_the_best_epoch_and_its_checkpoint_are_those_of_the_lowest_validation_loss(
    client: sqltrack.Client, run_example: RunExample, tmp_path: Path
) -> None:
    run_example("train_loop.py", "--epochs", "12", "--learning-rate", "3")
    losses = {step: val_loss for step, _, val_loss in curve(client, 1)}
    ((status, args, extras),) = client.execute("SELECT status, args, extras FROM runs").fetchall()
    assert (status, args["epochs"], args["learning_rate"]) == ("COMPLETED", 12, 3.0)
    assert extras["best_epoch"] == min(losses, key=lambda step: losses[step]) < 11
    best = np.load(tmp_path / extras["best_checkpoint"])
    assert (int(best["epoch"]), float(best["best_loss"])) == (extras["best_epoch"], min(losses.values()))
    assert sorted(file.name for file in (tmp_path / "checkpoints").iterdir()) == ["run-1-best.npz", "run-1.npz"]


def test_seeds_tell_trainings_apart(client: sqltrack.Client, run_example: RunExample) -> None:
    for seed in ("0", "0", "1"):
        run_example("train_loop.py", "--epochs", "2", "--seed", seed)
    first, again, other = (curve(client, run_id) for run_id in (1, 2, 3))
    assert first == again
    assert first != other


def test_it_can_be_read_on_one_screen_and_a_half() -> None:
    assert len([line for line in SCRIPT.read_text(encoding="utf-8").splitlines() if line.strip()]) < 80


def test_a_checkpoint_that_is_missing_leaves_a_planned_run_without_metrics(
    client: sqltrack.Client, variables: dict[str, Any]
) -> None:
    command = [sys.executable, str(SCRIPT), "--resume", "missing.npz"]
    done = subprocess.run(command, env=variables, capture_output=True, text=True)
    assert (done.returncode, done.stderr.splitlines()[-1][:17]) == (1, "FileNotFoundError")
    assert client.execute("SELECT status FROM runs").fetchall() == [("PLANNED",)]
