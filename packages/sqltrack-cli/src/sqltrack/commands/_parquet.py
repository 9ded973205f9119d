"""Write the result of a query as a Parquet file, by pyarrow or polars, whichever is installed."""

from __future__ import annotations

import importlib
import json
import pickle
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import IO, Any

from sqltrack.commands._read_only import to_number
from sqltrack.commands.sql import QueryResult
from sqltrack.engines.json import plain
from sqltrack.engines.kinds import ColumnKind
from sqltrack.errors import MissingPackageError

__all__ = ["find_parquet_writer", "write_parquet"]

# Types of values that a column can hold beside NULL; others are written as text.
_TYPES: tuple[type, ...] = (bool, int, float, str, bytes, datetime, date, time, timedelta)

# Of columns that hold nothing but NULL.
_DECLARED_TYPES: Mapping[ColumnKind, type] = {
    "boolean": bool,
    "bytes": bytes,
    "date": date,
    "float": float,
    "integer": int,
    "interval": timedelta,
    "json": str,
    "text": str,
    "timestamp": datetime,
}

# Values and rows that are in memory at a time.
_VALUES, _ROWS = 500_000, 50_000

# Names and types of the columns, None where there is nothing but NULL.
Schema = Mapping[str, type | None]
Chunk = Sequence[Sequence[Any]]
Writer = Callable[[Schema, Iterator[Chunk], Path], None]


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


def write_parquet(result: QueryResult, path: Path, writer: Writer, progress: Callable[[int], object]) -> int:
    """Write a result to a Parquet file.

    Numbers, booleans, texts, bytes, times (in UTC) and intervals keep their kind, NaN is NaN; JSON and columns that
    hold values of several kinds become text. What a column holds shows at its end, so the rows are put down in a
    temporary file beside the path first, and few of them are in memory.

    Args:
        result: the result.
        path: path of the file.
        writer: what `find_parquet_writer` returned.
        progress: called with the number of rows read, now and then.

    Returns:
        The number of rows.
    """
    columns = [_Column(kind) for kind in result.kinds or [None] * len(result.names)]
    with tempfile.TemporaryFile(dir=path.parent) as spool:
        number = _put_down(result, columns, spool, progress)
        spool.seek(0)
        chunks = ([column.convert(values) for column, values in zip(columns, chunk)] for chunk in _take_up(spool))
        writer({name: column.type for name, column in zip(result.unique_names(), columns)}, chunks, path)
    return number


class _Column:
    """What a column holds, as far as it has been seen.

    Args:
        kind: what it holds by its declaration, None if that is not known.
    """

    def __init__(self, kind: ColumnKind | None = None) -> None:
        self._kind = kind
        self._types: set[type] = set()
        self._has_only_nan = True
        self._fits_64_bits = True

    def see(self, values: Sequence[Any]) -> None:
        """Take account of further values."""
        types = set(map(type, values)) - {type(None)}
        self._types |= {float if typ is Decimal else typ for typ in types}
        if str in types and self._has_only_nan:
            # The text that SQLite has for NaN, where numbers are.
            self._has_only_nan = all(value == "NaN" for value in values if type(value) is str)
        if int in types and self._fits_64_bits:
            self._fits_64_bits = all(-(2**63) <= value < 2**63 for value in values if type(value) is int)

    @property
    def type(self) -> type | None:
        """The type of all values but None."""
        types = self._types
        if not types:
            return None if self._kind is None else _DECLARED_TYPES[self._kind]
        is_float = self._kind == "float" or bool(types & {int, float})
        if str in types and self._has_only_nan and is_float and types <= {str, int, float}:
            return float
        if types == {int, float}:
            return float
        if types == {int} and not self._fits_64_bits:
            return str
        (typ, *others) = types
        return typ if typ in _TYPES and not others else str

    def convert(self, values: Sequence[Any]) -> list[Any]:
        """Return values as values of that type, and None."""
        typ = self.type
        if typ is float:
            return [None if value is None else float(to_number(value)) for value in values]
        if typ is datetime:
            return [value and _in_utc(value) for value in values]
        if typ is str:
            return [None if value is None else _text(value) for value in values]
        return list(values)


def _put_down(
    result: QueryResult, columns: Sequence[_Column], spool: IO[bytes], progress: Callable[[int], object]
) -> int:
    """Write all rows to a file, in chunks of columns, and return their number."""
    rows = iter(result)
    size = min(max(_VALUES // max(len(columns), 1), 1), _ROWS)
    number = 0
    while chunk := list(islice(rows, size)):
        transposed = list(zip(*chunk))
        for column, values in zip(columns, transposed):
            column.see(values)
        pickle.dump(transposed, spool, protocol=pickle.HIGHEST_PROTOCOL)
        number += len(chunk)
        progress(number)
    return number


def _take_up(spool: IO[bytes]) -> Iterator[Chunk]:
    while True:
        try:
            yield pickle.load(spool)  # noqa: S301 - what this process has just written
        except EOFError:
            return


def _in_utc(value: datetime) -> datetime:
    return value.replace(tzinfo=timezone.utc) if value.tzinfo is None else value.astimezone(timezone.utc)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(plain(value), ensure_ascii=False) if isinstance(value, (dict, list)) else str(plain(value))


def _write_by_pyarrow(schema: Schema, chunks: Iterator[Chunk], path: Path) -> None:
    arrow: Any = importlib.import_module("pyarrow")
    parquet: Any = importlib.import_module("pyarrow.parquet")
    types: dict[type | None, Any] = {
        bool: arrow.bool_(),
        int: arrow.int64(),
        float: arrow.float64(),
        str: arrow.string(),
        bytes: arrow.binary(),
        datetime: arrow.timestamp("us", tz="UTC"),
        date: arrow.date32(),
        time: arrow.time64("us"),
        timedelta: arrow.duration("us"),
        None: arrow.null(),
    }
    fields = arrow.schema([(name, types[typ]) for name, typ in schema.items()])
    with parquet.ParquetWriter(path, fields) as file:
        for chunk in chunks:
            arrays = [arrow.array(values, field.type) for values, field in zip(chunk, fields)]
            file.write_table(arrow.Table.from_arrays(arrays, schema=fields))


def _write_by_polars(schema: Schema, chunks: Iterator[Chunk], path: Path) -> None:
    """Write each chunk to a file of its own, and then all of them to one; polars cannot append to a file."""
    polars: Any = importlib.import_module("polars")
    types: dict[type | None, Any] = {
        bool: polars.Boolean,
        int: polars.Int64,
        float: polars.Float64,
        str: polars.String,
        bytes: polars.Binary,
        datetime: polars.Datetime("us", "UTC"),
        date: polars.Date,
        time: polars.Time,
        timedelta: polars.Duration("us"),
        None: polars.Null,
    }
    dtypes = {name: types[typ] for name, typ in schema.items()}
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        parts = []
        for number, chunk in enumerate(chunks):
            series = [polars.Series(name, values, dtype=dtypes[name]) for name, values in zip(dtypes, chunk)]
            parts.append(Path(folder, f"{number}.parquet"))
            polars.DataFrame(series).write_parquet(parts[-1])
        if parts:
            polars.scan_parquet(parts).sink_parquet(path)
        else:
            polars.DataFrame(schema=dtypes).write_parquet(path)
