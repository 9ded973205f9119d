"""Change a database: what rows hold, in transactions that leave no trace when they fail, or the tables themselves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from sqltrack.client import Client
from sqltrack.engines import Engine
from sqltrack.engines.admin import Admin, admin_of
from sqltrack.errors import NotSetUpError

__all__ = ["administering", "lock_rows", "require_database", "transaction"]


def require_database(engine: Engine, advice: str = NotSetUpError.ADVICE) -> None:
    """Make sure that connecting does not create a database.

    Args:
        engine: the engine of the database.
        advice: what to do if there is none.

    Raises:
        NotSetUpError: there is none.
    """
    if not engine.exists():
        raise NotSetUpError(f"{engine.describe()} does not exist", advice)


@contextmanager
def transaction(client: Client) -> Iterator[Any]:
    """Return a connection for one transaction, which Ctrl-C ends without a trace.

    Raises:
        NotSetUpError: there is no database; it is not created.
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


def lock_rows(
    client: Client, connection: Any, table: str, ids: Iterable[int | None], *, for_deletion: bool = False
) -> None:
    """Lock rows until the end of the transaction; ids that are None are left out."""
    found = sorted({id_ for id_ in ids if id_ is not None})
    client.engine.lock_rows(connection, table, found, for_deletion=for_deletion)
