"""Give an overview of the database: numbers of runs, experiments, runs in progress, and recent changes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqltrack.engines.admin import Question
from sqltrack.statuses import ALIVE_STATES, find_state
from sqltrack.ui.queries._columns import Expressions
from sqltrack.ui.queries._database import Database
from sqltrack.ui.queries._filters import RUNS, parse_ids
from sqltrack.ui.queries._snippets import as_python, as_sql
from sqltrack.ui.queries._states import describe_states, read_heads
from sqltrack.ui.queries._values import as_json
from sqltrack.util import placeholders

__all__ = ["about", "changes", "experiments", "live"]

# Runs that are listed as running, at most.
_RUNNING = 500
# Metrics that are shown of a run.
_SHOWN = 4
# A run is stalled if it was silent for this many seconds, and for this many times the usual interval of its rows.
_SILENT, _INTERVALS = 120.0, 10.0
# Rows at the end of a run, to measure its rate.
_LAST = 50


def about(source: Database, spec: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return what the database is, with the numbers of its runs and experiments.

    Returns:
        A dict with engine, name (of the file without folders, or of the database), database (a description without
        password), schema, runs, experiments and time (now, by its clock).
    """
    engine = source.client.engine
    sql = "SELECT (SELECT COUNT(*) FROM runs) AS runs, (SELECT COUNT(*) FROM experiments) AS experiments"
    (numbers,), version = source.cached(("about",), lambda: source.fetch(sql))
    target = engine.target()
    return {
        "engine": engine.name,
        "name": os.path.basename(str(target.get("dbpath") or target.get("dbname") or engine.name)),
        "database": engine.describe(),
        "schema": engine.schema,
        **numbers,
        "time": as_json(source.now()),
        "version": version,
    }


