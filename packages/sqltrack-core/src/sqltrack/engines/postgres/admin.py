"""Implement the interface for operators' commands for PostgreSQL."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import psycopg

from sqltrack._quoting import quote_identifier, quote_text
from sqltrack.engines.admin import Admin, JsonValue, Question, RunRows
from sqltrack.engines.checks import PATIENCE, Checks
from sqltrack.engines.postgres._engine import COLUMNS_SQL, PostgresEngine
from sqltrack.engines.postgres._errors import without_excerpt
from sqltrack.engines.postgres._first_rows import FACTS_SQL, take_facts
from sqltrack.engines.postgres._locks import LOCK_TIMEOUT, patiently
from sqltrack.engines.postgres._metrics_table import ADD_MOVED_SQL
from sqltrack.engines.postgres._passwords import encrypt_password, encrypt_password_offline, find_password
from sqltrack.engines.postgres._readonly import ask_together, guarded
from sqltrack.engines.postgres._results import execute_binary
from sqltrack.engines.postgres._run_rows import read_runs
from sqltrack.engines.postgres._sizes import table_bytes
from sqltrack.engines.postgres._types import PYTHON_TYPES
from sqltrack.engines.schema import PENDING, TABLES
from sqltrack.errors import DatabaseError, StatementTimeoutError

__all__ = ["PostgresAdmin"]

# MaxHeapAttributeNumber (PostgreSQL manual, appendix K).
_MAX_COLUMNS = 1600

# Seconds to wait for locks: for an interactive command, waiting is better than an error.
_MAX_WAIT = 30.0
_MAX_WAIT_FOR_ROWS = 1.0

# Tables, partitioned and foreign tables, views and materialized views. The type of relname has other rules for order.
_TABLES_SQL = """
    SELECT relname::text
    FROM pg_catalog.pg_class
    WHERE relkind IN ('r', 'p', 'f', 'v', 'm') AND NOT relispartition AND pg_catalog.pg_table_is_visible(oid)
        AND relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
    ORDER BY 1
"""

_MOVE_SOME_PENDING_SQL = f"""
    WITH chosen AS (
        SELECT run_id, step, progress FROM metrics_pending ORDER BY run_id, step, progress LIMIT %s
    ), moved AS (
        DELETE FROM metrics_pending USING chosen
        WHERE metrics_pending.run_id = chosen.run_id
            AND metrics_pending.step = chosen.step AND metrics_pending.progress = chosen.progress
        RETURNING metrics_pending.*
    )
    {ADD_MOVED_SQL}
