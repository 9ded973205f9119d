"""Servers of the page for tests by raw HTTP: one for each engine and module."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import sqltrack
from sqltrack.commands.setup import set_up_quietly
from support.ui_server import PageServer, serving_here

# A database of the tests that lasts for a module, with three runs.
Config = dict[str, Any]


@pytest.fixture(scope="module")
def lasting_configs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Config]:
    """Return the configuration of a database with three runs, for the name of an engine."""
    made: dict[str, Config] = {}

    def make(engine: str) -> Config:
        if engine not in made:
            made[engine] = _new_config(engine, request, tmp_path_factory)
            _log_runs(sqltrack.Client(made[engine]))
        return made[engine]

    return make


def _new_config(engine: str, request: pytest.FixtureRequest, folders: pytest.TempPathFactory) -> Config:
    if engine == "postgres":
        create = request.getfixturevalue("create_lasting_database")
        return {**create(request.getfixturevalue("postgres_template")), "outbox": "off"}
    config = {"engine": "sqlite", "dbpath": str(folders.mktemp("page") / "sqltrack.db"), "outbox": "off"}
    set_up_quietly(sqltrack.Client(config))
    return config


def _log_runs(client: sqltrack.Client) -> None:
    experiment = sqltrack.Experiment(client, name='<script>alert("x")</script>')
    for number in range(3):
        run = experiment.get_run().set_args({"lr": 0.1 * number, "text": "=1+1"})
        with run.track():
            run.add_metrics({"loss": 1.0 / (number + 1)}, step=1)


@pytest.fixture(scope="module")
def servers(lasting_configs: Callable[[str], Config]) -> Iterator[Callable[[str], PageServer]]:
    """Return the read-only server of that database, for the name of an engine."""
    with contextlib.ExitStack() as stack:
        started: dict[str, PageServer] = {}

        def start(engine: str) -> PageServer:
            if engine not in started:
                client = sqltrack.Client(lasting_configs(engine))
                started[engine] = stack.enter_context(serving_here(client))
            return started[engine]

        yield start


@pytest.fixture
def server(engine_name: str, servers: Callable[[str], PageServer]) -> PageServer:
    """A read-only server of a database with three runs, on each engine."""
    return servers(engine_name)
