"""Compute the runtime of runs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

__all__ = ["runtime"]


def runtime(started: Any, updated: Any) -> timedelta | None:
    """Return the runtime of a run, None before its start."""
    return updated - started if started and updated else None
