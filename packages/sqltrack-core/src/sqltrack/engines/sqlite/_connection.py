"""Extend sqlite3's connection and cursor with psycopg's placeholders, SQLTrack's values and safe transactions."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from sqltrack import sigterm
from sqltrack._forks import unforked
from sqltrack._quoting import query_text
from sqltrack._retrying import retry
from sqltrack.engines._first_rows import Parts
from sqltrack.engines.sqlite._first_rows import first_rows_sql
from sqltrack.engines.sqlite._sql import SQLITE, split_additions
from sqltrack.engines.sqlite._values import adapt, adapt_all, sql_literal
from sqltrack.engines.sqltext import Translated, keywords, split_statements, statement_text, translate_placeholders

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Connection", "Cursor", "LockTimeoutError", "split_script"]

T = TypeVar("T")

# Seconds that SQLite may wait by itself, because signal handlers run only between these waits.
_UNINTERRUPTED = 0.25

# Messages of errors after a signal handler raised during a statement.
_FUNCTION_RAISED = "user-defined function raised exception"
_ROLLED_BACK = "abort due to ROLLBACK"

_WRITING = frozenset(
    {"INSERT", "UPDATE", "DELETE", "REPLACE", "CREATE", "DROP", "ALTER", "REINDEX", "ANALYZE", "SAVEPOINT"}
)
_WRITING_AFTER_WITH = frozenset({"INSERT", "UPDATE", "DELETE", "REPLACE"})


@lru_cache(maxsize=512)
def _writes(statement: str) -> bool:
    """Return whether a statement may change the database and so needs a write transaction."""
    words = keywords(statement, SQLITE)
    first = next(words, "")
    if first == "WITH":
        return not _WRITING_AFTER_WITH.isdisjoint(words)
    return first in _WRITING


class Connection(sqlite3.Connection):
    """A connection that takes the write lock at the beginning of a transaction.

    If a transaction reads first and then writes while another one writes, SQLite fails without waiting
    (https://sqlite.org/isolation.html). BEGIN IMMEDIATE waits instead.

    The connection waits for locks in Python, because no signal handler could run while SQLite waits.

    Attributes:
        autocommit_enabled: whether the connection is in autocommit mode.
        busy_timeout: seconds to wait for locks of other connections.
        is_busy: whether a statement of a `Cursor` is being executed.
        plain_cursor: a cursor of the sqlite3 module, for statements that need no conversions.
        raised: exceptions raised in functions that SQLite called.
    """

    def __init__(self, database: str, *, timeout: float, path: str | None = None, **kwargs: Any) -> None:
        self.busy_timeout = timeout
        connect = partial(super().__init__, timeout=min(timeout, _UNINTERRUPTED), **kwargs)
        unforked(connect, database)
        # Turn off the module's own handling of transactions.
        self.isolation_level: Literal["DEFERRED", "EXCLUSIVE", "IMMEDIATE"] | None = None
        self.autocommit_enabled = False
        self.is_busy = False
        self.raised: list[BaseException] = []
        self.plain_cursor: sqlite3.Cursor = sqlite3.Cursor(self)
        # Without a callback, because exceptions of signal handlers would be lost there.
        self._last_cursor: Callable[[], sqlite3.Cursor | None] = weakref.ref(self.plain_cursor)
        # A URI is not a path.
        self._path = database if path is None else path
        self._file = _file_identity(self._path)

    def cursor(self, factory: Any = None) -> Any:
        """Return a new `Cursor`, or a cursor of `factory`."""
        cursor = super().cursor(factory or Cursor)
        self._last_cursor = weakref.ref(cursor)
        return cursor

    # sqlite3's own shortcuts would not use our `Cursor`.

    def execute(self, query: Any, params: Any = (), /) -> Any:
        """Execute a statement with a new cursor and return the cursor."""
        return self.cursor().execute(query, params)

    def executemany(self, query: Any, params_seq: Iterable[Any], /) -> Any:
        """Execute a statement for each item of `params_seq` with a new cursor and return the cursor."""
        return self.cursor().executemany(query, params_seq)

    def executescript(self, script: Any, /) -> Any:
        """Execute the statements of a script with a new cursor and return the cursor."""
        return self.cursor().executescript(script)

    def sql_literal(self, value: Any) -> str:
        """Return `value` as an SQL literal."""
        return sql_literal(value)

    def begin_write(self) -> None:
        """Check that the file exists and, unless in autocommit mode, take the write lock.

        Does nothing in an open transaction.
        """
        if self.in_transaction:
            return
        self.check_file()
        if not self.autocommit_enabled:
            self.patiently(self.plain_cursor.execute, "BEGIN IMMEDIATE")

    def write(self, sql: str, values: Sequence[Any]) -> None:
        """Execute a statement that changes something, with SQLite's placeholders and types of values."""
        if not self.autocommit_enabled:
            self.begin_write()
        try:
            unforked(self.plain_cursor.execute, sql, values)
        except sqlite3.OperationalError as error:
            self.raise_swallowed(error)
            if not self._may_wait(error):
                raise
            self.patiently(self.plain_cursor.execute, sql, values)

    def commit(self) -> None:
        """Commit the open transaction; with a rollback journal, this waits for readers."""
        self.patiently(super().commit, within_transaction=True)

    def patiently(self, execute: Callable[..., T], *arguments: Any, within_transaction: bool = False) -> T:
        """Call `execute(*arguments)` and retry it while other connections hold locks, up to `busy_timeout`."""

        def attempt() -> T:
            try:
                return unforked(execute, *arguments)
            except sqlite3.OperationalError as error:
                self.raise_swallowed(error)
                raise

        def can_help(error: Exception) -> bool:
            return self._may_wait(error) or (within_transaction and "is locked" in str(error))

        try:
            # SQLite does not always wait by itself, for example if it detects a deadlock.
            return retry(attempt, can_help, seconds=self.busy_timeout, pause=0.001, longest=0.01)
        except sqlite3.OperationalError as error:
            if not can_help(error):
                raise
            raise LockTimeoutError(str(error), self.busy_timeout) from error

    def raise_swallowed(self, error: sqlite3.OperationalError) -> None:
        """Raise the exception of a signal handler that made a statement fail with `error`, if any."""
        cause = self.raised[0] if self.raised else None
        self.raised.clear()
        # Python also checks for signals before a function begins, so that the function cannot record the exception.
        if cause is None and str(error) in (_FUNCTION_RAISED, _ROLLED_BACK):
            cause = sigterm.begun_exit()
        if cause is None and str(error) == _FUNCTION_RAISED:
            cause = KeyboardInterrupt()
        if cause is not None and not isinstance(cause, Exception):
            raise cause

    def close(self) -> None:
        """Close the connection after its cursors, which would otherwise keep the file and the lock for a while."""
        self.close_cursors()
        unforked(super().close)

    def close_cursors(self) -> None:
        """End the queries of this connection."""
        for cursor in (self.plain_cursor, self._last_cursor()):
            if cursor is not None:
                with contextlib.suppress(sqlite3.ProgrammingError):
                    unforked(cursor.close)

    def check_file(self) -> None:
        """Make sure that the file was not removed or replaced, because changes to it would be lost.

        Raises:
            sqlite3.OperationalError: it was.
        """
        if _file_identity(self._path) != self._file:
            raise sqlite3.OperationalError("unable to open database file: it was removed or replaced")

    def _may_wait(self, error: Exception) -> bool:
        """Return whether waiting helps; inside a transaction, others may wait for this connection."""
        return "is locked" in str(error) and not self.in_transaction


class LockTimeoutError(sqlite3.OperationalError):
    """Another process holds a lock for longer than a connection waits.

    Args:
        message: SQLite's own message.
        seconds: how long the connection waited.

    Attributes:
        seconds: how long the connection waited.
    """

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds: float = seconds


def _file_identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


class Cursor(sqlite3.Cursor):
    """A cursor that accepts psycopg's and SQLite's placeholders, and closes at the end of a `with` block."""

    connection: Connection

    def __enter__(self) -> Cursor:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def sql_literal(self, value: Any) -> str:
        """Return `value` as an SQL literal."""
        return sql_literal(value)

    def first_rows_sql(self, parts: Parts) -> str:
        """Return the statement for each run's first row in an order that is fastest in SQLite."""
        return first_rows_sql(self.connection, parts)

    def execute(self, query: Any, params: Any = (), /) -> Cursor:
        """Execute one statement; without parameters, its text is not changed."""
        connection = self.connection
        outer, connection.is_busy = connection.is_busy, True
        try:
            text = self._prepare(query, params)
            arguments = _bind(text, params) if params else (text,)
            connection.patiently(super().execute, *arguments)
        finally:
            connection.is_busy = outer
        return self

    def executemany(self, query: Any, params_seq: Iterable[Any], /) -> Cursor:
        """Execute one statement for each item of `params_seq`."""
        connection = self.connection
        outer, connection.is_busy = connection.is_busy, True
        try:
            text = self._prepare(query, True)
            translated = _translate(text)
            try:
                values = (_bind_values(translated.names, params) for params in params_seq)
                unforked(super().executemany, translated.text, values)
            except sqlite3.OperationalError as error:
                self.connection.raise_swallowed(error)
                raise
        finally:
            connection.is_busy = outer
        return self

    def fetchone(self) -> Any:
        """Return the next row, None if there is none."""
        return unforked(super().fetchone)

    def fetchall(self) -> list[Any]:
        """Return all other rows."""
        return unforked(super().fetchall)

    def executescript(self, script: Any, /) -> Cursor:
        """Execute the statements of a script in the open transaction; sqlite3 would commit it first.

        As in PostgreSQL, a BEGIN inside a transaction is ignored.
        """
        for statement in split_script(query_text(script, self)):
            if self.connection.in_transaction and next(keywords(statement, SQLITE), "") == "BEGIN":
                continue
            self.execute(statement)
        return self

    def _prepare(self, query: Any, params: Any) -> str:
        text = statement_text(query, params, SQLITE, self)
        if _writes(text):
            self.connection.begin_write()
        return text


def split_script(script: str) -> list[str]:
    """Return the statements of a script, with one ALTER TABLE per added column, as SQLite requires."""
    return [part for statement in split_statements(script, SQLITE) for part in split_additions(statement)]


def _translate(text: str) -> Translated:
    try:
        return translate_placeholders(text, SQLITE)
    except ValueError as error:
        raise sqlite3.ProgrammingError(str(error)) from None


def _bind(text: str, params: Any) -> tuple[str, Any]:
    translated = _translate(text)
    return translated.text, _bind_values(translated.names, params)


def _bind_values(names: tuple[str, ...] | None, params: Any) -> Any:
    if names is not None:
        try:
            return [adapt(params[name]) for name in names]
        except KeyError as error:
            raise sqlite3.ProgrammingError(f"query parameter missing: {error.args[0]}") from None
        except TypeError:
            # The same error as in psycopg.
            raise TypeError("named placeholders need a mapping of parameters") from None
    if isinstance(params, Mapping):
        return {name: adapt(value) for name, value in params.items()}
    return adapt_all(params)
