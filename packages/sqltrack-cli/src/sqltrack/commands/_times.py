"""How long runs took."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

__all__ = ["runtime"]


def runtime(started: Any, updated: Any) -> timedelta | None:
    """Return how long a run has been running, None before its start."""
    return updated - started if started and updated else None
