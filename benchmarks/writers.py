"""Let many processes log into one database at once, each to a run of its own, on SQLite and PostgreSQL.

All begin together once every one of them has imported what it needs; what is timed is from the first call of
`add_metrics` to the end of the last. Fails if a process meets an error, or a row is missing.
"""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import sqltrack
from _common import Engine, create_parser, open_engines, random_metrics, write_json

PROCESSES = (8, 32)
QUICK_PROCESSES = (4,)
ROWS = 200
METRICS = 10
# Seconds to wait for all processes to be there, on a machine that has other things to do.
PATIENCE = 120


def main() -> None:
    options = create_parser(__doc__).parse_args()
    counts = QUICK_PROCESSES if options.quick else PROCESSES
    results = [row for engine in open_engines(options.engines) for row in measure_engine(engine, counts)]
    print_table(results)
    write_json(options.json, results=results)
    if any(row["errors"] or row["found"] != row["rows"] for row in results):
        sys.exit("errors occurred, or rows are missing")


def measure_engine(engine: Engine, counts: Sequence[int]) -> Iterator[dict[str, Any]]:
    for count in counts:
        with engine.database() as database:
            reports = log_at_once(database.client.config, count)
            found = database.client.execute("SELECT count(*) FROM metrics").fetchone()[0]
        begin, end = min(report["begin"] for report in reports), max(report["end"] for report in reports)
        yield {
            "engine": engine.name,
            "version": engine.version,
            "processes": count,
            "rows": count * ROWS,
            "rows_s": round(found / (end - begin) * 1e9),
            "slowest_ms": round(max(report["slowest"] for report in reports) / 1e6, 1),
            "errors": [report["error"] for report in reports if report["error"] is not None],
            "found": found,
        }


def log_at_once(config: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """Return what `count` processes report."""
    # As programs of different users would: nothing is inherited from this process.
    context = multiprocessing.get_context("spawn")
    barrier, reports = context.Barrier(count), context.SimpleQueue()
    processes = [context.Process(target=log_rows, args=(config, barrier, reports)) for _ in range(count)]
    for process in processes:
        process.start()
    received = [reports.get() for _ in processes]
    for process in processes:
        process.join()
    return received


def log_rows(config: dict[str, Any], barrier: Any, reports: Any) -> None:
    """Log to a new run in this process, and report times in nanoseconds."""
    rows = random_metrics(METRICS, ROWS)
    begin = end = time.perf_counter_ns()
    slowest, error = 0, None
    try:
        client = sqltrack.Client(config)
        barrier.wait(PATIENCE)
        with sqltrack.Experiment(client, name="writers").get_run().track() as run:
            begin = end = time.perf_counter_ns()
            for step, row in enumerate(rows):
                run.add_metrics(row, step=step)
                before, end = end, time.perf_counter_ns()
                slowest = max(slowest, end - before)
    except Exception as problem:  # whatever it is, it is what is looked for
        error = repr(problem)
    reports.put({"begin": begin, "end": end, "slowest": slowest, "error": error})


def print_table(results: Sequence[dict[str, Any]]) -> None:
    print(f"{'database':20}{'processes':>10}{'rows/s':>10}{'slowest call, ms':>18}{'errors':>8}{'rows found':>16}")
    for row in results:
        found = f"{row['found']} of {row['rows']}"
        figures = f"{row['rows_s']:10,}{row['slowest_ms']:18.1f}{len(row['errors']):8}"
        print(f"{row['version']:20}{row['processes']:10}{figures}{found:>16}")
    for error in sorted({error for row in results for error in row["errors"]}):
        print(error, file=sys.stderr)


if __name__ == "__main__":
    main()
