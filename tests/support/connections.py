"""Record the connections that clients open, and count those that are open."""

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
    """Return the name of the user that a client connects to PostgreSQL as, and whether it uses SSL."""
    name, ssl = sqltrack.Client(config).execute(WHO_CONNECTED).fetchone()
    return name, ssl


def on_one_connection(client: sqltrack.Client) -> contextlib.AbstractContextManager[None]:
    """Let all calls in the `with` block share a connection, for many calls that fill or inspect a database."""
    return client._session.keeping_connections()


def close_lingering(client: sqltrack.Client) -> None:
    """Close the connection that stays open for a moment after a call, as the end of a `with` block does."""
    with client:
        pass


def count_connections(config: dict[str, Any]) -> int:
    """Return the number of open connections to the database: all of a server, or those of this process with SQLite."""
    if config["engine"] == "postgres":
        query = """
            SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
        """
        with connect_to_postgres(config) as connection:
            return int(connection.execute(query).fetchall()[0][0])
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("this platform does not list the open files of a process")
    path, count = os.path.realpath(config["dbpath"]), 0
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            count += os.readlink(f"/proc/self/fd/{descriptor}") == path
    return count


def record_connections(client: sqltrack.Client, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return a list to which all further connections of the client are added."""
    opened: list[Any] = []
    connect = client.engine.connect

    def recording() -> Any:
        opened.append(connect())
        return opened[-1]

    monkeypatch.setattr(client.engine, "connect", recording)
    return opened
