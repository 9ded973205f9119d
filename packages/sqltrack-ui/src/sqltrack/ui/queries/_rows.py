"""Count and read the rows of several runs with few statements."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sqltrack.commands._points import METRICS, Chunk, Places, _chunk, read_extras
from sqltrack.commands._rows import BATCH, batches
from sqltrack.engines.schema import EXTRAS, KEY
from sqltrack.queries import column_sql
from sqltrack.ui.queries._database import Database
from sqltrack.util import placeholders

__all__ = ["Rows", "as_rows", "batches_by_rows", "count_rows", "read_rows_of_runs"]

# Rows that are read at once, unless a run has more.
_ROWS = 200_000


class Rows(NamedTuple):
    """Rows of metrics of a run, by step and progress.

    Attributes:
        steps: their steps.
        progress: their progress, 0 for all unless it was asked for.
        values: the values of each metric, None for rows without one; metrics without any value may be missing.
    """

    steps: Sequence[int]
    progress: Sequence[float]
    values: Mapping[str, Sequence[Any]]


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


def read_rows_of_runs(
    source: Database, counts: Mapping[int, int], places: Places, names: Sequence[str], *, with_progress: bool
) -> Iterator[tuple[int, Rows]]:
    """Yield runs with their rows of metrics, by step and progress.

    Args:
        source: the database.
        counts: the number of rows of each run.
        places: where metrics are.
        names: the metrics to read.
        with_progress: whether to read the progress of rows.
    """
    waiting = [table for table in places.extras if table != METRICS]
    pending = {
        row.key: row.values
        for row in source.ask(lambda connection: list(read_extras(source.client, connection, tables=waiting)))
    }
    heads = [*(name for name in names if name in places.columns), *([EXTRAS] if METRICS in places.extras else [])]
    columns = [column_sql(name) for name in heads]
    keys = KEY if with_progress or pending else KEY[:2]
    # Many metrics have a value in few of the rows.
    has_value = "1 = 1" if pending else " OR ".join(f"{column} IS NOT NULL" for column in columns) or "1 = 0"
    for batch in batches_by_rows(counts, _ROWS):
        sql = f"""
            SELECT {", ".join((*keys, *columns))} FROM metrics
            WHERE run_id IN ({placeholders(len(batch))}) AND ({has_value})
            ORDER BY run_id, step, progress
        """
        ids, *others = source.fetch_columns(sql, batch) or [[]]
        for run_id in batch:
            first, end = bisect_left(ids, run_id), bisect_right(ids, run_id)
            if first < end:
                table = {name: values[first:end] for name, values in zip([*keys[1:], *heads], others)}
                table.update(run_id=ids[first:end])
                table.setdefault("progress", [0.0] * (end - first))
                found = None if pending else _plain_rows(table, places)
                yield run_id, found or as_rows([_chunk(table, places, pending, frozenset(names))], names)


def as_rows(chunks: Iterable[Chunk], names: Sequence[str]) -> Rows:
    """Return the rows of chunks with values of the given metrics."""
    keys: list[Any] = []
    values: dict[str, list[Any]] = {name: [] for name in names}
    for chunk in chunks:
        keys += chunk.keys
        for name, column in values.items():
            column += chunk.values.get(name) or [None] * len(chunk.keys)
    return Rows([step for _, step, _ in keys], [progress for _, _, progress in keys], values)


def _plain_rows(table: Mapping[str, Sequence[Any]], places: Places) -> Rows | None:
    """Return rows of numbers without extras; None for other rows, which take longer to read."""
    extras = table.get(EXTRAS, ())
    columns = {name: table[name] for name in places.columns if name in table}
    if extras.count(None) < len(extras) or any(not _PLAIN.issuperset(map(type, column)) for column in columns.values()):
        return None
    return Rows(table["step"], table["progress"], columns)


_PLAIN = frozenset({float, int, type(None)})


def batches_by_rows(counts: Mapping[int, int], most: int) -> Iterator[list[int]]:
    """Yield runs that are read at once; runs without rows are left out.

    Args:
        counts: the number of rows of each run.
        most: most rows of a batch, unless a single run has more.
    """
    batch: list[int] = []
    number = 0
    for run_id, count in counts.items():
        if batch and (number + count > most or len(batch) == BATCH):
            yield batch
            batch, number = [], 0
        if count:
            batch.append(run_id)
            number += count
    if batch:
        yield batch
