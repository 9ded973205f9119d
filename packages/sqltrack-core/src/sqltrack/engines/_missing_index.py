"""Suggest an index for best values if the table `metrics` is large."""

from __future__ import annotations

from sqltrack._quoting import quote_identifier
from sqltrack.engines.checks import Verdict, note

__all__ = ["LARGE_ROWS", "missing_index"]

# Suggest an index from this number of rows of `metrics`.
LARGE_ROWS = 1_000_000


def missing_index(metric: str) -> Verdict:
    """Return the note that no metric has an index, with the statement that creates one for `metric`."""
    name, column = quote_identifier(f"metrics_by_{metric}"), quote_identifier(metric)
    return note(
        "no metric in the large table metrics has an index, so finding the best value of each run reads all rows",
        f"if you ask for the best {metric!r} often, execute while few jobs log: "
        f"CREATE INDEX {name} ON metrics (run_id, {column})",
    )
