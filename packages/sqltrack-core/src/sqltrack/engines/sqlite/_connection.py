"""sqlite3's connection and cursor, taught psycopg's placeholders, SQLTrack's values and safe transactions."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from sqltrack import sigterm
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

# Seconds that SQLite may wait by itself; Python's signal handlers run in between.
_UNINTERRUPTED = 0.25

# What errors say of a statement that a handler of a signal got in between.
_FUNCTION_RAISED = "user-defined function raised exception"
_ROLLED_BACK = "abort due to ROLLBACK"

_WRITING = frozenset(
    {"INSERT", "UPDATE", "DELETE", "REPLACE", "CREATE", "DROP", "ALTER", "REINDEX", "ANALYZE", "SAVEPOINT"}
)
_WRITING_AFTER_WITH = frozenset({"INSERT", "UPDATE", "DELETE", "REPLACE"})


@lru_cache(maxsize=512)
def _writes(statement: str) -> bool:
    """Return whether a statement may change the database, and so needs a transaction that can be committed."""
    words = keywords(statement, SQLITE)
    first = next(words, "")
    if first == "WITH":
        return not _WRITING_AFTER_WITH.isdisjoint(words)
    return first in _WRITING


class Connection(sqlite3.Connection):
    """A connection that takes the write lock before the first change of a transaction, not in the middle of it.

    SQLite refuses, without waiting, a transaction that has read and then wants to write while another one writes
    (https://sqlite.org/isolation.html); BEGIN IMMEDIATE waits for its turn instead.

    It also waits for locks here and not in SQLite, where no signal handler could run meanwhile.

    Attributes:
        autocommit_enabled: whether each statement commits by itself; else changes wait for `commit()`.
        busy_timeout: seconds to wait for the locks of others.
        is_busy: whether a statement of a `Cursor` is being executed.
        plain_cursor: a cursor of the sqlite3 module itself, for statements that need none of our care.
        raised: what was raised inside of functions that SQLite called.
    """

    def __init__(self, database: str, *, timeout: float, path: str | None = None, **kwargs: Any) -> None:
        self.busy_timeout = timeout
        super().__init__(database, timeout=min(timeout, _UNINTERRUPTED), **kwargs)
        # No transactions by the module's own rules.
        self.isolation_level: Literal["DEFERRED", "EXCLUSIVE", "IMMEDIATE"] | None = None
        self.autocommit_enabled = False
        self.is_busy = False
        self.raised: list[BaseException] = []
        self.plain_cursor: sqlite3.Cursor = sqlite3.Cursor(self)
        # Without a callback, in which what a signal's handler raises would be lost.
        self._last_cursor: Callable[[], sqlite3.Cursor | None] = weakref.ref(self.plain_cursor)
        # A URI is not a path.
        self._path = database if path is None else path
        self._file = _file_identity(self._path)

    def cursor(self, factory: Any = None) -> Any:
        """Return a new `Cursor`, or what `factory` makes."""
        cursor = super().cursor(factory or Cursor)
        self._last_cursor = weakref.ref(cursor)
        return cursor

    # sqlite3's own shortcuts would make cursors of its own.

    def execute(self, query: Any, params: Any = (), /) -> Any:
        """Execute a statement with a new cursor and return that."""
        return self.cursor().execute(query, params)

    def executemany(self, query: Any, params_seq: Iterable[Any], /) -> Any:
        """Execute a statement once for each of `params_seq` with a new cursor and return that."""
        return self.cursor().executemany(query, params_seq)

    def executescript(self, script: Any, /) -> Any:
        """Execute the statements of a script with a new cursor and return that."""
        return self.cursor().executescript(script)

    def sql_literal(self, value: Any) -> str:
        """Return `value` spelled out in SQL."""
        return sql_literal(value)

    def begin_write(self) -> None:
        """Make sure that the file is there, and take the write lock unless every statement commits by itself.

        Within a transaction both have been done.
        """
        if self.in_transaction:
            return
        self.check_file()
        if not self.autocommit_enabled:
            self.patiently(self.plain_cursor.execute, "BEGIN IMMEDIATE")

    def write(self, sql: str, values: Sequence[Any]) -> None:
        """Execute a changing statement that has SQLite's placeholders, and values in SQLite's form."""
        if not self.autocommit_enabled:
            self.begin_write()
        try:
            self.plain_cursor.execute(sql, values)
        except sqlite3.OperationalError as error:
            self.raise_swallowed(error)
            if not self._may_wait(error):
                raise
            self.patiently(self.plain_cursor.execute, sql, values)

    def commit(self) -> None:
        """Commit the open transaction, which in a rollback journal waits for readers."""
        self.patiently(super().commit, within_transaction=True)

    def patiently(self, execute: Callable[..., T], *arguments: Any, within_transaction: bool = False) -> T:
        """Call `execute(*arguments)` again as long as others hold locks, up to `busy_timeout`."""

        def attempt() -> T:
            try:
                return execute(*arguments)
            except sqlite3.OperationalError as error:
                self.raise_swallowed(error)
                raise

        def can_help(error: Exception) -> bool:
            return self._may_wait(error) or (within_transaction and "is locked" in str(error))

        try:
            # SQLite does not always wait by itself, as when it sees a deadlock.
            return retry(attempt, can_help, seconds=self.busy_timeout, pause=0.001, longest=0.01)
        except sqlite3.OperationalError as error:
            if not can_help(error):
                raise
            raise LockTimeoutError(str(error), self.busy_timeout) from error

    def raise_swallowed(self, error: sqlite3.OperationalError) -> None:
        """Raise what the handler of a signal raised in a statement, if that is why it failed with `error`."""
        cause = self.raised[0] if self.raised else None
        self.raised.clear()
        # Python looks for signals before a function begins, too, and then the function cannot know.
        if cause is None and str(error) in (_FUNCTION_RAISED, _ROLLED_BACK):
            cause = sigterm.begun_exit()
        if cause is None and str(error) == _FUNCTION_RAISED:
            cause = KeyboardInterrupt()
        if cause is not None and not isinstance(cause, Exception):
            raise cause

    def close(self) -> None:
        """Close the connection, and first its cursors, whose last statements would keep file and lock for a while."""
        for cursor in (self.plain_cursor, self._last_cursor()):
            if cursor is not None:
                with contextlib.suppress(sqlite3.ProgrammingError):
                    cursor.close()
        super().close()

    def check_file(self) -> None:
        """Raise an error if the file was removed or replaced: what is written would vanish with it.

        Raises:
            sqlite3.OperationalError: it was.
        """
        if _file_identity(self._path) != self._file:
            raise sqlite3.OperationalError("unable to open database file: it was removed or replaced")

    def _may_wait(self, error: Exception) -> bool:
        """Whether waiting helps: inside of a transaction others may just as well wait for us."""
        return "is locked" in str(error) and not self.in_transaction


class LockTimeoutError(sqlite3.OperationalError):
    """Another process holds a lock for longer than a connection waits.

    Args:
        message: SQLite's own message.
        seconds: how long the connection has waited.

    Attributes:
        seconds: the same.
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
    """A cursor that accepts psycopg's placeholders besides SQLite's own, and closes at the end of a `with` block."""

    connection: Connection

    def __enter__(self) -> Cursor:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def sql_literal(self, value: Any) -> str:
        """Return `value` spelled out in SQL."""
        return sql_literal(value)

    def first_rows_sql(self, parts: Parts) -> str:
        """Return the statement for each run's first row in an order, as SQLite answers it quickest."""
        return first_rows_sql(self.connection, parts)

    def execute(self, query: Any, params: Any = (), /) -> Cursor:
        """Execute one statement; without parameters its text is not touched."""
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
        """Execute one statement for each of `params_seq`."""
        connection = self.connection
        outer, connection.is_busy = connection.is_busy, True
        try:
            text = self._prepare(query, True)
            translated = _translate(text)
            try:
                super().executemany(translated.text, (_bind_values(translated.names, params) for params in params_seq))
            except sqlite3.OperationalError as error:
                self.connection.raise_swallowed(error)
                raise
        finally:
            connection.is_busy = outer
        return self

    def executescript(self, script: Any, /) -> Cursor:
        """Execute statements in turn as part of the open transaction, where sqlite3 would commit it first.

        As in PostgreSQL, a BEGIN inside of a transaction changes nothing.
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
    """Return the statements of a script; SQLite adds one column at a time, so one for each added column."""
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
            # As psycopg does.
            raise TypeError("named placeholders need a mapping of parameters") from None
    if isinstance(params, Mapping):
        return {name: adapt(value) for name, value in params.items()}
    return adapt_all(params)
