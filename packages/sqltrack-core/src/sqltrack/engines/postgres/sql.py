"""Write names and values in PostgreSQL's SQL; needs no driver."""

from __future__ import annotations

import math
import re
from typing import Any

from sqltrack._quoting import quote_identifier, quote_text
from sqltrack.engines._foreign import literal_value
from sqltrack.engines._tokenizer import IDENTIFIER, STRING, Dialect
from sqltrack.engines.json import Jsonb, dumps

__all__ = ["MAX_NAME_BYTES", "POSTGRES", "json_text", "quote_if_needed", "sql_literal"]

#: Syntax of quotes and comments in PostgreSQL.
POSTGRES = Dialect(
    r"[eE]'(?:[^'\\]|''|\\.)*(?:'|\Z)",
    r"[uUbBxXnN]?&?" + STRING,
    r"(?:[uU]&)?" + IDENTIFIER,
    r"\$(?P<tag>(?:[^\W\d]\w*)?)\$.*?(?:\$(?P=tag)\$|\Z)",
    nested_comments=True,
)

#: The longest name in bytes: NAMEDATALEN - 1 (PostgreSQL manual, section 4.1.1).
MAX_NAME_BYTES = 63

# Strings in JSON, and floats that Python writes with a positive exponent, from 1e16.
_STRING_OR_FLOAT = re.compile(r'"(?:[^"\\]|\\.)*"|(?P<number>-?[0-9.]+e\+[0-9]+)')

_PLAIN_IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]*")

# Reserved words of PostgreSQL 18, including those that can be names of functions or types (manual, appendix C). They
# include all reserved words of older versions.
_RESERVED_WORDS = """
    all analyse analyze and any array as asc asymmetric authorization binary both case cast check collate collation
    column concurrently constraint create cross current_catalog current_date current_role current_schema
    current_time current_timestamp current_user default deferrable desc distinct do else end except false fetch
    for foreign freeze from full grant group having ilike in initially inner intersect into is isnull join lateral
    leading left like limit localtime localtimestamp natural not notnull null offset on only or order outer
    overlaps placing primary references returning right select session_user similar some symmetric system_user
    table tablesample then to trailing true union unique user using variadic verbose when where window with
"""
_RESERVED = frozenset(_RESERVED_WORDS.split())


def quote_if_needed(name: str) -> str:
    """Return `name` as an identifier of PostgreSQL, in quotes only if it needs them."""
    if _PLAIN_IDENTIFIER.fullmatch(name) and name not in _RESERVED:
        return name
    return quote_identifier(name)


def sql_literal(value: Any) -> str:
    """Return `value` as a literal in PostgreSQL's SQL.

    Raises:
        NaiveDatetimeError: a datetime has no time zone.
        TypeError: its type has no literal.
    """
    value = literal_value(value)
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, float):
        return repr(float(value)) if math.isfinite(value) else f"'{value}'::float8"
    if isinstance(value, str):
        return quote_text(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"'\\x{bytes(value).hex()}'::bytea"
    for typ in type(value).__mro__:
        if typ.__name__ in _TYPED_LITERALS:
            return f"{quote_text(_spelled(value))}::{_TYPED_LITERALS[typ.__name__]}"
    raise TypeError(f"no SQL literal for a value of type {type(value).__name__!r}")


def json_text(obj: Any) -> str:
    """Return the JSON text of an object in a form from which JSONB reads the same numbers.

    JSONB keeps numbers as decimals, so that 1e23 would be read back as the integer 10**23, which is another number.
    """
    text = dumps(obj)
    return _STRING_OR_FLOAT.sub(_write_out, text) if "e+" in text else text


def _write_out(match: re.Match[str]) -> str:
    number = match["number"]
    return match[0] if number is None else f"{float(number):.1f}"


def _spelled(value: Any) -> str:
    return json_text(value.obj) if isinstance(value, Jsonb) else str(value)


# By the names of the types, to avoid importing them.
_TYPED_LITERALS = {
    "datetime": "timestamptz",
    "date": "date",
    "time": "time",
    "timedelta": "interval",
    "Decimal": "numeric",
    "UUID": "uuid",
    "Jsonb": "jsonb",
}
