"""The table of runs: filtered, sorted, and one page at a time."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqltrack.commands._conditions import check_quoted_names, explain_condition
from sqltrack.commands._rows import batches, to_number
from sqltrack.commands._run_args import summarize_args
from sqltrack.engines._first_rows import is_number_sql
from sqltrack.engines.schema import EXTRAS, INT64, KEY
from sqltrack.errors import DatabaseError, ReadOnlyDatabaseError
from sqltrack.ui.queries._columns import (
    JSON_COLUMNS,
    Column,
    Expression,
    Expressions,
    best_column,
    heads,
    is_validation,
    parse_column,
)
from sqltrack.ui.queries._database import Database
from sqltrack.ui.queries._errors import QueryError
from sqltrack.ui.queries._filters import RUNS, Filter, condition_of, parse_filter, runs_from
from sqltrack.ui.queries._snippets import as_python, as_sql
from sqltrack.ui.queries._values import as_json, kind_of, leaf
from sqltrack.util import placeholders

__all__ = [
    "Row",
    "Sort",
    "best",
    "chosen_columns",
    "describe_columns",
    "export_rows",
    "leaves",
    "ranked",
    "read_number",
    "read_rows",
    "runs",
    "sampled_metrics",
    "shown_sql",
    "sort_items",
]

# Runs in a page, at most.
_PAGE = 1_000
# Runs in whose arguments to look for differences, and in whose rows for metrics.
_SAMPLE, _SAMPLED_ROWS = 1_000, 10
# Columns that the server chooses.
_CHOSEN, _CHOSEN_METRICS, _CHOSEN_ARGS = 12, 4, 4
# Columns of each table.
_ALWAYS = (Column(("run", "id")), Column(("experiment", "name")), Column(("run", "status")))
_NEWEST = "sorted.time_created DESC, sorted.id DESC"


class Sort(NamedTuple):
    """A column to sort by.

    Attributes:
        column: the column.
        descending: whether the greatest value comes first; missing values always come last.
    """

    column: Column
    descending: bool


def runs(source: Database, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return a page of the table of runs.

    Metrics that still wait in `metrics_pending` for a column do not count; curves and single runs show them.

    Args:
        source: the database.
        spec: dict with filter; columns (a list, None for the server's choice); sort, a list of dicts with column and
            descending; offset, default 0; limit, default 100, at most 1,000.

    Returns:
        A dict with total, offset, columns (dicts with column, label and kind), rows (dicts with id, experiment_id,
        experiment, status, updated and values), version, sql and python.

    Raises:
        QueryError: the specification is not valid, or the database refused the condition.
        DatabaseError: the database is not available.
    """
    chosen, sort = parse_filter(spec.get("filter")), _parse_sort(spec.get("sort"))
    offset, limit = read_number(spec, "offset", 0, 2**53), read_number(spec, "limit", 100, _PAGE)
    ids, version = ranked(source, chosen, sort)
    columns = chosen_columns(source, spec.get("columns"), chosen)
    page = list(ids[offset : offset + limit])
    rows = read_rows(source, page, columns)
    sql = shown_sql(source, chosen, sort, columns, limit, offset)
    return {
        "total": len(ids),
        "offset": offset,
        "columns": describe_columns(source, columns, rows),
        "rows": [_as_row(row) for row in rows],
        "version": version,
        "sql": sql,
        "python": as_python(source, sql),
    }


