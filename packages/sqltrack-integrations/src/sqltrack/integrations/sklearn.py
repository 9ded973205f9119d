"""Log the searches of scikit-learn, with one run for each candidate.

    search = GridSearchCV(…).fit(X, y)
    runs = track_search(search, experiment="digits")

Tested with scikit-learn 1.4 to 1.9. Needs no import of it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import sqltrack
from sqltrack.errors import UnusableValueError
from sqltrack.integrations._tracker import Tracker, first_rank

__all__ = ["track_search"]

# A result of one fold, as cv_results_ names it.
_FOLD = re.compile(r"split(\d+)_(\w+)")


def track_search(
    search: Any,
    run: sqltrack.Run | None = None,
    *,
    experiment: str | int | sqltrack.Experiment | None = None,
    client: sqltrack.Client | None = None,
) -> list[sqltrack.Run]:
    """Store a fitted search: a run for each candidate, with its parameters as arguments and its folds as steps.

    The metrics of a row are `test_score` and `train_score`, or in a search with several scorers `test_NAME` and
    `train_NAME`. The other results, such as ranks, means and times, are extras, under the key `search`. A candidate
    whose scores are NaN, because no fit has succeeded, is FAILED.

    If the database fails, a warning says so, and the function returns the runs that it has stored.

    Args:
        search: a fitted `GridSearchCV`, `RandomizedSearchCV`, or any other object with `cv_results_`.
        run: a run that all candidates are linked to, as "candidate of"; they are stored in its experiment.
        experiment: name or id of the experiment; may be None if `run` or the environment names it.
        client: client to use, default: one for the configured database.

    Returns:
        The runs, in the order of `cv_results_`.

    Raises:
        UnusableValueError: (a ValueError) the search is not fitted, an argument has the wrong type, or nothing names
            the experiment.
        ConfigError: (a ValueError) the configuration cannot be used.
    """
    results = getattr(search, "cv_results_", None)
    if not isinstance(results, Mapping) or "params" not in results:
        raise UnusableValueError(f"search has no results: {type(search).__name__!r}", "call search.fit(X, y) first")
    tracker = Tracker(run, experiment, client, get_rank=first_rank)
    runs: list[sqltrack.Run] = []
    with tracker.guard():
        for index in range(len(results["params"])):
            candidate = {name: values[index] for name, values in results.items() if not name.startswith("param_")}
            child = tracker.create_child("candidate of", candidate.pop("params"))
            if child is not None:
                runs.append(_store(candidate, child))
    return runs


def _store(candidate: dict[str, Any], run: sqltrack.Run) -> sqltrack.Run:
    """Store the results of a candidate, and end its run."""
    scores = [value for name, value in candidate.items() if name.startswith("mean_test_")]
    has_failed = bool(scores) and all(math.isnan(value) for value in scores)
    rows: dict[int, dict[str, Any]] = {}
    for name in list(candidate):
        match = _FOLD.fullmatch(name)
        if match is not None:
            rows.setdefault(int(match[1]), {})[match[2]] = candidate.pop(name)
    run.add_metrics_many({"step": fold, **metrics} for fold, metrics in rows.items())
    run.add_extras({"search": candidate})
    return run.stop("FAILED" if has_failed else "COMPLETED")
