"""Full disks, and files that are moved, removed, replaced or damaged while a run is tracked."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

import sqltrack
from plugins.postgres_server import PostgresServer, crash
from sqltrack import Experiment
from sqltrack.commands import setup
from sqltrack.errors import DatabaseError, DatabaseUnavailableError, DiskFullError, NotADatabaseError
from support.databases import ask, connect_to_postgres, statuses, steps
from support.logging_threads import LoggingThread, expect_nothing_missing, wait_until
from support.platforms import needs_movable_files
from support.processes import Script
from support.small_file_systems import find_private_mounts, mounted, resize
from support.unprivileged import UNPRIVILEGED, needs_permissions

# With an outbox none of these is an error, see test_outbox.py.
pytestmark = [pytest.mark.faults, pytest.mark.no_outbox]

# Gives the script a small disk, by mounting one or by a limit on the size of files, and later a bigger one.
SMALL_DISK = """
import resource, subprocess

def give_space(mebibytes):
    if HAS_MOUNT:
        is_mounted = os.path.ismount(os.path.dirname(config["dbpath"]))
        options = ("remount," if is_mounted else "") + f"size={mebibytes}m"
        folder = os.path.dirname(config["dbpath"])
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)
    else:
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (mebibytes << 20, hard))
"""

FILL = """
from sqltrack.errors import DatabaseError

give_space(1)
setup(client)
run = Experiment(client, name="experiment").get_run()
step, slowest, classes, messages = 0, 0.0, [], set()
with run.track():
    for mebibytes in (1, 6, 64):
        give_space(mebibytes)
        run.add_metrics({"loss": 1.0}, step=step)
        step += 1
        # The last time a few, all others more than there is space for.
        for _ in range(100 if mebibytes == 64 else 10_000):
            start = time.monotonic()
            try:
                run.add_metrics({"loss": 1.0, "text": "x" * 4000}, step=step)
                step += 1
            except DatabaseError as error:
                classes.append(type(error).__name__)
                messages.add(str(error))
                break
            finally:
                slowest = max(slowest, time.monotonic() - start)
