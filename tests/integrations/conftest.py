"""Shared by the tests of the integrations: rows of runs, and trainings in scripts that end in many ways.

The tests of a framework are not collected where it is not installed; `nox -s integrations` installs all.
"""

from __future__ import annotations

import importlib.util
import logging
import math
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from support.away import Outage, with_outbox
from support.processes import Script

# Keras reads this when it is imported. It shares torch with the other frameworks.
os.environ["KERAS_BACKEND"] = "torch"

# Test files and the packages that they need.
NEEDS = {
    "test_lightning.py": "lightning",
    "test_transformers.py": "transformers",
    "test_accelerate.py": "accelerate",
    "test_keras.py": "keras",
    "test_sklearn.py": "sklearn",
    "test_xgboost.py": "xgboost",
    "test_lightgbm.py": "lightgbm",
    "test_catboost.py": "catboost",
    "test_optuna.py": "optuna",
    "test_hydra.py": "hydra",
    "test_stable_baselines3.py": "stable_baselines3",
    "test_ranks.py": "torch",
}

collect_ignore = [file for file, package in NEEDS.items() if importlib.util.find_spec(package) is None]

# How a training ends, as code in the middle of it, and the status that its run then has.
ENDINGS = {
    "raise RuntimeError('no convergence')": "FAILED",
    "os.kill(os.getpid(), signal.SIGINT); time.sleep(5)": "CANCELLED",
    "os.kill(os.getpid(), signal.SIGTERM); time.sleep(5)": "CANCELLED",
    "sys.exit(3)": "FAILED",
}

# Imports the framework once, and trains in a forked child for each ending.
_FORKS = """
for ending in {endings!r}:
    child = os.fork()
    if child == 0:
        break
    os.waitpid(child, 0)
else:
    os._exit(0)

def strike():
    exec(ending)

"""


@pytest.fixture
def ending_statuses() -> dict[str, str]:
    """How a training ends, and the status that its run then has."""
    return dict(ENDINGS)


@pytest.fixture
def rows(client: sqltrack.Client) -> Callable[[sqltrack.Run | None], list[dict[str, Any]]]:
    """Return a function that returns the rows of a run by step, without missing values, run id and progress.

    NaN is a float on both engines; SQLite stores a text.
    """

    def rows(run: sqltrack.Run | None) -> list[dict[str, Any]]:
        assert run is not None
        result = client.execute("SELECT * FROM metrics WHERE run_id = %s ORDER BY step, progress", (run.id,))
        names = [column[0] for column in result.description or ()]
        found = [dict(zip(names, row)) for row in result]
        hidden = ("run_id", "progress")
        return [
            {name: math.nan if value == "NaN" else value for name, value in row.items() if value is not None}
            for row in ({name: value for name, value in row.items() if name not in hidden} for row in found)
        ]

    return rows


@pytest.fixture
def look(client: sqltrack.Client) -> Callable[..., Any]:
    """Return a function that returns a column of a run."""

    def look(run: sqltrack.Run | None, column: str) -> Any:
        assert run is not None
        return client.execute(f"SELECT {column} FROM runs WHERE id = %s", (run.id,)).fetchone()[0]

    return look


@pytest.fixture
def patient_client(config: dict[str, Any], tmp_path: Path) -> sqltrack.Client:
    """Client of the same database that soon writes to an outbox during an outage."""
    return sqltrack.Client(with_outbox(config, tmp_path / "outbox"))


@pytest.fixture
def outage(config: dict[str, Any]) -> Iterator[Callable[[bool], None]]:
    """Return a function that takes the database away, or gives it back."""
    away = Outage(config)
    begun = False

    def switch(is_away: bool) -> None:
        nonlocal begun
        if is_away != begun:
            begun = is_away
            (away.begin if is_away else away.end)()

    yield switch
    switch(False)


@pytest.fixture
def waits(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Return a function that returns the warnings of SQLTrack about an outage, without the one about its end."""

    def waits() -> list[str]:
        own = [record for record in caplog.records if record.name.startswith("sqltrack")]
        messages = [record.getMessage() for record in own if record.levelno >= logging.WARNING]
        return [message for message in messages if "all calls have arrived" not in message]

    return waits


@pytest.fixture
def end_in_all_ways(config: dict[str, Any], client: sqltrack.Client, tmp_path: Path) -> Callable[..., None]:
    """Return a function that runs a training once for each ending, and checks the statuses of the runs.

    Its arguments are the imports of the training, the training, which calls `strike()`, and endings with statuses.
    """

    def end_in_all_ways(imports: str, training: str, endings: Mapping[str, str] = ENDINGS) -> None:
        preamble = "import warnings\nwarnings.simplefilter('ignore')\n"
        text = preamble + imports + _FORKS.format(endings=list(endings)) + training
        with Script(text, config, patience=300) as script:
            print(script.finish().errors)
        found = [status for (status,) in client.execute("SELECT status FROM runs ORDER BY id")]
        assert dict(zip(endings, found)) == endings
        assert len(found) == len(endings)

    return end_in_all_ways
