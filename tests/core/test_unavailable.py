"""Databases that are away or locked, for a while or for good, exhausted connections, full disks and damaged files."""

from __future__ import annotations

import contextlib
import logging
import random
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

import sqltrack
from plugins.postgres_server import PostgresServer, crash, restart
from sqltrack import Experiment, Run
from sqltrack.commands import setup
from sqltrack.errors import (
    DatabaseError,
    DatabaseLockedError,
    DatabaseUnavailableError,
    DiskFullError,
    TooManyConnectionsError,
)
from support.connections import close_lingering
from support.databases import ask, connect_to_postgres, connect_to_sqlite, experiments, statuses, steps
from support.logging_threads import LoggingThread, wait_until
from support.platforms import needs_movable_files

# Within this many seconds a script must notice that its database is gone.
_BOUND = 15.0


@needs_movable_files
def test_a_file_that_is_moved_away_is_waited_for_and_not_recreated(tmp_path: Path) -> None:
    """A new file in its place would have destroyed the data in the write-ahead log."""
    path, aside = tmp_path / "sqltrack.db", tmp_path / "aside.db"
    config = {"engine": "sqlite", "dbpath": str(path)}
    setup(sqltrack.Client(config))
    run = Experiment(sqltrack.Client(config), name="experiment").get_run()
    with run.track(), LoggingThread(run) as thread:
        thread.wait_for_more()
        path.rename(aside)
        # Longer than the detection takes, so that at least one attempt has failed.
        time.sleep(1.5)
        assert not path.exists()
        aside.rename(path)
        thread.wait_for_more()
    assert steps(config) == thread.confirmed
    assert statuses(config) == ["COMPLETED"]


@pytest.mark.no_outbox
def test_a_removed_file_may_be_set_up_again_outside_of_tracked_runs(tmp_path: Path) -> None:
    config = {"engine": "sqlite", "dbpath": str(tmp_path / "sqltrack.db")}
    client = sqltrack.Client(config, reconnect=0.1)
    setup(client)
    run = Experiment(client, name="experiment").get_run()
    with pytest.raises(DatabaseUnavailableError, match="was removed or moved"), run.track():
        client.metrics.invalidate()
        client._session._keeper.close_parked()
        (tmp_path / "sqltrack.db").unlink()
        run.add_metrics({"loss": 1.0})
    setup(client)
    assert experiments(config) == []


def test_patience_begins_when_the_loss_of_a_connection_is_noticed(run: Run) -> None:
    """A dead connection may take longer to be noticed than `reconnect` allows."""
    client = sqltrack.Client(run.client.config, reconnect=0.3)
    attempts: list[float] = []

    def notice_late(connection: Any) -> str:
        attempts.append(time.monotonic())
        if len(attempts) == 1:
            time.sleep(0.5)
            raise DatabaseUnavailableError
        return "done"

    with Run(client, run_id=run.id).track():
        assert client._session.ask(notice_late) == "done"


def test_statements_that_must_not_run_twice_are_not_repeated(run: Run) -> None:
    attempts: list[int] = []

    def fail(connection: Any) -> None:
        attempts.append(1)
        raise DatabaseUnavailableError

    with run.track(), pytest.raises(DatabaseUnavailableError):
        run.client._session.ask(fail, once=True)
    assert len(attempts) == 1


# Servers that restart


@pytest.mark.not_pooled("it ends the server's sessions with psycopg alone")
def test_sessions_that_are_ended_again_and_again_cost_no_rows(postgres_config: dict[str, Any]) -> None:
    query = """
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name = 'sqltrack'
    """
    client = sqltrack.Client(postgres_config, reconnect=60)
    setup(client)
    run = Experiment(client, name="experiment").get_run()
    with connect_to_postgres(postgres_config) as administrator, run.track(), LoggingThread(run) as thread:
        ended = 0
        for _ in range(30):
            thread.wait_for_more(random.randrange(1, 30))
            ended += len(administrator.execute(query).fetchall())
        thread.wait_for_more()
    assert ended >= 20
    assert steps(postgres_config) == list(range(thread.count))
    assert statuses(postgres_config) == ["COMPLETED"]


