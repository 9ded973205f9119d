"""The outbox: what calls write while the database is away, and how it gets there later."""

from __future__ import annotations

__all__: list[str] = []
