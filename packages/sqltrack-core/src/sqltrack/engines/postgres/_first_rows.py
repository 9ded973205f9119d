"""Find each run's first row in an order in PostgreSQL, in the way that indexes and statistics suggest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import psycopg
from psycopg.rows import tuple_row

from sqltrack.engines._first_rows import Parts
from sqltrack.engines.postgres._connection import BoundedConnection

__all__ = ["FACTS_SQL", "first_rows_sql", "take_facts"]

# From these shares of NULL, reading all rows once is faster, because few have a value.
_SPARSE, _VERY_SPARSE = 0.5, 0.9

# From this number of rows per run, joining with the best values is faster than sorting.
_MANY_ROWS = 100


class _Facts(NamedTuple):
    """Facts about a metric from the catalog.

    Attributes:
        is_indexed: whether an index leads to the best value of a run.
        null_part: share of rows without a value, None if unknown.
        rows_per_run: rows per run, None if unknown.
    """

    is_indexed: bool
    null_part: float | None
    rows_per_run: float | None


def first_rows_sql(connection: BoundedConnection, parts: Parts) -> str | None:
    """Return the statement, None for the default one, which reads and sorts all rows with a value.

    An index search takes microseconds. Without an index, a search reads the run by its key. That is slower than
    reading the whole table, because rows of different runs share its pages.
    """
    facts = _facts(connection, parts.metric)
    if facts is None:
        return None
    null_part, rows_per_run = facts.null_part or 0.0, facts.rows_per_run or 0.0
    if parts.which == "last":
        # The primary key serves as index. The search skips rows without a value.
        return _searches_sql(parts, parts.condition) if null_part < _VERY_SPARSE else None
    if facts.is_indexed:
        # NaN is the greatest number, so a range excludes it without reading it.
        return _searches_sql(parts, f"{parts.column} < COALESCE('NaN', 0.0)")
    return _join_sql(parts) if null_part < _SPARSE and rows_per_run >= _MANY_ROWS else None


def _searches_sql(parts: Parts, condition: str) -> str:
    return f"""
        SELECT found.*
        FROM runs CROSS JOIN LATERAL (
            SELECT metrics.run_id, metrics.step, metrics.progress, {parts.columns}
            FROM metrics
            WHERE metrics.run_id = runs.id AND {condition}
            ORDER BY {parts.order}
            LIMIT 1
        ) AS found
        {parts.on_ids("WHERE", "runs.id")}
        ORDER BY found.run_id
    """


def _join_sql(parts: Parts) -> str:
    """Return the statement that reads the table twice, in parallel, and sorts only the best rows."""
    return f"""
        SELECT DISTINCT ON (metrics.run_id) metrics.run_id, metrics.step, metrics.progress, {parts.columns}
        FROM (
            SELECT run_id, {parts.best} AS value
            FROM metrics
            WHERE {parts.condition}
            {parts.on_ids("AND", "run_id")}
            GROUP BY run_id
        ) AS best JOIN metrics ON metrics.run_id = best.run_id AND {parts.column} = best.value
        ORDER BY metrics.run_id, metrics.step, metrics.progress
    """


def take_facts(connection: Any, metric: str, row: Sequence[Any] | None) -> None:
    """Keep the result of `FACTS_SQL` for a metric, for statements on this connection."""
    connection.metric_facts = {**connection.metric_facts, metric: row}


def _facts(connection: BoundedConnection, metric: str) -> _Facts | None:
    """Return the facts about a metric, None if it has no column."""
    known = connection.metric_facts
    row = known[metric] if metric in known else _ask(connection, metric)
    return None if row is None else _Facts(*row)


def _ask(connection: BoundedConnection, metric: str) -> Sequence[Any] | None:
    with psycopg.Cursor(connection, row_factory=tuple_row) as cursor:
        # Not prepared, because a pooler could lose the prepared statement.
        return cursor.execute(FACTS_SQL, (metric,), prepare=False).fetchone()


# Partial indexes lack rows, and an index must sort NULLs like ORDER BY. Without statistics reltuples is 0 or -1. A
# negative n_distinct is a share of the rows.
FACTS_SQL = """
    SELECT
        EXISTS (
            SELECT FROM pg_catalog.pg_index AS present
                JOIN pg_catalog.pg_class AS relation ON relation.oid = present.indexrelid
                JOIN pg_catalog.pg_am AS method ON method.oid = relation.relam
            WHERE present.indrelid = metrics.oid AND present.indisvalid AND present.indpred IS NULL
                AND method.amname = 'btree' AND present.indnkeyatts >= 2
                AND present.indkey[0] = run.attnum AND present.indkey[1] = metric.attnum
                AND present.indoption[1] IN (0, 3)
        ),
        of_metric.null_frac::double precision,
        CASE
            WHEN of_run.n_distinct > 0 THEN GREATEST(metrics.reltuples, 0) / of_run.n_distinct
            WHEN of_run.n_distinct < 0 THEN -1 / of_run.n_distinct
        END::double precision
    FROM pg_catalog.pg_class AS metrics
        JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = metrics.relnamespace
        JOIN pg_catalog.pg_attribute AS run ON run.attrelid = metrics.oid AND run.attname = 'run_id'
        JOIN pg_catalog.pg_attribute AS metric ON metric.attrelid = metrics.oid AND metric.attname = %s
        LEFT JOIN pg_catalog.pg_stats AS of_metric
            ON of_metric.schemaname = nspname AND of_metric.tablename = metrics.relname
                AND of_metric.attname = metric.attname
        LEFT JOIN pg_catalog.pg_stats AS of_run
            ON of_run.schemaname = nspname AND of_run.tablename = metrics.relname AND of_run.attname = run.attname
    WHERE metrics.oid = pg_catalog.to_regclass('metrics')
"""
