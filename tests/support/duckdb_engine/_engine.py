"""The parts of an engine that tracking needs, for DuckDB."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import duckdb

from sqltrack.engines.engine import Engine, find_sql_type
from sqltrack.engines.json import Jsonb, is_storable_text
from sqltrack.engines.metrics_table import (
    Converter,
    Fault,
    MetricsTable,
    MisfitError,
    Upsert,
    check_int64,
    exact_float,
    upsert_sql,
)
from sqltrack.engines.schema import EXTRAS, KEY
from sqltrack.errors import DatabaseUnavailableError
from sqltrack.util import quote_identifier
from support.duckdb_engine._driver import Connection

__all__ = ["DuckDBEngine", "DuckDBMetricsTable", "DuckDBUpsert"]


class DuckDBUpsert(Upsert):
    """An INSERT … ON CONFLICT with DuckDB's own placeholders."""

    def __init__(self, names: Sequence[str], extras: bool) -> None:
        merged = _merge_sql(f"metrics.{EXTRAS}", f"excluded.{EXTRAS}") if extras else None
        self._sql = upsert_sql([quote_identifier(name) for name in names], "?", merged)

    def execute(self, connection: Connection, values: Sequence[Any]) -> None:
        connection.execute(self._sql, values)


class DuckDBMetricsTable(MetricsTable):
    """The transaction that needs columns adds them; each keeps values of one type."""

    def can_be_column(self, name: str, columns: Mapping[str, str]) -> bool:
        # DuckDB ignores the case of ASCII letters. casefold() ignores more, so some metrics do not get a column.
        return name.casefold() not in {column.casefold() for column in (*columns, *KEY, EXTRAS)}

    def converter(self, sql_type: str, typ: type) -> Converter | None:
        if typ is type(None):
            return None
        if (sql_type, typ) == ("DOUBLE", int):
            return exact_float
        if _SQL_TYPES.get(typ) != sql_type:
            raise TypeError(typ)
        return _CONVERTERS.get(typ)

    def wider_type(self, sql_type: str, typ: type) -> str | None:
        return _WIDER_TYPES.get((sql_type, typ))

    def grow(self, connection: Connection, added: Mapping[str, str], widened: Mapping[str, str]) -> bool:
        for name, sql_type in added.items():
            connection.execute(f"ALTER TABLE metrics ADD COLUMN IF NOT EXISTS {quote_identifier(name)} {sql_type}")
        for name, sql_type in widened.items():
            column = quote_identifier(name)
            wider = f"TRY_CAST(CAST({column} AS {sql_type}) AS HUGEINT)"
            altered = f"SELECT 1 FROM metrics WHERE {wider} IS DISTINCT FROM TRY_CAST({column} AS HUGEINT) LIMIT 1"
            if connection.execute(altered).fetchone() is None:
                connection.execute(f"ALTER TABLE metrics ALTER COLUMN {column} TYPE {sql_type}")
        return True

    def upsert(self, names: Sequence[str], *, extras: bool, pending: bool, has_extras: bool = False) -> Upsert:
        return DuckDBUpsert(names, extras)

    def fault_of(self, error: BaseException) -> Fault | None:
        return Fault.STALE if isinstance(error, (duckdb.BinderException, duckdb.ConversionException)) else None


class DuckDBEngine(Engine):
    """Stores experiments in one DuckDB file.

    Args:
        config: `dbpath`, path of the file, which is created if it is missing.
    """

    name = "duckdb"
    driver_error: ClassVar[type[Exception]] = duckdb.Error
    metrics_table: ClassVar[MetricsTable] = DuckDBMetricsTable()

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.path: str = os.path.abspath(config["dbpath"])

    def connect(self) -> Connection:
        try:
            return Connection(self.path)
        except duckdb.Error as error:
            raise DatabaseUnavailableError(f"cannot open DuckDB database {self.path!r}: {error}") from error

    def describe(self) -> str:
        return f"DuckDB database {self.path!r}"

    def exists(self) -> bool:
        return os.path.exists(self.path)

    def data_dir(self) -> str:
        return str(Path(__file__).parent)

    def map_type(self, client: Any, typ: type) -> str:
        sql_type = find_sql_type(typ, _SQL_TYPES)
        if sql_type is None:
            raise TypeError(f"no DuckDB type for Python type {typ.__name__!r}")
        return sql_type

    def set_autocommit(self, connection: Connection, enabled: bool) -> None:
        connection.autocommit = enabled

    def is_usable(self, connection: Connection) -> bool:
        return not (connection.closed or connection.in_transaction)

    @contextlib.contextmanager
    def savepoint(self, connection: Connection) -> Iterator[None]:
        # DuckDB has no savepoints. After an error it accepts only ROLLBACK.
        yield

    def table_columns(self, connection: Connection, table: str) -> dict[str, str]:
        query = "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = %s ORDER BY column_index"
        return dict(connection.execute(query, (table,)))

    def merge_json_sql(self, column: str) -> str:
        return _merge_sql(column, "CAST(%s AS JSON)")

    def remove_keys_sql(self, column: str) -> str:
        items = f"map_entries(CAST({column} AS MAP(VARCHAR, JSON)))"
        kept = f"[item FOR item IN {items} IF NOT list_contains(CAST(CAST(%s AS JSON) AS VARCHAR[]), item.key)]"
        return f"CASE json_type({column}) WHEN 'OBJECT' THEN to_json(map_from_entries({kept})) ELSE {column} END"

    def json_items_sql(self, column: str) -> str:
        return f"SELECT runs.id AS run_id, item.key AS name, item.value AS value FROM runs, json_each({column}) AS item"


def _merge_sql(old: str, new: str) -> str:
    """Return an expression: the JSON `old` with the top-level keys of the JSON object `new` added or replaced."""
    # json_merge_patch() would drop keys whose new value is null, and merge deeply.
    kept = f"coalesce(TRY_CAST({old} AS MAP(VARCHAR, JSON)), MAP {{}})"
    return f"to_json(map_concat({kept}, CAST({new} AS MAP(VARCHAR, JSON))))"


def _checked_text(value: str) -> str:
    if "\0" in value or not is_storable_text(value):
        raise MisfitError
    return value


_SQL_TYPES: Mapping[type, str] = {
    bool: "BOOLEAN",
    int: "BIGINT",
    float: "DOUBLE",
    str: "VARCHAR",
    bytes: "BLOB",
    datetime: "TIMESTAMP WITH TIME ZONE",
    date: "DATE",
    timedelta: "INTERVAL",
    Jsonb: "JSON",
    dict: "JSON",
    list: "JSON",
}
_CONVERTERS: Mapping[type, Callable[[Any], Any]] = {int: check_int64, str: _checked_text, dict: Jsonb, list: Jsonb}

# Columns of 32 bits, which users create, are widened for every number, so that no value has to be checked.
_WIDER_TYPES: Mapping[tuple[str, type], str] = {
    ("INTEGER", int): "BIGINT",
    ("INTEGER", float): "DOUBLE",
    ("BIGINT", float): "DOUBLE",
    ("FLOAT", int): "DOUBLE",
    ("FLOAT", float): "DOUBLE",
}
