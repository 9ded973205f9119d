"""Delete runs by status, age or lack of metrics."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

from sqltrack.client import Client
from sqltrack.commands._databases import administering, read_only, transaction
from sqltrack.commands._deletion import delete_runs, find_active, last_sign
from sqltrack.commands._lookup import find_experiment
from sqltrack.commands._rows import batches, fetch, lock_rows
from sqltrack.commands._sightings import BELONGINGS, find_changes, look_at_runs
from sqltrack.commands.rm import Deletion, look_at_deletion
from sqltrack.errors import UnusableValueError
from sqltrack.statuses import UNFINISHED_STATES
from sqltrack.util import placeholders

__all__ = ["Criteria", "Garbage", "apply_gc", "plan_gc", "reclaim_space"]


class Criteria(NamedTuple):
    """Criteria for garbage: runs that meet all of them.

    Attributes:
        statuses: only runs with one of these statuses; if empty, runs that have ended.
        before: only runs without an update since this time, None for no limit.
        without_metrics: whether to choose only runs without metrics.
        experiment: name or id of an experiment, None for all.
        keep_tag: tag of runs to keep.
    """

    statuses: tuple[str, ...]
    before: datetime | None
    without_metrics: bool
    experiment: str | None
    keep_tag: str


class Garbage(NamedTuple):
    """Runs to delete, and runs that meet the criteria but are kept.

    Attributes:
        deletion: the deletion.
        tagged: ids of runs that are kept for their tag.
        linked: ids of runs that are kept because other kept runs link to them.
        active: ids of runs that are kept because they are still being logged to.
        criteria: the criteria.
        changed: ids of runs that are kept because they have changed since the plan.
    """

    deletion: Deletion
    tagged: list[int]
    linked: list[int]
    active: list[int]
    criteria: Criteria
    changed: Sequence[int] = ()


def plan_gc(
    client: Client,
    *,
    statuses: Collection[str] = (),
    older_than: timedelta | None = None,
    without_metrics: bool = False,
    experiment: str | None = None,
    keep_tag: str = "marked",
) -> Garbage:
    """Plan to delete runs that meet all criteria, with everything that belongs to them.

    This keeps runs with the tag, runs to which other kept runs link, runs that are still being logged to, and, unless
    their status is named, runs that have not ended.

    Args:
        client: client to use.
        statuses: only runs with one of these statuses.
        older_than: only runs without an update for this long.
        without_metrics: only runs without metrics.
        experiment: name or id of an experiment, default: all.
        keep_tag: tag of runs to keep, default "marked".

    Raises:
        NotFoundError: the experiment does not exist.
        UnusableValueError: (a ValueError) there are too few criteria.
    """
    _check(statuses, older_than, without_metrics, experiment)
    before = None if older_than is None else _ago(older_than)
    criteria = Criteria(tuple(statuses), before, without_metrics, experiment, keep_tag)
    with read_only(client) as connection:
        return _find(connection, criteria)


def apply_gc(
    client: Client,
    garbage: Garbage,
    progress: Callable[[int], object] | None = None,
    *,
    even_if_changed: bool = False,
) -> Garbage:
    """Delete the runs of a plan, all or none, except runs that must be kept by now.

    Args:
        client: client to use.
        garbage: the plan.
        progress: called now and then with the number of runs done.
        even_if_changed: whether to also delete runs that have changed since the plan, if they still meet the criteria;
            default: no.

    Returns:
        The deleted and the kept runs.
    """
    planned = garbage.deletion
    with transaction(client) as connection:
        lock_rows(client, connection, "runs", planned.runs, for_deletion=True)
        current = look_at_runs(connection, planned.runs, BELONGINGS)
        changes = {} if even_if_changed else find_changes(planned.seen, current)
        changed = sorted(
            {run_id for run_id in planned.runs if ("run", run_id) in changes and ("run", run_id) in current}
        )
        # Runs that have met the age in the meantime are not part of the plan.
        garbage = _find(connection, garbage.criteria, planned.runs, changed)
        delete_runs(connection, garbage.deletion.runs, progress)
    return garbage


def reclaim_space(client: Client) -> None:
    """Reclaim the space of deleted rows.

    Raises:
        DatabaseError: the database is in use, or refuses it for another reason.
    """
    with administering(client) as admin:
        admin.reclaim_space()


def _check(
    statuses: Collection[str], older_than: timedelta | None, without_metrics: bool, experiment: str | None
) -> None:
    if statuses or without_metrics:
        return
    if experiment is None:
        raise UnusableValueError("an age alone is not enough, add --status, --without-metrics or --experiment")
    if older_than is None:
        raise UnusableValueError(
            "an experiment alone is not enough, add --older-than, --status or --without-metrics "
            "(sqltrack rm --experiment deletes all its runs)"
        )


def _ago(duration: timedelta) -> datetime:
    try:
        return datetime.now(timezone.utc) - duration
    except OverflowError:
        raise UnusableValueError(f"nothing can be older than {duration!r}") from None


def _find(
    connection: Any, criteria: Criteria, among: Collection[int] | None = None, changed: Collection[int] = ()
) -> Garbage:
    """Return the runs that meet the criteria, among given runs or all, except changed ones."""
    rows = _candidates(connection, criteria)
    if among is not None:
        allowed = set(among)
        rows = [row for row in rows if row["id"] in allowed]
    tagged = [row["id"] for row in rows if criteria.keep_tag in (row["tags"] or {})]
    active = find_active(connection, [row["id"] for row in rows])
    kept = {*tagged, *active, *changed}
    chosen = {row["id"] for row in rows} - kept
    linked = _linked(connection, chosen)
    deletion = look_at_deletion(connection, sorted(chosen - linked))
    left = sorted(set(changed) - {*tagged, *active})
    return Garbage(deletion, tagged, sorted(linked), sorted(active.keys() - set(tagged)), criteria, left)


def _candidates(connection: Any, criteria: Criteria) -> list[dict[str, Any]]:
    """Return the runs that meet the criteria, before checking for reasons to keep them."""
    statuses = criteria.statuses or UNFINISHED_STATES
    conditions = [f"runs.status {'' if criteria.statuses else 'NOT '}IN ({placeholders(len(statuses))})"]
    parameters: list[Any] = [*statuses]
    if criteria.experiment is not None:
        conditions.append("runs.experiment_id = %s")
        parameters.append(find_experiment(connection, criteria.experiment))
    if criteria.without_metrics:
        conditions.append("NOT EXISTS (SELECT 1 FROM metrics WHERE metrics.run_id = runs.id)")
    sql = f"""
        SELECT id, tags, time_created, time_started, time_updated FROM runs
        WHERE {" AND ".join(conditions)} ORDER BY id
    """
    rows = fetch(connection, sql, parameters)
    return [row for row in rows if _is_old(row, criteria.before)]


def _is_old(row: dict[str, Any], before: datetime | None) -> bool:
    return before is None or last_sign(row) < before


def _linked(connection: Any, chosen: set[int]) -> set[int]:
    """Return the chosen runs to which kept runs link, directly or through other chosen runs."""
    targets = _links_to(connection, sorted(chosen))
    linked: set[int] = set()
    waiting = [to for from_, ends in targets.items() if from_ not in chosen for to in ends]
    while waiting:
        run_id = waiting.pop()
        if run_id not in linked:
            linked.add(run_id)
            waiting += targets.get(run_id, ())
    return linked


def _links_to(connection: Any, run_ids: Sequence[int]) -> Mapping[int, list[int]]:
    """Return the links that end at runs: the ends by start."""
    targets: dict[int, list[int]] = {}
    for batch in batches(run_ids):
        sql = f"SELECT from_id, to_id FROM run_links WHERE to_id IN ({placeholders(len(batch))})"
        for row in fetch(connection, sql, batch):
            targets.setdefault(row["from_id"], []).append(row["to_id"])
    return targets
