"""Log from XGBoost.

    xgboost.train(…, callbacks=[SQLTrackCallback(experiment="digits")])

Estimators of its scikit-learn interface take `callbacks` as well. Tested with XGBoost 2.1 to 3.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqltrack
from sqltrack.integrations._frameworks import require
from sqltrack.integrations._tracker import Tracker

with require("sqltrack.integrations.xgboost", "xgboost"):
    from xgboost import collective
    from xgboost.callback import TrainingCallback

__all__ = ["SQLTrackCallback"]


class SQLTrackCallback(TrainingCallback):
    """A callback of XGBoost that logs to a run.

    There is one row for each iteration, counted from 0. A metric is named by its evaluation set and itself, such as
    `validation_logloss`; cross-validation adds standard deviations, as `test_logloss_std`. The best iteration and its
    score are extras. If the training continues a model, its iterations follow those of the model, and rows after those
    are removed. Each further training creates a run, unless you give one.

    Args:
        run: the run to log to, default: the run that environment variables name, or a new one.
        experiment: name or id of the experiment of a new run; may be None if the environment names it.
        client: client for a new run, default: one for the configured database.
        params: arguments to store, such as the dict that you pass to `train`, which XGBoost does not pass on.

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
        super().__init__()
        self._tracker = Tracker(run, experiment, client, get_rank=collective.get_rank)
        self._params = params
        self._history: Mapping[str, Mapping[str, Any]] = {}
        self._done = 0
        self._offset = 0

    @property
    def run(self) -> sqltrack.Run | None:
        """The run; None before the first use, and on ranks that do not log."""
        return self._tracker.run

    def before_training(self, model: Any) -> Any:
        """Start the run."""
        with self._tracker.guard():
            self._done = 0
            self._history = {}
            # In a cross-validation, this is not a model.
            self._offset = model.num_boosted_rounds() if hasattr(model, "num_boosted_rounds") else 0
            self._tracker.begin(self._offset - 1 if self._offset else None)
            if self._params is not None:
                self._tracker.add_args(self._params)
        return model

    def after_iteration(self, model: Any, epoch: int, evals_log: Mapping[str, Mapping[str, Any]]) -> bool:
        """Add the metrics of an iteration; the training continues."""
        with self._tracker.guard():
            self._history = evals_log
            self._log(epoch)
        return False

    def after_training(self, model: Any) -> Any:
        """Add the best iteration to the extras of the run, and set its status to COMPLETED."""
        with self._tracker.guard():
            # After the iteration in which another callback ends the training, XGBoost calls no further callback.
            self._log(self._done)
            best = model.attributes() if hasattr(model, "attributes") else {}
            if "best_iteration" in best:
                extras = {"best_iteration": int(best["best_iteration"]), "best_score": float(best["best_score"])}
                self._tracker.add_extras(**extras)
        self._tracker.end()
        return model

    def _log(self, iteration: int) -> None:
        """Add the metrics of an iteration, if XGBoost has recorded it."""
        metrics: dict[str, Any] = {}
        for data, histories in self._history.items():
            for name, values in histories.items():
                if iteration < len(values):
                    metrics.update(_named(f"{data}_{name}", values[iteration]))
        self._tracker.log(metrics, self._offset + iteration)
        self._done = iteration + 1


def _named(name: str, value: Any) -> dict[str, Any]:
    if isinstance(value, tuple):
        return {name: value[0], f"{name}_std": value[1]}
    return {name: value}
