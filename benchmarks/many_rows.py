"""Time `add_metrics_many` beside `executemany` by hand, and weigh what a stored value takes, on SQLite and PostgreSQL.

Both sides get the same dicts and store each batch in one transaction, by turns in the same process; what counts is the
ratio. The size is what the metrics take on disk with their index, over the number of values; a float has 8 bytes.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import sqltrack
from _common import Engine, create_parser, metric_names, open_engines, random_metrics, write_json

METRICS = 10
ROWS = 10_000
QUICK_ROWS = 1_000
ROUNDS = 5
# Number of metrics in a row, and how many rows are weighed.
WEIGHED = {10: 20_000, 1_000: 1_000}
QUICK_WEIGHED = {10: 5_000, 1_000: 200}


def main() -> None:
    options = create_parser(__doc__).parse_args()
    results = [measure_engine(engine, options.quick) for engine in open_engines(options.engines)]
    print_table(results)
    write_json(options.json, results=results)


def measure_engine(engine: Engine, quick: bool) -> dict[str, Any]:
    weighed = QUICK_WEIGHED if quick else WEIGHED
    return {
        "engine": engine.name,
        "version": engine.version,
        **measure_speed(engine, QUICK_ROWS if quick else ROWS),
        "bytes_per_value": {count: round(weigh(engine, count, rows), 2) for count, rows in weighed.items()},
    }


def measure_speed(engine: Engine, rows: int) -> dict[str, Any]:
    """Return the rows per second of both sides, the medians of some rounds."""
    seconds: tuple[list[float], list[float]] = ([], [])
    metrics = random_metrics(METRICS, rows)
    with engine.database() as database:
        run = sqltrack.Experiment(database.client, name="many rows").get_run()
        with database.hand_table(run.id, metric_names(METRICS)) as (connection, sql), run.track():

            def write_by_hand(batch: Sequence[dict[str, Any]]) -> None:
                values = [(run.id, step, 0.0, *values) for step, *values in (row.values() for row in batch)]
                connection.execute("BEGIN")
                connection.cursor().executemany(sql, values)
                connection.execute("COMMIT")

            for number in range(ROUNDS):
                batch = with_steps(metrics, number * rows)
                seconds[0].append(time_call(lambda: run.add_metrics_many(batch)))  # noqa: B023
                seconds[1].append(time_call(lambda: write_by_hand(batch)))  # noqa: B023
    ours, theirs = (round(rows / statistics.median(taken)) for taken in seconds)
    return {"rows": rows, "sqltrack_rows_s": ours, "by_hand_rows_s": theirs, "ratio": round(theirs / ours, 2)}


def weigh(engine: Engine, count: int, rows: int) -> float:
    """Return the bytes on disk per value when all rows have `count` metrics."""
    with engine.database() as database:
        run = sqltrack.Experiment(database.client, name=f"{count} metrics").get_run()
        run.add_metrics_many(with_steps(random_metrics(count, rows), 0))
        return database.metrics_bytes() / (count * rows)


def with_steps(metrics: Sequence[dict[str, float]], start: int) -> list[dict[str, Any]]:
    return [{"step": step, **row} for step, row in enumerate(metrics, start)]


def time_call(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def print_table(results: Sequence[dict[str, Any]]) -> None:
    weighed = list(results[0]["bytes_per_value"]) if results else []
    print(f"{'':20}{'rows of 10 metrics per second':>36}" + f"{'bytes per value, metrics in a row':>36}")
    headers = "".join(f"{count:>18,}" for count in weighed)
    print(f"{'database':20}{'sqltrack':>14}{'by hand':>14}{'ratio':>8}{headers}")
    for row in results:
        sizes = "".join(f"{size:18.1f}" for size in row["bytes_per_value"].values())
        print(f"{row['version']:20}{row['sqltrack_rows_s']:14,}{row['by_hand_rows_s']:14,}{row['ratio']:8.2f}{sizes}")


if __name__ == "__main__":
    main()
