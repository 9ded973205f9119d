"""Read the metrics of runs from their columns and from `extras`, point by point."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqltrack.client import Client
from sqltrack.commands._lookup import metric_columns
from sqltrack.commands._rows import batches, to_number
from sqltrack.engines.results import find_reader
from sqltrack.engines.schema import EXTRAS
from sqltrack.queries import Query, column_sql, merged_curves
from sqltrack.util import placeholders

__all__ = ["logged_metrics", "read_points"]

_CHUNK = 1_000


def logged_metrics(client: Client, connection: Any, run_ids: Sequence[int]) -> dict[str, str | None]:
    """Return the metrics of which runs have values, with the SQL types of their columns, None if they have none."""
    columns = metric_columns(client, connection)
    places = placeholders(len(run_ids))
    found: set[str] = set()
    for batch in batches(list(columns)):
        counts = ", ".join(f"COUNT({column_sql(name)})" for name in batch)
        row = connection.execute(f"SELECT {counts} FROM metrics WHERE run_id IN ({places})", tuple(run_ids)).fetchone()
        found.update(name for name, count in zip(batch, row) if count)
    if _has_extras(client, connection):
        sql = f"SELECT metrics.extras FROM metrics WHERE run_id IN ({places}) AND metrics.extras IS NOT NULL"
        for (extras,) in connection.execute(sql, tuple(run_ids)).fetchall():
            found.update(extras)
    # In the order of the columns, which is that in which they were first logged.
    return {name: columns.get(name) for name in (*columns, *sorted(found - columns.keys())) if name in found}


def read_points(
    client: Client, connection: Any, run_id: int, names: Mapping[str, str | None], *, merged: bool = False
) -> Iterator[dict[str, Any]]:
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
    # As text stands what is no number in SQLite, and in JSON.
    numbers = {name for name, sql_type in names.items() if (sql_type or "").upper() != "TEXT"}
    with find_reader(connection.cursor()).read(connection.cursor(), *query, _CHUNK) as rows:
        for chunk in rows.chunks:
            for run, step, progress, *values in chunk:
                logged = dict(zip((*columns, *extras), values))
                # A value that does not fit into the column of its metric is among the extras.
                others = logged.pop(EXTRAS, None) or {}
                point = {"run_id": run, "step": step, "progress": progress}
                for name in names:
                    value = logged.get(name) if logged.get(name) is not None else others.get(name)
                    point[name] = to_number(value) if name in numbers else value
                yield point


def _has_extras(client: Client, connection: Any) -> bool:
    return EXTRAS in client.engine.table_columns(connection, "metrics")


def _query(run_id: int, columns: Sequence[str]) -> Query:
    names = ", ".join(("run_id", "step", "progress", *map(column_sql, columns)))
    return Query(f"SELECT {names} FROM metrics WHERE run_id = %s ORDER BY step, progress", (run_id,))


def _merged_query(run_id: int, columns: Sequence[str]) -> Query:
    merged = merged_curves(*columns, run_ids=[run_id])
    names = ", ".join(("run_id", "step", "progress", *(column_sql(name, "merged") for name in columns)))
    return Query(f"SELECT {names} FROM (\n{merged.sql}\n) AS merged ORDER BY step, progress", merged.parameters)
