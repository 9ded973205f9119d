"""Set the status of runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqltrack.client import Client
from sqltrack.commands._lookup import check_text, find_runs
from sqltrack.commands._rows import batches, fetch
from sqltrack.commands.edits import Change, Edit, plan_edit
from sqltrack.commands.run_ranges import RunRange
from sqltrack.errors import UnusableValueError
from sqltrack.util import placeholders

__all__ = ["plan_status"]


def plan_status(client: Client, runs: Iterable[int | RunRange], status: str) -> Edit:
    """Plan to set the status of runs, of all or none.

    This changes nothing else about the runs. A process that still logs to a run sets its own status when it ends.

    Args:
        client: client to use.
        runs: ids of runs, and ranges of ids.
        status: the status: PLANNED, RUNNING, COMPLETED, another state of a batch system, or any other text.

    Returns:
        The changes, for `sqltrack.commands.edits.apply_edit`.

    Raises:
        NotFoundError: a run does not exist.
        UnusableValueError: (a ValueError) no runs are given, or the status is empty or contains control characters.
    """
    named = list(runs)
    if not named:
        raise UnusableValueError("there are no runs whose status to set")
    new = check_text(status, "a status").strip()
    if not new.isprintable():
        raise UnusableValueError(f"a status must not contain control characters, got {status!r}")

    def find(connection: Any) -> list[Change]:
        changes: list[Change] = []
        for batch in batches(find_runs(connection, named)):
            sql = f"SELECT id, status FROM runs WHERE id IN ({placeholders(len(batch))})"
            old = {row["id"]: row["status"] for row in fetch(connection, sql, batch)}
            changes += [Change("run", id_, "status", old[id_], new) for id_ in batch if old[id_] != new]
        return changes

    def make(client: Client, changes: Sequence[Change]) -> None:
        for batch in batches(changes):
            sql = f"UPDATE runs SET status = %s WHERE id IN ({placeholders(len(batch))})"
            client.execute(sql, (new, *(change.id for change in batch)))

    return plan_edit(client, find, make)
