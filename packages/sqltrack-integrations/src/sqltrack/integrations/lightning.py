"""Log from PyTorch Lightning.

    Trainer(logger=SQLTrackLogger(experiment="digits"))

Tested with Lightning 2.4 to 2.6, as `lightning` or `pytorch_lightning`.
"""

from __future__ import annotations

import contextlib
import math
import sys
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import sqltrack
from sqltrack.integrations._tracker import Tracker

if TYPE_CHECKING:
    from lightning.pytorch.loggers.logger import DummyExperiment, Logger
else:
    try:
        # A program can use only one of the two, whose classes differ.
        if "pytorch_lightning" in sys.modules and "lightning.pytorch" not in sys.modules:
            raise ImportError
        from lightning.pytorch.loggers.logger import DummyExperiment, Logger
    except ImportError:
        from sqltrack.integrations._frameworks import require

        with require("sqltrack.integrations.lightning", "lightning", "pytorch_lightning"):
            from pytorch_lightning.loggers.logger import DummyExperiment, Logger

__all__ = ["SQLTrackLogger"]


class SQLTrackLogger(Logger):
    """A logger of Lightning that logs to a run.

    Rows have Lightning's `step`; `progress` is the fraction of the training's steps. The hyperparameters become
    arguments, and the paths of checkpoints extras. If `fit` continues from a checkpoint, rows after it are removed.
    The run is CANCELLED after Ctrl-C or SIGTERM, and FAILED after any other exception.

    Args:
        run: the run to log to, default: the run that environment variables name, or a new one.
        experiment: name or id of the experiment of a new run; may be None if the environment names it.
        client: client for a new run, default: one for the configured database.
        save_dir: folder for checkpoints, default: the trainer's `default_root_dir`.
        per_rank: whether each rank logs to a run of its own, which is linked to that of rank 0; default: only rank 0
            logs.

    Raises:
        UnusableValueError: (a ValueError) an argument has the wrong type, or nothing names the experiment.
        ConfigError: (a ValueError) the configuration cannot be used.
    """

    def __init__(
        self,
        run: sqltrack.Run | None = None,
        *,
        experiment: str | int | sqltrack.Experiment | None = None,
        client: sqltrack.Client | None = None,
        save_dir: str | None = None,
        per_rank: bool = False,
    ) -> None:
        super().__init__()
        self._tracker = Tracker(run, experiment, client, per_rank=per_rank)
        self._save_dir = None if save_dir is None else str(save_dir)
        self._trainer: weakref.ref[Any] | None = None
        self._resumes = False
        self._steps: float | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_trainer": None}

    @property
    def name(self) -> str:
        """Name of the experiment, or "sqltrack" while it is unknown; part of the path of checkpoints."""
        return self._tracker.name or "sqltrack"

    @property
    def version(self) -> int | str:
        """Id of the run; part of the path of checkpoints."""
        run = self._use()
        return "" if run is None else run.id

    @property
    def save_dir(self) -> str | None:
        """The folder for checkpoints, None for the trainer's default."""
        return self._save_dir

    @property
    def run(self) -> sqltrack.Run | None:
        """The run; None before the first use, and on ranks that do not log."""
        return self._tracker.run

    @property
    def experiment(self) -> Any:
        """The run, created at the first use; on ranks that do not log, an object whose methods do nothing."""
        run = self._use()
        return DummyExperiment() if run is None else run

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Add hyperparameters, a dict or a Namespace, to the arguments of the run."""
        self._tracker.add_args(params)

    def log_graph(self, model: Any, input_array: Any = None) -> None:
        """Begin a training, validation or test; Lightning calls this at the start of each."""
        self._tracker.begin(keeps_run=True)
        with self._tracker.guard():
            trainer = model.trainer
            if trainer.state.fn == "fit":
                self._trainer = weakref.ref(trainer)
                self._steps = None
                self._resumes = trainer.ckpt_path is not None

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Add metrics.

        Args:
            metrics: names and values.
            step: the step, default: that of the previous call.
        """
        if self._resumes and step is not None:
            self._resumes = False
            self._tracker.rewind(step - 1)
        self._tracker.log(metrics, step, 0.0 if step is None else self._progress(step))

    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        """Add the paths of the last and the best checkpoint to the extras of the run."""
        with self._tracker.guard():
            checkpoint = {"last": checkpoint_callback.last_model_path or checkpoint_callback.best_model_path}
            if checkpoint_callback.monitor is not None and checkpoint_callback.best_model_score is not None:
                checkpoint["best"] = checkpoint_callback.best_model_path
                checkpoint["monitor"] = checkpoint_callback.monitor
                checkpoint["best_value"] = float(checkpoint_callback.best_model_score)
            self._tracker.add_extras(checkpoint=checkpoint)

    def finalize(self, status: str) -> None:
        """Set the status of the run; Lightning calls this at the end of a training, and before it passes exceptions on.

        Args:
            status: "success", or anything else for a training that has failed.
        """
        if status in ("success", "finished"):
            self._tracker.end()
        else:
            self._tracker.end_by(sys.exc_info()[1])

    def _use(self) -> sqltrack.Run | None:
        with self._tracker.guard():
            return self._tracker.use()
        return None

    def _progress(self, step: int) -> float:
        """Return the fraction of the training's steps, 0 if their number is unknown."""
        if self._steps is None:
            trainer = None if self._trainer is None else self._trainer()
            self._steps = math.inf
            # Lightning may have to create data loaders for this, which can fail.
            with contextlib.suppress(Exception):
                if trainer is not None:
                    self._steps = float(trainer.estimated_stepping_batches)
        return min(step / self._steps, 1.0) if 0 < self._steps < math.inf else 0.0
