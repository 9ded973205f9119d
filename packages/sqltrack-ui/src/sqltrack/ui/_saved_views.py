"""Saved views, and states that are too long for an address: in the database, or in a file of the user."""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import json
import os
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

from sqltrack.client import Client
from sqltrack.commands._databases import read_only
from sqltrack.commands.setup import create_table_once
from sqltrack.errors import NotSetUpError
from sqltrack.ui._errors import RequestError

__all__ = ["SavedViews", "state_folder", "user_name"]

_TABLE = "saved_views"
_UPSERT = f"""
INSERT INTO {_TABLE} (id, page, name, owner, state, time_updated) VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT (id) DO UPDATE SET state = excluded.state, time_updated = excluded.time_updated
"""
# States without a name pile up as users change the page.
_MOST_STATES = 5_000
_PRUNE = f"""
DELETE FROM {_TABLE} WHERE name IS NULL AND owner = %s AND id NOT IN (
    SELECT id FROM {_TABLE} WHERE name IS NULL AND owner = %s ORDER BY time_updated DESC LIMIT {_MOST_STATES}
)
"""
_LIST = f"SELECT id, name, owner, page, state, time_updated FROM {_TABLE} WHERE page = %s AND name IS NOT NULL"
_SECONDS = 10.0
_LONGEST_NAME = 200


class SavedViews:
    """The saved views of one database.

    They are read from the file of the user and from the database, if it has the table. They are written to one of them.

    Args:
        client: the database.
        in_database: whether views are written to the table `saved_views` of the database, which is created when it is
            needed. Otherwise they are written to a file in the folder `state_folder()`.
    """

    def __init__(self, client: Client, *, in_database: bool) -> None:
        self._client = client
        self._in_database = in_database
        self._owner = user_name()

    def list_views(self, page: str) -> list[dict[str, Any]]:
        """Return the named views of a page, in the order of their names."""
        views = [_describe(row) for client in self._places() for row in _read(client, _LIST, (page,))]
        return sorted(views, key=lambda view: (view["name"].casefold(), view["id"]))

    def find_state(self, id_: str) -> Any:
        """Return the state of a view.

        Raises:
            RequestError: no view has this id.
        """
        for client in self._places():
            for (state,) in _read(client, f"SELECT state FROM {_TABLE} WHERE id = %s", (id_,)):
                return json.loads(state)
        raise RequestError(f"there is no saved view {id_!r}", "unknown")

    def save_view(self, name: str, page: str, state: Any) -> str:
        """Save a view, in place of the user's view of this page that has the same name, and return its id."""
        name = name.strip()
        if not name or len(name) > _LONGEST_NAME:
            raise RequestError(f"the name of a view must have 1 to {_LONGEST_NAME} characters")
        id_ = f"v_{_digest([self._owner, page, name])}"
        self._write(_UPSERT, (id_, page, name, self._owner, json.dumps(state), _now()))
        return id_

    def save_state(self, state: Any) -> str:
        """Save a state without a name, and return its id; the same state has the same id."""
        id_ = state_id(state)
        with self._writing() as client, client:
            client.execute(_UPSERT, (id_, "", None, self._owner, json.dumps(state), _now()))
            client.execute(_PRUNE, (self._owner, self._owner))
        return id_

    def delete_view(self, id_: str) -> None:
        """Delete a view of the place that views are written to.

        Raises:
            RequestError: it does not contain this view.
        """
        if self._write(f"DELETE FROM {_TABLE} WHERE id = %s AND name IS NOT NULL", (id_,)) == 0:
            place = "the database" if self._in_database else "your file of saved views"
            raise RequestError(f"there is no view {id_!r} in {place}", "unknown")

    def _write(self, sql: str, parameters: tuple[Any, ...]) -> int:
        with self._writing() as client:
            return int(client.execute(sql, parameters).rowcount)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Client]:
        """Return the client to write with; create the file and the table if they are missing."""
        if not self._in_database:
            _create_file(_file_path(self._client))
        client = self._client if self._in_database else _file_client(self._client)
        create_table_once(client, _TABLE)
        yield client

    def _places(self) -> list[Client]:
        """Return clients of the places that may contain views."""
        has_file = os.path.exists(_file_path(self._client))
        return [_file_client(self._client), self._client] if has_file else [self._client]


def _read(client: Client, sql: str, parameters: tuple[Any, ...]) -> list[Any]:
    """Return the rows of a query, none if the table is missing."""
    with contextlib.suppress(NotSetUpError), read_only(client, _SECONDS) as connection:
        if client.engine.table_columns(connection, _TABLE):
            rows: list[Any] = connection.execute(sql, parameters).fetchall()
            return rows
    return []


def state_id(state: Any) -> str:
    """Return the id of a state."""
    return f"s_{_digest(state)}"


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


def _file_client(client: Client) -> Client:
    """Return a client of the file for a database."""
    return Client({"engine": "sqlite", "dbpath": _file_path(client), "outbox": "off"})


def _file_path(client: Client) -> str:
    return os.path.join(state_folder(), f"views-{_digest(client.engine.target())}.db")


def _create_file(path: str) -> None:
    """Create an empty file that only the user can read, unless it exists. SQLite's other files get the same mode."""
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise RequestError(f"cannot save views in {path!r}: {error.strerror}", "database") from error


def _describe(row: Any) -> dict[str, Any]:
    id_, name, owner, page, state, updated = row
    return {"id": id_, "name": name, "owner": owner, "page": page, "state": json.loads(state), "updated": updated}


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _now() -> datetime:
    return datetime.now(timezone.utc)
