"""Undo changes of tags, comments and statuses."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqltrack.client import Client
from sqltrack.commands._databases import transaction
from sqltrack.commands._rows import batches, fetch, lock_rows
from sqltrack.commands.edits import Change, Edit, apply_edit, plan_edit
from sqltrack.engines.json import jsonb
from sqltrack.errors import ConflictError
from sqltrack.util import placeholders

__all__ = ["UNDOABLE", "Applied", "Undo", "apply_undoable", "plan_undo"]

#: The fields whose changes can be undone.
UNDOABLE: tuple[str, ...] = ("comment", "status", "tags")

# Kind and id of a row.
_Row = tuple[str, int]


class Undo(NamedTuple):
    """Values of a field before and after an edit.

    Attributes:
        field: the field, one of `UNDOABLE`.
        before: the values before the edit, by kind ("run" or "experiment") and id.
        after: the values after the edit.
    """

    field: str
    before: Mapping[tuple[str, int], Any]
    after: Mapping[tuple[str, int], Any]


class Applied(NamedTuple):
    """An edit that was applied.

    Attributes:
        changes: the changes made.
        undo: how to undo them, None if they cannot be undone.
    """

    changes: list[Change]
    undo: Undo | None


def apply_undoable(client: Client, edit: Edit) -> Applied:
    """Make the changes of an edit in one transaction, all or none, and remember the old values.

    Args:
        client: client to use.
        edit: the planned changes.

    Raises:
        ConflictError: others have changed the same in the meantime; nothing was changed.
    """
    fields = {change.field for change in edit.changes}
    rows = [(change.kind, change.id) for change in edit.changes if change.id is not None]
    if len(fields) != 1 or not fields.issubset(UNDOABLE):
        return Applied(apply_edit(client, edit), None)
    (field,) = fields
    with transaction(client) as connection:
        before = _read(client, connection, field, rows)
        changes = apply_edit(client, edit)
        return Applied(changes, Undo(field, before, _read(client, connection, field, rows)))


def plan_undo(client: Client, undo: Undo) -> Edit:
    """Plan to set the old values again.

    Args:
        client: client to use.
        undo: the result of `apply_undoable`.

    Returns:
        The changes, for `sqltrack.commands.edits.apply_edit` or `apply_undoable`.

    Raises:
        ConflictError: a value has changed since the edit, or its run or experiment was deleted.
    """

    def find(connection: Any) -> list[Change]:
        now = _fetch(connection, undo.field, list(undo.before))
        for row, after in undo.after.items():
            if row not in now:
                raise ConflictError(f"{row[0]} {row[1]!r} was deleted", "nothing was undone")
            if now[row] not in (after, undo.before[row]):
                raise ConflictError(f"the {undo.field} of {row[0]} {row[1]!r} changed since", "nothing was undone")
        return [
            Change(kind, id_, undo.field, _shown(undo.field, now[kind, id_]), _shown(undo.field, before))
            for (kind, id_), before in undo.before.items()
            if now[kind, id_] != before
        ]

    def make(client: Client, changes: Sequence[Change]) -> None:
        equal: dict[tuple[str, str], list[int]] = {}
        values: dict[str, Any] = {}
        for change in changes:
            assert change.id is not None
            value = undo.before[change.kind, change.id]
            text = json.dumps(value, sort_keys=True)
            values[text] = jsonb(value) if undo.field == "tags" else value
            equal.setdefault((change.kind, text), []).append(change.id)
        for (kind, text), ids in equal.items():
            for batch in batches(ids):
                sql = f"UPDATE {kind}s SET {undo.field} = %s WHERE id IN ({placeholders(len(batch))})"
                client.execute(sql, (values[text], *batch))

    return plan_edit(client, find, make)


def _read(client: Client, connection: Any, field: str, rows: Sequence[_Row]) -> dict[_Row, Any]:
    """Return the values of rows, and lock them."""
    for kind in ("experiment", "run"):
        lock_rows(client, connection, f"{kind}s", [id_ for kind_, id_ in rows if kind_ == kind])
    return _fetch(connection, field, rows)


def _fetch(connection: Any, field: str, rows: Sequence[_Row]) -> dict[_Row, Any]:
    found: dict[_Row, Any] = {}
    for kind in ("experiment", "run"):
        for batch in batches([id_ for kind_, id_ in rows if kind_ == kind]):
            sql = f"SELECT id, {field} AS value FROM {kind}s WHERE id IN ({placeholders(len(batch))})"
            found.update(((kind, row["id"]), row["value"]) for row in fetch(connection, sql, batch))
    return found


def _shown(field: str, value: Any) -> Any:
    """Return tags as `sqltrack.commands.tag` shows them, and other values as they are."""
    return sorted(value or ()) if field == "tags" else value