@pytest.mark.parametrize("interrupt", [restart, crash])
def test_a_server_that_goes_and_comes_back_costs_no_rows(
    own_server: PostgresServer, own_config: dict[str, Any], interrupt: Callable[[PostgresServer], None]
) -> None:
    run = Experiment(sqltrack.Client(own_config, reconnect=60), name="experiment").get_run()
    with run.track(), LoggingThread(run) as thread:
        for _ in range(2):
            thread.wait_for_more()
            interrupt(own_server)
        thread.wait_for_more()
    assert steps(own_config) == list(range(thread.count))
    assert statuses(own_config) == ["COMPLETED"]


def test_a_tracked_run_may_begin_before_its_server_is_back(
    own_server: PostgresServer, own_config: dict[str, Any]
) -> None:
    run = Experiment(sqltrack.Client(own_config, reconnect=60), name="experiment").get_run()
    own_server.kill()
    with ThreadPoolExecutor(1) as pool:
        started = pool.submit(own_server.start)
        with run.track():
            with run.client:
                run.client.execute("UPDATE runs SET comment = 'in a block'")
            run.add_metrics({"loss": 1.0})
        started.result()
    assert ask(own_config, "SELECT comment FROM runs") == "in a block"
    assert statuses(own_config) == ["COMPLETED"]


# Databases that are gone for good


@dataclass(frozen=True)
class Mortal:
    """A database after setup, and the way to make it vanish."""

    config: dict[str, Any]
    vanish: Callable[[], None]


@pytest.fixture
def mortal(engine_name: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Mortal]:
    """A database that may vanish, on each engine."""
    if engine_name == "sqlite":
        folder = tmp_path / "folder"
        folder.mkdir()
        config = {"engine": "sqlite", "dbpath": str(folder / "sqltrack.db")}
        setup(sqltrack.Client(config))
        yield Mortal(config, lambda: shutil.rmtree(folder))
        return
    config = request.getfixturevalue("own_config")
    server: PostgresServer = request.getfixturevalue("own_server")
    yield Mortal(config, server.kill)
    server.start()


@pytest.mark.no_outbox
def test_the_exception_of_a_script_is_not_replaced_by_that_of_a_vanished_database(
    mortal: Mortal, caplog: pytest.LogCaptureFixture
) -> None:
    """A status that cannot be stored is logged, and the script's own exception is raised."""
    own = ValueError("own")
    run = Experiment(sqltrack.Client(mortal.config), name="experiment").get_run()
    with pytest.raises(ValueError, match="own") as info, run.track():
        run.add_metrics({"loss": 1.0})
        mortal.vanish()
        start = time.monotonic()
        raise own
    assert info.value is own
    assert time.monotonic() - start < _BOUND
    logged = [record for record in caplog.records if record.name == "sqltrack.run"]
    assert [record.levelno for record in logged] == [logging.ERROR]
    assert f"run {run.id} ended as FAILED, which could not be stored" in logged[0].message


@pytest.mark.no_outbox
def test_logging_to_a_vanished_database_fails_within_seconds(mortal: Mortal, caplog: pytest.LogCaptureFixture) -> None:
    run = Experiment(sqltrack.Client(mortal.config, reconnect=1), name="experiment").get_run()
    with pytest.raises(DatabaseUnavailableError), run.track():
        run.add_metrics({"loss": 1.0})
        mortal.vanish()
        deadline = time.monotonic() + _BOUND
        while time.monotonic() < deadline:
            run.add_metrics({"loss": 1.0})
            time.sleep(0.01)
    assert time.monotonic() < deadline + _BOUND
    assert "ended as FAILED, which could not be stored" in caplog.text


# Locks of others


