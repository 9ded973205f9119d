"""The table of groups of runs: number of runs, mean and spread of each column."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sqltrack.engines._first_rows import is_number_sql
from sqltrack.ui.queries._columns import Column, Expressions, heads, parse_column
from sqltrack.ui.queries._database import Database
from sqltrack.ui.queries._filters import Filter, condition_of, parse_filter, runs_from
from sqltrack.ui.queries._groups import Grouping, distinct_names, find_parts, group_values, parse_group
from sqltrack.ui.queries._runs import chosen_columns, describe_columns, ranked, read_number, read_rows, sort_items
from sqltrack.ui.queries._snippets import as_python, as_sql
from sqltrack.ui.queries._statistics import Spread, spread_of
from sqltrack.ui.queries._values import as_json, as_key, is_number, sort_key

__all__ = ["export_groups", "group_rows"]

# Runs that are grouped, groups in a page, and values that a cell lists, at most.
_MOST, _PAGE, _LISTED = 20_000, 1_000, 3
_SPREADS = ("mean", "std", "sem", "ci", "min", "max")
_STATISTICS = ("n", *_SPREADS)


class Cell(NamedTuple):
    """The values of a column in the runs of a group.

    Attributes:
        values: those that are there.
        spread: mean and spread of the finite numbers, None if the values are not numbers.
        left_out: number of values that are NaN or infinite.
    """

    values: list[Any]
    spread: Spread | None
    left_out: int


class Group(NamedTuple):
    """Runs with a value in common, and a cell for each column."""

    value: Any
    runs: list[int]
    cells: list[Cell]


class _Table(NamedTuple):
    columns: list[Column]
    described: list[dict[str, Any]]
    parts: list[Column]
    is_single: bool
    groups: list[Group]
    runs: int
    truncated: int


def group_rows(source: Database, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return a page of the table of groups of runs.

    Each run counts once with its value of a column. NaN, infinities and missing values do not count.

    Args:
        source: the database.
        spec: dict with filter; group, see `curves`; columns (a list, None for the server's choice); sort, a list of
            dicts with column and descending, where column may also be `["group", "value"]` (default) or
            `["group", "n"]`, and other columns are sorted by their means; offset, default 0; limit, default 100, at
            most 1,000.

    Returns:
        A dict with total (the number of groups), runs (how many are in them), truncated (runs beyond the first 20,000,
        which are left out), offset, columns (dicts with column, label and kind), rows (dicts with value, n, runs and
        cells), version, sql and python. A cell is a dict with n, distinct (the number of different values), values (the
        three most frequent, dicts with value and count) and left_out; for numbers also mean, std, sem, ci (half the
        width of the 95 % confidence interval of the mean), min and max. Of a single number, std, sem and ci are None.

    Raises:
        QueryError: the specification is not valid, or the database refused the condition.
        DatabaseError: the database is not available.
    """
    sort = _parse_sort(spec.get("sort"))
    offset, limit = read_number(spec, "offset", 0, 2**53), read_number(spec, "limit", 100, _PAGE)
    table, version = _table(source, spec)
    groups = _sorted(table, sort)
    sql = _shown_sql(source, parse_filter(spec.get("filter")), table)
    return {
        "total": len(groups),
        "runs": table.runs,
        "truncated": table.truncated,
        "offset": offset,
        "columns": table.described,
        "rows": [_as_row(group) for group in groups[offset : offset + limit]],
        "version": version,
        "sql": sql,
        "python": as_python(source, sql),
    }


def export_groups(source: Database, spec: Mapping[str, Any]) -> tuple[list[str], Iterator[list[Any]]]:
    """Return headings and rows of the whole table of groups.

    Args:
        source: the database.
        spec: the same as for `group_rows`, without offset and limit.

    Returns:
        The headings, and rows with the values of JSON under each: the columns that name the group, n, and for each
        column of numbers its statistics; other columns have a value if all runs of the group share it.
    """
    table, _ = _table(source, spec)
    groups = _sorted(table, _parse_sort(spec.get("sort")))
    names = distinct_names(table.parts)
    headings = [*names, "n"]
    for column, item in zip(table.columns, table.described):
        is_number = item["kind"] == "number"
        headings += [f"{name} of {column.label}" for name in _STATISTICS] if is_number else [column.label]
    return headings, (_export_row(table, group, names) for group in groups)


def _export_row(table: _Table, group: Group, names: Sequence[str]) -> list[Any]:
    values = {names[0]: group.value} if table.is_single else group.value
    cells = [as_json(values.get(name)) for name in names]
    cells.append(len(group.runs))
    for cell, item in zip(group.cells, table.described):
        fields = _as_cell(cell)
        if item["kind"] == "number":
            cells += [fields.get(name) for name in _STATISTICS]
        else:
            cells.append(fields["values"][0]["value"] if fields["distinct"] == 1 else None)
    return cells


def _table(source: Database, spec: Mapping[str, Any]) -> tuple[_Table, str]:
    """Return the groups of a specification, and the version of the data."""
    chosen, grouping = parse_filter(spec.get("filter")), parse_group(spec.get("group"))
    ids, version = ranked(source, chosen)
    columns = _shown_columns(source, spec.get("columns"), chosen, grouping)
    key = ("groups", chosen.key(), grouping, tuple(columns))
    return source.cached(key, lambda: _read_table(source, list(ids), grouping, columns), version)


def _shown_columns(source: Database, columns: Any, chosen: Filter, grouping: Grouping) -> list[Column]:
    """Return the columns without those that all runs of a group have in common, and the run itself."""
    named = {Column(("run", "id")), *grouping.columns}
    shown = [column for column in chosen_columns(source, columns, chosen) if column not in named]
    if grouping.columns:
        return shown
    return [column for column in shown if column.group != "args" or not grouping.counts(column.path[1:])]


