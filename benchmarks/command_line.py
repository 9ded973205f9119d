"""Time commands of the `sqltrack` program in fresh processes, next to a Python that only imports the modules they need.

These are argparse, and sqlite3 or psycopg. The database has 1,000 runs, and one run with 6,000 metrics.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import sqltrack
from _common import (
    BY_HAND,
    OURS,
    Database,
    Engine,
    Row,
    Turn,
    compare,
    fill_metrics,
    fill_runs,
    metric_names,
    random_metrics,
    run_benchmark,
    take_turns,
    write_config_file,
)

RUNS = 1_000
STEPS = 10
METRICS = 10
MANY_METRICS = 6_000
# Number of steps of the run with 6,000 metrics.
MANY_STEPS = 3
ROUNDS = 9
MANY_ROUNDS = 3

DRIVERS = {"sqlite": "sqlite3", "postgres": "psycopg"}


class Command(NamedTuple):
    """Name of the measurement, and arguments of the program."""

    what: str
    words: list[str]


def main() -> None:
    run_benchmark(__doc__, measure_engine)


def measure_engine(engine: Engine, quick: bool) -> Iterator[Row]:
    runs, many, rounds, many_rounds = (10, 20, 1, 1) if quick else (RUNS, MANY_METRICS, ROUNDS, MANY_ROUNDS)
    first = -1 if quick else 0
    with tempfile.TemporaryDirectory() as folder:
        with engine.database() as database:
            fill_runs(database.client, runs)
            fill_metrics(database.client, STEPS, metric_names(METRICS))
            database.settle()
            path = write_config_file(database, folder)
            commands = [
                Command("sqltrack --help", ["--help"]),
                Command(f"sqltrack ls, {runs:,} runs", ["ls"]),
                Command(f"sqltrack runs, {runs:,} runs", ["runs"]),
                Command(f"sqltrack show, {METRICS} metrics", ["show", "1"]),
            ]
            yield from measure_commands(engine, path, commands[first:], rounds)
        with engine.database() as database:
            store_many_metrics(database, many)
            path = write_config_file(database, folder)
            commands = [
                Command(f"sqltrack show, {many:,} metrics", ["show", "1"]),
                Command(f"sqltrack metrics, {many:,} metrics", ["metrics", "1"]),
            ]
            yield from measure_commands(engine, path, commands[first:], many_rounds)


def store_many_metrics(database: Database, count: int) -> None:
    with sqltrack.Experiment(database.client, name="many metrics").get_run().track() as run:
        for step, row in enumerate(random_metrics(count, MANY_STEPS)):
            run.add_metrics(row, step=step)


def measure_commands(engine: Engine, config_path: str, commands: Sequence[Command], rounds: int) -> Iterator[Row]:
    """Time all commands and the bare Python by turns, and yield a row for each command."""
    program = os.path.join(sysconfig.get_path("scripts"), "sqltrack")
    ways: dict[str, Turn] = {what: process([program, *words], config_path) for what, words in commands}
    bare = [sys.executable, "-c", f"import argparse, {DRIVERS[engine.name]}"]
    times = take_turns({**ways, BY_HAND: process(bare, config_path)}, rounds, warm_up=rounds // 2)
    for what, _ in commands:
        yield compare(engine, what, {OURS: times[what], BY_HAND: times[BY_HAND]})


def process(command: Sequence[str], config_path: str) -> Turn:
    environment = {**os.environ, "SQLTRACK_CONFIG_PATH": config_path}
    return lambda number: subprocess.run(  # noqa: S603
        command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment
    )


if __name__ == "__main__":
    main()
