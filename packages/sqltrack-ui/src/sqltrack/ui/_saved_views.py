"""Saved views, defaults of experiments, and states that are too long for an address.

They are kept in the database, or in a file of the user.
"""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any, NamedTuple

from sqltrack.client import Client
from sqltrack.commands.setup import create_table_once
from sqltrack.ui._errors import RequestError
from sqltrack.ui._state_files import TABLE, StateFile, digest, read_rows, user_name

__all__ = ["SavedViews", "state_id"]

_UPSERT = f"""
INSERT INTO {TABLE} (id, page, name, owner, state, time_updated) VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT (id) DO UPDATE SET state = excluded.state, owner = excluded.owner, time_updated = excluded.time_updated
"""
# States without a name pile up as users change the page.
_MOST_STATES = 5_000
_PRUNE = f"""
DELETE FROM {TABLE} WHERE name IS NULL AND page = '' AND owner = %s AND id NOT IN (
    SELECT id FROM {TABLE} WHERE name IS NULL AND page = '' AND owner = %s
    ORDER BY time_updated DESC LIMIT {_MOST_STATES}
)
"""
_VIEW = f"SELECT id, name, owner, page, state, time_updated FROM {TABLE} WHERE name IS NOT NULL"
# The page of rows that name the default view of an experiment; no view of the page has this name.
_DEFAULT = "default of an experiment"
_LONGEST_NAME = 200


class _View(NamedTuple):
    """A view with a name, as it is stored."""

    id: str
    name: str
    owner: str
    page: str
    state: str
    updated: datetime


