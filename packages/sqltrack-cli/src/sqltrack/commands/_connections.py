"""Connections for commands that change the tables themselves, not only what they hold."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqltrack.client import Client
from sqltrack.commands._records import reading
from sqltrack.engines.admin import Admin, admin_of

__all__ = ["administering", "table_columns"]


@contextmanager
def administering(client: Client) -> Iterator[Admin]:
    """Open a connection for the `with` block, in which each statement commits by itself and Ctrl-C ends it.

    Returns:
        What can be done over it.

    Raises:
        DatabaseError: the database cannot be reached, or refuses a statement.
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


def table_columns(client: Client, table: str) -> dict[str, str]:
    """Return names and SQL types of a table's columns in order, empty if there is no such table."""
    with reading(client) as connection:
        return client.engine.table_columns(connection, table)
