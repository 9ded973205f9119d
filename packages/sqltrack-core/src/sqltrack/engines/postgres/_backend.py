"""Watch and cancel the statement of a PostgreSQL connection over a second connection."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import psycopg

from sqltrack.engines.postgres._connect_errors import is_answer
from sqltrack.engines.postgres._connection import BoundedConnection
from sqltrack.engines.postgres._pooler import is_pooled

__all__ = ["ServerBackend"]

# If client and server wait for each other, a message got lost.
_IS_IDLE_SQL = """
    SELECT state LIKE 'idle%%' OR wait_event_type IS NOT DISTINCT FROM 'Client' FROM pg_stat_activity WHERE pid = %s
"""

_ACTIVE = psycopg.pq.TransactionStatus.ACTIVE


class ServerBackend:
    """Asks the server over a second connection; the `backend` of a `BoundedConnection`.

    A single frozen server process looks as if it worked. Behind a pooler the pid is unknown and queries may queue, so
    any answer of the pooler counts as working. So does a refused second connection, for example because there are too
    many or the password was changed.

    Args:
        parameters: parameters for the second connection.
        seconds: timeout for an answer, once connected.
        behind_pooler: whether a pooler is in between.
    """

    def __init__(self, parameters: Mapping[str, Any], seconds: float, *, behind_pooler: bool) -> None:
        self._parameters = parameters
        self._seconds = seconds
        self._behind_pooler = behind_pooler

    def is_working(self, connection: BoundedConnection) -> bool:
        """Return False if the server does not answer, or does not work on a statement of this connection."""
        try:
            with BoundedConnection.connect(**_at(connection, self._parameters), autocommit=True) as second:
                second.limit = self._seconds
                return self._behind_pooler or is_pooled(second) or _is_working(connection, second)
        except psycopg.Error as error:
            return isinstance(error, psycopg.OperationalError) and is_answer(error)

    def cancel(self, connection: BoundedConnection, seconds: float) -> None:
        """Cancel the current statement of a connection, if the server answers within about `seconds`."""
        if self._behind_pooler:
            return
        parameters = {**_at(connection, self._parameters), "connect_timeout": max(round(seconds), 1)}
        with contextlib.suppress(psycopg.Error), BoundedConnection.connect(**parameters, autocommit=True) as second:
            second.limit = seconds
            second.execute("SELECT pg_cancel_backend(%s)", (connection.pgconn.backend_pid,))


def _is_working(connection: BoundedConnection, second: BoundedConnection) -> bool:
    row = second.execute(_IS_IDLE_SQL, (connection.pgconn.backend_pid,)).fetchone()
    # A connection that listens for notifications waits for an idle server.
    is_expected = connection.pgconn.transaction_status == _ACTIVE
    return row is not None and not (row[0] and is_expected)


def _at(connection: BoundedConnection, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters with the host to which a connection leads; the original ones may list several."""
    pgconn = connection.pgconn
    address = {"host": pgconn.host, "hostaddr": pgconn.hostaddr, "port": pgconn.port}
    others = {name: value for name, value in parameters.items() if name not in (*address, "target_session_attrs")}
    return {**others, **{name: value.decode() for name, value in address.items() if value}}
