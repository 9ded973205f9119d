"""Read the result of a query in chunks, with the names and kinds of its columns."""

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

# By the package of the cursor's class.
_READERS = {
    "psycopg": ("sqltrack.engines.postgres._results", "PostgresReader"),
    "sqlite3": ("sqltrack.engines.sqlite._results", "SQLiteReader"),
}


class Reading(NamedTuple):
    """A result that is being read.

    Attributes:
        names: names of the columns, not necessarily unique.
        kinds: declared kinds of the columns, None if unknown.
        chunks: the rows, in lists of about the requested size; only the current list is in memory.
        is_typed: whether each column holds only values of its kind and NULL, default False.
    """

    names: Sequence[str]
    kinds: Sequence[ColumnKind | None]
    chunks: Iterator[Sequence[Sequence[Any]]]
    is_typed: bool = False


class Reader(ABC):
    """Reads results over the connection of a cursor, in its transaction, without using the cursor itself."""

    @abstractmethod
    def read(self, cursor: Any, query: Any, parameters: Any, size: int) -> AbstractContextManager[Reading]:
        """Execute a query and return a context manager in which its rows can be read.

        Args:
            cursor: a cursor of the database driver.
            query: the query, a str or SQL.
            parameters: values for its placeholders.
            size: number of rows in a chunk.

        Raises:
            Exception: an error of the driver, also if the statement returns no rows.
        """


class _AnyReader(Reader):
    """Reads with the cursor itself, for any driver."""

    @contextmanager
    def read(self, cursor: Any, query: Any, parameters: Any, size: int) -> Iterator[Reading]:
        text = query_text(query, cursor, has_parameters=bool(parameters))
        cursor.execute(text, parameters) if parameters else cursor.execute(text)
        names = [column[0] for column in cursor.description]
        yield Reading(names, [None] * len(names), iter(lambda: cursor.fetchmany(size), []))


def find_reader(cursor: Any) -> Reader:
    """Return the reader for a cursor of any engine.

    Raises:
        UnusableValueError: (a ValueError) `cursor` is not a cursor.
    """
    check_cursor(cursor)
    for cls in type(cursor).__mro__:
        found = _READERS.get(cls.__module__.partition(".")[0])
        if found is not None:
            reader: Reader = getattr(importlib.import_module(found[0]), found[1])()
            return reader
    return _AnyReader()
