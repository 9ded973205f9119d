"""Add many columns to the metrics table in SQLite by one edit of its definition.

SQLite adds one column at a time, and parses all columns again for each: two thousand columns take seconds. For changes
that do not affect stored rows, its manual describes how to edit the definition instead
(https://sqlite.org/lang_altertable.html, "Making Other Kinds Of Table Schema Changes"). A definition that SQLite cannot
parse would make the database unusable. So nothing here parses SQL:

- SQLite adds the first column. That shows where the columns end, before the constraints of the table. It also changes
  the schema version, by which other connections notice the change.
- The other columns are inserted right after the first.
- SQLite parses the result before the commit. Unless it has all previous columns and the new ones, it is rolled back.
"""

from __future__ import annotations

import contextlib
import functools
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from sqltrack._quoting import quote_identifier
from sqltrack.engines.sqlite._connection import Connection
from sqltrack.engines.sqlite._sql import fold

__all__ = ["MAX_COLUMNS", "add_many"]

# SQLITE_MAX_COLUMN minus one column reserved for extras (https://sqlite.org/limits.html).
MAX_COLUMNS = 1999

# Use ALTER TABLE for fewer columns; an edit costs as much as three of them.
_FEWEST = 8
# Use ALTER TABLE if it parses at most this many column definitions, which takes a few milliseconds.
_MOST_READ = 4_000

_COLUMNS_SQL = """
    SELECT name, type, "notnull", dflt_value, pk, hidden FROM pragma_table_xinfo('metrics')
"""
_DEFINITION_SQL = "SELECT sql FROM sqlite_master WHERE type = 'table' AND name = 'metrics'"
# Changes nothing if the first column is missing because a signal handler rolled back.
_EDIT_SQL = "UPDATE sqlite_master SET sql = ? WHERE type = 'table' AND name = 'metrics' AND sql = ?"

_Column = tuple[Any, ...]


class _UnexpectedError(sqlite3.DatabaseError):
    """The definition of the table cannot be edited."""

    def __init__(self) -> None:
        super().__init__("the definition of the table metrics is not as expected")


def add_many(connection: Connection, added: Mapping[str, str]) -> bool:
    """Add columns to the metrics table, up to the limit, if ALTER TABLE would take long.

    This is part of the open transaction; in autocommit mode, it uses a transaction of its own.

    Args:
        connection: the connection.
        added: SQL types of the columns by name; existing columns are skipped.

    Returns:
        False if nothing was done, so that the caller must use ALTER TABLE.
    """
    if len(added) < _FEWEST or not _takes_long(connection, len(added)) or not _can_edit():
        return False
    with _writing(connection):
        columns = _read_columns(connection)
        present = set(fold("\0".join(name for name, *_ in columns)).split(b"\0"))
        missing = [(name, sql_type) for name, sql_type in added.items() if fold(name) not in present]
        new = list(islice(missing, max(MAX_COLUMNS - len(columns), 0)))
        return not new or _edit_or_undo(connection, columns, new)


def _takes_long(connection: Connection, number: int) -> bool:
    """Return whether ALTER TABLE would take long to add `number` columns."""
    ((present,),) = connection.execute("SELECT count(*) FROM pragma_table_info('metrics')").fetchall()
    return bool(number * (present + number / 2) > _MOST_READ)


@functools.cache
def _can_edit() -> bool:
    """Return whether SQLite allows editing definitions; old versions and defensive ones, as on macOS, do not."""
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        try:
            connection.execute("CREATE TABLE example (a)")
            connection.execute("BEGIN")
            connection.execute("PRAGMA writable_schema = ON")
            connection.execute("UPDATE sqlite_master SET sql = 'CREATE TABLE example (a, b)'")
            connection.execute("PRAGMA writable_schema = RESET")
            return len(connection.execute("PRAGMA table_info(example)").fetchall()) == 2
        except sqlite3.Error:
            return False


@contextlib.contextmanager
def _writing(connection: Connection) -> Iterator[None]:
    """Take the write lock; in autocommit mode, only until the end of the `with` block."""
    if connection.in_transaction or not connection.autocommit_enabled:
        connection.begin_write()
        yield
        return
    connection.check_file()
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        # Not commit(), which would not fail if a signal handler ended the transaction.
        connection.patiently(connection.plain_cursor.execute, "COMMIT", within_transaction=True)
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.rollback()
        raise


def _check_open(connection: Connection) -> None:
    """Raise an error if a signal handler has ended the transaction."""
    if not connection.in_transaction:
        raise sqlite3.OperationalError("the transaction was rolled back because the process was told to terminate")


def _edit_or_undo(connection: Connection, columns: Sequence[_Column], new: Sequence[tuple[str, str]]) -> bool:
    """Edit the definition and return whether that succeeded; otherwise, nothing has changed."""
    try:
        with _savepoint(connection):
            _edit(connection, columns, new)
    except sqlite3.DatabaseError:
        # The connection may have lower limits, or be defensive. ALTER TABLE will raise any other error again, for
        # example a full disk.
        if not connection.in_transaction:
            raise
        return False
    return True


@contextlib.contextmanager
def _savepoint(connection: Connection) -> Iterator[None]:
    """Return a context manager that undoes its block if that raises."""
    connection.execute("SAVEPOINT sqltrack_columns")
    try:
        yield
    except BaseException:
        # The savepoint is gone if SQLite or a signal handler has rolled back the whole transaction.
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK TO sqltrack_columns")
            connection.execute("RELEASE sqltrack_columns")
        raise
    connection.execute("RELEASE sqltrack_columns")


def _edit(connection: Connection, columns: Sequence[_Column], new: Sequence[tuple[str, str]]) -> None:
    first, *others = [f"{quote_identifier(name)} {sql_type}" for name, sql_type in new]
    before = _read_definition(connection)
    connection.execute(f"ALTER TABLE metrics ADD COLUMN {first}")
    after = _read_definition(connection)
    end = _find_end(before, after, first)
    edited = after[:end] + "".join(f", {other}" for other in others) + after[end:]
    try:
        connection.execute("PRAGMA writable_schema = ON")
        _check_open(connection)
        connection.execute(_EDIT_SQL, (edited, after))
    finally:
        # RESET means OFF, and makes this connection read the schema again
        # (https://sqlite.org/pragma.html#pragma_writable_schema).
        connection.execute("PRAGMA writable_schema = RESET")
    if _read_columns(connection) != [*columns, *((name, sql_type, 0, None, 0, 0) for name, sql_type in new)]:
        raise _UnexpectedError


def _find_end(before: str, after: str, first: str) -> int:
    """Return where the definition of the column ends that ALTER TABLE has added.

    Raises:
        _UnexpectedError: the position is not certain.
    """
    inserted = f", {first}"
    begin = after.rfind(inserted)
    end = begin + len(inserted)
    if begin < 0 or after[:begin] + after[end:] != before:
        raise _UnexpectedError
    return end


def _read_columns(connection: Connection) -> list[_Column]:
    """Return all columns of the table, including generated ones, with their declarations."""
    return [tuple(row) for row in connection.execute(_COLUMNS_SQL).fetchall()]


def _read_definition(connection: Connection) -> str:
    rows = connection.execute(_DEFINITION_SQL).fetchall()
    if len(rows) != 1 or not isinstance(rows[0][0], str):
        raise _UnexpectedError
    return rows[0][0]
