"""Compare databases before and after."""

from __future__ import annotations

from typing import Any

import sqltrack

__all__ = ["dump"]

_TABLES = ("experiments", "experiment_links", "runs", "run_links", "metrics", "metrics_pending")


def dump(client: sqltrack.Client) -> dict[str, Any]:
    """Return everything that a database holds, by table."""
    content: dict[str, Any] = {}
    for table in _TABLES:
        columns = client.call(lambda connection: client.engine.table_columns(connection, table))  # noqa: B023
        if columns:
            rows = client.execute(f"SELECT * FROM {table}").fetchall()
            content[table] = (columns, sorted(map(repr, rows)))
    return content
