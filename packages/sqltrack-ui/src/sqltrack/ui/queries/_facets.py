"""Count the values of columns, to filter by clicks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqltrack.ui.queries._columns import Column, Expressions, parse_column
from sqltrack.ui.queries._database import Database
from sqltrack.ui.queries._errors import QueryError
from sqltrack.ui.queries._filters import Filter, condition_of, parse_filter, runs_from
from sqltrack.ui.queries._index import EXPERIMENT, STATUS, Codes, Index, read_codes, read_index, selected_values
from sqltrack.ui.queries._runs import ranked
from sqltrack.ui.queries._snippets import as_sql
from sqltrack.ui.queries._values import as_json, as_key

__all__ = ["facets"]

# Facets that the server chooses: tags, and arguments with at most this many values.
_TAGS, _ARGS, _FEW = 8, 12, 30


def facets(source: Database, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of columns with the numbers of runs.

    The numbers of a column ignore its own selection, so that further values can be chosen.

    Args:
        source: the database.
        spec: dict with filter, columns (a list, None for the server's choice) and limit (number of values for each
            column, default 20).

    Returns:
        A dict with facets, a list of dicts with column, label, values (dicts with value, count and selected) and others
        (number of further values); version, and sql of the first facet.

    Raises:
        QueryError: the specification is not valid, or the database refused the condition.
        DatabaseError: the database is not available.
    """
    chosen = parse_filter(spec.get("filter"))
    limit = spec.get("limit") or 20
    if not isinstance(limit, int) or limit < 1:
        raise QueryError(f"limit must be an integer of at least 1, got {limit!r}")
    index, version = read_index(source)
    columns = _columns(index, spec.get("columns"), chosen)
    base = chosen._replace(facets=())
    basis = None if base == Filter() else index.mask_of(ranked(source, base)[0])
    masks = [(facet.column, read_codes(source, index, version, facet.column).mask(facet)) for facet in chosen.facets]
    found = []
    for column in columns:
        others = [mask for name, mask in masks if name != column]
        counts = read_codes(source, index, version, column).counts(_all_of(basis, others))
        found.append(_facet(column, counts, selected_values(chosen.facets, column), limit))
    sql = _shown_sql(source, chosen, columns, limit)
    return {"facets": found, "version": version, "sql": sql}


def _columns(index: Index, columns: Any, chosen: Filter) -> list[Column]:
    if columns is not None:
        if not isinstance(columns, list) or len(columns) > 200:
            raise QueryError("columns must be a list of at most 200 columns")
        return [parse_column(column) for column in columns]
    tags = sorted(index.of("tag").items(), key=lambda item: -item[1].count)[:_TAGS]
    args = [column for column, codes in index.of("args").items() if _is_facet(codes, len(index.ids))]
    args.sort(key=lambda column: -index.columns[column].count)
    found = [EXPERIMENT, STATUS, *(column for column, _ in tags), *args[:_ARGS]]
    # What is selected must be shown.
    return list(dict.fromkeys([*found, *(facet.column for facet in chosen.facets)]))


def _is_facet(codes: Codes, number: int) -> bool:
    """Return whether a column has few values, but more than one."""
    values = len(codes.values) - (codes.count == number)
    return not codes.is_full and 1 < values <= _FEW


def _all_of(basis: bytes | None, masks: Sequence[bytes]) -> bytes | None:
    """Return the mask of runs that are in all masks, None for all runs."""
    found = [mask for mask in (basis, *masks) if mask is not None]
    if not found:
        return None
    joined = int.from_bytes(found[0], "big")
    for mask in found[1:]:
        joined &= int.from_bytes(mask, "big")
    return joined.to_bytes(len(found[0]), "big")


def _facet(column: Column, counts: Sequence[tuple[Any, int]], selected: frozenset[Any], limit: int) -> dict[str, Any]:
    if column.group == "tag":
        counts = [(value is True, number) for value, number in counts]
    # Selected values first in the list of those that are kept, so that they can be removed again.
    kept = [item for index, item in enumerate(counts) if index < limit or as_key(item[0]) in selected]
    shown = {as_key(value) for value, _ in counts}
    kept += [(_value_of(key), 0) for key in sorted(selected - shown, key=repr)]
    values = [{"value": as_json(value), "count": count, "selected": as_key(value) in selected} for value, count in kept]
    return {
        "column": list(column.path),
        "label": column.label,
        "values": values,
        "others": max(len(counts) - len([item for item in kept if item[1]]), 0),
    }


def _value_of(key: tuple[str, Any]) -> Any:
    """Return the value of a key, see `as_key`."""
    return float("nan") if key == ("number", "NaN") else key[1]


def _shown_sql(source: Database, chosen: Filter, columns: Sequence[Column], limit: int) -> str:
    """Return the query for the values of the first column as text."""
    if not columns:
        return ""
    column = columns[0]
    expressions = Expressions(source.admin(), source.places())
    others = chosen._replace(facets=tuple(facet for facet in chosen.facets if facet.column != column))
    condition = condition_of(others, expressions)
    value = expressions.write(column).shown
    sql = (
        f"SELECT {value} AS value, COUNT(*) AS count\nFROM {runs_from(condition)}\n"
        "GROUP BY 1\nORDER BY 2 DESC\nLIMIT %s"
    )
    return as_sql(sql, (*condition.parameters, limit))
