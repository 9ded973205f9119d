"""SQLite as a backend, with nothing but the standard library."""

from __future__ import annotations

from sqltrack.engines.sqlite._engine import SQLiteEngine

__all__ = ["SQLiteEngine"]
