"""What the benchmarks share: options, databases, turns, percentiles, and how results are written."""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import json
import os
import platform
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlencode

import sqltrack
from sqltrack.commands import setup
from sqltrack.util import quote_identifier

__all__ = [
    "Database",
    "Engine",
    "HandTable",
    "Write",
    "create_parser",
    "metric_names",
    "open_engines",
    "percentiles",
    "random_metrics",
    "take_turns",
    "write_json",
]

# Stores the values of one row; the step is its position.
Write = Callable[[int, dict[str, float]], object]

_SQLITE_PRAGMAS = ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON")


class HandTable(NamedTuple):
    """A table to write to by hand, and the statement that stores run id, step, progress and metrics in it.

    The connection commits every statement by itself, and prepares it.
    """

    connection: Any
    upsert_sql: str


class Database(Protocol):
    """An empty database that SQLTrack has set up, and that goes with its `with` block."""

    client: sqltrack.Client

    def hand_table(self, run_id: int, names: Sequence[str]) -> contextlib.AbstractContextManager[HandTable]:
        """Provide a table like `metrics` with columns for these metrics, in which only `run_id` need exist."""
        ...

    def peer_url(self) -> contextlib.AbstractContextManager[str]:
        """Provide SQLAlchemy's URL of another empty database, of the same engine."""
        ...

    def metrics_bytes(self) -> int:
        """Return what the metrics take on disk, with their index."""
        ...


class Engine(Protocol):
    """A kind of database."""

    name: str
    version: str

    def database(self) -> contextlib.AbstractContextManager[Database]:
        """Provide a new database."""
        ...


class NoDatabaseError(Exception):
    """there is no database to measure"""


# Options and results


