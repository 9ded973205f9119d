"""Read many rows from SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from itertools import islice
from typing import Any

from sqltrack.engines._tokenizer import tokens
from sqltrack.engines.kinds import KINDS, ColumnKind
from sqltrack.engines.results import Reader, Reading
from sqltrack.engines.sqlite._readonly import TELLING_PRAGMAS
from sqltrack.engines.sqlite._sql import SQLITE
from sqltrack.engines.sqlite._types import PYTHON_TYPES
from sqltrack.engines.sqltext import keywords, statement_text, translate_placeholders, without_semicolons

__all__ = ["SQLiteReader"]

# By the first word of the declared type.
_KINDS: Mapping[str, ColumnKind] = {word: KINDS[typ] for word, typ in PYTHON_TYPES.items()}

_NO_ROWS = "the statement returns no rows, expected a query"


class SQLiteReader(Reader):
    """Reads rows as plain tuples, with a new cursor."""

    @contextmanager
    def read(self, cursor: Any, query: Any, parameters: Any, size: int) -> Iterator[Reading]:
        connection = cursor.connection
        text = without_semicolons(statement_text(query, parameters, SQLITE, cursor), SQLITE)
        if not _returns_rows(connection, text, parameters):
            raise sqlite3.ProgrammingError(_NO_ROWS)
        # Do this first, because even a change of the temporary schema can end a query that is being read.
        kinds = _declared_kinds(connection, text)
        with closing(connection.cursor()) as reading:
            reading.row_factory = None
            reading.execute(text, parameters) if parameters else reading.execute(text)
            if reading.description is None:
                raise sqlite3.ProgrammingError(_NO_ROWS)
            names = [column[0] for column in reading.description]
            if len(kinds) != len(names):
                kinds = [None] * len(names)
            yield Reading(names, kinds, iter(lambda: reading.fetchmany(size), []))


def _returns_rows(connection: Any, text: str, parameters: Any) -> bool:
    """Return whether a statement returns rows, without executing it."""
    words = list(islice(keywords(text, SQLITE), 2))
    if words[:1] == ["SELECT"]:
        return True
    if "PRAGMA" in words:
        # Some pragmas run when they are prepared (https://sqlite.org/pragma.html), even in EXPLAIN.
        return _asks(text)
    if words[:1] == ["EXPLAIN"]:
        return True
    explain = f"EXPLAIN {text}"
    with closing(connection.cursor()) as cursor:
        cursor.row_factory = None
        cursor.execute(explain, parameters) if parameters else cursor.execute(explain)
        # The bytecode of a statement that returns rows has this instruction (https://sqlite.org/opcode.html).
        return any(instruction[1] == "ResultRow" for instruction in cursor.fetchall())


def _asks(text: str) -> bool:
    """Return whether a PRAGMA only reads: it has no argument, or the argument only names an object."""
    code = [token for token in tokens(text, SQLITE) if token.kind != "comment" and not token.text.isspace()]
    name = [token.text.strip("\"'`[]").lower() for token in code if token.kind in ("word", "quoted")]
    has_argument = any(token.text in ("=", "(") for token in code)
    return not has_argument or any(word in TELLING_PRAGMAS for word in name[1:3])


def _declared_kinds(connection: Any, query: str) -> list[ColumnKind | None]:
    """Return the declared kinds of a query's columns, found through a temporary view; empty if that fails."""
    # The module's own cursor, which takes no lock: the main database is not written to.
    with closing(sqlite3.Cursor(connection)) as cursor:
        cursor.row_factory = None
        # The kinds do not depend on the values.
        text = translate_placeholders(query, SQLITE, "NULL").text
        try:
            cursor.execute(f"CREATE TEMP VIEW sqltrack_query AS {text}")
        except sqlite3.Error:
            # Not a SELECT, or it has SQLite's own placeholders.
            return []
        try:
            types = cursor.execute("SELECT type FROM pragma_table_info('sqltrack_query', 'temp')").fetchall()
        except sqlite3.Error:
            # The query is wrong; executing it will report the error.
            types = []
        finally:
            cursor.execute("DROP VIEW temp.sqltrack_query")
    return [_kind(declared) for (declared,) in types]


def _kind(declared: str | None) -> ColumnKind | None:
    words = (declared or "").replace("(", " ").upper().split()
    return _KINDS.get(words[0]) if words else None
