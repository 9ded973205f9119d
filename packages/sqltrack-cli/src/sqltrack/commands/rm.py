"""Delete runs, or an experiment with all its runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from sqltrack.client import Client
from sqltrack.commands._databases import read_only, transaction
from sqltrack.commands._deletion import count_links, delete_runs, find_active
from sqltrack.commands._lookup import find_experiment, find_runs
from sqltrack.commands._rows import fetch, lock_rows
from sqltrack.commands._sightings import (
    BELONGINGS,
    ROWS,
    Sight,
    look_at_experiment,
    look_at_runs,
    refuse_changes,
)
from sqltrack.commands.run_ranges import RunRange
from sqltrack.errors import ConflictError, NotFoundError, UnusableValueError

__all__ = ["Deletion", "apply_rm", "look_at_deletion", "plan_rm"]


class Deletion(NamedTuple):
    """A deletion of runs, or of an experiment with all its runs.

    Attributes:
        experiment: name of the experiment, None if only runs are deleted.
        runs: ids of the runs.
        metrics: number of their rows of metrics.
        links: number of links that begin or end at them, or at the experiment.
        experiment_id: id of the experiment, None if only runs are deleted.
        force: whether to also delete runs that are RUNNING and were updated in the last 10 minutes.
        seen: the state of the runs and the experiment in the plan.
    """

    experiment: str | None
    runs: list[int]
    metrics: int
    links: int
    experiment_id: int | None = None
    force: bool = False
    seen: Sight = MappingProxyType({})


def plan_rm(
    client: Client, runs: Iterable[int | RunRange] = (), *, experiment: str | None = None, force: bool = False
) -> Deletion:
    """Plan to delete runs, or an experiment with all its runs, with everything that belongs to them.

    Args:
        client: client to use.
        runs: ids of runs, and ranges of ids.
        experiment: name or id of an experiment, instead of runs.
        force: whether to also delete runs that are RUNNING and were updated in the last 10 minutes.

    Raises:
        ConflictError: (a ValueError) a run is still being logged to.
        NotFoundError: the run or experiment does not exist.
        UnusableValueError: (a ValueError) neither runs nor an experiment is named, or both are.
    """
    named = list(runs)
    if bool(named) == (experiment is not None):
        raise UnusableValueError("name either runs or an experiment to delete")
    with read_only(client) as connection:
        id_ = None if experiment is None else find_experiment(connection, experiment)
        chosen = find_runs(connection, named) if id_ is None else _runs_of(connection, id_)
        deletion = look_at_deletion(connection, chosen, id_, force=force)
        _refuse_active(connection, deletion)
    return deletion


def apply_rm(
    client: Client,
    deletion: Deletion,
    progress: Callable[[int], object] | None = None,
    *,
    even_if_changed: bool = False,
) -> Deletion:
    """Delete the runs of a plan, or its experiment; everything or nothing.

    Args:
        client: client to use.
        deletion: the plan.
        progress: called now and then with the number of runs done.
        even_if_changed: whether to also delete runs that have changed since the plan, or were added to the experiment;
            default: no.

    Returns:
        The deletion.

    Raises:
        ConflictError: (a ValueError) a run is being logged to by now; or runs or the experiment have changed since the
            plan. With `force`, runs that were already running may have logged in the meantime.
        NotFoundError: a run or the experiment was deleted.
    """
    with transaction(client) as connection:
        _lock(client, connection, deletion)
        current = look_at_deletion(
            connection, _runs_now(connection, deletion), deletion.experiment_id, force=deletion.force
        )
        _refuse_active(connection, current)
        if not even_if_changed:
            refuse_changes(deletion.seen, current.seen, "nothing was deleted, look again", may_progress=deletion.force)
        delete_runs(connection, current.runs, progress)
        if current.experiment_id is not None:
            connection.execute("DELETE FROM experiments WHERE id = %s", (current.experiment_id,))
    return current


def look_at_deletion(
    connection: Any, run_ids: Sequence[int], experiment_id: int | None = None, *, force: bool = False
) -> Deletion:
    """Return the deletion of runs, and of an experiment if given.

    Raises:
        NotFoundError: the experiment was deleted.
    """
    runs = look_at_runs(connection, run_ids, BELONGINGS)
    experiment = look_at_experiment(connection, experiment_id)
    if experiment_id is not None and not experiment:
        raise NotFoundError(f"there is no experiment {experiment_id!r} any more", "it was deleted")
    name = next((fields["name"] for fields in experiment.values()), None)
    links = count_links(connection, run_ids) + sum(fields["links"] for fields in experiment.values())
    metrics = sum(fields[ROWS] for fields in runs.values())
    return Deletion(name, list(run_ids), metrics, links, experiment_id, force, {**experiment, **runs})


def _lock(client: Client, connection: Any, deletion: Deletion) -> None:
    lock_rows(client, connection, "experiments", [deletion.experiment_id], for_deletion=True)
    # From here on, other connections cannot add runs to the experiment.
    runs = deletion.runs if deletion.experiment_id is None else _runs_of(connection, deletion.experiment_id)
    lock_rows(client, connection, "runs", runs, for_deletion=True)


def _runs_of(connection: Any, experiment_id: int) -> list[int]:
    rows = fetch(connection, "SELECT id FROM runs WHERE experiment_id = %s ORDER BY id", (experiment_id,))
    return [row["id"] for row in rows]


def _runs_now(connection: Any, deletion: Deletion) -> list[int]:
    """Return the ids of the runs that would be deleted now.

    Raises:
        NotFoundError: a run was deleted.
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
