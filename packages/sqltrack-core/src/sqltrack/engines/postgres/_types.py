"""Map Python types to PostgreSQL types, and convert values for each.

To support a new type, add a row to `_TYPES`; the other tables are derived from it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from sqltrack.engines.json import MAX_INT, Jsonb, is_storable_text
from sqltrack.engines.metrics_table import Converter, MisfitError, check_int64, check_time, exact_float

__all__ = ["CONVERTERS", "NAMES", "PYTHON_TYPES", "SQL_TYPES", "WIDER"]


class _Type(NamedTuple):
    """The SQL types for a Python type.

    Attributes:
        python: the Python type.
        sql: SQL type of new columns.
        columns: SQL types of columns that are read as the Python type, named as by format_type().
        results: further SQL types that are read as the Python type, in results of queries.
        converters: functions that convert a metric for a column, by its SQL type; None if the value is stored as is.
            Columns of other SQL types would alter or refuse such values.
        widened: SQL types of columns that are changed to `sql` when such a value arrives.
    """

    python: type
    sql: str
    columns: tuple[str, ...] = ()
    results: tuple[str, ...] = ()
    converters: Mapping[str, Converter | None] = {}
    widened: tuple[str, ...] = ()


def _checked_range(bits: int) -> Converter:
    end = 2 ** (bits - 1)

    def check(value: int) -> int:
        if not isinstance(value, int) or not -end <= value < end:
            raise MisfitError
        return value

    return check


def _checked_text(value: str) -> str:
    if "\0" in value or not is_storable_text(value):
        raise MisfitError
    return value


def _decimal(value: float) -> Decimal:
    """Return the shortest decimal that converts back to the same float; the server would round it to 15 digits."""
    # PostgreSQL 13 has no infinities in NUMERIC.
    if math.isinf(value):
        raise MisfitError
    return Decimal(repr(value))


def _checked_int(value: int) -> int:
    if not -MAX_INT < value < MAX_INT:
        raise MisfitError
    return value


def _checked_decimal(value: Decimal) -> Decimal:
    # NUMERIC has up to 131,072 digits before the decimal point and 16,383 after it (PostgreSQL manual, section 8.1.2).
    if value.is_infinite() or value.adjusted() >= 131_072 or int(value.as_tuple().exponent) < -16_383:
        raise MisfitError
    return value


_INT_CONVERTERS: Mapping[str, Converter | None] = {
    "smallint": _checked_range(16),
    "integer": _checked_range(32),
    "bigint": check_int64,
    "double precision": exact_float,
    "numeric": _checked_int,
}
_FLOAT_CONVERTERS: Mapping[str, Converter | None] = {"double precision": None, "numeric": _decimal}
_INTEGERS = ("smallint", "integer", "bigint")

_TYPES = (
    _Type(bool, "BOOLEAN", ("boolean",), converters={"boolean": None}),
    _Type(int, "BIGINT", _INTEGERS, converters=_INT_CONVERTERS),
    _Type(
        *(float, "DOUBLE PRECISION", ("double precision", "real")),
        converters=_FLOAT_CONVERTERS,
        widened=(*_INTEGERS, "real"),
    ),
    _Type(Decimal, "NUMERIC", ("numeric",), converters={"numeric": _checked_decimal}),
    _Type(str, "TEXT", ("text",), ("character", "character varying", "name"), {"text": _checked_text}),
    _Type(bytes, "BYTEA", ("bytea",), converters={"bytea": None}),
    _Type(
        *(datetime, "TIMESTAMP WITH TIME ZONE", ("timestamp with time zone",), ("timestamp without time zone",)),
        converters={"timestamp with time zone": check_time},
    ),
    _Type(date, "DATE", ("date",), converters={"date": None}),
    _Type(time, "TIME"),
    _Type(timedelta, "INTERVAL", ("interval",), converters={"interval": None}),
    _Type(dict, "JSONB", ("jsonb",), ("json",), {"jsonb": Jsonb}),
    _Type(list, "JSONB", converters={"jsonb": Jsonb}),
    _Type(Jsonb, "JSONB"),
)

# SQL types of new columns, by Python type.
SQL_TYPES: Mapping[type, str] = {row.python: row.sql for row in _TYPES}

# Python types of columns, by the names of SQL types.
PYTHON_TYPES: Mapping[str, type] = {name: row.python for row in _TYPES for name in row.columns}

# Python types of results, by the names of SQL types.
NAMES: Mapping[str, type] = {name: row.python for row in _TYPES for name in (*row.columns, *row.results)}

# Converters by Python type and the name of the column's SQL type.
CONVERTERS: Mapping[type, Mapping[str, Callable[[Any], Any] | None]] = {row.python: row.converters for row in _TYPES}

# The SQL type to which to widen a column, by the Python type of a new value and the name of the column's SQL type.
WIDER: Mapping[tuple[type, str], str] = {(row.python, name): row.sql.lower() for row in _TYPES for name in row.widened}