steps = [step for (step,) in client.execute("SELECT step FROM metrics ORDER BY step")]
confirm(json.dumps({
    "confirmed": step, "missing": len(set(range(step)) - set(steps)), "slowest": slowest,
    "classes": classes, "messages": sorted(messages),
    "integrity": client.execute("PRAGMA integrity_check").fetchone()[0],
    "status": client.execute("SELECT status FROM runs").fetchone()[0],
}))
"""

WITH_JOURNAL = """
import sqltrack.engines.sqlite._engine
sqltrack.engines.sqlite._engine.is_network_file_system = lambda path: True
"""


@needs_movable_files
@pytest.mark.parametrize("journal", ["wal", "delete"])
@pytest.mark.parametrize("limit", ["disk", "file size"])
def test_a_disk_that_is_full_costs_no_confirmed_row_of_sqlite(
    tmp_path: Path, limit: str, journal: str, record: Callable[..., None]
) -> None:
    """The error says so, and the same run continues once there is space."""
    prefix = find_private_mounts() if limit == "disk" else []
    if prefix is None:
        pytest.skip("mounting a small file system is not allowed here")
    folder = tmp_path / "small"
    folder.mkdir()
    begin = SMALL_DISK.replace("HAS_MOUNT", str(limit == "disk")) + (WITH_JOURNAL if journal == "delete" else "")
    config = sqlite_config(folder / "sqltrack.db")
    with Script(begin + FILL, config, prefix=prefix, patience=300) as script:
        found = json.loads(script.succeed()[-1])
    figures = {name: found[name] for name in ("confirmed", "missing", "slowest")}
    record(faults=2, errors=len(found["classes"]), **figures)
    assert found["missing"] == 0
    # Python 3.10 does not say what the file system has refused.
    if limit == "disk" or sys.version_info >= (3, 11):
        assert found["classes"] == ["DiskFullError"] * 2
    assert all("disk is full" in message or "disk I/O error" in message for message in found["messages"])
    assert found["integrity"] == "ok"
    assert found["status"] == "COMPLETED"


@pytest.fixture
def small_folder(own_server: PostgresServer) -> Iterator[Path]:
    """A folder for a tablespace of the server, on a disk of 16 MB that is mounted at its parent folder."""
    disk = own_server.folder / "small"
    disk.mkdir()
    with mounted(disk, "16m"):
        folder = disk / "data"
        folder.mkdir(mode=0o700)
        status = own_server.data_dir.stat()
        os.chown(folder, status.st_uid, status.st_gid)
        yield folder


@pytest.fixture
def small_config(own_server: PostgresServer, small_folder: Path) -> Iterator[dict[str, Any]]:
    """Configuration for a database after setup, whose tables are on that disk."""
    config = {"engine": "postgres", **psycopg.conninfo.conninfo_to_dict(own_server.dsn)}
    with connect_to_postgres(config) as connection:
        connection.execute(f"CREATE TABLESPACE small LOCATION '{small_folder}'")
        connection.execute("CREATE DATABASE small TABLESPACE small")
        setup(sqltrack.Client(config, dbname="small"))
        yield {**config, "dbname": "small"}
        connection.execute("DROP DATABASE small WITH (FORCE)")
        connection.execute("DROP TABLESPACE small")


def test_a_disk_that_is_full_costs_no_confirmed_row_of_postgres(
    small_config: dict[str, Any], small_folder: Path, record: Callable[..., None], rng: random.Random
) -> None:
    """The error says so, and the same run continues once there is space."""
    run = Experiment(sqltrack.Client(small_config), name="experiment").get_run()
    # Random, because the server compresses.
    text = rng.randbytes(4000).hex()
    confirmed: list[int] = []
    with run.track():
        with pytest.raises(DiskFullError, match="disk is full"):
            while True:
                run.add_metrics({"text": text}, step=len(confirmed))
                confirmed.append(len(confirmed))
                assert len(confirmed) < 100_000
        resize(small_folder.parent, "64m")
        for _ in range(200):
            run.add_metrics({"text": text}, step=len(confirmed))
            confirmed.append(len(confirmed))
    missing = set(confirmed) - set(steps(small_config))
    record(faults=1, confirmed=len(confirmed), missing=len(missing), errors=1)
    assert not missing
    assert statuses(small_config) == ["COMPLETED"]


@pytest.fixture
def small_log(server_binaries: Path) -> Iterator[PostgresServer]:
    """A server whose write-ahead log is on its own disk, with space for a few files of 16 MB."""
    with PostgresServer(server_binaries, {"max_wal_size": "32MB", "min_wal_size": "32MB"}) as server:
        log, disk = server.data_dir / "pg_wal", server.folder / "log"
        server.kill()
        log.rename(disk)
        log.mkdir()
        with mounted(log, "100m"):
            shutil.copytree(disk, log, dirs_exist_ok=True)
            status = server.data_dir.stat()
            for path in (log, *log.rglob("*")):
                os.chown(path, status.st_uid, status.st_gid)
            server.start()
            yield server
            server.kill()


def test_a_disk_that_is_full_below_the_log_of_postgres_costs_a_tracked_run_nothing(
    small_log: PostgresServer, record: Callable[..., None]
) -> None:
    """The server cannot continue without its log, and comes back once there is space; the run waits for it."""
    config = {"engine": "postgres", **psycopg.conninfo.conninfo_to_dict(small_log.dsn)}
    client = sqltrack.Client(config, reconnect=60)
    setup(client)
    run = Experiment(client, name="experiment").get_run()
    filling = small_log.data_dir / "pg_wal" / "filling"
    with run.track(), LoggingThread(run) as thread:
        thread.wait_for_more()
        with filling.open("wb") as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(1 << 20))
        with pytest.raises(psycopg.OperationalError), connect_to_postgres(config) as connection:
            while True:
                connection.execute("SELECT pg_switch_wal()")
        assert "No space left on device" in small_log.log_file.read_text(encoding="utf-8")
        time.sleep(1)
        filling.unlink()
        crash(small_log)
        thread.wait_for_more()
    expect_nothing_missing(config, run, thread, record, faults=1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Path of a SQLite database in its own folder, after setup."""
    folder = tmp_path / "folder"
    folder.mkdir()
    setup(sqltrack.Client(sqlite_config(folder / "sqltrack.db")))
    return folder / "sqltrack.db"


def sqlite_config(path: Path) -> dict[str, Any]:
    return {"engine": "sqlite", "dbpath": str(path), "outbox": "off"}


@needs_movable_files
@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_database_that_is_moved_away_and_back_again_and_again_loses_nothing(
    path: Path, what: str, record: Callable[..., None], rng: random.Random
) -> None:
    """No file is created in its place in the meantime, which would have destroyed data in the write-ahead log."""
    run = Experiment(sqltrack.Client(sqlite_config(path)), name="experiment").get_run()
    moved = path if what == "file" else path.parent
    aside = path.parent.parent / "aside"
    with run.track(), LoggingThread(run) as thread:
        for _ in range(8):
            thread.wait_for_more(rng.randrange(1, 500))
            moved.rename(aside)
            time.sleep(1.5)
            assert not moved.exists()
            aside.rename(moved)
        thread.wait_for_more()
    expect_nothing_missing(sqlite_config(path), run, thread, record, faults=8)
    assert ask(sqlite_config(path), "PRAGMA integrity_check") == "ok"


