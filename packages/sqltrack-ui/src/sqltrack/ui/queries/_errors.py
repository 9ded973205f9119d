"""The error of a query that cannot be answered."""

from __future__ import annotations

from typing import Literal

from sqltrack.errors import SQLTrackError

__all__ = ["ErrorKind", "QueryError"]

ErrorKind = Literal["where", "unknown", "timeout", "database", "request", "conflict", "denied"]


class QueryError(SQLTrackError, ValueError):
    """the query cannot be answered

    Args:
        message: the reason, with the wrong value.
        kind: "request" (default) if the specification is not valid, "where" for a condition that the database refused,
            "unknown" for a run, metric or column that does not exist.
    """

    def __init__(self, message: str, kind: ErrorKind = "request") -> None:
        super().__init__(message)
        self.kind: ErrorKind = kind
