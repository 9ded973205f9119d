"""Values of the queries as text, for tables that are read without scripts."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqltrack.ui._json import NUMBER
from sqltrack.wording import short_duration

__all__ = ["as_text", "exact_text", "group_name", "spread_text"]

# As in format.js.
_SIGNIFICANT = 5


def as_text(value: Any, kind: str | None) -> str:
    """Return a value of JSON as one line of text, "" if it is missing.

    Args:
        value: the value.
        kind: "time", "duration" (seconds), "tags", or any other kind of value.
    """
    if _is_missing(value):
        return ""
    number = _number(value)
    if kind == "duration" and number is not None and math.isfinite(number):
        return short_duration(number)
    if number is not None:
        return str(number) if isinstance(number, int) else f"{number:.{_SIGNIFICANT}g}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return _time(value) if kind is not None and kind.startswith("time") else value
    if kind == "tags":
        return ", ".join(map(str, value))
    return json.dumps(value, ensure_ascii=False)


def exact_text(value: Any) -> str:
    """Return a value of JSON as text with all its digits, "" if it is missing."""
    if _is_missing(value):
        return ""
    number = _number(value)
    if number is not None:
        return str(number)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def group_name(value: Any) -> str:
    """Return the value of a group as text, such as "0.1", or "lr=0.1, model=vit" for several arguments."""
    if isinstance(value, Mapping) and NUMBER not in value:
        return ", ".join(f"{name}={as_text(part, None) or 'none'}" for name, part in value.items()) or "all runs"
    return as_text(value, None) or "none"


def spread_text(cell: Mapping[str, Any], runs: int) -> str:
    """Return mean and standard deviation of a cell of the query `group_rows`, "" if it has no numbers.

    Args:
        cell: the cell.
        runs: number of runs in the group; if fewer have a value, the text tells how many.
    """
    if cell.get("mean") is None:
        return ""
    text = as_text(cell["mean"], "number")
    if cell["std"] is not None:
        text += f" ± {as_text(cell['std'], 'number')}"
    return text if cell["n"] == runs else f"{text} (n = {cell['n']})"


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, Mapping) and value.get("$missing") is True)


def _number(value: Any) -> float | None:
    """Return the number for its JSON, None if it is not one."""
    if isinstance(value, Mapping) and set(value) == {NUMBER}:
        text = str(value[NUMBER])
        return int(text) if text.lstrip("-").isdigit() else float(text)
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _time(text: str) -> str:
    try:
        return datetime.fromisoformat(text).strftime("%Y-%m-%d %H:%M UTC")
    except ValueError:
        return text
