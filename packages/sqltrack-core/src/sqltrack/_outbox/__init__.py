"""The outbox: keeps calls during an outage, and sends them later."""

from __future__ import annotations

__all__: list[str] = []
