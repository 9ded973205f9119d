"""Time `add_metrics` of a tracked run beside the same upsert by hand, on SQLite and PostgreSQL.

Both sides write rows of the same shape in the same process, in batches by turns, so that whatever slows the machine
down slows down both; what counts is the ratio.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import sqltrack
from _common import (
    Database,
    Engine,
    create_parser,
    metric_names,
    open_engines,
    percentiles,
    random_metrics,
    take_turns,
    write_json,
)

# Number of metrics in a call, and how many calls of each side are timed.
SIZES = {10: 4_000, 100: 2_000, 1_000: 600}
QUICK_CALLS = 200
BATCH = 50
WARM_UP = 2 * BATCH


def main() -> None:
    options = create_parser(__doc__).parse_args()
    results = [row for engine in open_engines(options.engines) for row in measure_engine(engine, options.quick)]
    print_table(results)
    write_json(options.json, results=results)


def measure_engine(engine: Engine, quick: bool) -> Iterator[dict[str, Any]]:
    with engine.database() as database:
        for count, calls in SIZES.items():
            figures = measure_size(database, count, QUICK_CALLS if quick else calls)
            yield {"engine": engine.name, "version": engine.version, **figures}


def measure_size(database: Database, count: int, calls: int) -> dict[str, Any]:
    """Time both sides with `count` metrics in a call, and return percentiles in microseconds."""
    client = database.client
    run = sqltrack.Experiment(client, name=f"{count} metrics").get_run()
    with database.hand_table(run.id, metric_names(count)) as (connection, sql), run.track():
        writers = (
            lambda step, row: run.add_metrics(row, step=step),
            lambda step, row: connection.execute(sql, (run.id, step, 0.0, *row.values())),
        )
        ours, theirs = map(percentiles, take_turns(writers, random_metrics(count, BATCH), calls, WARM_UP))
    stored = client.execute("SELECT count(*) FROM metrics WHERE run_id = %s", (run.id,)).fetchone()[0]
    assert stored == calls + WARM_UP, f"{stored} rows were stored"
    return {
        "metrics": count,
        "calls": calls,
        "sqltrack_us": ours,
        "by_hand_us": theirs,
        "ratio": {name: round(ours[name] / theirs[name], 2) for name in ours},
    }


def print_table(results: Sequence[dict[str, Any]]) -> None:
    print(f"{'':28}{'sqltrack, µs':>18}{'by hand, µs':>18}{'ratio':>14}")
    print(f"{'database':20}{'metrics':>8}" + f"{'p50':>9}{'p99':>9}" * 2 + f"{'p50':>7}{'p99':>7}")
    for row in results:
        figures = [row[side][name] for side in ("sqltrack_us", "by_hand_us") for name in ("p50", "p99")]
        times = "".join(f"{figure:9.1f}" for figure in figures)
        print(f"{row['version']:20}{row['metrics']:8}{times}{row['ratio']['p50']:7.2f}{row['ratio']['p99']:7.2f}")


if __name__ == "__main__":
    main()
