"""Make a SQLite connection read-only, with a statement timeout."""

from __future__ import annotations

import sqlite3
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from sqltrack.engines.sqlite._connection import Connection

__all__ = ["TELLING_PRAGMAS", "Guard", "guarded"]

# Instructions of SQLite's virtual machine between two checks of the clock; some tenths of a millisecond.
_LOOK_EVERY = 10_000

# Action codes of SQLite's authorizer (https://sqlite.org/c3ref/c_alter_table.html). Not all versions of the sqlite3
# module have names for all of them.
_PRAGMA, _READ, _SELECT, _UPDATE, _FUNCTION, _RECURSIVE = 19, 20, 21, 23, 31, 33

# Pragmas that change nothing, with any argument, and pragmas that change nothing without one.
TELLING_PRAGMAS = frozenset(
    {
        *("foreign_key_check", "foreign_key_list", "index_info", "index_list", "index_xinfo", "integrity_check"),
        *("quick_check", "table_info", "table_list", "table_xinfo"),
    }
)
_TELLING_ALONE = frozenset(
    {
        *("application_id", "auto_vacuum", "collation_list", "compile_options", "data_version", "database_list"),
        *("encoding", "foreign_keys", "freelist_count", "function_list", "journal_mode", "module_list"),
        *("page_count", "page_size", "pragma_list", "query_only", "schema_version", "synchronous", "user_version"),
    }
)
# Some functions have side effects, such as writefile(). SQLite and extensions mark them
# (https://sqlite.org/c3ref/c_deterministic.html, SQLITE_DIRECTONLY).
_DANGEROUS_FUNCTIONS = frozenset({"fts3_tokenizer", "load_extension"})
_MARKED_FUNCTIONS_SQL = "SELECT lower(name) FROM pragma_function_list WHERE flags & 0x80000"


class Guard:
    """Refuses statements of a connection that do more than read, and interrupts those that take too long.

    Args:
        seconds: timeout of a statement.
        refused: names of further functions to refuse, in lower case.

    Attributes:
        seconds: timeout of a statement.
        is_expired: whether a statement was interrupted because it took too long.
    """

    def __init__(self, seconds: float, refused: Iterable[str] = ()) -> None:
        self.seconds = seconds
        self.is_expired = False
        self._refused = _DANGEROUS_FUNCTIONS.union(refused)
        self._deadline = time.monotonic() + seconds

    def authorize(self, action: int, one: str | None, two: str | None, *_: object) -> int:
        """Return SQLite's code to allow or refuse an action."""
        if action in (_READ, _SELECT, _RECURSIVE):
            return sqlite3.SQLITE_OK
        if action == _FUNCTION and (two or "").lower() not in self._refused:
            return sqlite3.SQLITE_OK
        # The first use of json_each and similar functions requests this, but changes nothing. SQLite and query_only
        # refuse real updates of this table.
        if action == _UPDATE and one == "sqlite_master":
            return sqlite3.SQLITE_OK
        if action == _PRAGMA:
            name = (one or "").lower()
            if name in TELLING_PRAGMAS or (name in _TELLING_ALONE and two is None):
                return sqlite3.SQLITE_OK
        return sqlite3.SQLITE_DENY

    def begin(self, _: str) -> None:
        """Start the clock for a statement."""
        self._deadline = time.monotonic() + self.seconds

    def is_over_time(self) -> bool:
        """Return whether to interrupt the statement."""
        self.is_expired = time.monotonic() > self._deadline
        return self.is_expired


@contextmanager
def guarded(connection: Connection, seconds: float) -> Iterator[Guard]:
    """Return a context manager in which a connection has a `Guard`."""
    # The module's own cursor, which does not handle locks and placeholders.
    cursor = connection.plain_cursor
    guard = Guard(seconds, _marked_functions(cursor))
    before = cursor.execute("PRAGMA query_only").fetchone()[0]
    cursor.execute("PRAGMA query_only = ON")
    connection.set_authorizer(guard.authorize)
    connection.set_progress_handler(guard.is_over_time, _LOOK_EVERY)
    connection.set_trace_callback(guard.begin)
    try:
        yield guard
    finally:
        connection.set_trace_callback(None)
        connection.set_progress_handler(None, 0)
        _allow_all(connection)
        cursor.execute(f"PRAGMA query_only = {int(before)}")


def _marked_functions(cursor: sqlite3.Cursor) -> list[str]:
    try:
        return [name for (name,) in cursor.execute(_MARKED_FUNCTIONS_SQL)]
    except sqlite3.OperationalError:
        # SQLite was built without this pragma.
        return []


def _allow_all(connection: Any) -> None:
    # Python 3.10 would call None and treat the failure as a refusal.
    connection.set_authorizer(None if sys.version_info >= (3, 11) else _allow)


def _allow(*_: object) -> int:  # pragma: no cover - Python 3.10
    return sqlite3.SQLITE_OK
