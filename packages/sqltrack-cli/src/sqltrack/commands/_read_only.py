"""Read from a database that refuses all changes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from sqltrack.client import Client
from sqltrack.commands._transactions import require_database
from sqltrack.engines.admin import admin_of

__all__ = ["READ_SECONDS", "batches", "fetch", "read_only", "table_columns", "to_number"]

T = TypeVar("T")

# Seconds that a statement may take.
READ_SECONDS = 60.0

# Values that a statement holds at most; SQLite before 3.32 takes 999.
_BATCH = 500

_NUMBERS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


@contextmanager
def read_only(client: Client, seconds: float = READ_SECONDS) -> Iterator[Any]:
    """Return a connection whose statements can only read.

    Args:
        client: client to use.
        seconds: how long a statement may take, default 60.

    Raises:
        NotSetUpError: there is no database; it is not created.
        ReadOnlyDatabaseError: a statement would change something.
        StatementTimeoutError: a statement took too long.
        DatabaseError: the database refused a statement for another reason.
    """
    require_database(client.engine)
    with client as connection, admin_of(client.engine, connection).read_only(seconds):
        yield connection


def fetch(connection: Any, sql: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
    """Return the rows of a query as dicts."""
    cursor = connection.execute(sql, tuple(parameters)) if parameters else connection.execute(sql)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row)) for row in cursor.fetchall()]


def batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Return parts of a sequence, each of which fits into a statement."""
    for begin in range(0, len(items), _BATCH):
        yield items[begin : begin + _BATCH]


def table_columns(client: Client, table: str) -> dict[str, str]:
    """Return names and SQL types of a table's columns in order, empty if there is no such table."""
    with read_only(client) as connection:
        return client.engine.table_columns(connection, table)


def to_number(value: Any) -> Any:
    """Return the number that a text stands for, NaN or an infinity, where numbers are kept; else the value itself."""
    return _NUMBERS.get(value, value) if isinstance(value, str) else value
