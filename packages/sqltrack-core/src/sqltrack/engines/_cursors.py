"""Check that an object is a cursor."""

from __future__ import annotations

from typing import Any

from sqltrack.engines._foreign import UNKNOWN, attempt
from sqltrack.engines._spelling import quote
from sqltrack.errors import UnusableValueError

__all__ = ["check_cursor"]


class _NoCursorError(UnusableValueError, TypeError):
    """a client or a cursor is expected"""


def check_cursor(cursor: Any) -> None:
    """Check that an object has the methods of a cursor.

    Raises:
        UnusableValueError: (a ValueError and a TypeError) it does not.
    """
    # A connection has no fetch methods.
    if attempt(lambda obj: (obj.execute, obj.fetchone, obj.fetchall), cursor) is UNKNOWN:
        raise _NoCursorError(
            f"client must be a Client or a cursor, got {quote(cursor)}", "use: client = sqltrack.Client()"
        )
