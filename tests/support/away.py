"""Take databases away from their clients for a moment, and give them back."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier

from support.databases import connect_to_sqlite

__all__ = ["Outage", "SocketLink", "away", "linked_server", "outbox_files", "with_outbox"]


class Outage:
    """Takes a database away, any number of times.

    A SQLite file is locked by another writer. A PostgreSQL server ends all connections to the database and refuses new
    ones.

    Args:
        config: configuration of the database.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = dict(config)
        self._locker: Any = None

    def begin(self) -> None:
        """Take the database away."""
        if self._config["engine"] == "sqlite":
            self._locker = connect_to_sqlite(self._config)
            self._locker.execute("PRAGMA busy_timeout = 20000")
            self._locker.execute("BEGIN IMMEDIATE")
            return
        self._allow_connections(allowed=False)

    def end(self) -> None:
        """Give the database back."""
        if self._config["engine"] == "sqlite":
            self._locker.close()
            return
        self._allow_connections(allowed=True)

    def _allow_connections(self, *, allowed: bool) -> None:
        name = self._config["dbname"]
        parameters = {name: value for name, value in self._config.items() if name != "engine"}
        parameters = {**parameters, "dbname": "postgres"}
        with psycopg.connect(**parameters, autocommit=True) as connection:
            connection.execute(
                SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format(Identifier(name), SQL(str(allowed)))
            )
            if not allowed:
                sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
                connection.execute(sql, (name,))


@contextlib.contextmanager
def away(config: Mapping[str, Any]) -> Iterator[None]:
    """Take a database away for the `with` block."""
    outage = Outage(config)
    outage.begin()
    try:
        yield
    finally:
        outage.end()


def with_outbox(config: Mapping[str, Any], folder: Path, **settings: Any) -> dict[str, Any]:
    """Return a configuration whose client soon writes calls to an outbox in a folder while the database is away."""
    return {**config, "outbox": "on", "outbox_dir": str(folder), "patience": 0.2, **settings}


def outbox_files(folder: Path) -> list[str]:
    """Return the names of all files in a folder for outboxes."""
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


class SocketLink:
    """A link to a server's Unix socket; clients cannot find the server without it.

    Args:
        folder: where the link is.
        config: a configuration for the server itself.

    Attributes:
        config: the same, through the link.
    """

    def __init__(self, folder: str, config: dict[str, Any]) -> None:
        name = f".s.PGSQL.{config['port']}"
        self._socket = os.path.join(config["host"], name)
        self._link = os.path.join(folder, name)
        self.config = {**config, "host": folder}

    def connect(self) -> None:
        """Create the link."""
        os.symlink(self._socket, self._link)

    def cut(self) -> None:
        """Remove the link."""
        os.unlink(self._link)

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Remove the link for the `with` block."""
        self.cut()
        try:
            yield
        finally:
            self.connect()


@contextlib.contextmanager
def linked_server(config: dict[str, Any]) -> Iterator[SocketLink]:
    """Provide a link to the server of a configuration; the link exists at first."""
    # The path of a socket must be short.
    with tempfile.TemporaryDirectory(prefix="s-") as folder:
        link = SocketLink(folder, config)
        link.connect()
        yield link
