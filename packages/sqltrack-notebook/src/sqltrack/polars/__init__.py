"""Read query results as polars data frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqltrack._frames.columns import Column, Texts, read_columns
from sqltrack.errors import MissingPackageError

try:
    import polars as pl
except ImportError as _error:
    raise MissingPackageError("sqltrack.polars", "polars", "'sqltrack-notebook[polars]'") from _error

if TYPE_CHECKING:
    from sqltrack.client import Client
    from sqltrack.engines.dbapi import DBAPICursor, Parameters
    from sqltrack.util import QueryText

__all__ = ["query_polars"]

_TYPES: dict[Any, Any] = {"bytes": pl.Binary, "date": pl.Date, None: pl.Null}


def query_polars(client: Client | DBAPICursor, query: QueryText, parameters: Parameters = ()) -> pl.DataFrame:
    """Run a query and return its result as a polars data frame.

    The types are the same for all engines:

    - integers become Int64, and other numbers, including NUMERIC and SQLite's text "NaN", Float64;
    - booleans become Boolean, text String, dates Date and bytes Binary;
    - timestamps become Datetime in UTC and intervals Duration, both in microseconds;
    - all other values, such as JSON, become Python objects (Object).

    NULL becomes null in all types. Columns without values get their declared type if the database knows it, otherwise
    Null. If several columns have the same name, the later ones are renamed to `name_duplicated_0`, `name_duplicated_1`
    and so on, as in polars.

    Args:
        client: client or cursor to use; with a cursor, the query is part of its transaction.
        query: the query, a str or SQL.
        parameters: values for its placeholders.

    Raises:
        DatabaseError: the database refused the query; with a cursor, the driver's own error is raised.
    """
    columns = read_columns(client, query, parameters, _TEXTS)
    names = _unique_names([column.name for column in columns])
    # Remove each column after its conversion, to free memory.
    return pl.DataFrame([_series(columns.pop(0)).alias(name) for name in names])


def _pack_texts(texts: Sequence[str | None]) -> Any:
    return pl.Series(texts, dtype=pl.String)


_TEXTS = Texts(_pack_texts, pl.Series.to_list)


def _series(column: Column) -> pl.Series:
    kind, values, missing = column.kind, column.values, column.missing
    if kind == "text":
        return pl.concat(values) if values else pl.Series([], dtype=pl.String)
    if kind == "timestamp":
        return pl.Series(values).dt.replace_time_zone("UTC")
    if kind not in ("boolean", "float", "integer", "interval"):
        return pl.Series(values.tolist(), dtype=_TYPES.get(kind, pl.Object))
    series = pl.Series(values)
    if missing is None:
        return series
    nulls = pl.repeat(None, len(series), dtype=series.dtype, eager=True)
    nullable: pl.Series = series.zip_with(pl.Series(~missing), nulls)
    return nullable


def _unique_names(names: Sequence[str]) -> list[str]:
    unique: list[str] = []
    for name in names:
        numbered = (f"{name}_duplicated_{number}" for number in range(len(names)))
        candidates = [name] if name not in unique else (free for free in numbered if free not in names)
        unique.append(next(free for free in candidates if free not in unique))
    return unique
