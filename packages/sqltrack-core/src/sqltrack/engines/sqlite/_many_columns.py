"""Add many columns to the metrics table in SQLite by one edit of its definition.

SQLite adds one column at a time, and for each it reads the definitions of all columns again: two thousand columns
take seconds. Its manual describes how to edit the definition instead, for changes that leave the stored rows alone
(https://sqlite.org/lang_altertable.html, "Making Other Kinds Of Table Schema Changes"). A definition that SQLite cannot
read would make the database useless. So nothing here depends on an understanding of SQL of our own:

- SQLite adds the first column. That shows where the columns end, in front of the constraints of the table, and changes
  the number by which other connections notice that there is a new schema.
- The other columns are put right behind the first.
- SQLite reads the result before it is committed. Unless that has all former columns and the new ones, it is undone.
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

# SQLITE_MAX_COLUMN, less one that is kept for the extras (https://sqlite.org/limits.html).
MAX_COLUMNS = 1999

# Fewer columns are left to ALTER TABLE, of which three cost as much as an edit.
_FEWEST = 8
# So are those for which it reads no more definitions of columns than that, in a few milliseconds.
_MOST_READ = 4_000

_COLUMNS_SQL = """
    SELECT name, type, "notnull", dflt_value, pk, hidden FROM pragma_table_xinfo('metrics')
"""
_DEFINITION_SQL = "SELECT sql FROM sqlite_master WHERE type = 'table' AND name = 'metrics'"
# It changes nothing if the first column is gone, because a handler of a signal has rolled back.
_EDIT_SQL = "UPDATE sqlite_master SET sql = ? WHERE type = 'table' AND name = 'metrics' AND sql = ?"

_Column = tuple[Any, ...]


class _UnexpectedError(sqlite3.DatabaseError):
    """The definition of the table is not as it has to be for an edit."""

    def __init__(self) -> None:
        super().__init__("the definition of the table metrics is not as expected")


def add_many(connection: Connection, added: Mapping[str, str]) -> bool:
    """Add columns to the metrics table, as many as there is room for, if ALTER TABLE would take long.

    They are part of the open transaction. Where every statement commits by itself, they have one of their own.

    Args:
        connection: the connection.
        added: SQL types of the columns by name. Columns that others have added meanwhile are left as they are.

    Returns:
        False if nothing was done, and ALTER TABLE is the way.
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
    """Return whether ALTER TABLE takes long to add a number of columns."""
    ((present,),) = connection.execute("SELECT count(*) FROM pragma_table_info('metrics')").fetchall()
    return bool(number * (present + number / 2) > _MOST_READ)


@functools.cache
def _can_edit() -> bool:
    """Return whether SQLite lets definitions be edited: one that is old, or defensive as that of macOS, does not."""
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
    """Take the write lock; where every statement commits by itself, only until the end of the `with` block."""
    if connection.in_transaction or not connection.autocommit_enabled:
        connection.begin_write()
        yield
        return
    connection.check_file()
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        # Not commit(), which would not say that a handler of a signal has ended the transaction.
        connection.patiently(connection.plain_cursor.execute, "COMMIT", within_transaction=True)
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.rollback()
        raise


def _check_open(connection: Connection) -> None:
    """Raise an error if a handler of a signal has ended the transaction."""
    if not connection.in_transaction:
        raise sqlite3.OperationalError("the transaction was rolled back because the process was told to terminate")


def _edit_or_undo(connection: Connection, columns: Sequence[_Column], new: Sequence[tuple[str, str]]) -> bool:
    """Edit the definition, and return whether that was possible; if not, nothing has changed."""
    try:
        with _savepoint(connection):
            _edit(connection, columns, new)
    except sqlite3.DatabaseError:
        # The connection may have lower limits, or be defensive. If something else is wrong, as with a disk that is
        # full, ALTER TABLE says it, too.
        if not connection.in_transaction:
            raise
        return False
    return True


@contextlib.contextmanager
def _savepoint(connection: Connection) -> Iterator[None]:
    """Undo only what the `with` block did if it raises."""
    connection.execute("SAVEPOINT sqltrack_columns")
    try:
        yield
    except BaseException:
        # There is none any more if SQLite, or a handler of a signal, has rolled back the whole transaction.
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
        # OFF, and this connection, too, reads the schema again (https://sqlite.org/pragma.html#pragma_writable_schema).
        connection.execute("PRAGMA writable_schema = RESET")
    if _read_columns(connection) != [*columns, *((name, sql_type, 0, None, 0, 0) for name, sql_type in new)]:
        raise _UnexpectedError


def _find_end(before: str, after: str, first: str) -> int:
    """Return where the definition of a column ends that ALTER TABLE has added.

    Raises:
        _UnexpectedError: that is not plain.
    """
    inserted = f", {first}"
    begin = after.rfind(inserted)
    end = begin + len(inserted)
    if begin < 0 or after[:begin] + after[end:] != before:
        raise _UnexpectedError
    return end


def _read_columns(connection: Connection) -> list[_Column]:
    """Return all columns of the table, also generated ones, with what else is declared for them."""
    return [tuple(row) for row in connection.execute(_COLUMNS_SQL).fetchall()]


def _read_definition(connection: Connection) -> str:
    rows = connection.execute(_DEFINITION_SQL).fetchall()
    if len(rows) != 1 or not isinstance(rows[0][0], str):
        raise _UnexpectedError
    return rows[0][0]
