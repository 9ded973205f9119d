"""Work with a pooler such as PgBouncer, which runs each transaction in any session of the server.

Sessions are shared, so prepared statements and settings of one transaction are visible to others. Behind a pooler,
SQLTrack therefore prepares no statements and sets the schema in each transaction
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

# The session lacks the prepared statement, or has another client's under that name.
LOST_STATEMENT_ERRORS = (psycopg.errors.InvalidSqlStatementName, psycopg.errors.DuplicatePreparedStatement)

# psycopg's prefix of the names of prepared statements, followed by a number.
_STATEMENT_PREFIX = "_pg3_"

# The highest pid: PID_MAX_LIMIT of Linux; other systems have a lower one.
_MAX_PROCESS_ID = 2**22


def is_refused_option(error: psycopg.Error) -> bool:
    """Return whether connecting failed because of start-up options."""
    return "unsupported startup parameter" in str(error)


def is_pooled(connection: psycopg.Connection[Any]) -> bool:
    """Return whether a connection probably leads to a pooler, without a round trip.

    A pooler reports 32 random bits in place of a pid. About one in a thousand looks like a pid; see
    `name_statements_uniquely`.
    """
    return not 0 < connection.info.backend_pid <= _MAX_PROCESS_ID


def disable_session_features(connection: BoundedConnection, schema: str | None) -> None:
    """Make a connection independent of the state of its session.

    Args:
        connection: a new connection to a pooler.
        schema: the schema in which its cursors look names up, None for the server's default.
    """
    connection.prepare_threshold = None
    if schema is not None:
        connection.cursor_factory = choosing_schema(connection.cursor_factory, schema)
        connection.server_cursor_factory = choosing_schema(connection.server_cursor_factory, schema)
        connection.plain_cursor_factory = choosing_schema(connection.plain_cursor_factory, schema)


def name_statements_uniquely(connection: psycopg.Connection[Any]) -> None:
    """Give the prepared statements of a connection unique names.

    psycopg numbers them from 0 in each connection. Through a pooler that was not recognized, a connection could
    otherwise execute another one's statement with its own values.
    """
    manager: Any = getattr(connection, "_prepared", None)
    if hasattr(manager, "_prepared_idx"):  # pragma: no branch - other versions of psycopg
        manager._prepared_idx = int.from_bytes(os.urandom(8), "big")


def stop_preparing(connection: psycopg.Connection[Any], error: psycopg.Error) -> bool:
    """Stop preparing statements if a pooler lost a prepared statement of this connection.

    Returns:
        Whether the statement can be retried: it was not executed, and no transaction failed with it.
    """
    if _STATEMENT_PREFIX not in str(error) or connection.prepare_threshold is None:
        return False
    connection.prepare_threshold = None
    return connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


def choosing_schema(cursor_class: type[Any], schema: str) -> type[Any]:
    """Return a cursor class whose statements look names up in `schema`."""
    set_schema = f"SET LOCAL search_path TO {quote_identifier(schema)}".encode()

    @contextmanager
    def schema_in_force(connection: psycopg.Connection[Any]) -> Iterator[None]:
        if connection.autocommit and connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE:
            with _transaction(connection, set_schema):
                yield
            return
        # Always set the schema: the transaction may have begun outside our cursors.
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
    """Return a context manager for a transaction whose first statement is sent together with BEGIN."""
    psycopg.Cursor(connection).execute(b"BEGIN; " + first)
    try:
        yield
    except BaseException:
        # Keep the first error; the connection may be lost.
        with contextlib.suppress(psycopg.Error):
            connection.rollback()
        raise
    connection.commit()
