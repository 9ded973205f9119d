"""Connections stay open between the calls of tracked runs, and only then."""

from __future__ import annotations

from typing import Any

import pytest

import sqltrack
from sqltrack import Experiment
from support.databases import connect_to_postgres, steps


@pytest.fixture
def opened(client: sqltrack.Client, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """All connections that the client opens from now on."""
    connections: list[Any] = []
    connect = client.engine.connect

    def recording() -> Any:
        connections.append(connect())
        return connections[-1]

    monkeypatch.setattr(client.engine, "connect", recording)
    return connections


def test_runs_that_are_tracked_at_once_share_connections_until_the_last_is_stopped(
    client: sqltrack.Client, opened: list[Any]
) -> None:
    """Ruling 9."""
    experiment = Experiment(client, name="experiment")
    first, second = experiment.get_run(), experiment.get_run()
    opened.clear()
    with first.track():
        with second.track():
            second.add_metrics({"loss": 1.0}, step=2)
        first.add_metrics({"loss": 1.0}, step=1)
    assert len(opened) == 1
    first.add_metrics({"loss": 2.0}, step=3)
    assert len(opened) == 2


@pytest.mark.engines("postgres")
def test_a_block_begins_on_a_new_connection_if_the_server_has_ended_the_kept_one(
    client: sqltrack.Client, config: dict[str, Any], opened: list[Any]
) -> None:
    """Ruling 9."""
    run = Experiment(client, name="experiment").get_run()
    opened.clear()
    with run.track():
        run.add_metrics({"loss": 1.0}, step=0)
        with connect_to_postgres(config) as administrator:
            administrator.execute("SELECT pg_terminate_backend(%s, 10000)", (opened[0].info.backend_pid,))
        with client as connection:
            assert connection is not opened[0]
            run.add_metrics({"loss": 2.0}, step=1)
    assert opened[0].closed
    assert steps(config) == [0, 1]


def test_a_kept_connection_that_somebody_closed_costs_a_block_nothing(
    client: sqltrack.Client, config: dict[str, Any]
) -> None:
    run = Experiment(client, name="experiment").get_run()
    with run.track():
        with client as connection:
            pass
        connection.close()
        with client:
            run.add_metrics({"loss": 1.0}, step=0)
    assert steps(config) == [0]
