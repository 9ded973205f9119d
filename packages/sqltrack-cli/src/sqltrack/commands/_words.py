"""Numbers of things in words."""

from __future__ import annotations

__all__ = ["counted"]


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number of things in words; the plural is the noun with an s, unless it is given."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"
