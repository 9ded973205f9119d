"""Read the source and the target of a copy, without changing them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from types import TracebackType
from typing import Any, NamedTuple

from sqltrack.capture._package_lists import TABLE as PACKAGES
from sqltrack.capture._package_lists import packages_with_hash
from sqltrack.capture._summary import split_extras
from sqltrack.client import Client
from sqltrack.commands._copying.spool import Layout, Spool, as_utc
from sqltrack.commands._databases import require_database
from sqltrack.commands._lookup import find_experiment
from sqltrack.commands._rows import batches, fetch
from sqltrack.engines.admin import admin_of
from sqltrack.engines.results import find_reader
from sqltrack.engines.schema import EXTRAS, KEY, TABLES
from sqltrack.errors import NotSetUpError, SQLTrackError
from sqltrack.metrics import MetricsRow
from sqltrack.util import placeholders, quote_identifier

__all__ = ["COPIED_RUNS", "JSON_COLUMNS", "TIMES", "Origin", "Records", "RunRecord"]

COPIED_RUNS = "copied_runs"
JSON_COLUMNS = ("tags", "args", "env", "extras")
TIMES = ("time_created", "time_started", "time_updated")

_AT_STEPS_SQL = "(m.step, m.progress) >= (%s, %s) AND (m.step, m.progress) <= (%s, %s)"
_RUN_COLUMNS = ("id", "experiment_id", "status", *TIMES, "comment", *JSON_COLUMNS)

# Approximate number of values in a chunk of rows, and its maximum number of rows.
_VALUES_PER_CHUNK = 200_000
_ROWS_PER_CHUNK = 2_000


class Origin(NamedTuple):
    """The identity of a run in all its copies: its first id, and its creation time."""

    id: int
    time_created: datetime


class RunRecord(NamedTuple):
    """A run in a database.

    Attributes:
        values: columns of the table `runs` with their values.
        origin: its origin.
        is_copy: whether it was created in another database.
        is_settled: whether it was copied completely after it had not changed for some time.
        rows: number of its rows of metrics.
    """

    values: Mapping[str, Any]
    origin: Origin
    is_copy: bool
    is_settled: bool
    rows: int


class Records:
    """Reads from a database on its own connection, which is open in the `with` block.

    Args:
        client: client of the database.
        advice: what to do if the database is not set up.
        as_superuser: whether a superuser reads even if other users' code could use the superuser's rights, default
            True.
    """

    def __init__(self, client: Client, advice: str, *, as_superuser: bool = True) -> None:
        self.engine = client.engine
        self._advice = advice
        self._as_superuser = as_superuser
        self._admin = admin_of(self.engine)
        self._layout: tuple[Mapping[str, str], Layout, str] | None = None

    def __enter__(self) -> Records:
        require_database(self.engine, self._advice)
        self._admin = admin_of(self.engine, self._admin.connect_read_only())
        try:
            if not self._as_superuser:
                pending = self._admin.pending_table
                self._admin.refuse_foreign_code(
                    [*TABLES, COPIED_RUNS, PACKAGES, *([] if pending is None else [pending])]
                )
            with self.snapshot() as connection:
                if not self.engine.table_columns(connection, "runs"):
                    raise NotSetUpError(f"{self.engine.describe()} has no sqltrack tables", self._advice)
        except BaseException:
            self._admin.connection.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.engine.abort(self._admin.connection)

    @contextmanager
    def snapshot(self) -> Iterator[Any]:
        """Return the connection, with a snapshot of the database in the `with` block."""
        with self._admin.snapshot():
            yield self._admin.connection

    def identity(self) -> str:
        """Return the identity of this database."""
        with self.snapshot():
            return self._admin.identity()

    def experiments(self, names: Iterable[str] | None) -> list[dict[str, Any]]:
        """Return experiments by name or id, all if `names` is None.

        Raises:
            NotFoundError: an experiment does not exist.
        """
        sql = "SELECT id, name, comment, tags, extras FROM experiments"
        with self.snapshot() as connection:
            if names is None:
                return fetch(connection, f"{sql} ORDER BY id")
            ids = sorted({find_experiment(connection, name) for name in names})
            return _fetch_by_ids(connection, f"{sql} WHERE id IN", ids)

    def experiments_named(self, names: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return the existing experiments among names, by name."""
        sql = "SELECT id, name, comment, tags, extras FROM experiments WHERE name IN"
        with self.snapshot() as connection:
            return {record["name"]: record for record in _fetch_by_ids(connection, sql, names)}

    def run_ids(self, experiment_ids: Sequence[int]) -> tuple[list[int], int]:
        """Return the ids of the runs of experiments, and the number of their rows of metrics."""
        chosen = set(experiment_ids)
        with self.snapshot() as connection:
            runs = connection.execute("SELECT id, experiment_id FROM runs ORDER BY id").fetchall()
            ids = [run_id for run_id, experiment_id in runs if experiment_id in chosen]
            counts = _count_rows(connection, ids)
        return ids, sum(counts.values())

    def run_ids_in_use(self, ids: Sequence[int]) -> set[int]:
        """Return the ids that are in use."""
        with self.snapshot() as connection:
            return {row["id"] for row in _fetch_by_ids(connection, "SELECT id FROM runs WHERE id IN", ids)}

    def runs(self, ids: Sequence[int]) -> dict[int, RunRecord]:
        """Return the existing runs among ids, by id."""
        with self.snapshot() as connection:
            return self._runs(connection, ids)

    def _runs(self, connection: Any, ids: Sequence[int]) -> dict[int, RunRecord]:
        records = _fetch_by_ids(connection, f"SELECT {', '.join(_RUN_COLUMNS)} FROM runs WHERE id IN", ids)
        counts = _count_rows(connection, ids)
        copied: dict[int, dict[str, Any]] = {}
        if self._has_copies(connection):
            sql = f"SELECT source_id, time_created, run_id, settled FROM {COPIED_RUNS} WHERE run_id IN"
            copied = {copy["run_id"]: copy for copy in _fetch_by_ids(connection, sql, ids)}
        runs = {}
        for values in records:
            values.update((name, as_utc(values[name])) for name in TIMES if isinstance(values[name], datetime))
            run_id = values["id"]
            copy = copied.get(run_id)
            origin = _origin(run_id, values) if copy is None else _origin(copy["source_id"], copy)
            is_settled = copy is not None and bool(copy["settled"])
            runs[run_id] = RunRecord(values, origin, copy is not None, is_settled, counts.get(run_id, 0))
        return runs

    def find(self, origins: Sequence[Origin]) -> dict[Origin, int]:
        """Return the ids of the existing runs with these origins."""
        wanted, ids = set(origins), [origin.id for origin in origins]
        found = {}
        with self.snapshot() as connection:
            own = _fetch_by_ids(connection, "SELECT id, time_created FROM runs WHERE id IN", ids)
            if self._has_copies(connection):
                sql = f"SELECT run_id FROM {COPIED_RUNS} WHERE run_id IN"
                copies = {row["run_id"] for row in _fetch_by_ids(connection, sql, [row["id"] for row in own])}
                own = [row for row in own if row["id"] not in copies]
                sql = f"SELECT source_id, time_created, run_id FROM {COPIED_RUNS} WHERE source_id IN"
                for row in _fetch_by_ids(connection, sql, ids):
                    found[_origin(row["source_id"], row)] = row["run_id"]
        found.update((_origin(row["id"], row), row["id"]) for row in own)
        return {origin: run_id for origin, run_id in found.items() if origin in wanted}

    def column_types(self) -> dict[str, type]:
        """Return the Python types of all columns of metrics, and of the extras."""
        with self.snapshot():
            types = self._admin.python_types("metrics")
        return {name: typ for name, typ in types.items() if name not in KEY}

    def packages(self, runs: Iterable[RunRecord]) -> dict[str, Any]:
        """Return the lists of packages that runs have captured, by hash."""
        hashes = {digest for run in runs if (digest := _packages_hash(run)) is not None}
        found = {}
        with self.snapshot() as connection:
            for digest in sorted(hashes):
                packages = packages_with_hash(self.engine, connection, digest)
                if packages is not None:
                    found[digest] = packages
        return found

    def spool(self, run_id: int, spool: Spool) -> tuple[RunRecord | None, Layout]:
        """Read a run and all its metrics in one snapshot.

        Args:
            run_id: id of the run.
            spool: takes the rows, in the order of step and progress.

        Returns:
            The run, None if it was deleted, and the layout of the rows.
        """
        with self.snapshot() as connection:
            record = self._runs(connection, [run_id]).get(run_id)
            layout, sql = self._metrics_sql(connection)
            size = max(min(_VALUES_PER_CHUNK // (len(layout.names) + 1), _ROWS_PER_CHUNK), 1)
            cursor = connection.cursor()
            query = f"{sql} WHERE m.run_id = %s ORDER BY m.step, m.progress"
            with find_reader(cursor).read(cursor, query, (run_id,), size) as reading:
                for chunk in reading.chunks:
                    spool.add(chunk)
        return record, layout

    def metrics_at(self, run_id: int, rows: Sequence[MetricsRow]) -> dict[tuple[int, float], MetricsRow]:
        """Return the rows of a run at the steps of the sorted `rows`, by step and progress."""
        wanted = {(row.step, row.progress) for row in rows}
        found = {}
        with self.snapshot() as connection:
            layout, sql = self._metrics_sql(connection)
            cursor = connection.cursor()
            query = f"{sql} WHERE m.run_id = %s AND {_AT_STEPS_SQL}"
            parameters = (run_id, rows[0].step, rows[0].progress, rows[-1].step, rows[-1].progress)
            with find_reader(cursor).read(cursor, query, parameters, _ROWS_PER_CHUNK) as reading:
                for chunk in reading.chunks:
                    for values in chunk:
                        if (values[0], values[1]) in wanted:
                            found[values[0], values[1]] = layout.row(values)
        return found

    def links(self, table: str, from_ids: Sequence[int] | None = None) -> Iterator[list[tuple[int, str, int]]]:
        """Return links in lists of a few hundred, only those from `from_ids` if given."""
        sql = f"SELECT from_id, kind, to_id FROM {table}"
        with self.snapshot() as connection:
            if from_ids is None:
                rows = connection.execute(f"{sql} ORDER BY from_id, kind, to_id").fetchall()
            else:
                rows = [tuple(row.values()) for row in _fetch_by_ids(connection, f"{sql} WHERE from_id IN", from_ids)]
        return (list(batch) for batch in batches(rows))

    def _has_copies(self, connection: Any) -> bool:
        return bool(self.engine.table_columns(connection, COPIED_RUNS))

    def _metrics_sql(self, connection: Any) -> tuple[Layout, str]:
        """Return the layout of rows of metrics, and a query for them without conditions."""
        columns = self.engine.table_columns(connection, "metrics")
        if self._layout is None or self._layout[0] != columns:
            # Only once, because it reads all rows.
            types = self._admin.python_types("metrics")
            self._layout = (columns, *self._read_metrics(columns, types))
        return self._layout[1:]

    def _read_metrics(self, columns: Mapping[str, str], types: Mapping[str, type]) -> tuple[Layout, str]:
        names = [name for name in columns if name not in KEY and name != EXTRAS]
        selected = ["m.step", "m.progress", *(f"m.{quote_identifier(name)}" for name in names)]
        pending, joined = self._admin.pending_table, ""
        extras = [f"m.{EXTRAS}"] if EXTRAS in columns else []
        if pending is not None:
            extras.append(f"pending.{EXTRAS}")
            conditions = " AND ".join(f"pending.{name} = m.{name}" for name in KEY)
            joined = f" LEFT JOIN {pending} AS pending ON {conditions}"
        sql = f"SELECT {', '.join([*selected, *extras])} FROM metrics AS m{joined}".replace("%", "%%")
        return Layout(names, [types.get(name) for name in names], len(extras)), sql


def _packages_hash(run: RunRecord) -> str | None:
    """Return the hash of the list of packages that a run has captured, None without one."""
    _, capture = split_extras(run.values["extras"])
    packages = capture.get("packages")
    return packages if isinstance(packages, str) else None


def _origin(run_id: int, values: Mapping[str, Any]) -> Origin:
    time_created = values["time_created"]
    if not isinstance(time_created, datetime):
        raise SQLTrackError(f"run {run_id!r} has time_created {time_created!r}, expected a time")
    return Origin(run_id, as_utc(time_created))


def _count_rows(connection: Any, ids: Sequence[int]) -> dict[int, int]:
    """Return the numbers of rows of metrics of runs, without runs that have none."""
    sql = "SELECT run_id, COUNT(*) AS number FROM metrics WHERE run_id IN"
    return {row["run_id"]: row["number"] for row in _fetch_by_ids(connection, sql, ids, " GROUP BY run_id")}


def _fetch_by_ids(connection: Any, sql: str, ids: Sequence[Any], end: str = "") -> list[dict[str, Any]]:
    """Return the rows of a query that ends with IN, run in batches of ids that fit into a statement."""
    return [
        row for batch in batches(ids) for row in fetch(connection, f"{sql} ({placeholders(len(batch))}){end}", batch)
    ]
