"""Log metrics from PyTorch Lightning or from Hugging Face's Trainer.

This module imports neither of them. Each class has the methods that the framework calls; add the framework's base class
in your program:

    from lightning.pytorch.loggers.logger import Logger

    class SQLTrackLogger(LightningLogger, Logger):
        pass

    with run.track():
        Trainer(logger=SQLTrackLogger(run)).fit(model)

With Hugging Face:

    class SQLTrackCallback(TrainerLogs, transformers.TrainerCallback):
        pass

    with run.track():
        Trainer(model, arguments, callbacks=[SQLTrackCallback(run)], train_dataset=data).train()

The `with` block around the training also sees events that a framework may not report to its loggers: Ctrl-C, SIGTERM
and all exceptions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqltrack


class LightningLogger:
    """The methods that Lightning calls on a logger.

    Args:
        run: the run to log to; None on all ranks but 0.
    """

    def __init__(self, run: sqltrack.Run | None) -> None:
        super().__init__()
        self.run = run

    @property
    def name(self) -> str:
        """Part of the path of checkpoints."""
        return "sqltrack"

    @property
    def version(self) -> str:
        """Part of the path of checkpoints."""
        return "0" if self.run is None else str(self.run.id)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Add hyperparameters, a dict or a Namespace, to the arguments of the run."""
        if self.run is not None:
            self.run.add_args(params)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add metrics that Lightning has reduced over all ranks."""
        if self.run is not None:
            self.run.add_metrics(metrics, step=step or 0)


class TrainerLogs:
    """The events of Hugging Face's Trainer that are worth logging.

    Args:
        run: the run to log to; None on all ranks but 0.
    """

    def __init__(self, run: sqltrack.Run | None) -> None:
        super().__init__()
        self.run = run

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Add the training arguments to the arguments of the run."""
        if self.run is not None and state.is_world_process_zero:
            self.run.add_args(args.to_sanitized_dict())

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        """Add the logged metrics, and the epoch as a metric of its own."""
        if self.run is not None and state.is_world_process_zero and logs:
            self.run.add_metrics({**logs, "epoch": state.epoch}, step=state.global_step)
