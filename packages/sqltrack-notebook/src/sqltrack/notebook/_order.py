"""Add hidden text to cells that makes tables sort by value.

DataTables, which itables uses, sorts HTML cells by their text without tags, in which references such as "&#8203;" are
not resolved. Each cell therefore starts with the rank of its value in the column, with the same number of digits in
all cells, so that sorting by text sorts by rank. The digits are characters of zero width. They do not affect searches,
and stay invisible wherever the text is copied, for example in exported files. Their references all have the same
length. They sort like the digits, both by character and by the rules of a language, which ignore punctuation and
compare numbers as a whole.

In notebooks, a script (order.js) makes DataTables sort such columns with missing values last in both directions.
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
    """Return hidden HTML for each value of a column whose text sorts like the values.

    Numbers come first, then points in time, durations, text (ignoring case), other objects, and missing values.

    Args:
        values: the column.
        ranked: values of the same length to sort by instead.
    """
    orders = [_order(value) for value in (values if ranked is None else ranked)]
    ranks = {order: rank for rank, order in enumerate(sorted(set(orders)))}
    width = len(_octal(max(len(ranks) - 1, 0)))
    is_numeric = all(_is_number(value) or is_missing(value) for value in values)
    return [_key(_octal(ranks[order]).rjust(width, "0"), is_numeric, order == _MISSING) for order in orders]


def _octal(number: int) -> str:
    return format(number, "o")


def _key(digits: str, is_number: bool, is_missing: bool) -> str:
    # The classes align columns of numbers, and mark missing values.
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
    # After the durations, because numpy's are also integers.
    if isinstance(value, (Real, Decimal, np.bool_)):
        return 0, _number(value)
    if isinstance(value, str):
        return 3, value.casefold(), value
    return 4, bool(value) if isinstance(value, (dict, list)) else True, json_text(value)


def _number(value: Any) -> int | float | Decimal:
    """Convert a number to a type that is comparable with all others."""
    if isinstance(value, (Integral, np.bool_)):
        return int(value)
    return value if isinstance(value, Decimal) else float(value)


def _since_epoch(time: date) -> int:
    """Return the time since 1970 in nanoseconds; naive datetimes count as UTC."""
    extra = 0
    if isinstance(time, pd.Timestamp):
        extra = time.nanosecond
        time = time.to_pydatetime(warn=False)
    if not isinstance(time, datetime):
        time = datetime(time.year, time.month, time.day)
    offset = time.utcoffset() or timedelta(0)
    return nanoseconds(time.replace(tzinfo=None) - _EPOCH) - nanoseconds(offset) + extra