class SavedViews:
    """The saved views of one database.

    They are read from the file of the user and from the database, if it has the table. New views are written to one of
    them. A view can be changed by its owner: those in the file always, those in the database if views are written
    there.

    Args:
        client: the database.
        in_database: whether new views are written to the table `saved_views` of the database, which is created when it
            is needed. Otherwise they are written to a file in the folder `state_folder()`.
    """

    def __init__(self, client: Client, *, in_database: bool) -> None:
        self._client = client
        self._in_database = in_database
        self._file = StateFile(client)
        self._owner = user_name()

    def list_views(self, page: str | None = None) -> list[dict[str, Any]]:
        """Return the named views, in the order of their names.

        Args:
            page: their page, default: all pages.
        """
        condition, parameters = ("", ()) if page is None else (" AND page = %s", (page,))
        found = [
            {**_describe(view), "own": self._is_own(view, is_in_file=is_in_file)}
            for is_in_file in (True, False)
            for view in self._read(is_in_file, f"{_VIEW}{condition}", parameters)
        ]
        return sorted(found, key=lambda view: (view["name"].casefold(), view["id"]))

    def find_state(self, id_: str) -> Any:
        """Return the state of a view.

        Raises:
            RequestError: no view has this id.
        """
        for is_in_file in (True, False):
            for (state,) in self._rows(is_in_file, f"SELECT state FROM {TABLE} WHERE id = %s", (id_,)):
                return json.loads(state)
        raise _unknown(id_)

    def save_view(self, name: str, page: str, state: Any) -> str:
        """Save a view, in place of the user's view of this page that has the same name, and return its id."""
        name = _checked_name(name)
        same = f"{_VIEW} AND owner = %s AND page = %s AND name = %s"
        known = self._read(not self._in_database, same, (self._owner, page, name))
        id_ = known[0].id if known else f"v_{secrets.token_hex(8)}"
        self._write(_UPSERT, (id_, page, name, self._owner, json.dumps(state), _now()))
        return id_

    def change_view(self, id_: str, *, name: str | None = None, state: Any = None) -> None:
        """Rename a view, or give it another state; its id, and so its address, stays.

        Args:
            id_: its id.
            name: the new name, default: the old one.
            state: the new state, default: the old one.

        Raises:
            RequestError: the view does not exist, belongs to another user, or another view has the name.
        """
        view, is_in_file = self._own_view(id_)
        name = view.name if name is None else _checked_name(name)
        same = f"{_VIEW} AND owner = %s AND page = %s AND name = %s AND id <> %s"
        if self._read(is_in_file, same, (view.owner, view.page, name, id_)):
            raise RequestError(f"there is already a view {name!r}")
        text = view.state if state is None else json.dumps(state)
        sql = f"UPDATE {TABLE} SET name = %s, state = %s, time_updated = %s WHERE id = %s"
        with self._writing(is_in_file=is_in_file) as client:
            client.execute(sql, (name, text, _now(), id_))

    def delete_view(self, id_: str) -> None:
        """Delete a view.

        Raises:
            RequestError: the view does not exist, or belongs to another user.
        """
        _, is_in_file = self._own_view(id_)
        with self._writing(is_in_file=is_in_file) as client:
            client.execute(f"DELETE FROM {TABLE} WHERE id = %s", (id_,))

    def save_state(self, state: Any) -> str:
        """Save a state without a name, and return its id; the same state has the same id."""
        id_ = state_id(state)
        with self._writing(is_in_file=not self._in_database) as client, client:
            client.execute(_UPSERT, (id_, "", None, self._owner, json.dumps(state), _now()))
            client.execute(_PRUNE, (self._owner, self._owner))
        return id_

    def list_defaults(self) -> dict[int, str]:
        """Return the ids of the default views by the ids of experiments. Those in the user's file come first."""
        sql = f"SELECT state FROM {TABLE} WHERE page = %s"
        chosen: dict[int, str | None] = {}
        for is_in_file in (False, True):
            for (text,) in self._rows(is_in_file, sql, (_DEFAULT,)):
                state = json.loads(text)
                chosen[state["experiment"]] = state["view"]
        known = {view["id"] for view in self.list_views()} if chosen else set()
        return {experiment: view for experiment, view in chosen.items() if view is not None and view in known}

    def set_default(self, experiment_id: int, view_id: str | None) -> None:
        """Choose the view in which an experiment opens.

        Args:
            experiment_id: id of the experiment.
            view_id: id of the view, None for no default.

        Raises:
            RequestError: the view does not exist.
        """
        if view_id is not None and all(view["id"] != view_id for view in self.list_views()):
            raise _unknown(view_id)
        state = json.dumps({"experiment": experiment_id, "view": view_id})
        id_ = f"d_{digest(experiment_id)}"
        self._write(_UPSERT, (id_, _DEFAULT, None, self._owner, state, _now()))

    def _own_view(self, id_: str) -> tuple[_View, bool]:
        """Return a view that the user may change, and whether it is in the file."""
        for is_in_file in (True, False):
            for view in self._read(is_in_file, f"{_VIEW} AND id = %s", (id_,)):
                if self._is_own(view, is_in_file=is_in_file):
                    return view, is_in_file
                reason = (
                    f"belongs to {view.owner}" if self._in_database else "is in the database, which is read-only here"
                )
                raise RequestError(f"the view {view.name!r} {reason}: save a copy", status=403)
        raise _unknown(id_)

    def _is_own(self, view: _View, *, is_in_file: bool) -> bool:
        return is_in_file or (self._in_database and view.owner == self._owner)

    def _write(self, sql: str, parameters: tuple[Any, ...]) -> None:
        with self._writing(is_in_file=not self._in_database) as client:
            client.execute(sql, parameters)

    @contextlib.contextmanager
    def _writing(self, *, is_in_file: bool) -> Iterator[Client]:
        """Return the client to write with; create the file and the table if they are missing."""
        if is_in_file:
            with self._file.writing() as client:
                yield client
            return
        create_table_once(self._client, TABLE)
        yield self._client

    def _read(self, is_in_file: bool, sql: str, parameters: tuple[Any, ...] = ()) -> list[_View]:
        return [_View(*row) for row in self._rows(is_in_file, sql, parameters)]

    def _rows(self, is_in_file: bool, sql: str, parameters: tuple[Any, ...]) -> list[Any]:
        return self._file.read(sql, parameters) if is_in_file else read_rows(self._client, sql, parameters)


def state_id(state: Any) -> str:
    """Return the id of a state."""
    return f"s_{digest(state)}"


def _checked_name(name: str) -> str:
    name = name.strip()
    if not name or len(name) > _LONGEST_NAME:
        raise RequestError(f"the name of a view must have 1 to {_LONGEST_NAME} characters")
    return name


def _unknown(id_: str) -> RequestError:
    return RequestError(f"there is no saved view {id_!r}", "unknown")


def _describe(view: _View) -> dict[str, Any]:
    return {**view._asdict(), "state": json.loads(view.state)}


def _now() -> datetime:
    return datetime.now(timezone.utc)
