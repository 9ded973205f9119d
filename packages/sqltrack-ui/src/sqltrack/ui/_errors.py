"""The errors that the page shows: a sentence, a kind and a status of HTTP."""

from __future__ import annotations

from typing import Any

from sqltrack.errors import (
    ConfigError,
    DatabaseError,
    MissingRunError,
    NotFoundError,
    SQLTrackError,
    StatementTimeoutError,
)
from sqltrack.ui.queries._errors import ErrorKind, QueryError

__all__ = ["RequestError", "describe_error"]

# The status of HTTP for each kind of error.
_STATUSES = {
    "request": 400,
    "where": 400,
    "denied": 403,
    "unknown": 404,
    "conflict": 409,
    "database": 503,
    "timeout": 504,
}


class RequestError(QueryError):
    """the request cannot be answered

    Args:
        message: a sentence that says why.
        kind: "request" (default), "where", "unknown", "timeout", "database", "conflict" or "denied".
        status: status of HTTP, default: that of the kind.
    """

    def __init__(self, message: str, kind: ErrorKind = "request", status: int | None = None) -> None:
        super().__init__(message, kind)
        self.status = status


def describe_error(error: Exception) -> tuple[int, dict[str, Any]] | None:
    """Return the status of HTTP and the answer for an error, or None if the error is a fault of the server.

    The answer also has what the error has in its attribute `details`, a dict, such as the place of an error in SQL.
    """
    kind = _kind(error)
    if kind is None:
        return None
    status = getattr(error, "status", None) or _STATUSES[kind]
    return status, {"error": str(error), "kind": kind, **getattr(error, "details", {})}


def _kind(error: Exception) -> str | None:
    given = getattr(error, "kind", None)
    if given in _STATUSES:
        return str(given)
    if isinstance(error, StatementTimeoutError):
        return "timeout"
    if isinstance(error, (MissingRunError, NotFoundError)):
        return "unknown"
    if isinstance(error, (DatabaseError, ConfigError)):
        return "database"
    return "request" if isinstance(error, SQLTrackError) else None
