"""Store experiments in SQLite, with the standard library only."""

from __future__ import annotations

from sqltrack.engines.sqlite._engine import SQLiteEngine

__all__ = ["SQLiteEngine"]
