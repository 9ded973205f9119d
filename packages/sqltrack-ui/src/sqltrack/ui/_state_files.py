"""The files of a user that the page writes: one for each database, an SQLTrack database itself."""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import json
import os
from collections.abc import Iterator
from typing import Any

from sqltrack.client import Client
from sqltrack.commands._databases import read_only
from sqltrack.commands.setup import create_table_once
from sqltrack.errors import NotSetUpError
from sqltrack.ui._errors import RequestError

__all__ = ["TABLE", "StateFile", "digest", "read_rows", "state_folder", "user_name"]

#: The table of views and states, in files as in databases.
TABLE = "saved_views"
_SECONDS = 10.0


class StateFile:
    """The file of the user for one database.

    Args:
        client: the database.
    """

    def __init__(self, client: Client) -> None:
        self._database = client

    @property
    def path(self) -> str:
        """Path of the file, which need not exist."""
        return os.path.join(state_folder(), f"views-{digest(self._database.engine.target())}.db")

    @property
    def client(self) -> Client:
        """A client of the file."""
        return Client({"engine": "sqlite", "dbpath": self.path, "outbox": "off"})

    def exists(self) -> bool:
        """Return whether there is a file."""
        return os.path.exists(self.path)

    @contextlib.contextmanager
    def writing(self) -> Iterator[Client]:
        """Return the client of the file, after creating file and table if they are missing.

        Raises:
            RequestError: the file cannot be created.
        """
        _create_file(self.path)
        client = self.client
        create_table_once(client, TABLE)
        yield client

    def read(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[Any]:
        """Return the rows of a query, none without a file."""
        return read_rows(self.client, sql, parameters) if self.exists() else []


def read_rows(client: Client, sql: str, parameters: tuple[Any, ...] = ()) -> list[Any]:
    """Return the rows of a query of the table `saved_views`, none if the table is missing."""
    with contextlib.suppress(NotSetUpError), read_only(client, _SECONDS) as connection:
        if client.engine.table_columns(connection, TABLE):
            rows: list[Any] = connection.execute(sql, parameters).fetchall()
            return rows
    return []


def state_folder() -> str:
    """Return the folder for files of the page: `$XDG_STATE_HOME/sqltrack/ui` or `~/.local/state/sqltrack/ui`."""
    root = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return os.path.join(os.path.abspath(root), "sqltrack", "ui")


def user_name() -> str:
    """Return the name of the user who runs the server."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container may run under a number that has no name.
        return str(os.getuid())


def digest(value: Any) -> str:
    """Return a short text for a value of JSON, the same for the same value."""
    text = json.dumps(value, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _create_file(path: str) -> None:
    """Create an empty file that only the user can read, unless it exists. SQLite's other files get the same mode."""
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise RequestError(f"cannot save views in {path!r}: {error.strerror}", "database") from error
