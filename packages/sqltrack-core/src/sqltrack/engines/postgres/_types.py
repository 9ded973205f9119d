"""PostgreSQL's types: which hold the values of a Python type, and how a value gets into each.

A new type is one more row; all other tables are derived.
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
    """The values of a Python type.

    Attributes:
        python: the type.
        sql: SQL type of new columns.
        columns: the SQL types, by the names that format_type() gives them, of the columns whose values are read as
            the Python type.
        results: further SQL types of results that are.
        converters: turn a metric into the value for a column of an SQL type, None if nothing need; where there is
            none, the column would alter such values, or refuse them.
        widened: SQL types that are changed to `sql` when such a value arrives.
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
    """Return a float as the shortest decimal that is this float again; the server would round it to 15 digits."""
    # PostgreSQL 13 knows no infinities in such columns.
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

# Python types, by the names of the SQL types of columns.
PYTHON_TYPES: Mapping[str, type] = {name: row.python for row in _TYPES for name in row.columns}

# The same by those of results.
NAMES: Mapping[str, type] = {name: row.python for row in _TYPES for name in (*row.columns, *row.results)}

# By Python type and the name of the column's type.
CONVERTERS: Mapping[type, Mapping[str, Callable[[Any], Any] | None]] = {row.python: row.converters for row in _TYPES}

# The type to which a column is changed for values of a Python type, by that and the name of the column's type.
WIDER: Mapping[tuple[type, str], str] = {(row.python, name): row.sql.lower() for row in _TYPES for name in row.widened}
