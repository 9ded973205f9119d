"""Time the questions that a researcher asks: the best value per run, and all runs with their arguments in a table.

The first is asked of 1,000,000 rows (2,000 runs with 500 steps), the second of 30,000 runs with 100 arguments each.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pandas as pd

import sqltrack
from _common import Engine, create_parser, open_engines, write_json
from sqltrack.engines.json import Jsonb
from sqltrack.pandas import query_dataframe

STEPS = 500
RUNS_WITH_STEPS = 2_000
ARGS = 100
RUNS_WITH_ARGS = 30_000

MAXIMUM = "SELECT run_id, MAX(accuracy) AS best FROM metrics WHERE accuracy <> 'NaN' GROUP BY run_id"
BEST_ROW = """
    SELECT run_id, step, accuracy FROM (
        SELECT run_id, step, accuracy, row_number() OVER (PARTITION BY run_id ORDER BY accuracy DESC, step) AS place
        FROM metrics WHERE accuracy <> 'NaN'
    ) AS ranked WHERE place = 1
"""
RUNS = f"SELECT id, status, args, best FROM runs LEFT JOIN ({MAXIMUM}) AS bests ON id = run_id"


def main() -> None:
    options = create_parser(__doc__).parse_args()
    part = 100 if options.quick else 1
    results = [row for engine in open_engines(options.engines) for row in measure_engine(engine, part)]
    print(f"{'database':20}{'question':46}{'rows':>9}{'seconds':>10}")
    for row in results:
        print(f"{row['version']:20}{row['question']:46}{row['rows']:9,}{row['seconds']:10.2f}")
    write_json(options.json, results=results)


def measure_engine(engine: Engine, part: int) -> Iterator[dict[str, Any]]:
    with engine.database() as database:
        client = database.client
        fill(client, RUNS_WITH_STEPS // part, RUNS_WITH_ARGS // part)
        questions: dict[str, Callable[[], Sequence[Any] | pd.DataFrame]] = {
            "best value per run": lambda: client.execute(MAXIMUM).fetchall(),
            "best row per run": lambda: client.execute(BEST_ROW).fetchall(),
            "runs with args and best value, as DataFrame": lambda: runs_with_args(client),
        }
        for question, ask in questions.items():
            begin = time.perf_counter()
            answer = ask()
            seconds = round(time.perf_counter() - begin, 3)
            yield {
                "engine": engine.name,
                "version": engine.version,
                "question": question,
                "rows": len(answer),
                "seconds": seconds,
            }


def runs_with_args(client: sqltrack.Client) -> pd.DataFrame:
    """Return all runs with a column for each argument."""
    runs = query_dataframe(client, RUNS)
    return runs.drop(columns="args").join(pd.DataFrame(runs["args"].tolist()))


def fill(client: sqltrack.Client, runs_with_steps: int, runs: int) -> None:
    """Store the runs, of which the first ones have metrics, quicker than by logging."""
    numbers = random.Random(0)
    experiment = sqltrack.Experiment(client, name="reading")
    args = [Jsonb({f"arg_{number}": numbers.random() for number in range(ARGS)}) for _ in range(100)]
    client.execute("ALTER TABLE metrics ADD COLUMN accuracy FLOAT")
    client.executemany(
        "INSERT INTO runs (id, experiment_id, status, args) VALUES (%s, %s, 'COMPLETED', %s)",
        [(number, experiment.id, args[number % len(args)]) for number in range(1, runs + 1)],
    )
    for first in range(1, runs_with_steps + 1, 100):
        client.executemany(
            "INSERT INTO metrics (run_id, step, accuracy) VALUES (%s, %s, %s)",
            [
                (run_id, step, numbers.random())
                for run_id in range(first, min(first + 100, runs_with_steps + 1))
                for step in range(STEPS)
            ],
        )


if __name__ == "__main__":
    main()
