"""Convert Python values for SQLite and back."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

from sqltrack._quoting import quote_text
from sqltrack.engines._foreign import UNKNOWN, Spelled, attempt, is_instance, literal_value, native
from sqltrack.engines._spelling import quote
from sqltrack.engines.sqlite._types import ADAPTERS, READERS
from sqltrack.errors import UnusableValueError

__all__ = ["adapt", "adapt_all", "register_converters", "sql_literal"]


# Types that SQLite stores as is.
_BYTES = (bytes, bytearray, memoryview)


def adapt(value: Any) -> Any:
    """Convert `value` for SQLite; numbers and times of other packages are converted to Python types first.

    Raises:
        NaiveDatetimeError: (a ValueError) a datetime has no time zone.
        UnusableValueError: (a ValueError) an integer has more than 64 bits, or the value is an array or similar, of
            which SQLite would store the bytes in memory.
    """
    adapter = ADAPTERS.get(type(value))
    if adapter is not None:
        return adapter(value)
    if value is None or is_instance(value, _BYTES):
        return value
    plain = native(value)
    # Check this first: NaT claims to be a datetime.
    if plain is None:
        return None
    for typ, adapter in ADAPTERS.items():
        if is_instance(value, typ):
            return adapter(value)
    if plain is value:
        if attempt(memoryview, value) is UNKNOWN:
            return value
    elif not is_instance(plain, (list, Spelled)):
        return adapt(plain)
    raise UnusableValueError(f"a parameter must be a single value that SQLite can store, got {quote(value)}")


def adapt_all(parameters: Sequence[Any]) -> list[Any]:
    """Convert `parameters` for SQLite."""
    return [adapt(value) for value in parameters]


def sql_literal(value: Any) -> str:
    """Return `value` as a literal in SQLite's SQL.

    Raises:
        NaiveDatetimeError: a datetime has no time zone.
        TypeError: its type has no literal.
    """
    value = literal_value(value)
    if isinstance(value, int):
        # SQLite reads integers of more than 64 bits as floats.
        return str(int(value))
    value = adapt(value)
    if value is None:
        return "NULL"
    if isinstance(value, float):
        # SQLite has no literal for infinity, but reads numbers beyond the range of doubles as infinity.
        return repr(value) if math.isfinite(value) else f"{'-' if value < 0 else ''}9e999"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, _BYTES):
        return f"x'{bytes(value).hex()}'"
    return quote_text(str(value))


def register_converters() -> None:
    """Register converters by declared type with the sqlite3 module.

    They apply to the whole process. Under the names that the standard library uses (DATE, TIMESTAMP), they read values
    like its own converters. They return text that they cannot convert unchanged.
    """
    for name, read in READERS.items():
        sqlite3.register_converter(name, _lenient(read))


def _lenient(read: Callable[[str], Any]) -> Callable[[bytes], Any]:
    def convert(raw: bytes) -> Any:
        text = raw.decode("utf-8", "surrogateescape")
        try:
            return read(text)
        except (ValueError, OverflowError):
            return text

    return convert
