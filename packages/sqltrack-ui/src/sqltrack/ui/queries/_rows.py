"""Count and read the rows of several runs with few statements."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqltrack.commands._points import METRICS, Chunk, Places, _chunk, read_extras
from sqltrack.commands._rows import BATCH, batches
from sqltrack.engines.schema import EXTRAS, KEY
from sqltrack.queries import column_sql
from sqltrack.ui.queries._database import Database
from sqltrack.util import placeholders

__all__ = ["count_rows", "read_chunks_of_runs"]

# Rows that are read at once, unless a run has more.
_ROWS = 100_000


def count_rows(source: Database, versions: Mapping[int, str]) -> dict[int, int]:
    """Return the number of rows of runs.

    Args:
        source: the database.
        versions: the version of each run, see `Database.run_version`.
    """
    counts = {run_id: source.cache.peek(("rows", run_id), version) for run_id, version in versions.items()}
    missing = [run_id for run_id, count in counts.items() if count is None]
    for batch in batches(missing):
        sql = f"""
            SELECT run_id, COUNT(*) AS number FROM metrics WHERE run_id IN ({placeholders(len(batch))}) GROUP BY run_id
        """
        found = {row["run_id"]: row["number"] for row in source.fetch(sql, batch)}
        for run_id in batch:
            counts[run_id] = found.get(run_id, 0)
            source.cache.keep(("rows", run_id), counts[run_id], versions[run_id])
    return {run_id: counts[run_id] or 0 for run_id in versions}


def read_chunks_of_runs(
    source: Database, counts: Mapping[int, int], places: Places, names: Sequence[str]
) -> Iterator[tuple[int, list[Chunk]]]:
    """Yield runs with their rows of metrics, by step and progress.

    Args:
        source: the database.
        counts: the number of rows of each run.
        places: where metrics are.
        names: the metrics to read.
    """
    waiting = [table for table in places.extras if table != METRICS]
    pending = {
        row.key: row.values
        for row in source.ask(lambda connection: list(read_extras(source.client, connection, tables=waiting)))
    }
    columns = [name for name in names if name in places.columns]
    heads = [*KEY, *columns, *([EXTRAS] if METRICS in places.extras else [])]
    for batch in _by_rows(counts):
        listed = ", ".join((*KEY, *map(column_sql, heads[len(KEY) :])))
        sql = f"""
            SELECT {listed} FROM metrics WHERE run_id IN ({placeholders(len(batch))})
            ORDER BY run_id, step, progress
        """
        rows = source.ask(lambda it, sql=sql, ids=tuple(batch): it.execute(sql, ids).fetchall())
        for run_id, part in _by_run(rows):
            chunk = _chunk(dict(zip(heads, zip(*part))), places, pending, frozenset(names))
            yield run_id, [chunk]


def _by_rows(counts: Mapping[int, int]) -> Iterator[list[int]]:
    """Yield runs whose rows are read at once; runs without rows are left out."""
    batch: list[int] = []
    number = 0
    for run_id, count in counts.items():
        if batch and (number + count > _ROWS or len(batch) == BATCH):
            yield batch
            batch, number = [], 0
        if count:
            batch.append(run_id)
            number += count
    if batch:
        yield batch


def _by_run(rows: Sequence[Any]) -> Iterator[tuple[int, Sequence[Any]]]:
    begin = 0
    for end in range(1, len(rows) + 1):
        if end == len(rows) or rows[end][0] != rows[begin][0]:
            yield rows[begin][0], rows[begin:end]
            begin = end
