"""Time `add_metrics_many` against `executemany` by hand, and measure the size of a stored value, on both databases.

All sides get the same dicts, store each batch in one transaction, and take turns in the same process. Look at the
ratio. On PostgreSQL, COPY into a temporary table followed by an upsert is a third way. The size is that of the metrics
on disk with their index, divided by the number of values. A float has 8 bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import sqltrack
from _common import (
    BY_HAND,
    OURS,
    Engine,
    Row,
    Turn,
    compare,
    metric_names,
    random_metrics,
    run_benchmark,
    take_turns,
)

METRICS = 10
ROWS = 10_000
QUICK_ROWS = 200
ROUNDS = 7
QUICK_ROUNDS = 1
# Number of metrics in a row, and number of rows whose size is measured.
WEIGHED = {10: 20_000, 1_000: 1_000}
QUICK_WEIGHED = {10: 500}

COLUMNS = ", ".join(["run_id", "step", "progress", *metric_names(METRICS)])
UPSERT_SQL = (
    f"INSERT INTO {{table}} ({COLUMNS}) SELECT {COLUMNS} FROM copied ON CONFLICT (run_id, step, progress) DO UPDATE "
    f"SET {', '.join(f'{name} = excluded.{name}' for name in metric_names(METRICS))}"
)


def main() -> None:
    run_benchmark(__doc__, measure_engine)


def measure_engine(engine: Engine, quick: bool) -> Iterator[Row]:
    rows, rounds, weighed = (QUICK_ROWS, QUICK_ROUNDS, QUICK_WEIGHED) if quick else (ROWS, ROUNDS, WEIGHED)
    sizes = {count: round(weigh(engine, count, number), 2) for count, number in weighed.items()}
    times = measure_speed(engine, rows, rounds)
    yield compare(engine, f"{rows:,} rows of {METRICS} metrics", times, rows=rows, bytes_per_value=sizes)


def measure_speed(engine: Engine, rows: int, rounds: int) -> dict[str, list[int]]:
    """Return the nanoseconds of each batch of each way."""
    metrics = random_metrics(METRICS, rows)
    with engine.database() as database:
        client = database.client
        run = sqltrack.Experiment(client, name="many rows").get_run()
        with database.hand_table(run.id, metric_names(METRICS)) as (connection, sql), run.track():

            def execute_many(number: int) -> None:
                connection.execute("BEGIN")
                connection.cursor().executemany(sql, as_tuples(run.id, batches[OURS][number]))
                connection.execute("COMMIT")

            # The ways by hand share a table, so their steps must differ.
            ways: dict[str, Turn] = {
                OURS: lambda number: run.add_metrics_many(batches[OURS][number]),
                BY_HAND: execute_many,
            }
            batches = {OURS: [with_steps(metrics, number * rows) for number in range(rounds + 1)]}
            if engine.name == "postgres":
                batches["COPY"] = [with_steps(metrics, -(number + 1) * rows) for number in range(rounds + 1)]
                ways["COPY"] = lambda number: copy(
                    connection, sql.split()[2], as_tuples(run.id, batches["COPY"][number])
                )
            times = take_turns(ways, rounds)
        stored = client.execute("SELECT count(*) FROM metrics").fetchone()[0]
        assert stored == (rounds + 1) * rows, f"{stored} rows were stored"
    return times


def copy(connection: Any, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Store rows in one transaction by psycopg's COPY, the fastest way by hand."""
    with connection.transaction():
        connection.execute(f"CREATE TEMPORARY TABLE copied ON COMMIT DROP AS SELECT {COLUMNS} FROM {table} LIMIT 0")
        with connection.cursor().copy(f"COPY copied ({COLUMNS}) FROM STDIN (FORMAT BINARY)") as sink:
            sink.set_types(["int8", "int8"] + ["float8"] * (METRICS + 1))
            for row in rows:
                sink.write_row(row)
        connection.execute(UPSERT_SQL.format(table=table))


def weigh(engine: Engine, count: int, rows: int) -> float:
    """Return the bytes on disk per value when all rows have `count` metrics."""
    with engine.database() as database:
        run = sqltrack.Experiment(database.client, name=f"{count} metrics").get_run()
        with run.track():
            run.add_metrics_many(with_steps(random_metrics(count, rows), 0))
        return database.metrics_bytes() / (count * rows)


def with_steps(metrics: Sequence[dict[str, float]], start: int) -> list[dict[str, Any]]:
    return [{"step": step, **row} for step, row in enumerate(metrics, start)]


def as_tuples(run_id: int, batch: Sequence[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(run_id, step, 0.0, *values) for step, *values in (row.values() for row in batch)]


if __name__ == "__main__":
    main()
