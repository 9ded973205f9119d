"""Types and helpers for checks of a database."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from sqltrack.engines.engine import Engine

__all__ = ["PATIENCE", "Check", "Checks", "Severity", "Verdict", "fetch_rows", "note", "ok", "problem"]

#: Lock timeout of a check, in seconds.
PATIENCE = 5.0

Severity = Literal["ok", "note", "problem"]


class Verdict(NamedTuple):
    """The result of one check.

    Attributes:
        result: "ok", "note" for information, or "problem" if you need to act.
        found: the finding.
        advice: what to do, None for nothing.
    """

    result: Severity
    found: str
    advice: str | None = None


# Returns None if it has nothing to report.
Check = Callable[[], "Verdict | None"]
Checks = Mapping[str, Check]


def fetch_rows(engine: Engine, connection: Any, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
    """Return the rows of a query, with a lock timeout of `PATIENCE` seconds."""
    rows: list[Any] = engine.execute_within(connection, PATIENCE, sql, parameters).fetchall()
    return rows


def ok(found: str) -> Verdict:
    """Return the verdict "ok"."""
    return Verdict("ok", found)


def note(found: str, advice: str | None = None) -> Verdict:
    """Return the verdict "note"."""
    return Verdict("note", found, advice)


def problem(found: str, advice: str | None = None) -> Verdict:
    """Return the verdict "problem"."""
    return Verdict("problem", found, advice)
