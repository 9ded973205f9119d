"""A file system that lacks features that SQLite needs is named as the reason, and is used if possible."""

from __future__ import annotations

import resource
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack.commands import setup
from sqltrack.engines.sqlite import _file_errors
from sqltrack.errors import DatabaseError, DatabaseLockedError, DiskFullError
from support.faulty_files import compile_library
from support.processes import Script

FOLDER = "faulty"

USE = """
import sqlite3
def attempt(call):
    try:
        confirm(f"fine {call()}")
    except Exception as error:
        confirm(f"{type(error).__name__} {error}")
"""
WRITE = f"""
{USE}
attempt(lambda: setup(client))
attempt(lambda: Experiment(client, name="experiment").get_run(1).add_metrics({{"loss": 1.0}}, step=1).id)
attempt(lambda: client.execute("SELECT COUNT(*) FROM runs").fetchone()[0])
"""

Faulty = Callable[..., list[str]]


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A library that makes system calls fail."""
    return compile_library(tmp_path_factory.mktemp("library"))


@pytest.fixture
def faulty_config(tmp_path: Path, outbox_off: dict[str, str]) -> dict[str, Any]:
    """Configuration for a file in a folder of that file system."""
    (tmp_path / FOLDER).mkdir()
    return {"engine": "sqlite", "dbpath": str(tmp_path / FOLDER / "a.db"), "busy_timeout": 0.2, **outbox_off}


@pytest.fixture
def run_script(library: str, faulty_config: dict[str, Any]) -> Faulty:
    """Run a script in which calls fail; return the lines that it confirms."""

    def run(calls: str, text: str = WRITE) -> list[str]:
        variables = [f"LD_PRELOAD={library}", f"FAULTY_CALLS={calls}", f"FAULTY_FILES=/{FOLDER}/"]
        with Script(text, faulty_config, prefix=["env", *variables]) as script:
            return [line for line in script.succeed() if not line.startswith("(")]

    return run


def journal_mode(config: dict[str, Any]) -> str:
    connection = sqlite3.connect(config["dbpath"])
    try:
        return str(connection.execute("PRAGMA journal_mode").fetchone()[0])
    finally:
        connection.close()


def set_journal_mode(config: dict[str, Any], mode: str) -> None:
    connection = sqlite3.connect(config["dbpath"])
    connection.execute(f"PRAGMA journal_mode = {mode}")
    connection.close()


@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.parametrize("calls", ["mmap", "truncate"])
def test_where_memory_cannot_be_shared_the_rollback_journal_is_used(
    run_script: Faulty, faulty_config: dict[str, Any], calls: str, exists: bool
) -> None:
    """For example in FUSE without a cache, and in some containers."""
    if exists:
        setup(sqltrack.Client(faulty_config))
        set_journal_mode(faulty_config, "DELETE")
    assert run_script(calls) == ["fine None", "fine 1", "fine 1"]
    assert journal_mode(faulty_config) == "delete"
    assert [path.name for path in Path(faulty_config["dbpath"]).parent.iterdir()] == ["a.db"]


@pytest.mark.parametrize("calls", ["mmap", "truncate"])
def test_a_database_with_a_write_ahead_log_says_there_what_to_do(
    run_script: Faulty, faulty_config: dict[str, Any], calls: str
) -> None:
    setup(sqltrack.Client(faulty_config))
    assert journal_mode(faulty_config) == "wal"
    for line in run_script(calls):
        assert line.startswith("DatabaseError ")
        assert "has a write-ahead log, for which the file system cannot share memory" in line
        advice = 'sqlite3 {} "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = DELETE"'
        assert line.endswith(advice.format(faulty_config["dbpath"]))
    follow = """
