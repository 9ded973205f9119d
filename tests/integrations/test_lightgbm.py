"""Train with LightGBM, and find its own evaluation history in the run."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import lightgbm
import numpy as np
import pytest

import sqltrack
from sqltrack.integrations.lightgbm import SQLTrackCallback
from support.processes import Script

pytestmark = pytest.mark.filterwarnings("ignore")

Rows = Callable[[Any], list[dict[str, Any]]]

X = np.random.default_rng(0).normal(size=(120, 3))
Y = X.sum(1)
PARAMS = {"objective": "regression", "metric": ["l2", "l1"], "verbose": -1, "num_threads": 1}

IMPORTS = """
import numpy, lightgbm
from sqltrack.integrations.lightgbm import SQLTrackCallback
"""

SCRIPT = """
def strike_at(env):
    if env.iteration == 2:
        strike()

data = lightgbm.Dataset(numpy.arange(80.0).reshape(-1, 1), numpy.arange(80.0))
callback = SQLTrackCallback(experiment="digits", client=client)
parameters = {"verbose": -1, "num_threads": 1}
lightgbm.train(parameters, data, 5, valid_sets=[data], callbacks=[callback, strike_at])
"""

STOPPED = """
import numpy, lightgbm
from sqltrack.integrations.lightgbm import SQLTrackCallback
x = numpy.arange(200.0).reshape(-1, 1)
data, other = lightgbm.Dataset(x, x[:, 0]), lightgbm.Dataset(x, x[::-1, 0])
callbacks = [SQLTrackCallback(experiment="digits", client=client), lightgbm.early_stopping(2, verbose=False)]
parameters = {"verbose": -1, "num_threads": 1}
model = lightgbm.train(parameters, data, 50, valid_sets=[other], callbacks=callbacks)
confirm(model.best_iteration)
"""


def train(callbacks: list[Any], rounds: int = 6, **options: Any) -> tuple[Any, list[Any]]:
    """Train, and return the model and its history as rows."""
    data = lightgbm.Dataset(X[:80], Y[:80], free_raw_data=False)
    other = lightgbm.Dataset(X[80:], Y[80:], reference=data, free_raw_data=False)
    history: dict[str, dict[str, list[float]]] = {}
    recording = lightgbm.record_evaluation(history)
    sets = {"valid_sets": [data, other], "valid_names": ["train", "validation"]}
    model = lightgbm.train(PARAMS, data, rounds, callbacks=[recording, *callbacks], **sets, **options)
    return model, as_rows(history)


def as_rows(history: Any) -> list[Any]:
    names = {f"{data}_{name}": values for data, metrics in history.items() for name, values in metrics.items()}
    number = len(next(iter(names.values())))
    return [{"step": i, **{name: values[i] for name, values in names.items()}} for i in range(number)]


def test_a_run_has_the_rows_of_the_history(client: sqltrack.Client, rows: Rows, look: Callable[..., Any]) -> None:
    callback = SQLTrackCallback(experiment="digits", client=client)
    _, history = train([callback])
    assert rows(callback.run) == history
    assert len(history) == 6
    assert PARAMS.items() <= look(callback.run, "args").items()
    assert client.execute("SELECT MAX(progress) FROM metrics").fetchone()[0] == 1.0
    callback.finish()
    assert look(callback.run, "status") == "COMPLETED"


def test_early_stopping_stores_the_best_iteration(
    client: sqltrack.Client, rows: Rows, look: Callable[..., Any]
) -> None:
    callback = SQLTrackCallback(experiment="digits", client=client)
    model, history = train([lightgbm.early_stopping(1, min_delta=0.5, verbose=False), callback], 50)
    callback.finish()
    assert len(history) < 50
    assert rows(callback.run) == history
    extras = look(callback.run, "extras")
    assert extras["best_iteration"] == model.best_iteration - 1
    best = extras["best_score"]["validation"]["l2"]
    assert best == history[model.best_iteration - 1]["validation_l2"] == model.best_score["validation"]["l2"]


def test_a_program_that_does_not_finish_gets_the_best_iteration_at_its_end(
    config: dict[str, Any], client: sqltrack.Client
) -> None:
    with Script(STOPPED, config) as script:
        best = int(script.read_line())
        script.succeed()
    ((status, extras),) = client.execute("SELECT status, extras FROM runs").fetchall()
    assert status == "COMPLETED"
    assert extras["best_iteration"] == best - 1


def test_estimators_and_cross_validations_take_the_callback(client: sqltrack.Client, rows: Rows) -> None:
    callback = SQLTrackCallback(experiment="digits", client=client)
    model = lightgbm.LGBMRegressor(n_estimators=4, verbose=-1)
    model.fit(X, Y, eval_set=[(X, Y)], callbacks=[callback])
    assert rows(callback.run) == as_rows(model.evals_result_)
    result = lightgbm.cv(PARAMS, lightgbm.Dataset(X, Y), 3, callbacks=[callback], stratified=False)
    assert [row["valid_l2"] for row in rows(callback.run)] == pytest.approx(result["valid l2-mean"])
    assert [row["valid_l2_std"] for row in rows(callback.run)] == pytest.approx(result["valid l2-stdv"])
    callback.finish()
    assert client.execute("SELECT status FROM runs").fetchall() == [("COMPLETED",)] * 2


def test_a_training_continues_its_run_from_a_model(client: sqltrack.Client, rows: Rows) -> None:
    callback = SQLTrackCallback(experiment="digits", client=client)
    model, history = train([SQLTrackCallback(experiment="digits", client=client)], 4)
    train([callback], 6)
    callback.finish()
    assert callback.run is not None
    again = SQLTrackCallback(sqltrack.Run(client, None, callback.run.id))
    _, later = train([again], 5, init_model=model)
    assert rows(callback.run) == [*history, *({**row, "step": row["step"] + 4} for row in later)]
    again.finish()


def test_nan_and_long_and_nested_parameters_arrive_unchanged(
    client: sqltrack.Client, rows: Rows, look: Callable[..., Any]
) -> None:
    callback = SQLTrackCallback(experiment="digits", client=client)
    data = lightgbm.Dataset(X, Y)
    params = {**PARAMS, "forcedbins_filename": "", "note": "x" * 10_000, "monotone_constraints": [0, 0, 0]}
    options: Any = {"feval": lambda predicted, data: ("odd", math.nan, False)}
    lightgbm.train(params, data, 1, valid_sets=[data], callbacks=[callback], **options)
    stored = look(callback.run, "args")
    assert stored["note"] == params["note"]
    assert stored["monotone_constraints"] == [0, 0, 0]
    assert math.isnan(rows(callback.run)[0]["training_odd"])
    callback.finish()


def test_an_outage_changes_nothing(
    patient_client: sqltrack.Client, outage: Callable[[bool], None], rows: Rows, waits: Any
) -> None:
    callback = SQLTrackCallback(experiment="digits", client=patient_client)
    _, history = train([lambda env: outage(2 <= env.iteration < 15), callback], 20)
    assert callback.run is not None
    assert callback.run.flush(60)
    assert rows(callback.run) == history
    assert len(waits()) == 1
    callback.finish()


@pytest.mark.engines("sqlite", reason="the frameworks end in the same way, whatever the database")
def test_a_training_that_does_not_reach_its_end_is_not_completed(
    end_in_all_ways: Callable[..., None], ending_statuses: dict[str, str]
) -> None:
    """LightGBM does not tell that a training ends, so an exit by the program ends it."""
    end_in_all_ways(IMPORTS, SCRIPT, ending_statuses | {"sys.exit(3)": "COMPLETED"})


@pytest.mark.engines("sqlite", reason="the database is not used")
def test_pickled_and_copied_callbacks_work(client: sqltrack.Client, rows: Rows) -> None:
    callback = SQLTrackCallback(experiment="digits", client=client)
    for other in (copy.deepcopy(callback), pickle.loads(pickle.dumps(callback))):  # noqa: S301
        _, history = train([other])
        assert rows(other.run) == history
        other.finish()
