"""List experiments."""

from __future__ import annotations

from typing import Any

from sqltrack.client import Client
from sqltrack.commands._databases import read_only
from sqltrack.commands._rows import ask, dicts
from sqltrack.engines.admin import Question

__all__ = ["list_experiments"]

# The times are columns, not results of functions, so that all databases return them as times.
_SQL = """
    SELECT
        experiments.id, experiments.name, COALESCE(counted.runs, 0) AS runs, COALESCE(counted.running, 0) AS running,
        newest.time_created, newest.time_started, newest.time_updated, experiments.tags, experiments.comment
    FROM experiments
    LEFT JOIN (
        SELECT
            experiment_id, COUNT(*) AS runs, COUNT(CASE WHEN status = 'RUNNING' THEN 1 END) AS running
        FROM runs
        GROUP BY experiment_id
    ) AS counted ON counted.experiment_id = experiments.id
    LEFT JOIN (
        SELECT
            experiment_id, time_created, time_started, time_updated,
            row_number() OVER (
                PARTITION BY experiment_id
                ORDER BY COALESCE(time_updated, time_started, time_created) DESC, id DESC
            ) AS place
        FROM runs
    ) AS newest ON newest.experiment_id = experiments.id AND newest.place = 1
    ORDER BY COALESCE(newest.time_updated, newest.time_started, newest.time_created) IS NULL,
        COALESCE(newest.time_updated, newest.time_started, newest.time_created) DESC, experiments.id DESC
"""


def list_experiments(client: Client, *, as_superuser: bool = False) -> list[dict[str, Any]]:
    """Return the experiments, the most recently updated first.

    Args:
        client: client to use.
        as_superuser: whether a superuser keeps all rights while reading, default False.

    Returns:
        Dicts with id, name, runs (number of runs), running (number of RUNNING runs), updated (time of the last sign of
        life of a run, None without runs), tags and comment.
    """
    with read_only(client, as_superuser=as_superuser) as connection:
        (cursor,) = ask(client, connection, [Question(_SQL)], are_last=True)
        return [_record(row) for row in dicts(cursor)]


def _record(row: dict[str, Any]) -> dict[str, Any]:
    updated = row["time_updated"] or row["time_started"] or row["time_created"]
    names = ("id", "name", "runs", "running")
    return {**{name: row[name] for name in names}, "updated": updated, "tags": row["tags"], "comment": row["comment"]}
