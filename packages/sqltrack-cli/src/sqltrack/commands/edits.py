"""Changes of what is said about runs and experiments: planned by one function, made by another."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from sqltrack.client import Client
from sqltrack.commands._databases import read_only, transaction
from sqltrack.commands._rows import lock_rows
from sqltrack.errors import ConflictError

__all__ = ["Change", "Edit", "apply_edit", "plan_edit"]


class Change(NamedTuple):
    """A change of one thing.

    Attributes:
        kind: "run" or "experiment".
        id: its id, None if it has yet to be created.
        field: the field that changes.
        old: its value, None if there is none.
        new: its new value, None if none remains.
    """

    kind: str
    id: int | None
    field: str
    old: Any
    new: Any


@dataclasses.dataclass(frozen=True)
class Edit:
    """Changes that were planned, and not made yet.

    Attributes:
        changes: the changes, none if nothing has to be changed.
        find: returns the changes that are needed, as a connection shows the database.
        make: makes changes, in the open transaction of a client.
    """

    changes: list[Change]
    find: Callable[[Any], list[Change]] = dataclasses.field(repr=False)
    make: Callable[[Client, Sequence[Change]], None] = dataclasses.field(repr=False)


def plan_edit(
    client: Client, find: Callable[[Any], list[Change]], make: Callable[[Client, Sequence[Change]], None]
) -> Edit:
    """Find the changes that are needed, and change nothing.

    Args:
        client: client to use.
        find: see `Edit`.
        make: see `Edit`.

    Raises:
        NotSetUpError: there is no database.
    """
    with read_only(client) as connection:
        return Edit(find(connection), find, make)


def apply_edit(client: Client, edit: Edit, *, even_if_changed: bool = False) -> list[Change]:
    """Make the changes of an edit in one transaction, all or none.

    Args:
        client: client to use.
        edit: what to do.
        even_if_changed: whether to make other changes than those that were planned, if others have changed the same in
            the meantime; default: no.

    Returns:
        The changes made.

    Raises:
        ConflictError: others have changed the same in the meantime; nothing was changed.
    """
    with transaction(client) as connection:
        for kind in ("experiment", "run"):
            lock_rows(client, connection, f"{kind}s", [change.id for change in edit.changes if change.kind == kind])
        changes = edit.find(connection)
        if changes != edit.changes and not even_if_changed:
            raise ConflictError("somebody else has changed the same in the meantime", "nothing was changed, look again")
        edit.make(client, changes)
    return changes
