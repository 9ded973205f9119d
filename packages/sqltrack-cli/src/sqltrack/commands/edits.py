"""Plan changes of runs and experiments, and apply them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from sqltrack.client import Client
from sqltrack.commands._databases import read_only, transaction
from sqltrack.commands._rows import lock_rows
from sqltrack.commands._sightings import Sight, refuse_changes

__all__ = ["Change", "Edit", "apply_edit", "plan_edit"]


class Change(NamedTuple):
    """A change of one field.

    Attributes:
        kind: "run" or "experiment".
        id: its id, None if it does not exist yet.
        field: the field that changes.
        old: its old value, None without one.
        new: its new value, None without one.
    """

    kind: str
    id: int | None
    field: str
    old: Any
    new: Any


def _see_nothing(connection: Any) -> Sight:
    """Return an empty record, because no other state matters."""
    return {}


@dataclasses.dataclass(frozen=True)
class Edit:
    """Planned changes.

    Attributes:
        changes: the changes, empty if there is nothing to change.
        find: takes a connection and returns the necessary changes.
        make: makes changes in the open transaction of a client.
        look: takes a connection and returns other state that must not change until then.
        seen: the result of `look` for the plan.
    """

    changes: list[Change]
    find: Callable[[Any], list[Change]] = dataclasses.field(repr=False)
    make: Callable[[Client, Sequence[Change]], None] = dataclasses.field(repr=False)
    look: Callable[[Any], Sight] = dataclasses.field(default_factory=lambda: _see_nothing, repr=False)
    seen: Sight = dataclasses.field(default_factory=dict, repr=False)


def plan_edit(
    client: Client,
    find: Callable[[Any], list[Change]],
    make: Callable[[Client, Sequence[Change]], None],
    look: Callable[[Any], Sight] = _see_nothing,
) -> Edit:
    """Find the necessary changes without making them.

    Args:
        client: client to use.
        find: see `Edit`.
        make: see `Edit`.
        look: see `Edit`; default: no other state matters.

    Raises:
        NotSetUpError: the database does not exist.
    """
    with read_only(client) as connection:
        return Edit(find(connection), find, make, look, look(connection))


def apply_edit(client: Client, edit: Edit, *, even_if_changed: bool = False) -> list[Change]:
    """Make the changes of an edit in one transaction, all or none.

    Args:
        client: client to use.
        edit: the planned changes.
        even_if_changed: whether to make the changes that are necessary now if they differ from the plan, because others
            have changed the same; default: no.

    Returns:
        The changes made.

    Raises:
        ConflictError: others have changed the same in the meantime; nothing was changed.
    """
    with transaction(client) as connection:
        for kind in ("experiment", "run"):
            lock_rows(client, connection, f"{kind}s", [change.id for change in edit.changes if change.kind == kind])
        changes = edit.find(connection)
        if not even_if_changed:
            before, after = _sights(edit.changes, changes)
            advice = "nothing was changed, look again"
            refuse_changes({**edit.seen, **before}, {**edit.look(connection), **after}, advice)
        edit.make(client, changes)
    return changes


def _sights(planned: Sequence[Change], needed: Sequence[Change]) -> tuple[Sight, Sight]:
    """Return the states on which the planned changes and the changes necessary now are based."""
    before: dict[tuple[str, int | str], dict[str, Any]] = {}
    after: dict[tuple[str, int | str], dict[str, Any]] = {}
    for change in planned:
        before.setdefault(_key(change), {})[change.field] = change.old
        # A change that is no longer necessary has its new value already.
        after.setdefault(_key(change), {})[change.field] = change.new
    for change in needed:
        after.setdefault(_key(change), {})[change.field] = change.old
    return before, after


def _key(change: Change) -> tuple[str, int | str]:
    return change.kind, str(change.new) if change.id is None else change.id
