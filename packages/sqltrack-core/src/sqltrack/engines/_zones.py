"""Check that datetimes have a working time zone."""

from __future__ import annotations

from datetime import datetime

from sqltrack.engines._foreign import UNKNOWN, attempt
from sqltrack.engines._spelling import quote
from sqltrack.errors import NaiveDatetimeError, UnusableValueError

__all__ = ["check_zone"]


def check_zone(value: datetime) -> None:
    """Check that a datetime has an offset from UTC.

    Raises:
        NaiveDatetimeError: (a ValueError) it has no time zone.
        UnusableValueError: (a ValueError) its time zone raises an error.
    """
    offset = attempt(lambda moment: moment.utcoffset(), value)
    if offset is None:
        raise NaiveDatetimeError(value)
    if offset is UNKNOWN:
        raise UnusableValueError(f"cannot get the UTC offset of the datetime {quote(value)} from its time zone")
