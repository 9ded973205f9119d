"""Get along with a pooler such as PgBouncer, which gives each transaction any session of the server.

What one transaction leaves in its session, others find there: a prepared statement of the same name, or the schema of
a plain SET. So none are prepared, and the schema is set for each transaction anew
(https://www.pgbouncer.org/features.html, transaction pooling).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg

from sqltrack._quoting import quote_identifier

if TYPE_CHECKING:
    from sqltrack.engines.postgres._connection import BoundedConnection

__all__ = [
    "LOST_STATEMENT_ERRORS",
    "choosing_schema",
    "disable_session_features",
    "is_pooled",
    "is_refused_option",
    "name_statements_uniquely",
    "stop_preparing",
]

# A transaction got a session without the statement, or one with another client's of that name.
LOST_STATEMENT_ERRORS = (psycopg.errors.InvalidSqlStatementName, psycopg.errors.DuplicatePreparedStatement)

# How psycopg calls the statements that it prepares, before their number.
_STATEMENT_PREFIX = "_pg3_"

# No process of a server has a higher number: PID_MAX_LIMIT of Linux, and other systems end below.
_MAX_PROCESS_ID = 2**22


def is_refused_option(error: psycopg.Error) -> bool:
    """Return whether connecting failed because of start-up options."""
    return "unsupported startup parameter" in str(error)


def is_pooled(connection: psycopg.Connection[Any]) -> bool:
    """Return whether a pooler answered in place of the server, as far as can be told without asking.

    A pooler has no process of the server to name, so that it makes up 32 bits. About one in a thousand looks like a
    process all the same, see `name_statements_uniquely`.
    """
    return not 0 < connection.info.backend_pid <= _MAX_PROCESS_ID


def disable_session_features(connection: BoundedConnection, schema: str | None) -> None:
    """Let a connection rely on nothing that an earlier transaction left in the session.

    Args:
        connection: a new connection to a pooler.
        schema: where its cursors look names up, None for wherever the server looks.
    """
    connection.prepare_threshold = None
    if schema is not None:
        connection.cursor_factory = choosing_schema(connection.cursor_factory, schema)
        connection.server_cursor_factory = choosing_schema(connection.server_cursor_factory, schema)
        connection.plain_cursor_factory = choosing_schema(connection.plain_cursor_factory, schema)


def name_statements_uniquely(connection: psycopg.Connection[Any]) -> None:
    """Let no two connections call their prepared statements the same.

    Through a pooler that was not recognised one would else execute those of another, with its own values, and psycopg
    counts them from 0 in each connection.
    """
    manager: Any = getattr(connection, "_prepared", None)
    if hasattr(manager, "_prepared_idx"):  # pragma: no branch - other versions of psycopg
        manager._prepared_idx = int.from_bytes(os.urandom(8), "big")


def stop_preparing(connection: psycopg.Connection[Any], error: psycopg.Error) -> bool:
    """Let a connection prepare no more, if it was one of its statements that got lost in a pooler.

    Returns:
        Whether the statement can be executed again: it was not before, and no transaction has failed with it.
    """
    if _STATEMENT_PREFIX not in str(error) or connection.prepare_threshold is None:
        return False
    connection.prepare_threshold = None
    return connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


def choosing_schema(cursor_class: type[Any], schema: str) -> type[Any]:
    """Return a class of cursors whose statements look names up in `schema`."""
    set_schema = f"SET LOCAL search_path TO {quote_identifier(schema)}".encode()

    @contextmanager
    def schema_in_force(connection: psycopg.Connection[Any]) -> Iterator[None]:
        if connection.autocommit and connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE:
            with _transaction(connection, set_schema):
                yield
            return
        # Nothing tells whether this transaction has had its schema set: it may have begun outside of our cursors.
        if connection.info.transaction_status != psycopg.pq.TransactionStatus.INERROR:
            psycopg.Cursor(connection).execute(set_schema)
        yield

    class SchemaCursor(cursor_class):  # type: ignore[misc]
        def execute(self, *args: Any, **kwargs: Any) -> Any:
            with schema_in_force(self.connection):
                return super().execute(*args, **kwargs)

        def executemany(self, *args: Any, **kwargs: Any) -> Any:
            with schema_in_force(self.connection):
                return super().executemany(*args, **kwargs)

        def stream(self, *args: Any, **kwargs: Any) -> Any:
            with schema_in_force(self.connection):
                yield from super().stream(*args, **kwargs)

        @contextmanager
        def copy(self, *args: Any, **kwargs: Any) -> Any:
            with schema_in_force(self.connection), super().copy(*args, **kwargs) as copy:
                yield copy

    return SchemaCursor


@contextmanager
def _transaction(connection: psycopg.Connection[Any], first: bytes) -> Iterator[None]:
    """Let the `with` block be a transaction, of which a first statement travels together with BEGIN."""
    psycopg.Cursor(connection).execute(b"BEGIN; " + first)
    try:
        yield
    except BaseException:
        # The first error counts, and the connection may be lost.
        with contextlib.suppress(psycopg.Error):
            connection.rollback()
        raise
    connection.commit()
