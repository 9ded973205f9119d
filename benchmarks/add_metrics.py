"""Time `add_metrics` of a tracked run against the same upsert by hand, on SQLite and PostgreSQL.

Both sides write rows of the same shape in the same process and take turns in batches, so that a slow machine slows down
both. Look at the ratio.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import sqltrack
from _common import (
    BY_HAND,
    OURS,
    Database,
    Engine,
    Row,
    apart,
    compare,
    keep_fastest,
    metric_names,
    random_metrics,
    run_benchmark,
    take_turns,
)

# Pairs of connections; the fastest pair counts.
CONNECTIONS = 6

# Number of metrics in a call, and number of batches that each side times on each pair.
SIZES = {10: 100, 100: 40, 1_000: 20}
QUICK_SIZES = {10: 2}
BATCH = 50
WARM_UP = 2


def main() -> None:
    run_benchmark(__doc__, measure_engine)


def measure_engine(engine: Engine, quick: bool) -> Iterator[Row]:
    with engine.database() as database, apart(database.client):
        for count, rounds in (QUICK_SIZES if quick else SIZES).items():
            times = keep_fastest(partial(measure_size, database, count, rounds), 1 if quick else CONNECTIONS)
            yield compare(engine, f"{count:,} metrics", times, metrics=count)


def measure_size(database: Database, count: int, rounds: int) -> dict[str, list[int]]:
    """Return the nanoseconds of all calls of both sides, with `count` metrics in a call."""
    client = database.client
    run = sqltrack.Experiment(client, name=f"{count} metrics").get_run()
    rows = random_metrics(count, BATCH)
    with database.hand_table(run.id, metric_names(count)) as (connection, sql), run.track():
        times = take_turns(
            {
                OURS: lambda step: run.add_metrics(rows[step % BATCH], step=step),
                BY_HAND: lambda step: connection.execute(sql, (run.id, step, 0.0, *rows[step % BATCH].values())),
            },
            rounds,
            batch=BATCH,
            warm_up=WARM_UP,
        )
    stored = client.execute("SELECT count(*) FROM metrics WHERE run_id = %s", (run.id,)).fetchone()[0]
    assert stored == (rounds + WARM_UP) * BATCH, f"{stored} rows were stored"
    return times


if __name__ == "__main__":
    main()
