"""Query results as pandas data frames."""

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

# Integers up to here are all exact as floats.
_EXACT = 2**53

# More blocks of memory than these make pandas slow, and 100 make it warn of that when a column is added.
_BLOCKS = 50


def query_dataframe(client: Client | DBAPICursor, query: QueryText, parameters: Parameters = ()) -> pd.DataFrame:
    """Run a query and return its result as a data frame.

    The types are the same on all engines:

    - integers int64; with NULL among them float64, or Int64 if float64 would alter one of them;
    - other numbers float64, where NULL becomes NaN; also NUMERIC, and the text that SQLite keeps for NaN;
    - booleans bool, with NULL among them boolean;
    - timestamps datetime64 in UTC, intervals timedelta64, both in microseconds, as databases keep them;
    - text as pandas has it, str or object;
    - dates, JSON, bytes and all else Python objects, as is what SQLite keeps of several types in one column.

    Columns without any value get the type that they are declared with, where the database tells (SQLite does not for
    expressions), else object. Names need not be unique.

    Expressions are computed by the database. On SQLite `args -> 'model'` is JSON text with quotes and the difference of
    two times is 0: use `args ->> 'model'`, and subtract columns of the data frame.

    Args:
        client: client or cursor to use; with a cursor the query is part of its transaction.
        query: the query, a str or SQL.
        parameters: values for its placeholders.

    Raises:
        DatabaseError: the database refused the query; with a cursor it is the driver's own error.
    """
    dtype = pd.Series([""]).dtype
    texts = _arrow_texts() if getattr(dtype, "storage", None) == "pyarrow" else _OBJECTS
    columns = read_columns(client, query, parameters, texts)
    names = [column.name for column in columns]
    series: dict[int, pd.Series[Any]] = {}
    for index in range(len(names)):
        # From the front, to forget each column as soon as pandas has it.
        series[index] = _series(columns.pop(0), dtype)
    # By position first: names need not be unique.
    frame: pd.DataFrame = pd.DataFrame(series, copy=len(names) > _BLOCKS)
    frame.columns = pd.Index(names, dtype=object if not names else None)
    return frame


def _as_objects(texts: Sequence[str | None]) -> Any:
    return np.array(texts, dtype=object)


# Texts that pandas keeps as Python objects.
_OBJECTS = Texts(_as_objects, np.ndarray.tolist)


def _arrow_texts() -> Texts:
    """Return how texts are kept where pandas has them in Arrow's form: in the same form."""
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
    # Of objects pandas would make what it takes them for, strings of JSON texts, for one.
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
