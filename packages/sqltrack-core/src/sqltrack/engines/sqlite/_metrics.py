"""The statements that write metrics to SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from datetime import datetime

from sqltrack.engines.engine import MetricsUpsert, upsert_metrics_sql
from sqltrack.engines.sqlite._connection import Connection
from sqltrack.engines.sqlite._values import adapt
from sqltrack.quoting import quote_identifier

__all__ = ["SQLiteUpsert", "add_metric_columns"]

_TOUCH_SQL = "UPDATE runs SET time_updated = ? WHERE id = ?"


class SQLiteUpsert(MetricsUpsert):
    """An INSERT … ON CONFLICT, executed without any work on its text."""

    def __init__(self, names: Sequence[str]) -> None:
        self._sql = upsert_metrics_sql([quote_identifier(name) for name in names], "?")

    def execute(self, connection: Connection, values: Sequence[object]) -> None:
        connection.write(self._sql, values)

    def execute_and_touch(self, connection: Connection, values: Sequence[object], updated: datetime) -> None:
        # Two statements that commit by themselves rather than one transaction: a signal handler that runs in between
        # must not find its own process holding the write lock.
        connection.check_file()
        self.execute(connection, values)
        connection.write(_TOUCH_SQL, (adapt(updated), values[0]))


def add_metric_columns(connection: Connection, columns: Mapping[str, str]) -> None:
    """Add columns one by one; of several processes that add the same one, all but the first find it there."""
    for name, sql_type in columns.items():
        try:
            connection.execute(f"ALTER TABLE metrics ADD COLUMN {quote_identifier(name)} {sql_type}")
        except sqlite3.OperationalError as error:
            if "duplicate column name" not in str(error):
                raise
