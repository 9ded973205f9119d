"""Let many processes log to one database at once, next to the same processes with a bare driver.

First with a run each, then all to one run. All start together after they have imported their modules, and the sides
take turns. The time is from the first call to the end of the last. Fails if a process raises an error or a row is
missing.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import sqltrack
from _common import (
    BY_HAND,
    OURS,
    Engine,
    Row,
    Turn,
    add_float_columns,
    compare,
    connect_by_hand,
    metric_names,
    random_metrics,
    run_benchmark,
)

ROWS = 200
METRICS = 10
ROUNDS = 3
QUICK_ROUNDS = 1
# Seconds to wait until all processes are ready, on a busy machine.
PATIENCE = 120
COLUMNS = ", ".join(metric_names(METRICS))
UPSERT_SQL = (
    f"INSERT INTO metrics (run_id, step, progress, {COLUMNS}) VALUES (%s, %s, 0{', %s' * METRICS}) "
    "ON CONFLICT (run_id, step, progress) DO UPDATE "
    f"SET {', '.join(f'{name} = excluded.{name}' for name in metric_names(METRICS))}"
)


class Load(NamedTuple):
    """How many processes log, and whether all log to one run."""

    processes: int
    one_run: bool

    def __str__(self) -> str:
        return f"{self.processes} processes, {'one run' if self.one_run else 'a run each'}"


LOADS = (Load(8, False), Load(32, False), Load(16, True))
QUICK_LOADS = (Load(1, False), Load(2, True))


def main() -> None:
    rows = run_benchmark(__doc__, measure_engine)
    errors = sorted({error for row in rows for error in row["errors"]})
    if errors or any(row["found"] != row["rows"] for row in rows):
        sys.exit("\n".join(["errors occurred, or rows are missing", *errors]))


def measure_engine(engine: Engine, quick: bool) -> Iterator[Row]:
    loads, rounds = (QUICK_LOADS, QUICK_ROUNDS) if quick else (LOADS, ROUNDS)
    for load in loads:
        with engine.database() as database:
            client = database.client
            add_float_columns(client, metric_names(METRICS))
            run = sqltrack.Experiment(client, name="writers").get_run()
            with run.track():
                reports = log_at_once(client.config, load.processes, run.id if load.one_run else None, rounds)
            found = client.execute("SELECT count(*) FROM metrics").fetchone()[0]
        yield compare(
            engine,
            str(load),
            {side: elapsed(reports, side, rounds) for side in (OURS, BY_HAND)},
            processes=load.processes,
            rows_each_time=load.processes * ROWS,
            rows=load.processes * ROWS * rounds * 2,
            found=found,
            slowest_ms=round(
                max((spell.slowest for report in reports for spell in report.spells[OURS]), default=0) / 1e6, 1
            ),
            errors=[report.error for report in reports if report.error is not None],
        )


class Spell(NamedTuple):
    """When a process started and finished logging its rows, and the time of its slowest call, in nanoseconds."""

    begin: int
    end: int
    slowest: int


class Report(NamedTuple):
    """The report of a process: its spells on each side, one for each round, and the error that ended it."""

    spells: dict[str, list[Spell]]
    error: str | None


def elapsed(reports: Sequence[Report], side: str, rounds: int) -> list[int]:
    """Return for each round the time from the first call of any process to the end of the last one."""
    spells = [[report.spells[side][number] for report in reports if not report.error] for number in range(rounds)]
    return [max(spell.end for spell in one) - min(spell.begin for spell in one) for one in spells if one]


def log_at_once(config: dict[str, Any], count: int, run_id: int | None, rounds: int) -> list[Report]:
    """Return the reports of `count` processes."""
    # Like programs of different users, they inherit nothing from this process.
    context = multiprocessing.get_context("spawn")
    barrier, reports = context.Barrier(count), context.SimpleQueue()
    processes = [
        context.Process(target=report_rows, args=(config, number, run_id, rounds, barrier, reports))
        for number in range(count)
    ]
    for process in processes:
        process.start()
    received = [reports.get() for _ in processes]
    for process in processes:
        process.join()
    return received


def report_rows(
    config: dict[str, Any], number: int, run_id: int | None, rounds: int, barrier: Any, reports: Any
) -> None:
    """Log in this process, and report it."""
    spells: dict[str, list[Spell]] = {OURS: [], BY_HAND: []}
    error = None
    try:
        log_rows(config, number, run_id, rounds, barrier, spells)
    except Exception as problem:  # any error counts
        error = repr(problem)
        barrier.abort()
    reports.put(Report(spells, error))


def log_rows(
    config: dict[str, Any],
    number: int,
    run_id: int | None,
    rounds: int,
    barrier: Any,
    spells: dict[str, list[Spell]],
) -> None:
    """Log by turns with SQLTrack and by hand, each time together with all other processes."""
    rows = random_metrics(METRICS, ROWS)
    client = sqltrack.Client(config)
    experiment = sqltrack.Experiment(client, name="writers")
    run = sqltrack.Run(client, run_id=run_id) if run_id is not None else experiment.get_run()
    with contextlib.closing(connect_by_hand(config)) as connection, run.track():
        ways: dict[str, Turn] = {
            OURS: lambda step: run.add_metrics(rows[step % ROWS], step=step),
            BY_HAND: lambda step: connection.execute(UPSERT_SQL, (run.id, step, *rows[step % ROWS].values())),
        }
        # Steps that no other process writes.
        step = number * rounds * len(ways) * ROWS
        for turn in range(rounds):
            for side in (OURS, BY_HAND) if turn % 2 == 0 else (BY_HAND, OURS):
                barrier.wait(PATIENCE)
                spells[side].append(time_spell(ways[side], range(step, step + ROWS)))
                step += ROWS
        barrier.wait(PATIENCE)


def time_spell(write: Turn, steps: range) -> Spell:
    begin = end = time.perf_counter_ns()
    slowest = 0
    for step in steps:
        write(step)
        before, end = end, time.perf_counter_ns()
        slowest = max(slowest, end - before)
    return Spell(begin, end, slowest)


if __name__ == "__main__":
    main()
