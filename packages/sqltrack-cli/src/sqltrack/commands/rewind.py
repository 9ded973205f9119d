"""Remove the metrics that a run logged after a checkpoint."""

from __future__ import annotations

import contextlib
from datetime import datetime, timedelta, timezone
from types import MappingProxyType
from typing import Any, NamedTuple

from sqltrack.client import Client
from sqltrack.commands._databases import read_only, transaction
from sqltrack.commands._lookup import require_runs
from sqltrack.commands._rows import lock_rows
from sqltrack.commands._sightings import ROWS_AFTER, Sight, look_at_runs, refuse_changes
from sqltrack.commands.setup import create_table_once
from sqltrack.engines.admin import admin_of
from sqltrack.engines.schema import fits_int64
from sqltrack.errors import AccessDeniedError, ConflictError, ScriptError, UnusableValueError

__all__ = ["Rewinding", "apply_rewind", "plan_rewind"]

# The table of times and steps to which runs were rewound; the included script of that name creates it.
_RECORD = "rewinds"

# A run that was updated within this time is probably alive.
_ALIVE = timedelta(minutes=10)

# Counting the rows of one run never takes longer.
_SECONDS = 600.0


class Rewinding(NamedTuple):
    """The effects of rewinding a run.

    Attributes:
        run_id: id of the run.
        step: step of the checkpoint, which is kept.
        rows: number of rows after it.
        first_step: step of the first of them, None without rows.
        last_step: step of the last of them, None without rows.
        force: whether the run may be running.
        seen: the state of the run in the plan.
    """

    run_id: int
    step: int
    rows: int
    first_step: int | None
    last_step: int | None
    force: bool
    seen: Sight = MappingProxyType({})


def plan_rewind(client: Client, run_id: int, step: int, *, force: bool = False) -> Rewinding:
    """Plan to remove the rows of a run with a greater step than a checkpoint.

    Args:
        client: client to use.
        run_id: id of the run.
        step: step of the checkpoint, which is kept.
        force: whether to rewind a run that is RUNNING and was updated in the last 10 minutes.

    Raises:
        NotFoundError: the run does not exist.
        ConflictError: (a ValueError) the run is running.
        UnusableValueError: (a ValueError) the step has more than 64 bits.
    """
    if not fits_int64(step):
        raise UnusableValueError(f"step must be an integer of at most 64 bits, got {step!r}")
    with read_only(client, _SECONDS) as connection:
        return _look(client, connection, run_id, step, force=force)


def apply_rewind(client: Client, rewinding: Rewinding, *, even_if_changed: bool = False) -> Rewinding:
    """Remove the rows of a plan, all or none.

    Args:
        client: client to use.
        rewinding: the plan.
        even_if_changed: whether to also remove rows that the run has logged since, for example after it was resumed;
            default: no.

    Returns:
        The removed rows.

    Raises:
        ConflictError: (a ValueError) the run is running by now, or has changed since the plan. With `force`, a run that
            was already running may have logged in the meantime.
        NotFoundError: the run was deleted.
    """
    run_id, step = rewinding.run_id, rewinding.step
    with transaction(client) as connection:
        # A job that starts the run or adds rows waits for this lock.
        lock_rows(client, connection, "runs", [run_id], for_deletion=True)
        current = _look(client, connection, run_id, step, force=rewinding.force)
        if not even_if_changed:
            advice = "nothing was removed, look again"
            refuse_changes(rewinding.seen, current.seen, advice, may_progress=rewinding.force)
        removed = 0
        for table in _tables(client, connection):
            sql = f"DELETE FROM {table} WHERE run_id = %s AND step > %s"
            removed += client.execute(sql, (run_id, step)).rowcount
        _record(client, connection, run_id, step)
    client.metrics.invalidate()
    return current._replace(rows=removed)


def _record(client: Client, connection: Any, run_id: int, step: int) -> None:
    """Record that a run is rewound, so that its rows in an outbox do not come back.

    A user who may not create the table or write to it can still rewind the run.
    """
    refusals = (AccessDeniedError, ScriptError, client.engine.driver_error)
    with contextlib.suppress(*refusals), client.engine.savepoint(connection):
        create_table_once(client, _RECORD)
        sql = f"INSERT INTO {_RECORD} (run_id, time, step) VALUES (%s, %s, %s)"
        connection.execute(sql, (run_id, datetime.now(timezone.utc), step))


def _look(client: Client, connection: Any, run_id: int, step: int, *, force: bool) -> Rewinding:
    """Return the rows to remove.

    Raises:
        NotFoundError: the run does not exist.
        ConflictError: (a ValueError) the run is running.
    """
    require_runs(connection, [run_id])
    ((key, run),) = look_at_runs(connection, [run_id]).items()
    is_alive = run["time_updated"] is not None and datetime.now(timezone.utc) - run["time_updated"] < _ALIVE
    if run["status"] == "RUNNING" and is_alive and not force:
        raise _running(run_id)
    rows, first, last = 0, None, None
    for table in _tables(client, connection):
        sql = f"SELECT COUNT(*), MIN(step), MAX(step) FROM {table} WHERE run_id = %s AND step > %s"
        number, low, high = connection.execute(sql, (run_id, step)).fetchone()
        rows += number
        first = min((value for value in (first, low) if value is not None), default=None)
        last = max((value for value in (last, high) if value is not None), default=None)
    seen = {key: {**run, ROWS_AFTER: rows, "first step": first, "last step": last}}
    return Rewinding(run_id, step, rows, first, last, force, seen)


def _tables(client: Client, connection: Any) -> list[str]:
    pending = admin_of(client.engine).pending_table
    has_pending = pending is not None and bool(client.engine.table_columns(connection, pending))
    return ["metrics", *([pending] if pending is not None and has_pending else [])]


def _running(run_id: int) -> ConflictError:
    return ConflictError(
        f"run {run_id!r} is RUNNING and was updated in the last {_ALIVE.seconds // 60} minutes",
        "end it first, or add --force",
    )
