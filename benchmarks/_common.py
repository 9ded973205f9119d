"""Shared code of the benchmarks: options, databases, timing, statistics and the files of results."""

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
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlencode

import sqltrack
from sqltrack.commands import setup
from sqltrack.engines.json import Jsonb
from sqltrack.util import quote_identifier

__all__ = [
    "BY_HAND",
    "OURS",
    "Database",
    "Engine",
    "HandTable",
    "Row",
    "Turn",
    "add_float_columns",
    "apart",
    "column_names",
    "compare",
    "connect_by_hand",
    "create_parser",
    "fill_metrics",
    "fill_runs",
    "keep_fastest",
    "metric_names",
    "open_engines",
    "print_row",
    "random_metrics",
    "run_benchmark",
    "summarize",
    "take_turns",
    "write_config_file",
    "write_json",
]

# Programs by hand capture nothing either; capture.py measures what it costs.
os.environ.setdefault("SQLTRACK_CAPTURE", "off")

# Names of the two ways that are compared: SQLTrack's, and the shortest code that does the same.
OURS, BY_HAND = "sqltrack", "by hand"

# One call of a way; the argument counts the calls from 0.
Turn = Callable[[int], object]

# A row of figures, see `compare`.
Row = dict[str, Any]

_SQLITE_PRAGMAS = ("journal_mode = WAL", "wal_autocheckpoint = 4000", "synchronous = NORMAL", "foreign_keys = ON")
# The smallest number of calls for each percentile: p99 needs 100.
_PERCENTILES = {"p50": (0.5, 1), "p99": (0.99, 100), "p99.9": (0.999, 1_000)}


class HandTable(NamedTuple):
    """A table to write to by hand, and the statement that stores run id, step, progress and metrics in it.

    The connection commits every statement by itself, and prepares it.
    """

    connection: Any
    upsert_sql: str


class Database(Protocol):
    """An empty database that SQLTrack has set up; its `with` block removes it."""

    client: sqltrack.Client

    def hand_table(self, run_id: int, names: Sequence[str]) -> contextlib.AbstractContextManager[HandTable]:
        """Provide a table like `metrics` with columns for these metrics, in which only `run_id` must exist."""
        ...

    def peer_url(self) -> contextlib.AbstractContextManager[str]:
        """Provide SQLAlchemy's URL of another empty database of the same engine."""
        ...

    def metrics_bytes(self) -> int:
        """Return the size of the metrics on disk, with their index."""
        ...

    def settle(self) -> None:
        """Do the maintenance that the database does by itself some time after many rows were stored."""
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
    """Return a parser with the options of all benchmarks, or without `engines` for those that need no database."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the figures to this file, too")
    parser.add_argument("--quick", action="store_true", help="much less of everything: to see that it works")
    if engines:
        parser.add_argument("--engines", default=",".join(_OPEN), help="default: %(default)s")
    return parser


def run_benchmark(description: str | None, measure_engine: Callable[[Engine, bool], Iterator[Row]]) -> list[Row]:
    """Measure each engine, print each row, write all rows to the file and return them.

    Args:
        description: text for --help.
        measure_engine: yields the rows of an engine; its second argument is whether --quick was given.
    """
    options = create_parser(description).parse_args()
    rows = []
    for engine in open_engines(options.engines):
        for row in measure_engine(engine, options.quick):
            print_row(row)
            rows.append(row)
    write_json(options.json, results=rows)
    return rows


def write_json(path: Path | None, **document: Any) -> None:
    """Write figures to a file, together with a description of the machine; None does nothing."""
    if path is None:
        return
    # Enough to judge the figures, and nothing that identifies the owner of the machine.
    machine = {
        "cpu": _cpu_model(),
        "cpus": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "psycopg": metadata.version("psycopg"),
        "sqltrack": metadata.version("sqltrack-core"),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"date": date.today().isoformat(), "machine": machine, **document}, indent=2)
    path.write_text(text + "\n", encoding="utf-8")


def _cpu_model() -> str:
    """Return the model name of the processor; platform.processor() is empty on most Linux systems."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or "unknown"


