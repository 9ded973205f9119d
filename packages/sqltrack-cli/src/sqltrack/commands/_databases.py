"""Open a database to read, to change rows in one transaction, or to change tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqltrack.client import Client
from sqltrack.engines import Engine
from sqltrack.engines.admin import Admin, admin_of
from sqltrack.errors import NotSetUpError

__all__ = ["READ_SECONDS", "administering", "read_only", "require_database", "table_columns", "transaction"]

# Time limit of a statement, in seconds.
READ_SECONDS = 60.0


@contextmanager
def read_only(
    client: Client, seconds: float = READ_SECONDS, *, as_superuser: bool = True, own_sql: bool = True
) -> Iterator[Any]:
    """Return a read-only connection.

    Args:
        client: client to use.
        seconds: time limit of a statement, default 60.
        as_superuser: whether statements of a superuser keep all rights (default); False for statements that only read.
        own_sql: whether the statements are our own (default), or contain text of the user.

    Raises:
        NotSetUpError: the database does not exist; it is not created.
        ReadOnlyDatabaseError: a statement would change something, or could execute other users' code as a superuser.
        StatementTimeoutError: a statement took too long.
        DatabaseError: the database refused a statement for another reason.
    """
    require_database(client.engine)
    with client as connection:
        admin = admin_of(client.engine, connection)
        with admin.read_only(seconds, as_superuser=as_superuser, own_sql=own_sql):
            yield connection


@contextmanager
def transaction(client: Client) -> Iterator[Any]:
    """Return a connection for one transaction, which Ctrl-C rolls back.

    Raises:
        NotSetUpError: the database does not exist; it is not created.
        DatabaseError: the database refused a statement.
    """
    require_database(client.engine)
    try:
        with client as connection, admin_of(client.engine, connection).interruptible():
            yield connection
    except client.engine.driver_error as error:
        raise client.engine.translate_error(error) from error


@contextmanager
def administering(client: Client) -> Iterator[Admin]:
    """Open a connection for the `with` block. Each statement commits by itself, and Ctrl-C ends it.

    Returns:
        The administrative functions of the connection.

    Raises:
        DatabaseError: the database is not available, or refuses a statement.
    """
    engine = client.engine
    connection = engine.connect()
    try:
        engine.set_autocommit(connection, True)
        admin = admin_of(engine, connection)
        with admin.interruptible():
            yield admin
    except engine.driver_error as error:
        raise engine.translate_error(error) from error
    finally:
        engine.abort(connection)


def require_database(engine: Engine, advice: str = NotSetUpError.ADVICE) -> None:
    """Check that the database exists, so that connecting does not create it.

    Args:
        engine: the engine of the database.
        advice: what to do if the database is missing and can be created.

    Raises:
        NotSetUpError: the database does not exist.
    """
    if not engine.exists():
        raise admin_of(engine).missing(advice)


def table_columns(client: Client, table: str) -> dict[str, str]:
    """Return names and SQL types of a table's columns in order, empty if the table does not exist."""
    with read_only(client) as connection:
        return client.engine.table_columns(connection, table)
