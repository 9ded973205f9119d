"""Find each run's first row in an order in SQLite, by one search per run."""

from __future__ import annotations

import sqlite3

from sqltrack.engines._first_rows import Parts
from sqltrack.engines.schema import INT64

__all__ = ["first_rows_sql"]


def first_rows_sql(connection: sqlite3.Connection, parts: Parts) -> str:
    """Return the statement.

    CROSS JOIN fixes the order of the tables: with metrics as the outer table, SQLite would search for each of its rows.
    The condition on the step is always true. Without it, SQLite may use an index on the run and another metric, and
    then look up each row of the run by its key.
    """
    if parts.which != "last" and _has_index(connection, parts.metric):
        return _by_value_sql(parts)
    return f"""
        SELECT metrics.run_id, metrics.step, metrics.progress, {parts.columns}
        FROM runs CROSS JOIN metrics
        WHERE metrics.run_id = runs.id {parts.on_ids("AND", "runs.id")}
            AND (metrics.step, metrics.progress) = (
                SELECT metrics.step, metrics.progress
                FROM metrics
                WHERE metrics.run_id = runs.id AND metrics.step >= {INT64[0]} AND {parts.condition}
                ORDER BY {parts.order}
                LIMIT 1
            )
        ORDER BY metrics.run_id
    """


def _by_value_sql(parts: Parts) -> str:
    """Return the statement that finds the value first; it needs an index, but does not sort rows with equal values."""
    return f"""
        WITH best (run_id, value) AS MATERIALIZED (
            SELECT
                runs.id,
                (SELECT {parts.best} FROM metrics WHERE metrics.run_id = runs.id AND {parts.condition})
            FROM runs
            {parts.on_ids("WHERE", "runs.id")}
        )
        SELECT metrics.run_id, metrics.step, metrics.progress, {parts.columns}
        FROM best CROSS JOIN metrics
        WHERE metrics.run_id = best.run_id
            AND (metrics.step, metrics.progress) = (
                SELECT metrics.step, metrics.progress
                FROM metrics
                WHERE metrics.run_id = best.run_id AND {parts.column} = best.value
                ORDER BY metrics.step, metrics.progress
                LIMIT 1
            )
        ORDER BY metrics.run_id
    """


def _has_index(connection: sqlite3.Connection, metric: str) -> bool:
    """Return whether an index on all rows begins with the run and the metric."""
    cursor = sqlite3.Cursor(connection)
    try:
        return cursor.execute(_INDEX_SQL, (metric,)).fetchone() is not None
    finally:
        cursor.close()


_INDEX_SQL = """
    SELECT 1
    FROM pragma_index_list('metrics') AS list
    WHERE NOT list.partial
        AND (SELECT name FROM pragma_index_info(list.name) WHERE seqno = 0) = 'run_id'
        AND (SELECT name FROM pragma_index_info(list.name) WHERE seqno = 1) = ? COLLATE NOCASE
"""
