"""Cursors of psycopg that accept SQLTrack's composed queries, and prepare no statement that returns rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import psycopg

from sqltrack._quoting import query_text
from sqltrack.engines.postgres._pooler import LOST_STATEMENT_ERRORS, stop_preparing
from sqltrack.engines.postgres.sql import POSTGRES
from sqltrack.engines.sqltext import outer_keywords

__all__ = ["accepting_sql"]

# Statements that return no rows, unless they say RETURNING.
_CHANGES = frozenset({"INSERT", "UPDATE", "DELETE", "MERGE"})
_VERBS = _CHANGES | {"SELECT", "VALUES", "TABLE"}


def accepting_sql(cursor_class: type[psycopg.Cursor[Any]]) -> type[psycopg.Cursor[Any]]:
    """Return a class of cursors whose queries may be `sqltrack.util.SQL`.

    They leave it to psycopg to prepare the statements that return no rows. A prepared `SELECT *` would fail for ever
    once a table has another column, and it is a new metric that adds one.
    """

    class SQLCursor(cursor_class):  # type: ignore[valid-type,misc]
        def execute(self, query: Any, *args: Any, **kwargs: Any) -> Any:
            text = _as_text(query, self, (args[0] if args else kwargs.get("params")) is not None)
            if kwargs.get("prepare") is None and _returns_rows(text):
                kwargs["prepare"] = False
            try:
                return super().execute(text, *args, **kwargs)
            except LOST_STATEMENT_ERRORS as error:
                if not stop_preparing(self.connection, error):
                    raise
            return super().execute(text, *args, **kwargs)

        def executemany(self, query: Any, *args: Any, **kwargs: Any) -> Any:
            text = _as_text(query, self, True)
            if not _returns_rows(text):
                return super().executemany(text, *args, **kwargs)
            with _preparing_nothing(self.connection):
                return super().executemany(text, *args, **kwargs)

        def stream(self, query: Any, *args: Any, **kwargs: Any) -> Any:
            text = _as_text(query, self, (args[0] if args else kwargs.get("params")) is not None)
            return super().stream(text, *args, **kwargs)

    return SQLCursor


def _as_text(query: Any, cursor: Any, has_parameters: bool) -> Any:
    return query if isinstance(query, (str, bytes)) else query_text(query, cursor, has_parameters=has_parameters)


@lru_cache(maxsize=512)
def _returns_rows(query: str | bytes) -> bool:
    """Return whether a statement may return rows: all but INSERT, UPDATE, DELETE and MERGE without RETURNING."""
    text = query if isinstance(query, str) else query.decode("utf-8", "replace")
    words = outer_keywords(text, POSTGRES)
    verb = next(words, "")
    if verb == "WITH":
        verb = next((word for word in words if word in _VERBS), "")
    return verb not in _CHANGES or "RETURNING" in words


@contextmanager
def _preparing_nothing(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """Let psycopg prepare nothing in the `with` block, which `executemany` does without asking."""
    threshold, connection.prepare_threshold = connection.prepare_threshold, None
    try:
        yield
    finally:
        connection.prepare_threshold = threshold
