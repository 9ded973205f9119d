"""SQL text: queries as strings, names and values in quotes."""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias

__all__ = ["ComposedText", "QueryText", "placeholders", "query_text", "quote_identifier", "quote_text"]


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


def quote_text(text: str) -> str:
    """Return `text` as an SQL string literal, which all databases spell alike (ISO 9075)."""
    return "'" + text.replace("'", "''") + "'"


def placeholders(number: int, placeholder: str = "%s") -> str:
    """Return `number` placeholders, separated by commas, for values that are bound.

    Args:
        number: how many; of none comes NULL, so that `IN (…)` finds nothing.
        placeholder: how a parameter is marked, default %s, which all engines understand.
    """
    return ", ".join([placeholder] * number) or "NULL"
