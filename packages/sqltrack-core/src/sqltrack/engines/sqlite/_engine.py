"""Implement the interface for tracking for SQLite, with the standard library."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from sqltrack._settings import number_setting
from sqltrack.engines._paths import check_path
from sqltrack.engines._spelling import quote
from sqltrack.engines.engine import Engine, find_sql_type
from sqltrack.engines.schema import TABLES
from sqltrack.engines.sqlite._connection import Connection, LockTimeoutError, split_script
from sqltrack.engines.sqlite._file_errors import allows_wal, explain_io_error, find_lock_refusal, refused_locks
from sqltrack.engines.sqlite._filesystem import find_folder_problem, is_network_file_system
from sqltrack.engines.sqlite._functions import create_functions
from sqltrack.engines.sqlite._metrics_table import SQLiteMetricsTable
from sqltrack.engines.sqlite._sql import SQLITE
from sqltrack.engines.sqlite._types import SQL_TYPES
from sqltrack.engines.sqlite._values import register_converters
from sqltrack.errors import (
    ConfigError,
    DatabaseError,
    DatabaseLockedError,
    DatabaseUnavailableError,
    DiskFullError,
    NotADatabaseError,
    NotSetUpError,
    ReadOnlyDatabaseError,
    SQLTrackError,
)

if TYPE_CHECKING:
    from sqltrack.engines.metrics_table import MetricsTable

__all__ = ["SQLiteEngine"]

_MINIMUM_VERSION = (3, 35, 0)
_BUSY_TIMEOUT = 60.0
_JOURNAL_TIMEOUT = 5.0
# Pages in the log after which a commit moves them to the file and waits for the disk (benchmarks/checkpoints.py).
_CHECKPOINT_PAGES = 4_000
_SYNCHRONOUS = ("OFF", "NORMAL", "FULL", "EXTRA")
# Messages of file systems that fail, and the beginnings of messages about damaged files.
_FAILING = ("disk I/O error", "locking protocol")
_DAMAGED = ("database disk image is malformed", "malformed database schema")
# URLs, of which pathlib keeps only one slash, and parameters of a server.
_NOT_A_PATH = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+:/|\bpassword\s*=", re.IGNORECASE)
# Ids that the database generates are below this; users may choose greater ones.
_MAX_NEW_ID = 2**52


class SQLiteEngine(Engine):
    """Stores experiments in a SQLite file.

    Args:
        config: `dbpath`, path of the file, default "sqltrack.db"; `busy_timeout`, seconds to wait for other writers,
            default 60; `synchronous`, one of OFF, NORMAL, FULL, EXTRA, default NORMAL with a write-ahead log and FULL
            without (https://sqlite.org/pragma.html#pragma_synchronous).

    Attributes:
        path: absolute path of the file.
        busy_timeout: seconds to wait for other writers.

    Raises:
        ConfigError: a parameter cannot be used, or the SQLite library is older than 3.35.
    """

    name = "sqlite"
    driver_error: ClassVar[type[Exception]] = sqlite3.Error
    dialect = SQLITE
    metrics_table: ClassVar[MetricsTable] = SQLiteMetricsTable()
    connects_in_threads: ClassVar[bool] = True
    locks_by_process: ClassVar[bool] = True
    admin_class: ClassVar[str | None] = "sqltrack.engines.sqlite.admin:SQLiteAdmin"

    def __init__(self, config: Mapping[str, Any]) -> None:
        if sqlite3.sqlite_version_info < _MINIMUM_VERSION:
            raise ConfigError(f"sqltrack needs SQLite 3.35 or newer, this Python has {sqlite3.sqlite_version}")
        self.path: str = _database_path("sqltrack.db" if config.get("dbpath") is None else config["dbpath"])
        self.busy_timeout: float = number_setting(config, "busy_timeout", _BUSY_TIMEOUT)
        self._synchronous = _synchronous_setting(config.get("synchronous"))
        # None if unknown.
        self._allows_wal: bool | None = None
        register_converters()

    def __repr__(self) -> str:
        return f"SQLiteEngine({self.path!r})"

    def connect(self) -> Connection:
        """Open the database file; if it does not exist and `may_create` is true, create it.

        Raises:
            DatabaseUnavailableError: the file cannot be opened.
            NotADatabaseError: the file is not a SQLite database.
        """
        try:
            connection = Connection(
                f"{Path(self.path).as_uri()}?mode={'rwc' if self.may_create else 'rw'}",
                uri=True,
                timeout=self.busy_timeout,
                detect_types=sqlite3.PARSE_DECLTYPES,
                # The client lets only one thread at a time use a connection.
                check_same_thread=False,
                path=self.path,
            )
        except sqlite3.Error as error:
            raise self.translate_error(error) from error
        try:
            self._prepare(connection)
        except sqlite3.Error as error:
            connection.close()
            raise self.translate_error(error) from error
        return connection

    def describe(self) -> str:
        return f"SQLite database {self.path!r}"

    def target(self) -> dict[str, Any]:
        return {"engine": self.name, "dbpath": self.path}

    def exists(self) -> bool:
        return os.path.exists(self.path)

    def data_dir(self) -> str:
        """Return the path of the folder that holds `base.sql`."""
        return str(Path(__file__).parent)

    def map_type(self, client: Any, typ: type) -> str:
        """Return the SQL type of a column for values of the Python type `typ`.

        Raises:
            TypeError: no SQL type fits.
        """
        sql_type = find_sql_type(typ, SQL_TYPES)
        if sql_type is None:
            raise TypeError(f"no SQLite type for Python type {typ.__name__!r}")
        return sql_type

    def set_autocommit(self, connection: Connection, enabled: bool) -> None:
        connection.autocommit_enabled = enabled

    def is_usable(self, connection: Connection) -> bool:
        try:
            connection.check_file()
            # Only total_changes raises an error if the connection was closed.
            return connection.total_changes >= 0 and not connection.in_transaction
        except sqlite3.Error:
            return False

    def is_busy(self, connection: Connection) -> bool:
        return connection.is_busy

    def limit_waits(self, connection: Connection, seconds: float | None) -> None:
        self.limit(connection, seconds)

    def limit(self, connection: Connection, seconds: float | None) -> None:
        longest = self.busy_timeout
        connection.busy_timeout = longest if seconds is None or seconds > longest else seconds

    def settle(self, connection: Connection) -> None:
        connection.close_cursors()
        connection.rollback()

    def abort(self, connection: Connection) -> None:
        with contextlib.suppress(sqlite3.Error):
            connection.rollback()
        with contextlib.suppress(sqlite3.Error):
            connection.close()

    def abort_within(self, connection: Connection) -> bool:
        if not connection.in_transaction:
            # In autocommit mode, the statement cannot be rolled back, and ends soon.
            return False
        # While a statement calls a function, it must not be reset or finalized, which closing would do.
        with contextlib.suppress(sqlite3.Error):
            sqlite3.Cursor(connection).execute("ROLLBACK")
        return True

    def translate_error(self, error: Exception) -> SQLTrackError:
        message = str(error)
        if "unable to open database file" in message:
            reason, advice = self._why_not_opened()
            reason = message.partition(": ")[2] or reason
            unavailable = DatabaseUnavailableError(f"cannot open SQLite database {self.path!r}: {reason}", advice)
            unavailable.may_pass = False
            return unavailable
        if "not a database" in message:
            return NotADatabaseError(f"file {self.path!r} is not a SQLite database", "choose another file with dbpath")
        if "no such table" in message and message.rpartition(": ")[2].removeprefix("main.") in TABLES:
            return NotSetUpError(f"database {self.path!r} has no sqltrack tables")
        if message.startswith("database table is locked"):
            return DatabaseLockedError(
                f"a table of database {self.path!r} is in use by a query of the same connection",
                "read its rows to the end, or close its cursor",
            )
        if "locked" in message:
            # SQLite does not distinguish a file system without locks from a lock of another process.
            refusal = find_lock_refusal(self.path)
            if refusal is not None:
                return refused_locks(self.path, refusal)
            seconds = error.seconds if isinstance(error, LockTimeoutError) else self.busy_timeout
            limit = f"busy_timeout = {seconds:g} s" if seconds == self.busy_timeout else f"{seconds:.2g} s"
            return DatabaseLockedError(
                f"database {self.path!r} is locked: another process has been writing for longer than {limit}"
            )
        if "readonly database" in message:
            return ReadOnlyDatabaseError(f"database {self.path!r} is read-only, check its permissions")
        if "disk is full" in message:
            return DiskFullError(f"the disk is full, database {self.path!r} cannot grow", "free space, then continue")
        if message in _FAILING:
            return explain_io_error(error, self.path)
        if message.startswith(_DAMAGED):
            return DatabaseError(
                f"database {self.path!r} is damaged: {message}",
                "restore a backup, or save the readable data with the command .recover of SQLite's own program",
            )
        return DatabaseError(f"database {self.path!r}: {message}")

    def may_pass(self, error: Exception) -> bool:
        return isinstance(error, sqlite3.Error) and str(error).startswith((*_FAILING, *_DAMAGED))

    def split_script(self, script: str) -> list[str]:
        return split_script(script)

    def execute_script(self, connection: Connection, script: str) -> Any:
        return connection.executescript(script)

    def lock_schema(self, connection: Connection) -> None:
        connection.begin_write()

    def lock_rows(self, connection: Connection, table: str, ids: Sequence[int], *, for_deletion: bool = False) -> None:
        # SQLite has a single write lock.
        connection.begin_write()

    def table_columns(self, connection: Connection, table: str) -> dict[str, str]:
        return dict(connection.execute("SELECT name, type FROM pragma_table_info(?)", (table,)))

    def new_id_sql(self, table: str) -> str:
        # For NULL, SQLite uses the greatest id ever plus one, which fails after the greatest possible id.
        return f"""
            CASE WHEN (SELECT seq FROM sqlite_sequence WHERE name = '{table}') >= {_MAX_NEW_ID}
            THEN (SELECT COALESCE(MAX(id), 0) + 1 FROM {table} WHERE id < {_MAX_NEW_ID})
            END
        """

    def merge_json_sql(self, column: str) -> str:
        # json_patch() would drop keys whose new value is null, and merge deeply.
        return f"sqltrack_merge_json({column}, %s)"

    def remove_keys_sql(self, column: str) -> str:
        return f"sqltrack_remove_keys({column}, %s)"

    def json_items_sql(self, column: str) -> str:
        value = """
            CASE item.type
                WHEN 'true' THEN 'true'
                WHEN 'false' THEN 'false'
                WHEN 'object' THEN item.value
                WHEN 'array' THEN item.value
                ELSE json_quote(item.value)
            END
        """
        columns = f"runs.id AS run_id, item.key AS name, {value.strip()} AS value"
        objects = f"CASE json_type({column}) WHEN 'object' THEN {column} END"
        return f"SELECT {columns} FROM runs, json_each({objects}) AS item"

    def _prepare(self, connection: Connection) -> None:
        uses_wal = self._journal_mode(connection) == "wal"
        if uses_wal:
            connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        connection.execute(f"PRAGMA synchronous = {self._synchronous or ('NORMAL' if uses_wal else 'FULL')}")
        connection.execute("PRAGMA foreign_keys = ON")
        create_functions(connection, connection.raised)

    def _journal_mode(self, connection: Connection) -> str:
        """Switch to the write-ahead log, if the file system allows it, and return the journal mode."""
        mode = str(connection.execute("PRAGMA journal_mode").fetchone()[0])
        if mode != "delete" or is_network_file_system(self.path):
            return mode
        # Check before the switch: it always succeeds, but makes the file unusable if memory cannot be shared.
        if self._allows_wal is None:
            self._allows_wal = allows_wal(self.path)
        if not self._allows_wal:
            return mode
        try:
            self.limit_waits(connection, _JOURNAL_TIMEOUT)
            return str(connection.execute("PRAGMA journal_mode = WAL").fetchone()[0])
        except sqlite3.OperationalError:
            # The switch needs exclusive access. Without it, or if the log is refused (read-only file, file system
            # without shared memory), keep the current journal.
            return mode
        finally:
            self.limit_waits(connection, None)

    def _why_not_opened(self) -> tuple[str, str]:
        """Return why the file cannot be opened, and advice."""
        problem = find_folder_problem(self.path)
        if problem is not None:
            return problem
        if os.path.isdir(self.path):
            return "it is a folder", "correct dbpath"
        return "the file system refuses it", "check the permissions of the file and its folder"


def _database_path(dbpath: Any) -> str:
    if not isinstance(dbpath, (str, os.PathLike)):
        raise ConfigError(f"dbpath must name a file, got {quote(dbpath)}")
    path = os.fspath(dbpath)
    if not path:
        raise ConfigError("dbpath must name a file, got ''")
    if _NOT_A_PATH.search(path):
        raise ConfigError(
            "dbpath must name a file, got the address of a database",
            "pass an address as Client('postgresql://…'), or the parameters of a server with engine='postgres'",
        )
    if path.startswith((":memory:", "file:")):
        raise ConfigError(
            f"dbpath must name a file, got {path!r}",
            "a database in memory would be lost when its connection closes",
        )
    check_path(path)
    # A training script may change the working directory between two connections.
    return os.path.abspath(os.path.expanduser(path))


def _synchronous_setting(value: Any) -> str | None:
    if value is None:
        return None
    name = str(value).upper()
    if name not in _SYNCHRONOUS:
        raise ConfigError(f"synchronous must be one of {', '.join(_SYNCHRONOUS)}, got {quote(value)}")
    return name
