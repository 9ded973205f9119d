"""Implement the interface for the metrics table for PostgreSQL."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import psycopg

from sqltrack._logging import get_logger
from sqltrack._quoting import placeholders, quote_identifier, quote_text
from sqltrack.engines.json import Jsonb
from sqltrack.engines.metrics_table import (
    TOUCH_IF_DUE_SQL,
    Converter,
    Fault,
    MetricsTable,
    MovedRow,
    Upsert,
    conflict_sql,
    touch_if_due_values,
)
from sqltrack.engines.postgres._connection import BoundedConnection, Savepoint
from sqltrack.engines.postgres._locks import LOCK_TIMEOUT, patiently
from sqltrack.engines.postgres._sizes import table_bytes
from sqltrack.engines.postgres._types import CONVERTERS, WIDER
from sqltrack.engines.postgres.sql import MAX_NAME_BYTES
from sqltrack.engines.schema import EXTRAS, KEY

__all__ = ["ADD_MOVED_SQL", "PostgresMetricsTable"]

_MAX_WAIT = 1.0

# Widening rewrites the table under an exclusive lock, at some 50 MB per second.
_MAX_REWRITTEN_BYTES = 16 * 2**20

# MaxHeapAttributeNumber minus one column reserved for extras, and the system columns (PostgreSQL manual, appendix K
# and section 5.6).
_MAX_COLUMNS = 1599
_SYSTEM_COLUMNS = frozenset({"cmax", "cmin", "ctid", "tableoid", "xmax", "xmin"})

# undefined_column, datatype_mismatch, program_limit_exceeded (PostgreSQL manual, appendix A).
_FAULTS: Mapping[str | None, Fault] = {"42703": Fault.STALE, "42804": Fault.STALE, "54000": Fault.TOO_BIG}

# Citus changes tables on all of its hosts. While one of them is down it refuses that on a connection that goes on to
# work (08006, 55000), and hosts other than the coordinator refuse it always (XX000), as some services do (0A000).
_REFUSED_FOR_NOW = (
    psycopg.errors.ConnectionFailure,
    psycopg.errors.FeatureNotSupported,
    psycopg.errors.InternalError_,
    psycopg.errors.ObjectNotInPrerequisiteState,
)
_REFUSED = (
    "the server adds no columns to 'metrics' now, so new metrics go to 'metrics.extras', "
    "and 'sqltrack tidy' can move them to columns later: %s"
)

_THIS_ROW = "run_id = %s AND step = %s AND progress = %s"

# Metrics of 8 bytes each to move out of a full row. Its extras need 18 bytes, and a row with NULLs has a bitmap with
# one bit per column, up to 200 bytes (PostgreSQL manual, sections 73.2 and 73.6).
_MOVED_FOR_ROOM = 40
_NEWEST_COLUMNS_SQL = """
    SELECT attname FROM pg_attribute
    WHERE attrelid = 'metrics'::regclass AND attnum > 0 AND NOT attisdropped
    ORDER BY attnum DESC
