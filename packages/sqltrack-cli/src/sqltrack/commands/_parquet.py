"""Write the result of a query as a Parquet file, with pyarrow."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime, time, timezone
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeAlias

from sqltrack.commands._rows import to_number
from sqltrack.commands.sql import QueryResult, csv_value
from sqltrack.engines.kinds import KINDS, ColumnKind
from sqltrack.errors import MissingPackageError

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ImportError as _error:
    raise MissingPackageError("the format 'parquet'", "pyarrow", "'sqltrack-cli[parquet]'") from _error

__all__ = ["write_parquet"]

# A column of kind "nan" has only held the text that SQLite stores for NaN, so it may still be a column of numbers.
Kind: TypeAlias = Literal[ColumnKind, "nan", "time"]
Values: TypeAlias = Sequence[Any]

# A str is "text" or "nan". Values of other types become text.
_KINDS: Mapping[type, Kind] = {**KINDS, time: "time"}

# Types in the file. All other kinds are text.
_TYPES: Mapping[Kind | None, Any] = {
    None: pa.null(),
    "boolean": pa.bool_(),
    "bytes": pa.binary(),
    "date": pa.date32(),
    "float": pa.float64(),
    "integer": pa.int64(),
    "interval": pa.duration("us"),
    "time": pa.time64("us"),
    "timestamp": pa.timestamp("us", tz="UTC"),
}

# Integers up to this number are exact as floats.
_EXACT = 2**53

# Maximum number of values and rows in memory.
_VALUES, _ROWS = 500_000, 50_000


def write_parquet(result: QueryResult, path: Path, progress: Callable[[int], object]) -> int:
    """Write a result to a Parquet file, with few of its rows in memory.

    A column has its declared kind, or otherwise the kind of its values. Times are in UTC, NaN is NaN, JSON is text.
    SQLite allows values of other kinds: a column with such values holds floats if these are exact, and otherwise text
    as in CSV.

    A Parquet file needs the kinds before the first row. When a kind changes, the next rows go to a new part, and the
    parts are joined at the end.

    Args:
        result: the result.
        path: path of the file.
        progress: called now and then with the number of rows read.

    Returns:
        The number of rows.
    """
    kinds = result.kinds or [None] * len(result.names)
    columns = [_Column(name, kind) for name, kind in zip(result.unique_names(), kinds)]
    is_device = path.exists() and not path.is_file()
    # On the same file system, so that a part can be renamed to the file.
    with tempfile.TemporaryDirectory(prefix=".sqltrack-", dir=None if is_device else path.parent) as folder:
        number, parts = _write_parts(result, columns, Path(folder), progress)
        if len(parts) == 1 and not is_device:
            os.replace(parts[0], path)
        else:
            _join(parts, columns, path)
    return number


class _Column:
    """A column whose kind is widened when values do not fit.

    Args:
        name: name of the column.
        kind: its declared kind, None if unknown.
    """

    def __init__(self, name: str, kind: ColumnKind | None) -> None:
        self._name = name
        self._kind: Kind | None = kind
        self._is_exact = True

    @property
    def field(self) -> Any:
        """Name and type of the column in a file."""
        return pa.field(self._name, _TYPES.get(self._kind, pa.string()))

    def add(self, values: Values) -> Any:
        """Return more values as an array, after widening the kind if necessary."""
        if self._kind not in ("json", "text"):
            self._widen(values)
        try:
            return self.array(values)
        except (OverflowError, pa.ArrowInvalid):
            # An interval of more than 292,000 years, for example.
            self._kind = "text"
            return self.array(values)

    def array(self, values: Values) -> Any:
        """Return values that fit the kind as an array."""
        if self._kind == "float":
            values = [None if value is None else float(to_number(value)) for value in values]
        elif self._kind == "timestamp":
            values = [value and _in_utc(value) for value in values]
        elif self._kind in ("json", "nan", "text"):
            values = [None if value is None else str(csv_value(value)) for value in values]
        return pa.array(values, self.field.type)

    def _widen(self, values: Values) -> None:
        types = set(map(type, values)) - {type(None)}
        kinds = {_KINDS.get(typ, "text") for typ in types - {str}}
        if str in types:
            kinds.add("nan" if all(value == "NaN" for value in values if type(value) is str) else "text")
        if int in types and self._is_exact:
            self._is_exact = all(-_EXACT <= value <= _EXACT for value in values if type(value) is int)
        if self._kind is not None:
            kinds.add(self._kind)
        if len(kinds) == 1:
            (self._kind,) = kinds
        elif kinds:
            is_number = kinds <= {"float", "integer", "nan"} and ("integer" not in kinds or self._is_exact)
            self._kind = "float" if is_number else "text"


def _in_utc(value: datetime) -> datetime:
    return value.replace(tzinfo=timezone.utc) if value.tzinfo is None else value.astimezone(timezone.utc)


def _write_parts(
    result: QueryResult, columns: Sequence[_Column], folder: Path, progress: Callable[[int], object]
) -> tuple[int, list[Path]]:
    """Write the rows to files, starting a new one when a kind changes; return the number of rows and the files."""
    rows = iter(result)
    size = min(max(_VALUES // max(len(columns), 1), 1), _ROWS)
    number = 0
    parts: list[Path] = []
    fields: list[Any] = []
    with ExitStack() as open_part:
        while chunk := list(islice(rows, size)):
            arrays = [column.add(values) for column, values in zip(columns, zip(*chunk))]
            if not parts or fields != [column.field for column in columns]:
                open_part.close()
                fields = [column.field for column in columns]
                parts.append(folder / f"{len(parts)}.parquet")
                write = open_part.enter_context(_writing(parts[-1], fields))
            write(arrays)
            number += len(chunk)
            progress(number)
    return number, parts


@contextmanager
def _writing(path: Path, fields: Sequence[Any]) -> Iterator[Callable[[Sequence[Any]], None]]:
    """Return a function that writes rows, as arrays of columns, to a file until the end of the `with` block."""
    schema = pa.schema(fields)
    # Errors of Python's own files give the reason, such as a full disk.
    with path.open("wb") as file, pq.ParquetWriter(file, schema) as writer:
        yield lambda arrays: writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def _join(parts: Sequence[Path], columns: Sequence[_Column], path: Path) -> None:
    """Write the rows of all parts to one file, with the last kind of each column."""
    fields = [column.field for column in columns]
    with _writing(path, fields) as write:
        for part in parts:
            with pq.ParquetFile(part) as file:
                for group in range(file.num_row_groups):
                    old = file.read_row_group(group).columns
                    write(
                        [
                            values if values.type == field.type else column.array(values.to_pylist())
                            for values, field, column in zip(old, fields, columns)
                        ]
                    )
