"""Check what callers give before a database sees it: ids, texts and metrics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sqltrack._numbers import as_int64
from sqltrack.engines._spelling import quote
from sqltrack.engines.json import escape_text
from sqltrack.errors import UnusableValueError

__all__ = ["as_optional_text", "as_row_id", "as_rows", "as_text", "check_metrics"]


def as_row_id(value: Any, name: str) -> int:
    """Return an id as an int.

    Args:
        value: the id.
        name: name of the argument.

    Raises:
        UnusableValueError: it is not an integer of 64 bits.
    """
    return as_int64(value, name)


def as_text(value: Any, name: str) -> str:
    """Return a text as it is stored: a plain str, in which NUL and lone surrogates are escaped.

    Args:
        value: the text.
        name: name of the argument.

    Raises:
        UnusableValueError: it is not a str.
    """
    if not isinstance(value, str):
        raise UnusableValueError(f"{name} must be a str, got {quote(value)}")
    # Members of an enumeration of texts have another str().
    return escape_text(str.__str__(value))


def as_optional_text(value: Any, name: str) -> str | None:
    """Return a text as `as_text` does, or None as it is."""
    if value is not None and not isinstance(value, str):
        raise UnusableValueError(f"{name} must be a str or None, got {quote(value)}")
    return None if value is None else as_text(value, name)


def check_metrics(metrics: Any) -> None:
    """Make sure that metrics are names and values.

    Raises:
        UnusableValueError: they are something else.
    """
    # Not by the type alone, because other packages have dicts of their own.
    if not isinstance(metrics, Mapping) and not hasattr(metrics, "items"):
        raise UnusableValueError(f"metrics must be a dict of names and values, got {quote(metrics)}")


def as_rows(rows: Any) -> Iterator[Any]:
    """Return the rows of metrics one by one, of which each is names and values.

    Raises:
        UnusableValueError: they are something else.
    """
    if not isinstance(rows, Iterable) or isinstance(rows, (str, bytes, Mapping)):
        raise UnusableValueError(f"rows must be an iterable of dicts, got {quote(rows)}")
    return _checked(rows)


def _checked(rows: Iterable[Any]) -> Iterator[Any]:
    for row in rows:
        check_metrics(row)
        yield row
