"""Read metrics in the column extras, and in their own columns."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import sqltrack
from sqltrack.commands.tidy import Tidied
from sqltrack.util import quote_identifier

__all__ = ["add_extras", "by_name", "column", "columns", "extras"]


def add_extras(client: sqltrack.Client, run_id: int, rows: Mapping[int, Mapping[str, Any]]) -> None:
    """Put metrics into extras, as a writer does that cannot lock the table for a new column."""
    table = client.engine.metrics_table
    client._session.ask(lambda connection: table.grow(connection, {"extras": "JSONB"}, {}))
    upsert = table.upsert([], extras=True, pending=False)
    with client as connection:
        upsert.execute_many(
            connection, [(run_id, step, 0.0, table.extras_value(dict(values))) for step, values in rows.items()]
        )
    client.metrics.invalidate()


def column(client: sqltrack.Client, name: str) -> list[Any]:
    """Return the values of a metric's column, by step; NaN as a float."""
    quoted = quote_identifier(name)
    rows = client.execute(f"SELECT metrics.{quoted} FROM metrics ORDER BY run_id, step").fetchall()
    return [math.nan if value == "NaN" else value for (value,) in rows]


def extras(client: sqltrack.Client) -> list[Any]:
    return [value for (value,) in client.execute("SELECT extras FROM metrics ORDER BY run_id, step").fetchall()]


def columns(client: sqltrack.Client) -> dict[str, str]:
    return client._session.ask(lambda connection: client.engine.table_columns(connection, "metrics"))


def by_name(tidied: list[Tidied]) -> dict[str, Tidied]:
    return {item.name: item for item in tidied}
