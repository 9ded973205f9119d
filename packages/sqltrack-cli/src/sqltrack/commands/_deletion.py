"""Delete runs with everything that belongs to them, and find runs that are still being logged to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from sqltrack.commands._rows import batches, fetch
from sqltrack.statuses import ALIVE_STATES
from sqltrack.util import placeholders

__all__ = ["ACTIVE", "count_links", "delete_runs", "find_active", "last_sign"]

# A run whose status says that it is running, and that was updated less than this ago, is still being logged to.
ACTIVE = timedelta(minutes=10)


def count_links(connection: Any, run_ids: Sequence[int]) -> int:
    """Return the number of links that begin or end at runs."""
    links: set[tuple[int, str, int]] = set()
    for batch in batches(run_ids):
        for end in ("from_id", "to_id"):
            sql = f"SELECT from_id, kind, to_id FROM run_links WHERE {end} IN ({placeholders(len(batch))})"
            links.update((row["from_id"], row["kind"], row["to_id"]) for row in fetch(connection, sql, batch))
    return len(links)


def find_active(connection: Any, run_ids: Sequence[int], now: datetime | None = None) -> dict[int, str]:
    """Return the runs that seem to be still logging, each with a reason."""
    now = now or datetime.now(timezone.utc)
    active = {}
    for batch in batches(run_ids):
        sql = f"""
            SELECT id, status, time_created, time_started, time_updated FROM runs
            WHERE id IN ({placeholders(len(batch))}) AND status IN ({placeholders(len(ALIVE_STATES))})
        """
        for row in fetch(connection, sql, (*batch, *ALIVE_STATES)):
            silence = now - last_sign(row)
            if silence < ACTIVE:
                active[row["id"]] = f"is {row['status']} and was updated {max(silence.seconds, 0)} s ago"
    return active


def last_sign(row: dict[str, Any]) -> datetime:
    """Return the time of the last sign of life of a run."""
    time: datetime = row["time_updated"] or row["time_started"] or row["time_created"]
    return time


def delete_runs(connection: Any, run_ids: Sequence[int], progress: Callable[[int], object] | None = None) -> None:
    """Delete runs in the open transaction.

    Args:
        connection: the connection.
        run_ids: their ids.
        progress: called now and then with the number of runs done.
    """
    done = 0
    for batch in batches(run_ids):
        # The database also deletes the rows that refer to them: metrics, links, and those in tables of users.
        connection.execute(f"DELETE FROM runs WHERE id IN ({placeholders(len(batch))})", tuple(batch))
        done += len(batch)
        if progress is not None:
            progress(done)
