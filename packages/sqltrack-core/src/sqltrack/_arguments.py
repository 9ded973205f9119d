"""Check the arguments of callers before they reach a database: ids, texts and rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from sqltrack._numbers import as_int64
from sqltrack.client import Client
from sqltrack.engines._foreign import UNKNOWN, attempt, is_instance
from sqltrack.engines._spelling import quote
from sqltrack.engines.json import escape_text
from sqltrack.errors import UnusableValueError

__all__ = ["as_client", "as_optional_text", "as_row_id", "as_rows", "as_text"]

# Classes whose objects are sometimes given instead of their id.
_WITH_ID = frozenset({"Experiment", "Run"})


def as_client(client: Any) -> Client:
    """Return a client unchanged.

    Raises:
        UnusableValueError: it is not a `Client`.
    """
    if not is_instance(client, Client):
        raise UnusableValueError(f"client must be a Client, got {quote(client)}", "use: client = sqltrack.Client()")
    return cast("Client", client)


def as_row_id(value: Any, name: str) -> int:
    """Return an id as an int.

    Args:
        value: the id.
        name: name of the argument.

    Raises:
        UnusableValueError: it is not an integer of 64 bits.
    """
    if type(value) is int:
        return as_int64(value, name)
    kind = type(value).__name__
    return as_int64(value, name, f"give its id: {kind.lower()}.id" if kind in _WITH_ID else None)


def as_text(value: Any, name: str) -> str:
    """Return a text as it is stored: a plain str, with NUL and lone surrogates escaped.

    Args:
        value: the text.
        name: name of the argument.

    Raises:
        UnusableValueError: it is not a str.
    """
    if not is_instance(value, str):
        raise UnusableValueError(f"{name} must be a str, got {quote(value)}")
    # str() of an enumeration's member would return its name.
    return escape_text(str.__str__(value))


def as_optional_text(value: Any, name: str) -> str | None:
    """Return a text as `as_text` does, or None unchanged."""
    if value is not None and not is_instance(value, str):
        raise UnusableValueError(f"{name} must be a str or None, got {quote(value)}")
    return None if value is None else as_text(value, name)


def as_rows(rows: Any) -> Iterable[Any]:
    """Return an iterator over rows of metrics.

    Raises:
        UnusableValueError: they are not rows.
    """
    iterator = UNKNOWN if is_instance(rows, (str, bytes, Mapping)) else attempt(iter, rows)
    if iterator is UNKNOWN:
        raise UnusableValueError(f"rows must be an iterable of dicts, got {quote(rows)}")
    return cast("Iterable[Any]", iterator)
