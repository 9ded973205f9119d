"""Read query results as numpy arrays, one per column, for the modules for data frames.

Rows are fetched in chunks, and each chunk is converted to arrays at once, so that only few rows are Python objects at
the same time. Arrays of the same kind grow into one. The type of a column is chosen after its last chunk, because
SQLite stores any value in any column. The result does not depend on the size of chunks.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from itertools import repeat
from operator import is_
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from sqltrack.client import Client
from sqltrack.engines.kinds import KINDS, ColumnKind
from sqltrack.engines.results import find_reader

__all__ = ["Column", "Texts", "read_columns"]

# Few enough to stay in the processor's cache; chosen by measurement.
CHUNK_ROWS = 500

Array = npt.NDArray[Any]
Kind = Literal[ColumnKind, "mixed"]

_NUMBERS = frozenset({int, float, Decimal})


class Texts(NamedTuple):
    """Functions that store texts compactly.

    Attributes:
        pack: converts texts, and None for NULL, to a form that takes less memory.
        unpack: converts them back to a list.
    """

    pack: Callable[[Sequence[str | None]], Any]
    unpack: Callable[[Any], list[str | None]]


class Column(NamedTuple):
    """A column of a result.

    Attributes:
        name: its name, not necessarily unique.
        kind: kind of its values; "mixed" for values of several or unknown kinds, None for only NULL of unknown kind.
        values: array of bool, int64, float64, datetime64[us] in UTC or timedelta64[us]; for texts, a list of packed
            texts; for all other kinds, an array of objects.
        missing: array of bool, True for NULL; None without NULL. NULL is NaN in floats, NaT in times and None in
            objects.
    """

    name: str
    kind: Kind | None
    values: Any
    missing: Array | None


class _Part(NamedTuple):
    """The values of a column in one chunk, or in several consecutive chunks.

    Attributes:
        kind: see `Column`; also None for only NULL, "nan" for only texts "NaN", and "numbers" for integers and other
            numbers, as objects, because not all integers are exact as floats.
        size: number of rows.
        values: see `Column`.
        missing: see `Column`.
    """

    kind: Kind | Literal["nan", "numbers"] | None
    size: int
    values: Any = None
    missing: Array | None = None


def read_columns(client: Any, query: Any, parameters: Any, texts: Texts) -> list[Column]:
    """Run a query and return the columns of its result.

    Args:
        client: client or cursor to use.
        query: the query, a str or SQL.
        parameters: values for its placeholders.
        texts: functions that store texts.

    Raises:
        DatabaseError: the database refused the query; with a cursor, the driver's own error is raised.
    """
    if not isinstance(client, Client):
        return _read(client, query, parameters, texts)
    try:
        with client.cursor() as cursor:
            return _read(cursor, query, parameters, texts)
    except client.engine.driver_error as error:
        raise client.engine.translate_error(error) from error


def _read(cursor: Any, query: Any, parameters: Any, texts: Texts) -> list[Column]:
    with find_reader(cursor).read(cursor, query, parameters, CHUNK_ROWS) as reading:
        kinds = reading.kinds
        columns = [_Parts() for _ in kinds]
        for rows in reading.chunks:
            for parts, kind, values in zip(columns, kinds, zip(*rows)):
                parts.append(_part(values, kind, texts, reading.is_typed))
        return [_join(name, kind, parts.finish(), texts) for name, kind, parts in zip(reading.names, kinds, columns)]


# The parts of a column


class _Growing:
    """An array to which others are appended, in memory that grows in place."""

    def __init__(self, values: Array) -> None:
        self._array: Array = values.copy()
        self._size = len(values)

    def append(self, values: Array) -> None:
        size = self._size + len(values)
        if size > len(self._array):
            # There are no views of the array before it is complete.
            self._array.resize(size + size // 2, refcheck=False)
        self._array[self._size : size] = values
        self._size = size

    def finish(self) -> Array:
        self._array.resize(self._size, refcheck=False)
        return self._array


class _Parts:
    """The parts of a column; consecutive parts with numbers or times of the same kind are merged."""

    def __init__(self) -> None:
        self._parts: list[_Part] = []
        self._kind: Any = None
        self._size = 0
        self._values: _Growing | None = None
        self._missing: _Growing | None = None

    def append(self, part: _Part) -> None:
        if self._values is None or part.kind != self._kind:
            self._begin(part)
            return
        self._values.append(part.values)
        if self._missing is None and part.missing is not None:
            self._missing = _Growing(np.zeros(self._size, bool))
        if self._missing is not None:
            self._missing.append(_missing(part))
        self._size += part.size

    def finish(self) -> list[_Part]:
        """Return the parts; do not append after that."""
        if self._values is not None:
            missing = None if self._missing is None else self._missing.finish()
            self._parts.append(_Part(self._kind, self._size, self._values.finish(), missing))
        self._values = None
        return self._parts

    def _begin(self, part: _Part) -> None:
        self.finish()
        if part.kind not in _DTYPES:
            self._parts.append(part)
            return
        self._kind, self._size = part.kind, part.size
        self._values = _Growing(part.values)
        self._missing = None if part.missing is None else _Growing(part.missing)


# One chunk


def _part(values: Sequence[Any], declared: ColumnKind | None, texts: Texts, is_typed: bool) -> _Part:
    if is_typed and declared == "float":
        plain = _plain_floats(values)
        if plain is not None:
            return _Part("float", len(values), plain)
    kind, has_missing = _part_kind(values, declared)
    if kind == "float":
        floats = _floats(values)
        return _Part(kind, len(values), floats, _missing_floats(values, floats) if has_missing else None)
    missing = np.fromiter(map(is_, values, repeat(None)), bool, len(values)) if has_missing else None
    if kind is None or kind == "nan":
        return _Part(kind, len(values), None, missing)
    if kind == "text":
        return _Part(kind, len(values), texts.pack(values), missing)
    if kind == "integer" and has_missing:
        values = [0 if value is None else value for value in values]
    try:
        make_array: Callable[[Sequence[Any]], Any] = _MAKERS.get(kind, _objects)
        return _Part(kind, len(values), make_array(values), missing)
    except OverflowError:
        # Python's last times may not exist in UTC, and its longest intervals do not fit into 64 bits of microseconds.
        return _Part("mixed", len(values), _objects(values), missing)


def _part_kind(values: Sequence[Any], declared: ColumnKind | None) -> tuple[Any, bool]:
    """Return the kind of a part, and whether it has NULL."""
    types = set(map(type, values))
    has_missing = type(None) in types
    types.discard(type(None))
    if not types:
        return None, has_missing
    if declared == "json":
        return "json", has_missing
    if len(types) == 1 and str not in types:
        return KINDS.get(types.pop(), "mixed"), has_missing
    numbers = "numbers" if int in types else "float"
    if types <= _NUMBERS:
        return numbers, has_missing
    is_text = types == {str}
    if declared != "text" and types <= _NUMBERS | {str} and _only_nan(values):
        return ("nan" if is_text else numbers), has_missing
    return ("text" if is_text else "mixed"), has_missing


def _only_nan(values: Sequence[Any]) -> bool:
    """Return whether all texts are "NaN", which SQLite stores in place of NaN."""
    return all(value == "NaN" for value in values if type(value) is str)


def _objects(values: Sequence[Any]) -> Array:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _integers(values: Sequence[int]) -> Array:
    return np.fromiter(values, np.int64, len(values))


def _plain_floats(values: Sequence[Any]) -> Array | None:
    """Convert numbers to floats; return None if there are other values."""
    floats = np.empty(len(values))
    try:
        # Much faster than checking the types.
        struct.pack_into(f"{len(values)}d", floats.data, 0, *values)
    except struct.error:
        return None
    return floats


def _floats(values: Sequence[Any]) -> Array:
    # numpy converts None and "NaN" to NaN.
    return np.fromiter(values, np.float64, len(values))


def _missing_floats(values: Sequence[Any], floats: Array) -> Array:
    """Return which values are NULL; only those whose float is NaN are checked."""
    missing: Array = np.isnan(floats)
    places = np.flatnonzero(missing)
    missing[places] = [values[place] is None for place in places.tolist()]
    return missing


def _utc(value: datetime | None) -> datetime | None:
    """Convert a datetime for numpy: in UTC, without a time zone. A naive datetime counts as UTC."""
    if value is None or value.tzinfo is None:
        return value
    return (value if value.tzinfo is timezone.utc else value.astimezone(timezone.utc)).replace(tzinfo=None)


def _intervals(values: Sequence[timedelta | None]) -> Array:
    if any(value is not None and abs(value) > _LONGEST for value in values):
        raise OverflowError
    return np.array(values, dtype="timedelta64[us]")


_LONGEST = timedelta(microseconds=2**63 - 1)

_MAKERS: dict[Any, Callable[[Sequence[Any]], Any]] = {
    "boolean": lambda values: np.array(values, dtype=bool),
    "integer": _integers,
    "timestamp": lambda values: np.array([_utc(value) for value in values], dtype="datetime64[us]"),
    "interval": _intervals,
}


# The whole column


def _join(name: str, declared: ColumnKind | None, parts: list[_Part], texts: Texts) -> Column:
    """Join parts to a column, and free them."""
    kind = _common_kind({part.kind for part in parts} - {None}, declared)
    missing = None
    if any(part.missing is not None for part in parts):
        masks = [_missing(part) for part in parts]
        missing = masks[0] if len(masks) == 1 else np.concatenate(masks)
    values: Any
    if kind == "text":
        values = [_packed(part, texts) for part in parts]
    else:
        arrays = [_values(part, kind, texts) for part in parts] or [np.empty(0, _DTYPES.get(kind, object))]
        values = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
    parts.clear()
    return Column(name, kind, values, missing)


def _common_kind(kinds: set[Any], declared: ColumnKind | None) -> Any:
    """Return the kind of a column, given the kinds of its parts."""
    if not kinds:
        return declared
    if kinds == {"integer"} and declared != "float":
        return "integer"
    if kinds <= {"integer", "float", "nan", "numbers"}:
        return "float"
    if kinds <= {"text", "nan"}:
        return "text"
    return kinds.pop() if len(kinds) == 1 else "mixed"


_DTYPES: dict[Any, str] = {
    "boolean": "bool",
    "float": "float64",
    "integer": "int64",
    "interval": "timedelta64[us]",
    "timestamp": "datetime64[us]",
}
_FILLINGS: dict[Any, Any] = {"boolean": False, "float": np.nan, "integer": 0, "interval": "NaT", "timestamp": "NaT"}


def _missing(part: _Part) -> Array:
    return np.zeros(part.size, bool) if part.missing is None else part.missing


def _values(part: _Part, kind: Any, texts: Texts) -> Array:
    if kind not in _DTYPES:
        return part.values if kind is not None and part.kind == kind else _as_objects(part, texts)
    if part.kind is None or part.kind == "nan":
        return np.full(part.size, _FILLINGS[kind], _DTYPES[kind])
    values: Array = _floats(part.values) if part.kind == "numbers" else part.values.astype(_DTYPES[kind], copy=False)
    if kind != part.kind and part.missing is not None:
        values[part.missing] = _FILLINGS[kind]
    return values


def _packed(part: _Part, texts: Texts) -> Any:
    return part.values if part.kind == "text" else texts.pack(_as_objects(part, texts).tolist())


def _as_objects(part: _Part, texts: Texts) -> Array:
    """Return the values of a part as the objects that the database returned."""
    if part.kind is None or part.kind == "nan":
        objects = np.full(part.size, "NaN", dtype=object)
    elif part.kind == "timestamp":
        objects = _objects([value and value.replace(tzinfo=timezone.utc) for value in part.values.tolist()])
    else:
        objects = _objects(texts.unpack(part.values) if part.kind == "text" else part.values.tolist())
    if part.kind == "float":
        objects[np.isnan(part.values)] = "NaN"
    if part.missing is not None:
        objects[part.missing] = None
    return objects