@pytest.mark.no_outbox
def test_a_database_that_stays_locked_is_an_error_that_names_the_setting(sqlite_config: dict[str, Any]) -> None:
    client = sqltrack.Client(sqlite_config, busy_timeout=0.3)
    run = Experiment(client, name="experiment").get_run()
    run.add_metrics({"loss": 1.0})
    calls: list[Callable[[], Any]] = [
        lambda: run.add_metrics({"loss": 2.0}, step=1),
        lambda: run.add_metrics({"new": 2.0}),
        lambda: run.set_status("DONE"),
        lambda: client.execute("DELETE FROM metrics"),
        lambda: Experiment(client, name="other"),
    ]
    with contextlib.closing(connect_to_sqlite(sqlite_config)) as other:
        other.execute("BEGIN IMMEDIATE")
        for call in calls:
            start = time.monotonic()
            with pytest.raises(DatabaseLockedError, match=r"is locked: .* longer than busy_timeout = 0\.3 s"):
                call()
            assert 0.25 < time.monotonic() - start < _BOUND
    run.add_metrics({"loss": 2.0}, step=1)
    assert steps(sqlite_config) == [0, 1]


@pytest.mark.parametrize("settings", [{}, {"busy_timeout": "30"}])
def test_a_writer_waits_for_its_turn(sqlite_config: dict[str, Any], settings: dict[str, Any]) -> None:
    run = Experiment(sqltrack.Client({**sqlite_config, **settings}), name="experiment").get_run()
    with ThreadPoolExecutor(1) as pool, contextlib.closing(connect_to_sqlite(sqlite_config)) as other:
        other.execute("BEGIN IMMEDIATE")
        added = pool.submit(run.add_metrics, {"loss": 1.0})
        time.sleep(1)
        assert not added.done()
        other.execute("ROLLBACK")
        added.result()
    assert steps(sqlite_config) == [0]


@pytest.mark.not_pooled("it sets the parameter options, which a pooler refuses")
def test_a_reader_keeps_no_writer_waiting(run: Run, config: dict[str, Any]) -> None:
    run.add_metrics({"loss": 1.0})
    reader = sqltrack.Client(config)
    with reader as connection, connection.cursor() as cursor:
        cursor.execute("BEGIN" if config["engine"] == "sqlite" else "SELECT 1")
        cursor.execute("SELECT * FROM metrics")
        cursor.fetchone()
        writer = Run(sqltrack.Client(config, busy_timeout=0.3, options="-c lock_timeout=300ms"), run_id=run.id)
        with writer.track():
            for step in range(1, 20):
                writer.add_metrics({"loss": 1.0}, step=step)
    assert steps(config) == list(range(20))


# Servers without free connections


