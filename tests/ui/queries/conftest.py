"""A database with a few runs of many kinds."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

import sqltrack
from sqltrack.commands import setup
from sqltrack.ui import queries
from sqltrack.ui.queries import _cache
from support.connections import on_one_connection
from support.extras import add_extras

NOW = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)

# The arguments of runs 1 to 6; run 6 has none, and no rows.
ARGS: dict[int, dict[str, Any]] = {
    1: {"lr": 0.1, "model": {"name": "tiny"}, "seed": 1, "amp": True},
    2: {"lr": 0.1, "model": {"name": "tiny"}, "seed": 2, "amp": True},
    3: {"lr": 1, "model": {"name": "50% <b>'\"big\"'</b>"}, "seed": 1, "amp": False},
    4: {"lr": "auto", "model": {"name": "tiny"}, "seed": 1, 'odd "name"; --': "x"},
    5: {"lr": math.nan, "seed": 1},
}


@pytest.fixture(autouse=True)
def _results_are_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no result count as slow, even on a busy machine."""
    monkeypatch.setattr(_cache, "_SLOW", math.inf)


def fill(client: sqltrack.Client) -> None:
    """Store runs 1 to 6 of two experiments; higher ids are newer."""
    with on_one_connection(client):
        for run_id in range(1, 7):
            run = sqltrack.Experiment(client, name="second" if run_id == 3 else "first").get_run(run_id)
            run.set_created(NOW + timedelta(hours=run_id)).set_status("FAILED" if run_id == 2 else "COMPLETED")
            if run_id in ARGS:
                run.set_args(ARGS[run_id]).set_started(NOW)
                for step in range(4):
                    loss = math.nan if step == 3 and run_id == 2 else 1.0 / (run_id + step)
                    run.add_metrics({"loss": loss, "acc%": run_id + step % 3}, step=step, progress=step / 4)
                run.set_updated(NOW + timedelta(minutes=run_id))
        sqltrack.Run(client, run_id=1).add_tags("baseline", "50%").set_comment("The FIRST")
        sqltrack.Run(client, run_id=4).add_tags("baseline")
        add_extras(client, 3, {1: {"rare": 7.5}, 2: {"rare": "NaN"}})


@pytest.fixture
def filled(client: sqltrack.Client) -> sqltrack.Client:
    """Client of a database with the runs of `fill`, for tests that change them."""
    fill(client)
    return client


@pytest.fixture
def changing(filled: sqltrack.Client) -> Iterator[queries.Database]:
    """That database, to look at."""
    with queries.Database(filled) as source:
        yield source


@pytest.fixture(scope="session")
def shared_configs() -> dict[str, dict[str, Any]]:
    """Configurations of databases that tests share, by engine."""
    return {}


@pytest.fixture
def source(
    engine_name: str,
    shared_configs: dict[str, dict[str, Any]],
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[queries.Database]:
    """A database with the same runs, to look at only."""
    if engine_name not in shared_configs:
        if engine_name == "sqlite":
            config = {"engine": "sqlite", "dbpath": str(tmp_path_factory.mktemp("shared") / "sqltrack.db")}
            setup(sqltrack.Client(config))
        else:
            create = request.getfixturevalue("create_lasting_database")
            config = create(request.getfixturevalue("postgres_template"))
        fill(sqltrack.Client(config))
        shared_configs[engine_name] = config
    with queries.Database(sqltrack.Client(shared_configs[engine_name])) as source:
        yield source
