"""The tables of SQLTrack, the same in all databases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["CAPTURE", "COLUMNS", "EXTRAS", "INT64", "KEY", "PENDING", "TABLES", "fits_int64"]

#: The key of the table `metrics`.
KEY = ("run_id", "step", "progress")
#: The column for metrics without a column of their own.
EXTRAS = "extras"

#: The key in the extras of runs that holds the captured context.
CAPTURE = "capture"

#: The table for extras that wait until `metrics` has that column, in databases that need it.
PENDING = "metrics_pending"

#: The range of ids, steps and integer metrics.
INT64 = range(-(2**63), 2**63)

#: The required columns; `metrics` has another one for each metric.
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "experiments": ("id", "name", "comment", "tags", "extras"),
    "experiment_links": ("from_id", "kind", "to_id"),
    "runs": (
        *("id", "experiment_id", "status", "time_created", "time_started", "time_updated"),
        *("comment", "tags", "args", "env", "extras"),
    ),
    "run_links": ("from_id", "kind", "to_id"),
    "metrics": KEY,
}

#: The tables, in an order in which foreign keys allow filling them.
TABLES = tuple(COLUMNS)


def fits_int64(value: Any) -> bool:
    """Return whether a value is an integer of at most 64 bits.

    The operator `in` would compare a float with every integer of `INT64`.
    """
    return isinstance(value, int) and INT64.start <= value < INT64.stop
