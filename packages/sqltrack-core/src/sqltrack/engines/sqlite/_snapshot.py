"""Read a consistent state of a SQLite file without changing it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqltrack._quoting import quote_identifier
from sqltrack.engines.sqlite._connection import Connection
from sqltrack.engines.sqlite._types import PYTHON_TYPES

__all__ = ["find_python_types", "open_for_reading", "snapshot"]

# Columns per query; SQLite allows 2,000.
_BATCH = 500


def open_for_reading(path: str, timeout: float) -> Connection:
    """Open a file read-only.

    Raises:
        sqlite3.Error: the file cannot be opened, or is not a database.
    """
    uri = f"{Path(path).as_uri()}?mode=ro"
    try:
        return _open(uri, path, timeout)
    except sqlite3.OperationalError as error:
        # Readers of a write-ahead log share memory through a file next to it. If that file cannot be created and there
        # is no log, no process can be writing either.
        is_refused = "unable to open" in str(error) or "readonly" in str(error)
        if not is_refused or os.access(os.path.dirname(path), os.W_OK) or os.path.exists(f"{path}-wal"):
            raise
    return _open(f"{uri}&immutable=1", path, timeout)


def _open(uri: str, path: str, timeout: float) -> Connection:
    connection = Connection(
        uri, path=path, uri=True, timeout=timeout, detect_types=sqlite3.PARSE_DECLTYPES, check_same_thread=False
    )
    try:
        with snapshot(connection):
            return connection
    except BaseException:
        connection.close()
        raise


@contextmanager
def snapshot(connection: Connection) -> Iterator[None]:
    """Return a context manager in which all statements read the current state of the database."""
    connection.patiently(_begin, connection)
    try:
        yield
    finally:
        connection.rollback()


def _begin(connection: Connection) -> None:
    connection.plain_cursor.execute("BEGIN")
    try:
        # The snapshot is taken by the first query.
        connection.plain_cursor.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
    except BaseException:
        connection.rollback()
        raise


def find_python_types(connection: Any, table: str, columns: Mapping[str, str]) -> dict[str, type]:
    """Return the Python types of columns, given by name and declared type."""
    types = {}
    for name, declared in columns.items():
        words = declared.replace("(", " ").upper().split()
        if words and words[0] in PYTHON_TYPES:
            types[name] = PYTHON_TYPES[words[0]]
    integers = [name for name, typ in types.items() if typ is int]
    for begin in range(0, len(integers), _BATCH):
        names = integers[begin : begin + _BATCH]
        # A column that is declared for integers may hold floats, too, and NaN as text.
        sums = ", ".join(f"MAX(typeof(metrics.{quote_identifier(name)}) IN ('real', 'text'))" for name in names)
        found = connection.execute(f"SELECT {sums} FROM {quote_identifier(table)} AS metrics").fetchone()
        types.update({name: float for name, holds_floats in zip(names, found) if holds_floats})
    return types
