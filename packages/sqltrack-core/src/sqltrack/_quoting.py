"""SQL text: queries as strings, quoted names and values.

Queries may contain parts of psycopg's module `sql`. This module does not import psycopg; a program with such parts has.
"""

from __future__ import annotations

import sys
from typing import Any, Protocol, TypeAlias

__all__ = [
    "ComposedText",
    "EngineText",
    "QueryText",
    "is_psycopg_part",
    "part_text",
    "placeholders",
    "psycopg_sql",
    "query_text",
    "quote_identifier",
    "quote_text",
]


class ComposedText(Protocol):
    """A query composed of parts, our own composables or psycopg's."""

    def as_string(self, context: Any = ..., /) -> str: ...


QueryText: TypeAlias = str | ComposedText


class EngineText(str):
    """A statement for any database, which an engine's cursors may replace by a faster one with the same result."""

    def text_for(self, context: Any) -> str:
        """Return the text for a connection or cursor of any driver to execute."""
        return self


def query_text(query: QueryText, context: Any = None, *, has_parameters: bool = False) -> str:
    """Return a query as text.

    Args:
        query: a str, or any object with `as_string`: our own composables, or psycopg's.
        context: connection or cursor, which a driver's composables may need for quoting.
        has_parameters: whether the text has values for placeholders, default False. If so, percent signs in the values
            and names of a composed query are doubled, so that the driver does not take them for placeholders.

    Raises:
        TypeError: `query` is neither.
    """
    if isinstance(query, str):
        return query.text_for(context) if isinstance(query, EngineText) else query
    if not hasattr(query, "as_string"):
        raise TypeError(f"a query must be str or SQL, got {type(query).__name__!r}")
    return part_text(query, context, has_parameters=has_parameters)


def part_text(part: Any, context: Any = None, *, has_parameters: bool = False) -> str:
    """Return a composable as text; see `query_text`.

    psycopg's composables know only psycopg's connections. Their values are spelled for the database in use.
    """
    if _is_composed(part):
        return "".join(part_text(item, context, has_parameters=has_parameters) for item in part)
    text = _single_text(part, context)
    return text.replace("%", "%%") if has_parameters and not _is_code(part) else text


def _is_composed(part: Any) -> bool:
    """Tell whether an object is our `Composed` or psycopg's."""
    return hasattr(type(part), "as_string") and hasattr(type(part), "__iter__")


def _is_code(part: Any) -> bool:
    """Tell whether a part, ours or psycopg's, is code that may contain placeholders, not a value or a name."""
    content: Any = getattr(part, "_obj", None)
    is_wrapped = is_psycopg_part(part) and hasattr(content, "as_string")
    return type(content if is_wrapped else part).__name__ in ("SQL", "Placeholder")


def _single_text(part: Any, context: Any) -> str:
    if not is_psycopg_part(part):
        return str(part.as_string(context))
    sql: Any = psycopg_sql()
    content: Any = getattr(part, "_obj", None)
    has_own_spelling = hasattr(context, "sql_literal")
    if isinstance(part, sql.Literal):
        if hasattr(content, "as_string"):
            # One of our parts, made before psycopg was imported, which psycopg has taken for a value.
            return part_text(content, context)
        if has_own_spelling:
            return str(context.sql_literal(content))
    return str(part.as_string(None if has_own_spelling else context))


def psycopg_sql() -> Any:
    """Return psycopg's module `sql`, None if the program has not imported it."""
    module = sys.modules.get("psycopg.sql")
    return module if hasattr(module, "Placeholder") else None


def is_psycopg_part(part: Any) -> bool:
    """Tell whether an object is a composable of psycopg's own."""
    sql = psycopg_sql()
    # Not isinstance, because psycopg accepts our parts as its own.
    return sql is not None and sql.Composable in type(part).__mro__


def quote_identifier(name: str) -> str:
    """Return `name` as a quoted SQL identifier; all databases quote alike (ISO 9075)."""
    return '"' + name.replace('"', '""') + '"'


def quote_text(text: str) -> str:
    """Return `text` as an SQL string literal; all databases quote alike (ISO 9075)."""
    return "'" + text.replace("'", "''") + "'"


def placeholders(number: int, placeholder: str = "%s") -> str:
    """Return `number` placeholders for bound values, separated by commas.

    Args:
        number: number of values; 0 gives NULL, so that `IN (…)` finds nothing.
        placeholder: the placeholder, default %s, which all engines understand.
    """
    return ", ".join([placeholder] * number) or "NULL"
