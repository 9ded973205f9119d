"""Query results column by column, as numpy arrays: what the modules for data frames have in common.

Rows are fetched in chunks. What a chunk has of a column becomes an array at once, so that not all rows are Python
objects at the same time; what the whole column holds is decided when its last chunk is there, because SQLite keeps
any value in any column. The result does not depend on where chunks end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from sqltrack.client import Client
from sqltrack.engines.kinds import KINDS, ColumnKind
from sqltrack.engines.results import find_reader

__all__ = ["Column", "read_columns"]

# Few enough to stay in the processor's cache, measured.
CHUNK_ROWS = 500

Array = npt.NDArray[Any]
Pack = Callable[[Sequence[str | None]], Any]
Kind = Literal[ColumnKind, "mixed"]

_NUMBERS = frozenset({int, float, Decimal})


class Column(NamedTuple):
    """A column of a result.

    Attributes:
        name: its name, which others may have as well.
        kind: what it holds; "mixed" are values of several kinds, or of one that is not known here, None: only NULL,
            and the database does not tell more.
        values: array of bool, int64, float64, datetime64[us] in UTC or timedelta64[us]; texts as a list of what
            they were packed to; for all other kinds an array of objects.
        missing: array of bool that tells what is NULL, None if nothing is. There floats are NaN, times NaT, objects
            None.
    """

    name: str
    kind: Kind | None
    values: Any
    missing: Array | None


class _Part(NamedTuple):
    """What one chunk has of a column; `kind` None: nothing but NULL, "nan": nothing but texts that say NaN."""

    kind: Kind | Literal["nan"] | None
    size: int
    values: Any = None
    missing: Array | None = None


def read_columns(client: Any, query: Any, parameters: Any, pack: Pack) -> list[Column]:
    """Run a query and return the columns of its result.

    Args:
        client: client or cursor to use.
        query: the query, a str or SQL.
        parameters: values for its placeholders.
        pack: turns some texts into a form that takes less memory, of which `list` makes texts again.

    Raises:
        DatabaseError: the database refused the query; with a cursor it is the driver's own error.
    """
    if not isinstance(client, Client):
        return _read(client, query, parameters, pack)
    try:
        with client.cursor() as cursor:
            return _read(cursor, query, parameters, pack)
    except client.engine.driver_error as error:
        raise client.engine.translate_error(error) from error


def _read(cursor: Any, query: Any, parameters: Any, pack: Pack) -> list[Column]:
    with find_reader(cursor).read(cursor, query, parameters, CHUNK_ROWS) as reading:
        kinds = reading.kinds
        columns: list[list[_Part]] = [[] for _ in kinds]
        for rows in reading.chunks:
            for parts, kind, values in zip(columns, kinds, zip(*rows)):
                parts.append(_part(values, kind, pack))
        return [_join(name, kind, parts, pack) for name, kind, parts in zip(reading.names, kinds, columns)]


# One chunk


def _part(values: Sequence[Any], declared: ColumnKind | None, pack: Pack) -> _Part:
    kind, has_missing = _part_kind(values, declared)
    missing = np.fromiter((value is None for value in values), bool, len(values)) if has_missing else None
    if kind is None or kind == "nan":
        return _Part(kind, len(values), None, missing)
    if kind == "text":
        return _Part(kind, len(values), pack(values), missing)
    try:
        make_array: Callable[[Sequence[Any]], Any] = _MAKERS.get(kind, _objects)
        return _Part(kind, len(values), make_array(values), missing)
    except OverflowError:
        # The last times that Python knows are none in UTC, the longest intervals no 64 bits of microseconds.
        return _Part("mixed", len(values), _objects(values), missing)


def _part_kind(values: Sequence[Any], declared: ColumnKind | None) -> tuple[Any, bool]:
    """Return the kind of a part, and whether some of it is NULL."""
    types = set(map(type, values))
    has_missing = type(None) in types
    types.discard(type(None))
    if not types:
        return None, has_missing
    if declared == "json":
        return "json", has_missing
    if len(types) == 1 and str not in types:
        return KINDS.get(types.pop(), "mixed"), has_missing
    if types <= _NUMBERS:
        return "float", has_missing
    is_text = types == {str}
    if declared != "text" and types <= _NUMBERS | {str} and _only_nan(values):
        return ("nan" if is_text else "float"), has_missing
    return ("text" if is_text else "mixed"), has_missing


def _only_nan(values: Sequence[Any]) -> bool:
    """Whether all texts are the one that stands for NaN in SQLite."""
    return all(value == "NaN" for value in values if type(value) is str)


def _objects(values: Sequence[Any]) -> Array:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _integers(values: Sequence[Any]) -> Array:
    return np.fromiter((0 if value is None else value for value in values) if None in values else values, np.int64)


def _floats(values: Sequence[Any]) -> Array:
    # None, and texts that say NaN, are NaN to numpy.
    return np.fromiter(values, np.float64, len(values))


def _utc(value: datetime | None) -> datetime | None:
    """Return a datetime as numpy takes it: in UTC and without saying so. One without time zone is taken for UTC."""
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
    "float": _floats,
    "timestamp": lambda values: np.array([_utc(value) for value in values], dtype="datetime64[us]"),
    "interval": _intervals,
}


# The whole column


def _join(name: str, declared: ColumnKind | None, parts: list[_Part], pack: Pack) -> Column:
    """Return the column that parts make up, and forget them."""
    kind = _common_kind({part.kind for part in parts} - {None}, declared)
    missing = None
    if any(part.missing is not None for part in parts):
        missing = np.concatenate([_missing(part) for part in parts])
    values: Any
    if kind == "text":
        values = [_texts(part, pack) for part in parts]
    else:
        empty = np.empty(0, _DTYPES.get(kind, object))
        values = np.concatenate([empty, *(_values(part, kind) for part in parts)])
    parts.clear()
    return Column(name, kind, values, missing)


def _common_kind(kinds: set[Any], declared: ColumnKind | None) -> Any:
    """Return the kind of a column from those of its parts."""
    if not kinds:
        return declared
    if kinds == {"integer"} and declared != "float":
        return "integer"
    if kinds <= {"integer", "float", "nan"}:
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


def _values(part: _Part, kind: Any) -> Array:
    if kind not in _DTYPES:
        return part.values if kind is not None and part.kind == kind else _as_objects(part)
    if part.kind is None or part.kind == "nan":
        return np.full(part.size, _FILLINGS[kind], _DTYPES[kind])
    values: Array = part.values.astype(_DTYPES[kind], copy=False)
    if kind != part.kind and part.missing is not None:
        values[part.missing] = _FILLINGS[kind]
    return values


def _texts(part: _Part, pack: Pack) -> Any:
    return part.values if part.kind == "text" else pack(_as_objects(part).tolist())


def _as_objects(part: _Part) -> Array:
    """Return a part as the objects that the database gave."""
    if part.kind is None or part.kind == "nan":
        objects = np.full(part.size, "NaN", dtype=object)
    elif part.kind == "timestamp":
        objects = _objects([value and value.replace(tzinfo=timezone.utc) for value in part.values.tolist()])
    else:
        objects = _objects(list(part.values) if part.kind == "text" else part.values.tolist())
    if part.kind == "float":
        objects[np.isnan(part.values)] = "NaN"
    if part.missing is not None:
        objects[part.missing] = None
    return objects
