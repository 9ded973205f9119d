"""The values that edits of runs usually take: known tags, statuses, kinds of links and experiments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqltrack.ui.queries._database import Database
from sqltrack.ui.queries._index import STATUS, read_index

__all__ = ["choices"]

# Values of each kind.
_LIMIT = 500
_STATUSES = ("PLANNED", "COMPLETED", "FAILED", "CANCELLED")
_KINDS = ("resumes",)


def choices(source: Database, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return values to choose from when runs are edited.

    Args:
        source: the database.
        spec: an empty dict.

    Returns:
        A dict with tags and statuses (the most frequent first), kinds of links, experiments (names, the newest first),
        and version. Each list has at most 500 values.
    """
    index, version = read_index(source)
    counts = index.columns[STATUS].counts(None)
    statuses = [value for value, _ in counts if isinstance(value, str)]
    tags = sorted(index.of("tag").items(), key=lambda item: (-item[1].count, item[0].path))
    kinds = source.fetch(f"SELECT kind FROM run_links GROUP BY kind ORDER BY COUNT(*) DESC, kind LIMIT {_LIMIT}")
    experiments = source.fetch(f"SELECT name FROM experiments ORDER BY id DESC LIMIT {_LIMIT}")
    return {
        "tags": [column.path[1] for column, _ in tags][:_LIMIT],
        "statuses": list(dict.fromkeys((*_STATUSES, *statuses)))[:_LIMIT],
        "kinds": list(dict.fromkeys((*_KINDS, *(row["kind"] for row in kinds)))),
        "experiments": [row["name"] for row in experiments],
        "version": version,
    }
