"""Train with Stable-Baselines3, and find in the run what its own logger of CSV files has."""

from __future__ import annotations

import copy
import csv
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from stable_baselines3 import A2C
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import CSVOutputFormat, HParam, Image, Logger

import sqltrack
from sqltrack.integrations.stable_baselines3 import SQLTrackWriter

pytestmark = pytest.mark.filterwarnings("ignore")

Rows = Callable[[Any], list[dict[str, Any]]]

IMPORTS = """
from stable_baselines3 import A2C
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.callbacks import BaseCallback
from sqltrack.integrations.stable_baselines3 import SQLTrackWriter
"""

SCRIPT = """
class Strike(BaseCallback):
    def _on_step(self):
        if self.n_calls == 30:
            strike()
        return True

model = A2C("MlpPolicy", "CartPole-v1", device="cpu")
model.set_logger(Logger(None, [SQLTrackWriter(experiment="digits", client=client)]))
model.learn(60, log_interval=2, callback=Strike())
model.logger.close()
"""


class At(BaseCallback):
    """Calls a function with each step."""

    def __init__(self, call: Callable[[int], None]) -> None:
        super().__init__()
        self._call = call

    def _on_step(self) -> bool:
        self._call(self.num_timesteps)
        return True


def learn(writer: SQLTrackWriter, folder: Path, at: Callable[[int], None] = lambda step: None) -> list[Any]:
    """Train, and return the rows of the CSV file."""
    path = folder / "progress.csv"
    model = A2C("MlpPolicy", "CartPole-v1", device="cpu", seed=0)
    model.set_logger(Logger(None, [writer, CSVOutputFormat(str(path))]))
    model.learn(200, log_interval=4, callback=At(at))
    model.logger.close()
    with path.open() as file:
        rows = [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]
    return [pytest.approx({"step": row["time/total_timesteps"], **row}) for row in rows]


def test_a_run_has_the_rows_of_the_loggers_file(
    client: sqltrack.Client, rows: Rows, look: Callable[..., Any], tmp_path: Path
) -> None:
    writer = SQLTrackWriter(experiment="digits", client=client, params={"policy": "MlpPolicy"})
    expected = learn(writer, tmp_path)
    assert len(expected) == 10
    assert rows(writer.run) == expected
    assert look(writer.run, "args") == {"policy": "MlpPolicy"}
    assert look(writer.run, "status") == "COMPLETED"


def test_only_values_are_stored(client: sqltrack.Client, rows: Rows, look: Callable[..., Any]) -> None:
    writer = SQLTrackWriter(experiment="digits", client=client)
    logger = Logger(None, [writer])
    logger.record("loss", math.nan)
    logger.record("note", "x" * 10_000)
    logger.record("secret", 1.0, exclude="sqltrack")
    logger.record("image", Image(None, "HWC"))  # type: ignore[arg-type]
    logger.record("params", HParam({"lr": 0.1}, {"loss": 0.0}))
    logger.dump(5)
    logger.close()
    (row,) = rows(writer.run)
    assert math.isnan(row.pop("loss"))
    assert row == {"step": 5, "note": "x" * 10_000}
    assert look(writer.run, "args") == {"lr": 0.1}


def test_an_outage_changes_nothing(
    patient_client: sqltrack.Client, outage: Callable[[bool], None], rows: Rows, waits: Any, tmp_path: Path
) -> None:
    writer = SQLTrackWriter(experiment="digits", client=patient_client)
    expected = learn(writer, tmp_path, lambda step: outage(50 <= step < 150))
    assert writer.run is not None
    assert writer.run.flush(60)
    assert rows(writer.run) == expected
    assert len(waits()) == 1


@pytest.mark.engines("sqlite", reason="the frameworks end in the same way, whatever the database")
def test_a_training_that_does_not_reach_its_end_is_not_completed(
    end_in_all_ways: Callable[..., None], ending_statuses: dict[str, str]
) -> None:
    """The logger does not tell that a training ends, so an exit by the program ends it."""
    end_in_all_ways(IMPORTS, SCRIPT, ending_statuses | {"sys.exit(3)": "COMPLETED"})


@pytest.mark.engines("sqlite", reason="the database is not used")
def test_pickled_and_copied_writers_work(client: sqltrack.Client, rows: Rows) -> None:
    writer = SQLTrackWriter(experiment="digits", client=client)
    for other in (copy.deepcopy(writer), pickle.loads(pickle.dumps(writer))):  # noqa: S301
        other.write({"loss": 0.5}, {}, 3)
        other.close()
        assert rows(other.run) == [{"step": 3, "loss": 0.5}]