@needs_movable_files
@pytest.mark.parametrize("what", ["file", "file and log", "folder"])
def test_a_database_that_is_removed_is_an_error_and_not_recreated(
    path: Path, what: str, record: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    """Calls raise. At its end the run, which has done its work, logs that not everything was stored."""
    run = Experiment(sqltrack.Client(sqlite_config(path), reconnect=1), name="experiment").get_run()
    thread = LoggingThread(run, tolerated=(DatabaseUnavailableError,))
    with run.track(), thread:
        thread.wait_for_more()
        removed = [path] if what == "file" else sorted(path.parent.iterdir())
        if what == "folder":
            shutil.rmtree(path.parent)
        else:
            for file in removed:
                file.unlink()
        thread.wait_for_error()
    record(faults=1, errors=1, slowest=thread.slowest)
    assert "removed or moved" in caplog.text
    assert not path.exists()


@needs_movable_files
def test_a_database_that_is_replaced_continues_in_the_new_one(path: Path, record: Callable[..., None]) -> None:
    """As when a copy with its log is restored; earlier rows are in the old file."""
    run = Experiment(sqltrack.Client(sqlite_config(path)), name="experiment").get_run()
    copy = path.parent.parent / "copy"
    old = path.parent.parent / "old"
    shutil.copytree(path.parent, copy)
    with run.track(), LoggingThread(run) as thread:
        thread.wait_for_more()
        path.parent.rename(old)
        copy.rename(path.parent)
        wait_until(lambda: bool(steps(sqlite_config(path))), seconds=60)
        thread.wait_for_more()
    stored = set(steps(sqlite_config(path))) | set(steps(sqlite_config(old / path.name)))
    missing = set(thread.confirmed) - stored
    record(faults=1, confirmed=len(thread.confirmed), missing=len(missing), errors=0, slowest=thread.slowest)
    assert not missing
    for file in (path, old / path.name):
        assert ask(sqlite_config(file), "PRAGMA integrity_check") == "ok"


def overwrite(path: Path) -> None:
    path.write_bytes(random.randbytes(path.stat().st_size))


def overwrite_middle(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096 : len(data) // 2] = random.randbytes(len(data) // 2 - 4096)
    path.write_bytes(data)


def truncate(path: Path) -> None:
    os.truncate(path, 3 * 4096)


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (overwrite, NotADatabaseError, "is not a SQLite database"),
        (overwrite_middle, DatabaseError, "is damaged"),
        (truncate, DatabaseError, "is damaged"),
    ],
    ids=["overwritten", "middle overwritten", "truncated"],
)
def test_a_damaged_file_is_an_error_that_says_so(
    path: Path, damage: Callable[[Path], None], error: type[Exception], message: str, record: Callable[..., None]
) -> None:
    client = sqltrack.Client(sqlite_config(path))
    run = Experiment(client, name="experiment").get_run()
    run.add_metrics_many([{"step": step, "text": "x" * 500} for step in range(2000)])
    with client:
        """Close the connection: before, all pages are in the log, and what happens to the file does no harm."""
    damage(path)
    start = time.monotonic()
    with pytest.raises(error, match=message):
        run.add_metrics_many([{"step": step, "text": "y"} for step in range(2000)])
    record(faults=1, errors=1, slowest=time.monotonic() - start)


WRITE = """
from sqltrack.errors import DatabaseError

for write in (
    lambda: Run(client, run_id=1).add_metrics({"loss": 2.0}), lambda: Experiment(client, name="new"),
    lambda: setup(client, [("more.sql", "CREATE TABLE more (id INTEGER)")]),
):
    try:
        write()
    except DatabaseError as error:
        confirm(f"{type(error).__name__}: {error}")
"""


@needs_permissions
def test_a_folder_that_may_only_be_read_is_an_error_that_says_so(path: Path, record: Callable[..., None]) -> None:
    Experiment(sqltrack.Client(sqlite_config(path)), name="experiment").get_run().add_metrics({"loss": 1.0})
    path.chmod(0o666)
    path.parent.chmod(0o555)
    with Script(UNPRIVILEGED + WRITE, sqlite_config(path)) as script:
        lines = script.succeed()
    path.parent.chmod(0o755)
    stored = steps(sqlite_config(path))
    record(faults=1, errors=len(lines), confirmed=1, missing=1 - len(stored))
    assert len(lines) == 3
    assert all(line.startswith(("ReadOnlyDatabaseError", "DatabaseUnavailableError")) for line in lines), lines
    assert stored == [0]
