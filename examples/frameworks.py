"""Log what PyTorch Lightning, or the Trainer of Hugging Face, reports.

Neither is imported here: each class has the methods that its framework calls, and the program that uses it adds the
framework's base class.

    from lightning.pytorch.loggers.logger import Logger

    class SQLTrackLogger(LightningLogger, Logger):
        pass

    with run.track():
        Trainer(logger=SQLTrackLogger(run)).fit(model)

and with Hugging Face:

    class SQLTrackCallback(TrainerLogs, transformers.TrainerCallback):
        pass

    with run.track():
        Trainer(model, arguments, callbacks=[SQLTrackCallback(run)], train_dataset=data).train()

The block around the training sees what its framework may not tell a logger: Ctrl-C, SIGTERM, any exception.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqltrack


class LightningLogger:
    """The methods that Lightning calls on a logger.

    Args:
        run: the run to log to, None on all ranks but 0.
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
        """Add hyper-parameters, a dict or a Namespace, to the arguments of the run."""
        if self.run is not None:
            self.run.add_args(params)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add what Lightning has reduced over all ranks."""
        if self.run is not None:
            self.run.add_metrics(metrics, step=step or 0)


class TrainerLogs:
    """The events of Hugging Face's Trainer that tell something worth logging.

    Args:
        run: the run to log to, None on all ranks but 0.
    """

    def __init__(self, run: sqltrack.Run | None) -> None:
        super().__init__()
        self.run = run

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Add the arguments of the training to those of the run."""
        if self.run is not None and state.is_world_process_zero:
            self.run.add_args(args.to_sanitized_dict())

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        """Add what was reported, with the epoch as a metric of its own."""
        if self.run is not None and state.is_world_process_zero and logs:
            self.run.add_metrics({**logs, "epoch": state.epoch}, step=state.global_step)