connection = sqlite3.connect(config["dbpath"])
connection.execute("PRAGMA locking_mode = EXCLUSIVE")
confirm(connection.execute("PRAGMA journal_mode = DELETE").fetchone()[0])
connection.close()
"""
    assert run_script(calls, f"import sqlite3{follow}{WRITE}") == ["delete", "fine None", "fine 1", "fine 1"]


@pytest.mark.parametrize("exists", [False, True])
def test_locks_that_the_file_system_refuses_are_not_those_of_another_process(
    run_script: Faulty, faulty_config: dict[str, Any], exists: bool
) -> None:
    if exists:
        setup(sqltrack.Client(faulty_config))
    for line in run_script("lock"):
        assert "the file system refuses locks (No locks available); move the file to a local disk" in line
        assert line.startswith("DatabaseError ")


def test_nor_does_the_doctor_think_so(run_script: Faulty, faulty_config: dict[str, Any]) -> None:
    from sqltrack.engines.sqlite._checks import _why_not_writable

    path = faulty_config["dbpath"]
    text = (
        f"from sqltrack.engines.sqlite._checks import _why_not_writable as why\nconfirm(why('locked', {path!r}).found)"
    )
    assert run_script("lock", text) == ["the file system refuses locks (No locks available)"]
    assert "another process" in _why_not_writable("database is locked", path).found


@pytest.mark.no_outbox
@pytest.mark.parametrize("calls", ["read", "write", "sync", "read,write,sync"])
@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_a_disk_that_fails_is_not_called_full(
    run_script: Faulty, faulty_config: dict[str, Any], calls: str, journal: str
) -> None:
    setup(sqltrack.Client(faulty_config))
    set_journal_mode(faulty_config, journal)
    failed = [line for line in run_script(calls) if not line.startswith("fine")]
    assert failed
    for line in failed:
        assert line.startswith("DatabaseError "), line
        assert "disk I/O error (SQLITE_IOERR" in line
        assert "full" not in line


def io_error(name: str | None, message: str = "disk I/O error") -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(message)
    if name is not None:
        error.sqlite_errorname = name  # type: ignore[attr-defined]  # since Python 3.11
    return error


@pytest.fixture
def limited_files() -> Iterator[None]:
    """Limit files of this process to 200 KB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("name", ["SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHMSIZE", "SQLITE_IOERR_TRUNCATE", None])
def test_a_limit_of_the_size_of_files_is_one_that_says_so(
    sqlite_config: dict[str, Any], name: str | None, request: pytest.FixtureRequest
) -> None:
    """SQLite reports only a failure, and Python 3.10 not even its code."""
    engine = sqltrack.Client(sqlite_config).engine
    assert type(engine.translate_error(io_error(name))) is DatabaseError
    Path(sqlite_config["dbpath"]).write_bytes(bytes(150_000))
    request.getfixturevalue("limited_files")
    error = engine.translate_error(io_error(name))
    assert isinstance(error, DiskFullError)
    assert "files may have 200000 bytes at most" in str(error)
    assert type(engine.translate_error(io_error("SQLITE_IOERR_READ"))) is DatabaseError


@pytest.mark.parametrize("name", ["ENOSPC", "EDQUOT", "EFBIG", "EIO"])
def test_a_quota_is_told_from_a_disk_that_fails(
    sqlite_config: dict[str, Any], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    import errno
    import os

    def refuse(*_: object) -> int:
        raise OSError(getattr(errno, name), os.strerror(getattr(errno, name)))

    monkeypatch.setattr(_file_errors.os, "write", refuse)
    error = sqltrack.Client(sqlite_config).engine.translate_error(io_error("SQLITE_IOERR_WRITE"))
    assert isinstance(error, DiskFullError) == (name != "EIO")
    assert (os.strerror(getattr(errno, name)) in str(error)) == (name != "EIO")


@pytest.mark.parametrize(
    ("name", "message", "expected"),
    [
        ("SQLITE_IOERR_LOCK", "disk I/O error", "refuses locks (SQLITE_IOERR_LOCK)"),
        ("SQLITE_IOERR_RDLOCK", "disk I/O error", "refuses locks (SQLITE_IOERR_RDLOCK)"),
        ("SQLITE_IOERR_SHMLOCK", "disk I/O error", "cannot share memory (SQLITE_IOERR_SHMLOCK)"),
        ("SQLITE_PROTOCOL", "locking protocol", "cannot share memory (SQLITE_PROTOCOL)"),
        (None, "locking protocol", "cannot share memory (SQLITE_PROTOCOL)"),
    ],
)
def test_what_sqlite_has_names_for_needs_no_attempt(
    sqlite_config: dict[str, Any], name: str | None, message: str, expected: str
) -> None:
    error = sqltrack.Client(sqlite_config).engine.translate_error(io_error(name, message))
    assert type(error) is DatabaseError
    assert expected in str(error)


def test_a_table_in_use_by_the_same_connection_is_not_locked_by_another_process(sqlite_config: dict[str, Any]) -> None:
    client = sqltrack.Client(sqlite_config)
    for _ in range(2):
        sqltrack.Experiment(client, name="experiment").get_run()
    with pytest.raises(DatabaseLockedError, match="in use by a query of the same connection"), client as connection:
        rows = iter(connection.execute("SELECT * FROM runs"))
        next(rows)
        try:
            connection.execute("DROP TABLE metrics")
        except sqlite3.Error as error:
            raise client.engine.translate_error(error) from error
