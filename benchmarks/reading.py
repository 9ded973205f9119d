"""Time how 30,000 runs with 100 arguments each, and the best value of each, become a data frame.

By hand: the driver's `fetchall`, and JSON parsed in Python if the driver does not parse it.
"""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Iterator
from typing import Any

import pandas as pd

import sqltrack
from _common import (
    BY_HAND,
    OURS,
    Engine,
    Row,
    compare,
    connect_by_hand,
    fill_metrics,
    fill_runs,
    run_benchmark,
    take_turns,
)
from sqltrack.pandas import query_dataframe

ARGS = 100
RUNS = 30_000
STEPS = 10
# Number of different values of an argument.
VARIANTS = 100
ROUNDS = 3

QUERY = """
    SELECT id, status, args, best
    FROM runs LEFT JOIN (
        SELECT run_id, MAX(accuracy) AS best FROM metrics WHERE accuracy <> 'NaN' GROUP BY run_id
    ) AS bests ON id = run_id
"""


def main() -> None:
    run_benchmark(__doc__, measure_engine)


def measure_engine(engine: Engine, quick: bool) -> Iterator[Row]:
    runs, rounds = (VARIANTS, 1) if quick else (RUNS, ROUNDS)
    with engine.database() as database:
        numbers = random.Random(0)
        args = [{f"arg_{number}": numbers.random() for number in range(ARGS)} for _ in range(VARIANTS)]
        fill_runs(database.client, runs, args)
        fill_metrics(database.client, STEPS, ["accuracy"])
        database.settle()
        with contextlib.closing(connect_by_hand(database.client.config)) as connection:
            times = take_turns(
                {
                    OURS: lambda number: check(read(database.client), runs),
                    BY_HAND: lambda number: check(read_by_hand(connection), runs),
                },
                rounds,
            )
    yield compare(engine, f"{runs:,} runs with {ARGS} args and best value", times)


def read(client: sqltrack.Client) -> pd.DataFrame:
    frame: pd.DataFrame = query_dataframe(client, QUERY)
    return with_columns_of_args(frame)


def read_by_hand(connection: Any) -> pd.DataFrame:
    frame = pd.DataFrame(connection.execute(QUERY).fetchall(), columns=["id", "status", "args", "best"])
    if isinstance(frame["args"].iloc[0], str):
        frame["args"] = frame["args"].map(json.loads)
    return with_columns_of_args(frame)


def with_columns_of_args(frame: pd.DataFrame) -> pd.DataFrame:
    """Return all runs with a column for each argument."""
    joined: pd.DataFrame = frame.drop(columns="args").join(pd.DataFrame(frame["args"].tolist()))
    return joined


def check(frame: pd.DataFrame, runs: int) -> None:
    assert frame.shape == (runs, 3 + ARGS), f"the frame is {frame.shape}"


if __name__ == "__main__":
    main()
