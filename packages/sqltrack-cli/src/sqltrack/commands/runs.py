"""List runs."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqltrack.client import Client
from sqltrack.commands._databases import read_only
from sqltrack.commands._lookup import find_experiment, metric_columns, near
from sqltrack.commands._points import read_extras
from sqltrack.commands._rows import batches, fetch, to_number
from sqltrack.commands._times import runtime
from sqltrack.engines.schema import INT64
from sqltrack.errors import NotFoundError
from sqltrack.queries import best_values
from sqltrack.util import placeholders

__all__ = ["list_runs", "varying_args"]

# Rows whose extras are looked at for names that the user may have meant.
_ROWS_FOR_ADVICE = 1_000

# What conditions see: the columns of runs, and those of experiments that do not have the same name.
_RUNS = """
    (
        SELECT
            runs.*, experiments.name AS experiment, experiments.comment AS experiment_comment,
            experiments.tags AS experiment_tags, experiments.extras AS experiment_extras
        FROM runs JOIN experiments ON experiments.id = runs.experiment_id
    ) AS runs
"""
_COLUMNS = "id, experiment, status, time_created, time_started, time_updated, tags, comment, args"


def list_runs(
    client: Client,
    experiment: str | None = None,
    *,
    where: str | None = None,
    best: str | None = None,
    maximize: bool = True,
    limit: int = 20,
    as_superuser: bool = False,
    progress: Callable[[int], object] | None = None,
) -> tuple[list[dict[str, Any]], int]:
    """Return runs, newest first, and how many there are.

    Args:
        client: client to use.
        experiment: name or id of an experiment, default: all.
        where: a condition in SQL that sees the columns of runs, and experiment (the name), experiment_comment,
            experiment_tags and experiment_extras.
        best: name of a metric whose best value is to be found.
        maximize: whether the greatest value is the best (default), or the smallest.
        limit: greatest number of runs, 0 for all.
        as_superuser: whether a superuser reads with all rights, default False.
        progress: called with the number of runs that have been read, now and then.

    Returns:
        Dicts with id, experiment, status, created, started, updated, runtime (None before the start), step (the last),
        best and best_step (None without a value), tags, comment and args; and the number of runs without the limit.

    Raises:
        NotFoundError: there is no such experiment or metric.
        DatabaseError: the database refused the condition.
    """
    with read_only(client, as_superuser=as_superuser, own_sql=where is None) as connection:
        conditions, parameters = [], []
        if experiment is not None:
            conditions.append("experiment_id = %s")
            parameters.append(find_experiment(connection, experiment))
        if where is not None:
            # With placeholders in the statement per cent signs are doubled. A comment may end the condition.
            conditions.append(f"({where.replace('%', '%%')}\n)")
        _check_metric(client, connection, best)
        chosen = f"{_RUNS} WHERE {' AND '.join(conditions)}" if conditions else "runs"
        run_ids, number = _newest(connection, chosen, parameters, limit)
        records: list[dict[str, Any]] = []
        for batch in batches(run_ids):
            found = _records(connection, batch)
            _add_steps(connection, found)
            if best is not None:
                _add_best(client, connection, found, best, maximize)
            records += [found[run_id] for run_id in batch]
            if progress is not None:
                progress(len(records))
        return records, number


def varying_args(records: Sequence[Mapping[str, Any]], *, longest: int = 20) -> list[str]:
    """Return the names of arguments in which runs differ and whose values are short, those first that all runs have.

    Args:
        records: what `list_runs` returned.
        longest: length of the longest values, as JSON text.
    """
    texts: dict[str, set[str]] = {}
    counts: dict[str, int] = {}
    for record in records:
        for name, value in (record["args"] or {}).items():
            texts.setdefault(name, set()).add(json.dumps(value))
            counts[name] = counts.get(name, 0) + 1
    varying = [
        name
        for name, values in texts.items()
        if (len(values) > 1 or counts[name] < len(records)) and max(map(len, values)) <= longest
    ]
    return sorted(varying, key=lambda name: (-counts[name], len(texts[name])))


def _check_metric(client: Client, connection: Any, metric: str | None) -> None:
    """Make sure that there is a metric, as a column or among the extras."""
    columns = metric_columns(client, connection) if metric is not None else {}
    if metric is None or metric in columns or any(read_extras(client, connection, name=metric)):
        return
    known = dict.fromkeys(columns)
    for row in itertools.islice(read_extras(client, connection), _ROWS_FOR_ADVICE):
        known.update(dict.fromkeys(row.values))
    raise NotFoundError(f"there is no metric {metric!r}", near(metric, known))


def _newest(connection: Any, chosen: str, parameters: Sequence[Any], limit: int) -> tuple[list[int], int]:
    """Return the ids of the newest of the chosen runs, and the number of all."""
    sql = f"SELECT id FROM {chosen} ORDER BY time_created DESC, id DESC LIMIT %s"
    run_ids = [row["id"] for row in fetch(connection, sql, (*parameters, limit or INT64[-1]))]
    if not limit or len(run_ids) < limit:
        return run_ids, len(run_ids)
    # A placeholder, so that the text is read as the one above.
    sql = f"SELECT COUNT(*) AS number FROM {chosen} LIMIT %s"
    return run_ids, fetch(connection, sql, (*parameters, 1))[0]["number"]


def _records(connection: Any, run_ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Return what the table runs holds of a batch of runs, by id."""
    records = {}
    sql = f"SELECT {_COLUMNS} FROM {_RUNS} WHERE id IN ({placeholders(len(run_ids))})"
    for row in fetch(connection, sql, run_ids):
        created, started, updated = (row.pop(f"time_{name}") for name in ("created", "started", "updated"))
        times = {"created": created, "started": started, "updated": updated, "runtime": runtime(started, updated)}
        records[row["id"]] = {**row, **times, "step": None, "best": None, "best_step": None}
    return records


def _add_steps(connection: Any, records: dict[int, dict[str, Any]]) -> None:
    sql = (
        f"SELECT run_id, MAX(step) AS step FROM metrics WHERE run_id IN ({placeholders(len(records))}) GROUP BY run_id"
    )
    for row in fetch(connection, sql, list(records)):
        records[row["run_id"]]["step"] = row["step"]


def _add_best(client: Client, connection: Any, records: dict[int, dict[str, Any]], metric: str, maximize: bool) -> None:
    run_ids = list(records)
    best: dict[int, tuple[Any, int, float]] = {}
    if metric in metric_columns(client, connection):
        for run_id, step, progress, value in connection.execute(
            *best_values(metric, maximize=maximize, run_ids=run_ids)
        ):
            best[run_id] = (to_number(value), step, progress)
    for row in read_extras(client, connection, run_ids, name=metric):
        run_id, step, progress = row.key
        value = to_number(row.values[metric])
        if _is_number(value) and _is_better((value, step, progress), best.get(run_id), maximize):
            best[run_id] = (value, step, progress)
    for run_id, (value, step, _) in best.items():
        records[run_id].update(best=value, best_step=step)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and value == value


def _is_better(new: tuple[Any, int, float], known: tuple[Any, int, float] | None, maximize: bool) -> bool:
    """Return whether a value with its step and progress goes before the one that is known; of equal ones the first."""
    if known is None:
        return True
    if not _is_number(known[0]) or new[0] == known[0]:
        return _is_number(known[0]) and new[1:] < known[1:]
    return bool(new[0] > known[0]) is maximize
