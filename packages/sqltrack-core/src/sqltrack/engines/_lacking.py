"""The error that a method raises which a class must define."""

from __future__ import annotations

__all__ = ["lacking"]


def lacking(owner: object, method: str) -> NotImplementedError:
    """Return the error for a method that the class of `owner` must define to do what was asked for."""
    return NotImplementedError(f"{type(owner).__name__} does not define {method}(), which SQLTrack needs for this")
