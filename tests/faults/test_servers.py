"""Servers that restart, have no free connections, or can no longer be reached."""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

import sqltrack
from plugins.postgres_server import PostgresServer, crash, restart
from sqltrack import Experiment
from sqltrack.commands import setup
from sqltrack.errors import DatabaseUnavailableError
from support.cut_proxy import CutProxy
from support.databases import ask, connect_to_postgres
from support.logging_threads import LoggingThread, expect_nothing_missing, missing_steps

pytestmark = pytest.mark.faults
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux can drop packets of a socket")

_RESTARTS = 12
_WRITERS = 100
_STEPS = 20


@pytest.mark.parametrize("interrupt", [restart, crash])
def test_a_server_that_goes_again_and_again_costs_a_tracked_run_nothing(
    own_server: PostgresServer,
    own_config: dict[str, Any],
    interrupt: Callable[[PostgresServer], None],
    record: Callable[..., None],
    rng: random.Random,
) -> None:
    """An untracked run next to it gets errors of the documented class, and loses no row without an error."""
    experiment = Experiment(sqltrack.Client(own_config, reconnect=60), name="experiment")
    tracked, untracked = experiment.get_run(), Experiment(sqltrack.Client(own_config), name="experiment").get_run()
    tolerant = LoggingThread(untracked, tolerated=(DatabaseUnavailableError,), pause=0.005)
    with tracked.track(), LoggingThread(tracked) as thread, tolerant:
        for _ in range(_RESTARTS):
            thread.wait_for_more(rng.randrange(1, 200))
            interrupt(own_server)
        thread.wait_for_more()
        tolerant.wait_for_more(1)
    missing = missing_steps(own_config, tracked.id, thread.confirmed)
    missing |= missing_steps(own_config, untracked.id, tolerant.confirmed)
    confirmed = len(thread.confirmed) + len(tolerant.confirmed)
    slowest = max(thread.slowest, tolerant.slowest)
    record(faults=_RESTARTS, confirmed=confirmed, missing=len(missing), errors=len(tolerant.errors), slowest=slowest)
    assert thread.confirmed == list(range(thread.count))
    assert not missing
    assert ask(own_config, f"SELECT status FROM runs WHERE id = {tracked.id}") == "COMPLETED"


@pytest.fixture
def small_server(server_binaries: Path) -> Iterator[dict[str, Any]]:
    """Configuration for an ordinary user of a server that has 17 connections for such users."""
    with PostgresServer(server_binaries, {"max_connections": "20", "superuser_reserved_connections": "3"}) as server:
        parameters = psycopg.conninfo.conninfo_to_dict(server.dsn)
        with psycopg.connect(server.dsn, autocommit=True) as connection:
            connection.execute("CREATE ROLE writer LOGIN")
            connection.execute("CREATE DATABASE small OWNER writer")
        yield {"engine": "postgres", **parameters, "user": "writer", "dbname": "small"}


def test_many_more_writers_than_connections_all_get_through(
    small_server: dict[str, Any], record: Callable[..., None]
) -> None:
    together = threading.Barrier(_WRITERS)
    slowest: list[float] = []

    def write() -> None:
        client = sqltrack.Client(small_server, reconnect=120)
        together.wait(timeout=60)
        start = time.monotonic()
        setup(client)
        run = Experiment(client, name="experiment").get_run()
        with run.track():
            for step in range(_STEPS):
                run.add_metrics({"loss": 1.0}, step=step)
        slowest.append(time.monotonic() - start)

    with ThreadPoolExecutor(_WRITERS) as pool:
        futures = [pool.submit(write) for _ in range(_WRITERS)]
    errors = [future.exception() for future in futures if future.exception() is not None]
    stored = ask(small_server, "SELECT count(*) FROM metrics")
    expected = _WRITERS * _STEPS
    record(confirmed=expected, missing=expected - stored, errors=len(errors), slowest=max(slowest, default=0.0))
    assert not errors
    assert stored == expected
    assert ask(small_server, "SELECT count(*) FROM runs WHERE status = 'COMPLETED'") == _WRITERS


@pytest.fixture
def proxy(own_server: PostgresServer) -> Iterator[CutProxy]:
    """A proxy to the server that can be cut."""
    with CutProxy(f"{own_server.socket_dir}/.s.PGSQL.{own_server.port}") as proxy:
        yield proxy


def through(proxy: CutProxy, config: dict[str, Any], **settings: Any) -> sqltrack.Client:
    return sqltrack.Client({**config, "host": "127.0.0.1", "port": proxy.port, **settings})


def test_connections_that_are_reset_again_and_again_cost_a_tracked_run_nothing(
    own_config: dict[str, Any], proxy: CutProxy, record: Callable[..., None], rng: random.Random
) -> None:
    run = Experiment(through(proxy, own_config, reconnect=60), name="experiment").get_run()
    with run.track(), LoggingThread(run) as thread:
        for _ in range(100):
            thread.wait_for_more(rng.randrange(1, 50))
            proxy.reset()
        thread.wait_for_more()
    expect_nothing_missing(own_config, run, thread, record, faults=100)


@needs_linux
def test_a_connection_that_falls_silent_is_replaced_by_default(
    own_config: dict[str, Any], proxy: CutProxy, record: Callable[..., None]
) -> None:
    """The server itself can be reached again before the silence is noticed."""
    run = Experiment(through(proxy, own_config), name="experiment").get_run()
    with run.track(), LoggingThread(run) as thread:
        thread.wait_for_more()
        proxy.silence()
        time.sleep(1)
        proxy.heal()
        thread.wait_for_more(100, seconds=120)
    expect_nothing_missing(own_config, run, thread, record, faults=1)


@needs_linux
def test_a_silence_that_does_not_end_is_an_error_in_bounded_time(
    own_config: dict[str, Any], proxy: CutProxy, record: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    """The user's settings make it short. Calls raise, and the end of the run logs that it was not stored."""
    settings = {"tcp_user_timeout": 3000, "connect_timeout": 2, "reconnect": 4}
    run = Experiment(through(proxy, own_config, **settings), name="experiment").get_run()
    thread = LoggingThread(run, tolerated=(DatabaseUnavailableError,))
    with run.track(), thread:
        thread.wait_for_more()
        proxy.silence()
        thread.wait_for_error()
    assert "could not be stored" in caplog.text
    missing = missing_steps(own_config, run.id, thread.confirmed)
    with connect_to_postgres(own_config) as connection:
        connection.execute("SELECT 1")
    record(faults=1, confirmed=len(thread.confirmed), missing=len(missing), errors=1, slowest=thread.slowest)
    assert not missing
    # Detection takes 3 seconds, in which the kernel checks now and then, and connecting may take 4.
    assert thread.slowest < 60
