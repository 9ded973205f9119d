"""The connections that clients have opened, and those that are open."""

from __future__ import annotations

import contextlib
import os
from typing import Any

import pytest

import sqltrack
from support.databases import connect_to_postgres

__all__ = [
    "WHO_CONNECTED",
    "close_lingering",
    "count_connections",
    "on_one_connection",
    "record_connections",
    "who_connects",
]

WHO_CONNECTED = """
    SELECT session_user::text, ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()
"""


def who_connects(config: dict[str, Any]) -> tuple[str, bool]:
    """Return the name of the user that a client connects to PostgreSQL as, and whether by SSL."""
    name, ssl = sqltrack.Client(config).execute(WHO_CONNECTED).fetchone()
    return name, ssl


def on_one_connection(client: sqltrack.Client) -> contextlib.AbstractContextManager[None]:
    """Let all calls in the `with` block share a connection; for the many calls that fill a database or look at it."""
    return client._session.keeping_connections()


def close_lingering(client: sqltrack.Client) -> None:
    """Close the connection that stays open for a moment after a call, as the end of any block does."""
    with client:
        pass


def count_connections(config: dict[str, Any]) -> int:
    """Return how many connections to the database are open: all of a server, of SQLite those of this process."""
    if config["engine"] == "postgres":
        query = """
            SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
        """
        with connect_to_postgres(config) as connection:
            return int(connection.execute(query).fetchall()[0][0])
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("this platform does not tell which files a process has open")
    path, count = os.path.realpath(config["dbpath"]), 0
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            count += os.readlink(f"/proc/self/fd/{descriptor}") == path
    return count


def record_connections(client: sqltrack.Client, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return a list that all connections opened by the client from now on are added to."""
    opened: list[Any] = []
    connect = client.engine.connect

    def recording() -> Any:
        opened.append(connect())
        return opened[-1]

    monkeypatch.setattr(client.engine, "connect", recording)
    return opened