"""

# From this number of rows, a temporary table, which takes about six statements, beats one statement per row.
_COPIED_FROM = 200

_KEY_LENGTH = len(KEY)

_MERGED_EXTRAS = "COALESCE(metrics.extras, '{}') || excluded.extras"


class PostgresMetricsTable(MetricsTable):
    """Adds columns over a separate connection, without blocking others for long."""

    grows_beside = True

    def can_be_column(self, name: str, columns: Mapping[str, str]) -> bool:
        if name in _SYSTEM_COLUMNS or name in KEY or name == EXTRAS:
            return False
        return len(name.encode("utf-8")) <= MAX_NAME_BYTES and len(columns) < _MAX_COLUMNS

    def converter(self, sql_type: str, typ: type) -> Converter | None:
        if typ is type(None):
            return None
        try:
            return CONVERTERS[typ][sql_type]
        except KeyError:
            raise TypeError(typ) from None

    def wider_type(self, sql_type: str, typ: type) -> str | None:
        return WIDER.get((typ, sql_type.lower()))

    def grow(self, connection: Any, added: Mapping[str, str], widened: Mapping[str, str]) -> bool:
        try:
            return patiently(lambda: _alter(connection, added, widened), _MAX_WAIT)
        except psycopg.errors.InsufficientPrivilege:
            # Only the owner may alter the table; new metrics of other users go to `extras`.
            return False
        except _REFUSED_FOR_NOW as error:
            if connection.closed or connection.broken:
                raise
            _tell_refusal(" ".join(str(error).split()))
            return False

    def may_grow(self, connection: Any) -> bool:
        query = "SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = 'metrics'::regclass"
        return bool(connection.execute(query).fetchone()[0])

    def move_to_columns(self, connection: Any, names: Sequence[str], rows: Sequence[MovedRow]) -> None:
        with connection.transaction():
            if _move_to_columns(connection, names, rows) < len(rows):
                # Some metrics of a row were stored again in the meantime; move the others one by one.
                for name in names:
                    _move_to_columns(connection, [name], rows)

    def make_room(self, connection: Any, key: tuple[int, int, float]) -> bool:
        row = connection.execute(f"SELECT to_jsonb(metrics) FROM metrics WHERE {_THIS_ROW}", key).fetchone()
        values = row[0] if row is not None else {}
        columns = [name for (name,) in connection.execute(_NEWEST_COLUMNS_SQL) if name not in (*KEY, EXTRAS)]
        moved = [name for name in columns if type(values.get(name)) in (int, float)][:_MOVED_FOR_ROOM]
        if not moved:
            return False
        quoted = [quote_identifier(name).replace("%", "%%") for name in moved]
        nulls = ", ".join(f"{column} = NULL" for column in quoted)
        objects = ", ".join(f"%s::text, {column}" for column in quoted)
        sql = f"""
            UPDATE metrics SET {nulls}, extras = COALESCE(extras, '{{}}') || jsonb_build_object({objects})
            WHERE {_THIS_ROW}
        """
        connection.execute(sql, (*moved, *key))
        return True

    def is_in_use(self, connection: Any) -> bool:
        query = "SELECT FROM pg_locks WHERE pid = pg_backend_pid() AND relation = 'metrics'::regclass LIMIT 1"
        return connection.execute(query).fetchone() is not None

    def upsert(self, names: Sequence[str], *, extras: bool, pending: bool, has_extras: bool = False) -> Upsert:
        return _PendingUpsert(names, extras) if pending else _PostgresUpsert(names, extras, has_extras)

    def fault_of(self, error: BaseException) -> Fault | None:
        return _FAULTS.get(getattr(error, "sqlstate", None))


@functools.lru_cache(maxsize=16)
def _tell_refusal(message: str) -> None:
    """Log once that the server refuses new columns; the attempt is repeated every few seconds."""
    get_logger("metrics").warning(_REFUSED, message)


def _move_to_columns(connection: Any, names: Sequence[str], rows: Sequence[MovedRow]) -> int:
    """Move metrics in rows whose extras hold all of them; return the number of these rows."""
    columns = [quote_identifier(name).replace("%", "%%") for name in names]
    # A value that is already in the column is newer.
    sets = ", ".join(f"{column} = COALESCE(metrics.{column}, %s)" for column in columns)
    sql = f"""
        UPDATE metrics SET {sets}, extras = NULLIF(extras - %s::text[], '{{}}')
        WHERE run_id = %s AND step = %s AND progress = %s AND extras @> %s
    """
    parameters = [
        (*map(row.values.get, names), list(names), *row.key, Jsonb({name: row.extras[name] for name in names}))
        for row in rows
    ]
    with connection.cursor() as cursor:
        cursor.executemany(sql, parameters)
        return int(cursor.rowcount)


class _PostgresUpsert(Upsert):
    """An INSERT … ON CONFLICT that psycopg prepares; it also updates the run in the same round trip."""

    def __init__(self, names: Sequence[str], extras: bool, has_extras: bool = False) -> None:
        columns = [quote_identifier(name) for name in names]
        removed = ", ".join(map(quote_text, names))
        kept = f"metrics.extras - ARRAY[{removed}]::text[]" if has_extras and names else "metrics.extras"
        self._columns = ", ".join([*KEY, *columns, *([EXTRAS] if extras else [])])
        self._conflict = conflict_sql(
            columns,
            f"COALESCE({kept}, '{{}}') || excluded.extras" if extras else None,
            f"NULLIF({kept}, '{{}}')" if has_extras and names else None,
        )
        values = placeholders(len(KEY) + len(names) + extras, "%s")
        # psycopg finds placeholders inside quotes, too.
        inserted, conflict = (part.replace("%", "%%") for part in (self._columns, self._conflict))
        self._sql = f"INSERT INTO metrics ({inserted}) VALUES ({values}) {conflict}"
        self._touching_sql = f"WITH touched AS (UPDATE runs SET time_updated = %s WHERE id = %s) {self._sql}"
        self._touching_if_due_sql = f"WITH touched AS ({TOUCH_IF_DUE_SQL}) {self._sql}"

    def execute(self, connection: Any, values: Sequence[Any]) -> None:
        connection.write(self._sql, values)

    def execute_and_touch(self, connection: Any, values: Sequence[Any], updated: datetime) -> None:
        connection.write(self._touching_sql, (updated, values[0], *values))

    def execute_and_touch_if_due(self, connection: Any, values: Sequence[Any], updated: datetime) -> None:
        connection.write(self._touching_if_due_sql, (*touch_if_due_values(values[0], updated), *values))

    def execute_many(self, connection: Any, rows: Sequence[Sequence[Any]]) -> None:
        if len(rows) < _COPIED_FROM or not self._copy(connection, rows):
            with connection.cursor() as cursor:
                cursor.executemany(self._sql, rows)

    def _copy(self, connection: BoundedConnection, rows: Sequence[Sequence[Any]]) -> bool:
        """Insert or update many rows through a temporary table; return False, with nothing done, if that fails.

        The caller then takes the slower way, which succeeds or raises the error.
        """
        if not connection.may_copy:
            return False
        try:
            with Savepoint(connection):
                self._copy_rows(connection.cursor(), rows)
        except psycopg.errors.InsufficientPrivilege:
            # The user may not create temporary tables, or not write: do not try again.
            connection.may_copy = False
            return False
        except (psycopg.DataError, psycopg.NotSupportedError, psycopg.ProgrammingError):
            return False
        return True

    def _copy_rows(self, cursor: Any, rows: Sequence[Sequence[Any]]) -> None:
        # A random name, because the user's transaction may have temporary tables of any name.
        table, columns = f"pg_temp.sqltrack_{os.urandom(8).hex()}", self._columns
        cursor.execute(f"CREATE TEMPORARY TABLE {table} ON COMMIT DROP AS SELECT {columns} FROM metrics WITH NO DATA")
        with cursor.copy(f"COPY {table} FROM STDIN") as copy:
            for row in _last_of_each(rows):
                copy.write_row(row)
        selected = f"SELECT {columns} FROM {table} ORDER BY {', '.join(KEY)}"
        cursor.execute(f"INSERT INTO metrics ({columns}) {selected} {self._conflict}")
        cursor.execute(f"DROP TABLE {table}")


def _last_of_each(rows: Sequence[Sequence[Any]]) -> Iterable[Sequence[Any]]:
    """Return the last row of each key: one INSERT cannot update a row twice, and all rows have the same metrics."""
    last = {tuple(row[:_KEY_LENGTH]): row for row in rows}
    return last.values()


class _PendingUpsert(Upsert):
    """The statement while `metrics` has no column `extras`: extras go to `metrics_pending`."""

    def __init__(self, names: Sequence[str], extras: bool) -> None:
        self._rest = _PostgresUpsert(names, extras=False)
        self._has_extras = extras
        removed = ", ".join(map(quote_text, names)).replace("%", "%%")
        kept = f"metrics_pending.extras - ARRAY[{removed}]::text[]"
        if extras:
            self._sql = f"""
                INSERT INTO metrics_pending (run_id, step, progress, extras) VALUES (%s, %s, %s, %s)
                ON CONFLICT (run_id, step, progress) DO UPDATE SET extras = COALESCE({kept}, '{{}}') || excluded.extras
            """
        else:
            self._sql = f"UPDATE metrics_pending SET extras = {kept} WHERE {_THIS_ROW}"

    def execute(self, connection: Any, values: Sequence[Any]) -> None:
        row, pending = self._split(values)
        self._rest.execute(connection, row)
        connection.execute(self._sql, pending)

    def execute_and_touch(self, connection: Any, values: Sequence[Any], updated: datetime) -> None:
        row, pending = self._split(values)
        self._rest.execute_and_touch(connection, row, updated)
        connection.execute(self._sql, pending)

    def execute_and_touch_if_due(self, connection: Any, values: Sequence[Any], updated: datetime) -> None:
        row, pending = self._split(values)
        self._rest.execute_and_touch_if_due(connection, row, updated)
        connection.execute(self._sql, pending)

    def execute_many(self, connection: Any, rows: Sequence[Sequence[Any]]) -> None:
        split = list(map(self._split, rows))
        self._rest.execute_many(connection, [row for row, _ in split])
        with connection.cursor() as cursor:
            cursor.executemany(self._sql, [pending for _, pending in split])

    def _split(self, values: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any]]:
        """Return the values for `metrics` and those for `metrics_pending`."""
        key = values[:_KEY_LENGTH]
        return (values[:-1], (*key, values[-1])) if self._has_extras else (values, key)


def _alter(connection: Any, added: Mapping[str, str], widened: Mapping[str, str]) -> bool:
    """Change the table once, in a transaction of its own."""
    with connection.transaction():
        connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
        if widened:
            # Lock before reading the table, or two transactions that both read it would deadlock.
            connection.execute("LOCK TABLE metrics IN ACCESS EXCLUSIVE MODE")
        additions, widenings = _additions(connection, added), _widenings(connection, widened)
        if not widenings or not _is_changed(connection, [*additions, *widenings]):
            if additions:
                connection.execute(f"ALTER TABLE metrics {', '.join(additions)}")
            for widening in widenings:
                _is_changed(connection, [widening])
        if EXTRAS in added:
            connection.execute(_MOVE_PENDING_SQL)
    return True


def _is_changed(connection: Any, changes: Sequence[str]) -> bool:
    """Change the table; return False if the server refuses, for example to widen a column that a view uses."""
    try:
        with connection.transaction():
            connection.execute(f"ALTER TABLE metrics {', '.join(changes)}")
    except psycopg.errors.InsufficientPrivilege:
        raise
    except (psycopg.NotSupportedError, psycopg.ProgrammingError, psycopg.errors.DependentObjectsStillExist):
        return False
    return True


ADD_MOVED_SQL = f"""
    INSERT INTO metrics (run_id, step, progress, extras)
    SELECT run_id, step, progress, extras FROM moved WHERE extras <> '{{}}' ORDER BY run_id, step, progress
    ON CONFLICT (run_id, step, progress) DO UPDATE SET extras = {_MERGED_EXTRAS}
