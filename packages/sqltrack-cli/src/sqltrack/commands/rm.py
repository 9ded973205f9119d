"""Delete runs, or an experiment with all its runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from sqltrack.client import Client
from sqltrack.commands._databases import read_only, transaction
from sqltrack.commands._deletion import count_belongings, delete_runs, find_active
from sqltrack.commands._lookup import find_experiment, find_runs
from sqltrack.commands._rows import fetch, lock_rows
from sqltrack.commands.run_ranges import RunRange
from sqltrack.errors import ConflictError, UnusableValueError

__all__ = ["Deletion", "apply_rm", "plan_rm"]


class Deletion(NamedTuple):
    """What is to be deleted.

    Attributes:
        experiment: name of the experiment, None if only runs are deleted.
        runs: ids of the runs.
        metrics: number of their rows of metrics.
        links: number of links that begin or end at them, or at the experiment.
        experiment_id: id of the experiment, None if only runs are deleted.
        force: whether runs are also deleted that are RUNNING and were updated within the last 10 minutes.
    """

    experiment: str | None
    runs: list[int]
    metrics: int
    links: int
    experiment_id: int | None = None
    force: bool = False


def plan_rm(
    client: Client, runs: Iterable[int | RunRange] = (), *, experiment: str | None = None, force: bool = False
) -> Deletion:
    """Plan to delete runs, or an experiment with all its runs, and everything that belongs to them.

    Args:
        client: client to use.
        runs: ids of runs, and ranges of ids.
        experiment: name or id of an experiment; then there are no runs.
        force: whether to delete also runs that are RUNNING and were updated within the last 10 minutes.

    Raises:
        ConflictError: (a ValueError) a run is still being logged to.
        NotFoundError: there is no such run or experiment.
        UnusableValueError: (a ValueError) neither runs nor an experiment are named, or both.
    """
    named = list(runs)
    if bool(named) == (experiment is not None):
        raise UnusableValueError("name runs to delete, or an experiment, either")
    with read_only(client) as connection:
        if experiment is None:
            deletion = Deletion(None, find_runs(connection, named), 0, 0, None, force)
        else:
            id_ = find_experiment(connection, experiment)
            (row,) = fetch(connection, "SELECT name FROM experiments WHERE id = %s", (id_,))
            deletion = Deletion(row["name"], _runs_of(connection, id_), 0, 0, id_, force)
        _refuse_active(connection, deletion)
        metrics, links = _count(connection, deletion)
    return deletion._replace(metrics=metrics, links=links)


def apply_rm(client: Client, deletion: Deletion, progress: Callable[[int], object] | None = None) -> Deletion:
    """Delete what `plan_rm` has found, all of it or nothing.

    Args:
        client: client to use.
        deletion: what to delete.
        progress: called with the number of runs done, now and then.

    Returns:
        The same.

    Raises:
        ConflictError: (a ValueError) a run is being logged to by now; or runs were added or deleted in the meantime.
    """
    with transaction(client) as connection:
        lock_rows(client, connection, "experiments", [deletion.experiment_id], for_deletion=True)
        lock_rows(client, connection, "runs", deletion.runs, for_deletion=True)
        if _runs_now(connection, deletion) != deletion.runs:
            raise ConflictError("somebody else has added or deleted runs in the meantime", "nothing was deleted")
        _refuse_active(connection, deletion)
        delete_runs(connection, deletion.runs, progress)
        if deletion.experiment_id is not None:
            connection.execute("DELETE FROM experiments WHERE id = %s", (deletion.experiment_id,))
    return deletion


def _runs_of(connection: Any, experiment_id: int) -> list[int]:
    rows = fetch(connection, "SELECT id FROM runs WHERE experiment_id = %s ORDER BY id", (experiment_id,))
    return [row["id"] for row in rows]


def _runs_now(connection: Any, deletion: Deletion) -> list[int]:
    """Return the ids of the runs that would be deleted now.

    Raises:
        NotFoundError: a run has been deleted.
    """
    if deletion.experiment_id is None:
        return find_runs(connection, deletion.runs)
    return _runs_of(connection, deletion.experiment_id)


def _refuse_active(connection: Any, deletion: Deletion) -> None:
    active = {} if deletion.force else find_active(connection, deletion.runs)
    if active:
        run_id, reason = next(iter(active.items()))
        others = f" (and {len(active) - 1} more)" if len(active) > 1 else ""
        raise ConflictError(f"run {run_id!r}{others} {reason}", "end it first, or add --force; nothing was deleted")


def _count(connection: Any, deletion: Deletion) -> tuple[int, int]:
    """Return the number of rows of metrics, and that of links."""
    metrics, links = count_belongings(connection, deletion.runs)
    if deletion.experiment_id is not None:
        sql = "SELECT COUNT(*) AS number FROM experiment_links WHERE from_id = %s OR to_id = %s"
        links += fetch(connection, sql, (deletion.experiment_id, deletion.experiment_id))[0]["number"]
    return metrics, links
