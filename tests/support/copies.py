"""Databases to copy, and their content in a form that does not depend on ids."""

from __future__ import annotations

import math
import random
from datetime import date, datetime, timedelta, timezone
from typing import Any

import sqltrack
from sqltrack.engines.json import jsonb
from support.connections import on_one_connection
from support.dumps import tables

__all__ = ["OLD", "address", "by_origin", "fill", "metrics_by_origin", "origins"]

OLD = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=timezone.utc)
_NAMES = ("loss", "Loss", 'odd "name"', "100%", "%s", "a'b;--", "ctid", "ä" * 40, "step two", "extras ", "RUN_ID")


def address(client: sqltrack.Client) -> str:
    """Return the name of a database on the command line."""
    config = client.config
    if config["engine"] == "sqlite":
        return str(config["dbpath"])
    return " ".join(f"{name}={config[name]}" for name in ("host", "port", "user", "dbname") if config.get(name))


def _canonical(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)]
    if isinstance(value, datetime):
        return value.astimezone(timezone.utc)
    return value


def origins(client: sqltrack.Client) -> dict[int, tuple[int, datetime]]:
    """Return the origin of each run."""
    found = {run_id: (run_id, _canonical(at)) for run_id, at in client.execute("SELECT id, time_created FROM runs")}
    if "copied_runs" in tables(client):
        for run_id, source_id, at in client.execute("SELECT run_id, source_id, time_created FROM copied_runs"):
            found[run_id] = (source_id, _canonical(at))
    return found


def metrics_by_origin(client: sqltrack.Client) -> dict[Any, dict[str, Any]]:
    origin = origins(client)
    rows: dict[Any, dict[str, Any]] = {}
    for table in ("metrics", "metrics_pending"):
        if table not in tables(client):
            continue
        result = client.execute(f"SELECT * FROM {table}")
        names = [column[0] for column in result.description]
        for values in result:
            row = dict(zip(names, values))
            key = (origin[row.pop("run_id")], row.pop("step"), row.pop("progress"))
            found = {**(row.pop("extras", None) or {})}
            found.update((name, value) for name, value in row.items() if value is not None)
            rows.setdefault(key, {}).update((name, _canonical(value)) for name, value in found.items())
    return rows


def by_origin(client: sqltrack.Client) -> dict[str, Any]:
    """Return the content of a database in a form that does not depend on ids or on where values are stored."""
    with on_one_connection(client):
        return _by_origin(client)


def _by_origin(client: sqltrack.Client) -> dict[str, Any]:
    origin = origins(client)
    columns = "status, time_created, time_started, time_updated, comment, tags, args, env, extras"
    names = dict(client.execute("SELECT id, name FROM experiments").fetchall())
    runs = client.execute(f"SELECT id, experiment_id, {columns} FROM runs").fetchall()
    return {
        "experiments": sorted(map(repr, client.execute("SELECT name, comment, tags, extras FROM experiments"))),
        "runs": {origin[run[0]]: (names[run[1]], *map(_canonical, run[2:])) for run in runs},
        "experiment_links": {
            (names[from_id], kind, names[to_id])
            for from_id, kind, to_id in client.execute("SELECT from_id, kind, to_id FROM experiment_links")
        },
        "run_links": {
            (origin[from_id], kind, origin[to_id])
            for from_id, kind, to_id in client.execute("SELECT from_id, kind, to_id FROM run_links")
        },
        "metrics": metrics_by_origin(client),
    }


def fill(client: sqltrack.Client, runs: int = 6, rows: int = 40) -> None:
    """Fill a database with values of every type."""
    with on_one_connection(client):
        _fill(client, runs, rows)


def _fill(client: sqltrack.Client, runs: int, rows: int) -> None:
    experiments = [sqltrack.Experiment(client, name=f"experiment {i}").add_tags(f"tag {i}") for i in range(3)]
    experiments[0].set_comment("50% 'off'").add_link("continues", experiments[1].id)
    client.execute("UPDATE experiments SET extras = %s WHERE id = %s", (jsonb({"a": [1.5, None]}), experiments[1].id))
    made = []
    for number in range(runs):
        run = experiments[number % 2].get_run(10 + 3 * number if number % 3 == 0 else None)
        run.set_args({"lr": 0.1 * number, "deep": {"er": [True, None, "ä"]}, "big": 2**60}).set_env({"PATH": "/bin"})
        run.add_tags("good").set_extras({"nan": math.nan}).set_comment(f"run {number}")
        client.metrics.add_many(run.id, [_row_of_metrics(step) for step in range(rows)], None)
        run.set_created(OLD + timedelta(microseconds=number)).set_started(OLD).set_updated(OLD + timedelta(hours=1))
        run.set_status(("COMPLETED", "FAILED", "RUNNING")[number % 3])
        made.append(run)
    for run in made[1:]:
        run.add_link("after", made[0].id)


def _row_of_metrics(step: int) -> dict[str, Any]:
    # There are about twenty different sets of metrics.
    randoms = random.Random(step % 20)
    row: dict[str, Any] = {"step": step, "progress": step / 7}
    row.update((name, randoms.random()) for name in _NAMES if randoms.random() < 0.7)
    special = {
        "int": step,
        "int then float": step if step < 5 else step + 0.5,
        "float": randoms.choice([math.nan, math.inf, -math.inf, 0.1, 1e300]),
        "bool": step % 2 == 0,
        "text": "ä%s\n'",
        "bytes": bytes(range(step % 5)),
        "date": date(2026, 1, 1) + timedelta(days=step),
        "datetime": OLD + timedelta(microseconds=step),
        "timedelta": timedelta(days=step, microseconds=1),
        "json": {"a": [step, None, {"b": "c"}]},
        "null": None,
        "huge int": 2**70,
        "mixed": "text" if step % 9 == 0 else 1.5,
    }
    row.update((name, value) for name, value in special.items() if randoms.random() < 0.6)
    return row if step else {"step": 0}
