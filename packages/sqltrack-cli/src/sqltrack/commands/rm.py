"""Delete runs, or an experiment with all its runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from sqltrack.client import Client
from sqltrack.commands._deletion import Deletion, count_belongings, delete_runs, find_active
from sqltrack.commands._edits import changing, check_runs, lock_rows
from sqltrack.commands._records import fetch, find_experiment, reading
from sqltrack.errors import ConflictError, UnusableValueError

__all__ = ["rm"]


class _Chosen(NamedTuple):
    """What is to be deleted: runs, and perhaps the experiment that they belong to."""

    run_ids: list[int]
    experiment_id: int | None
    name: str | None


def rm(
    client: Client,
    run_ids: Iterable[int] = (),
    *,
    experiment: str | None = None,
    force: bool = False,
    dry_run: bool = False,
    agree: Callable[[Deletion], bool] | None = None,
    progress: Callable[[int], object] | None = None,
) -> Deletion | None:
    """Delete runs, or an experiment with all its runs, and everything that belongs to them; all of it or nothing.

    Args:
        client: client to use.
        run_ids: ids of runs.
        experiment: name or id of an experiment; then there are no runs.
        force: whether to delete also runs that are RUNNING and were updated within the last 10 minutes.
        dry_run: whether to change nothing.
        agree: is asked whether to delete that; default: nobody is.
        progress: called with the number of runs done, now and then.

    Returns:
        What was deleted, or would be if this were no dry run; None if there was no agreement.

    Raises:
        ConflictError: (a ValueError) a run is still going on; or the runs of the experiment have become others while
            somebody was asked.
        NotFoundError: there is no such run or experiment.
        UnusableValueError: (a ValueError) neither runs nor an experiment are named, or both.
    """
    ids = list(run_ids)
    if bool(ids) == (experiment is not None):
        raise UnusableValueError("name runs to delete, or an experiment, either")
    with reading(client) as connection:
        chosen = _choose(connection, ids, experiment, force)
        deletion = Deletion(chosen.name, chosen.run_ids, *_count(connection, chosen))
    if dry_run:
        return deletion
    if agree is not None and not agree(deletion):
        return None
    with changing(client) as connection:
        lock_rows(client, connection, "experiments", [chosen.experiment_id], for_deletion=True)
        lock_rows(client, connection, "runs", chosen.run_ids, for_deletion=True)
        if _choose(connection, ids, experiment, force) != chosen:
            raise ConflictError("somebody else has added or deleted runs in the meantime", "nothing was deleted")
        delete_runs(connection, chosen.run_ids, progress)
        if chosen.experiment_id is not None:
            connection.execute("DELETE FROM experiments WHERE id = %s", (chosen.experiment_id,))
    return deletion


def _choose(connection: Any, run_ids: Sequence[int], experiment: str | None, force: bool) -> _Chosen:
    """Return what is to be deleted.

    Raises:
        ConflictError: a run is still going on.
        NotFoundError: there is no such run or experiment.
    """
    if experiment is None:
        chosen = _Chosen(check_runs(connection, run_ids), None, None)
    else:
        id_ = find_experiment(connection, experiment)
        (row,) = fetch(connection, "SELECT name FROM experiments WHERE id = %s", (id_,))
        rows = fetch(connection, "SELECT id FROM runs WHERE experiment_id = %s ORDER BY id", (id_,))
        chosen = _Chosen([run["id"] for run in rows], id_, row["name"])
    active = {} if force else find_active(connection, chosen.run_ids)
    if active:
        run_id, reason = next(iter(active.items()))
        others = f" (and {len(active) - 1} more)" if len(active) > 1 else ""
        raise ConflictError(f"run {run_id!r}{others} {reason}", "end it first, or add --force; nothing was deleted")
    return chosen


def _count(connection: Any, chosen: _Chosen) -> tuple[int, int]:
    metrics, links = count_belongings(connection, chosen.run_ids)
    if chosen.experiment_id is not None:
        sql = "SELECT COUNT(*) AS number FROM experiment_links WHERE from_id = %s OR to_id = %s"
        links += fetch(connection, sql, (chosen.experiment_id, chosen.experiment_id))[0]["number"]
    return metrics, links
