"""Convert values of databases to values of JSON, and back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from sqltrack.commands._rows import to_number

__all__ = ["as_json", "as_key", "from_json", "is_number", "kind_of", "leaf", "sort_key"]

# Greater integers lose digits in JavaScript.
_EXACT = 2**53


def as_json(value: Any) -> Any:
    """Return a value as strict JSON.

    NaN, infinities and integers beyond 2^53 become `{"$number": "…"}`, times ISO 8601 in UTC, and durations seconds.
    """
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return value if -_EXACT <= value <= _EXACT else {"$number": str(value)}
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$number": _SPECIAL.get(value, "NaN")}
    if isinstance(value, Decimal):
        return as_json(int(value) if value.is_finite() and value == int(value) else float(value))
    if isinstance(value, datetime):
        return value.astimezone(timezone.utc).isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Mapping):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(item) for item in value]
    return value.isoformat() if isinstance(value, date) else str(value)


_SPECIAL = {math.inf: "Infinity", -math.inf: "-Infinity"}


def from_json(value: Any) -> Any:
    """Return the value for JSON that `as_json` made; objects, arrays and times stay as they are."""
    if isinstance(value, Mapping) and set(value) == {"$number"}:
        text = str(value["$number"])
        number = to_number(text)
        if isinstance(number, float):
            return number
        try:
            return int(text)
        except ValueError:
            return None
    return value


def as_key(value: Any) -> tuple[str, Any]:
    """Return a hashable key that is equal for equal values; true differs from 1, but 1.0 does not."""
    if isinstance(value, (bool, str)) or value is None:
        return type(value).__name__, value
    if isinstance(value, (int, float, Decimal)):
        return "number", "NaN" if value != value else value
    if isinstance(value, Mapping):
        return "object", tuple(sorted((str(key), as_key(item)) for key, item in value.items()))
    if isinstance(value, (list, tuple)):
        return "array", tuple(map(as_key, value))
    return type(value).__name__, str(value)


def sort_key(value: Any) -> tuple[Any, ...]:
    """Return a key that sorts any values: numbers, NaN, booleans, texts, times, lists and objects, missing ones."""
    if value is None:
        return (7,)
    if isinstance(value, bool):
        return (2, value)
    if is_number(value):
        return (1,) if value != value else (0, value)
    if isinstance(value, str):
        return (3, value.casefold(), value)
    if isinstance(value, Mapping):
        return (6, tuple((str(key), sort_key(item)) for key, item in value.items()))
    if isinstance(value, (list, tuple)):
        return (5, tuple(map(sort_key, value)))
    return (4, str(value))


def is_number(value: Any) -> bool:
    """Return whether a value is a number, NaN and infinities included, and not a boolean."""
    return isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)


def kind_of(value: Any) -> str | None:
    """Return "number", "text", "bool", "time" or "json" for a value of a database, None for NULL."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float, Decimal, timedelta)):
        return "number"
    if isinstance(value, (datetime, date)):
        return "time"
    return "json" if isinstance(value, (Mapping, list, tuple)) else "text"


def leaf(value: Any, path: tuple[str, ...]) -> Any:
    """Return the value at a path in an object, None without one. Texts for NaN and infinities become floats."""
    for key in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(key)
    return to_number(value)
