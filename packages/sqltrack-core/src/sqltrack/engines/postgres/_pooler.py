"""Choose a schema behind a pooler that takes no start-up options and gives each transaction any server session.

PgBouncer refuses `options`, and a plain SET would follow the server's session to other clients, so the schema is set
for each transaction anew (https://www.pgbouncer.org/features.html, transaction pooling).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from sqltrack.quoting import quote_identifier

__all__ = ["choosing_schema", "is_refused_option"]


def is_refused_option(error: psycopg.Error) -> bool:
    """Return whether connecting failed because of start-up options."""
    return "unsupported startup parameter" in str(error)


def choosing_schema(cursor_class: type[psycopg.Cursor[Any]], schema: str) -> type[psycopg.Cursor[Any]]:
    """Return a class of cursors whose statements look names up in `schema`."""
    set_schema = f"SET LOCAL search_path TO {quote_identifier(schema)}".encode()

    @contextmanager
    def schema_in_force(connection: psycopg.Connection[Any]) -> Iterator[None]:
        if connection.autocommit and connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE:
            with connection.transaction():
                psycopg.Cursor(connection).execute(set_schema)
                yield
            return
        # Nothing tells whether this transaction has had its schema set: it may have begun outside of our cursors.
        if connection.info.transaction_status != psycopg.pq.TransactionStatus.INERROR:
            psycopg.Cursor(connection).execute(set_schema)
        yield

    class SchemaCursor(cursor_class):  # type: ignore[valid-type,misc]
        def execute(self, *args: Any, **kwargs: Any) -> Any:
            with schema_in_force(self.connection):
                return super().execute(*args, **kwargs)

        def executemany(self, *args: Any, **kwargs: Any) -> Any:
            with schema_in_force(self.connection):
                return super().executemany(*args, **kwargs)

        def stream(self, *args: Any, **kwargs: Any) -> Any:
            with schema_in_force(self.connection):
                yield from super().stream(*args, **kwargs)

    return SchemaCursor
