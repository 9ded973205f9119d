"""How Python values are written to SQLite and read back."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta, timezone
from typing import Any

from sqltrack._quoting import quote_text
from sqltrack.engines.json import Jsonb, dumps
from sqltrack.errors import NaiveDatetimeError

__all__ = ["SQL_TYPES", "adapt", "adapt_all", "register_converters", "sql_literal"]

# Document 3.2.3; bool is ours, SQLite has no type for it.
SQL_TYPES: Mapping[type, str] = {
    bool: "BOOLEAN",
    int: "INTEGER",
    float: "REAL",
    str: "TEXT",
    bytes: "BLOB",
    date: "DATE",
    datetime: "TIMESTAMP WITH TIME ZONE",
    timedelta: "INTERVAL",
    Jsonb: "JSONB",
    dict: "JSONB",
    list: "JSONB",
}


def adapt(value: Any) -> Any:
    """Return the form in which SQLite keeps `value`.

    Raises:
        NaiveDatetimeError: a datetime has no time zone.
    """
    adapter = _ADAPTERS.get(type(value))
    if adapter is not None:
        return adapter(value)
    for typ, adapter in _ADAPTERS.items():
        if isinstance(value, typ):
            return adapter(value)
    return value


def adapt_all(parameters: Sequence[Any]) -> list[Any]:
    """Return `parameters` as SQLite keeps them."""
    return [adapt(value) for value in parameters]


def sql_literal(value: Any) -> str:
    """Return `value` spelled out in SQLite's SQL."""
    value = adapt(value)
    if value is None:
        return "NULL"
    if isinstance(value, float):
        # There is no word for infinity; a number beyond the range of doubles is read as one.
        return repr(value) if math.isfinite(value) else f"{'-' if value < 0 else ''}9e999"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"x'{bytes(value).hex()}'"
    return quote_text(str(value))


def register_converters() -> None:
    """Tell the sqlite3 module how to read columns by their declared type.

    The module knows converters for the whole process only; ours read what others store under these names as the
    standard library's own did (DATE, TIMESTAMP), and leave alone what they cannot read.
    """
    for name, converter in _CONVERTERS.items():
        sqlite3.register_converter(name, _lenient(converter))


def _adapt_float(value: float) -> float | str:
    # SQLite turns NaN into NULL; as text it stays apart from a missing value, and `= 'NaN'` finds it.
    return value if value == value else "NaN"


def _adapt_datetime(value: datetime) -> str:
    if value.tzinfo is None or value.utcoffset() is None:
        raise NaiveDatetimeError(value)
    return value.astimezone(timezone.utc).isoformat(" ", "microseconds")


def _adapt_jsonb(value: Jsonb) -> str:
    return dumps(value.obj)


# From the special to the general: a datetime is a date too, a bool an int.
_ADAPTERS: Mapping[type, Callable[[Any], Any]] = {
    float: _adapt_float,
    bool: int,
    int: int,
    str: str,
    datetime: _adapt_datetime,
    date: date.isoformat,
    timedelta: timedelta.total_seconds,
    Jsonb: _adapt_jsonb,
}


def _lenient(converter: Callable[[str], Any]) -> Callable[[bytes], Any]:
    def convert(raw: bytes) -> Any:
        text = raw.decode("utf-8", "surrogateescape")
        try:
            return converter(text)
        except (ValueError, OverflowError):
            return text

    return convert


def _to_datetime(text: str) -> datetime:
    value = datetime.fromisoformat(text)
    return value if value.tzinfo is None else value.astimezone(timezone.utc)


def _to_bool(text: str) -> bool | int:
    number = int(text)
    return bool(number) if number in (0, 1) else number


def _to_timedelta(text: str) -> timedelta:
    return timedelta(seconds=float(text))


_CONVERTERS: Mapping[str, Callable[[str], Any]] = {
    "BOOLEAN": _to_bool,
    "DATE": date.fromisoformat,
    "INTERVAL": _to_timedelta,
    "JSONB": json.loads,
    "TIMESTAMP": _to_datetime,
}
