"""Decide which metrics in `extras` can be columns, by the same rules as for new metrics."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqltrack.client import Client
from sqltrack.engines.admin import admin_of
from sqltrack.engines.metrics_table import Converter, MetricsTable
from sqltrack.engines.schema import EXTRAS, KEY, fits_int64

__all__ = ["Candidate", "Seen", "find_candidates"]

# The texts in JSON for floats that JSON lacks.
_SPECIAL = frozenset({"NaN", "Infinity", "-Infinity"})

# The texts in JSON for times, durations, bytes, fractions and large integers.
_OTHER_TYPES = re.compile(
    r"(?:-?\d+ days?,? )?\d+:\d\d:\d\d(?:\.\d+)?|-?\d+ (?:[a-z]*seconds|minutes|hours|days|weeks|months|years)"
    r"|b'.*'|b\".*\"|-?\d+/\d+|-?0x[0-9a-f]+",
    re.DOTALL,
)
_NANOSECONDS = re.compile(r"(:\d\d\.\d{6})\d+")


@dataclasses.dataclass
class Seen:
    """A summary of the values of one metric.

    Attributes:
        values: number of values.
        types: their types, except those of None and of texts that may be floats.
        has_special: whether there are texts that may be floats.
        has_big: whether there are integers of more than 64 bits.
        may_be_other: whether there are texts that may be values of other types.
    """

    values: int = 0
    types: set[type] = dataclasses.field(default_factory=set)
    has_special: bool = False
    has_big: bool = False
    may_be_other: bool = False

    def add(self, value: Any) -> None:
        """Count a value."""
        self.values += 1
        if isinstance(value, str) and value in _SPECIAL:
            self.has_special = True
            return
        if value is not None:
            self.types.add(type(value))
        if type(value) is int:
            self.has_big |= _is_big(value)
        elif isinstance(value, str):
            self.may_be_other |= _may_be_other(value)


class Candidate:
    """The place for the values of a metric.

    Attributes:
        name: name of the metric.
        values: number of values in `extras`.
        column: SQL type of the column, None if the values stay.
        change: "add" or "widen" if the table must be changed first, otherwise None.
        why: why values stay, None if no reason is known.
    """

    def __init__(self, table: MetricsTable, name: str, seen: Seen, *, extras_keep_floats: bool) -> None:
        self.name = name
        self.values = seen.values
        self.column: str | None = None
        self.change: str | None = None
        self.why: str | None = None
        self._table = table
        self._extras_keep_floats = extras_keep_floats
        self._holds_numbers = False
        self._converters: dict[type, Converter | None] = {}

    def keep_in_extras(self, why: str) -> None:
        """Keep the values in `extras`."""
        self.column, self.change, self.why = None, None, why

    def move_to(self, sql_type: str, change: str | None = None) -> None:
        """Move the values to a column."""
        self.column, self.change = sql_type, change

    def is_ready(self, columns: Mapping[str, str]) -> bool:
        """Return whether the table has the column, and take the type from the table."""
        sql_type = columns.get(self.name)
        if sql_type is None:
            return False
        if self.change == "widen" and sql_type != self.column:
            return False
        self.column = sql_type
        self._holds_numbers = _holds(self._table, sql_type, float)
        self._converters.clear()
        return True

    def bind(self, value: Any) -> Any:
        """Return the parameter to bind for a value, after the column exists.

        Raises:
            MisfitError: the column would change the value.
            TypeError: the column does not hold such values.
        """
        if self._holds_numbers:
            value = self._as_float(value)
        assert self.column is not None
        typ = type(value)
        if typ not in self._converters:
            self._converters[typ] = self._table.converter(self.column, typ)
        convert = self._converters[typ]
        return value if convert is None else convert(value)

    def _as_float(self, value: Any) -> Any:
        """Return the float that a text in JSON stands for, otherwise the value itself."""
        if isinstance(value, str):
            return float(value) if value in _SPECIAL else value
        if type(value) is int and _is_big(value) and not self._extras_keep_floats:
            with contextlib.suppress(OverflowError):
                number = float(value)
                return number if Decimal(repr(number)) == value else value
        return value


def find_candidates(client: Client, columns: Mapping[str, str], seen: Mapping[str, Seen]) -> dict[str, Candidate]:
    """Return the places for the values of metrics.

    Args:
        client: client to use.
        columns: names and SQL types of the existing columns.
        seen: the summaries of their values, by name.
    """
    table = client.engine.metrics_table
    keep_floats = admin_of(client.engine).extras_keep_floats
    known = dict(columns)
    candidates: dict[str, Candidate] = {}
    for name, values in seen.items():
        candidate = candidates[name] = Candidate(table, name, values, extras_keep_floats=keep_floats)
        if name in KEY or name == EXTRAS:
            candidate.keep_in_extras("the column of that name has another meaning")
        elif name in columns:
            _use_column(table, candidate, columns[name], values)
        elif not table.can_be_column(name, known):
            candidate.keep_in_extras("its name cannot be the name of a column here, or the table is full")
        else:
            _add_column(client, candidate, values)
            if candidate.column is not None:
                known[name] = candidate.column
    return candidates


def _use_column(table: MetricsTable, candidate: Candidate, sql_type: str, seen: Seen) -> None:
    types = set(seen.types)
    if seen.has_special:
        types.add(str if _holds(table, sql_type, str) else float)
    misfits = {typ for typ in types if not _holds(table, sql_type, typ)}
    wider = next(filter(None, (table.wider_type(sql_type, typ) for typ in misfits)), None)
    if wider is not None:
        misfits = {typ for typ in misfits if not _holds(table, wider, typ)}
    if types and misfits == types:
        candidate.keep_in_extras(f"the column of type {sql_type} does not hold such values ({_names(types)})")
    elif wider is not None:
        candidate.move_to(wider, "widen")
    else:
        candidate.move_to(sql_type)


def _add_column(client: Client, candidate: Candidate, seen: Seen) -> None:
    types = seen.types
    if not types:
        candidate.keep_in_extras("it may be a number or a text" if seen.has_special else "it is always NULL")
    elif types <= {int, float}:
        whole = types == {int} and not seen.has_special and not seen.has_big
        candidate.move_to(client.engine.map_type(client, int if whole else float), "add")
    elif seen.has_special and types != {str}:
        candidate.keep_in_extras(f"its values are of different types (text, {_names(types)})")
    elif types == {str} and seen.may_be_other:
        candidate.keep_in_extras("it may be a number, a time or bytes; the next value that is logged decides")
    elif len({dict if typ is list else typ for typ in types}) == 1:
        candidate.move_to(client.engine.map_type(client, next(iter(types))), "add")
    else:
        candidate.keep_in_extras(f"its values are of different types ({_names(types)})")


def _holds(table: MetricsTable, sql_type: str, typ: type) -> bool:
    try:
        table.converter(sql_type, typ)
    except TypeError:
        return False
    return True


def _is_big(value: int) -> bool:
    return not fits_int64(value)


def _names(types: set[type]) -> str:
    return ", ".join(sorted(typ.__name__ for typ in types))


def _may_be_other(text: str) -> bool:
    if _OTHER_TYPES.fullmatch(text):
        return True
    # Before Python 3.11, a time has at most six decimals.
    for read, form in ((datetime.fromisoformat, _NANOSECONDS.sub(r"\1", text)), (complex, text)):
        with contextlib.suppress(ValueError):
            read(form)
            return True
    return False
