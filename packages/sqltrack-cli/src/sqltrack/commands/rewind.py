"""Remove what a run has logged after a checkpoint."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

from sqltrack.client import Client
from sqltrack.commands._databases import read_only, transaction
from sqltrack.commands._lookup import require_runs
from sqltrack.commands._rows import fetch
from sqltrack.engines.admin import admin_of
from sqltrack.engines.schema import INT64
from sqltrack.errors import ConflictError, UnusableValueError

__all__ = ["Rewinding", "apply_rewind", "plan_rewind"]

# A run that was updated within this time is probably alive.
_ALIVE = timedelta(minutes=10)

# Counting the rows of one run takes no longer, however many there are.
_SECONDS = 600.0


class Rewinding(NamedTuple):
    """What rewinding a run means.

    Attributes:
        run_id: id of the run.
        step: step of the checkpoint, which stays.
        rows: number of rows after it.
        first_step: step of the first of them, None if there is none.
        last_step: step of the last of them, None if there is none.
        force: whether the run may be one that is running.
    """

    run_id: int
    step: int
    rows: int
    first_step: int | None
    last_step: int | None
    force: bool


def plan_rewind(client: Client, run_id: int, step: int, *, force: bool = False) -> Rewinding:
    """Plan to remove the rows of a run whose step is greater than that of a checkpoint.

    Args:
        client: client to use.
        run_id: id of the run.
        step: step of the checkpoint, which stays.
        force: whether to do so though the run is RUNNING and was updated in the last ten minutes.

    Raises:
        NotFoundError: there is no such run.
        ConflictError: (a ValueError) the run is running.
        UnusableValueError: (a ValueError) the step has more than 64 bits.
    """
    if step not in INT64:
        raise UnusableValueError(f"step must be an integer of at most 64 bits, got {step!r}")
    with read_only(client, _SECONDS) as connection:
        require_runs(connection, [run_id])
        sql = "SELECT status, time_updated FROM runs WHERE id = %s"
        run = fetch(connection, sql, (run_id,))[0]
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
    return Rewinding(run_id, step, rows, first, last, force)


def apply_rewind(client: Client, rewinding: Rewinding) -> Rewinding:
    """Remove what `plan_rewind` has found, all or nothing, and what was added after it in the meantime.

    Returns:
        What was removed.

    Raises:
        ConflictError: (a ValueError) the run has begun to run in the meantime.
    """
    run_id, step = rewinding.run_id, rewinding.step
    removed = 0
    with transaction(client) as connection:
        if not rewinding.force:
            # Changes nothing, but who starts the run has to wait until this is done.
            sql = """
                UPDATE runs SET status = status
                WHERE id = %s AND (status <> 'RUNNING' OR time_updated IS NULL OR time_updated < %s)
            """
            if not client.execute(sql, (run_id, datetime.now(timezone.utc) - _ALIVE)).rowcount:
                raise _running(run_id)
        for table in _tables(client, connection):
            sql = f"DELETE FROM {table} WHERE run_id = %s AND step > %s"
            removed += client.execute(sql, (run_id, step)).rowcount
    return rewinding._replace(rows=removed)


def _tables(client: Client, connection: Any) -> list[str]:
    pending = admin_of(client.engine).pending_table
    has_pending = pending is not None and bool(client.engine.table_columns(connection, pending))
    return ["metrics", *([pending] if pending is not None and has_pending else [])]


def _running(run_id: int) -> ConflictError:
    return ConflictError(
        f"run {run_id!r} is RUNNING and was updated in the last {_ALIVE.seconds // 60} minutes",
        "end it first, or add --force",
    )
