"""Compare databases before and after."""

from __future__ import annotations

from typing import Any

import sqltrack
from support.connections import on_one_connection

__all__ = ["dump", "tables"]

_TABLES = ("experiments", "experiment_links", "runs", "run_links", "metrics", "setup_scripts")
_OPTIONAL_TABLES = ("metrics_pending", "copied_runs", "rewinds", "captured_packages", "saved_views")


def tables(client: sqltrack.Client) -> dict[str, dict[str, str]]:
    """Return the tables of a database, with the types of their columns."""
    with client as connection:
        found = {name: client.engine.table_columns(connection, name) for name in (*_TABLES, *_OPTIONAL_TABLES)}
    return {name: columns for name, columns in found.items() if columns}


def dump(client: sqltrack.Client) -> dict[str, Any]:
    """Return the content of a database, by table."""
    with on_one_connection(client):
        return {
            name: (columns, sorted(map(repr, client.execute(f"SELECT * FROM {name}"))))
            for name, columns in tables(client).items()
        }
