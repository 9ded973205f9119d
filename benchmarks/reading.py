"""Time the questions that a researcher asks: the best value per run, and all runs with their arguments in a table.

The first is asked of 1,000,000 rows (2,000 runs with 500 steps), the second of 30,000 runs with 100 arguments each.

Before that, 1,000,000 rows of 12 columns are read into a data frame in several ways, each in a process of its own. Its
peak of memory holds what the interpreter and its packages take as well: see "nothing". The Arrow drivers, if installed
(adbc-driver-sqlite, adbc-driver-postgresql and pyarrow), are there to compare with.
"""

from __future__ import annotations

import importlib.util
import random
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
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
FRAME_ROWS = 1_000_000
FRAME_METRICS = 9
FRAME = "SELECT * FROM metrics"

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
    # First: a new process starts with its parent's peak of memory, so that one must not have read anything yet.
    frames = [row for engine in open_engines(options.engines) for row in measure_frames(engine, part)]
    print(f"{'database':20}{'rows to a data frame':46}{'rows':>9}{'seconds':>10}{'peak MB':>9}")
    for row in frames:
        print(f"{row['version']:20}{row['way']:46}{row['rows']:9,}{row['seconds']:10.2f}{row['peak_mb']:9,}")
    results = [row for engine in open_engines(options.engines) for row in measure_engine(engine, part)]
    print(f"{'database':20}{'question':46}{'rows':>9}{'seconds':>10}")
    for row in results:
        print(f"{row['version']:20}{row['question']:46}{row['rows']:9,}{row['seconds']:10.2f}")
    write_json(options.json, results=results, frames=frames)


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


# Many rows to a data frame


def measure_frames(engine: Engine, part: int) -> Iterator[dict[str, Any]]:
    with engine.database() as database:
        client = database.client
        rows = FRAME_ROWS // part
        fill_wide(client, rows)
        for way in ways(engine.name):
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                seconds, peak_mb = pool.submit(measure_way, engine.name, client.config, way).result()
            yield {
                "engine": engine.name,
                "version": engine.version,
                "way": way,
                "rows": rows,
                "seconds": seconds,
                "peak_mb": peak_mb,
            }


def measure_way(engine_name: str, config: dict[str, Any], way: str) -> tuple[float, int]:
    """Return the seconds that reading takes, and the peak of this process' memory in MB."""
    client = sqltrack.Client(config)
    # Connections and imports are no part of what is measured.
    read = ways(engine_name)[way]
    client.execute("SELECT 1")
    begin = time.perf_counter()
    frame = read(client)
    seconds = round(time.perf_counter() - begin, 3)
    assert frame is None or frame.shape[1] == FRAME_METRICS + 3
    unit = 1 if sys.platform == "darwin" else 1024
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit // 1_000_000


def ways(engine_name: str) -> Mapping[str, Callable[[sqltrack.Client], Any]]:
    """Return the ways to read a data frame that can be had."""
    found: dict[str, Callable[[sqltrack.Client], Any]] = {
        "nothing": lambda client: None,
        "query_dataframe": lambda client: query_dataframe(client, FRAME),
        "fetchall of the driver, DataFrame": read_by_hand,
    }
    if importlib.util.find_spec("polars"):
        from sqltrack.polars import query_polars

        found["query_polars"] = lambda client: query_polars(client, FRAME)
    driver, read = {"sqlite": ("sqlite", read_sqlite_arrow), "postgres": ("postgresql", read_postgres_arrow)}[
        engine_name
    ]
    if importlib.util.find_spec(f"adbc_driver_{driver}") and importlib.util.find_spec("pyarrow"):
        found["Arrow driver, to_pandas"] = read
    return found


def read_by_hand(client: sqltrack.Client) -> pd.DataFrame:
    with client.cursor() as cursor:
        cursor.execute(FRAME)
        return pd.DataFrame(cursor.fetchall(), columns=[column[0] for column in cursor.description])


def read_sqlite_arrow(client: sqltrack.Client) -> Any:
    import adbc_driver_sqlite.dbapi

    with adbc_driver_sqlite.dbapi.connect(client.config["dbpath"]) as connection, connection.cursor() as cursor:
        # It takes the types from its first batch, and fails at others after that.
        cursor.adbc_statement.set_options(**{"adbc.sqlite.query.batch_rows": 10 * FRAME_ROWS})
        cursor.execute(FRAME)
        return cursor.fetch_arrow_table().to_pandas()


def read_postgres_arrow(client: sqltrack.Client) -> Any:
    import adbc_driver_postgresql.dbapi
    import psycopg

    parameters = {name: value for name, value in client.config.items() if name not in ("engine", "schema")}
    options = f"-c search_path={client.config['schema']}"
    conninfo = psycopg.conninfo.make_conninfo("", **parameters, options=options)
    with adbc_driver_postgresql.dbapi.connect(conninfo) as connection, connection.cursor() as cursor:
        cursor.execute(FRAME)
        return cursor.fetch_arrow_table().to_pandas()


def fill_wide(client: sqltrack.Client, rows: int) -> None:
    """Store one run with many rows of metrics."""
    run = sqltrack.Experiment(client, name="wide").get_run()
    names = [f"metric_{number}" for number in range(FRAME_METRICS)]
    with client:
        for name in names:
            client.execute(f"ALTER TABLE metrics ADD COLUMN {name} FLOAT")
        values = ", ".join(f"CAST(step AS FLOAT) / {number + 3}" for number in range(FRAME_METRICS))
        client.execute(
            "WITH RECURSIVE steps (step) AS (SELECT 1 UNION ALL SELECT step + 1 FROM steps WHERE step < %s) "
            f"INSERT INTO metrics (run_id, step, {', '.join(names)}) SELECT %s, step, {values} FROM steps",
            (rows, run.id),
        )


if __name__ == "__main__":
    main()
