"""Checks of a database, and the verdicts that they return."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from sqltrack.engines.engine import Engine

__all__ = ["PATIENCE", "Check", "Checks", "Severity", "Verdict", "fetch_rows", "note", "ok", "problem"]

#: Seconds for which an examination waits for the locks of others.
PATIENCE = 5.0

Severity = Literal["ok", "note", "problem"]


class Verdict(NamedTuple):
    """What one check found.

    Attributes:
        result: "ok", "note" for what is worth knowing, "problem" for what has to be done something about.
        found: what was found.
        advice: what to do, None if there is nothing.
    """

    result: Severity
    found: str
    advice: str | None = None


# Examines one thing; None where there is nothing to say.
Check = Callable[[], "Verdict | None"]
Checks = Mapping[str, Check]


def fetch_rows(engine: Engine, connection: Any, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
    """Return the rows of a query, waiting at most `PATIENCE` seconds for locks."""
    rows: list[Any] = engine.execute_within(connection, PATIENCE, sql, parameters).fetchall()
    return rows


def ok(found: str) -> Verdict:
    """Return that all is well."""
    return Verdict("ok", found)


def note(found: str, advice: str | None = None) -> Verdict:
    """Return something that is worth knowing."""
    return Verdict("note", found, advice)


def problem(found: str, advice: str | None = None) -> Verdict:
    """Return something that should not be so."""
    return Verdict("problem", found, advice)
