"""Format data frames as HTML."""

from __future__ import annotations

import inspect
import reprlib
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from decimal import Decimal
from functools import partial
from numbers import Integral, Real
from typing import Any, TypeAlias, cast

import numpy as np
import pandas as pd

from sqltrack.notebook._order import sort_keys
from sqltrack.notebook._status import format_status
from sqltrack.notebook._tags import format_tags
from sqltrack.notebook._text import escape, is_missing
from sqltrack.notebook._times import (
    as_datetime,
    as_timedelta,
    format_datetime,
    format_datetime_relative,
    format_timedelta,
)
from sqltrack.notebook._values import (
    check_ellipsis,
    format_bool,
    format_json,
    format_marked,
    format_number,
    format_percentage,
    format_string,
)

__all__ = ["format_dataframe"]

Formatter: TypeAlias = Callable[[Any], object]

_BY_NAME: dict[Any, Formatter] = {
    " ": format_marked,
    "m": format_marked,
    "marked": format_marked,
    "s": format_status,
    "status": format_status,
    "tags": format_tags,
    "progress": format_percentage,
}
# Functions with their own form of missing values; others take it as the parameter na_rep.
_OWN_NOTHING = (format_marked, format_status, format_tags)
# Integers up to this one are exact in JavaScript.
_EXACT = 2**53


def format_dataframe(
    df: pd.DataFrame,
    formatting: Mapping[Any, Formatter | None] | None = None,
    na_rep: str = "--",
    relative_datetimes: bool = True,
    string_ellipsis: str | bool = "left",
) -> pd.DataFrame:
    """Return a copy of a data frame with its values formatted as HTML.

    Columns named " ", "m" or "marked" show stars, "s" or "status" icons, "tags" bubbles and "progress" percentages.
    Other columns are formatted by type. Purely numeric columns without missing values are not changed. Labels and
    values are escaped. In interactive tables, the result sorts by value, with missing values last.

    Args:
        df: the data frame.
        formatting: functions by column name, in upper or lower case, that override the defaults; None formats by type.
            A function takes one value and returns HTML. Missing values (None, NaN, NaT, NA) become `na_rep`; if the
            function has a parameter of that name, it is called with None instead. Columns of a MultiIndex are looked
            up by their whole name, then by their labels from the innermost to the outermost.
        na_rep: replacement for missing values, default "--".
        relative_datetimes: whether to show the time that has passed since a point in time, default True, or the point
            in time.
        string_ellipsis: the side on which long text is cut: "left" (default, or True), "right", or False for neither.

    Raises:
        ValueError: a function failed (the message shows column and value), or `string_ellipsis` is another value.
        TypeError: `df` is not a data frame, or `formatting` contains something other than functions.
    """
    if not isinstance(df, pd.DataFrame):
        raise TypeError(f"a pandas DataFrame is expected, got {type(df).__name__}")
    check_ellipsis(string_ellipsis)
    by_name = {**_BY_NAME, **_checked(formatting or {})}
    by_type = partial(_format_by_type, na_rep=na_rep, relative=relative_datetimes, ellipsis=string_ellipsis)
    index = _safe_labels(df.index, na_rep)
    columns: dict[int, pd.Series[Any]] = {}
    for position, name in enumerate(df.columns):
        series = df.iloc[:, position]
        function = _find(by_name, name)
        if function is None and _is_plain(series):
            columns[position] = pd.Series(_plain_numbers(series), index=index)
        else:
            cells = _cells(series, name, by_type if function is None else _fill_in(function, na_rep))
            columns[position] = pd.Series(cells, index=index, dtype=object)
    result: pd.DataFrame = pd.DataFrame(columns, index=index)
    result.columns = _safe_labels(df.columns, na_rep)
    return result


def _checked(formatting: Mapping[Any, Formatter | None]) -> dict[Any, Formatter | None]:
    for name, function in formatting.items():
        if function is not None and not callable(function):
            raise TypeError(f"formatting must hold functions of one value, got {function!r} for column {name!r}")
    return {_folded(name): function for name, function in formatting.items()}


def _folded(name: Any) -> Any:
    if isinstance(name, tuple):
        return tuple(_folded(part) for part in name)
    return name.casefold() if isinstance(name, str) else name


