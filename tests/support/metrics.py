"""Read stored metrics, and compare them with the logged ones."""

from __future__ import annotations

import math
from typing import Any

from sqltrack import Run
from sqltrack.util import quote_identifier

__all__ = ["RESERVED", "logged", "rows_as_dicts", "same", "stored_value"]

RESERVED = ("run_id", "step", "progress", "extras")


def logged(run: Run, name: str) -> list[Any]:
    """Values of a metric in the order of steps."""
    column = quote_identifier(name).replace("%", "%%")
    result = run.client.execute(f"SELECT {column} FROM metrics WHERE run_id = %s ORDER BY step, progress", (run.id,))
    return [value for (value,) in result]


def stored_value(run: Run, name: str, step: int = 0) -> Any:
    """Value of a metric, from its column or from extras."""
    cursor = run.client.execute("SELECT * FROM metrics WHERE run_id = %s AND step = %s", (run.id, step))
    row = dict(zip((column[0] for column in cursor.description or ()), cursor.fetchone()))
    return (row.get("extras") or {}).get(name, row.get(name) if name not in RESERVED else None)


def rows_as_dicts(run: Run) -> list[dict[str, Any]]:
    cursor = run.client.execute("SELECT * FROM metrics ORDER BY step")
    names = [column[0] for column in cursor.description or ()]
    return [dict(zip(names, row)) for row in cursor]


def same(stored: Any, value: Any) -> bool:
    """Return whether a stored value equals the logged one; SQLite stores NaN as text."""
    if isinstance(value, float) and math.isnan(value):
        return bool(stored == "NaN" or math.isnan(stored))
    return bool(stored == value)
