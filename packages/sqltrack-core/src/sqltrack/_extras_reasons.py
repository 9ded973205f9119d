"""Explain why a metric has no column of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sqltrack.engines._spelling import quote
from sqltrack.engines.metrics_table import MetricsTable
from sqltrack.engines.schema import EXTRAS, KEY

__all__ = ["reason_for_extras"]


def reason_for_extras(
    name: str,
    typ: type,
    *,
    columns: Mapping[str, str],
    table: MetricsTable,
    map_type: Callable[[type], str],
    is_misfit: bool,
) -> str:
    """Return why a metric goes to the extras of its row.

    Args:
        name: name of the metric.
        typ: type of its value.
        columns: names and SQL types of the columns.
        table: the metrics table, which converts values for its columns.
        map_type: returns the SQL type of a column for a type; raises TypeError if there is none.
        is_misfit: whether the column can hold values of this type, but would change this one.
    """
    if name in KEY or name == EXTRAS:
        return "a column of SQLTrack itself has this name (log it under another)"
    sql_type = columns.get(name)
    if sql_type is None:
        return _reason_for_new(name, typ, columns, table, map_type, is_misfit)
    try:
        table.converter(sql_type, typ)
    except TypeError:
        return _reason_of_type(sql_type, typ, map_type)
    if is_misfit:
        return f"its column, of type {sql_type}, would alter the value"
    return "the row has no room for more columns"


def _reason_of_type(sql_type: str, typ: type, map_type: Callable[[type], str]) -> str:
    reason = f"its column has the type {sql_type}, and the value is of type {typ.__name__!r}"
    numbers = {_mapped(number, map_type) for number in (int, float)} | {"numeric", "smallint", "integer", "real"}
    if typ is str and sql_type.casefold() in {str(number).casefold() for number in numbers}:
        return f"{reason} (log numbers as numbers: float(value))"
    return f"{reason} (log it under another name)"


def _reason_for_new(
    name: str,
    typ: type,
    columns: Mapping[str, str],
    table: MetricsTable,
    map_type: Callable[[type], str],
    is_misfit: bool,
) -> str:
    sql_type = _mapped(typ, map_type)
    if sql_type is None:
        return "no column holds such values, which are kept as text"
    if not table.can_be_column(name, {}):
        return "a column cannot have this name, which is too long or reserved (log it under another)"
    if not table.can_be_column(name, columns):
        same = next((column for column in columns if column.casefold() == name.casefold()), None)
        if same is not None:
            return f"its name differs from {quote(same)} only by case (use one spelling)"
        return "the table has no room for more columns"
    if is_misfit:
        return f"a column of type {sql_type} would alter the value"
    return "the row has no room for more columns"


def _mapped(typ: type, map_type: Callable[[type], str]) -> str | None:
    try:
        # A metric whose first value is None gets a column of numbers.
        return map_type(float if typ is type(None) else typ)
    except TypeError:
        return None
