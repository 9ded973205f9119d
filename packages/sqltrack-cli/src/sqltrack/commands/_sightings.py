"""Record the state of runs and experiments in a plan, to find changes before it is applied."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqltrack.commands._rows import batches, fetch
from sqltrack.errors import ConflictError
from sqltrack.statuses import ALIVE_STATES
from sqltrack.util import placeholders

__all__ = [
    "BELONGINGS",
    "PLACE",
    "ROWS",
    "ROWS_AFTER",
    "STATE",
    "Sight",
    "find_changes",
    "look_at_experiment",
    "look_at_runs",
    "refuse_changes",
]

#: A recorded state: fields and their values, by kind ("run" or "experiment") and id or name.
Sight = Mapping[tuple[str, int | str], Mapping[str, Any]]

#: Number of rows of metrics, as a field of runs.
ROWS = "rows of metrics"

#: Number of rows after a checkpoint, as `rewind` counts them.
ROWS_AFTER = "rows after the step"

#: Fields of runs: their experiment, their state, and everything that is deleted with them.
PLACE = ("experiment", "experiment id")
STATE = (*PLACE, "status", "time_created", "time_started", "time_updated")
BELONGINGS = (*STATE, "comment", "tags", ROWS, "links")

# Fields that a running job changes all the time.
_PROGRESS = frozenset({"time_updated", ROWS, ROWS_AFTER, "last step"})

_SHOWN_FIELDS = 3
_SHOWN_CHARACTERS = 60

_RUNS_SQL = """
    SELECT
        runs.id, runs.experiment_id AS "experiment id", experiments.name AS experiment, runs.status,
        runs.time_created, runs.time_started, runs.time_updated, runs.comment, runs.tags
    FROM runs JOIN experiments ON experiments.id = runs.experiment_id
    WHERE runs.id
"""


def look_at_runs(connection: Any, run_ids: Sequence[int], fields: Collection[str] = STATE) -> Sight:
    """Return fields of existing runs: `PLACE`, `STATE` or `BELONGINGS`."""
    seen: dict[tuple[str, int | str], dict[str, Any]] = {}
    for batch in batches(run_ids):
        among = f"IN ({placeholders(len(batch))})"
        numbers = _count_belongings(connection, batch) if ROWS in fields else {}
        for row in fetch(connection, f"{_RUNS_SQL} {among}", batch):
            row.update(numbers.get(row["id"], {}))
            seen["run", row["id"]] = {field: row[field] for field in fields}
    return seen


def look_at_experiment(connection: Any, experiment_id: int | None) -> Sight:
    """Return name, comment, tags and number of links of an experiment; nothing for None or a missing experiment."""
    if experiment_id is None:
        return {}
    sql = """
        SELECT name, comment, tags, (SELECT COUNT(*) FROM experiment_links WHERE from_id = %s OR to_id = %s) AS links
        FROM experiments WHERE id = %s
    """
    rows = fetch(connection, sql, (experiment_id,) * 3)
    return {("experiment", experiment_id): rows[0]} if rows else {}


def find_changes(before: Sight, after: Sight, *, may_progress: bool = False) -> dict[tuple[str, int | str], str]:
    """Return descriptions of the changes.

    Args:
        before: the state in the plan.
        after: the state now.
        may_progress: whether a run that was running, and still is, may have logged in the meantime.
    """
    changes: dict[tuple[str, int | str], str] = {}
    for key in [*before, *(key for key in after if key not in before)]:
        old, new = before.get(key), after.get(key)
        if old is None or new is None:
            changes[key] = "it is new" if old is None else "it is gone"
            continue
        goes_on = may_progress and old.get("status") in ALIVE_STATES and old.get("status") == new.get("status")
        fields = [name for name in old if old[name] != new[name] and not (goes_on and name in _PROGRESS)]
        if fields:
            shown = [f"{name} was {_show(old[name])}, is {_show(new[name])}" for name in fields[:_SHOWN_FIELDS]]
            changes[key] = ", ".join(shown)
    return changes


def refuse_changes(before: Sight, after: Sight, advice: str, *, may_progress: bool = False) -> None:
    """Check that nothing has changed since a plan was made.

    Args:
        before: the state in the plan.
        after: the state now.
        advice: what to do after a change.
        may_progress: see `find_changes`.

    Raises:
        ConflictError: (a ValueError) something has changed.
    """
    changes = find_changes(before, after, may_progress=may_progress)
    if changes:
        (kind, id_), what = next(iter(changes.items()))
        others = f" (and {len(changes) - 1} more)" if len(changes) > 1 else ""
        raise ConflictError(f"{kind} {id_!r}{others} has changed in the meantime: {what}", advice)


def _count_belongings(connection: Any, run_ids: Sequence[int]) -> dict[int, dict[str, int]]:
    """Return the numbers of rows of metrics of runs, and of links from and to them."""
    among = f"IN ({placeholders(len(run_ids))})"
    numbers = {run_id: {ROWS: 0, "links": 0} for run_id in run_ids}
    for field, table, column in ((ROWS, "metrics", "run_id"), *(("links", "run_links", f"{end}_id") for end in _ENDS)):
        sql = f"SELECT {column} AS id, COUNT(*) AS number FROM {table} WHERE {column} {among} GROUP BY {column}"
        for row in fetch(connection, sql, run_ids):
            numbers[row["id"]][field] += row["number"]
    return numbers


_ENDS = ("from", "to")


def _show(value: Any) -> str:
    if value is None:
        return "missing"
    text = value.isoformat(timespec="seconds") if isinstance(value, datetime) else repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 1]}…"
