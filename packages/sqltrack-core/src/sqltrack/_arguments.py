"""Check what callers give before a database sees it: ids, texts and metrics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sqltrack._updates import as_id
from sqltrack.engines.json import is_storable_text
from sqltrack.errors import UnusableValueError

__all__ = ["as_optional_text", "as_row_id", "as_rows", "as_text", "check_metrics"]

# What the columns of ids can hold.
_LARGEST_ID = 2**63 - 1
_LONGEST_REPR = 200


def as_row_id(value: Any, name: str) -> int:
    """Return an id as an int.

    Args:
        value: the id.
        name: name of the argument.

    Raises:
        UnusableValueError: it is not an integer, or too large for a database.
    """
    number = as_id(value, name)
    if not -_LARGEST_ID <= number <= _LARGEST_ID:
        raise UnusableValueError(f"{name} must have at most 63 bits, got {number}")
    return number


def as_text(value: Any, name: str) -> str:
    """Return a text as a plain str, also if it is a member of an enumeration of texts.

    Args:
        value: the text.
        name: name of the argument.

    Raises:
        UnusableValueError: it is not a str, or one that PostgreSQL cannot store.
    """
    if not isinstance(value, str):
        raise UnusableValueError(f"{name} must be a str, got {_shown(value)}")
    if "\0" in value or not is_storable_text(value):
        raise UnusableValueError(f"{name} must not hold NUL or lone surrogates, got {_shown(value)}")
    return str.__str__(value)


def as_optional_text(value: Any, name: str) -> str | None:
    """Return a text as `as_text` does, or None as it is."""
    if value is not None and not isinstance(value, str):
        raise UnusableValueError(f"{name} must be a str or None, got {_shown(value)}")
    return None if value is None else as_text(value, name)


def check_metrics(metrics: Any) -> None:
    """Make sure that metrics are names and values.

    Raises:
        UnusableValueError: they are something else.
    """
    # Not by the type alone, because other packages have dicts of their own.
    if not isinstance(metrics, Mapping) and not hasattr(metrics, "items"):
        raise UnusableValueError(f"metrics must be a dict of names and values, got {_shown(metrics)}")


def as_rows(rows: Any) -> Iterator[Any]:
    """Return the rows of metrics one by one, of which each is names and values.

    Raises:
        UnusableValueError: they are something else.
    """
    if not isinstance(rows, Iterable) or isinstance(rows, (str, bytes, Mapping)):
        raise UnusableValueError(f"rows must be an iterable of dicts, got {_shown(rows)}")
    return _checked(rows)


def _checked(rows: Iterable[Any]) -> Iterator[Any]:
    for row in rows:
        check_metrics(row)
        yield row


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_REPR else f"{text[:_LONGEST_REPR]}…"
