"""Read the rows of runs as packed columns, which become arrays at once."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import psycopg

from sqltrack._quoting import placeholders, quote_identifier
from sqltrack.engines.admin import RunRows
from sqltrack.engines.postgres._results import execute_binary
from sqltrack.engines.schema import EXTRAS

__all__ = ["read_runs"]


class _Packing(NamedTuple):
    """How values of a type are packed: the function that gives their bytes, and the type of an array of them."""

    function: str
    typecode: str


_INTEGERS = _Packing("int8send", "q")
_FLOATS = _Packing("float8send", "d")
_PACKINGS = {"bigint": _INTEGERS, "double precision": _FLOATS}
# Stands for missing values: a NaN that no driver writes. If a value has these bits, its run is read row by row.
_MISSING = 0x7FF4000000000001
# PostgreSQL returns 1,664 expressions at most, and each column needs two.
_MOST_COLUMNS = 800


def read_runs(
    connection: psycopg.Connection[Any], run_ids: Sequence[int], columns: Mapping[str, str], *, has_extras: bool
) -> dict[int, RunRows]:
    """Return rows of runs; see `Admin.read_runs`."""
    packings = {name: _PACKINGS.get(sql_type) for name, sql_type in columns.items()}
    if not 0 < len(packings) <= _MOST_COLUMNS or None in packings.values():
        return {}
    names = [f"metrics.{quote_identifier(name)}".replace("%", "%%") for name in columns]
    extras = f"metrics.{EXTRAS}" if has_extras else "NULL"
    packed = [_pack(_INTEGERS, "step"), _pack(_FLOATS, "progress")]
    packed += [_pack(packing, name) for packing, name in zip(packings.values(), names) if packing]
    condition = " OR ".join(f"{name} IS NOT NULL" for name in (*names, extras))
    # Without ORDER BY, which would take longer than the rest.
    sql = f"""
        SELECT run_id, COUNT({extras}), {", ".join(f"COUNT({name})" for name in names)}, {", ".join(packed)}
        FROM metrics
        WHERE run_id IN ({placeholders(len(run_ids))}) AND ({condition})
        GROUP BY run_id
    """
    found = dict.fromkeys(run_ids, RunRows(array("q"), array("d"), {}))
    for run_id, extra, *cells in execute_binary(connection, sql, run_ids):
        counts, (steps, progress, *values) = cells[: len(names)], cells[len(names) :]
        packed_values = dict(zip(columns, zip(packings.values(), counts, values)))
        rows = _read(steps, progress, packed_values) if extra == 0 else None
        if rows is None:
            del found[run_id]
        else:
            found[run_id] = rows
    return found


def _pack(packing: _Packing, column: str) -> str:
    missing = _MISSING.to_bytes(8, "big").hex()
    return f"string_agg(COALESCE({packing.function}({column}), decode('{missing}', 'hex')), '')"


def _read(steps: bytes, progress: bytes, values: Mapping[str, tuple[Any, int, bytes]]) -> RunRows | None:
    """Return rows in order, given packed columns; None if a value looks like a missing one."""
    columns: dict[str, Sequence[Any]] = {}
    for name, (packing, count, data) in values.items():
        column = _unpack_some(packing, data, count)
        if column is None:
            return None
        columns[name] = column
    return _sort(_unpack("q", steps), _unpack("d", progress), columns)


def _unpack(typecode: str, data: bytes) -> array[Any]:
    values = array(typecode, data)
    if sys.byteorder == "little":
        values.byteswap()
    return values


def _unpack_some(packing: _Packing, data: bytes, count: int) -> Sequence[Any] | None:
    """Return values, None for missing ones; None instead if the number of values is not the one that is expected."""
    values = _unpack(packing.typecode, data)
    if count == len(values):
        return values
    bits = _unpack("Q", data)
    if bits.count(_MISSING) != len(values) - count:
        return None
    return [None if bit == _MISSING else value for bit, value in zip(bits, values)]


def _sort(steps: array[int], progress: array[float], values: Mapping[str, Sequence[Any]]) -> RunRows:
    """Return rows by step and progress.

    They have the order in which they were stored: mostly this one, but a scan of a large table may begin in its middle,
    and some rows have taken the place of removed ones.
    """
    # Rows with the same progress have different steps.
    is_by_step = progress == progress[:1] * len(progress)
    keys: list[Any] = list(steps) if is_by_step else list(zip(steps, progress))
    # Sorting what is sorted is faster than comparing neighbors.
    if keys == sorted(keys):
        return RunRows(steps, progress, values)
    take = itemgetter(*sorted(range(len(keys)), key=keys.__getitem__))
    columns = {name: _like(column, take(column)) for name, column in values.items()}
    return RunRows(_like(steps, take(steps)), _like(progress, take(progress)), columns)


def _like(column: Sequence[Any], values: Sequence[Any]) -> Sequence[Any]:
    return array(column.typecode, values) if isinstance(column, array) else values
