"""Kill jobs right after the last call of `add_metrics` has returned, and count the steps that were lost.

A job logs 200 steps to a tracked run, without a pause between them, and is killed with SIGKILL. Fails if a step is
lost.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

import sqltrack
from _common import Engine, Row, random_metrics, run_benchmark

JOBS = 10
QUICK_JOBS = 1
STEPS = 200
METRICS = 10


def main() -> None:
    rows = run_benchmark(__doc__, measure_engine)
    for row in rows:
        print(f"{row['version']:18}{row['lost']} of {row['confirmed']:,} steps lost")
    if any(row["lost"] for row in rows):
        sys.exit("steps were lost")


def measure_engine(engine: Engine, quick: bool) -> Iterator[Row]:
    jobs = QUICK_JOBS if quick else JOBS
    with engine.database() as database:
        for _ in range(jobs):
            run_killed_job(database.client.config)
        found = database.client.execute("SELECT count(*) FROM metrics").fetchone()[0]
    yield {
        "engine": engine.name,
        "version": engine.version,
        "what": "killed after the last of its calls",
        "jobs": jobs,
        "confirmed": jobs * STEPS,
        "lost": jobs * STEPS - found,
        "ways": {},
    }


def run_killed_job(config: dict[str, Any]) -> None:
    job = multiprocessing.get_context("spawn").Process(target=log_and_die, args=(config,))
    job.start()
    job.join()
    if job.exitcode != -signal.SIGKILL:
        raise RuntimeError(f"the job was not killed but ended with {job.exitcode}")


def log_and_die(config: dict[str, Any]) -> None:
    with sqltrack.Experiment(sqltrack.Client(config), name="kills").get_run().track() as run:
        for step, row in enumerate(random_metrics(METRICS, STEPS)):
            run.add_metrics(row, step=step)
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
