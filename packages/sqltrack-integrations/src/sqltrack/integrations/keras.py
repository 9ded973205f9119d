"""Log from Keras, with any backend.

    model.fit(…, callbacks=[SQLTrackCallback(experiment="digits")])

Tested with Keras 3.5 to 3.15.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqltrack
from sqltrack.errors import UnusableValueError
from sqltrack.integrations._frameworks import require
from sqltrack.integrations._tracker import Tracker

with require("sqltrack.integrations.keras", "keras"):
    from keras.callbacks import Callback

__all__ = ["SQLTrackCallback"]


class SQLTrackCallback(Callback):
    """A callback of Keras that logs to a run.

    There is one row for each epoch, with the number of the epoch as `step`, counted from 0 as in Keras, and the
    fraction of all epochs as `progress`. The settings of the optimizer become arguments. If `initial_epoch` is not 0,
    the training continues a run, and its rows from there on are removed. Each further call of `fit` from the first
    epoch creates a run, unless you give one.

    Args:
        run: the run to log to, default: the run that environment variables name, or a new one.
        experiment: name or id of the experiment of a new run; may be None if the environment names it.
        client: client for a new run, default: one for the configured database.
        every_batches: if given, also log after each so many updates of the optimizer, usually one for each batch, with
            names such as `batch_loss`. Then the step of all rows is the optimizer's count of updates, and rows at the
            end of an epoch also have a metric `epoch`.

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
        every_batches: int | None = None,
    ) -> None:
        super().__init__()
        if every_batches is not None and every_batches < 1:
            raise UnusableValueError(f"every_batches must be at least 1, got {every_batches!r}")
        self._tracker = Tracker(run, experiment, client)
        self._every_batches = every_batches
        self._has_begun = False
        self._epoch = 0
        self._last_step = 0

    @property
    def run(self) -> sqltrack.Run | None:
        """The run; None before the first use, and on ranks that do not log."""
        return self._tracker.run

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Prepare for the first epoch, whose number shows whether the training continues a run."""
        self._has_begun = False

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Start the run before the first epoch."""
        self._epoch = epoch
        if not self._has_begun:
            self._has_begun = True
            with self._tracker.guard():
                self._last_step = self._updates() if self._every_batches else epoch - 1
                self._tracker.begin(self._last_step if epoch > 0 else None)
                self._tracker.add_args(self._settings())

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Add the metrics of some batches, if you have asked for that."""
        if self._every_batches is not None and logs:
            with self._tracker.guard():
                step = self._updates()
                # With gradient accumulation, several batches make one update.
                if step % self._every_batches == 0 and step > self._last_step:
                    self._last_step = step
                    batches = self.params.get("steps")
                    done = 0 if not batches else (batch + 1) / batches
                    self._tracker.log({f"batch_{name}": value for name, value in logs.items()}, step, self._part(done))

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Add the metrics of the epoch, those of the validation included."""
        with self._tracker.guard():
            if self._every_batches is None:
                self._tracker.log(logs or {}, epoch, self._part(1))
            else:
                self._tracker.log({"epoch": epoch, **(logs or {})}, self._updates(), self._part(1))

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Set the status of the run to COMPLETED."""
        self._tracker.end()

    def _part(self, done: float) -> float:
        """Return the fraction of all epochs, given that of the current one."""
        epochs = self.params.get("epochs")
        return (self._epoch + done) / epochs if epochs else 0.0

    def _updates(self) -> int:
        return int(self.model.optimizer.iterations)

    def _settings(self) -> dict[str, Any]:
        settings = {"epochs": self.params.get("epochs"), "steps_per_epoch": self.params.get("steps")}
        optimizer = getattr(self.model, "optimizer", None)
        if optimizer is not None:
            settings["optimizer"] = optimizer.get_config()
        return settings
