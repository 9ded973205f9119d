"""Runs as people name them: 5, 5-9, or 3,5-9."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from sqltrack.client import Client
from sqltrack.commands._edits import check_runs
from sqltrack.commands._records import fetch, reading
from sqltrack.errors import NotFoundError, UnusableValueError

__all__ = ["RunRange", "find_run_ids", "parse_ranges"]

_PART = re.compile(r"(-?\d+)(?:-(\d+))?", re.ASCII)
_FIRST, _LAST = -(2**63), 2**63 - 1


class RunRange(NamedTuple):
    """The runs from `first` to `last`; a single run if both are the same."""

    first: int
    last: int


def parse_ranges(text: str) -> list[RunRange]:
    """Return the ranges that a text names, parted by commas.

    Raises:
        UnusableValueError: (a ValueError) it names none.
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


def find_run_ids(client: Client, ranges: Iterable[RunRange]) -> list[int]:
    """Return the ids of the runs in some ranges, each once; of a range those that exist.

    Raises:
        NotFoundError: a run does not exist, or no run of a range.
    """
    found: list[int] = []
    with reading(client) as connection:
        for first, last in ranges:
            if first == last:
                found += check_runs(connection, [first])
                continue
            bounds = (min(max(first, _FIRST), _LAST), min(last, _LAST))
            rows = fetch(connection, "SELECT id FROM runs WHERE id BETWEEN %s AND %s ORDER BY id", bounds)
            if not rows:
                raise NotFoundError(f"there are no runs from {first} to {last}")
            found += [row["id"] for row in rows]
    return list(dict.fromkeys(found))
