"""Log from CatBoost, on CPU; on GPU it calls no callbacks.

    callback = SQLTrackCallback(experiment="digits", params=model.get_params())
    model.fit(…, callbacks=[callback])
    callback.finish(model)

Tested with CatBoost 1.2. Needs no import of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqltrack
from sqltrack.integrations._tracker import Tracker, first_rank

__all__ = ["SQLTrackCallback"]


class SQLTrackCallback:
    """A callback of CatBoost that logs to a run.

    There is one row for each iteration, counted from 0. A metric is named by its evaluation set and itself, such as
    `validation_RMSE`. CatBoost does not say when a training ends. The run ends with the program, or when you call
    `finish`.

    Args:
        run: the run to log to, default: the run that environment variables name, or a new one.
        experiment: name or id of the experiment of a new run; may be None if the environment names it.
        client: client for a new run, default: one for the configured database.
        params: arguments to store, such as `model.get_params()`, which CatBoost does not pass on.

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
        params: Mapping[str, Any] | None = None,
    ) -> None:
        self._tracker = Tracker(run, experiment, client, get_rank=first_rank)
        self._params = params
        self._last = 0

    @property
    def run(self) -> sqltrack.Run | None:
        """The run; None before the first use."""
        return self._tracker.run

    def after_iteration(self, info: Any) -> bool:
        """Add the metrics of an iteration; the training continues."""
        with self._tracker.guard():
            # CatBoost counts the iterations that are done.
            step = info.iteration - 1
            if self._last == 0 or step < self._last:
                self._begin(step)
            self._last = info.iteration
            metrics = {
                f"{data}_{name}": values[-1]
                for data, histories in (info.metrics or {}).items()
                for name, values in histories.items()
                if values
            }
            self._tracker.log(metrics, step)
        return True

    def finish(self, model: Any = None) -> None:
        """Set the status of the run to COMPLETED.

        Args:
            model: the model, whose best iteration and score are added to the extras; default: none.
        """
        with self._tracker.guard():
            if model is not None and model.best_iteration_ is not None:
                self._tracker.add_extras(best_iteration=model.best_iteration_, best_score=model.best_score_)
        self._last = 0
        self._tracker.end()

    def _begin(self, step: int) -> None:
        if self._last:
            self._tracker.end()
        self._tracker.begin(step - 1 if step else None, is_open=False)
        if self._params is not None:
            self._tracker.add_args(self._params)
