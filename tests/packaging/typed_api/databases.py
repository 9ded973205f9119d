"""The base of engines, and of programs that examine databases; only type checkers read this."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from typing_extensions import assert_type

from sqltrack import Client
from sqltrack.config import masked
from sqltrack.engines import Engine, has_users
from sqltrack.engines.admin import Admin, JsonValue, Question, RunRows, admin_of
from sqltrack.engines.checks import PATIENCE, Check, Checks, Severity, Verdict, fetch_rows, note, ok, problem
from sqltrack.engines.engine import find_sql_type
from sqltrack.engines.kinds import KINDS, ColumnKind
from sqltrack.engines.metrics_table import (
    TOUCH_IF_DUE_SQL,
    Converter,
    Fault,
    MetricsTable,
    MisfitError,
    MovedRow,
    RowConverter,
    Upsert,
    check_int64,
    check_time,
    conflict_sql,
    exact_float,
    touch_if_due_values,
    upsert_sql,
)
from sqltrack.engines.postgres.addresses import address_config
from sqltrack.engines.postgres.admin import PostgresAdmin
from sqltrack.engines.postgres.sql import MAX_NAME_BYTES, POSTGRES, json_text, sql_literal
from sqltrack.engines.results import Reader, Reading, find_reader
from sqltrack.engines.schema import CAPTURE, COLUMNS, EXTRAS, INT64, KEY, PENDING, TABLES, fits_int64
from sqltrack.engines.sqlite.admin import SQLiteAdmin
from sqltrack.engines.sqltext import (
    STANDARD,
    Dialect,
    Located,
    Translated,
    closes_too_much,
    column_names,
    find_backslash,
    first_keyword,
    hide_passwords,
    keywords,
    locate_statements,
    outer_keywords,
    script_error,
    split_statements,
    statement_text,
    translate_placeholders,
    without_semicolons,
)
from sqltrack.errors import ScriptError
from sqltrack.metrics import MetricsRow, MetricsWriter
from sqltrack.queries import column_sql
from sqltrack.util import placeholders


class OwnUpsert(Upsert):
    """Stores a row in a custom database."""

    is_atomic = True

    def __init__(self, names: Sequence[str]) -> None:
        self._sql = upsert_sql(names, "?", None)
        assert self._sql.endswith(conflict_sql(names, None))

    def execute(self, connection: Any, values: Sequence[Any]) -> None:
        connection.execute(self._sql, values)

    def execute_and_touch_if_due(self, connection: Any, values: Sequence[Any], updated: datetime) -> None:
        self.execute(connection, values)
        connection.execute(TOUCH_IF_DUE_SQL.replace("%s", "?"), touch_if_due_values(values[0], updated))


class OwnTable(MetricsTable):
    """The metrics table of a custom database."""

    def can_be_column(self, name: str, columns: Mapping[str, str]) -> bool:
        return name not in columns and name not in (*KEY, EXTRAS)

    def converter(self, sql_type: str, typ: type) -> Converter | None:
        if typ is datetime:
            return check_time
        return exact_float if typ is int else check_int64

    def move_to_columns(self, connection: Any, names: Sequence[str], rows: Sequence[MovedRow]) -> None:
        assert_type([row.key for row in rows], list[tuple[int, int, float]])

    def grow(self, connection: Any, added: Mapping[str, str], widened: Mapping[str, str]) -> bool:
        return not widened

    def upsert(self, names: Sequence[str], *, extras: bool, pending: bool, has_extras: bool = False) -> Upsert:
        return OwnUpsert(names)

    def fault_of(self, error: BaseException) -> Fault | None:
        return Fault.STALE if isinstance(error, MisfitError) else Fault.TOO_BIG


class OwnEngine(Engine):
    """An engine for a custom database."""

    name = "own"
    dialect = Dialect("'[^']*'", nested_comments=False)
    metrics_table = OwnTable()

    def connect(self) -> Any:
        raise NotImplementedError

    def data_dir(self) -> str:
        return str(Path(__file__).parent)

    def map_type(self, client: Any, typ: type) -> str:
        return find_sql_type(typ, {int: "BIGINT"}) or "TEXT"


def use_tables(engine: OwnEngine, connection: Any) -> None:
    table: MetricsTable = engine.metrics_table
    converters: RowConverter = table.row_converter([None])
    assert_type(converters([1]), Sequence[Any])
    assert_type(table.wider_type("BIGINT", float), str | None)
    upsert = table.upsert(["loss"], extras=False, pending=False)
    upsert.execute_and_touch(connection, [1, 0, 0.0, 0.5], datetime.now())
    assert_type(engine.table_columns(connection, TABLES[0]), dict[str, str])
    assert_type(COLUMNS["runs"], tuple[str, ...])
    kind: ColumnKind = KINDS[int]
    print(kind, INT64[0], PENDING, CAPTURE)
    assert_type(fits_int64(5), bool)


def administer(client: Client, config: dict[str, Any]) -> None:
    assert_type(has_users(config), bool)
    assert_type(masked("PASSWORD", "secret"), str)
    assert_type(address_config("host=localhost"), dict[str, Any])
    admin = admin_of(client.engine, client.engine.connect())
    assert_type(admin.ask_together([Question("SELECT 1"), Question("SELECT %s", (1,))], are_last=True), list[Any])
    assert_type(admin.columns_question("metrics"), Question | None)
    assert_type(admin.facts_question("loss"), Question | None)
    assert_type(admin.read_runs([1], {"loss": "double precision"}, has_extras=False), dict[int, RunRows])
    assert_type(admin.json_path_sql("args", ["lr"]), JsonValue)
    assert_type((admin.seconds_between_sql("time_started", "time_ended"), admin.data_version()), tuple[str, str])
    admin.cancel()
    admin.take_facts("loss", None)
    assert_type(admin, Admin)
    assert_type(admin.in_transaction, bool)
    assert_type(admin.read_only(5.0), AbstractContextManager[None])
    assert_type(admin.read_only(5.0, as_superuser=True), AbstractContextManager[None])
    assert_type(admin.read_only(5.0, own_sql=True), AbstractContextManager[None])
    admin.refuse_foreign_code(TABLES)
    assert_type(admin.column_usage("metrics"), tuple[int, int])
    checks: Checks = admin.checks(full=False)
    check: Check = checks["version"]
    assert_type(check(), Verdict | None)
    verdicts = [ok("fine"), note("so"), problem("broken", "mend it")]
    severity: Severity = verdicts[0].result
    assert_type(severity, Literal["ok", "note", "problem"])
    assert_type(PATIENCE, float)
    assert_type(fetch_rows(client.engine, admin.connection, "SELECT 1"), list[Any])
    classes: list[type[Admin]] = [PostgresAdmin, SQLiteAdmin]
    print(classes)


def read_text(script: str) -> None:
    for dialect in (STANDARD, POSTGRES):
        assert_type(split_statements(script, dialect), list[str])
        assert_type(list(column_names(script, dialect)), list[str])
        assert_type(statement_text(script, (1,), dialect), str)
        assert_type(locate_statements(script, dialect), list[Located])
        assert_type(find_backslash(script, dialect), Located | None)
        assert_type(hide_passwords(script, dialect), tuple[str, list[str]])
        assert_type(script_error("a.sql", script, "reason", dialect, line=3, note="; note"), ScriptError)
        assert_type(first_keyword(script, dialect), str)
        assert_type(translate_placeholders(script, dialect, "$"), Translated)
        assert_type(keywords(script, dialect), Iterator[str])
        assert_type(without_semicolons(script, dialect), str)
        assert_type(outer_keywords(script, dialect), Iterator[str])
        assert_type(closes_too_much(script, dialect), bool)
    assert_type(placeholders(MAX_NAME_BYTES) + sql_literal(None) + json_text([1e23]) + column_sql("loss"), str)


def read_results(client: Client) -> None:
    with client.cursor() as cursor:
        reader = find_reader(cursor)
        assert_type(reader, Reader)
        with reader.read(cursor, "SELECT 1", (), 100) as reading:
            assert_type(reading, Reading)
            assert_type(reading.kinds, Sequence[ColumnKind | None])


def write_in_bulk(client: Client) -> None:
    writer: MetricsWriter = client.metrics
    with writer.bulk():
        writer.add_columns({"loss": float})
        writer.add_copies(1, [MetricsRow(0, 0.0, {"loss": 0.5}, {})])
