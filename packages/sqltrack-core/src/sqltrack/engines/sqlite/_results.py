"""Read many rows from SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

from sqltrack.engines.kinds import KINDS, ColumnKind
from sqltrack.engines.results import Reader, Reading
from sqltrack.engines.sqlite._sql import SQLITE
from sqltrack.engines.sqlite._types import PYTHON_TYPES
from sqltrack.engines.sqltext import statement_text, translate_placeholders

__all__ = ["SQLiteReader"]

# By the first word of the declared type.
_KINDS: Mapping[str, ColumnKind] = {word: KINDS[typ] for word, typ in PYTHON_TYPES.items()}


class SQLiteReader(Reader):
    """Reads with a cursor that makes plain tuples."""

    @contextmanager
    def read(self, cursor: Any, query: Any, parameters: Any, size: int) -> Iterator[Reading]:
        connection = cursor.connection
        text = statement_text(query, parameters, SQLITE, cursor)
        # First, because a change of the schema, and be it of a temporary one, can end a query that is being read.
        kinds = _declared_kinds(connection, text)
        with closing(connection.cursor()) as reading:
            reading.row_factory = None
            reading.execute(text, parameters) if parameters else reading.execute(text)
            if reading.description is None:
                raise sqlite3.ProgrammingError("the statement returns no rows, expected a query")
            names = [column[0] for column in reading.description]
            if len(kinds) != len(names):
                kinds = [None] * len(names)
            yield Reading(names, kinds, iter(lambda: reading.fetchmany(size), []))


def _declared_kinds(connection: Any, query: str) -> list[ColumnKind | None]:
    """Return what the columns of a query are declared to hold, which sqlite3 tells for views only, or nothing."""
    # The module's own cursor: the main database is not written to, so no lock on it must be taken.
    with closing(sqlite3.Cursor(connection)) as cursor:
        cursor.row_factory = None
        # The kinds do not depend on the values.
        text = translate_placeholders(query, SQLITE, "NULL").text
        try:
            cursor.execute(f"CREATE TEMP VIEW sqltrack_query AS {text}")
        except sqlite3.Error:
            # No SELECT, or one with placeholders of SQLite's own.
            return []
        try:
            types = cursor.execute("SELECT type FROM pragma_table_info('sqltrack_query', 'temp')").fetchall()
        except sqlite3.Error:
            # The query itself is wrong, as will be told where it is executed.
            types = []
        finally:
            cursor.execute("DROP VIEW temp.sqltrack_query")
    return [_kind(declared) for (declared,) in types]


def _kind(declared: str | None) -> ColumnKind | None:
    words = (declared or "").replace("(", " ").upper().split()
    return _KINDS.get(words[0]) if words else None
