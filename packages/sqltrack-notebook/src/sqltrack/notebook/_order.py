"""Hidden text that makes tables sort by value.

DataTables, which itables shows, sorts cells with HTML by their text without tags, in which references like "&#8203;"
stay as written. Each cell therefore starts with the rank of its value within the column, in as many digits for all,
so that sorting by text is sorting by rank. The digits are characters without width, which nobody searches for and
which stay invisible wherever the text ends up, in exported files for instance. As references they have one length
and sort like the digits they stand for, both by character and by the rules of a language, which ignore punctuation
and compare numbers as a whole.

In notebooks a script teaches DataTables to sort such columns (order.js), so that missing values come last in both
directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd

from sqltrack.notebook._text import is_missing
from sqltrack.notebook._times import as_datetime, as_timedelta, nanoseconds
from sqltrack.notebook._values import json_text

__all__ = ["sort_keys"]

# Zero width space, non-joiner and joiner, word joiner, and invisible operators.
_DIGITS = tuple(f"&#{code};" for code in (8203, 8204, 8205, 8288, 8289, 8290, 8291, 8292))
_EPOCH = datetime(1970, 1, 1)
_MISSING = (9,)


def sort_keys(values: Sequence[Any], ranked: Sequence[Any] | None = None) -> list[str]:
    """Return hidden HTML for each value of a column, whose text sorts as the values do.

    Numbers come first, then points in time, durations, text in any case, other objects, and missing values last.

    Args:
        values: the column.
        ranked: what to sort by instead, of the same length.
    """
    orders = [_order(value) for value in (values if ranked is None else ranked)]
    ranks = {order: rank for rank, order in enumerate(sorted(set(orders)))}
    width = len(_octal(max(len(ranks) - 1, 0)))
    is_numeric = all(_is_number(value) or is_missing(value) for value in values)
    return [_key(_octal(ranks[order]).rjust(width, "0"), is_numeric, order == _MISSING) for order in orders]


def _octal(number: int) -> str:
    return format(number, "o")


def _key(digits: str, is_number: bool, is_missing: bool) -> str:
    # Columns of numbers are aligned by their class, and missing values are told by theirs.
    name = "sqltrack-key" + (" sqltrack-number" if is_number else "") + (" sqltrack-missing" if is_missing else "")
    return f'<span class="{name}" hidden>{"".join(_DIGITS[int(digit)] for digit in digits)}</span>'


def _is_number(value: Any) -> bool:
    return isinstance(value, (Real, Decimal)) and not isinstance(value, (bool, np.timedelta64))


def _order(value: Any) -> tuple[Any, ...]:
    if is_missing(value):
        return _MISSING
    if isinstance(value, (date, np.datetime64)):
        return 1, _since_epoch(as_datetime(value))
    if isinstance(value, (timedelta, np.timedelta64)):
        return 2, nanoseconds(as_timedelta(value))
    # After the durations: numpy's are integers by name.
    if isinstance(value, (Real, Decimal, np.bool_)):
        return 0, _number(value)
    if isinstance(value, str):
        return 3, value.casefold(), value
    return 4, bool(value) if isinstance(value, (dict, list)) else True, json_text(value)


def _number(value: Any) -> int | float | Decimal:
    """Return a number of a type that compares with all others."""
    if isinstance(value, (Integral, np.bool_)):
        return int(value)
    return value if isinstance(value, Decimal) else float(value)


def _since_epoch(time: date) -> int:
    """Return the time since 1970; without a time zone it counts as UTC."""
    extra = 0
    if isinstance(time, pd.Timestamp):
        extra = time.nanosecond
        time = time.to_pydatetime(warn=False)
    if not isinstance(time, datetime):
        time = datetime(time.year, time.month, time.day)
    offset = time.utcoffset() or timedelta(0)
    return nanoseconds(time.replace(tzinfo=None) - _EPOCH) - nanoseconds(offset) + extra
