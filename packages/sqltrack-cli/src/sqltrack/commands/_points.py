"""Read the metrics of runs from their columns and from `extras`, point by point."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sqltrack.client import Client
from sqltrack.commands._lookup import metric_columns
from sqltrack.commands._rows import batches, to_number
from sqltrack.engines.admin import admin_of
from sqltrack.engines.json import dumps
from sqltrack.engines.results import find_reader
from sqltrack.engines.schema import EXTRAS
from sqltrack.queries import Query, column_sql, merged_curves
from sqltrack.util import placeholders

__all__ = ["ExtraValues", "Point", "logged_metrics", "read_extras", "read_points"]

_CHUNK = 1_000

Key = tuple[int, int, float]


class ExtraValues(NamedTuple):
    """Metrics of a row that are not in columns.

    Attributes:
        key: run id, step and progress.
        values: names and values.
    """

    key: Key
    values: dict[str, Any]


class Point(NamedTuple):
    """A row of metrics.

    Attributes:
        run_id: id of the run.
        step: step of the row.
        progress: progress of the row.
        values: the metrics by name, which may be that of another attribute; None where there is no value.
    """

    run_id: int
    step: int
    progress: float
    values: dict[str, Any]


def logged_metrics(client: Client, connection: Any, run_ids: Sequence[int]) -> dict[str, str | None]:
    """Return the metrics of which runs have values, with the SQL types of their columns, None if they have none."""
    columns = metric_columns(client, connection)
    places = placeholders(len(run_ids))
    found: set[str] = set()
    for batch in batches(list(columns)):
        counts = ", ".join(f"COUNT({column_sql(name)})" for name in batch)
        row = connection.execute(f"SELECT {counts} FROM metrics WHERE run_id IN ({places})", tuple(run_ids)).fetchone()
        found.update(name for name, count in zip(batch, row) if count)
    for row in read_extras(client, connection, run_ids):
        found.update(row.values)
    # In the order of the columns, which is that in which they were first logged.
    return {name: columns.get(name) for name in (*columns, *sorted(found - columns.keys())) if name in found}


def read_extras(
    client: Client,
    connection: Any,
    run_ids: Sequence[int] | None = None,
    *,
    name: str | None = None,
    tables: Sequence[str] | None = None,
) -> Iterator[ExtraValues]:
    """Return the rows of runs that have extras, those that wait in another table included.

    Args:
        client: client to use.
        connection: connection that it has open.
        run_ids: ids of the runs, default: all.
        name: name of a metric; rows without it are left out.
        tables: tables to read, default: all that hold extras.
    """
    conditions, parameters = ["extras IS NOT NULL"], list[Any]()
    if run_ids is not None:
        conditions.append(f"run_id IN ({placeholders(len(run_ids))})")
        parameters += run_ids
    if name is not None:
        # The name may stand elsewhere in the text as well.
        conditions.append("CAST(extras AS TEXT) LIKE %s ESCAPE '!'")
        parameters.append(f"%{_escape_pattern(dumps(name))}%")
    for table in _tables_of_extras(client, connection) if tables is None else tables:
        sql = f"SELECT run_id, step, progress, extras FROM {table} WHERE {' AND '.join(conditions)}"
        # Without parameters a placeholder is not looked for.
        cursor = connection.execute(sql, tuple(parameters)) if parameters else connection.execute(sql)
        for run_id, step, progress, values in cursor:
            if isinstance(values, dict) and (name is None or name in values):
                yield ExtraValues((run_id, step, progress), values)


def _tables_of_extras(client: Client, connection: Any) -> list[str]:
    """Return the tables that hold metrics as JSON."""
    tables = ["metrics"] if _has_extras(client, connection) else []
    pending = admin_of(client.engine).pending_table
    if pending is not None and client.engine.table_columns(connection, pending):
        tables.append(pending)
    return tables


def read_points(
    client: Client, connection: Any, run_id: int, names: Mapping[str, str | None], *, merged: bool = False
) -> Iterator[Point]:
    """Return the points of a run's curves one after the other, by step and progress.

    Args:
        client: client to use.
        connection: connection that it has open.
        run_id: id of the run.
        names: metrics, as `logged_metrics` returns them.
        merged: whether to follow links.
    """
    columns = [name for name, sql_type in names.items() if sql_type is not None]
    extras = [EXTRAS] if _has_extras(client, connection) else []
    query = _merged_query(run_id, [*columns, *extras]) if merged else _query(run_id, [*columns, *extras])
    pending = _pending_extras(client, connection)
    # As text stands what is no number in SQLite, and in JSON.
    numbers = {name for name, sql_type in names.items() if (sql_type or "").upper() != "TEXT"}
    with find_reader(connection.cursor()).read(connection.cursor(), *query, _CHUNK) as rows:
        for chunk in rows.chunks:
            for run, step, progress, *values in chunk:
                logged = dict(zip((*columns, *extras), values))
                # A value that does not fit into the column of its metric is among the extras.
                others = {**(logged.pop(EXTRAS, None) or {}), **pending.get((run, step, progress), {})}
                point = Point(run, step, progress, {})
                for name in names:
                    value = logged.get(name) if logged.get(name) is not None else others.get(name)
                    point.values[name] = to_number(value) if name in numbers else value
                yield point


def _escape_pattern(text: str) -> str:
    return re.sub(r"([!%_])", r"!\1", text)


def _pending_extras(client: Client, connection: Any) -> dict[Key, dict[str, Any]]:
    """Return the metrics that wait in another table; there are few, and mostly none."""
    tables = [table for table in _tables_of_extras(client, connection) if table != "metrics"]
    return {row.key: row.values for row in read_extras(client, connection, tables=tables)}


def _has_extras(client: Client, connection: Any) -> bool:
    return EXTRAS in client.engine.table_columns(connection, "metrics")


def _query(run_id: int, columns: Sequence[str]) -> Query:
    names = ", ".join(("run_id", "step", "progress", *map(column_sql, columns)))
    return Query(f"SELECT {names} FROM metrics WHERE run_id = %s ORDER BY step, progress", (run_id,))


def _merged_query(run_id: int, columns: Sequence[str]) -> Query:
    merged = merged_curves(*columns, run_ids=[run_id])
    # By position, because a metric may have the name of any column.
    names = ", ".join(("run_id", "step", "progress", *(f"value_{number}" for number in range(len(columns)))))
    sql = f"WITH merged (merged_id, {names}) AS (\n{merged.sql}\n) SELECT {names} FROM merged ORDER BY step, progress"
    return Query(sql, merged.parameters)
