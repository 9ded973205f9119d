"""The statements that write metrics to PostgreSQL."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import psycopg

from sqltrack.engines.engine import MetricsUpsert, exact_float, upsert_metrics_sql
from sqltrack.engines.json import Jsonb
from sqltrack.quoting import quote_identifier

__all__ = ["PostgresUpsert", "add_metric_columns", "metric_converter"]

# Every INSERT queues behind an ALTER that waits for its lock, so one attempt must be short.
_LOCK_TIMEOUT = "50ms"
_MAX_WAIT = 1.0


# Names as format_type() spells them.
_FITTING: Mapping[type, frozenset[str]] = {
    bool: frozenset({"boolean"}),
    int: frozenset({"bigint", "numeric"}),
    float: frozenset({"double precision"}),
    str: frozenset({"text", "character varying"}),
    bytes: frozenset({"bytea"}),
    datetime: frozenset({"timestamp with time zone"}),
    date: frozenset({"date"}),
    timedelta: frozenset({"interval"}),
    dict: frozenset({"jsonb"}),
    list: frozenset({"jsonb"}),
}


class PostgresUpsert(MetricsUpsert):
    """An INSERT … ON CONFLICT that psycopg prepares, one round trip; the touch of the run travels with it."""

    def __init__(self, names: Sequence[str]) -> None:
        # psycopg looks for placeholders inside quotes as well.
        columns = [quote_identifier(name).replace("%", "%%") for name in names]
        self._sql = upsert_metrics_sql(columns, "%s")
        self._touching_sql = f"WITH touched AS (UPDATE runs SET time_updated = %s WHERE id = %s) {self._sql}"

    def execute(self, connection: Any, values: Sequence[Any]) -> None:
        connection.execute(self._sql, values)

    def execute_and_touch(self, connection: Any, values: Sequence[Any], updated: datetime) -> None:
        connection.execute(self._touching_sql, (updated, values[0], *values))


def add_metric_columns(connection: Any, columns: Mapping[str, str]) -> None:
    """Add columns, all with one ALTER, waiting at most about a second for those who use the table.

    Raises:
        psycopg.errors.LockNotAvailable: somebody held a lock on the table all the time.
    """
    added = ", ".join(
        f"ADD COLUMN IF NOT EXISTS {quote_identifier(name)} {sql_type}" for name, sql_type in columns.items()
    )
    deadline = time.monotonic() + _MAX_WAIT
    while True:
        try:
            with connection.transaction():
                connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
                connection.execute(f"ALTER TABLE metrics {added}")
            return
        except psycopg.errors.LockNotAvailable:
            if time.monotonic() > deadline:
                raise
        time.sleep(random.uniform(0.005, 0.05))


def metric_converter(sql_type: str, typ: type) -> Callable[[Any], Any] | None:
    """Return what turns values of the plain Python type `typ` into those for a column, None if nothing need.

    Raises:
        TypeError: the column would alter or refuse such values.
    """
    if typ is type(None):
        return None
    if typ is int and sql_type == "double precision":
        return exact_float
    if sql_type not in _FITTING[typ]:
        raise TypeError
    return Jsonb if typ in (dict, list) else None