def _find(by_name: Mapping[Any, Formatter | None], name: Any) -> Formatter | None:
    name = _folded(name)
    labels = [name, *reversed(name)] if isinstance(name, tuple) else [name]
    return next((by_name[label] for label in labels if label in by_name), None)


def _fill_in(function: Formatter, na_rep: str) -> Formatter:
    """Return a function that also accepts missing values."""
    if function in _OWN_NOTHING:
        return function
    if not _has_na_rep(function):
        return lambda value: escape(na_rep) if value is None else function(value)
    if isinstance(function, partial) and "na_rep" in function.keywords:
        return function
    return partial(cast("Callable[..., object]", function), na_rep=na_rep)


def _has_na_rep(function: Formatter) -> bool:
    try:
        return "na_rep" in inspect.signature(function).parameters
    except (TypeError, ValueError):
        # Some functions written in C have no signature.
        return False


def _cells(series: pd.Series[Any], name: Any, function: Formatter) -> list[str]:
    values = list(series)
    texts = [_call(function, None if is_missing(value) else value, name) for value in values]
    keys = sort_keys(values, _category_codes(series))
    return [key + text for key, text in zip(keys, texts)]


def _call(function: Formatter, value: Any, name: Any) -> str:
    try:
        text = function(value)
        return text if isinstance(text, str) else escape(text)
    except Exception as error:
        shown = reprlib.repr(value)
        raise ValueError(
            f"column {name!r}: cannot format the value {shown}: {type(error).__name__}: {error}"
        ) from error


def _category_codes(series: pd.Series[Any]) -> list[int | None] | None:
    if isinstance(series.dtype, pd.CategoricalDtype) and series.dtype.ordered:
        return [None if code < 0 else int(code) for code in series.cat.codes]
    return None


def _is_plain(series: pd.Series[Any]) -> bool:
    """Return whether a column has only numbers that a browser shows exactly."""
    if series.dtype.kind not in "iuf" or not len(series) or bool(series.isna().any()):
        return False
    if series.dtype.kind == "f":
        return bool(np.isfinite(series.to_numpy(dtype=float)).all())
    return int(series.min()) >= -_EXACT and int(series.max()) <= _EXACT


def _plain_numbers(series: pd.Series[Any]) -> Any:
    if isinstance(series.dtype, np.dtype):
        return series.to_numpy(copy=True)
    return series.to_numpy(dtype=np.dtype(f"{series.dtype.kind}8"))


def _format_by_type(value: Any, na_rep: str, relative: bool, ellipsis: str | bool) -> str:
    if value is None:
        return escape(na_rep)
    if isinstance(value, str):
        return format_string(value, ellipsis)
    if isinstance(value, (date, np.datetime64)):
        return (format_datetime_relative if relative else format_datetime)(as_datetime(value))
    if isinstance(value, (timedelta, np.timedelta64)):
        return format_timedelta(as_timedelta(value))
    # After the durations, because numpy's are also integers.
    if isinstance(value, (bool, np.bool_)):
        return format_bool(bool(value))
    if isinstance(value, (Integral, Decimal)):
        return escape(value)
    if isinstance(value, Real):
        return format_number(float(value))
    if isinstance(value, (dict, list, tuple, set, frozenset, np.ndarray)):
        return format_json(value)
    return format_string(str(value), ellipsis)


def _safe_labels(index: pd.Index[Any], na_rep: str) -> pd.Index[Any]:
    """Escape labels, because they are shown as HTML."""
    names = [None if name is None else _safe_label(name, na_rep) for name in index.names]
    safe: pd.Index[Any]
    if isinstance(index, pd.MultiIndex):
        levels = [[_safe_label(part, na_rep) for part in index.get_level_values(i)] for i in range(index.nlevels)]
        safe = pd.MultiIndex.from_arrays(levels, names=names)
    elif index.dtype.kind in "iufbmM":
        safe = index.rename(names[0])
    else:
        labels = [_safe_label(label, na_rep) for label in index]
        safe = pd.Index(labels, dtype=object, name=names[0], tupleize_cols=False)
    return safe


def _safe_label(label: Any, na_rep: str) -> Any:
    if is_missing(label):
        return escape(na_rep)
    return label if isinstance(label, (Real, date, timedelta, np.datetime64)) else escape(label)
