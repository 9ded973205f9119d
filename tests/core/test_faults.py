"""What was confirmed stays, whatever happens to processes, connections, servers and files."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import random
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack import Experiment, Run
from sqltrack.commands import setup
from sqltrack.engines import sqlite as sqlite_engine
from sqltrack.engines.sqlite import _filesystem
from sqltrack.engines.sqlite._filesystem import is_network_file_system
from sqltrack.errors import (
    AccessDeniedError,
    DatabaseError,
    DatabaseLockedError,
    DatabaseUnavailableError,
    ReadOnlyDatabaseError,
)
from support.databases import ask, connect_to_postgres, connect_to_sqlite, experiments, statuses, steps
from support.logging_threads import LoggingThread, wait_until
from support.postgres_server import PostgresServer, _find_temporary_folder, _server_account, crash, restart
from support.processes import Script

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
needs_kill = pytest.mark.skipif(sys.platform == "win32", reason="this platform has no SIGKILL")

# Within this many seconds a script must get to know that its database is gone.
_BOUND = 15.0

# Makes a script treat the file system as one on which SQLite's write-ahead log cannot be used.
ON_NETWORK_FILE_SYSTEM = """
import sqltrack.engines.sqlite
sqltrack.engines.sqlite.is_network_file_system = lambda path: True
"""


def count_connections(config: dict[str, Any]) -> int:
    """Return how many connections to the database are open: all of a server, of SQLite those of this process."""
    if config["engine"] == "postgres":
        query = """
            SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
        """
        with connect_to_postgres(config) as connection:
            return int(connection.execute(query).fetchall()[0][0])
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("this platform does not tell which files a process has open")
    path, count = os.path.realpath(config["dbpath"]), 0
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            count += os.readlink(f"/proc/self/fd/{descriptor}") == path
    return count


def record_connections(client: sqltrack.Client, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return a list that all connections opened by the client from now on are added to."""
    opened: list[Any] = []
    connect = client.engine.connect

    def recording() -> Any:
        opened.append(connect())
        return opened[-1]

    monkeypatch.setattr(client.engine, "connect", recording)
    return opened


# -- many processes -------------------------------------------------------------------------------------------------

BEGIN_ON_EMPTY_DATABASE = """
confirm("ready")
sys.stdin.read()
setup(client)
run = Experiment(client, name="same").get_run()
with run.track():
    for step in range(20):
        run.add_metrics({"loss": 1.0 / (step + 1)}, step=step)
"""

ADD_ITEMS = """
run = Run(client, run_id=RUN)
confirm("ready")
sys.stdin.read()
for i in range(25):
    run.add_args({f"arg NUMBER {i}": i})
    run.add_tags(f"tag NUMBER {i}")
"""


def run_together(texts: list[str], config: dict[str, Any]) -> list[list[str]]:
    """Run scripts that wait for the end of their input, which comes when all have said that they are ready."""
    with contextlib.ExitStack() as stack:
        reading, writing = os.pipe()
        signal = stack.enter_context(os.fdopen(writing, "wb"))
        with os.fdopen(reading, "rb") as stdin:
            scripts = [stack.enter_context(Script(text, config, stdin=stdin)) for text in texts]
        for script in scripts:
            assert script.read_line() == "ready"
        signal.close()
        return [script.succeed() for script in scripts]


def test_many_processes_may_begin_at_once_on_an_empty_database(empty_config: dict[str, Any]) -> None:
    """Rulings 6 and 19."""
    outputs = run_together([BEGIN_ON_EMPTY_DATABASE] * 24, empty_config)
    assert sorted(outputs) == [["ready", "(NEW) base.sql"]] + [["ready", "(OK) base.sql"]] * 23
    assert ask(empty_config, "SELECT count(*) FROM experiments") == 1
    assert statuses(empty_config) == ["COMPLETED"] * 24
    assert ask(empty_config, "SELECT count(*) FROM metrics") == 480


def test_items_that_many_processes_add_at_once_are_all_kept(run: Run, config: dict[str, Any]) -> None:
    numbers = range(8)
    run_together([ADD_ITEMS.replace("RUN", str(run.id)).replace("NUMBER", str(n)) for n in numbers], config)
    assert run.client.execute("SELECT args, tags FROM runs").fetchone() == (
        {f"arg {number} {i}": i for number in numbers for i in range(25)},
        {f"tag {number} {i}": True for number in numbers for i in range(25)},
    )


