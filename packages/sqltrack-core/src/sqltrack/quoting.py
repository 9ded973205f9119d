"""SQL text: queries as strings, names and values in quotes."""

from __future__ import annotations

import re
from typing import Any, Protocol, TypeAlias

__all__ = ["ComposedText", "QueryText", "query_text", "quote_identifier", "quote_if_needed", "quote_text"]

_PLAIN_IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]*")

# Reserved words of PostgreSQL 18, and those that can only be names of functions or types (manual, appendix C), which
# include all such words of older versions.
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


class ComposedText(Protocol):
    """A query that is composed of parts: by our own composables, or by psycopg's."""

    def as_string(self, context: Any = ..., /) -> str: ...


QueryText: TypeAlias = str | ComposedText


def query_text(query: QueryText, context: Any = None) -> str:
    """Return a query as text.

    Args:
        query: a str, or anything with `as_string`: our own composables, or psycopg's.
        context: connection or cursor that composables of a driver may need to quote by.

    Raises:
        TypeError: it is neither.
    """
    if isinstance(query, str):
        return query
    as_string = getattr(query, "as_string", None)
    if as_string is None:
        raise TypeError(f"a query must be str or SQL, got {type(query).__name__!r}")
    # A driver's own composables know connections of that driver only.
    is_foreign = not type(query).__module__.startswith("sqltrack.")
    return str(as_string(None if is_foreign and hasattr(context, "sql_literal") else context))


def quote_identifier(name: str) -> str:
    """Return `name` as a quoted SQL identifier, which all databases spell alike (ISO 9075)."""
    return '"' + name.replace('"', '""') + '"'


def quote_if_needed(name: str) -> str:
    """Return `name` as an SQL identifier of PostgreSQL, in quotes only if it would mean something else without."""
    if _PLAIN_IDENTIFIER.fullmatch(name) and name not in _RESERVED:
        return name
    return quote_identifier(name)


def quote_text(text: str) -> str:
    """Return `text` as an SQL string literal, which all databases spell alike (ISO 9075)."""
    return "'" + text.replace("'", "''") + "'"
