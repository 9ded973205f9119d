"""Search with scikit-learn, and find its results in the runs."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV

import sqltrack
from sqltrack.errors import UnusableValueError
from sqltrack.integrations.sklearn import track_search

pytestmark = pytest.mark.filterwarnings("ignore")

Rows = Callable[[Any], list[dict[str, Any]]]

X = np.random.default_rng(0).normal(size=(60, 3))
Y = X.sum(1)


def search(**options: Any) -> Any:
    return GridSearchCV(Ridge(), {"alpha": [0.1, 1.0, 10.0]}, cv=4, return_train_score=True, **options)


def test_each_candidate_is_a_run_with_its_folds_as_steps(
    client: sqltrack.Client, rows: Rows, look: Callable[..., Any]
) -> None:
    fitted = search().fit(X, Y)
    runs = track_search(fitted, experiment="digits", client=client)
    results = fitted.cv_results_
    assert [look(run, "args") for run in runs] == results["params"]
    for index, run in enumerate(runs):
        assert rows(run) == [
            {
                "step": fold,
                "test_score": results[f"split{fold}_test_score"][index],
                "train_score": results[f"split{fold}_train_score"][index],
            }
            for fold in range(4)
        ]
        stored = look(run, "extras")["search"]
        assert stored["rank_test_score"] == results["rank_test_score"][index]
        assert stored["mean_test_score"] == results["mean_test_score"][index]
        assert look(run, "status") == "COMPLETED"


def test_several_scorers_are_several_metrics(client: sqltrack.Client, rows: Rows) -> None:
    fitted = search(scoring=["r2", "neg_mean_absolute_error"], refit="r2").fit(X, Y)
    run = track_search(fitted, experiment="digits", client=client)[0]
    names = {"step", *(f"{part}_{name}" for part in ("test", "train") for name in ("r2", "neg_mean_absolute_error"))}
    assert all(set(row) == names for row in rows(run))


def test_a_candidate_that_cannot_be_fitted_has_failed(
    client: sqltrack.Client, rows: Rows, look: Callable[..., Any]
) -> None:
    fitted = GridSearchCV(Ridge(), {"alpha": [-1.0, 1.0]}, cv=2, refit=False).fit(X, Y)
    runs = track_search(fitted, experiment="digits", client=client)
    assert [look(run, "status") for run in runs] == ["FAILED", "COMPLETED"]
    assert math.isnan(rows(runs[0])[0]["test_score"])


def test_a_halving_search_stores_its_resources(client: sqltrack.Client, look: Callable[..., Any]) -> None:
    fitted = HalvingGridSearchCV(Ridge(), {"alpha": [0.1, 1.0, 10.0]}, cv=2).fit(X, Y)
    runs = track_search(fitted, experiment="digits", client=client)
    resources = [look(run, "extras")["search"]["n_resources"] for run in runs]
    assert resources == list(fitted.cv_results_["n_resources"])


def test_candidates_are_linked_to_a_given_run(run: sqltrack.Run) -> None:
    runs = track_search(search().fit(X, Y), run)
    links = run.client.execute("SELECT from_id, kind, to_id FROM run_links ORDER BY from_id").fetchall()
    assert links == [(candidate.id, "candidate of", run.id) for candidate in runs]


def test_a_search_without_results_is_refused(client: sqltrack.Client) -> None:
    with pytest.raises(UnusableValueError, match=r"search has no results: 'GridSearchCV'; call search.fit"):
        track_search(search(), experiment="digits", client=client)


def test_a_database_that_fails_costs_a_warning(tmp_path: Path, waits: Callable[[], list[str]]) -> None:
    client = sqltrack.Client(engine="sqlite", dbpath=str(tmp_path / "missing" / "sqltrack.db"))
    assert track_search(search().fit(X, Y), experiment="digits", client=client) == []
    assert len(waits()) == 1
