"""Train with XGBoost, and find its own evaluation history in the run."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xgboost
from xgboost.callback import EarlyStopping, TrainingCallback

import sqltrack
from sqltrack.integrations.xgboost import SQLTrackCallback

pytestmark = pytest.mark.filterwarnings("ignore")

Rows = Callable[[Any], list[dict[str, Any]]]

X = np.random.default_rng(0).normal(size=(60, 3))
Y = X.sum(1)
PARAMS = {"objective": "reg:squarederror", "eval_metric": ["rmse", "mae"]}

IMPORTS = """
import numpy, xgboost
from sqltrack.integrations.xgboost import SQLTrackCallback
"""

SCRIPT = """
class Strike(xgboost.callback.TrainingCallback):
    def after_iteration(self, model, epoch, evals_log):
        if epoch == 2:
            strike()
        return False

data = xgboost.DMatrix(numpy.arange(20.0).reshape(-1, 1), numpy.arange(20.0))
callback = SQLTrackCallback(experiment="digits", client=client)
options = dict(evals=[(data, "train")], callbacks=[callback, Strike()], verbose_eval=False)
xgboost.train({"nthread": 1}, data, 5, **options)
"""


class At(TrainingCallback):
    """Calls a function with each iteration."""

    def __init__(self, call: Callable[[int], None]) -> None:
        self._call = call

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        self._call(epoch)
        return False


def train(callbacks: list[Any], rounds: int = 6, **options: Any) -> tuple[Any, list[Any]]:
    """Train, and return the model and its history as rows."""
    data, other = xgboost.DMatrix(X[:40], Y[:40]), xgboost.DMatrix(X[40:], Y[40:])
    history: dict[str, dict[str, list[float]]] = {}
    model = xgboost.train(
        PARAMS,
        data,
        rounds,
        evals=[(data, "train"), (other, "validation")],
        callbacks=callbacks,
        evals_result=history,
        verbose_eval=False,
        **options,
    )
    return model, as_rows(history)


def as_rows(history: Any, first: int = 0) -> list[Any]:
    names = {f"{data}_{name}": values for data, metrics in history.items() for name, values in metrics.items()}
    number = len(next(iter(names.values())))
    return [{"step": first + i, **{name: values[i] for name, values in names.items()}} for i in range(number)]


def test_a_run_has_the_rows_of_the_history(client: sqltrack.Client, rows: Rows, look: Callable[..., Any]) -> None:
    callback = SQLTrackCallback(experiment="digits", client=client, params=PARAMS)
    _, history = train([callback])
    assert rows(callback.run) == history
    assert len(history) == 6
    assert look(callback.run, "args") == PARAMS
    assert look(callback.run, "status") == "COMPLETED"


@pytest.mark.parametrize("is_last", [False, True])
def test_early_stopping_stores_the_best_iteration(
    client: sqltrack.Client, rows: Rows, look: Callable[..., Any], is_last: bool
) -> None:
    """After the iteration in which another callback ends the training, later callbacks are not called."""
    callback = SQLTrackCallback(experiment="digits", client=client)
    stopping = EarlyStopping(rounds=2, min_delta=0.5)
    model, history = train([stopping, callback] if is_last else [callback, stopping], 50)
    assert len(history) < 50
    assert rows(callback.run) == history
    assert look(callback.run, "extras") == {"best_iteration": model.best_iteration, "best_score": model.best_score}


def test_estimators_and_cross_validations_take_the_callback(client: sqltrack.Client, rows: Rows) -> None:
    callback = SQLTrackCallback(experiment="digits", client=client)
    model = xgboost.XGBRegressor(n_estimators=4, callbacks=[callback])
    model.fit(X, Y, eval_set=[(X, Y)], verbose=False)
    assert rows(callback.run) == as_rows(model.evals_result())
    result = xgboost.cv(PARAMS, xgboost.DMatrix(X, Y), 3, callbacks=[callback], as_pandas=False)
    found = rows(callback.run)
    assert [row["test_rmse"] for row in found] == pytest.approx(result["test-rmse-mean"])
    assert [row["test_rmse_std"] for row in found] == pytest.approx(result["test-rmse-std"])
    assert client.execute("SELECT COUNT(*) FROM runs").fetchone()[0] == 2


def test_a_training_continues_its_run_from_a_model(client: sqltrack.Client, rows: Rows) -> None:
    def stop(epoch: int) -> None:
        if epoch == 5:
            raise RuntimeError("no convergence")

    callback = SQLTrackCallback(experiment="digits", client=client)
    model, history = train([SQLTrackCallback(experiment="digits", client=client)], 4)
    with pytest.raises(RuntimeError):
        train([callback, At(stop)])
    assert callback.run is not None
    # The versions of XGBoost differ in the order of callbacks.
    assert len(rows(callback.run)) in (5, 6)
    again = SQLTrackCallback(sqltrack.Run(client, None, callback.run.id))
    _, later = train([again], 5, xgb_model=model)
    assert rows(callback.run) == [*history, *({**row, "step": row["step"] + 4} for row in later)]


def test_nan_and_long_and_nested_parameters_arrive_unchanged(
    client: sqltrack.Client, rows: Rows, look: Callable[..., Any]
) -> None:
    params = {"prompt": "x" * 10_000, "layers": [{"size": 3, "bias": None}]}
    callback = SQLTrackCallback(experiment="digits", client=client, params=params)
    data = xgboost.DMatrix(X, Y)
    options: Any = {"custom_metric": lambda predicted, data: ("odd", math.nan), "verbose_eval": False}
    xgboost.train({}, data, 1, evals=[(data, "train")], callbacks=[callback], **options)
    assert look(callback.run, "args") == params
    assert math.isnan(rows(callback.run)[0]["train_odd"])


def test_an_outage_changes_nothing(
    patient_client: sqltrack.Client, outage: Callable[[bool], None], rows: Rows, waits: Any
) -> None:
    callback = SQLTrackCallback(experiment="digits", client=patient_client)
    _, history = train([At(lambda epoch: outage(2 <= epoch < 15)), callback], 20)
    assert callback.run is not None
    assert callback.run.flush(60)
    assert rows(callback.run) == history
    assert len(waits()) == 1


@pytest.mark.engines("sqlite", reason="the frameworks end in the same way, whatever the database")
def test_a_training_that_does_not_reach_its_end_is_not_completed(end_in_all_ways: Callable[..., None]) -> None:
    end_in_all_ways(IMPORTS, SCRIPT)


@pytest.mark.engines("sqlite", reason="the database is not used")
def test_pickled_and_copied_callbacks_work(client: sqltrack.Client, rows: Rows) -> None:
    callback = SQLTrackCallback(experiment="digits", client=client)
    for other in (copy.deepcopy(callback), pickle.loads(pickle.dumps(callback))):  # noqa: S301
        _, history = train([other])
        assert rows(other.run) == history
