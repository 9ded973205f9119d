"""The states of runs, which tell a page when to ask for a run again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqltrack.ui.queries._database import Database
from sqltrack.ui.queries._rows import count_rows
from sqltrack.ui.queries._values import as_json
from sqltrack.util import placeholders

__all__ = ["Head", "describe_states", "read_heads"]


class Head(NamedTuple):
    """What decides whether results about a run are still valid.

    Attributes:
        status: its status.
        started: time of its start.
        updated: time of its last update.
    """

    status: str
    started: datetime | None
    updated: datetime | None


def read_heads(source: Database, ids: Sequence[int]) -> dict[int, Head]:
    """Return the heads of runs, in the order of the ids; runs that do not exist are left out."""
    sql = f"SELECT id, status, time_started, time_updated FROM runs WHERE id IN ({placeholders(len(ids))})"
    rows = {row["id"]: row for row in source.fetch(sql, ids)}
    return {
        run_id: Head(rows[run_id]["status"], rows[run_id]["time_started"], rows[run_id]["time_updated"])
        for run_id in ids
        if run_id in rows
    }


def describe_states(source: Database, heads: Mapping[int, Head], version: str) -> list[dict[str, Any]]:
    """Return the states of runs; see `changes`."""
    counts = count_rows(
        source, {run_id: source.run_version(version, head.status, head.updated) for run_id, head in heads.items()}
    )
    return [
        {
            "id": run_id,
            "status": head.status,
            "updated": as_json(head.updated),
            "rows": counts[run_id],
            "recent": None if source.is_settled(head.updated) else version,
        }
        for run_id, head in heads.items()
    ]
