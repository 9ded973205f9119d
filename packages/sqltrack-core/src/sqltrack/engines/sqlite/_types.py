"""Map Python types to declared types of SQLite columns, and convert values for each.

SQLite stores any value in any column; SQLTrack reads it by the declared type of the column. To support a new type, add
a row to `_TYPES`; the other tables are derived from it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta, timezone
from typing import Any, NamedTuple

from sqltrack.engines._spelling import quote
from sqltrack.engines._zones import check_zone
from sqltrack.engines.json import Jsonb, dumps, is_storable_text
from sqltrack.engines.metrics_table import Converter, MisfitError, check_int64, check_time
from sqltrack.engines.schema import fits_int64
from sqltrack.errors import UnusableValueError

__all__ = ["ADAPTERS", "CONVERTERS", "PYTHON_TYPES", "READERS", "READ_TYPES", "SQL_TYPES", "nan_as_text"]


class _Type(NamedTuple):
    """The declared types for a Python type.

    Attributes:
        python: the Python type.
        sql: declared type of new columns.
        adapt: function that converts a value for SQLite, None if it is stored as is.
        read: function that converts the text in such a column to a value, None if SQLite returns the value itself.
        convert: replaces `adapt` for metrics; raises MisfitError for values that would be altered.
        others: first words of other declared types of columns with such values.
    """

    python: type
    sql: str
    adapt: Callable[[Any], Any] | None = None
    read: Callable[[str], Any] | None = None
    convert: Converter | None = None
    others: tuple[str, ...] = ()


def nan_as_text(value: float) -> float | str:
    """Return a float, or "NaN" in place of NaN, which SQLite would store as NULL; `= 'NaN'` finds it."""
    return value if value == value else "NaN"


def _adapt_text(value: str) -> str:
    text = str(value)
    if not is_storable_text(text):
        raise UnusableValueError(f"a text must not hold lone surrogates, got {quote(text)}")
    return text


def _adapt_int(value: int) -> int:
    number = int(value)
    if not fits_int64(number):
        raise UnusableValueError(f"SQLite stores integers of at most 64 bits, got {quote(number)}")
    return number


def _adapt_datetime(value: datetime) -> str:
    check_zone(value)
    return value.astimezone(timezone.utc).isoformat(" ", "microseconds")


def _read_datetime(text: str) -> datetime:
    value = datetime.fromisoformat(text)
    return value if value.tzinfo is None else value.astimezone(timezone.utc)


def _read_bool(text: str) -> bool | int:
    number = int(text)
    return bool(number) if number in (0, 1) else number


def _read_timedelta(text: str) -> timedelta:
    return timedelta(seconds=float(text))


def _adapt_jsonb(value: Jsonb) -> str:
    return dumps(value.obj)


def _checked_text(value: str) -> str:
    # SQLite stores NUL, but most of its functions and other programs end a text there.
    if "\0" in value or not is_storable_text(value):
        raise MisfitError
    return value


def _checked_datetime(value: datetime) -> str:
    return _adapt_datetime(check_time(value))


def _checked_timedelta(value: timedelta) -> float:
    seconds = value.total_seconds()
    # Converters get a number with SQLite's 15 digits, and the microseconds of decades have more.
    try:
        is_exact = _read_timedelta(f"{seconds:.15g}") == value
    except OverflowError:
        is_exact = False
    if not is_exact:
        raise MisfitError
    return seconds


# Subclasses first: a bool is an int, and a datetime is a date.
_TYPES = (
    _Type(float, "REAL", nan_as_text, others=("DOUBLE", "FLOAT")),
    _Type(bool, "BOOLEAN", int, _read_bool),
    _Type(int, "INTEGER", _adapt_int, convert=check_int64, others=("BIGINT", "INT")),
    _Type(str, "TEXT", _adapt_text, convert=_checked_text),
    _Type(bytes, "BLOB"),
    _Type(datetime, "TIMESTAMP WITH TIME ZONE", _adapt_datetime, _read_datetime, _checked_datetime),
    _Type(date, "DATE", date.isoformat, date.fromisoformat),
    _Type(timedelta, "INTERVAL", timedelta.total_seconds, _read_timedelta, _checked_timedelta),
    _Type(dict, "JSONB", read=json.loads, convert=dumps),
    _Type(list, "JSONB", convert=dumps),
    _Type(Jsonb, "JSONB", _adapt_jsonb),
)

# Declared types of new columns, by Python type.
SQL_TYPES: Mapping[type, str] = {row.python: row.sql for row in _TYPES}

# Functions that convert values for SQLite, by Python type.
ADAPTERS: Mapping[type, Callable[[Any], Any]] = {row.python: row.adapt for row in _TYPES if row.adapt is not None}

# Functions that convert metrics for columns of their own type, by Python type.
CONVERTERS: Mapping[type, Converter] = {
    python: convert for python, convert in ((row.python, row.convert or row.adapt) for row in _TYPES) if convert
}

# Declared types whose columns convert all values on reading.
READ_TYPES = frozenset(row.sql for row in _TYPES if row.read is not None)

# Functions that convert values on reading, by the first word of the declared type, as the sqlite3 module needs it.
READERS: Mapping[str, Callable[[str], Any]] = {row.sql.split()[0]: row.read for row in _TYPES if row.read is not None}

# Python types, by the first word of the declared type.
PYTHON_TYPES: Mapping[str, type] = {
    word: row.python for row in reversed(_TYPES) for word in (row.sql.split()[0], *row.others)
}
