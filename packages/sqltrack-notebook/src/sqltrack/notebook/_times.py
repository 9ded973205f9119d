"""Format points in time and durations as HTML."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from sqltrack.errors import MissingPackageError
from sqltrack.notebook._text import escape, is_missing
from sqltrack.wording import short_duration

__all__ = [
    "as_datetime",
    "as_timedelta",
    "format_datetime",
    "format_datetime_relative",
    "format_timedelta",
    "nanoseconds",
]


def as_datetime(value: Any) -> date:
    """Convert a point in time to a datetime; a date stays a date.

    Args:
        value: datetime, date, numpy's datetime64 or text in ISO format.

    Raises:
        ValueError: a text has another format.
        TypeError: the value has another type.
    """
    if isinstance(value, date):
        return value
    if isinstance(value, (str, np.datetime64)):
        time: datetime = pd.Timestamp(value)
        return time
    raise TypeError(f"a datetime or text in ISO format is expected, got {value!r}")


def as_timedelta(value: Any) -> timedelta:
    """Convert a duration to a timedelta.

    Args:
        value: timedelta, numpy's timedelta64 or a number of seconds.

    Raises:
        TypeError: the value has another type.
    """
    if isinstance(value, np.timedelta64):
        value = pd.Timedelta(value)
    if isinstance(value, pd.Timedelta) and not value.nanoseconds:
        return value.to_pytimedelta()
    if isinstance(value, timedelta):
        return value
    if isinstance(value, (str, bytes)):
        raise TypeError(f"a timedelta or a number of seconds is expected, got {value!r}")
    return timedelta(seconds=float(value))


def nanoseconds(duration: timedelta) -> int:
    """Return a duration in nanoseconds, exactly.

    Args:
        duration: timedelta, also of pandas, whose total_seconds() drops nanoseconds in some versions.
    """
    seconds = duration.days * 86400 + duration.seconds
    return (seconds * 1_000_000 + duration.microseconds) * 1000 + getattr(duration, "nanoseconds", 0)


def format_datetime(dt: date | None, sep: str = " ", timespec: str = "seconds", na_rep: str = "--") -> str:
    """Return a point in time in ISO format.

    Args:
        dt: datetime, date, or text in ISO format.
        sep: separator of date and time.
        timespec: precision of the time: 'auto', 'hours', 'minutes', 'seconds', 'milliseconds' or 'microseconds'.
        na_rep: replacement for missing values.

    Returns:
        HTML text.
    """
    return escape(na_rep) if is_missing(dt) else escape(_iso(as_datetime(dt), sep, timespec))


def format_datetime_relative(dt: date | None, sep: str = " ", timespec: str = "seconds", na_rep: str = "--") -> str:
    """Return the time that has passed since a point in time, which is shown on hover.

    Args:
        dt: datetime, date, or text in ISO format; without a time zone, it counts as local time.
        sep: separator of date and time.
        timespec: precision of the time: 'auto', 'hours', 'minutes', 'seconds', 'milliseconds' or 'microseconds'.
        na_rep: replacement for missing values.

    Returns:
        HTML text.

    Raises:
        MissingPackageError: humanize is not installed.
    """
    if is_missing(dt):
        return escape(na_rep)
    time = as_datetime(dt)
    shown = escape(_iso(time, sep, timespec))
    try:
        elapsed = _humanize(_elapsed(time))
    except OverflowError:
        # At the limits of the calendar, the difference or the converted time is out of range.
        return shown
    return f'<span title="{shown}">{escape(elapsed)}</span>'


def _iso(time: date, sep: str, timespec: str) -> str:
    return time.isoformat(sep, timespec) if isinstance(time, datetime) else time.isoformat()


def _elapsed(time: date) -> timedelta:
    if isinstance(time, pd.Timestamp):
        time = time.to_pydatetime(warn=False)
    if not isinstance(time, datetime):
        time = datetime(time.year, time.month, time.day)
    if time.utcoffset() is None:
        return datetime.now() - time
    return datetime.now(timezone.utc) - time


def _humanize(elapsed: timedelta) -> str:
    try:
        import humanize
    except ImportError as error:
        raise MissingPackageError("relative time", "humanize", "humanize") from error
    return humanize.naturaltime(elapsed)


def format_timedelta(td: timedelta | float | None, na_rep: str = "--") -> str:
    """Return a duration in its two largest units, such as "2 h 13 min"; the exact duration is shown on hover.

    Args:
        td: timedelta, or a number of seconds; durations too long for a timedelta are shown in seconds.
        na_rep: replacement for missing values.

    Returns:
        HTML text.
    """
    if is_missing(td):
        return escape(na_rep)
    try:
        duration = as_timedelta(td)
    except OverflowError:
        return escape(_beyond_timedelta(td))
    sign, size = ("-", -duration) if duration < timedelta(0) else ("", duration)
    return f'<span title="{escape(sign + str(size))}">{escape(sign + short_duration(nanoseconds(size) / 1e9))}</span>'


def _beyond_timedelta(value: Any) -> str:
    """Return the text of a duration that is infinite or too long for a timedelta."""
    if isinstance(value, np.timedelta64):
        return str(value)
    number = Decimal(value if isinstance(value, int) else float(value))
    return f"{number:.3g} s".replace("Infinity", "inf")
