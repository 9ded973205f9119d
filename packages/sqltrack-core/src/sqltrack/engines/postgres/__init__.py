"""Store experiments in PostgreSQL, with psycopg 3, which is imported on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqltrack.engines.postgres._engine import PostgresEngine

__all__ = ["PostgresEngine"]


def __getattr__(name: str) -> Any:
    if name != "PostgresEngine":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from sqltrack.engines.postgres._engine import PostgresEngine

    return PostgresEngine