"""


class PostgresAdmin(Admin):
    """Operations that only operators' commands need, for PostgreSQL."""

    engine: PostgresEngine
    connection: psycopg.Connection[Any]
    pending_table: ClassVar[str | None] = PENDING
    # JSONB writes 1e+38 with 39 digits.
    extras_keep_floats = False

    def driver_variables(self) -> dict[str, str]:
        options = psycopg.pq.Conninfo.get_defaults()
        variables = {option.envvar.decode(): option.keyword.decode() for option in options if option.envvar}
        # Read for the parameter service.
        return {**variables, "PGSERVICEFILE": "servicefile"}

    def find_password(self, user: str, dbname: str) -> str | None:
        with self._translated_errors():
            return find_password({**self.engine.parameters(), "user": user, "dbname": dbname})

    @property
    def in_transaction(self) -> bool:
        return self.connection.info.transaction_status in (
            psycopg.pq.TransactionStatus.INTRANS,
            psycopg.pq.TransactionStatus.INERROR,
        )

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        connection = self.connection
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        try:
            with self._translated_errors():
                yield
        finally:
            # If the connection is lost, its next use will report that.
            with contextlib.suppress(psycopg.Error):
                connection.rollback()

    @contextlib.contextmanager
    def read_only(self, seconds: float, *, as_superuser: bool = False, own_sql: bool = False) -> Iterator[None]:
        if self.connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            raise DatabaseError("a transaction is open", "end it before a read-only block")
        try:
            options = {"as_superuser": as_superuser, "own_sql": own_sql, "has_pooler": self.engine.has_pooler}
            with guarded(self.connection, seconds, **options) as clock:
                yield
        except psycopg.Error as error:
            if clock.has_ended(error):
                raise StatementTimeoutError(seconds) from error
            raise self.engine.translate_error(error) from error

    def ask_together(self, questions: Sequence[Question], *, are_last: bool = False) -> list[Any]:
        cursors = ask_together(self.connection, questions, are_last=are_last)
        return super().ask_together(questions) if cursors is None else cursors

    def execute_for_many(self, sql: str, parameters: Sequence[Any]) -> psycopg.Cursor[Any]:
        return execute_binary(self.connection, sql, parameters)

    def read_runs(self, run_ids: Sequence[int], columns: Mapping[str, str], *, has_extras: bool) -> dict[int, RunRows]:
        return read_runs(self.connection, run_ids, columns, has_extras=has_extras)

    def columns_question(self, table: str) -> Question | None:
        return Question(COLUMNS_SQL, (quote_identifier(table),))

    def facts_question(self, metric: str) -> Question | None:
        return Question(FACTS_SQL, (metric,))

    def take_facts(self, metric: str, answer: Any) -> None:
        take_facts(self.connection, metric, answer.fetchone())

    def refuse_foreign_code(self, tables: Iterable[str]) -> None:
        with self.read_only(PATIENCE, own_sql=True):
            for table in tables:
                if self.engine.table_columns(self.connection, table):
                    # The statement is planned and checked before it is executed.
                    self.connection.execute(f"SELECT * FROM {quote_identifier(table)} LIMIT 0".encode())

    def fail_fast_on_locks(self) -> None:
        self.connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'".encode())

    def reason_of(self, error: Exception) -> str:
        return without_excerpt(str(error))

    def command_tag(self, cursor: psycopg.Cursor[Any], statement: str, count: int) -> str:
        return cursor.statusmessage or super().command_tag(cursor, statement, count)

    def watch_notices(self, notify: Callable[[str], None]) -> None:
        self.connection.add_notice_handler(lambda notice: notify(f"{notice.severity}: {notice.message_primary}"))

    def identity(self) -> str:
        query = "SELECT extract(epoch FROM pg_postmaster_start_time()), current_database(), to_regclass('runs')::oid"
        return f"postgres {self.connection.execute(query).fetchone()}"

    def list_tables(self) -> list[str]:
        return [name for (name,) in self.connection.execute(_TABLES_SQL)]

    def error_offset(self, statement: str, error: BaseException) -> int | None:
        position = error.diag.statement_position if isinstance(error, psycopg.Error) else None
        return None if position is None else min(int(position) - 1, len(statement))

    def python_types(self, table: str) -> dict[str, type]:
        columns = self.engine.table_columns(self.connection, table)
        return {name: PYTHON_TYPES[sql_type] for name, sql_type in columns.items() if sql_type in PYTHON_TYPES}

    def index_names(self, table: str) -> set[str]:
        query = """
            SELECT relname FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
            WHERE indrelid = to_regclass(%s) AND indisvalid
        """
        return {name for (name,) in self.connection.execute(query, (quote_identifier(table),))}

    def column_usage(self, table: str) -> tuple[int, int]:
        # Dropped columns still count.
        query = "SELECT COALESCE(max(attnum), 0)::int FROM pg_attribute WHERE attrelid = to_regclass(%s)"
        return _first_value(self.connection.execute(query, (quote_identifier(table),))), _MAX_COLUMNS

    def row_estimate(self, table: str) -> int | None:
        # Before the first ANALYZE it is -1, or 0 in PostgreSQL 13.
        query = "SELECT NULLIF(GREATEST(reltuples, 0), 0)::bigint FROM pg_class WHERE oid = to_regclass(%s)"
        estimate: int | None = _first_value(self.connection.execute(query, (quote_identifier(table),)))
        return estimate

    def table_bytes(self, table: str) -> int | None:
        execute = functools.partial(self.engine.execute_within, self.connection, PATIENCE)
        return table_bytes(execute, quote_identifier(table))

    def checks(self, *, full: bool) -> Checks:
        from sqltrack.engines.postgres._checks import postgres_checks

        return postgres_checks(self.engine, self.connection)

    def json_keys_sql(self, column: str) -> str:
        return f"jsonb_object_keys({column}) AS item(key)"

    def json_path_sql(self, column: str, path: Sequence[str]) -> JsonValue:
        keys = ", ".join(map(quote_text, path))
        value, text = f"{column} #> ARRAY[{keys}]", f"{column} #>> ARRAY[{keys}]"
        # Beyond this length, numbers may exceed the range of DOUBLE PRECISION.
        number = (
            f"CASE WHEN jsonb_typeof({value}) = 'number' AND LENGTH({text}) < 300 "
            f"OR jsonb_typeof({value}) = 'string' AND {text} IN ('NaN', 'Infinity', '-Infinity') "
            f"THEN CAST({text} AS DOUBLE PRECISION) END"
        )
        return JsonValue(f"jsonb_typeof({value})", text, number, value)

    def seconds_between_sql(self, begin: str, end: str) -> str:
        return f"CAST(EXTRACT(EPOCH FROM {end} - {begin}) AS DOUBLE PRECISION)"

    def data_version(self) -> str:
        # Equal snapshots see the same transactions.
        return str(_first_value(self.connection.execute("SELECT pg_catalog.pg_current_snapshot()::text")))

    def cancel(self) -> None:
        with contextlib.suppress(psycopg.Error):
            self.connection.cancel()

    def reclaim_space(self) -> None:
        self.connection.execute(f"VACUUM {', '.join(TABLES)}".encode())

    def rename_metric(self, name: str, new_name: str) -> bool:
        change = f"RENAME COLUMN {quote_identifier(name)} TO {quote_identifier(new_name)}"
        return patiently(lambda: self._alter(change), _MAX_WAIT)

    def drop_empty_metric(self, name: str) -> bool:
        return patiently(lambda: self._drop_empty(quote_identifier(name)), _MAX_WAIT)

    def move_pending(self, limit: int) -> int:
        moved = 0

        def move() -> bool:
            nonlocal moved
            with self._impatient_transaction():
                moved = self.connection.execute(_MOVE_SOME_PENDING_SQL.encode(), (limit,)).rowcount
            return True

        patiently(move, _MAX_WAIT_FOR_ROWS)
        return moved

    def encrypt_password(self, user: str, password: str) -> str:
        if self.connection is None:
            return encrypt_password_offline(user, password)
        with self._translated_errors():
            return encrypt_password(self.connection, user, password)

    def _alter(self, change: str) -> bool:
        with self._impatient_transaction():
            self.connection.execute(f"ALTER TABLE metrics {change}".encode())
        return True

    def _drop_empty(self, column: str) -> bool:
        with self._impatient_transaction():
            self.connection.execute("LOCK TABLE metrics IN ACCESS EXCLUSIVE MODE")
            query = f"SELECT FROM metrics WHERE metrics.{column} IS NOT NULL LIMIT 1"
            is_empty = self.connection.execute(query.encode()).fetchone() is None
            if is_empty:
                self.connection.execute(f"ALTER TABLE metrics DROP COLUMN {column}".encode())
        return is_empty

    @contextlib.contextmanager
    def _impatient_transaction(self) -> Iterator[None]:
        with self.connection.transaction():
            self.fail_fast_on_locks()
            yield

    @contextlib.contextmanager
    def _translated_errors(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            raise self.engine.translate_error(error) from error


def _first_value(cursor: Any) -> Any:
    row = cursor.fetchone()
    return None if row is None else row[0]
