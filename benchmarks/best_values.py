"""Time the queries of `best_values` and `last_values` over 1,000,000 rows of 1,000 runs against MAX … GROUP BY.

First without an index on the metric, then with one on run_id and metric. With the index, a MAX per run is a third way.
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
    Turn,
    compare,
    connect_by_hand,
    fill_metrics,
    fill_runs,
    run_benchmark,
    take_turns,
)
from sqltrack.queries import best_values, last_values

RUNS = 1_000
STEPS = 1_000
QUICK = 10
ROUNDS = 5
QUICK_ROUNDS = 1

MAXIMUM = "SELECT run_id, MAX(accuracy) FROM metrics WHERE accuracy <> 'NaN' GROUP BY run_id"
MAXIMUM_PER_RUN = (
    "SELECT id, (SELECT MAX(accuracy) FROM metrics WHERE run_id = runs.id AND accuracy <> 'NaN') FROM runs"
)
LAST = (
    "SELECT metrics.run_id, metrics.step, metrics.accuracy FROM metrics "
    "JOIN (SELECT run_id, MAX(step) AS step FROM metrics WHERE accuracy IS NOT NULL GROUP BY run_id) AS lasts "
    "ON metrics.run_id = lasts.run_id AND metrics.step = lasts.step"
)
INDEX = "CREATE INDEX metrics_accuracy ON metrics (run_id, accuracy)"


def main() -> None:
    run_benchmark(__doc__, measure_engine)


def measure_engine(engine: Engine, quick: bool) -> Iterator[Row]:
    runs, steps, rounds = (QUICK, QUICK, QUICK_ROUNDS) if quick else (RUNS, STEPS, ROUNDS)
    with engine.database() as database:
        client = database.client
        fill_runs(client, runs)
        fill_metrics(client, steps, ["accuracy", "loss"])
        database.settle()
        with contextlib.closing(connect_by_hand(database.client.config)) as connection:
            # In blocks, so that both sides have a connection already.
            with client:
                yield from measure_queries(engine, client, connection, runs, rounds, "no index")
            client.execute(INDEX)
            database.settle()
            with client:
                yield from measure_queries(engine, client, connection, runs, rounds, "index (run_id, metric)")


def measure_queries(
    engine: Engine, client: sqltrack.Client, connection: Any, runs: int, rounds: int, index: str
) -> Iterator[Row]:
    def ours(query: tuple[str, tuple[Any, ...]]) -> Turn:
        return lambda number: check(client.execute(*query).fetchall(), runs)

    def by_hand(sql: str) -> Turn:
        return lambda number: check(connection.execute(sql).fetchall(), runs)

    best: dict[str, Turn] = {OURS: ours(best_values("accuracy")), BY_HAND: by_hand(MAXIMUM)}
    if index != "no index":
        best["MAX per run"] = by_hand(MAXIMUM_PER_RUN)
    yield compare(engine, f"best_values, {index}", take_turns(best, rounds))
    last = {OURS: ours(last_values("accuracy")), BY_HAND: by_hand(LAST)}
    yield compare(engine, f"last_values, {index}", take_turns(last, rounds))


def check(rows: list[Any], runs: int) -> None:
    assert len(rows) == runs, f"{len(rows)} rows were returned"


if __name__ == "__main__":
    main()