def experiments(source: Database, spec: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return all experiments, those with the latest activity first.

    Returns:
        A dict with experiments (dicts with id, name, comment, tags, runs, by_status, first and last, the times of the
        first run's creation and of the last update, and links, dicts with relation, id, name and direction), version,
        sql and python.
    """
    found, version = source.cached(("experiments",), lambda: _read_experiments(source))
    sql = as_sql(f"{_EXPERIMENTS_SQL.strip()}\nLIMIT %s", [100_000])
    return {"experiments": found, "version": version, "sql": sql, "python": as_python(source, sql)}


_EXPERIMENTS_SQL = """
SELECT
    experiments.id, experiments.name, experiments.comment, COUNT(runs.id) AS runs,
    MIN(runs.time_created) AS first, MAX(runs.time_updated) AS last
FROM experiments LEFT JOIN runs ON runs.experiment_id = experiments.id
GROUP BY experiments.id, experiments.name, experiments.comment
ORDER BY COALESCE(MAX(runs.time_updated), MIN(runs.time_created)) DESC, experiments.id DESC
"""
_STATUSES_SQL = """
    SELECT experiment_id, status, COUNT(*) AS number, MIN(time_created) AS first, MAX(time_updated) AS last
    FROM runs
    GROUP BY experiment_id, status
    ORDER BY experiment_id, COUNT(*) DESC
"""


def _read_experiments(source: Database) -> list[dict[str, Any]]:
    rows, statuses, links = source.questions(
        [
            Question("SELECT id, name, comment, tags FROM experiments"),
            Question(_STATUSES_SQL),
            Question("SELECT from_id, kind, to_id FROM experiment_links ORDER BY from_id, kind, to_id"),
        ]
    )
    names = {row["id"]: row["name"] for row in rows}
    found: dict[int, dict[str, Any]] = {}
    for row in rows:
        tags = row["tags"]
        entry = {"id": row["id"], "name": row["name"], "comment": row["comment"], "runs": 0, "by_status": {}}
        tagged = list(tags) if isinstance(tags, Mapping) else []
        found[row["id"]] = {**entry, "tags": tagged, "first": None, "last": None, "links": []}
    for row in statuses:
        if row["experiment_id"] not in found:
            continue
        entry = found[row["experiment_id"]]
        entry["runs"] += row["number"]
        entry["by_status"][row["status"]] = row["number"]
        for name, choose in (("first", min), ("last", max)):
            times = [time for time in (entry[name], as_json(_as_time(row[name]))) if time is not None]
            entry[name] = choose(times, default=None)
    for row in links:
        for end, other, direction in ((row["from_id"], row["to_id"], "to"), (row["to_id"], row["from_id"], "from")):
            if end in found and other in names:
                link = {"relation": row["kind"], "id": other, "name": names[other], "direction": direction}
                found[end]["links"].append(link)
    return sorted(found.values(), key=lambda entry: (entry["last"] or entry["first"] or "", entry["id"]), reverse=True)


def _as_time(value: Any) -> Any:
    """Return a time; in SQLite, aggregates of times are text."""
    return datetime.fromisoformat(value) if isinstance(value, str) else value


def live(source: Database, spec: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the runs in progress, those with the latest activity first.

    Returns:
        A dict with runs, version and time, which is now by the database's clock. The runs are dicts with id,
        experiment_id, experiment, status, step, progress, updated and host. Their rate is in steps per second,
        seconds_left is None if progress does not tell it, and silent is the number of seconds since the last update.
        A run is stalled if it was silent for long. The metrics are the last values of at most four metrics.
    """
    found, version = source.cached(("live",), lambda: _read_live(source))
    now = source.now()
    return {"runs": [_with_silence(item, now) for item in found], "version": version, "time": as_json(now)}


def _read_live(source: Database) -> list[dict[str, Any]]:
    statuses = [row["status"] for row in source.fetch("SELECT DISTINCT status FROM runs")]
    alive = [status for status in statuses if find_state(status) in ALIVE_STATES]
    sql = f"""
        SELECT
            runs.id, runs.experiment_id, runs.experiment, runs.status, runs.time_created, runs.time_started,
            runs.time_updated, runs.extras, runs.env
        FROM {RUNS}
        WHERE runs.status IN ({placeholders(len(alive))})
        ORDER BY COALESCE(runs.time_updated, runs.time_created) DESC, runs.id DESC
        LIMIT %s
    """
    return [_describe_live(source, row) for row in source.fetch(sql, (*alive, _RUNNING))]


def _describe_live(source: Database, row: Mapping[str, Any]) -> dict[str, Any]:
    sql = "SELECT * FROM metrics WHERE run_id = %s ORDER BY step DESC, progress DESC LIMIT %s"
    first_sql = "SELECT step, progress FROM metrics WHERE run_id = %s ORDER BY step, progress LIMIT 1"
    count_sql = "SELECT COUNT(*) AS rows FROM metrics WHERE run_id = %s"
    last_rows, first_rows, counts = source.questions(
        [
            Question(sql, (row["id"], _LAST)),
            Question(first_sql, (row["id"],)),
            Question(count_sql, (row["id"],)),
        ]
    )
    last, first = (last_rows or [{}])[0], (first_rows or [{}])[0]
    elapsed = _seconds(row["time_started"], row["time_updated"]) or 0.0
    steps = (last.get("step") or 0) - (first.get("step") or 0)
    done, begun = last.get("progress") or 0.0, first.get("progress") or 0.0
    seconds_left = (1.0 - done) * elapsed / (done - begun) if elapsed and begun < done < 1.0 else None
    rows = counts[0]["rows"]
    return {
        **{name: row[name] for name in ("id", "experiment_id", "experiment", "status")},
        "step": as_json(last.get("step")),
        "progress": as_json(last.get("progress")),
        "rate": steps / elapsed if elapsed and steps > 0 else None,
        "seconds_left": seconds_left,
        "updated": row["time_updated"] or row["time_started"] or row["time_created"],
        "interval": elapsed / rows if elapsed and rows else 0.0,
        "host": _host(row),
        "metrics": _last_metrics(source, last_rows),
    }


def _with_silence(item: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    shown = {name: value for name, value in item.items() if name != "interval"}
    silent = None if item["updated"] is None else max((now - item["updated"]).total_seconds(), 0.0)
    is_stalled = silent is not None and silent > max(_SILENT, _INTERVALS * item["interval"])
    return {**shown, "updated": as_json(item["updated"]), "silent": silent, "stalled": is_stalled}


def _seconds(begin: datetime | None, end: datetime | None) -> float | None:
    return None if begin is None or end is None else (end - begin).total_seconds()


def _host(row: Mapping[str, Any]) -> str | None:
    """Return the name of the host of a run from its extras or environment, None if they do not have it."""
    extras, env = ({} if not isinstance(row[name], Mapping) else row[name] for name in ("extras", "env"))
    capture = extras.get("capture")
    for place in (extras, capture if isinstance(capture, Mapping) else {}):
        host = place.get("host")
        host = host.get("name") or host.get("hostname") if isinstance(host, Mapping) else host
        if isinstance(host, str):
            return host
    return next((str(env[name]) for name in ("SLURMD_NODENAME", "HOSTNAME") if env.get(name)), None)


def _last_metrics(source: Database, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the last numbers of the first metrics."""
    places = source.places()
    expressions = Expressions(source.admin(), places)
    found: list[dict[str, Any]] = []
    for name in places.columns:
        if expressions.metric_kind(name) != "number" or len(found) == _SHOWN:
            continue
        value = next((row[name] for row in rows if row.get(name) is not None), None)
        if value is not None:
            found.append({"name": name, "value": as_json(float("nan") if value == "NaN" else value)})
    return found


def changes(source: Database, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state of runs, to find out which have changed; cheap enough for every other second.

    Args:
        source: the database.
        spec: dict with runs (ids).

    Returns:
        A dict with version (of all data), runs (dicts with id, status, updated, rows and recent; runs that no longer
        exist are left out) and columns (a text that changes when metrics get columns). As calls write the time of a run
        at most once a second, `recent` is the version while updated may not tell of the last call; later it is None.
    """
    ids = parse_ids(spec.get("runs") or [])
    version = source.version()
    found: list[dict[str, Any]] = []
    # Some views ask for the version alone, every other second.
    if ids:
        key = ("changes", ids)
        found, _ = source.cached(key, lambda: describe_states(source, read_heads(source, ids), version), version)
    names = "\0".join(source.places(version).columns)
    digest = hashlib.blake2b(names.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    return {"version": version, "runs": found, "columns": digest}
