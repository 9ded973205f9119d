"""Connections stay open between calls: of tracked runs, and elsewhere for a moment."""

from __future__ import annotations

import select
import struct
import time
from typing import Any

import psycopg
import pytest

import sqltrack
from sqltrack import Experiment
from support.connections import count_connections, record_connections
from support.cut_proxy import CutProxy
from support.databases import connect_to_postgres, statuses, steps
from support.logging_threads import wait_until


@pytest.fixture
def opened(client: sqltrack.Client, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """All connections that the client opens from now on."""
    return record_connections(client, monkeypatch)


def test_runs_that_are_tracked_at_once_share_connections_until_the_last_is_stopped(
    client: sqltrack.Client, opened: list[Any]
) -> None:
    experiment = Experiment(client, name="experiment")
    first, second = experiment.get_run(), experiment.get_run()
    with first.track():
        with second.track():
            second.add_metrics({"loss": 1.0}, step=2)
        first.add_metrics({"loss": 1.0}, step=1)
    assert len(opened) == 1
    first.add_metrics({"loss": 2.0}, step=3)
    assert len(opened) == 2


@pytest.mark.not_pooled("it asks psycopg for the process id of the server's session, which a pooler hides")
@pytest.mark.engines("postgres")
def test_a_block_begins_on_a_new_connection_if_the_server_has_ended_the_kept_one(
    client: sqltrack.Client, config: dict[str, Any], opened: list[Any]
) -> None:
    run = Experiment(client, name="experiment").get_run()
    with run.track():
        run.add_metrics({"loss": 1.0}, step=0)
        pid = opened[0].info.backend_pid
        with connect_to_postgres(config) as administrator:
            administrator.execute("SELECT pg_terminate_backend(%s)", (pid,))
            sql = "SELECT FROM pg_stat_activity WHERE pid = %s"
            wait_until(lambda: administrator.execute(sql, (pid,)).fetchone() is None)
        with client as connection:
            assert connection is not opened[0]
            run.add_metrics({"loss": 2.0}, step=1)
    assert opened[0].closed
    assert steps(config) == [0, 1]


def message(kind: bytes, **fields: str) -> bytes:
    """Return a message of the server (PostgreSQL manual, 55.7)."""
    body = b"".join(f"{name}{value}\0".encode() for name, value in fields.items()) + b"\0"
    return kind + struct.pack("!I", len(body) + 4) + body


@pytest.mark.not_pooled("it has a proxy of its own")
@pytest.mark.parametrize(
    ("said", "is_kept"),
    [
        (message(b"E", S="ÜBEL", V="FATAL", C="57P01", M="terminating connection due to administrator command"), False),
        (message(b"N", S="WARNING", V="WARNING", C="01000", M="a word to all"), True),
    ],
    ids=["the end", "a warning"],
)
def test_messages_of_the_server_decide_whether_a_connection_is_reused(
    create_database: Any, postgres_template: str, postgres_server: Any, said: bytes, is_kept: bool
) -> None:
    """The server announces the end of a session, and the announcement arrives a moment later."""
    config = create_database(postgres_template)
    address = psycopg.conninfo.conninfo_to_dict(postgres_server.dsn)
    with CutProxy(f"{address['host']}/.s.PGSQL.{address['port']}") as proxy:
        client = sqltrack.Client(config, host="127.0.0.1", port=proxy.port)
        run = Experiment(client, name="experiment").get_run()
        with run.track():
            with client as first:
                client.execute("SELECT 1")
            proxy.send(said)
            wait_until(lambda: bool(select.select([first.pgconn.socket], [], [], 0)[0]))
            with client as second:
                run.add_metrics({"loss": 1.0})
            assert (second is first) is is_kept
    assert steps(config) == [0]


def test_a_kept_connection_that_was_closed_costs_a_block_nothing(
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


# Idle connections


def test_an_idle_tracked_run_has_no_connection_open_and_logs_on(config: dict[str, Any]) -> None:
    """A connection that was idle for `keepalive` seconds is closed, and the next call opens a new one."""
    run = Experiment(sqltrack.Client(config, keepalive=0.3), name="experiment").get_run()
    with run.track():
        for step in range(3):
            run.add_metrics({"loss": 1.0}, step=step)
            wait_until(lambda: count_connections(config) == 0)
    wait_until(lambda: count_connections(config) == 0)
    assert steps(config) == [0, 1, 2]
    assert statuses(config) == ["COMPLETED"]


def test_a_connection_is_closed_after_a_block_as_well(config: dict[str, Any]) -> None:
    """A connection that a block has used is closed after `keepalive` seconds."""
    client = sqltrack.Client(config, keepalive=0.3)
    with Experiment(client, name="experiment").get_run().track():
        with client:
            client.execute("SELECT 1")
        wait_until(lambda: count_connections(config) == 0)


def test_a_tight_loop_connects_once(config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    client = sqltrack.Client(config, keepalive=0.3)
    opened = record_connections(client, monkeypatch)
    run = Experiment(client, name="experiment").get_run()
    with run.track():
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline:
            run.add_metrics({"loss": 1.0})
    assert len(opened) == 1


@pytest.mark.not_pooled("it counts the server's sessions, which are the pooler's")
def test_a_kept_connection_is_closed_when_the_run_stops(config: dict[str, Any]) -> None:
    run = Experiment(sqltrack.Client(config, keepalive=600), name="experiment").get_run().start()
    run.add_metrics({"loss": 1.0})
    assert count_connections(config) == 1
    run.stop()
    wait_until(lambda: count_connections(config) == 0)
