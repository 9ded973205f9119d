"""Log the trials of Optuna, with one run for each trial.

    study.optimize(objective, n_trials=20, callbacks=[SQLTrackCallback(experiment="digits")])

Tested with Optuna 3.6 to 5.0. Needs no import of it.
"""

from __future__ import annotations

from typing import Any

import sqltrack
from sqltrack.integrations._tracker import Tracker, first_rank

__all__ = ["SQLTrackCallback"]

# Statuses of runs by the states of trials.
_STATUSES = {"COMPLETE": "COMPLETED", "PRUNED": "CANCELLED", "FAIL": "FAILED"}


class SQLTrackCallback:
    """A callback of Optuna's studies that stores each trial as a run, when it has ended.

    The parameters become arguments. Intermediate values are the metric `intermediate_value` at their steps. The value
    is the metric `value` in the last row; a study with several objectives has `value_0`, `value_1` and so on, or the
    names that it gives them. The extras hold study, number, state, directions and user attributes, under the key
    `optuna`. A pruned trial is CANCELLED and has the tag "pruned". Parallel workers, threads or processes, each store
    the trials that they have run. Optuna does not call callbacks for a trial whose exception ends `optimize`.

    Args:
        run: a run that all trials are linked to, as "trial of"; they are stored in its experiment.
        experiment: name or id of the experiment; may be None if `run` or the environment names it.
        client: client to use, default: one for the configured database.

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
    ) -> None:
        self._tracker = Tracker(run, experiment, client, get_rank=first_rank)

    def __call__(self, study: Any, trial: Any) -> None:
        """Store a trial; Optuna calls this after each."""
        with self._tracker.guard():
            run = self._tracker.create_child("trial of", trial.params, _time(trial.datetime_start))
            if run is None:
                return
            run.add_metrics_many(_rows(study, trial))
            state = trial.state.name
            run.add_extras({"optuna": _origin(study, trial)})
            if state == "PRUNED":
                run.add_tags("pruned")
            run.stop(_STATUSES.get(state, state), _time(trial.datetime_complete))


def _time(dt: Any) -> Any:
    # Optuna's times are local and have no time zone.
    return "auto" if dt is None else dt.astimezone()


def _rows(study: Any, trial: Any) -> list[dict[str, Any]]:
    rows = {step: {"intermediate_value": value} for step, value in trial.intermediate_values.items()}
    if trial.values is not None:
        names = getattr(study, "metric_names", None)
        if names is None:
            names = ["value"] if len(trial.values) == 1 else [f"value_{index}" for index in range(len(trial.values))]
        rows.setdefault(max(rows, default=0), {}).update(zip(names, trial.values))
    return [{"step": step, **metrics} for step, metrics in sorted(rows.items())]


def _origin(study: Any, trial: Any) -> dict[str, Any]:
    return {
        "study": study.study_name,
        "trial": trial.number,
        "state": trial.state.name,
        "directions": [direction.name for direction in study.directions],
        "user_attrs": dict(trial.user_attrs),
    }
