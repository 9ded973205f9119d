"""Durations on the command line."""

from __future__ import annotations

import argparse
import re
from datetime import timedelta

__all__ = ["duration"]

_SECONDS = {"s": 1, "min": 60, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_PATTERN = re.compile(r"(?:\d+(?:\.\d+)?(?:min|[smhdw]))+", re.ASCII)
_PART = re.compile(r"(\d+(?:\.\d+)?)(min|[smhdw])", re.ASCII)


def duration(text: str) -> timedelta:
    """Return the duration in an option, such as 90min, 24h or 1d12h.

    Raises:
        ArgumentTypeError: the text is not a positive duration.
    """
    if _PATTERN.fullmatch(text):
        seconds = sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))
        try:
            value = timedelta(seconds=seconds)
        except OverflowError:
            raise argparse.ArgumentTypeError(f"a duration of {text!r} is too long") from None
        if value > timedelta():
            return value
    raise argparse.ArgumentTypeError(f"expected a duration such as 90min, 24h or 7d, got {text!r}")
