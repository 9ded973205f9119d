"""Show runs side by side and mark their differences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pandas as pd

from sqltrack.notebook._frame import format_dataframe
from sqltrack.notebook._text import escape, is_missing

__all__ = ["format_comparison"]


def format_comparison(
    df: pd.DataFrame, formatting: Mapping[Any, Callable[[Any], object] | None] | None = None, **kwargs: Any
) -> pd.DataFrame:
    """Format and transpose a data frame of runs, so that each run is a column, and mark values that differ.

    Rows in which the runs differ come first, both groups in the order of the columns of `df`.

    Missing values (None, NaN, NaT, NA) count as equal, but True and 1 as different. The columns of the result have
    values of all kinds, so show it by `itables.show(…, ordering=False)`.

    Args:
        df: the data frame, with a row for each run and the runs as index.
        formatting: functions by column name, see `format_dataframe`.
        kwargs: further arguments of `format_dataframe`.

    Raises:
        ValueError: a function failed, see `format_dataframe`.
    """
    formatted = format_dataframe(df, formatting, **kwargs)
    differing = [_differ(list(df.iloc[:, position])) for position in range(df.shape[1])]
    columns: dict[int, Any] = {}
    for position in range(df.shape[1]):
        cells = formatted.iloc[:, position].astype(object)
        columns[position] = cells.map(partial(_mark, name="differs" if differing[position] else "same"))
    marked: pd.DataFrame = pd.DataFrame(columns, index=formatted.index)
    marked.columns = formatted.columns
    # Sorting is stable.
    order = sorted(range(df.shape[1]), key=lambda position: not differing[position])
    turned: pd.DataFrame = marked.iloc[:, order].T
    return turned


def _mark(cell: object, name: str) -> str:
    # Also mark equal values, so that all cells of a column are aligned alike.
    return f'<span class="sqltrack-{name}">{cell if isinstance(cell, str) else escape(cell)}</span>'


def _differ(values: list[Any]) -> bool:
    return any(not _same(values[0], value) for value in values[1:])


def _same(one: Any, other: Any) -> bool:
    if is_missing(one) or is_missing(other):
        return is_missing(one) and is_missing(other)
    if isinstance(one, bool) != isinstance(other, bool):
        return False
    try:
        return bool(one == other)
    except (TypeError, ValueError):
        # The comparison of arrays has no truth value.
        return repr(one) == repr(other)
