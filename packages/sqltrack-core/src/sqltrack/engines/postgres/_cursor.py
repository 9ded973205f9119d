"""Cursors of psycopg that accept SQLTrack's composed queries besides its own."""

from __future__ import annotations

from typing import Any

import psycopg

from sqltrack._quoting import query_text
from sqltrack.engines.postgres._pooler import LOST_STATEMENT_ERRORS, stop_preparing

__all__ = ["accepting_sql"]


def accepting_sql(cursor_class: type[psycopg.Cursor[Any]]) -> type[psycopg.Cursor[Any]]:
    """Return a class of cursors whose queries may be `sqltrack.util.SQL`."""

    class SQLCursor(cursor_class):  # type: ignore[valid-type,misc]
        def execute(self, query: Any, *args: Any, **kwargs: Any) -> Any:
            text = _as_text(query, self)
            try:
                return super().execute(text, *args, **kwargs)
            except LOST_STATEMENT_ERRORS as error:
                if not stop_preparing(self.connection, error):
                    raise
            return super().execute(text, *args, **kwargs)

        def executemany(self, query: Any, *args: Any, **kwargs: Any) -> Any:
            return super().executemany(_as_text(query, self), *args, **kwargs)

        def stream(self, query: Any, *args: Any, **kwargs: Any) -> Any:
            return super().stream(_as_text(query, self), *args, **kwargs)

    return SQLCursor


def _as_text(query: Any, cursor: Any) -> Any:
    return query if isinstance(query, (str, bytes)) else query_text(query, cursor)
