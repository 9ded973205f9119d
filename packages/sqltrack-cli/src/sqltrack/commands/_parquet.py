"""Write the result of a query as a Parquet file, by pyarrow or polars, whichever is installed."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqltrack.commands._records import to_number
from sqltrack.commands.sql import QueryResult
from sqltrack.engines.json import plain
from sqltrack.errors import MissingPackageError

__all__ = ["find_parquet_writer", "write_parquet"]

# Kinds of values that a column can hold beside NULL; others are written as text.
_KINDS: tuple[type, ...] = (bool, int, float, str, bytes, datetime, date, time, timedelta)

Writer = Callable[[dict[str, list[Any]], Path], None]


def find_parquet_writer() -> Writer:
    """Return what writes columns to a Parquet file.

    Raises:
        MissingPackageError: neither pyarrow nor polars is installed.
    """
    for package, writer in (("pyarrow.parquet", _write_by_pyarrow), ("polars", _write_by_polars)):
        try:
            importlib.import_module(package)
        except ImportError:
            continue
        return writer
    raise MissingPackageError("the format 'parquet'", "pyarrow", "pyarrow", hint="or polars")


def write_parquet(
    result: QueryResult, path: Path, writer: Writer, progress: Callable[[int], object] | None = None
) -> int:
    """Write a result to a Parquet file.

    Numbers, booleans, texts, bytes, times (in UTC) and intervals keep their kind, NaN is NaN; JSON and columns that
    hold values of several kinds become text. All rows are in memory, because what a column holds shows at its end.

    Args:
        result: the result.
        path: path of the file.
        writer: what `find_parquet_writer` returned.
        progress: called with the number of rows read, now and then.

    Returns:
        The number of rows.
    """
    names = result.unique_names()
    columns: list[list[Any]] = [[] for _ in names]
    number = 0
    for row in result:
        for column, value in zip(columns, row):
            column.append(value)
        number += 1
        if progress is not None and number % 1_000 == 0:
            progress(number)
    writer({name: _of_one_kind(column) for name, column in zip(names, columns)}, path)
    return number


def _of_one_kind(values: list[Any]) -> list[Any]:
    """Return the values of a column as values of one type, and None."""
    types = {type(value) for value in values if value is not None}
    if Decimal in types:
        values = [float(value) if isinstance(value, Decimal) else value for value in values]
        types = types - {Decimal} | {float}
    # The text that SQLite has for NaN, where numbers are.
    if str in types and types & {int, float} and all(value == "NaN" for value in values if type(value) is str):
        values = [to_number(value) for value in values]
        types = types - {str} | {float}
    if types == {int, float}:
        return [None if value is None else float(value) for value in values]
    if types <= {datetime}:
        return [value and _in_utc(value) for value in values]
    if types == {int} and any(not -(2**63) <= value < 2**63 for value in values if value is not None):
        return [None if value is None else str(value) for value in values]
    if len(types) == 1 and types <= set(_KINDS):
        return values
    return [None if value is None else _text(value) for value in values]


def _in_utc(value: datetime) -> datetime:
    return value.replace(tzinfo=timezone.utc) if value.tzinfo is None else value.astimezone(timezone.utc)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(plain(value), ensure_ascii=False) if isinstance(value, (dict, list)) else str(plain(value))


def _write_by_pyarrow(columns: dict[str, list[Any]], path: Path) -> None:
    arrow: Any = importlib.import_module("pyarrow")
    parquet: Any = importlib.import_module("pyarrow.parquet")
    parquet.write_table(arrow.table({name: arrow.array(values) for name, values in columns.items()}), path)


def _write_by_polars(columns: dict[str, list[Any]], path: Path) -> None:
    polars: Any = importlib.import_module("polars")
    series = [polars.Series(name, values, strict=False) for name, values in columns.items()]
    polars.DataFrame(series).write_parquet(path)
