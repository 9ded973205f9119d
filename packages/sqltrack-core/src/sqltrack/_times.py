"""Timestamps as arguments: "auto", a datetime with a time zone, or None."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, Literal, TypeAlias

from sqltrack.engines._foreign import is_instance
from sqltrack.engines._spelling import quote
from sqltrack.engines._zones import check_zone
from sqltrack.errors import UnusableValueError

__all__ = ["Timestamp", "as_time", "times_to_set", "utc_now"]

Timestamp: TypeAlias = Literal["auto"] | datetime | None


def utc_now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(timezone.utc)


def as_time(value: Timestamp) -> datetime | None:
    """Return the datetime for a timestamp argument: "auto" is the current time, None stays None.

    Raises:
        NaiveDatetimeError: it has no time zone.
        UnusableValueError: it is another object, such as NaT, or is outside of the years 2 to 9998.
    """
    if value is None:
        return None
    if is_instance(value, str) and value == "auto":
        return utc_now()
    if not (is_instance(value, datetime) and isinstance(value, datetime)) or value != value:
        raise UnusableValueError(f"a timestamp must be 'auto', a datetime or None, got {quote(value)}")
    check_zone(value)
    if not 1 < value.year < 9999:
        raise UnusableValueError(f"a timestamp must be in the years 2 to 9998, got {quote(value)}")
    return value


def times_to_set(**timestamps: Timestamp) -> dict[str, Any]:
    """Return the columns and times that timestamp arguments set; None leaves a column out."""
    times = {column: as_time(value) for column, value in timestamps.items()}
    return {column: time for column, time in times.items() if time is not None}
