"""Keep a connection from everything but reading, and from reading for too long."""

from __future__ import annotations

import sqlite3
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from sqltrack.engines.sqlite._connection import Connection

__all__ = ["TELLING_PRAGMAS", "Guard", "guarded"]

# Instructions of SQLite's virtual machine between two looks at the clock; some tenths of a millisecond.
_LOOK_EVERY = 10_000

# Codes of the actions that statements ask leave for (https://sqlite.org/c3ref/c_alter_table.html); the sqlite3 module
# has names for them, but not for all in all versions.
_PRAGMA, _READ, _SELECT, _UPDATE, _FUNCTION, _RECURSIVE = 19, 20, 21, 23, 31, 33

# Pragmas that tell something and change nothing, whatever their argument, and those that do so without one.
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
# Some functions act on more than their arguments. SQLite marks them (https://sqlite.org/c3ref/c_deterministic.html,
# SQLITE_DIRECTONLY), as extensions do: writefile() is one.
_DANGEROUS_FUNCTIONS = frozenset({"fts3_tokenizer", "load_extension"})
_MARKED_FUNCTIONS_SQL = "SELECT lower(name) FROM pragma_function_list WHERE flags & 0x80000"


class Guard:
    """Decides what the statements of a connection may do, and for how long.

    Args:
        seconds: how long a statement may take.
        refused: names of further functions to refuse, in lower case.

    Attributes:
        seconds: the same.
        is_expired: whether a statement was ended because it took longer.
    """

    def __init__(self, seconds: float, refused: Iterable[str] = ()) -> None:
        self.seconds = seconds
        self.is_expired = False
        self._refused = _DANGEROUS_FUNCTIONS.union(refused)
        self._deadline = time.monotonic() + seconds

    def authorize(self, action: int, one: str | None, two: str | None, *_: object) -> int:
        """Return SQLite's code that allows an action, or refuses it."""
        if action in (_READ, _SELECT, _RECURSIVE):
            return sqlite3.SQLITE_OK
        if action == _FUNCTION and (two or "").lower() not in self._refused:
            return sqlite3.SQLITE_OK
        # The first use of json_each and the like asks for this, and changes nothing; statements that say so are refused
        # by SQLite, and by query_only.
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
        """Return whether to end the statement."""
        self.is_expired = time.monotonic() > self._deadline
        return self.is_expired


@contextmanager
def guarded(connection: Connection, seconds: float) -> Iterator[Guard]:
    """Put a guard on a connection until the end of the `with` block."""
    # The module's own cursor: a wrapped one would look after locks and placeholders.
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
        # A library that was built without the list.
        return []


def _allow_all(connection: Any) -> None:
    # Python 3.10 would call None, and take the failure for a refusal.
    connection.set_authorizer(None if sys.version_info >= (3, 11) else _allow)


def _allow(*_: object) -> int:  # pragma: no cover - Python 3.10
    return sqlite3.SQLITE_OK