KILL_AT_500 = """
run = Experiment(client, name="experiment").get_run().start()
for step in range(1000):
    run.add_metrics({"loss": 1.0}, step=step)
    if step == 499:
        os.kill(os.getpid(), signal.SIGKILL)
"""


@needs_kill
def test_confirmed_rows_of_a_killed_process_are_there(config: dict[str, Any]) -> None:
    with Script(KILL_AT_500, config) as script:
        assert script.finish().status == -9
    assert steps(config) == list(range(500))
    assert statuses(config) == ["RUNNING"]


# -- threads --------------------------------------------------------------------------------------------------------


def test_threads_share_the_client_of_a_tracked_run(
    run: Run, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ruling 9."""
    opened = record_connections(run.client, monkeypatch)

    def log(number: int) -> None:
        for step in range(number * 50, number * 50 + 50):
            run.add_metrics({"loss": 1.0}, step=step)

    with run.track(), ThreadPoolExecutor(4) as pool:
        list(pool.map(log, range(4)))
    assert steps(config) == list(range(200))
    assert len(opened) <= 4
    assert count_connections(config) == 0


# -- fork -----------------------------------------------------------------------------------------------------------

FORK_WHILE_TRACKED = """
run = Experiment(client, name="experiment").get_run()
with run.track():
    for step in range(20):
        run.add_metrics({"loss": 1.0}, step=step)
    child = os.fork()
    if child == 0:
        for step in range(100, 150):
            run.add_metrics({"loss": 2.0}, step=step)
        ENDING
    else:
        for step in range(20, 50):
            run.add_metrics({"loss": 1.0}, step=step)
        confirm(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        confirm(Client(config).execute("SELECT status FROM runs").fetchone()[0])
        for step in range(50, 60):
            run.add_metrics({"loss": 1.0}, step=step)
"""

FORK_IN_BLOCK = """
insert = "INSERT INTO experiments (name) VALUES (%s)"
child_has_read, parent_has_committed = os.pipe(), os.pipe()
with client:
    client.execute(insert, ("parent",))
    child = os.fork()
    if child == 0:
        count = client.execute("SELECT count(*) FROM experiments").fetchone()[0]
        os.write(child_has_read[1], b"%d" % count)
        os.read(parent_has_committed[0], 1)
        try:
            client.execute(insert, ("child",))
            confirm("stored")
        except sqltrack.errors.DatabaseError:
            confirm("refused")
        ENDING
    else:
        confirm(os.read(child_has_read[0], 1).decode())
        client.execute(insert, ("parent again",))
if child != 0:
    os.write(parent_has_committed[1], b"1")
    confirm(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    client.execute(insert, ("parent at last",))
"""

ENDINGS = [("os._exit(0)", 0), ("sys.exit()", 0), ("sys.exit(3)", 3), ("raise ValueError", 1), ("pass", 0)]


@needs_fork
@pytest.mark.parametrize(("ending", "status"), ENDINGS)
def test_a_forked_child_of_a_tracked_run_logs_and_leaves_the_status_alone(
    config: dict[str, Any], ending: str, status: int
) -> None:
    """Rulings 9 and 13."""
    with Script(FORK_WHILE_TRACKED.replace("ENDING", ending), config) as script:
        assert script.succeed() == [str(status), "RUNNING"]
    assert steps(config) == [*range(60), *range(100, 150)]
    assert statuses(config) == ["COMPLETED"]


@needs_fork
@pytest.mark.parametrize(("ending", "status"), ENDINGS)
def test_a_forked_child_leaves_the_open_transaction_of_its_parent_alone(
    config: dict[str, Any], ending: str, status: int
) -> None:
    """Ruling 9; SQLite itself takes the locks that the parent held for those of the child."""
    may_write = config["engine"] == "postgres"
    with Script(FORK_IN_BLOCK.replace("ENDING", ending), {**config, "busy_timeout": 0.3}) as script:
        assert script.succeed() == ["0", "stored" if may_write else "refused", str(status)]
    by_child = ["child"] if may_write else []
    assert experiments(config) == ["parent", "parent again", *by_child, "parent at last"]


@pytest.fixture
def journal_config(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Configuration for a SQLite database with a rollback journal, which must be intact afterwards."""
    config = {"engine": "sqlite", "dbpath": "sqltrack.db", "busy_timeout": 0.3}
    monkeypatch.setattr(sqlite_engine, "is_network_file_system", lambda path: True)
    setup(sqltrack.Client(config))
    yield config
    assert ask(config, "PRAGMA integrity_check") == "ok"
    assert ask(config, "PRAGMA journal_mode") == "delete"


@needs_fork
@pytest.mark.parametrize(("ending", "status"), ENDINGS[:2])
def test_forks_of_a_tracked_run_leave_a_rollback_journal_intact(
    journal_config: dict[str, Any], ending: str, status: int
) -> None:
    """Ruling 9; without the write-ahead log, SQLite keeps its locks on the file itself."""
    text = ON_NETWORK_FILE_SYSTEM + FORK_WHILE_TRACKED.replace("ENDING", ending)
    with Script(text, {**journal_config, "busy_timeout": 60}) as script:
        assert script.succeed() == [str(status), "RUNNING"]
    assert steps(journal_config) == [*range(60), *range(100, 150)]
    assert statuses(journal_config) == ["COMPLETED"]


@needs_fork
@pytest.mark.parametrize(("ending", "status"), ENDINGS[:2])
def test_forks_in_an_open_transaction_leave_a_rollback_journal_intact(
    journal_config: dict[str, Any], ending: str, status: int
) -> None:
    """Ruling 9; without the write-ahead log, SQLite keeps its locks on the file itself."""
    text = ON_NETWORK_FILE_SYSTEM + FORK_IN_BLOCK.replace("ENDING", ending)
    with Script(text, journal_config) as script:
        assert script.succeed() == ["0", "refused", str(status)]
    assert experiments(journal_config) == ["parent", "parent again", "parent at last"]


TERMINATE_CHILD = """
import multiprocessing

run = Experiment(client, name="experiment").get_run()

def work(ready):
    run.add_metrics({"loss": 1.0}, step=1)
    ready.set()
    step = 1000
    while True:
        WORK

context = multiprocessing.get_context("fork")
ready = context.Event()
with run.track():
    run.add_metrics({"loss": 1.0}, step=0)
    child = context.Process(target=work, args=(ready,))
    child.start()
    assert ready.wait(30)
    start = time.monotonic()
    child.terminate()
    child.join(30)
    assert time.monotonic() - start < 5
    confirm(child.exitcode)
    confirm(Client(config).execute("SELECT status FROM runs").fetchone()[0])
    run.add_metrics({"loss": 1.0}, step=2)
"""


@needs_fork
@pytest.mark.parametrize("work", ["time.sleep(60)", "step += 1; run.add_metrics({'loss': 1.0}, step=step)"])
def test_a_terminated_child_process_ends_at_once_and_leaves_the_status_alone(config: dict[str, Any], work: str) -> None:
    """Rulings 9 and 14."""
    with Script(TERMINATE_CHILD.replace("WORK", work), config) as script:
        assert script.succeed() == ["-15", "RUNNING"]
    assert steps(config)[:3] == [0, 1, 2]
    assert statuses(config) == ["COMPLETED"]


# -- idle connections -----------------------------------------------------------------------------------------------


def test_an_idle_tracked_run_has_no_connection_open_and_logs_on(config: dict[str, Any]) -> None:
    """Ruling 9."""
    run = Experiment(sqltrack.Client(config, keepalive=0.3), name="experiment").get_run()
    with run.track():
        for step in range(3):
            run.add_metrics({"loss": 1.0}, step=step)
            wait_until(lambda: count_connections(config) == 0)
    assert count_connections(config) == 0
    assert steps(config) == [0, 1, 2]
    assert statuses(config) == ["COMPLETED"]


def test_a_connection_is_closed_after_a_block_as_well(config: dict[str, Any]) -> None:
    """Ruling 9."""
    client = sqltrack.Client(config, keepalive=0.3)
    with Experiment(client, name="experiment").get_run().track():
        with client:
            client.execute("SELECT 1")
        wait_until(lambda: count_connections(config) == 0)


def test_a_tight_loop_connects_once(config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Ruling 9."""
    client = sqltrack.Client(config, keepalive=0.3)
    run = Experiment(client, name="experiment").get_run()
    opened = record_connections(client, monkeypatch)
    with run.track():
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline:
            run.add_metrics({"loss": 1.0})
    assert len(opened) == 1


def test_a_kept_connection_is_closed_when_the_run_stops(config: dict[str, Any]) -> None:
    """Ruling 9."""
    run = Experiment(sqltrack.Client(config, keepalive=600), name="experiment").get_run().start()
    run.add_metrics({"loss": 1.0})
    assert count_connections(config) == 1
    run.stop()
    wait_until(lambda: count_connections(config) == 0)


# -- servers that go and come back ----------------------------------------------------------------------------------


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


# -- databases that are gone for good -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mortal:
    """A database that is set up, and what makes it vanish."""

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


def test_the_exception_of_a_script_is_not_replaced_by_that_of_a_vanished_database(
    mortal: Mortal, caplog: pytest.LogCaptureFixture
) -> None:
    """Ruling 13."""
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


# -- errors ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def sqlite_config(tmp_path: Path) -> dict[str, Any]:
    """Configuration for a SQLite database that is set up."""
    config = {"engine": "sqlite", "dbpath": str(tmp_path / "sqltrack.db")}
    setup(sqltrack.Client(config))
    return config


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


WRITE_AS_NOBODY = """
from sqltrack.errors import ReadOnlyDatabaseError

experiment = Experiment(client, 1)
run = Run(client, run_id=1)
run.client.execute("SELECT * FROM metrics")
if os.geteuid() == 0:
    import pwd
    account = pwd.getpwnam("nobody")
    os.setgroups([])
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)
confirm(client.execute("SELECT loss FROM metrics").fetchone()[0])

def write_in_block():
    with client:
        client.execute("DELETE FROM metrics")

def track():
    with run.track():
        pass

for write in (
    lambda: run.add_metrics({"loss": 2.0}), lambda: run.add_metrics({"new": 2.0}), lambda: run.set_status("DONE"),
    lambda: Experiment(client, name="new"), lambda: experiment.get_run(), write_in_block, track,
):
    try:
        write()
    except ReadOnlyDatabaseError as error:
        confirm(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="this platform has other permissions")
def test_a_file_that_may_only_be_read_is_an_error_that_says_so() -> None:
    with tempfile.TemporaryDirectory(dir=_find_temporary_folder(_server_account())) as folder:
        path = Path(folder, "sqltrack.db")
        config = {"engine": "sqlite", "dbpath": str(path)}
        client = sqltrack.Client(config)
        setup(client)
        Experiment(client, name="experiment").get_run().add_metrics({"loss": 1.0})
        path.chmod(0o444)
        Path(folder).chmod(0o777)
        with Script(WRITE_AS_NOBODY, config) as script:
            lines = script.succeed()
    assert lines == ["1.0"] + [f"database {str(path)!r} can only be read, check its permissions"] * 7


def test_a_database_of_a_server_that_may_only_be_read_is_an_error_that_says_so(
    postgres_config: dict[str, Any],
) -> None:
    client = sqltrack.Client(postgres_config)
    setup(client)
    run = Experiment(client, name="experiment").get_run()
    run.add_metrics({"loss": 1.0})
    with connect_to_postgres(postgres_config) as connection:
        connection.execute(f'ALTER DATABASE "{postgres_config["dbname"]}" SET default_transaction_read_only = on')
    calls: list[Callable[[], Any]] = [
        lambda: run.add_metrics({"loss": 2.0}),
        lambda: run.add_metrics({"new": 2.0}),
        lambda: run.set_status("DONE"),
        lambda: client.execute("DELETE FROM metrics"),
        lambda: Experiment(client, name="other"),
        lambda: run.start(),
    ]
    for call in calls:
        with pytest.raises(ReadOnlyDatabaseError, match="can only be read"):
            call()
    assert client.execute("SELECT loss FROM metrics").fetchall() == [(1.0,)]


def test_a_role_without_privileges_is_an_error_that_says_so(postgres_config: dict[str, Any]) -> None:
    setup(sqltrack.Client(postgres_config))
    role = f"{postgres_config['dbname']}_stranger"
    client = sqltrack.Client(postgres_config, user=role)
    calls: list[Callable[[], Any]] = [
        lambda: client.execute("SELECT * FROM metrics"),
        lambda: Experiment(client, name="experiment"),
        lambda: sqltrack.run_add_metrics(client, 1, {"loss": 1.0}),
        lambda: sqltrack.run_set_status(client, 1, "RUNNING"),
        lambda: setup(client),
    ]
    with connect_to_postgres(postgres_config) as administrator:
        administrator.execute(f'CREATE ROLE "{role}" LOGIN')
        try:
            for call in calls:
                with pytest.raises(AccessDeniedError, match="refuses access"):
                    call()
            administrator.execute(f'REVOKE CONNECT ON DATABASE "{postgres_config["dbname"]}" FROM PUBLIC')
            with pytest.raises(AccessDeniedError, match="permission denied for database"):
                client.execute("SELECT 1")
        finally:
            administrator.execute(f'DROP ROLE "{role}"')


DEFERRED_CONSTRAINT = """
CREATE TABLE parents (id INTEGER PRIMARY KEY);
CREATE TABLE children (parent_id INTEGER REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED);
"""


@pytest.mark.parametrize("is_tracked", [False, True])
def test_a_commit_that_fails_raises_and_leaves_the_client_usable(
    run: Run, config: dict[str, Any], is_tracked: bool
) -> None:
    client = run.client
    client.executescript(DEFERRED_CONSTRAINT)
    with run.track() if is_tracked else contextlib.nullcontext():
        with pytest.raises(DatabaseError, match="(?i)foreign key"), client:
            client.execute("INSERT INTO children VALUES (1)")
        assert ask(config, "SELECT count(*) FROM children") == 0
        with pytest.raises(DatabaseError, match="(?i)foreign key"):
            client.execute("INSERT INTO children VALUES (1)")
        with client:
            client.execute("INSERT INTO children VALUES (2)")
            with pytest.raises(DatabaseError, match="(?i)foreign key"):
                client.commit()
            client.rollback()
            client.execute("INSERT INTO parents VALUES (3)")
            client.execute("INSERT INTO children VALUES (3)")
        run.add_metrics({"loss": 1.0})
    assert client.execute("SELECT parent_id FROM children").fetchall() == [(3,)]
    assert steps(config) == [0]


# -- opening SQLite -------------------------------------------------------------------------------------------------

PRAGMAS = ("journal_mode", "synchronous", "foreign_keys")
OFF, NORMAL, FULL, EXTRA = range(4)


def pragmas(config: dict[str, Any]) -> tuple[Any, ...]:
    with sqltrack.Client(config) as connection:
        return tuple(connection.execute(f"PRAGMA {name}").fetchone()[0] for name in PRAGMAS)


def test_a_local_file_gets_a_write_ahead_log() -> None:
    """FACTS 2."""
    assert pragmas({"engine": "sqlite"}) == ("wal", NORMAL, 1)


def test_a_file_on_the_network_keeps_its_rollback_journal_and_syncs_fully(monkeypatch: pytest.MonkeyPatch) -> None:
    """FACTS 2."""
    on_network = str(Path("a.db").absolute())
    monkeypatch.setattr(sqlite_engine, "is_network_file_system", lambda path: path == on_network)
    assert pragmas({"engine": "sqlite", "dbpath": "a.db"}) == ("delete", FULL, 1)
    assert pragmas({"engine": "sqlite", "dbpath": "b.db"}) == ("wal", NORMAL, 1)


def test_a_journal_mode_that_somebody_chose_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite remembers the write-ahead log in the file; all other modes are those of a connection."""
    with contextlib.closing(sqlite3.connect("a.db")) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    monkeypatch.setattr(sqlite_engine, "is_network_file_system", lambda path: True)
    assert pragmas({"engine": "sqlite", "dbpath": "a.db"})[:2] == ("wal", NORMAL)


def test_a_file_that_others_keep_open_stays_usable_with_its_rollback_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"engine": "sqlite", "dbpath": "a.db", "busy_timeout": 0.3}
    with monkeypatch.context() as network:
        network.setattr(sqlite_engine, "is_network_file_system", lambda path: True)
        setup(sqltrack.Client(config))
    with contextlib.closing(sqlite3.connect("a.db", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM runs").fetchall()
        assert pragmas(config)[:2] == ("delete", FULL)
    assert pragmas(config)[:2] == ("wal", NORMAL)


@pytest.mark.parametrize(("name", "number"), [("off", OFF), ("NORMAL", NORMAL), ("Full", FULL), ("EXTRA", EXTRA)])
def test_the_synchronous_setting_takes_effect(monkeypatch: pytest.MonkeyPatch, name: str, number: int) -> None:
    config = {"engine": "sqlite", "synchronous": name}
    assert pragmas(config) == ("wal", number, 1)
    monkeypatch.setattr(sqlite_engine, "is_network_file_system", lambda path: True)
    assert pragmas({**config, "dbpath": "network.db"}) == ("delete", number, 1)


def test_rows_that_refer_to_nothing_are_refused(sqlite_config: dict[str, Any]) -> None:
    with pytest.raises(DatabaseError, match="FOREIGN KEY constraint failed"):
        sqltrack.Client(sqlite_config).execute("INSERT INTO runs (experiment_id) VALUES (99)")


MOUNTS = r"""22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:25 / /home rw,relatime shared:2 master:3 - nfs4 server:/home rw,vers=4.2
31 30 8:2 / /home/local rw,relatime - xfs /dev/sdb1 rw
32 22 0:26 / /with\040blank rw - lustre 10.0.0.1@tcp:/scratch rw
33 22 8:3 / /twice rw - ext4 /dev/sdc1 rw
34 33 0:27 / /twice rw - gpfs gpfs0 rw
35 22 0:28 / /laptop rw - fuse.sshfs me@server: rw
36 22 0:29 / /vault rw - fuse.gocryptfs /dev/fuse rw
37 22 0:30 / /nfs rw - tmpfs nfs rw
"""


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/sqltrack.db", False),
        ("/home", True),
        ("/home/alice/sqltrack.db", True),
        ("/homework/sqltrack.db", False),
        ("/home/local/sqltrack.db", False),
        ("/home/local/../alice/sqltrack.db", True),
        ("/with blank/sqltrack.db", True),
        ("/twice/sqltrack.db", True),
        ("/laptop/sqltrack.db", True),
        ("/vault/sqltrack.db", False),
        ("/nfs/sqltrack.db", False),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="this platform has other paths")
def test_file_systems_of_the_network_are_recognised(monkeypatch: pytest.MonkeyPatch, path: str, expected: bool) -> None:
    """FACTS 2."""
    set_mounts(monkeypatch, MOUNTS)
    assert is_network_file_system(path) is expected


@pytest.mark.skipif(sys.platform == "win32", reason="this platform has other paths")
def test_links_to_file_systems_of_the_network_are_followed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The folder may be a link, and so may the file."""
    target = (tmp_path / "mounted").resolve()
    target.mkdir()
    (tmp_path / "folder").symlink_to(target)
    (tmp_path / "file.db").symlink_to(target / "file.db")
    set_mounts(monkeypatch, MOUNTS + f"40 22 0:40 / {target} rw - nfs server:/ rw\n")
    assert is_network_file_system("folder/sqltrack.db")
    assert is_network_file_system("file.db")
    assert not is_network_file_system("other.db")


def test_without_a_list_of_mounts_a_file_system_counts_as_local(monkeypatch: pytest.MonkeyPatch) -> None:
    set_mounts(monkeypatch, None)
    assert not is_network_file_system("/home/alice/sqltrack.db")


def set_mounts(monkeypatch: pytest.MonkeyPatch, mounts: str | None) -> None:
    """Let the module that looks for file systems find these, in the form of proc(5), or no list at all."""

    def open_mounts(path: str, **options: Any) -> io.StringIO:
        assert path == "/proc/self/mountinfo"
        if mounts is None:
            raise FileNotFoundError(path)
        return io.StringIO(mounts)

    monkeypatch.setattr(_filesystem, "open", open_mounts, raising=False)
