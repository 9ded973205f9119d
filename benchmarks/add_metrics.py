"""Time `add_metrics` of a tracked run beside the same upsert by hand, on SQLite and PostgreSQL.

Both sides write rows of the same shape in the same process, in batches by turns, so that whatever slows the machine
down slows down both; what counts is the ratio.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import platform
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import sqltrack
from sqltrack.commands import setup
from sqltrack.quoting import quote_identifier

# Number of metrics in a call, and how many calls of each side are timed.
SIZES = {10: 4_000, 100: 2_000, 1_000: 600}
BATCH = 50
WARM_UP = 2 * BATCH

# Stores the values of one row; the step is its position.
Write = Callable[[int, dict[str, float]], object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the figures to this file, too")
    parser.add_argument("--engines", default="sqlite,postgres", help="default: sqlite,postgres")
    options = parser.parse_args()
    databases = {"sqlite": sqlite_database, "postgres": postgres_database}
    results = [row for name in options.engines.split(",") for row in measure_engine(name, databases[name])]
    print_table(results)
    if options.json is not None:
        machine = {"python": platform.python_version(), "system": platform.platform(), "cpus": os.cpu_count()}
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({"machine": machine, "results": results}, indent=2) + "\n")


def measure_engine(name: str, database: Callable[[], Any]) -> Iterator[dict[str, Any]]:
    try:
        with database() as (client, version, by_hand):
            for count, calls in SIZES.items():
                yield {"engine": name, "version": version, **measure_size(client, by_hand, count, calls)}
    except NoDatabaseError as error:
        print(f"{name} is left out: {error}", file=sys.stderr)


def measure_size(client: sqltrack.Client, by_hand: Any, count: int, calls: int) -> dict[str, Any]:
    """Time both sides with `count` metrics in a call, and return percentiles in microseconds."""
    names = [f"metric_{number}" for number in range(count)]
    numbers = random.Random(count)
    rows = [{name: numbers.random() for name in names} for _ in range(BATCH)]
    run = sqltrack.Experiment(client, name=f"{count} metrics").get_run()
    with by_hand(run.id, names) as write_by_hand, run.track():
        ours, theirs = take_turns(lambda step, row: run.add_metrics(row, step=step), write_by_hand, rows, calls)
    stored = client.execute("SELECT count(*) FROM metrics WHERE run_id = %s", (run.id,)).fetchone()[0]
    assert stored == calls + WARM_UP, f"{stored} rows were stored"
    return {
        "metrics": count,
        "calls": calls,
        "sqltrack_us": percentiles(ours),
        "by_hand_us": percentiles(theirs),
        "ratio": {name: round(percentiles(ours)[name] / percentiles(theirs)[name], 2) for name in ("p50", "p99")},
    }


def take_turns(
    first: Write, second: Write, rows: Sequence[dict[str, float]], calls: int
) -> tuple[list[int], list[int]]:
    """Return the nanoseconds of every call of two writers, who write the same rows batch by batch."""
    times: tuple[list[int], list[int]] = ([], [])
    for start in range(0, WARM_UP + calls, len(rows)):
        for write, taken in zip((first, second), times):
            for step, row in enumerate(rows, start):
                begin = time.perf_counter_ns()
                write(step, row)
                taken.append(time.perf_counter_ns() - begin)
    return times[0][WARM_UP:], times[1][WARM_UP:]


def percentiles(nanoseconds: Sequence[int]) -> dict[str, float]:
    ordered = sorted(nanoseconds)
    return {name: ordered[int(len(ordered) * part)] / 1000 for name, part in (("p50", 0.50), ("p99", 0.99))}


def print_table(results: Sequence[dict[str, Any]]) -> None:
    print(f"{'':28}{'sqltrack, µs':>18}{'by hand, µs':>18}{'ratio':>14}")
    print(f"{'database':20}{'metrics':>8}" + f"{'p50':>9}{'p99':>9}" * 2 + f"{'p50':>7}{'p99':>7}")
    for row in results:
        figures = [row[side][name] for side in ("sqltrack_us", "by_hand_us") for name in ("p50", "p99")]
        times = "".join(f"{figure:9.1f}" for figure in figures)
        print(f"{row['version']:20}{row['metrics']:8}{times}{row['ratio']['p50']:7.2f}{row['ratio']['p99']:7.2f}")


# -- databases, each with a function that writes by hand ------------------------------------------------------------


class NoDatabaseError(Exception):
    """there is no database to measure"""


def set_up(client: sqltrack.Client) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        setup(client)


def by_hand_sql(table: str, names: Sequence[str], placeholder: str) -> str:
    columns = [quote_identifier(name) for name in names]
    return (
        f"INSERT INTO {table} (run_id, step, progress, {', '.join(columns)}) "
        f"VALUES ({', '.join([placeholder] * (len(columns) + 3))}) ON CONFLICT (run_id, step, progress) "
        f"DO UPDATE SET {', '.join(f'{column} = excluded.{column}' for column in columns)}"
    )


@contextlib.contextmanager
def sqlite_database() -> Iterator[tuple[sqltrack.Client, str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        client = sqltrack.Client({"engine": "sqlite", "dbpath": os.path.join(folder, "sqltrack.db")})
        set_up(client)
        yield client, f"SQLite {sqlite3.sqlite_version}", sqlite_by_hand(folder)


def sqlite_by_hand(folder: str) -> Any:
    @contextlib.contextmanager
    def by_hand(run_id: int, names: Sequence[str]) -> Iterator[Write]:
        # In a file of its own, or each side would find pages that the other has just changed.
        path = os.path.join(folder, f"by_hand_{len(names)}.db")
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON"):
                connection.execute(f"PRAGMA {pragma}")
            connection.execute("CREATE TABLE runs (id INTEGER PRIMARY KEY)")
            connection.execute("INSERT INTO runs VALUES (?)", (run_id,))
            metrics = "".join(f", {quote_identifier(name)} REAL" for name in names)
            # `PRIMARY KEY` has to stand after the columns.
            connection.execute(
                "CREATE TABLE metrics (run_id INTEGER NOT NULL REFERENCES runs (id), step INTEGER NOT NULL, "
                f"progress REAL NOT NULL{metrics}, PRIMARY KEY (run_id, step, progress)) WITHOUT ROWID"
            )
            sql = by_hand_sql("metrics", names, "?")
            yield lambda step, row: connection.execute(sql, (run_id, step, 0.0, *row.values()))

    return by_hand


@contextlib.contextmanager
def postgres_database() -> Iterator[tuple[sqltrack.Client, str, Any]]:
    """Use the server that SQLTRACK_BENCH_DSN names, or start one as the tests do; there, a schema that goes again."""
    try:
        import psycopg
    except ImportError as error:
        raise NoDatabaseError(f"{error}; install it with: pip install 'psycopg[binary]'") from error
    with contextlib.ExitStack() as stack:
        dsn = os.environ.get("SQLTRACK_BENCH_DSN") or stack.enter_context(_test_server())
        parameters = psycopg.conninfo.conninfo_to_dict(dsn)
        schema = f"sqltrack_bench_{os.getpid()}"
        client = sqltrack.Client({"engine": "postgres", **parameters, "schema": schema})
        connection = stack.enter_context(psycopg.connect(dsn, autocommit=True, options=f"-c search_path={schema}"))
        stack.callback(connection.execute, f"DROP SCHEMA IF EXISTS {schema} CASCADE")
        set_up(client)
        version = connection.info.parameter_status("server_version") or ""
        yield client, f"PostgreSQL {version.split()[0]}", postgres_by_hand(connection)


@contextlib.contextmanager
def _test_server() -> Iterator[str]:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
    from support.postgres_server import NoServerError, running_server

    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(running_server())
        except NoServerError as error:
            raise NoDatabaseError(f"{error}; or name a server with SQLTRACK_BENCH_DSN") from error
        yield server.dsn


def postgres_by_hand(connection: Any) -> Any:
    @contextlib.contextmanager
    def by_hand(run_id: int, names: Sequence[str]) -> Iterator[Write]:
        table = f"by_hand_{len(names)}"
        metrics = "".join(f", {quote_identifier(name)} DOUBLE PRECISION" for name in names)
        connection.execute(
            f"CREATE TABLE {table} (run_id BIGINT NOT NULL REFERENCES runs (id), step BIGINT NOT NULL, "
            f"progress DOUBLE PRECISION NOT NULL{metrics}, PRIMARY KEY (run_id, step, progress))"
        )
        sql = by_hand_sql(table, names, "%s")
        yield lambda step, row: connection.execute(sql, (run_id, step, 0.0, *row.values()), prepare=True)

    return by_hand


if __name__ == "__main__":
    main()
