"""Parse the runs on a command line, such as 5, 5-9 or 3,5-9."""

from __future__ import annotations

import re
from typing import NamedTuple

from sqltrack.errors import UnusableValueError

__all__ = ["RunRange", "names_runs", "parse_ranges"]

_PART = re.compile(r"(-?\d+)(?:-(\d+))?", re.ASCII)
_LIST = re.compile(r"[\d\s,-]*\d[\d\s,-]*", re.ASCII)


class RunRange(NamedTuple):
    """The runs from `first` to `last`, a single run if both are the same."""

    first: int
    last: int


def parse_ranges(text: str) -> list[RunRange]:
    """Return the ranges in a text, separated by commas.

    Raises:
        UnusableValueError: (a ValueError) the text does not name runs.
    """
    ranges = []
    for part in text.split(","):
        match = _PART.fullmatch(part.strip())
        if match is None or len(part) > 50:
            raise UnusableValueError(f"expected the id of a run, or a range such as 5-9, got {text!r}")
        first = int(match[1])
        last = first if match[2] is None else int(match[2])
        if last < first:
            raise UnusableValueError(f"a range must begin with the smaller id, got {text!r}")
        ranges.append(RunRange(first, last))
    return ranges


def names_runs(text: str) -> bool:
    """Return whether a text seems to name runs: it has digits, and otherwise only commas, hyphens and blanks."""
    return _LIST.fullmatch(text) is not None
