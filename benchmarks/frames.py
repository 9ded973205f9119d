"""Time how 1,000,000 rows of 12 columns become a data frame, in several ways, each in a separate process.

"By hand" is the Arrow driver of the database, if it is installed (adbc-driver-sqlite, adbc-driver-postgresql, pyarrow).
Other ways are the bare driver's `fetchall` and `pandas.read_sql`. The peak of memory includes the interpreter and its
packages; see "nothing".
"""

from __future__ import annotations

import contextlib
import importlib.util
import resource
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import sqltrack
from _common import (
    BY_HAND,
    OURS,
    Database,
    Engine,
    Row,
    compare,
    connect_by_hand,
    fill_metrics,
    fill_runs,
    metric_names,
    run_benchmark,
)

ROWS = 1_000_000
QUICK_ROWS = 100
METRICS = 9
ROUNDS = 3
FRAME = "SELECT * FROM metrics"
WITHOUT_ARROW = "query_dataframe without Arrow"

ARROW_DRIVERS = {"sqlite": "adbc_driver_sqlite", "postgres": "adbc_driver_postgresql"}
# The Arrow packages that sqltrack.pandas looks for.
ARROW_MODULES = (*ARROW_DRIVERS.values(), "adbc_driver_manager", "pyarrow")

Config = Mapping[str, Any]


def main() -> None:
    run_benchmark(__doc__, measure_engine)


def measure_engine(engine: Engine, quick: bool) -> Iterator[Row]:
    rows, rounds = (QUICK_ROWS, 1) if quick else (ROWS, ROUNDS)
    with engine.database() as database:
        fill_frame(database, rows)
        found = ways(engine.name)
        times: dict[str, list[int]] = {name: [] for name in found}
        peaks = dict.fromkeys(found, 0)
        for number in range(rounds):
            names = list(found)
            for name in names[number:] + names[:number]:
                nanoseconds, peak_mb = in_new_process(engine.name, database.client.config, name)
                times[name].append(nanoseconds)
                peaks[name] = max(peaks[name], peak_mb)
    yield compare(engine, f"{rows:,} rows of {METRICS + 3} columns", times, rows=rows, peak_mb=peaks)


def fill_frame(database: Database, rows: int) -> None:
    """Store one run with this many rows."""
    fill_runs(database.client, 1)
    fill_metrics(database.client, rows, metric_names(METRICS))
    database.settle()


def in_new_process(engine_name: str, config: Config, way: str) -> tuple[int, int]:
    """Return the result of `measure_way` in a process that has read nothing before."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(measure_way, engine_name, config, way).result()


def measure_way(engine_name: str, config: Config, way: str) -> tuple[int, int]:
    """Return the nanoseconds that reading takes, and the peak memory of this process in MB."""
    if way == WITHOUT_ARROW:
        # Behave as if they were not installed.
        sys.modules.update(dict.fromkeys(ARROW_MODULES))  # type: ignore[arg-type]
    client = sqltrack.Client(dict(config))
    read = ways(engine_name)[way]
    # Imports and connections are not measured.
    read(client, "SELECT * FROM metrics WHERE run_id < 0")
    begin = time.perf_counter_ns()
    frame = read(client, FRAME)
    nanoseconds = time.perf_counter_ns() - begin
    assert frame is None or frame.shape[1] == METRICS + 3
    unit = 1 if sys.platform == "darwin" else 1024
    return nanoseconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit // 1_000_000


def ways(engine_name: str) -> Mapping[str, Callable[[sqltrack.Client, str], Any]]:
    """Return the available ways to read a data frame."""
    found: dict[str, Callable[[sqltrack.Client, str], Any]] = {
        "nothing": lambda client, sql: None,
        OURS: read_dataframe,
        WITHOUT_ARROW: read_dataframe,
        "fetchall": read_by_fetchall,
        "pandas.read_sql": read_by_pandas,
    }
    if is_installed("polars"):
        found["query_polars"] = read_polars
    if is_installed(ARROW_DRIVERS[engine_name]) and is_installed("pyarrow"):
        found[BY_HAND] = read_sqlite_arrow if engine_name == "sqlite" else read_postgres_arrow
    return found


def is_installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def read_dataframe(client: sqltrack.Client, sql: str) -> Any:
    from sqltrack.pandas import query_dataframe

    return query_dataframe(client, sql)


def read_polars(client: sqltrack.Client, sql: str) -> Any:
    from sqltrack.polars import query_polars

    return query_polars(client, sql)


def read_by_fetchall(client: sqltrack.Client, sql: str) -> Any:
    import pandas as pd

    with contextlib.closing(connect_by_hand(client.config)) as connection:
        cursor = connection.execute(sql)
        return pd.DataFrame(cursor.fetchall(), columns=[column[0] for column in cursor.description])


def read_by_pandas(client: sqltrack.Client, sql: str) -> Any:
    import pandas as pd

    with contextlib.closing(connect_by_hand(client.config)) as connection, warnings.catch_warnings():
        # It warns that it supports only sqlite3.
        warnings.simplefilter("ignore", UserWarning)
        return pd.read_sql(sql, connection)


def read_sqlite_arrow(client: sqltrack.Client, sql: str) -> Any:
    import adbc_driver_sqlite.dbapi

    with adbc_driver_sqlite.dbapi.connect(client.config["dbpath"]) as connection, connection.cursor() as cursor:
        # It takes the types from its first batch, and fails on other types later.
        cursor.adbc_statement.set_options(**{"adbc.sqlite.query.batch_rows": 10 * ROWS})
        cursor.execute(sql)
        return cursor.fetch_arrow_table().to_pandas()


def read_postgres_arrow(client: sqltrack.Client, sql: str) -> Any:
    import adbc_driver_postgresql.dbapi
    import psycopg

    parameters = {name: value for name, value in client.config.items() if name not in ("engine", "schema")}
    options = f"-c search_path={client.config['schema']}"
    conninfo = psycopg.conninfo.make_conninfo("", **parameters, options=options)
    with adbc_driver_postgresql.dbapi.connect(conninfo) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetch_arrow_table().to_pandas()


if __name__ == "__main__":
    main()