def best(source: Database, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the runs with the best values of a metric.

    Args:
        source: the database.
        spec: dict with filter, metric, how ("max" or "min", default: guessed from the name) and k, default 3. Instead
            of metric and how, column names any value of a metric; whether less is better is guessed from the name,
            unless the column is a maximum or minimum.

    Returns:
        A dict with ids, the best first; runs without a value are left out.
    """
    column = _parse_best(spec)
    how = column.path[1] if column.path[1] in ("max", "min") else best_column(column.path[-1]).path[1]
    ids, version = ranked(source, parse_filter(spec.get("filter")), (Sort(column, how == "max"),))
    page = list(ids[: read_number(spec, "k", 3, _PAGE)])
    rows = read_rows(source, page, [column])
    return {"ids": [row.id for row in rows if row.values[0] is not None], "version": version}


def _parse_best(spec: Mapping[str, Any]) -> Column:
    """Return the column of the metric whose best values are looked for."""
    if spec.get("column") is not None:
        column = parse_column(spec["column"])
        if column.group != "metric":
            raise QueryError(f"column must be that of a metric, got {spec['column']!r}")
        return column
    metric = spec.get("metric")
    if not isinstance(metric, str):
        raise QueryError(f"metric must be a text, got {metric!r}")
    how = spec.get("how") or best_column(metric).path[1]
    if how not in ("max", "min"):
        raise QueryError(f"how must be 'max' or 'min', got {how!r}")
    return parse_column(["metric", how, metric])


def export_rows(source: Database, spec: Mapping[str, Any]) -> tuple[list[str], Iterator[list[Any]]]:
    """Return headings and rows of the whole table, as they are read.

    Args:
        source: the database.
        spec: the same as for `runs`, without offset and limit.

    Returns:
        The headings, and rows with the values of JSON under each: id, experiment and status first, unless they are
        among the columns.
    """
    chosen, sort = parse_filter(spec.get("filter")), _parse_sort(spec.get("sort"))
    ids, _ = ranked(source, chosen, sort)
    columns = chosen_columns(source, spec.get("columns"), chosen)
    columns = [*(column for column in _ALWAYS if column not in columns), *columns]

    def read() -> Iterator[list[Any]]:
        for batch in batches(ids):
            for row in read_rows(source, list(batch), columns):
                yield [as_json(value) for value in row.values]

    return [column.label for column in columns], read()


def ranked(source: Database, chosen: Filter, sort: Sequence[Sort] = ()) -> tuple[array[int], str]:
    """Return the ids of the runs that meet a filter, in order, and the version of the data.

    Args:
        source: the database.
        chosen: the filter.
        sort: columns to sort by, default: the newest runs first.

    Raises:
        QueryError: the database refused the condition.
    """
    key = ("rank", chosen.key(), tuple((item.column.path, item.descending) for item in sort))
    return source.cached(key, lambda: _rank(source, chosen, sort))


def _rank(source: Database, chosen: Filter, sort: Sequence[Sort]) -> array[int]:
    expressions = Expressions(source.admin(), source.places())
    sql, parameters = _sorted_sql(expressions, chosen, sort)
    statement = f"{sql}\nSELECT sorted.id FROM sorted ORDER BY {_order(expressions, sort)} LIMIT %s"
    own_sql = not chosen.has_foreign_sql
    if chosen.where is not None:
        _check_condition(source, chosen.where)

    def read(connection: Any) -> array[int]:
        return array("q", (row[0] for row in connection.execute(statement, (*parameters, INT64[-1]))))

    try:
        return source.ask(read, own_sql=own_sql)
    except DatabaseError as error:
        if chosen.where is None or type(error) not in (DatabaseError, ReadOnlyDatabaseError):
            raise
        advice = explain_condition(source.client, chosen.where, as_superuser=False)
        raise QueryError(error.message if advice is None else f"{error.message} ({advice})", "where") from error


def _check_condition(source: Database, where: str) -> None:
    try:
        check_quoted_names(source.client, where, as_superuser=False)
    except DatabaseError as error:
        if type(error) is not DatabaseError:
            raise
        raise QueryError(str(error), "where") from error


def _sorted_sql(expressions: Expressions, chosen: Filter, sort: Sequence[Sort]) -> tuple[str, tuple[Any, ...]]:
    """Return the WITH clause for the chosen runs with the values to sort by, and its parameters.

    It is materialized, because databases would compute the values again for each use of them.
    """
    values, joins = ["runs.id", "runs.time_created"], []
    for number, item in enumerate(sort):
        aggregate = expressions.aggregate(item.column) if item.column.group == "metric" else None
        if aggregate is not None and chosen == Filter():
            # One pass over all rows is faster than one search for each run.
            joins.append(
                f"\nLEFT JOIN (SELECT run_id, {aggregate} AS value FROM metrics GROUP BY run_id) AS best_{number} "
                f"ON best_{number}.run_id = runs.id"
            )
            values.append(f"best_{number}.value AS sort_{number}")
            continue
        expression = expressions.write(item.column)
        values += [f"{sql} AS {name}" for name, sql in _sort_values(number, expression)]
    condition = condition_of(chosen, expressions)
    sql = f"WITH sorted AS MATERIALIZED (\nSELECT {', '.join(values)}\nFROM {runs_from(condition, joins)}\n)"
    return sql, condition.parameters


def _sort_values(number: int, expression: Expression) -> list[tuple[str, str]]:
    """Return names and expressions of the values for sorting by a column."""
    found = [(f"sort_{number}", expression.number), (f"sort_{number}_text", expression.text)]
    return [(name, sql) for name, sql in found if sql is not None]


def _order(expressions: Expressions, sort: Sequence[Sort]) -> str:
    """Return the items of ORDER BY: numbers, NaN, texts, missing values."""
    items = []
    for number, item in enumerate(sort):
        expression = expressions.write(item.column)
        values = [name for name, _ in _sort_values(number, expression)]
        direction = "DESC" if item.descending else "ASC"
        if not values:
            continue
        items.append(_rank_sql(values, expression))
        for name in values:
            if name.endswith("_text"):
                items.append(f"LOWER({name}) {direction}")
            items.append(f"{name} {direction}")
    return ", ".join([*items, _NEWEST])


def _rank_sql(values: Sequence[str], expression: Expression) -> str:
    """Return the expression for the rank of a kind of values."""
    cases = []
    for name in values:
        if name.endswith("_text"):
            cases.append(f"WHEN {name} IS NOT NULL THEN 2")
        elif expression.is_time:
            cases.append(f"WHEN {name} IS NOT NULL THEN 0")
        else:
            cases += [f"WHEN {is_number_sql(name)} THEN 0", f"WHEN {name} IS NOT NULL THEN 1"]
    return f"CASE {' '.join(cases)} ELSE 3 END"


def shown_sql(
    source: Database, chosen: Filter, sort: Sequence[Sort], columns: Sequence[Column], limit: int, offset: int
) -> str:
    """Return the whole query for a page as text."""
    expressions = Expressions(source.admin(), source.places())
    inner, parameters = _sorted_sql(expressions, chosen, sort)
    always = [column for column in _ALWAYS if column not in columns]
    values = [expressions.write(column).shown for column in always]
    values += [f"{expressions.write(column).shown} AS {head}" for column, head in zip(columns, heads(columns))]
    listed = ",\n    ".join(values)
    joined = f"sorted JOIN {RUNS} ON runs.id = sorted.id"
    order = _order(expressions, sort)
    sql = f"{inner}\nSELECT\n    {listed}\nFROM {joined}\nORDER BY {order}\nLIMIT %s OFFSET %s"
    return as_sql(sql, (*parameters, limit, offset))


# Rows


class Row(NamedTuple):
    """A run, with the values of columns."""

    id: int
    experiment_id: int
    experiment: str
    status: str
    updated: Any
    values: list[Any]
    args: Any = None


def _as_row(row: Row) -> dict[str, Any]:
    return {
        "id": row.id,
        "experiment_id": row.experiment_id,
        "experiment": row.experiment,
        "status": row.status,
        "updated": as_json(row.updated),
        "values": [as_json(value) for value in row.values],
    }


def read_rows(source: Database, ids: Sequence[int], columns: Sequence[Column], *, with_args: bool = False) -> list[Row]:
    """Return runs in the given order, without those that no longer exist.

    Args:
        source: the database.
        ids: ids of the runs.
        columns: the columns to read.
        with_args: whether to read all arguments, default False.
    """
    return [row for batch in batches(ids) for row in _read_batch(source, batch, columns, with_args)]


def _read_batch(source: Database, ids: Sequence[int], columns: Sequence[Column], with_args: bool) -> list[Row]:
    version = source.version()
    expressions = Expressions(source.admin(), source.places(version))
    groups = [name for name in JSON_COLUMNS if any(column.group == name for column in columns)]
    if with_args and "args" not in groups:
        groups.append("args")
    computed = [column for column in columns if column.group not in (*JSON_COLUMNS, "metric")]
    values = [f"runs.{name}" for name in (*_HEAD, *groups)]
    values += [f"{expressions.write(column).shown} AS value_{index}" for index, column in enumerate(computed)]
    sql = f"SELECT {', '.join(values)} FROM {RUNS} WHERE runs.id IN ({placeholders(len(ids))})"
    rows = {row["id"]: row for row in source.fetch(sql, ids)}
    measured = _read_metrics(
        source, expressions, rows, [column for column in columns if column.group == "metric"], version
    )
    found = {}
    for run_id, row in rows.items():
        cells = measured[run_id]
        for index, column in enumerate(computed):
            cells[column] = _read_value(column, expressions, row[f"value_{index}"])
        for column in columns:
            if column.group in JSON_COLUMNS:
                cells[column] = leaf(row[column.group], column.path[1:])
        head = tuple(row[name] for name in _HEAD)
        found[run_id] = Row._make((*head, [cells[column] for column in columns], row.get("args")))
    return [found[run_id] for run_id in ids if run_id in found]


_HEAD = ("id", "experiment_id", "experiment", "status", "time_updated")


def _read_metrics(
    source: Database,
    expressions: Expressions,
    rows: Mapping[int, Mapping[str, Any]],
    columns: Sequence[Column],
    version: str,
) -> dict[int, dict[Column, Any]]:
    """Return the values of metrics by run; those of runs that have ended are kept while other runs are written."""
    if not columns:
        return {run_id: {} for run_id in rows}
    known: dict[int, dict[Column, Any]] = {}
    versions: dict[int, str] = {}
    for run_id, row in rows.items():
        versions[run_id] = source.run_version(version, row["status"], row["time_updated"])
        known[run_id] = dict(source.cache.peek(("cells", run_id), versions[run_id]) or {})
    incomplete = [run_id for run_id, cells in known.items() if not all(column in cells for column in columns)]
    missing = [column for column in columns if any(column not in known[run_id] for run_id in incomplete)]
    if incomplete:
        for run_id, values in _query_metrics(source, expressions, incomplete, missing):
            known[run_id].update(zip(missing, values))
            source.cache.keep(("cells", run_id), dict(known[run_id]), versions[run_id])
    # A run that was deleted in between has no values.
    return {run_id: {column: cells.get(column) for column in columns} for run_id, cells in known.items()}


def _query_metrics(
    source: Database, expressions: Expressions, ids: Sequence[int], columns: Sequence[Column]
) -> Iterator[tuple[int, list[Any]]]:
    """Yield runs with the values of metrics. One pass over their rows finds most of them."""
    among = placeholders(len(ids))
    values, aggregates = [], []
    for index, column in enumerate(columns):
        aggregate = expressions.aggregate(column)
        if aggregate is None:
            values.append(expressions.write(column).shown)
        else:
            values.append(f"best.value_{index}")
            aggregates.append(f"{aggregate} AS value_{index}")
    best_sql = f"""
        LEFT JOIN (
            SELECT {", ".join(["run_id", *aggregates])} FROM metrics WHERE run_id IN ({among}) GROUP BY run_id
        ) AS best ON best.run_id = runs.id
    """
    sql = f"SELECT {', '.join(['runs.id', *values])} FROM runs {best_sql if aggregates else ''} WHERE id IN ({among})"
    parameters = (*ids, *ids) if aggregates else tuple(ids)
    for run_id, *cells in source.fetch_tuples(sql, parameters):
        yield run_id, [_read_value(column, expressions, cell) for column, cell in zip(columns, cells)]


def _read_value(column: Column, expressions: Expressions, value: Any) -> Any:
    """Return a value of the statement in `_read_rows`; SQLite does not know the types of expressions."""
    if column.group == "tag":
        return bool(value)
    if value is None or (column.group != "metric" and column.path[1] not in ("time_ended", "tags")):
        return value
    if column.path[1] == "tags":
        return list(value) if isinstance(value, Mapping) else value
    kind = "time" if column.group == "run" else expressions.metric_kind(column.path[-1])
    if kind == "bool":
        return bool(value)
    if kind == "time" and isinstance(value, str):
        return datetime.fromisoformat(value)
    if kind == "json" and isinstance(value, str):
        return json.loads(value)
    return to_number(value) if kind == "number" else value


def describe_columns(source: Database, columns: Sequence[Column], rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return dicts with column, label and kind of the values in some rows."""
    expressions = Expressions(source.admin(), source.places())
    described = []
    for index, column in enumerate(columns):
        kind = expressions.metric_kind(column.path[-1]) if column.group == "metric" else column.kind
        kinds = {kind_of(row.values[index]) for row in rows} - {None} if kind is None else {kind}
        kind = kinds.pop() if len(kinds) == 1 else "text"
        described.append({"column": list(column.path), "label": column.label, "kind": kind})
    return described


# Specifications


def chosen_columns(source: Database, columns: Any, chosen: Filter) -> list[Column]:
    """Return the columns for their JSON, None for those in which the chosen runs differ, at most twelve."""
    if columns is None:
        return source.cached(("default columns", chosen.key()), lambda: _default_columns(source, chosen))[0]
    if not isinstance(columns, list) or len(columns) > 1_000:
        raise QueryError("columns must be a list of at most 1,000 columns")
    return [parse_column(column) for column in columns]


def _default_columns(source: Database, chosen: Filter) -> list[Column]:
    """Return the columns in which the chosen runs differ, at most twelve."""
    ids = list(ranked(source, chosen)[0][:_SAMPLE])
    fields = [Column(("run", name)) for name in ("tags", "duration", "comment")]
    rows = read_rows(source, ids, fields)
    columns = [Column(("experiment", "name"))] if len({row.experiment_id for row in rows}) > 1 else []
    columns.append(Column(("run", "status")))
    columns += map(best_column, sampled_metrics(source, ids)[:_CHOSEN_METRICS])
    columns += [Column(("args", *path)) for path in _differing_args(source, ids)[:_CHOSEN_ARGS]]
    columns += [field for index, field in enumerate(fields) if any(row.values[index] for row in rows)]
    return columns[:_CHOSEN]


def _differing_args(source: Database, ids: Sequence[int]) -> list[tuple[str, ...]]:
    """Return the paths of the arguments in which runs differ."""
    if len(ids) < 2:
        return []
    args = []
    for batch in batches(ids):
        sql = f"SELECT args FROM runs WHERE id IN ({placeholders(len(batch))})"
        args += [row["args"] for row in source.fetch(sql, batch)]
    paths: dict[str, tuple[str, ...]] = {}
    flat = [{_named(paths, path): value for path, value in leaves(item)} for item in args]
    return [paths[argument.name] for argument in summarize_args(flat) if argument.differs]


def _named(paths: dict[str, tuple[str, ...]], path: tuple[str, ...]) -> str:
    name = json.dumps(path)
    paths[name] = path
    return name


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the paths and values of an object that are not objects themselves, or empty ones."""
    if isinstance(value, Mapping) and (value or not path):
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    elif path:
        yield path, value


def sampled_metrics(source: Database, ids: Sequence[int]) -> list[str]:
    """Return metrics in the last rows of some runs: those of most runs first, and of these, those of validation."""
    some = ids[:: max(len(ids) // _SAMPLED_ROWS, 1)][:_SAMPLED_ROWS]
    places = source.places()
    counts: dict[str, int] = {}
    sql = "SELECT * FROM metrics WHERE run_id = %s ORDER BY step DESC, progress DESC LIMIT %s"
    for run_id in some:
        found: dict[str, None] = {}
        for row in source.fetch(sql, (run_id, _SAMPLED_ROWS)):
            extras = row.get(EXTRAS)
            found.update(dict.fromkeys(name for name, value in row.items() if value is not None and name not in KEY))
            found.pop(EXTRAS, None)
            found.update(dict.fromkeys(extras if isinstance(extras, Mapping) else ()))
        for name in found:
            counts[name] = counts.get(name, 0) + 1
    order = {name: index for index, name in enumerate(places.sort(counts))}
    expressions = Expressions(source.admin(), places)
    numbers = [name for name in counts if expressions.metric_kind(name) == "number"]
    return sorted(numbers, key=lambda name: (-counts[name], not is_validation(name), order[name]))


def _parse_sort(sort: Any) -> tuple[Sort, ...]:
    return tuple(Sort(parse_column(column), descending) for column, descending in sort_items(sort))


def sort_items(sort: Any) -> list[tuple[Any, bool]]:
    """Return the columns to sort by, as they are given, and whether descending.

    Raises:
        QueryError: it is not a list of at most eight objects, or None.
    """
    if sort is None:
        return []
    if not isinstance(sort, list) or len(sort) > 8 or not all(isinstance(item, Mapping) for item in sort):
        raise QueryError("sort must be a list of at most eight objects with column and descending")
    return [(item.get("column"), bool(item.get("descending"))) for item in sort]


def read_number(spec: Mapping[str, Any], name: str, default: int, greatest: int, *, least: int = 0) -> int:
    """Return an integer of a specification, at most `greatest`.

    Raises:
        QueryError: it is less than `least`, or no integer.
    """
    value = spec.get(name)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise QueryError(f"{name} must be an integer of at least {least}, got {value!r}")
    return min(value, greatest)
