"""Values as cells of tables: short for tables, exact for results of queries."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any, TypeAlias

from rich.text import Text

from sqltrack.cli._output import printable
from sqltrack.engines.json import plain
from sqltrack.statuses import find_group
from sqltrack.wording import coarse_duration, short_duration

__all__ = ["Cell", "show_exact", "show_status", "show_tags", "show_time", "show_value"]

# Returns a value as a cell.
Cell: TypeAlias = Callable[[Any], Text]


def show_value(value: Any) -> Text:
    """Return any value as a cell; numbers have five digits, times are told by their distance from now."""
    if value is None:
        return Text("--", style="bright_black")
    if isinstance(value, datetime):
        return show_time(value)
    if isinstance(value, timedelta):
        return Text(short_duration(value.total_seconds()))
    if isinstance(value, (dict, list)):
        return Text(printable(json.dumps(plain(value), ensure_ascii=False)))
    if isinstance(value, float):
        # NaN is spelled as in other formats, and as SQLite has it.
        return Text("NaN", style="red") if math.isnan(value) else Text(f"{value:.5g}")
    return Text(printable(value))


def show_exact(value: Any) -> Text:
    """Return a value as `show_value` does, but times as they are, in UTC."""
    if isinstance(value, datetime) and value.tzinfo is not None:
        return Text(f"{value.astimezone(timezone.utc):%Y-%m-%d %H:%M:%S}Z")
    return show_value(value)


def show_status(status: str | None) -> Text:
    """Return a status with its symbol and color."""
    if status is None:
        return show_value(None)
    group = find_group(status)
    return Text(f"{group.symbol} {printable(status)}", style=group.ansi)


def show_tags(tags: Mapping[str, Any] | None) -> Text:
    """Return the names of tags, with the values that are not true."""
    names = (name if value is True else f"{name}={value}" for name, value in (tags or {}).items())
    return Text(printable(", ".join(names)), style="cyan")


def show_time(time: datetime) -> Text:
    """Return how long ago a time was; a time without time zone as it is."""
    if time.tzinfo is None:
        return Text(str(time))
    elapsed = (datetime.now(timezone.utc) - time).total_seconds()
    return Text(f"{coarse_duration(elapsed)} ago" if elapsed >= 0 else f"in {coarse_duration(-elapsed)}")
