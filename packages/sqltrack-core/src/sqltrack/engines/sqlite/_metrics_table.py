"""Implement the interface for the metrics table for SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar

from sqltrack._quoting import quote_identifier, quote_text
from sqltrack.engines.json import dumps
from sqltrack.engines.metrics_table import (
    TOUCH_IF_DUE_SQL,
    Converter,
    Fault,
    MetricsTable,
    RowConverter,
    Upsert,
    check_int64,
    exact_float,
    touch_if_due_values,
    upsert_sql,
)
from sqltrack.engines.schema import EXTRAS, KEY
from sqltrack.engines.sqlite._connection import Connection
from sqltrack.engines.sqlite._many_columns import MAX_COLUMNS, add_many
from sqltrack.engines.sqlite._sql import fold
from sqltrack.engines.sqlite._types import CONVERTERS, READ_TYPES, SQL_TYPES, nan_as_text
from sqltrack.engines.sqlite._values import adapt, adapt_all

__all__ = ["SQLiteMetricsTable"]

_TOUCH_SQL = "UPDATE runs SET time_updated = ? WHERE id = ?"
_TOUCH_IF_DUE_SQL = TOUCH_IF_DUE_SQL.replace("%s", "?")
# Avoid calling the function for the many rows without extras.
_KEPT_EXTRAS = f"CASE WHEN {EXTRAS} IS NOT NULL THEN sqltrack_remove_keys({EXTRAS}, {{}}) END"

_AFFINITIES = (
    ("INTEGER", ("INT",)),
    ("TEXT", ("CHAR", "CLOB", "TEXT")),
    ("BLOB", ("BLOB",)),
    ("REAL", ("REAL", "FLOA", "DOUB")),
)


class SQLiteMetricsTable(MetricsTable):
    """Stores any number in any numeric column, and values of other types in columns of the same type."""

    def can_be_column(self, name: str, columns: Mapping[str, str]) -> bool:
        if len(columns) >= MAX_COLUMNS:
            return False
        # Search all names at once, because this is called for many of them. Names contain no NUL.
        taken = fold("\0".join(("", *columns, *KEY, EXTRAS, "")))
        return b"\0" + fold(name) + b"\0" not in taken

    def converter(self, sql_type: str, typ: type) -> Converter | None:
        if typ is type(None):
            return None
        affinity = _affinity(sql_type)
        if typ is float and affinity in ("REAL", "NUMERIC", "INTEGER"):
            return nan_as_text
        if typ is int and affinity in ("INTEGER", "NUMERIC"):
            return check_int64
        if typ is int and affinity == "REAL":
            return exact_float
        if SQL_TYPES.get(typ) != sql_type.upper():
            raise TypeError(typ)
        return CONVERTERS.get(typ)

    def row_converter(self, converters: Sequence[Converter | None]) -> RowConverter:
        return _nans_as_text if set(converters) == {nan_as_text} else super().row_converter(converters)

    def extras_value(self, values: Mapping[str, Any]) -> str:
        return dumps(values)

    def grow(self, connection: Connection, added: Mapping[str, str], widened: Mapping[str, str]) -> bool:
        if add_many(connection, added):
            return True
        for name, sql_type in added.items():
            try:
                connection.execute(f"ALTER TABLE metrics ADD COLUMN {quote_identifier(name)} {sql_type}")
            except sqlite3.OperationalError as error:
                # Another process may have added the same column.
                if "duplicate column name" not in str(error) and "too many columns" not in str(error):
                    raise
        return True

    def upsert(self, names: Sequence[str], *, extras: bool, pending: bool, has_extras: bool = False) -> Upsert:
        return _SQLiteUpsert(names, extras, has_extras)

    def fault_of(self, error: BaseException) -> Fault | None:
        message = str(error)
        return Fault.STALE if "has no column named" in message or "no such column" in message else None


class _SQLiteUpsert(Upsert):
    """An INSERT … ON CONFLICT, executed without translating its text.

    SQLite undoes only the failed statement (https://sqlite.org/lang_conflict.html, ABORT).
    """

    is_atomic: ClassVar[bool] = True

    def __init__(self, names: Sequence[str], extras: bool, has_extras: bool) -> None:
        columns = [quote_identifier(name) for name in names]
        kept = _KEPT_EXTRAS.format(quote_text(dumps(list(names)))) if has_extras and names else EXTRAS
        self._sql = upsert_sql(
            columns,
            "?",
            f"sqltrack_merge_json({kept}, excluded.{EXTRAS})" if extras else None,
            f"NULLIF({kept}, '{{}}')" if has_extras and names else None,
        )

    def execute(self, connection: Connection, values: Sequence[Any]) -> None:
        connection.write(self._sql, values)

    def execute_and_touch(self, connection: Connection, values: Sequence[Any], updated: datetime) -> None:
        # Commit both statements separately, so that a signal handler that runs in between does not find the write lock
        # held by its own process.
        connection.check_file()
        connection.write(self._sql, values)
        connection.write(_TOUCH_SQL, (adapt(updated), values[0]))

    def execute_and_touch_if_due(self, connection: Connection, values: Sequence[Any], updated: datetime) -> None:
        connection.write(self._sql, values)
        connection.write(_TOUCH_IF_DUE_SQL, adapt_all(touch_if_due_values(values[0], updated)))

    def execute_many(self, connection: Connection, rows: Sequence[Sequence[Any]]) -> None:
        connection.begin_write()
        try:
            connection.plain_cursor.executemany(self._sql, rows)
        except sqlite3.OperationalError as error:
            connection.raise_swallowed(error)
            raise


def _affinity(sql_type: str) -> str:
    """Return the affinity of a column (https://sqlite.org/datatype3.html, section 3.1), or its type if it is ours."""
    name = sql_type.upper()
    if name in READ_TYPES:
        return name
    for affinity, parts in _AFFINITIES:
        if any(part in name for part in parts):
            return affinity
    return "BLOB" if not name else "NUMERIC"


def _nans_as_text(values: Sequence[Any]) -> Sequence[Any]:
    # The sum is NaN if a value is NaN. Infinities of both signs only cause an unnecessary second check.
    total = sum(values)
    return values if total == total else [nan_as_text(value) for value in values]
