"""Inspect databases of the tests, through SQLTrack and directly."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import sqltrack

if TYPE_CHECKING:
    import psycopg

__all__ = ["ask", "connect_to_postgres", "connect_to_sqlite", "experiments", "statuses", "steps", "temporary_role"]


def ask(config: dict[str, Any], sql: str) -> Any:
    """Return the first value of a query, which runs with a new client."""
    return sqltrack.Client(config).execute(sql).fetchone()[0]


def steps(config: dict[str, Any]) -> list[int]:
    return [step for (step,) in sqltrack.Client(config).execute("SELECT step FROM metrics ORDER BY step")]


def statuses(config: dict[str, Any]) -> list[str]:
    return [status for (status,) in sqltrack.Client(config).execute("SELECT status FROM runs ORDER BY id")]


def experiments(config: dict[str, Any]) -> list[str]:
    return [name for (name,) in sqltrack.Client(config).execute("SELECT name FROM experiments ORDER BY id")]


def connect_to_postgres(config: dict[str, Any], **options: Any) -> psycopg.Connection[Any]:
    # Imported here, because some of the tests run without psycopg.
    import psycopg

    parameters = {name: value for name, value in config.items() if name not in ("engine", "outbox")}
    return psycopg.connect(**parameters, autocommit=True, **options)


def connect_to_sqlite(config: dict[str, Any]) -> sqlite3.Connection:
    return sqlite3.connect(config["dbpath"], isolation_level=None, check_same_thread=False)


@contextlib.contextmanager
def temporary_role(connection: psycopg.Connection[Any], name: str, options: str = "") -> Iterator[None]:
    """Create a role for the `with` block; at the end drop it, with everything that it owns in this database."""
    connection.execute(f'CREATE ROLE "{name}" {options}')
    try:
        yield
    finally:
        connection.execute("RESET ROLE")
        connection.execute(f'DROP OWNED BY "{name}" CASCADE')
        connection.execute(f'DROP ROLE "{name}"')
