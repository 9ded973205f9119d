"""Time the first call with many new metric names against the ALTER statements by hand.

Each call stores one row in a fresh database. By hand, the same number of columns is added as by SQLTrack, on SQLite in
one transaction and on PostgreSQL by one statement, and one row is stored.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import sqltrack
from _common import (
    BY_HAND,
    OURS,
    Engine,
    Row,
    column_names,
    compare,
    connect_by_hand,
    metric_names,
    random_metrics,
    run_benchmark,
    take_turns,
)
from sqltrack.util import quote_identifier

# Number of names, and number of calls.
SIZES = {100: 10, 2_000: 3}
QUICK_SIZES = {20: 1}
# The approximate number of floats that fit into a row of PostgreSQL.
STORED = 900


def main() -> None:
    run_benchmark(__doc__, measure_engine)


def measure_engine(engine: Engine, quick: bool) -> Iterator[Row]:
    for count, rounds in (QUICK_SIZES if quick else SIZES).items():
        times, columns = measure_size(engine, count, rounds)
        yield compare(engine, f"{count:,} new names in one call", times, columns=columns)


def measure_size(engine: Engine, count: int, rounds: int) -> tuple[dict[str, list[int]], int]:
    """Return the nanoseconds of all calls of both sides, and the number of added columns."""
    (row,) = random_metrics(count, 1)
    with contextlib.ExitStack() as stack:
        columns = count_added_columns(engine, row)
        databases = iter([stack.enter_context(engine.database()) for _ in range(2 * (rounds + 1))])
        prepared: list[tuple[sqltrack.Run, Any]] = []

        def prepare() -> None:
            """Start a run in the next database, and connect by hand; each side uses its own."""
            database = next(databases)
            run = stack.enter_context(sqltrack.Experiment(database.client, name="new columns").get_run().track())
            connection = stack.enter_context(contextlib.closing(connect_by_hand(database.client.config)))
            prepared[:] = [(run, connection)]

        def ours(number: int) -> None:
            run, _ = prepared[0]
            run.add_metrics(row, step=0)

        def by_hand(number: int) -> None:
            run, connection = prepared[0]
            add_by_hand(engine, connection, run.id, metric_names(columns))

        return take_turns({OURS: ours, BY_HAND: by_hand}, rounds, prepare=prepare), columns


def count_added_columns(engine: Engine, row: dict[str, float]) -> int:
    """Return how many of the names become columns; the others stay in `extras`."""
    with engine.database() as database:
        with sqltrack.Experiment(database.client, name="new columns").get_run().track() as run:
            run.add_metrics(row, step=0)
        return len(row.keys() & column_names(database.client))


def add_by_hand(engine: Engine, connection: Any, run_id: int, names: list[str]) -> None:
    additions = [f"ADD COLUMN {quote_identifier(name)} DOUBLE PRECISION" for name in names]
    stored = names[:STORED]
    connection.execute("BEGIN")
    # SQLite adds one column per statement.
    for part in additions if engine.name == "sqlite" else [", ".join(additions)]:
        connection.execute(f"ALTER TABLE metrics {part}")
    connection.execute(
        f"INSERT INTO metrics (run_id, step, {', '.join(map(quote_identifier, stored))}) "
        f"VALUES (%s, 0{', %s' * len(stored)})",
        (run_id, *[0.5] * len(stored)),
    )
    connection.execute("COMMIT")


if __name__ == "__main__":
    main()
