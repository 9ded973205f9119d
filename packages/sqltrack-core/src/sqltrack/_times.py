"""Timestamps as functions take them: "auto", a datetime with a time zone, or None."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, Literal, TypeAlias

from sqltrack.errors import NaiveDatetimeError, UnusableValueError

__all__ = ["Timestamp", "as_time", "times_to_set", "utc_now"]

Timestamp: TypeAlias = Literal["auto"] | datetime | None


def utc_now() -> datetime:
    """Return the present time in UTC."""
    return datetime.now(timezone.utc)


def as_time(value: Timestamp) -> datetime | None:
    """Return the datetime that a timestamp argument means: "auto" is now, None is None.

    Raises:
        NaiveDatetimeError: it has no time zone.
        UnusableValueError: it is something else.
    """
    if value is None:
        return None
    if isinstance(value, str) and value == "auto":
        return utc_now()
    if not isinstance(value, datetime):
        raise UnusableValueError(f"a timestamp must be 'auto', a datetime or None, got {value!r}")
    if value.utcoffset() is None:
        raise NaiveDatetimeError(value)
    return value


def times_to_set(**timestamps: Timestamp) -> dict[str, Any]:
    """Return the columns that timestamp arguments ask to set."""
    times = {column: as_time(value) for column, value in timestamps.items()}
    return {column: time for column, time in times.items() if time is not None}