def write_config_file(database: Database, folder: str) -> str:
    """Write the configuration of a database to a file in a folder, and return its path."""
    path = os.path.join(folder, "sqltrack.conf")
    lines = [f"{name} = {value}\n" for name, value in database.client.config.items() if value is not None]
    Path(path).write_text("".join(lines), encoding="utf-8")
    return path


# Timing and statistics


def take_turns(
    ways: Mapping[str, Turn],
    rounds: int,
    *,
    batch: int = 1,
    warm_up: int = 1,
    prepare: Callable[[], object] | None = None,
) -> dict[str, list[int]]:
    """Return the nanoseconds of every call of each way after the warm-up.

    In each round all ways make their calls, so that a slow machine slows down all of them. The order rotates, so that
    each way follows each other.

    Args:
        ways: name and call of each way. All ways are called with the same numbers, each once.
        rounds: number of timed rounds.
        batch: calls of a way in a round, one after the other.
        warm_up: rounds before these.
        prepare: called before each turn, not timed.
    """
    names = list(ways)
    times: dict[str, list[int]] = {name: [] for name in names}
    for number in range(warm_up + rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            if prepare is not None:
                prepare()
            taken = _time_calls(ways[name], range(number * batch, (number + 1) * batch))
            if number >= warm_up:
                times[name] += taken
    return times


def keep_fastest(measure: Callable[[], dict[str, list[int]]], connections: int) -> dict[str, list[int]]:
    """Return the times of the connections on which all ways together were fastest.

    A server process that shares a CPU with its client may answer in half the time until the client disconnects. So two
    connections can differ by more than the work done on them.

    Args:
        measure: opens a connection for each way, and returns the result of `take_turns`.
        connections: how often to call it.
    """
    measured = [measure() for _ in range(connections)]
    return min(measured, key=lambda times: sum(summarize(taken)["p50"] for taken in times.values()))


@contextlib.contextmanager
def apart(client: sqltrack.Client) -> Iterator[None]:
    """Keep this process and a local PostgreSQL server on different CPUs, where the system allows it.

    Connections within the `with` block then take equally long, see `keep_fastest`.
    """
    server = _local_server(client)
    cpus = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else []
    if server is None or len(cpus) < 2:
        yield
        return
    with contextlib.ExitStack() as stack:
        # New processes of the server inherit the CPUs of the first.
        for pid, chosen in ((0, cpus[:1]), (server, cpus[1:])):
            with contextlib.suppress(OSError):
                before = os.sched_getaffinity(pid)
                os.sched_setaffinity(pid, chosen)
                stack.callback(os.sched_setaffinity, pid, before)
        yield


def _local_server(client: sqltrack.Client) -> int | None:
    """Return the number of the first process of a PostgreSQL server on this machine, None if it is not known."""
    if client.config["engine"] != "postgres":
        return None
    try:
        (folder,) = client.execute("SHOW data_directory").fetchone()
        return int((Path(folder) / "postmaster.pid").read_text(encoding="utf-8").splitlines()[0])
    except (OSError, ValueError, sqltrack.SQLTrackError):
        return None


def _time_calls(call: Turn, numbers: range) -> list[int]:
    taken = []
    for number in numbers:
        begin = time.perf_counter_ns()
        call(number)
        taken.append(time.perf_counter_ns() - begin)
    return taken


def summarize(nanoseconds: Sequence[int]) -> dict[str, float]:
    """Return the median and, if there are enough calls, the 99th and 99.9th percentiles, in seconds."""
    ordered = sorted(nanoseconds)
    return {
        name: float(f"{ordered[int(len(ordered) * part)] / 1e9:.4g}")
        for name, (part, enough) in _PERCENTILES.items()
        if len(ordered) >= enough
    }


def compare(engine: Engine, what: str, times: Mapping[str, Sequence[int]], **more: Any) -> Row:
    """Return a row of figures.

    Args:
        engine: the engine.
        what: name of the measurement, unique among the rows of this engine.
        times: nanoseconds of the calls of each way; the ratio compares OURS and BY_HAND.
        more: further figures of the row.
    """
    return {
        "engine": engine.name,
        "version": engine.version,
        "what": what,
        **more,
        "calls": min(map(len, times.values())),
        "ways": {way: summarize(taken) for way, taken in times.items()},
    }


def print_row(row: Row) -> None:
    """Print the times of all ways in milliseconds: the median, and slow calls if there are enough calls."""
    ways = row["ways"]
    figures = [f"{way} {' / '.join(map(_as_milliseconds, times.values()))}" for way, times in ways.items()]
    if OURS in ways and BY_HAND in ways:
        figures.append(f"ratio {ways[OURS]['p50'] / ways[BY_HAND]['p50']:.2f}")
    print(f"{row['version']:18}{row['what']:50}{', '.join(figures)}{' (ms)' if figures else ''}", flush=True)


def _as_milliseconds(seconds: float) -> str:
    milliseconds = seconds * 1000
    return f"{milliseconds:,.0f}" if milliseconds >= 1_000 else f"{milliseconds:.4g}"


# Rows


def metric_names(count: int) -> list[str]:
    """Return names for `count` metrics."""
    return [f"metric_{number}" for number in range(count)]


def random_metrics(count: int, rows: int) -> list[dict[str, float]]:
    """Return rows of `count` metrics, the same ones every time."""
    numbers = random.Random(count)
    names = metric_names(count)
    return [{name: numbers.random() for name in names} for _ in range(rows)]


def fill_runs(client: sqltrack.Client, count: int, args: Sequence[Mapping[str, Any]] = ({},)) -> None:
    """Store ended runs of an experiment by SQL, which is faster than tracking them.

    Args:
        client: client of the database.
        count: number of runs; a multiple of the number of `args`.
        args: arguments, each for the same number of runs.
    """
    experiment = sqltrack.Experiment(client, name="filled")
    moment = "'2026-01-01 00:00:00.000000+00:00'"
    with client:
        for item in args:
            client.execute(
                f"INSERT INTO runs (experiment_id, status, time_started, time_updated, args) {_series_sql('numbers')} "
                f"SELECT %s, 'COMPLETED', {moment}, {moment}, %s FROM numbers",
                (count // len(args), experiment.id, Jsonb(dict(item))),
            )


def fill_metrics(client: sqltrack.Client, steps: int, names: Sequence[str]) -> None:
    """Store the same number of steps for all runs by SQL, with numbers that look random but are the same every time."""
    add_float_columns(client, names)
    columns = ", ".join(map(quote_identifier, names))
    values = ", ".join(
        f"((runs.id * 7919 + CAST(number AS BIGINT) * 104729) %% {999_983 - index}) / 999983.0"
        for index in range(len(names))
    )
    client.execute(
        f"INSERT INTO metrics (run_id, step, {columns}) {_series_sql('numbers')} "
        f"SELECT runs.id, number, {values} FROM runs CROSS JOIN numbers",
        (steps,),
    )


def add_float_columns(client: sqltrack.Client, names: Sequence[str]) -> None:
    """Add missing columns of metrics by plain SQL."""
    there = column_names(client)
    with client:
        for name in names:
            if name not in there:
                client.execute(f"ALTER TABLE metrics ADD COLUMN {quote_identifier(name)} FLOAT")


def column_names(client: sqltrack.Client) -> set[str]:
    """Return the names of the columns of `metrics`, including its key."""
    return {column[0] for column in client.execute("SELECT * FROM metrics LIMIT 0").description or ()}


def _series_sql(name: str) -> str:
    """Return a WITH clause for a table `name` whose column `number` counts from 1 to the value of its placeholder."""
    return f"WITH RECURSIVE {name} (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM {name} WHERE number < %s)"


# Databases


def open_engines(names: str) -> Iterator[Engine]:
    """Yield the named engines, separated by commas; report engines that are not available, and skip them."""
    for name in names.split(","):
        try:
            with _OPEN[name]() as engine:
                yield engine
        except NoDatabaseError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)


def connect_by_hand(config: Mapping[str, Any]) -> Any:
    """Open a connection of the bare driver to a client's database, with the settings that SQLTrack uses.

    Every statement commits by itself, and has %s as placeholders.
    """
    if config["engine"] == "sqlite":
        return _connect_sqlite(config["dbpath"], _PercentConnection)
    import psycopg

    parameters = {name: value for name, value in config.items() if name not in ("engine", "schema")}
    return psycopg.connect("", autocommit=True, options=_search_path(config["schema"]), **parameters)


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
        # In a separate file, or each side would find pages that the other has just changed.
        path = os.path.join(self._folder, f"by_hand_{len(names)}.db")
        with contextlib.closing(_connect_sqlite(path)) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS runs (id INTEGER PRIMARY KEY)")
            connection.execute("INSERT INTO runs VALUES (?)", (run_id,))
            metrics = "".join(f"{quote_identifier(name)} REAL, " for name in names)
            connection.execute(
                "CREATE TABLE IF NOT EXISTS by_hand (run_id INTEGER NOT NULL REFERENCES runs (id), "
                "step INTEGER NOT NULL, progress REAL NOT NULL, "
                f"{metrics}PRIMARY KEY (run_id, step, progress)) WITHOUT ROWID"
            )
            yield HandTable(connection, _upsert_sql("by_hand", names, "?"))

    @contextlib.contextmanager
    def peer_url(self) -> Iterator[str]:
        yield f"sqlite:///{os.path.join(self._folder, 'peer.db')}"

    def metrics_bytes(self) -> int:
        # Other rows since then are few.
        return self._file_bytes() - self._empty_bytes

    def settle(self) -> None:
        # SQLite collects no statistics by itself, but moves a large log into the database.
        self.client.execute("PRAGMA wal_checkpoint").fetchall()

    def _file_bytes(self) -> int:
        sql = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
        return int(self.client.execute(sql).fetchone()[0])


class _PercentConnection(sqlite3.Connection):
    """sqlite3's connection with psycopg's placeholders, so that one statement serves both drivers."""

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        return super().execute(sql.replace("%s", "?"), parameters)


def _connect_sqlite(path: str, factory: type[sqlite3.Connection] = sqlite3.Connection) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=60, isolation_level=None, factory=factory)
    for pragma in _SQLITE_PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
    return connection


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
                f"CREATE TABLE IF NOT EXISTS {table} (run_id BIGINT NOT NULL REFERENCES runs (id), "
                "step BIGINT NOT NULL, progress DOUBLE PRECISION NOT NULL, "
                f"{metrics}PRIMARY KEY (run_id, step, progress))"
            )
            yield HandTable(connection, _upsert_sql(table, names, "%s"))

    @contextlib.contextmanager
    def peer_url(self) -> Iterator[str]:
        with _own_schema(self._dsn, f"{self._schema}_peer") as schema:
            yield f"postgresql+psycopg:///?{urlencode({**self._parameters, 'options': _search_path(schema)})}"

    def metrics_bytes(self) -> int:
        return int(self.client.execute("SELECT pg_total_relation_size('metrics')").fetchone()[0])

    def settle(self) -> None:
        # As autovacuum would.
        with contextlib.closing(connect_by_hand(self.client.config)) as connection:
            connection.execute("VACUUM (ANALYZE) metrics")
            connection.execute("VACUUM (ANALYZE) runs")


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
