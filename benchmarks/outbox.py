"""Time `add_metrics` with the outbox against the same call without it and against a local file.

Without an outage: `outbox = on` against `off`, on each database. On PostgreSQL also `outbox = always` over a network
with round trips of 50 ms, against a SQLite file without an outbox. The sides take turns in one process. Fails if a row
is missing.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import sqltrack
from _common import (
    BY_HAND,
    OURS,
    Engine,
    Row,
    Turn,
    add_float_columns,
    apart,
    compare,
    keep_fastest,
    metric_names,
    random_metrics,
    run_benchmark,
    take_turns,
)
from sqltrack.commands.setup import set_up_quietly

METRICS = 10
BATCH = 50
WARM_UP = 2
ROUNDS = 100
QUICK_ROUNDS = 2

# Pairs of connections; the fastest pair counts.
CONNECTIONS = 6

# Seconds of a round trip to a remote database.
ROUND_TRIP = 0.05

# Seconds within which all rows must have arrived there.
PATIENCE = 120


def main() -> None:
    run_benchmark(__doc__, measure_engine)


def measure_engine(engine: Engine, quick: bool) -> Iterator[Row]:
    rounds = QUICK_ROUNDS if quick else ROUNDS
    with engine.database() as database, apart(database.client), tempfile.TemporaryDirectory() as folder:
        config = database.client.config
        add_float_columns(database.client, metric_names(METRICS))
        sides = {OURS: {**config, **outbox(folder, "on")}, BY_HAND: {**config, "outbox": "off"}}
        measure = partial(measure_sides, sides, rounds)
        yield compare(engine, "`on` and `off`", keep_fastest(measure, 1 if quick else CONNECTIONS))
        host = str(config.get("host", ""))
        if engine.name == "postgres" and host.startswith("/"):
            with far_away(f"{host}/.s.PGSQL.{config.get('port', 5432)}") as address:
                sides = {OURS: {**config, **address, **outbox(folder, "always")}, BY_HAND: local_file(folder)}
                yield compare(engine, "`always`, 50 ms away, and a SQLite file", measure_sides(sides, rounds))


def outbox(folder: str, mode: str) -> dict[str, Any]:
    """Return settings for an outbox in a folder."""
    return {"outbox": mode, "outbox_dir": os.path.join(folder, "outbox")}


def local_file(folder: str) -> dict[str, Any]:
    """Return the configuration of a SQLite file that is set up."""
    config = {"engine": "sqlite", "dbpath": os.path.join(folder, "sqltrack.db"), "outbox": "off"}
    set_up_quietly(sqltrack.Client(config))
    return config


@contextlib.contextmanager
def far_away(path: str) -> Iterator[dict[str, Any]]:
    """Provide a server with long round trips, by the path of its Unix socket."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
    from support.counting_proxy import CountingProxy

    with CountingProxy(path, ROUND_TRIP) as proxy:
        yield {"host": "127.0.0.1", "port": proxy.port}


def measure_sides(sides: Mapping[str, Mapping[str, Any]], rounds: int) -> dict[str, list[int]]:
    """Return the nanoseconds of all calls of each side; a side is a configuration."""
    rows = random_metrics(METRICS, BATCH)
    with contextlib.ExitStack() as stack:
        runs = {}
        for name, config in sides.items():
            client = sqltrack.Client(config)
            runs[name] = stack.enter_context(sqltrack.Experiment(client, name="outbox").get_run().track())
        times = take_turns(
            {name: log_to(run, rows) for name, run in runs.items()}, rounds, batch=BATCH, warm_up=WARM_UP
        )
        for run in runs.values():
            assert run.flush(PATIENCE), "not all rows have arrived"
    for run in runs.values():
        stored = run.client.execute("SELECT count(*) FROM metrics WHERE run_id = %s", (run.id,)).fetchone()[0]
        assert stored == (rounds + WARM_UP) * BATCH, f"{stored} rows were stored"
    return times


def log_to(run: sqltrack.Run, rows: list[dict[str, float]]) -> Turn:
    """Return a function that logs a step."""
    return lambda step: run.add_metrics(rows[step % BATCH], step=step)


if __name__ == "__main__":
    main()
