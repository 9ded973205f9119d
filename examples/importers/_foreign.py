"""Shared code of the importers: a run of another tracker, and how to store it in SQLTrack once."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timezone
from typing import Any, NamedTuple

import sqltrack

ENDLESS = ("PLANNED", "RUNNING")
SPECIAL_NUMBERS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class Point(NamedTuple):
    """One value of a metric."""

    name: str
    step: int
    value: Any


class ForeignRun(NamedTuple):
    """A run of another tracker.

    Attributes:
        origin: identifies the run in later imports, such as "mlflow:0123abcd".
        experiment: name of its experiment in SQLTrack.
        status: its status in SQLTrack.
        created: when it began.
        updated: when it ended, or last logged something.
        args: its parameters.
        points: returns its metrics, in the order in which they were logged; called only if they are needed.
        comment: a name or a note.
        tags: its tags.
        extras: anything else.
        parent: origin of its parent run.
    """

    origin: str
    experiment: str
    status: str
    created: datetime | None
    updated: datetime | None
    args: Mapping[str, Any]
    points: Callable[[], Iterable[Point]]
    comment: str | None = None
    tags: tuple[str, ...] = ()
    extras: Mapping[str, Any] = {}
    parent: str | None = None


class Known(NamedTuple):
    """A run that an earlier import has stored."""

    run_id: int
    status: str
    updated: datetime | None


def store_runs(client: sqltrack.Client, runs: Iterable[ForeignRun]) -> Counter[str]:
    """Store runs of another tracker, and return how many were new, continued or unchanged.

    A run that had ended and has logged nothing since stays as it is in SQLTrack, including changes that you made there.
    """
    known = find_known(client)
    counts: Counter[str] = Counter()
    parents: dict[int, str] = {}
    for run in runs:
        found = known.get(run.origin)
        counts["new" if found is None else "unchanged" if is_complete(found, run) else "continued"] += 1
        if found is None or not is_complete(found, run):
            known[run.origin] = found = store_run(client, run, found)
        if run.parent is not None:
            parents[found.run_id] = run.parent
    for child_id, parent in parents.items():
        if parent in known:
            sqltrack.run_add_link(client, child_id, "child of", known[parent].run_id)
    return counts


def find_known(client: sqltrack.Client) -> dict[str, Known]:
    """Return the runs of earlier imports, by their origin."""
    rows = client.execute("""
        SELECT id, status, time_updated, extras FROM runs WHERE CAST(extras AS TEXT) LIKE '%"imported_from"%'
    """)
    return {row[3]["imported_from"]: Known(*row[:3]) for row in rows if "imported_from" in row[3]}


def is_complete(known: Known, run: ForeignRun) -> bool:
    """Return whether a stored run is complete."""
    is_newer = run.updated is not None and (known.updated is None or known.updated < run.updated)
    return known.status not in ENDLESS and not is_newer


def store_run(client: sqltrack.Client, run: ForeignRun, known: Known | None) -> Known:
    """Store a run, or the part that is missing.

    The status is set last: after an interrupted import it is still PLANNED, and the next import continues.
    """
    if known is None:
        with client:
            stored = sqltrack.Experiment(client, name=run.experiment).get_run()
            stored.set_created(run.created).set_started(run.created).add_extras({"imported_from": run.origin})
    else:
        stored = sqltrack.Run(client, run_id=known.run_id)
    left_out = store_points(stored, run.points())
    extras = {**run.extras, **({"left_out": left_out} if left_out else {})}
    with client:
        stored.add_args(run.args).add_tags(*run.tags).add_extras(extras).set_comment(run.comment)
        stored.set_status(run.status).set_updated(run.updated)
    return Known(stored.id, run.status, run.updated)


def store_points(run: sqltrack.Run, points: Iterable[Point]) -> list[str]:
    """Store metrics, and return the names of those that are not values, such as images.

    If a metric has several values at the same step, the first has progress 0, the second 1, and so on.
    """
    rows: dict[tuple[int, int], dict[str, Any]] = {}
    repeats: Counter[tuple[str, int]] = Counter()
    left_out = set()
    for name, step, value in points:
        if isinstance(value, dict) and "_type" in value:
            left_out.add(name)
            continue
        rows.setdefault((step, repeats[name, step]), {})[name] = value
        repeats[name, step] += 1
    store_rows(run, rows)
    return sorted(left_out)


def store_rows(run: sqltrack.Run, rows: Mapping[tuple[int, int], Mapping[str, Any]]) -> None:
    """Store rows by step and progress; a metric may also be called "step"."""
    many = []
    for (step, progress), metrics in rows.items():
        reserved = {name: metrics[name] for name in ("step", "progress") if name in metrics}
        if reserved:
            run.add_metrics(reserved, step, progress, updated=None)
        others = {name: value for name, value in metrics.items() if name not in reserved}
        many.append({**others, "step": step, "progress": progress})
    run.add_metrics_many(many, updated=None)


def utc(text: str | None) -> datetime | None:
    """Return the time from a text in ISO format, in UTC if the text names no time zone."""
    if text is None:
        return None
    time = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return time if time.tzinfo is not None else time.replace(tzinfo=timezone.utc)


def number(value: Any) -> Any:
    """Return a number for the texts "NaN" and "Infinity" that JSON may contain, and other values as they are."""
    return SPECIAL_NUMBERS.get(value, value) if isinstance(value, str) else value


def report(counts: Mapping[str, int]) -> None:
    """Print how many runs were imported."""
    print(f"{counts['new']} new runs, {counts['continued']} continued, {counts['unchanged']} unchanged")