@pytest.fixture
def one_connection(postgres_config: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Configuration for a user who may have one connection at a time."""
    role = f"{postgres_config['dbname']}_single"
    with connect_to_postgres(postgres_config) as administrator:
        administrator.execute(f'CREATE ROLE "{role}" LOGIN CONNECTION LIMIT 1')
        administrator.execute(f'ALTER DATABASE "{postgres_config["dbname"]}" OWNER TO "{role}"')
        # The schema public must not be needed: from PostgreSQL 15 on only its owner may create tables there.
        administrator.execute(f'ALTER SCHEMA public OWNER TO "{role}"')
        yield {**postgres_config, "user": role}
        administrator.execute(f'REASSIGN OWNED BY "{role}" TO CURRENT_USER')
        administrator.execute(f'DROP OWNED BY "{role}"')
        administrator.execute(f'DROP ROLE "{role}"')


def occupy(config: dict[str, Any]) -> psycopg.Connection[Any]:
    """Take the only connection, once the server has noticed that the previous one was closed."""
    opened: list[psycopg.Connection[Any]] = []

    def has_opened() -> bool:
        with contextlib.suppress(psycopg.OperationalError):
            opened.append(connect_to_postgres(config))
        return bool(opened)

    wait_until(has_opened)
    return opened[0]


@pytest.mark.not_pooled("a pooler has its own message for a user that it does not know")
@pytest.mark.parametrize("step", ["setup", "experiment", "run", "track"])
def test_a_client_without_a_free_connection_waits_for_one(one_connection: dict[str, Any], step: str) -> None:
    """Even before a run is tracked: a server may have too few connections for hundreds of jobs that start together."""
    client = sqltrack.Client(one_connection, reconnect=60)
    calls: dict[str, Callable[[], Any]] = {
        "setup": lambda: setup(client),
        "experiment": lambda: Experiment(client, name="experiment"),
        "run": lambda: Run(client, experiment_id=1),
        "track": lambda: Run(client, run_id=1).start().stop(),
    }
    names = list(calls)
    for name in names[: names.index(step)]:
        calls[name]()
    other = occupy(one_connection)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(calls[step])
        time.sleep(0.3)
        assert not waiting.done()
        other.close()
        waiting.result()


@pytest.mark.no_outbox
@pytest.mark.not_pooled("a pooler has its own message for a user that it does not know")
def test_who_finds_no_connection_for_too_long_hears_why(one_connection: dict[str, Any]) -> None:
    client = sqltrack.Client(one_connection, reconnect=0.3)
    with occupy(one_connection):
        start = time.monotonic()
        with pytest.raises(TooManyConnectionsError, match="too many connections for role"):
            setup(client)
        assert 0.1 < time.monotonic() - start < _BOUND


@pytest.mark.parametrize(
    "answer",
    [
        "FATAL:  sorry, too many clients already",
        "FATAL:  remaining connection slots are reserved for non-replication superuser connections",
        "FATAL:  no more connections allowed (max_client_conn)",
        "Resource temporarily unavailable\n\tIs the server running locally and accepting connections on that socket?",
    ],
)
@pytest.mark.engines("postgres")
def test_all_words_for_a_lack_of_connections_are_understood(engine_name: str, answer: str) -> None:
    """The last are those of a Unix socket whose queue is full."""
    engine = sqltrack.Client(engine=engine_name).engine
    error = psycopg.OperationalError(f'connection failed: connection to server on socket "/s" failed: {answer}')
    assert isinstance(engine.translate_error(error), TooManyConnectionsError)


# Full disks and damaged files


@pytest.mark.no_outbox
def test_a_disk_that_is_full_is_an_error_that_says_so(sqlite_config: dict[str, Any]) -> None:
    client = sqltrack.Client(sqlite_config)
    run = Experiment(client, name="experiment").get_run()
    with run.track():
        client.execute("PRAGMA max_page_count = 30")
        with pytest.raises(DiskFullError, match=r"the disk is full, database .* cannot grow"):
            for step in range(1000):
                run.add_metrics({"text": "x" * 500}, step=step)
        client.execute("PRAGMA max_page_count = 1000000")
        run.add_metrics({"text": "x" * 500}, step=step)
    assert steps(sqlite_config) == list(range(step + 1))


@pytest.mark.engines("postgres")
def test_a_full_disk_of_the_server_is_an_error_that_says_so(engine_name: str) -> None:
    error = sqltrack.Client(engine=engine_name).engine.translate_error(psycopg.errors.DiskFull("no space left"))
    assert isinstance(error, DiskFullError)
    assert "the server's disk is full: no space left" in str(error)


def test_a_damaged_file_is_an_error_that_says_so(sqlite_config: dict[str, Any]) -> None:
    client = sqltrack.Client(sqlite_config)
    run = Experiment(client, name="experiment").get_run()
    run.add_metrics_many([{"step": step, "text": "x" * 500} for step in range(500)])
    close_lingering(client)
    path = Path(sqlite_config["dbpath"])
    path.write_bytes(path.read_bytes()[: 3 * 4096])
    with pytest.raises(DatabaseError, match="is damaged: .*; restore a backup"):
        client.execute("SELECT * FROM metrics")


def test_a_connection_that_comes_late_creates_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file was removed after the client had looked for it."""
    path = tmp_path / "sqltrack.db"
    client = sqltrack.Client(engine="sqlite", dbpath=str(path), outbox="off", reconnect=0.1)
    setup(client)
    run = Experiment(client, name="experiment").get_run()
    with pytest.raises(DatabaseUnavailableError, match="cannot open"), run.track():
        client._session._keeper.close_parked()
        path.unlink()
        monkeypatch.setattr(client.engine, "exists", lambda: True)
        run.add_metrics({"loss": 1.0})
    assert not path.exists()
    # As before, outside of tracked runs.
    setup(client)
    assert path.exists()
