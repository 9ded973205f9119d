"""How Python values are written to SQLite and read back."""

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


# Values that are kept as they are.
_BYTES = (bytes, bytearray, memoryview)


def adapt(value: Any) -> Any:
    """Return the form in which SQLite keeps `value`; numbers and times of other packages as Python's own.

    Raises:
        NaiveDatetimeError: (a ValueError) a datetime has no time zone.
        UnusableValueError: (a ValueError) an integer has more than 64 bits, or the value is an array or the like, which
            SQLite would keep as the bytes that it has in memory.
    """
    adapter = ADAPTERS.get(type(value))
    if adapter is not None:
        return adapter(value)
    if value is None or is_instance(value, _BYTES):
        return value
    plain = native(value)
    # Before all else: NaT says that it is a datetime.
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
    raise UnusableValueError(f"a parameter must be one value that SQLite can keep, got {quote(value)}")


def adapt_all(parameters: Sequence[Any]) -> list[Any]:
    """Return `parameters` as SQLite keeps them."""
    return [adapt(value) for value in parameters]


def sql_literal(value: Any) -> str:
    """Return `value` spelled out in SQLite's SQL.

    Raises:
        NaiveDatetimeError: it is a datetime without a time zone.
        TypeError: there is no literal for its type.
    """
    value = literal_value(value)
    if isinstance(value, int):
        # SQLite reads one of more than 64 bits as a float.
        return str(int(value))
    value = adapt(value)
    if value is None:
        return "NULL"
    if isinstance(value, float):
        # There is no word for infinity; a number beyond the range of doubles is read as one.
        return repr(value) if math.isfinite(value) else f"{'-' if value < 0 else ''}9e999"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, _BYTES):
        return f"x'{bytes(value).hex()}'"
    return quote_text(str(value))


def register_converters() -> None:
    """Tell the sqlite3 module how to read columns by their declared type.

    The module knows converters for the whole process only; ours read what others store under these names as the
    standard library's own did (DATE, TIMESTAMP), and leave alone what they cannot read.
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