"""
_MOVE_PENDING_SQL = f"WITH moved AS (DELETE FROM metrics_pending RETURNING *) {ADD_MOVED_SQL}"


def _additions(connection: Any, added: Mapping[str, str]) -> list[str]:
    """Return the ALTER TABLE actions that add columns, up to the limit, in which dropped columns still count."""
    query = "SELECT COALESCE(max(attnum), 0) FROM pg_attribute WHERE attrelid = 'metrics'::regclass"
    room = _MAX_COLUMNS - int(connection.execute(query).fetchone()[0])
    metrics = [name for name in added if name != EXTRAS][: max(room, 0)]
    return [
        f"ADD COLUMN IF NOT EXISTS {quote_identifier(name)} {added[name]}"
        for name in (*metrics, *(name for name in added if name == EXTRAS))
    ]


def _widenings(connection: Any, widened: Mapping[str, str]) -> list[str]:
    """Return the ALTER TABLE actions that widen columns, if the table is small and no value would change."""
    if not widened:
        return []
    if (table_bytes(connection.execute, "metrics") or 0) > _MAX_REWRITTEN_BYTES:
        return []
    changes = []
    for name, sql_type in widened.items():
        column = quote_identifier(name)
        altered = f"SELECT FROM metrics WHERE {column}::double precision::numeric <> {column}::numeric LIMIT 1"
        if connection.execute(altered).fetchone() is None:
            changes.append(f"ALTER COLUMN {column} TYPE {sql_type}")
    return changes
