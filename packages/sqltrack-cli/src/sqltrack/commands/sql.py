"""Run a read-only query, and write its result as CSV or JSON."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import IO, Any

from sqltrack.client import Client
from sqltrack.commands._databases import READ_SECONDS, read_only
from sqltrack.engines.json import plain
from sqltrack.engines.kinds import ColumnKind
from sqltrack.engines.results import find_reader

__all__ = ["QueryResult", "csv_value", "json_value", "query", "write_csv", "write_json", "write_json_lines"]

_CHUNK = 500


class QueryResult:
    """The result of a query while it is read.

    Attributes:
        names: names of the columns, which need not be unique.
        kinds: declared kinds of the columns, None where the database does not report one.
        is_cut: whether there are more rows than the limit; known after all rows are read.
    """

    def __init__(
        self,
        names: Sequence[str],
        kinds: Sequence[ColumnKind | None],
        chunks: Iterable[Sequence[Any]],
        limit: int = 0,
    ) -> None:
        self.names: list[str] = list(names)
        self.kinds: list[ColumnKind | None] = list(kinds)
        self.is_cut: bool = False
        self._chunks = chunks
        self._limit = limit

    def __iter__(self) -> Iterator[Sequence[Any]]:
        number = 0
        for chunk in self._chunks:
            for row in chunk:
                if self._limit and number == self._limit:
                    self.is_cut = True
                    return
                number += 1
                yield row

    def unique_names(self) -> list[str]:
        """Return the names of the columns, with numbers after repeated names."""
        unique: list[str] = []
        for name in self.names:
            candidate, number = name, 1
            while candidate in unique or (number > 1 and candidate in self.names):
                number += 1
                candidate = f"{name}_{number}"
            unique.append(candidate)
        return unique


@contextmanager
def query(
    client: Client, sql: str, *, limit: int = 0, seconds: float = READ_SECONDS, as_superuser: bool = False
) -> Iterator[QueryResult]:
    """Run a query, and read its result in the `with` block, with few rows in memory at a time.

    Args:
        client: client to use.
        sql: the query, one statement.
        limit: maximum number of rows, 0 (default) for all.
        seconds: time limit of the query, default 60.
        as_superuser: whether a superuser keeps all rights in the query, default False.

    Raises:
        ReadOnlyDatabaseError: the query would change something.
        StatementTimeoutError: it took too long.
        DatabaseError: the database refused it for another reason.
    """
    with read_only(client, seconds, as_superuser=as_superuser, own_sql=False) as connection:
        size = min(limit + 1, _CHUNK) if limit else _CHUNK
        with find_reader(connection.cursor()).read(connection.cursor(), sql, None, size) as result:
            yield QueryResult(result.names, result.kinds, result.chunks, limit)


def write_csv(result: QueryResult, file: IO[str], progress: Callable[[int], object] | None = None) -> int:
    """Write a result as CSV (RFC 4180), with NULL as an empty field, times in ISO 8601 and UTC, intervals in seconds.

    Args:
        result: the result.
        file: text file, opened with newline="".
        progress: called now and then with the number of rows written.

    Returns:
        The number of rows.
    """
    writer = csv.writer(file)
    writer.writerow(result.names)
    number = 0
    for row in result:
        writer.writerow([csv_value(value) for value in row])
        number += 1
        if progress is not None and number % _CHUNK == 0:
            progress(number)
    return number


def write_json(result: QueryResult, file: IO[str], progress: Callable[[int], object] | None = None) -> int:
    """Write a result as a JSON list of objects, one on each line; see `write_csv`.

    NaN and infinities are strings, because JSON lacks these numbers. Repeated names of columns get a number.
    """
    number = 0
    file.write("[")
    for line in _json_lines(result):
        file.write("\n" if number == 0 else ",\n")
        file.write(line)
        number += 1
        if progress is not None and number % _CHUNK == 0:
            progress(number)
    file.write("\n]\n" if number else "]\n")
    return number


def write_json_lines(result: QueryResult, file: IO[str], progress: Callable[[int], object] | None = None) -> int:
    """Write a result as JSON objects, one on each line and nothing else; see `write_json`."""
    number = 0
    for line in _json_lines(result):
        file.write(f"{line}\n")
        number += 1
        if progress is not None and number % _CHUNK == 0:
            progress(number)
    return number


def json_value(value: Any) -> Any:
    """Return a value of a database for JSON."""
    # The usual values need no conversion.
    if value is None or type(value) is int or (type(value) is float and math.isfinite(value)):
        return value
    return plain(_scalar(value))


def csv_value(value: Any) -> Any:
    """Return a value of a database for CSV."""
    # The csv module converts the usual values.
    if value is None or type(value) in (int, str) or (type(value) is float and math.isfinite(value)):
        return value
    value = _scalar(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _float_text(value)
    if isinstance(value, (dict, list)):
        return json.dumps(plain(value), ensure_ascii=False)
    return value


def _json_lines(result: QueryResult) -> Iterator[str]:
    names = result.unique_names()
    for row in result:
        values = {name: json_value(value) for name, value in zip(names, row)}
        yield json.dumps(values, ensure_ascii=False, allow_nan=False)


def _float_text(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return repr(value) if math.isfinite(value) else "Infinity" if value > 0 else "-Infinity"


def _scalar(value: Any) -> Any:
    """Return a value in a form for text formats."""
    if isinstance(value, datetime):
        return (value if value.tzinfo is None else value.astimezone(timezone.utc)).isoformat()
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Decimal):
        return int(value) if value.is_finite() and value == value.to_integral_value() else float(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).hex()
    return value
