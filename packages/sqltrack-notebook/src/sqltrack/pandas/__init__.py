"""Read query results as pandas data frames."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

import pandas as pd
from sqltrack._frames.columns import Column, Texts, read_columns

if TYPE_CHECKING:
    from sqltrack.client import Client
    from sqltrack.engines.dbapi import DBAPICursor, Parameters
    from sqltrack.util import QueryText

__all__ = ["query_dataframe"]

# Integers up to this one are exact as floats.
_EXACT = 2**53

# With more blocks of memory pandas is slow, and from 100 it warns of that when a column is added.
_BLOCKS = 50


def query_dataframe(client: Client | DBAPICursor, query: QueryText, parameters: Parameters = ()) -> pd.DataFrame:
    """Run a query and return its result as a data frame.

    The types are the same for all engines:

    - integers become int64; with NULL they become float64, or Int64 if float64 would alter a value;
    - other numbers, including NUMERIC and SQLite's text "NaN", become float64, with NaN for NULL;
    - booleans become bool; with NULL they become boolean;
    - timestamps become datetime64 in UTC and intervals timedelta64, both in microseconds;
    - text becomes pandas' default type for text, str or object;
    - all other values, such as dates, JSON and bytes, become Python objects. So do SQLite columns with mixed types.

    Columns without values get their declared type if the database knows it (SQLite does not for expressions), otherwise
    object. Names need not be unique.

    The database computes expressions. In SQLite, `args -> 'model'` is JSON text with quotes: use `args ->> 'model'`.
    The difference of two times is 0: subtract columns of the data frame instead.

    Args:
        client: client or cursor to use; with a cursor, the query is part of its transaction.
        query: the query, a str or SQL.
        parameters: values for its placeholders.

    Raises:
        DatabaseError: the database refused the query; with a cursor, the driver's own error is raised.
    """
    dtype = pd.Series([""]).dtype
    texts = _arrow_texts() if getattr(dtype, "storage", None) == "pyarrow" else _OBJECTS
    columns = read_columns(client, query, parameters, texts)
    names = [column.name for column in columns]
    series: dict[int, pd.Series[Any]] = {}
    for index in range(len(names)):
        # Remove each column after its conversion, to free memory.
        series[index] = _series(columns.pop(0), dtype)
    # By position first, because names need not be unique.
    frame: pd.DataFrame = pd.DataFrame(series, copy=len(names) > _BLOCKS)
    frame.columns = pd.Index(names, dtype=object if not names else None)
    return frame


def _as_objects(texts: Sequence[str | None]) -> Any:
    return np.array(texts, dtype=object)


# Texts that pandas stores as Python objects.
_OBJECTS = Texts(_as_objects, np.ndarray.tolist)


def _arrow_texts() -> Texts:
    """Return functions that store texts in Arrow's format, for a pandas that uses it."""
    arrow: Any = importlib.import_module("pyarrow")
    return Texts(lambda texts: arrow.array(texts, arrow.large_string()), lambda packed: packed.to_pylist())


def _series(column: Column, text_dtype: Any) -> pd.Series[Any]:
    values, missing = column.values, column.missing
    if column.kind == "integer" and missing is not None:
        values = _nullable_integers(values, missing)
    elif column.kind == "boolean" and missing is not None:
        values = pd.arrays.BooleanArray(values, missing)
    elif column.kind == "timestamp":
        values = pd.DatetimeIndex(values).tz_localize("UTC")
    elif column.kind == "text":
        values = _join_texts(values, text_dtype)
    # Give the dtype, or pandas would infer another one for objects, for example strings for JSON texts.
    series: pd.Series[Any] = pd.Series(values, dtype=values.dtype, copy=False)
    return series


def _join_texts(parts: list[Any], dtype: Any) -> Any:
    if not parts or isinstance(parts[0], np.ndarray):
        return pd.Series(np.concatenate(parts) if parts else [], dtype=dtype)
    arrow: Any = importlib.import_module("pyarrow")
    return dtype.__from_arrow__(arrow.concat_arrays(parts))


def _nullable_integers(values: Any, missing: Any) -> Any:
    if len(values) and max(int(values.max()), -int(values.min())) > _EXACT:
        return pd.arrays.IntegerArray(values, missing)
    floats = values.astype(np.float64)
    floats[missing] = np.nan
    return floats
