"""The error for a method that a subclass must define."""

from __future__ import annotations

__all__ = ["lacking"]


def lacking(owner: object, method: str, purpose: str) -> NotImplementedError:
    """Return the error for a method that the class of `owner` must define.

    Args:
        owner: the object whose class lacks the method.
        method: name of the method.
        purpose: what SQLTrack needs the method for, such as "store metrics".
    """
    return NotImplementedError(f"{type(owner).__name__} does not define {method}(), which SQLTrack needs to {purpose}")
