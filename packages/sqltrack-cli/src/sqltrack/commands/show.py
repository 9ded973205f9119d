"""Describe runs in full."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from sqltrack.capture._summary import split_extras, with_packages
from sqltrack.client import Client
from sqltrack.commands._databases import read_only
from sqltrack.commands._lookup import find_runs
from sqltrack.commands._points import find_places, read_chunks
from sqltrack.commands._rows import fetch
from sqltrack.commands._times import runtime
from sqltrack.commands.run_ranges import RunRange

__all__ = ["describe_run", "describe_runs"]

_RUN_SQL = """
    SELECT
        runs.id, runs.status, runs.time_created, runs.time_started, runs.time_updated, experiments.id AS experiment_id,
        experiments.name AS experiment, runs.comment, runs.tags, runs.args, runs.extras, runs.env
    FROM runs JOIN experiments ON experiments.id = runs.experiment_id
    WHERE runs.id = %s
"""
_LINKS_SQL = """
    SELECT from_id, kind, to_id FROM run_links WHERE from_id = %s
    UNION
    SELECT from_id, kind, to_id FROM run_links WHERE to_id = %s
    ORDER BY from_id, kind, to_id
"""


def describe_run(client: Client, run_id: int, *, as_superuser: bool = False) -> dict[str, Any]:
    """Return everything in the database about a run, with a summary of its metrics.

    Args:
        client: client to use.
        run_id: id of the run.
        as_superuser: whether a superuser keeps all rights while reading, default False.

    Returns:
        A dict with id, status, created, started, updated, runtime, experiment_id, experiment (its name), comment, tags,
        args, extras and env; capture, the captured context with its packages, if any (extras are without it);
        links, a list of dicts with from_id, kind and to_id for the links that begin or end at the
        run; and metrics, a list of dicts with metric (its name), last and last_step, min and min_step, max and max_step
        (None without numbers; the first of equal values), values (number of values that are not NULL) and nan (number
        of NaN among them).

    Raises:
        NotFoundError: the run does not exist.
    """
    return describe_runs(client, [run_id], as_superuser=as_superuser)[0]


def describe_runs(
    client: Client, runs: Iterable[int | RunRange], *, as_superuser: bool = False
) -> list[dict[str, Any]]:
    """Return the same as `describe_run` for several runs, in the given order.

    Args:
        client: client to use.
        runs: ids of runs, or ranges of ids.
        as_superuser: whether a superuser keeps all rights while reading, default False.

    Raises:
        NotFoundError: a run does not exist, or a range has no runs.
    """
    with read_only(client, as_superuser=as_superuser) as connection:
        described = [_describe(client, connection, run_id) for run_id in find_runs(connection, runs)]
    captured = [run for run in described if "capture" in run]
    captures = with_packages(
        client, [run["capture"] for run in captured], lambda: read_only(client, as_superuser=as_superuser)
    )
    for run, capture in zip(captured, captures):
        run["capture"] = capture
    return described


def _describe(client: Client, connection: Any, run_id: int) -> dict[str, Any]:
    (row,) = fetch(connection, _RUN_SQL, (run_id,))
    created, started, updated = (row.pop(f"time_{name}") for name in ("created", "started", "updated"))
    times = {"created": created, "started": started, "updated": updated, "runtime": runtime(started, updated)}
    row["extras"], capture = split_extras(row["extras"])
    if capture:
        row["capture"] = capture
    links = fetch(connection, _LINKS_SQL, (run_id, run_id))
    metrics = _summarize(client, connection, run_id)
    return {"id": row.pop("id"), "status": row.pop("status"), **times, **row, "links": links, "metrics": metrics}


def _summarize(client: Client, connection: Any, run_id: int) -> list[dict[str, Any]]:
    """Return a summary of each metric of a run."""
    places = find_places(client, connection)
    summaries: dict[str, _Summary] = {}
    for chunk in read_chunks(client, connection, run_id, places):
        steps = [step for _, step, _ in chunk.keys]
        for name, values in chunk.values.items():
            summary = summaries.get(name)
            if summary is None:
                summary = summaries[name] = _Summary(name)
            for step, value in zip(steps, values):
                if value is not None:
                    summary.add(step, value)
    return [summaries[name].record for name in places.sort(summaries)]


class _Summary:
    """The summary of a metric."""

    def __init__(self, metric: str) -> None:
        steps = {"last": None, "last_step": None, "min": None, "min_step": None, "max": None, "max_step": None}
        self.record: dict[str, Any] = {"metric": metric, **steps, "values": 0, "nan": 0}

    def add(self, step: int, value: Any) -> None:
        """Add a value at a step that is not before the earlier ones."""
        record = self.record
        record["last"], record["last_step"] = value, step
        record["values"] += 1
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return
        if math.isnan(value):
            record["nan"] += 1
            return
        if record["min"] is None or value < record["min"]:
            record["min"], record["min_step"] = value, step
        if record["max"] is None or value > record["max"]:
            record["max"], record["max_step"] = value, step
