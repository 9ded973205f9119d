"""Train with Keras, and find its own history in the run."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

import sqltrack
from sqltrack.errors import UnusableValueError
from sqltrack.integrations.keras import SQLTrackCallback

pytestmark = pytest.mark.filterwarnings("ignore")

Rows = Callable[[Any], list[dict[str, Any]]]

X = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
Y = X.sum(1)

IMPORTS = """
os.environ["KERAS_BACKEND"] = "torch"
import keras, numpy
from sqltrack.integrations.keras import SQLTrackCallback
"""

SCRIPT = """
class Strike(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if batch == 2:
            strike()

model = keras.Sequential([keras.layers.Dense(1)])
model.compile("sgd", "mse")
callback = SQLTrackCallback(experiment="digits", client=client)
model.fit(numpy.ones((8, 1)), numpy.ones(8), batch_size=2, verbose=0, callbacks=[callback, Strike()])
"""


class At(keras.callbacks.Callback):
    """Calls a function at the end of each epoch."""

    def __init__(self, call: Callable[[int], None]) -> None:
        super().__init__()
        self._call = call

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._call(epoch)


def model(**options: Any) -> Any:
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.01, **options), "mse", metrics=["mae"])
    return model


def fit(m: Any, callbacks: list[Any], epochs: int = 3, y: Any = Y, **options: Any) -> Any:
    return m.fit(X, y, epochs=epochs, batch_size=8, validation_split=0.2, verbose=0, callbacks=callbacks, **options)


def as_rows(history: Any) -> list[Any]:
    return [
        pytest.approx({"step": epoch, **{name: values[index] for name, values in history.history.items()}}, nan_ok=True)
        for index, epoch in enumerate(history.epoch)
    ]


def test_a_run_has_the_rows_of_the_history(client: sqltrack.Client, rows: Rows, look: Callable[..., Any]) -> None:
    callback = SQLTrackCallback(experiment="digits", client=client)
    history = fit(model(), [callback])
    assert set(history.history) == {"loss", "mae", "val_loss", "val_mae"}
    assert rows(callback.run) == as_rows(history)
    assert look(callback.run, "status") == "COMPLETED"
    assert look(callback.run, "args")["optimizer"]["learning_rate"] == pytest.approx(0.01)
    progress = client.execute("SELECT progress FROM metrics ORDER BY step").fetchall()
    assert progress == [pytest.approx((epoch / 3,)) for epoch in (1, 2, 3)]


@pytest.mark.parametrize("options", [{}, {"gradient_accumulation_steps": 2}], ids=["each_batch", "accumulated"])
def test_batches_are_counted_as_by_the_optimizer(client: sqltrack.Client, rows: Rows, options: dict[str, Any]) -> None:
    callback = SQLTrackCallback(experiment="digits", client=client, every_batches=2)
    m = model(**options)
    history = fit(m, [callback], epochs=2)
    found = rows(callback.run)
    last = int(m.optimizer.iterations)
    assert found[-1]["step"] == last
    assert [row["epoch"] for row in found if "epoch" in row] == [0, 1]
    assert [row["step"] for row in found if "batch_loss" in row] == list(range(2, last + 1, 2))
    assert found[-1]["val_loss"] == pytest.approx(history.history["val_loss"][-1])


def test_an_unusable_number_of_batches_is_refused(client: sqltrack.Client) -> None:
    with pytest.raises(UnusableValueError, match="every_batches must be at least 1, got 0"):
        SQLTrackCallback(experiment="digits", client=client, every_batches=0)


def test_nan_and_long_names_arrive_unchanged(client: sqltrack.Client, rows: Rows, look: Callable[..., Any]) -> None:
    callback = SQLTrackCallback(experiment="digits", client=client)
    fit(model(name="x" * 10_000), [callback], epochs=1, y=Y * math.nan)
    assert math.isnan(rows(callback.run)[0]["loss"])
    assert look(callback.run, "args")["optimizer"]["name"] == "x" * 10_000


def test_a_training_continues_its_run(client: sqltrack.Client, rows: Rows, look: Callable[..., Any]) -> None:
    def stop(epoch: int) -> None:
        if epoch == 3:
            raise RuntimeError("no convergence")

    callback = SQLTrackCallback(experiment="digits", client=client)
    m = model()
    with pytest.raises(RuntimeError):
        fit(m, [callback, At(stop)], epochs=6)
    assert callback.run is not None
    assert [row["step"] for row in rows(callback.run)] == [0, 1, 2, 3]
    again = SQLTrackCallback(sqltrack.Run(client, None, callback.run.id))
    # Another number of epochs gives another progress.
    history = fit(m, [again], epochs=5, initial_epoch=2)
    assert [row["step"] for row in rows(callback.run)] == [0, 1, 2, 3, 4]
    assert rows(callback.run)[2:] == as_rows(history)
    assert look(callback.run, "status") == "COMPLETED"


def test_each_training_creates_a_run_unless_it_continues(client: sqltrack.Client) -> None:
    callback = SQLTrackCallback(experiment="digits", client=client)
    m = model()
    fit(m, [callback], epochs=2)
    fit(m, [callback], epochs=4, initial_epoch=2)
    fit(m, [callback], epochs=1)
    assert client.execute("SELECT COUNT(*) FROM metrics GROUP BY run_id ORDER BY run_id").fetchall() == [(4,), (1,)]


def test_an_outage_changes_nothing(
    patient_client: sqltrack.Client, outage: Callable[[bool], None], rows: Rows, waits: Any
) -> None:
    callback = SQLTrackCallback(experiment="digits", client=patient_client)
    history = fit(model(), [At(lambda epoch: outage(2 <= epoch < 7)), callback], epochs=10)
    assert callback.run is not None
    assert callback.run.flush(60)
    assert rows(callback.run) == as_rows(history)
    assert len(waits()) == 1


@pytest.mark.engines("sqlite", reason="the frameworks end in the same way, whatever the database")
def test_a_training_that_does_not_reach_its_end_is_not_completed(end_in_all_ways: Callable[..., None]) -> None:
    end_in_all_ways(IMPORTS, SCRIPT)


@pytest.mark.engines("sqlite", reason="the database is not used")
def test_pickled_and_copied_callbacks_work(client: sqltrack.Client, rows: Rows) -> None:
    callback = SQLTrackCallback(experiment="digits", client=client)
    for other in (copy.deepcopy(callback), pickle.loads(pickle.dumps(callback))):  # noqa: S301
        history = fit(model(), [other], epochs=1)
        assert rows(other.run) == as_rows(history)
