"""Loggers for frameworks, called as the frameworks call them, without these frameworks."""

from __future__ import annotations

import argparse
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import sqltrack
from support.modules import load_module

SCRIPT = Path(__file__).parents[2] / "examples" / "frameworks.py"


@pytest.fixture(scope="module")
def frameworks() -> ModuleType:
    """The example as a module."""
    return load_module(SCRIPT)


class LightningTrainer:
    """Calls a logger in the order in which Lightning's trainer does."""

    def __init__(self, logger: Any) -> None:
        self.logger = logger

    def fit(self, hparams: Any, epochs: int) -> None:
        assert self.logger.name
        assert isinstance(self.logger.version, (str, int))
        self.logger.log_hyperparams(hparams, None)
        for epoch in range(epochs):
            self.logger.log_metrics(metrics={"train_loss": 1 / (epoch + 1), "epoch": epoch}, step=10 * epoch)
            self.logger.log_metrics(metrics={"val_loss": 2 / (epoch + 1)}, step=10 * epoch)


class HuggingFaceTrainer:
    """Calls a callback with the events of Hugging Face's Trainer, and like it only methods that exist."""

    def __init__(self, callback: Any, is_world_process_zero: bool = True) -> None:
        self.callback = callback
        self.args = SimpleNamespace(to_sanitized_dict=lambda: {"learning_rate": 5e-05, "output_dir": "out"})
        self.state = SimpleNamespace(global_step=0, epoch=0.0, is_world_process_zero=is_world_process_zero)

    def event(self, name: str, **values: Any) -> None:
        method = getattr(self.callback, name, None)
        if method is not None:
            method(self.args, self.state, SimpleNamespace(), model=None, **values)

    def train(self, steps: int, fail_at: int | None = None) -> None:
        self.event("on_train_begin")
        for step in range(1, steps + 1):
            self.event("on_step_begin")
            if step == fail_at:
                raise FloatingPointError("loss is NaN")
            self.state.global_step, self.state.epoch = step, step / 2
            self.event("on_log", logs={"loss": 1 / step, "grad_norm": 0.5})
        self.event("on_train_end")


def test_lightning_logs_hyperparameters_and_metrics(run: sqltrack.Run, frameworks: ModuleType) -> None:
    class Base:
        """Lightning's Logger, whose __init__ takes no arguments."""

    class SQLTrackLogger(frameworks.LightningLogger, Base):  # type: ignore[name-defined, misc]
        pass

    logger = SQLTrackLogger(run)
    with run.track():
        LightningTrainer(logger).fit(argparse.Namespace(lr=0.1, layers=[1, 2]), epochs=2)
    assert logger.version == str(run.id)
    assert run.client.execute("SELECT status, args FROM runs").fetchone() == (
        "COMPLETED",
        {"lr": 0.1, "layers": [1, 2]},
    )
    query = "SELECT step, train_loss, val_loss, epoch FROM metrics ORDER BY step"
    assert run.client.execute(query).fetchall() == [(0, 1.0, 2.0, 0), (10, 0.5, 1.0, 1)]


def test_hugging_face_logs_arguments_and_metrics(run: sqltrack.Run, frameworks: ModuleType) -> None:
    with run.track():
        HuggingFaceTrainer(frameworks.TrainerLogs(run)).train(steps=2)
    assert run.client.execute("SELECT status, args FROM runs").fetchone() == (
        "COMPLETED",
        {"learning_rate": 5e-05, "output_dir": "out"},
    )
    query = "SELECT step, loss, grad_norm, epoch FROM metrics ORDER BY step"
    assert run.client.execute(query).fetchall() == [(1, 1.0, 0.5, 0.5), (2, 0.5, 0.5, 1.0)]


def test_the_block_around_the_training_sees_events_that_loggers_miss(run: sqltrack.Run, frameworks: ModuleType) -> None:
    with pytest.raises(FloatingPointError), run.track():
        HuggingFaceTrainer(frameworks.TrainerLogs(run)).train(steps=2, fail_at=2)
    assert run.client.execute("SELECT status FROM runs").fetchone() == ("FAILED",)


def test_other_ranks_log_nothing(run: sqltrack.Run, frameworks: ModuleType) -> None:
    LightningTrainer(frameworks.LightningLogger(None)).fit({"lr": 0.1}, epochs=1)
    HuggingFaceTrainer(frameworks.TrainerLogs(None)).train(steps=1)
    HuggingFaceTrainer(frameworks.TrainerLogs(run), is_world_process_zero=False).train(steps=1)
    assert run.client.execute("SELECT COUNT(*) FROM metrics").fetchone() == (0,)
    assert run.client.execute("SELECT args FROM runs").fetchone() == (None,)
