"""Make sure that datetimes have a time zone, and that it can be asked."""

from __future__ import annotations

from datetime import datetime

from sqltrack.engines._foreign import UNKNOWN, attempt
from sqltrack.engines._spelling import quote
from sqltrack.errors import NaiveDatetimeError, UnusableValueError

__all__ = ["check_zone"]


def check_zone(value: datetime) -> None:
    """Make sure that a datetime has an offset from UTC.

    Raises:
        NaiveDatetimeError: (a ValueError) it has no time zone.
        UnusableValueError: (a ValueError) its time zone fails to tell the offset.
    """
    offset = attempt(lambda moment: moment.utcoffset(), value)
    if offset is None:
        raise NaiveDatetimeError(value)
    if offset is UNKNOWN:
        raise UnusableValueError(f"the time zone of a datetime must tell its offset from UTC, got {quote(value)}")
