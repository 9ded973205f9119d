"""When another server takes over, tracked runs continue; a standby can be read, and says that it cannot be changed."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

import sqltrack
from plugins.postgres_server import PostgresServer
from plugins.standby_server import StandbyServer, become_standby, promote, wait_until_copied
from sqltrack import Experiment, Run
from sqltrack.commands import setup
from sqltrack.errors import ReadOnlyDatabaseError
from support.databases import steps
from support.outages import outbox_settings

pytestmark = [
    pytest.mark.engines("postgres"),
    pytest.mark.not_pooled("it starts its own servers"),
]

_WRITABLE = {"target_session_attrs": "read-write"}


class Pair:
    """A primary and a standby, to which each commit is copied before it is confirmed.

    Attributes:
        primary, standby: the servers.
    """

    def __init__(self, primary: PostgresServer, standby: StandbyServer) -> None:
        self.primary = primary
        self.standby = standby

    def config(self, *servers: PostgresServer, **parameters: Any) -> dict[str, Any]:
        """Return a configuration with the addresses of servers."""
        address = {"host": ",".join("127.0.0.1" for _ in servers), "port": ",".join(str(item.port) for item in servers)}
        return {"engine": "postgres", **address, "user": "postgres", "dbname": "postgres", **parameters}

    def fail_over(self) -> None:
        """Crash the primary, and let the standby take over."""
        self.primary.kill()
        promote(self.standby)


@pytest.fixture
def pair(server_binaries: Path) -> Iterator[Pair]:
    with PostgresServer(server_binaries) as primary, StandbyServer(primary) as standby:
        with psycopg.connect(primary.dsn, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            connection.execute("ALTER SYSTEM SET synchronous_commit = 'remote_apply'")
            connection.execute("SELECT pg_reload_conf()")
        yield Pair(primary, standby)


@pytest.fixture
def lone_server(server_binaries: Path) -> Iterator[PostgresServer]:
    with PostgresServer(server_binaries) as server:
        yield server


def lone_config(server: PostgresServer, **parameters: Any) -> dict[str, Any]:
    address = {"host": "127.0.0.1", "port": server.port}
    return {"engine": "postgres", **address, "user": "postgres", "dbname": "postgres", **parameters}


def start_run(config: dict[str, Any]) -> Run:
    setup(sqltrack.Client(config))
    return Experiment(sqltrack.Client(config), name="e").get_run().start()


def log_during(run: Run, change: threading.Thread, most: int = 20_000) -> int:
    """Log steps before, during and after a change of servers; return their number."""
    for step in range(5):
        run.add_metrics({"loss": step}, step=step)
    change.start()
    number = 5
    while change.is_alive() and number < most:
        run.add_metrics({"loss": number}, step=number)
        number += 1
        time.sleep(0.002)
    change.join()
    for step in range(number, number + 5):
        run.add_metrics({"loss": step}, step=step)
    return number + 5


@pytest.mark.parametrize("number", [1, pytest.param(20, marks=pytest.mark.faults)])
def test_a_failover_between_two_hosts_is_not_noticed(
    number: int, server_binaries: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rng = random.Random()
    for attempt in range(number):
        with PostgresServer(server_binaries) as primary, StandbyServer(primary) as standby:
            with psycopg.connect(primary.dsn, autocommit=True) as connection:
                connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
                connection.execute("SELECT pg_reload_conf()")
            pair = Pair(primary, standby)
            settings = outbox_settings(tmp_path / str(attempt), patience=10)
            run = start_run(pair.config(primary, standby, **_WRITABLE, **settings))
            pause = rng.uniform(0, 0.3)

            def change(pair: Pair = pair, pause: float = pause) -> None:
                time.sleep(pause)
                pair.fail_over()

            logged = log_during(run, threading.Thread(target=change))
            run.stop()
            assert run.flush(30)
            assert steps(pair.config(standby)) == list(range(logged)), attempt
            client = sqltrack.Client(pair.config(standby))
            assert client.execute("SELECT status FROM runs").fetchall() == [("COMPLETED",)]
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


def test_a_run_goes_on_while_its_only_address_is_a_standby(lone_server: PostgresServer, tmp_path: Path) -> None:
    config = lone_config(lone_server, **outbox_settings(tmp_path))
    run = start_run(config)

    def change() -> None:
        become_standby(lone_server)
        time.sleep(1)
        promote(lone_server)

    logged = log_during(run, threading.Thread(target=change))
    run.stop()
    assert run.flush(30)
    assert steps(config) == list(range(logged))
    assert sqltrack.Client(config).execute("SELECT status FROM runs").fetchall() == [("COMPLETED",)]


def test_without_an_outbox_calls_wait_for_a_writable_server(lone_server: PostgresServer) -> None:
    config = lone_config(lone_server, outbox="off", reconnect=30)
    run = start_run(config)
    run.add_metrics({"loss": 1}, step=1)
    become_standby(lone_server)
    back = threading.Timer(1, promote, [lone_server])
    back.start()
    run.add_metrics({"loss": 2}, step=2)
    run.add_tags("after")
    run.stop()
    back.join()
    assert steps(config) == [1, 2]


def test_without_an_outbox_a_server_that_stays_read_only_is_waited_for_once(lone_server: PostgresServer) -> None:
    run = start_run(lone_config(lone_server, outbox="off", reconnect=1))
    become_standby(lone_server)
    begin = time.monotonic()
    for step in range(3):
        with pytest.raises(ReadOnlyDatabaseError):
            run.add_metrics({"loss": 1}, step=step)
    assert 0.5 < time.monotonic() - begin < 5
    promote(lone_server)
    run.stop()


@pytest.mark.parametrize("outbox", ["on", "off"])
def test_a_run_that_starts_on_a_standby_fails_at_once(outbox: str, pair: Pair, tmp_path: Path) -> None:
    run = start_run(pair.config(pair.primary))
    run.stop()
    wait_until_copied(pair.primary, pair.standby)
    config = pair.config(pair.standby, reconnect=30, **{**outbox_settings(tmp_path), "outbox": outbox})
    client = sqltrack.Client(config)
    begin = time.monotonic()
    for start in (
        lambda: Experiment(client, name="new"),
        lambda: Experiment(client, name="e").get_run(),
        lambda: Run(client, run_id=run.id).start(),
        lambda: sqltrack.start("new", client=client),
    ):
        with pytest.raises(ReadOnlyDatabaseError, match="read-only"):
            start()
    assert time.monotonic() - begin < 10
    assert not (tmp_path / "outbox").exists() or list((tmp_path / "outbox").iterdir()) == []