def create_parser(description: str | None, *, engines: bool = True) -> argparse.ArgumentParser:
    """Return a parser with the options of all benchmarks; without `engines`, those that need no database."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the figures to this file, too")
    parser.add_argument("--quick", action="store_true", help="much less of everything: to see that it works")
    if engines:
        parser.add_argument("--engines", default=",".join(_OPEN), help="default: %(default)s")
    return parser


def write_json(path: Path | None, **document: Any) -> None:
    """Write figures to a file beside what machine they come from; None does nothing."""
    if path is None:
        return
    # What is needed to judge the figures, and nothing that tells whose machine it is.
    machine = {
        "cpus": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "psycopg": metadata.version("psycopg"),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"date": date.today().isoformat(), "machine": machine, **document}, indent=2)
    path.write_text(text + "\n", encoding="utf-8")


# Rows and times


def metric_names(count: int) -> list[str]:
    """Return names for `count` metrics."""
    return [f"metric_{number}" for number in range(count)]


def random_metrics(count: int, rows: int) -> list[dict[str, float]]:
    """Return rows of `count` metrics, the same ones every time."""
    numbers = random.Random(count)
    names = metric_names(count)
    return [{name: numbers.random() for name in names} for _ in range(rows)]


def take_turns(writers: Sequence[Write], rows: Sequence[dict[str, float]], calls: int, warm_up: int) -> list[list[int]]:
    """Return the nanoseconds of every call of each writer after the warm-up.

    All write the same rows, batch by batch in turn, so that whatever slows the machine down slows down all of them.
    """
    times: list[list[int]] = [[] for _ in writers]
    for start in range(0, warm_up + calls, len(rows)):
        for write, taken in zip(writers, times):
            for step, row in enumerate(rows, start):
                begin = time.perf_counter_ns()
                write(step, row)
                taken.append(time.perf_counter_ns() - begin)
    return [taken[warm_up:] for taken in times]


def percentiles(nanoseconds: Sequence[int]) -> dict[str, float]:
    """Return p50 and p99 in microseconds."""
    ordered = sorted(nanoseconds)
    return {name: ordered[int(len(ordered) * part)] / 1000 for name, part in (("p50", 0.50), ("p99", 0.99))}


# Databases


def open_engines(names: str) -> Iterator[Engine]:
    """Yield the engines named, separated by commas; those that cannot be had are reported and left out."""
    for name in names.split(","):
        try:
            with _OPEN[name]() as engine:
                yield engine
        except NoDatabaseError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)


class _SQLite:
    name = "sqlite"
    version = f"SQLite {sqlite3.sqlite_version}"

    @contextlib.contextmanager
    def database(self) -> Iterator[Database]:
        with tempfile.TemporaryDirectory() as folder:
            yield _SQLiteDatabase(folder)


class _SQLiteDatabase:
    def __init__(self, folder: str) -> None:
        self._folder = folder
        self.client = _set_up({"engine": "sqlite", "dbpath": os.path.join(folder, "sqltrack.db")})
        self._empty_bytes = self._file_bytes()

    @contextlib.contextmanager
    def hand_table(self, run_id: int, names: Sequence[str]) -> Iterator[HandTable]:
        # In a file of its own, or each side would find pages that the other has just changed.
        path = os.path.join(self._folder, f"by_hand_{len(names)}.db")
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            for pragma in _SQLITE_PRAGMAS:
                connection.execute(f"PRAGMA {pragma}")
            connection.execute("CREATE TABLE runs (id INTEGER PRIMARY KEY)")
            connection.execute("INSERT INTO runs VALUES (?)", (run_id,))
            metrics = "".join(f"{quote_identifier(name)} REAL, " for name in names)
            connection.execute(
                "CREATE TABLE by_hand (run_id INTEGER NOT NULL REFERENCES runs (id), step INTEGER NOT NULL, "
                f"progress REAL NOT NULL, {metrics}PRIMARY KEY (run_id, step, progress)) WITHOUT ROWID"
            )
            yield HandTable(connection, _upsert_sql("by_hand", names, "?"))

    @contextlib.contextmanager
    def peer_url(self) -> Iterator[str]:
        yield f"sqlite:///{os.path.join(self._folder, 'peer.db')}"

    def metrics_bytes(self) -> int:
        # Whatever else was stored since is a row or two.
        return self._file_bytes() - self._empty_bytes

    def _file_bytes(self) -> int:
        sql = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
        return int(self.client.execute(sql).fetchone()[0])


class _Postgres:
    name = "postgres"
    _numbers = itertools.count(1)

    def __init__(self, dsn: str) -> None:
        import psycopg

        self._dsn = dsn
        with psycopg.connect(dsn) as connection:
            version = connection.info.parameter_status("server_version") or ""
        self.version = f"PostgreSQL {version.split()[0]}"

    @contextlib.contextmanager
    def database(self) -> Iterator[Database]:
        with _own_schema(self._dsn, f"sqltrack_bench_{os.getpid()}_{next(self._numbers)}") as schema:
            yield _PostgresDatabase(self._dsn, schema)


class _PostgresDatabase:
    def __init__(self, dsn: str, schema: str) -> None:
        import psycopg

        self._dsn = dsn
        self._schema = schema
        self._parameters = psycopg.conninfo.conninfo_to_dict(dsn)
        self.client = _set_up({"engine": "postgres", **self._parameters, "schema": schema})

    @contextlib.contextmanager
    def hand_table(self, run_id: int, names: Sequence[str]) -> Iterator[HandTable]:
        import psycopg

        table = f"by_hand_{len(names)}"
        metrics = "".join(f"{quote_identifier(name)} DOUBLE PRECISION, " for name in names)
        options = _search_path(self._schema)
        with psycopg.connect(self._dsn, autocommit=True, prepare_threshold=0, options=options) as connection:
            connection.execute(
                f"CREATE TABLE {table} (run_id BIGINT NOT NULL REFERENCES runs (id), step BIGINT NOT NULL, "
                f"progress DOUBLE PRECISION NOT NULL, {metrics}PRIMARY KEY (run_id, step, progress))"
            )
            yield HandTable(connection, _upsert_sql(table, names, "%s"))

    @contextlib.contextmanager
    def peer_url(self) -> Iterator[str]:
        with _own_schema(self._dsn, f"{self._schema}_peer") as schema:
            yield f"postgresql+psycopg:///?{urlencode({**self._parameters, 'options': _search_path(schema)})}"

    def metrics_bytes(self) -> int:
        return int(self.client.execute("SELECT pg_total_relation_size('metrics')").fetchone()[0])


@contextlib.contextmanager
def _open_sqlite() -> Iterator[Engine]:
    yield _SQLite()


@contextlib.contextmanager
def _open_postgres() -> Iterator[Engine]:
    """Use the server that SQLTRACK_BENCH_DSN names, or start one as the tests do."""
    if (dsn := os.environ.get("SQLTRACK_BENCH_DSN")) is not None:
        yield _Postgres(dsn)
        return
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
    from plugins.postgres_server import NoServerError, running_server

    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(running_server())
        except NoServerError as error:
            raise NoDatabaseError(f"{error}; or name a server with SQLTRACK_BENCH_DSN") from error
        yield _Postgres(server.dsn)


_OPEN: dict[str, Callable[[], contextlib.AbstractContextManager[Engine]]] = {
    "sqlite": _open_sqlite,
    "postgres": _open_postgres,
}


@contextlib.contextmanager
def _own_schema(dsn: str, schema: str) -> Iterator[str]:
    import psycopg

    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {schema}")
        try:
            yield schema
        finally:
            connection.execute(f"DROP SCHEMA {schema} CASCADE")


def _search_path(schema: str) -> str:
    return f"-c search_path={schema}"


def _set_up(config: dict[str, Any]) -> sqltrack.Client:
    client = sqltrack.Client(config)
    with contextlib.redirect_stdout(io.StringIO()):
        setup(client)
    return client


def _upsert_sql(table: str, names: Sequence[str], placeholder: str) -> str:
    columns = [quote_identifier(name) for name in names]
    return (
        f"INSERT INTO {table} (run_id, step, progress, {', '.join(columns)}) "
        f"VALUES ({', '.join([placeholder] * (len(columns) + 3))}) ON CONFLICT (run_id, step, progress) "
        f"DO UPDATE SET {', '.join(f'{column} = excluded.{column}' for column in columns)}"
    )
