"""Time the start and end of a run with one step against the same statements by hand on one connection.

A job opens its connections, stores experiment, run, one step and the final status, and closes them. By hand, a job
opens one connection and commits each statement by itself, into the same tables. The second measurement does the same
200 times in a row, by hand on one connection for all.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import Any

import sqltrack
from _common import (
    BY_HAND,
    OURS,
    Database,
    Engine,
    Row,
    compare,
    connect_by_hand,
    random_metrics,
    run_benchmark,
    take_turns,
)

METRICS = 10
JOBS = 60
QUICK_JOBS = 2
RUNS = 200
QUICK_RUNS = 5
ROUNDS = 3
QUICK_ROUNDS = 1
NAME = "short jobs"
ARGS = {f"arg_{number}": number / 7 for number in range(20)}
TAGS = ("baseline", "small")
VALUES = random_metrics(METRICS, 1)[0]


def main() -> None:
    run_benchmark(__doc__, measure_engine)


def measure_engine(engine: Engine, quick: bool) -> Iterator[Row]:
    jobs, runs, rounds = (QUICK_JOBS, QUICK_RUNS, QUICK_ROUNDS) if quick else (JOBS, RUNS, ROUNDS)
    with engine.database() as database, silent():
        config = database.client.config

        def job(body: Callable[[sqltrack.Client], object]) -> Callable[[int], object]:
            # Each job has its own client.
            return lambda number: body(sqltrack.Client(config))

        times = take_turns({OURS: job(plain_job), BY_HAND: lambda number: job_by_hand(database)}, jobs)
        yield compare(engine, "begin, one step, end", times)
        times = take_turns(
            {
                "call by call": job(described_job),
                "with client": job(job_in_block),
                "track": job(job_in_one_line),
                BY_HAND: lambda number: described_job_by_hand(database),
            },
            jobs,
        )
        by_hand = times.pop(BY_HAND)
        for way, what in DESCRIBED.items():
            yield compare(engine, what, {OURS: times[way], BY_HAND: by_hand})
        times = take_turns(
            {OURS: lambda number: runs_in_a_row(config, runs), BY_HAND: lambda number: runs_by_hand(database, runs)},
            rounds,
        )
        yield compare(engine, f"{runs} such runs in a row", times, runs=runs)


DESCRIBED = {
    "call by call": "with args, env and tags",
    "with client": "with args, env and tags, in `with client:`",
    "track": "with args, env and tags, by `sqltrack.track`",
}


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Keep the lines that `sqltrack.track` prints for each run out of the table."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stderr(nowhere):
        yield
    sys.stderr.flush()


# With SQLTrack


def plain_job(client: sqltrack.Client) -> None:
    with sqltrack.Experiment(client, name=NAME).get_run().track() as run:
        run.add_metrics(VALUES, step=0)


def described_job(client: sqltrack.Client) -> None:
    run = sqltrack.Experiment(client, name=NAME).get_run()
    run.add_args(ARGS).add_env().add_tags(*TAGS)
    run.start()
    run.add_metrics(VALUES, step=0)
    run.stop()


def job_in_block(client: sqltrack.Client) -> None:
    with client:
        run = sqltrack.Experiment(client, name=NAME).get_run()
        run.add_args(ARGS).add_env().add_tags(*TAGS)
    with run.track():
        run.add_metrics(VALUES, step=0)


def job_in_one_line(client: sqltrack.Client) -> None:
    with sqltrack.track(NAME, args=ARGS, tags=TAGS, client=client) as run:
        run.add_metrics(VALUES, step=0)


def runs_in_a_row(config: dict[str, Any], count: int) -> None:
    client = sqltrack.Client(config)
    experiment = sqltrack.Experiment(client, name=NAME)
    for _ in range(count):
        with experiment.get_run().track() as run:
            run.add_metrics(VALUES, step=0)


# By hand


def job_by_hand(database: Database) -> None:
    with contextlib.closing(connect_by_hand(database.client.config)) as connection:
        finish_run(connection, insert_run(connection, insert_experiment(connection)))


def described_job_by_hand(database: Database) -> None:
    with contextlib.closing(connect_by_hand(database.client.config)) as connection:
        run_id = insert_run(connection, insert_experiment(connection))
        items = {"args": ARGS, "env": dict(os.environ), "tags": dict.fromkeys(TAGS, True)}
        for column, value in items.items():
            connection.execute(f"UPDATE runs SET {column} = %s WHERE id = %s", (json.dumps(value), run_id))
        finish_run(connection, run_id)


def runs_by_hand(database: Database, count: int) -> None:
    with contextlib.closing(connect_by_hand(database.client.config)) as connection:
        experiment_id = insert_experiment(connection)
        for _ in range(count):
            finish_run(connection, insert_run(connection, experiment_id))


def insert_experiment(connection: Any) -> int:
    """Return the id of the experiment, which exists after the first job."""
    sql = "SELECT id FROM experiments WHERE name = %s"
    found = connection.execute(sql, (NAME,)).fetchone()
    if found is None:
        connection.execute("INSERT INTO experiments (name) VALUES (%s) ON CONFLICT DO NOTHING", (NAME,))
        found = connection.execute(sql, (NAME,)).fetchone()
    return int(found[0])


def insert_run(connection: Any, experiment_id: int) -> int:
    sql = "INSERT INTO runs (experiment_id, time_created) VALUES (%s, %s) RETURNING id"
    return int(connection.execute(sql, (experiment_id, now())).fetchone()[0])


def finish_run(connection: Any, run_id: int) -> None:
    """Start a run, store one step, and stop it."""
    moment = now()
    started = "UPDATE runs SET status = 'RUNNING', time_started = %s, time_updated = %s WHERE id = %s"
    connection.execute(started, (moment, moment, run_id))
    connection.execute(METRICS_SQL, (run_id, 0, 0.0, *VALUES.values()))
    stopped = "UPDATE runs SET status = 'COMPLETED', time_updated = %s WHERE id = %s"
    connection.execute(stopped, (now(), run_id))


METRICS_SQL = (
    f"INSERT INTO metrics (run_id, step, progress, {', '.join(VALUES)}) VALUES (%s, %s, %s{', %s' * METRICS}) "
    f"ON CONFLICT (run_id, step, progress) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in VALUES)}"
)


def now() -> str:
    """Return the time as text that both databases accept and that sorts."""
    return datetime.now(timezone.utc).isoformat(sep=" ", timespec="microseconds")


if __name__ == "__main__":
    main()
