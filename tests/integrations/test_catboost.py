"""Train with CatBoost, and find its own evaluation history in the run."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from catboost import CatBoostRegressor

import sqltrack
from sqltrack.integrations.catboost import SQLTrackCallback

pytestmark = pytest.mark.filterwarnings("ignore")

Rows = Callable[[Any], list[dict[str, Any]]]

X = np.random.default_rng(0).normal(size=(60, 3))
Y = X.sum(1)

IMPORTS = """
import numpy, catboost
from sqltrack.integrations.catboost import SQLTrackCallback
"""

SCRIPT = """
class Strike:
    def after_iteration(self, info):
        if info.iteration == 3:
            strike()
        return True

x = numpy.arange(40.0).reshape(-1, 1)
callback = SQLTrackCallback(experiment="digits", client=client)
model = catboost.CatBoostRegressor(iterations=5, verbose=0, thread_count=1, allow_writing_files=False)
model.fit(x, x[:, 0], callbacks=[callback, Strike()])
"""


class At:
    """Calls a function with each iteration."""

    def __init__(self, call: Callable[[int], None]) -> None:
        self._call = call

    def after_iteration(self, info: Any) -> bool:
        self._call(info.iteration)
        return True


def train(callbacks: list[Any], iterations: int = 6, **options: Any) -> tuple[Any, list[Any]]:
    """Train, and return the model and its history as rows."""
    fit = {name: options.pop(name) for name in ("init_model",) if name in options}
    given = {"verbose": 0, "thread_count": 1, "allow_writing_files": False, **options}
    model = CatBoostRegressor(iterations=iterations, custom_metric=["MAE"], **given)
    model.fit(X[:40], Y[:40], eval_set=(X[40:], Y[40:]), callbacks=callbacks, **fit)
    names = {f"{data}_{name}": v for data, metrics in model.get_evals_result().items() for name, v in metrics.items()}
    number = len(names["learn_RMSE"])
    return model, [{"step": i, **{name: values[i] for name, values in names.items()}} for i in range(number)]


def test_a_run_has_the_rows_of_the_history(client: sqltrack.Client, rows: Rows, look: Callable[..., Any]) -> None:
    params = {"depth": 3, "prompt": "x" * 10_000, "layers": [{"size": 3, "bias": None}]}
    callback = SQLTrackCallback(experiment="digits", client=client, params=params)
    model, history = train([callback], depth=3)
    assert rows(callback.run) == history
    assert len(history) == 6
    callback.finish(model)
    assert look(callback.run, "args") == params
    assert look(callback.run, "status") == "COMPLETED"
    assert look(callback.run, "extras")["best_iteration"] == model.best_iteration_
    assert look(callback.run, "extras")["best_score"] == model.best_score_


def test_a_training_that_stops_early_has_its_best_iteration(
    client: sqltrack.Client, rows: Rows, look: Callable[..., Any]
) -> None:
    callback = SQLTrackCallback(experiment="digits", client=client)
    model, history = train([callback], 500, early_stopping_rounds=2, learning_rate=0.9)
    callback.finish(model)
    assert len(history) < 500
    assert rows(callback.run) == history
    assert look(callback.run, "extras")["best_iteration"] == model.best_iteration_ < len(history) - 1


def test_each_training_creates_a_run(client: sqltrack.Client) -> None:
    callback = SQLTrackCallback(experiment="digits", client=client)
    for iterations in (4, 3):
        train([callback], iterations)
    callback.finish()
    assert client.execute("SELECT COUNT(*) FROM metrics GROUP BY run_id ORDER BY run_id").fetchall() == [(4,), (3,)]
    assert client.execute("SELECT status FROM runs").fetchall() == [("COMPLETED",)] * 2


def test_an_outage_changes_nothing(
    patient_client: sqltrack.Client, outage: Callable[[bool], None], rows: Rows, waits: Any
) -> None:
    callback = SQLTrackCallback(experiment="digits", client=patient_client)
    _, history = train([At(lambda iteration: outage(2 <= iteration < 15)), callback], 20)
    assert callback.run is not None
    assert callback.run.flush(60)
    assert rows(callback.run) == history
    assert len(waits()) == 1
    callback.finish()


@pytest.mark.engines("sqlite", reason="the frameworks end in the same way, whatever the database")
def test_a_training_that_does_not_reach_its_end_is_not_completed(end_in_all_ways: Callable[..., None]) -> None:
    end_in_all_ways(IMPORTS, SCRIPT)


@pytest.mark.engines("sqlite", reason="the database is not used")
def test_pickled_and_copied_callbacks_work(client: sqltrack.Client, rows: Rows) -> None:
    callback = SQLTrackCallback(experiment="digits", client=client)
    for other in (copy.deepcopy(callback), pickle.loads(pickle.dumps(callback))):  # noqa: S301
        _, history = train([other])
        assert rows(other.run) == history
        other.finish()
