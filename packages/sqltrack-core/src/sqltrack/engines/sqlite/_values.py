"""How Python values are written to SQLite and read back."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

from sqltrack._quoting import quote_text
from sqltrack.engines.sqlite._types import ADAPTERS, READERS

__all__ = ["adapt", "adapt_all", "register_converters", "sql_literal"]


def adapt(value: Any) -> Any:
    """Return the form in which SQLite keeps `value`.

    Raises:
        NaiveDatetimeError: a datetime has no time zone.
    """
    adapter = ADAPTERS.get(type(value))
    if adapter is not None:
        return adapter(value)
    for typ, adapter in ADAPTERS.items():
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
