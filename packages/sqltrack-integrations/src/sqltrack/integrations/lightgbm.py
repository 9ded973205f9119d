"""Log from LightGBM.

    lightgbm.train(…, callbacks=[SQLTrackCallback(experiment="digits")])

Estimators of its scikit-learn interface take `callbacks` in `fit`. Tested with LightGBM 4.2 to 4.7. Needs no import of
it.
"""

from __future__ import annotations

from typing import Any

import sqltrack
from sqltrack.integrations._tracker import Tracker, first_rank

__all__ = ["SQLTrackCallback"]


class SQLTrackCallback:
    """A callback of LightGBM that logs to a run.

    There is one row for each iteration, counted from 0; `progress` is the fraction of all iterations. A metric is named
    by its evaluation set and itself, such as `valid_0_l2`; cross-validation adds standard deviations, as
    `valid_l2_std`. The parameters become arguments. If the training continues a model, rows of later iterations are
    removed. Each further training creates a run, unless you give one.

    LightGBM does not say when early stopping ends a training. The run then ends with the program, or when you call
    `finish`; only then it gets its best iteration and score, as extras.

    Args:
        run: the run to log to, default: the run that environment variables name, or a new one.
        experiment: name or id of the experiment of a new run; may be None if the environment names it.
        client: client for a new run, default: one for the configured database.

    Raises:
        UnusableValueError: (a ValueError) an argument has the wrong type, or nothing names the experiment.
        ConfigError: (a ValueError) the configuration cannot be used.
    """

    # After the callbacks that change parameters, before early stopping, which raises an exception.
    order = 25
    before_iteration = False

    def __init__(
        self,
        run: sqltrack.Run | None = None,
        *,
        experiment: str | int | sqltrack.Experiment | None = None,
        client: sqltrack.Client | None = None,
    ) -> None:
        self._tracker = Tracker(run, experiment, client, get_rank=first_rank)
        self._model: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_model": None}

    @property
    def run(self) -> sqltrack.Run | None:
        """The run; None before the first use."""
        return self._tracker.run

    def __call__(self, env: Any) -> None:
        """Add the metrics of an iteration; LightGBM calls this after each."""
        with self._tracker.guard():
            if env.iteration == env.begin_iteration:
                self._begin(env)
            progress = (env.iteration + 1) / env.end_iteration
            self._tracker.log(_metrics(env.evaluation_result_list or ()), env.iteration, progress)

    def finish(self) -> None:
        """Add the best iteration to the extras of the run, and set its status to COMPLETED."""
        self._tracker.end()

    def _begin(self, env: Any) -> None:
        # The previous training of this callback has ended, or it could not begin another one.
        self.finish()
        self._model = env.model
        self._tracker.begin(env.begin_iteration - 1 if env.begin_iteration else None, is_open=False)
        self._tracker.before_end = self._add_best
        self._tracker.add_args(env.params)

    def _add_best(self) -> None:
        iteration = getattr(self._model, "best_iteration", 0)
        if iteration > 0:
            # LightGBM counts it from 1, unlike the iterations.
            self._tracker.add_extras(best_iteration=iteration - 1, best_score=_plain(self._model.best_score))
        self._model = None


def _metrics(results: Any) -> dict[str, Any]:
    """Return the metrics of an iteration: tuples of evaluation set, name, value, direction and standard deviation."""
    metrics: dict[str, Any] = {}
    for data, name, value, _, *deviation in results:
        # In a cross-validation, versions before 4.4 name both in one text, such as "valid l2".
        if data == "cv_agg":
            data, _, name = name.partition(" ")
        metrics[f"{data}_{name}"] = value
        if deviation:
            metrics[f"{data}_{name}_std"] = deviation[0]
    return metrics


def _plain(scores: Any) -> dict[str, Any]:
    return {str(data): dict(values) for data, values in scores.items()}