def _read_table(source: Database, ids: Sequence[int], grouping: Grouping, columns: Sequence[Column]) -> _Table:
    among = ids[:_MOST]
    rows = read_rows(source, among, columns)
    values = group_values(source, grouping, among)
    described = describe_columns(source, columns, rows)
    members: dict[Any, list[Any]] = {}
    for row in rows:
        members.setdefault(as_key(values[row.id]), []).append(row)
    are_numbers = [item["kind"] == "number" for item in described]
    groups = [
        Group(
            values[group[0].id],
            sorted(row.id for row in group),
            [_cell([row.values[index] for row in group], is_numeric) for index, is_numeric in enumerate(are_numbers)],
        )
        for group in members.values()
    ]
    parts = find_parts(source, grouping, among)
    is_single = len(grouping.columns) == 1
    return _Table(list(columns), described, parts, is_single, groups, len(rows), len(ids) - len(among))


def _cell(values: Sequence[Any], is_numeric: bool) -> Cell:
    present = [value for value in values if value is not None]
    if not is_numeric:
        return Cell(present, None, 0)
    numbers = [float(value) for value in present if is_number(value)]
    finite = [number for number in numbers if math.isfinite(number)]
    return Cell(present, spread_of(finite) if finite else None, len(present) - len(finite))


def _as_row(group: Group) -> dict[str, Any]:
    cells = [_as_cell(cell) for cell in group.cells]
    return {"value": as_json(group.value), "n": len(group.runs), "runs": group.runs, "cells": cells}


def _as_cell(cell: Cell) -> dict[str, Any]:
    known = {as_key(value): value for value in cell.values}
    counts = Counter(map(as_key, cell.values))
    listed = [{"value": as_json(known[key]), "count": count} for key, count in counts.most_common(_LISTED)]
    fields = {
        "n": len(cell.values) - cell.left_out,
        "distinct": len(known),
        "values": listed,
        "left_out": cell.left_out,
    }
    if cell.spread is None:
        return fields
    spread = cell.spread
    return {**fields, **{name: getattr(spread, name) for name in _SPREADS}}


_BY_VALUE, _BY_SIZE = ("group", "value"), ("group", "n")


def _parse_sort(sort: Any) -> list[tuple[tuple[str, ...], bool]]:
    own = (list(_BY_VALUE), list(_BY_SIZE))
    return [
        (tuple(column) if column in own else parse_column(column).path, descending)
        for column, descending in sort_items(sort)
    ]


def _sorted(table: _Table, sort: Sequence[tuple[tuple[str, ...], bool]]) -> list[Group]:
    """Return the groups in order; those without a value come last in both directions."""
    groups = sorted(table.groups, key=lambda group: sort_key(group.value))
    for path, descending in reversed(sort):
        keys = {id(group): _sort_value(table, group, path) for group in groups}
        present = [group for group in groups if keys[id(group)] is not None]
        missing = [group for group in groups if keys[id(group)] is None]
        present.sort(key=lambda group: sort_key(keys[id(group)]), reverse=descending)
        groups = [*present, *missing]
    return groups


def _sort_value(table: _Table, group: Group, path: tuple[str, ...]) -> Any:
    if path == _BY_SIZE:
        return len(group.runs)
    if path == _BY_VALUE:
        return group.value
    column = Column(path)
    if column not in table.columns:
        return None
    cell = group.cells[table.columns.index(column)]
    if cell.spread is not None:
        return cell.spread.mean
    return as_json(cell.values[0]) if cell.values and len(set(map(as_key, cell.values))) == 1 else None


def _shown_sql(source: Database, chosen: Filter, table: _Table) -> str:
    """Return the query for all groups as text, with number, mean and standard deviation of the columns of numbers."""
    expressions = Expressions(source.admin(), source.places())
    numbers = [column for column, item in zip(table.columns, table.described) if item["kind"] == "number"]
    values = [
        *(expressions.write(part).shown for part in table.parts),
        *(_number_sql(expressions, it) for it in numbers),
    ]
    names = heads([*table.parts, *numbers])
    selected = ",\n    ".join([f"{value} AS {name}" for value, name in zip(values, names)] or ["1 AS nothing"])
    keys, shown = names[: len(table.parts)], iter(_statistic_heads(numbers))
    listed = [*keys, "COUNT(*) AS n"]
    for name in names[len(table.parts) :]:
        listed += [f"{function}({_finite_sql(name)}) AS {next(shown)}" for function in ("COUNT", "AVG", "STDDEV_SAMP")]
    condition = condition_of(chosen, expressions)
    grouped = f"GROUP BY {', '.join(keys)}\nORDER BY {', '.join(keys)}\n" if keys else ""
    outer = ",\n    ".join(listed)
    sql = (
        f"WITH chosen AS (\nSELECT\n    {selected}\nFROM {runs_from(condition)}\n)\n"
        f"SELECT\n    {outer}\nFROM chosen\n{grouped}LIMIT %s"
    )
    return as_sql(sql, (*condition.parameters, _MOST))


def _number_sql(expressions: Expressions, column: Column) -> str:
    return expressions.write(column).number or "CAST(NULL AS DOUBLE PRECISION)"


def _finite_sql(name: str) -> str:
    # An infinity minus itself is not 0.
    return f"CASE WHEN {is_number_sql(name)} AND {name} - {name} = 0 THEN {name} END"


def _statistic_heads(columns: Sequence[Column]) -> list[str]:
    """Return quoted names for number, mean and standard deviation of each column."""
    names = [f"{statistic} of {column.label}" for column in columns for statistic in ("n", "mean", "std")]
    return heads([Column(("args", name)) for name in names])
