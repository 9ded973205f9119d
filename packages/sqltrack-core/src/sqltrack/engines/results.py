"""Read the result of a query chunk by chunk, with what the database tells of its columns."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple

from sqltrack._quoting import query_text
from sqltrack.engines._cursors import check_cursor
from sqltrack.engines.kinds import ColumnKind

__all__ = ["Reader", "Reading", "find_reader"]

# By the package that a cursor's class comes from.
_READERS = {
    "psycopg": ("sqltrack.engines.postgres._results", "PostgresReader"),
    "sqlite3": ("sqltrack.engines.sqlite._results", "SQLiteReader"),
}


class Reading(NamedTuple):
    """A result that is being read.

    Attributes:
        names: names of the columns, which need not be unique.
        kinds: what the columns hold by their declaration, None where the database does not tell.
        chunks: the rows, in lists of about the number asked for; only the present one is in memory.
        is_typed: whether a column holds values of its kind and NULL alone, default False.
    """

    names: Sequence[str]
    kinds: Sequence[ColumnKind | None]
    chunks: Iterator[Sequence[Sequence[Any]]]
    is_typed: bool = False


class Reader(ABC):
    """Reads results over the connection of a cursor, as part of its transaction; the cursor itself stays unused."""

    @abstractmethod
    def read(self, cursor: Any, query: Any, parameters: Any, size: int) -> AbstractContextManager[Reading]:
        """Execute a query; its rows can be read in the `with` block.

        Args:
            cursor: a cursor of the database driver.
            query: the query, a str or SQL.
            parameters: values for its placeholders.
            size: number of rows in a chunk.

        Raises:
            Exception: the driver's, also if the statement is none that returns rows.
        """


class _AnyReader(Reader):
    """Reads with the cursor itself, whatever driver it is of."""

    @contextmanager
    def read(self, cursor: Any, query: Any, parameters: Any, size: int) -> Iterator[Reading]:
        text = query_text(query, cursor, has_parameters=bool(parameters))
        cursor.execute(text, parameters) if parameters else cursor.execute(text)
        names = [column[0] for column in cursor.description]
        yield Reading(names, [None] * len(names), iter(lambda: cursor.fetchmany(size), []))


def find_reader(cursor: Any) -> Reader:
    """Return what reads many rows over the connection of a cursor, of whatever engine.

    Raises:
        UnusableValueError: (a ValueError) it is not a cursor.
    """
    check_cursor(cursor)
    for cls in type(cursor).__mro__:
        found = _READERS.get(cls.__module__.partition(".")[0])
        if found is not None:
            reader: Reader = getattr(importlib.import_module(found[0]), found[1])()
            return reader
    return _AnyReader()
