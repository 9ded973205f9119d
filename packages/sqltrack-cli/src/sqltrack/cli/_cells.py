"""Show values as cells: short in tables, exact in results of queries."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

from sqltrack.cli._output import printable
from sqltrack.engines.json import plain
from sqltrack.statuses import find_group
from sqltrack.wording import coarse_duration, short_duration

if TYPE_CHECKING:
    from rich.style import Style
    from rich.text import Text

__all__ = ["Cell", "holds_numbers", "show_exact", "show_status", "show_tags", "show_time", "show_value", "styled"]

# A function that returns a value as a cell.
Cell: TypeAlias = Callable[[Any], "Text"]


def styled(text: str, style: str | Style = "") -> Text:
    """Return a styled text for a terminal."""
    return _text_class()(text, style)


@cache
def _text_class() -> type[Text]:
    """Return the class of texts. It is slow to import, and many commands do not need it."""
    from rich.text import Text

    return Text


def holds_numbers(values: Sequence[Any]) -> bool:
    """Return whether a column holds numbers or durations only, apart from None, and at least one."""
    present = [value for value in values if value is not None]
    return bool(present) and all(
        isinstance(value, (int, float, Decimal, timedelta)) and not isinstance(value, bool) for value in present
    )


def show_value(value: Any) -> Text:
    """Return any value as a cell: numbers with five digits, times as their distance from now."""
    if value is None:
        return styled("--", "bright_black")
    if isinstance(value, datetime):
        return show_time(value)
    if isinstance(value, timedelta):
        return styled(short_duration(value.total_seconds()))
    if isinstance(value, (dict, list)):
        return styled(printable(json.dumps(plain(value), ensure_ascii=False)))
    if isinstance(value, float):
        # Spell NaN as in other formats and in SQLite.
        return styled("NaN", "red") if math.isnan(value) else styled(f"{value:.5g}")
    return styled(printable(value))


def show_exact(value: Any) -> Text:
    """Return a value like `show_value`, but with exact times in UTC."""
    if isinstance(value, datetime) and value.tzinfo is not None:
        return styled(f"{value.astimezone(timezone.utc):%Y-%m-%d %H:%M:%S}Z")
    return show_value(value)


def show_status(status: str | None) -> Text:
    """Return a status with its symbol and color."""
    if status is None:
        return show_value(None)
    group = find_group(status)
    return styled(f"{group.symbol} {printable(status)}", group.ansi)


def show_tags(tags: Mapping[str, Any] | None) -> Text:
    """Return the names of tags, with their values unless these are true."""
    names = (name if value is True else f"{name}={value}" for name, value in (tags or {}).items())
    return styled(printable(", ".join(names)), "cyan")


def show_time(time: datetime) -> Text:
    """Return the distance of a time from now; a time without a time zone stays as it is."""
    if time.tzinfo is None:
        return styled(str(time))
    elapsed = (datetime.now(timezone.utc) - time).total_seconds()
    return styled(f"{coarse_duration(elapsed)} ago" if elapsed >= 0 else f"in {coarse_duration(-elapsed)}")
