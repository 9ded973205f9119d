"""Suggest an index for best values, where the table of metrics is large."""

from __future__ import annotations

from sqltrack._quoting import quote_identifier
from sqltrack.engines.checks import Verdict, note

__all__ = ["LARGE_ROWS", "missing_index"]

# Rows of metrics from which the index is worth a word.
LARGE_ROWS = 1_000_000


def missing_index(metric: str) -> Verdict:
    """Return that no metric has an index, with the statement that creates one for a metric."""
    name, column = quote_identifier(f"metrics_by_{metric}"), quote_identifier(metric)
    return note(
        "no metric in the large table metrics has an index, so finding the best value of each run reads all rows",
        f"if you ask for the best {metric!r} often, execute while few jobs log: "
        f"CREATE INDEX {name} ON metrics (run_id, {column})",
    )
