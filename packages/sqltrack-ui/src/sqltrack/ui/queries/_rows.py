"""Count and read the rows of several runs with few statements."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqltrack.commands._points import METRICS, Chunk, Key, Places, _chunk, read_extras
from sqltrack.commands._rows import BATCH, batches
from sqltrack.engines.admin import RunRows
from sqltrack.engines.schema import EXTRAS, KEY
from sqltrack.queries import column_sql
from sqltrack.ui.queries._database import Database
from sqltrack.util import placeholders

__all__ = ["as_rows", "batches_by_rows", "count_rows", "read_rows_of_runs"]

# Rows that are read at once, unless a run has more: row by row, or put together by the database.
_ROWS, _PACKED_ROWS = 200_000, 500_000
# Rows of a run that the database may put together.
_MOST_PACKED = 10_000_000


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
) -> Iterator[tuple[int, RunRows]]:
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
    for batch in batches_by_rows(counts, _PACKED_ROWS):
        found = {} if pending or counts[batch[0]] > _MOST_PACKED else _read_at_once(source, batch, places, names)
        yield from found.items()
        rest = {run_id: counts[run_id] for run_id in batch if run_id not in found}
        for part in batches_by_rows(rest, _ROWS):
            yield from _read_one_by_one(source, part, places, names, pending, with_progress=with_progress)


def _read_at_once(source: Database, run_ids: Sequence[int], places: Places, names: Sequence[str]) -> dict[int, RunRows]:
    """Return the rows of the runs of which the database can put the rows together."""
    columns = {name: places.columns[name] for name in names if name in places.columns}
    has_extras = METRICS in places.extras
    return source.ask(lambda connection: source.admin(connection).read_runs(run_ids, columns, has_extras=has_extras))


def _read_one_by_one(
    source: Database,
    run_ids: Sequence[int],
    places: Places,
    names: Sequence[str],
    pending: Mapping[Key, dict[str, Any]],
    *,
    with_progress: bool,
) -> Iterator[tuple[int, RunRows]]:
    """Yield runs with their rows, with the metrics in extras and those that wait for columns."""
    heads = [*(name for name in names if name in places.columns), *([EXTRAS] if METRICS in places.extras else [])]
    columns = [column_sql(name) for name in heads]
    keys = KEY[1:] if with_progress or pending else KEY[1:2]
    # Many metrics have a value in few of the rows.
    has_value = "1 = 1" if pending else " OR ".join(f"{column} IS NOT NULL" for column in columns) or "1 = 0"
    sql = f"""
        SELECT {", ".join((*keys, *columns))} FROM metrics WHERE run_id = %s AND ({has_value}) ORDER BY step, progress
    """
    for run_id, found in zip(run_ids, source.fetch_columns(sql, [(run_id,) for run_id in run_ids])):
        if found:
            table: dict[str, Sequence[Any]] = dict(zip([*keys, *heads], found))
            table["run_id"] = [run_id] * len(found[0])
            table.setdefault("progress", [0.0] * len(found[0]))
            rows = None if pending else _plain_rows(table, places)
            yield run_id, rows or as_rows([_chunk(table, places, pending, frozenset(names))], names)


def as_rows(chunks: Iterable[Chunk], names: Sequence[str]) -> RunRows:
    """Return the rows of chunks with values of the given metrics."""
    keys: list[Any] = []
    values: dict[str, list[Any]] = {name: [] for name in names}
    for chunk in chunks:
        keys += chunk.keys
        for name, column in values.items():
            column += chunk.values.get(name) or [None] * len(chunk.keys)
    return RunRows([step for _, step, _ in keys], [progress for _, _, progress in keys], values)


def _plain_rows(table: Mapping[str, Sequence[Any]], places: Places) -> RunRows | None:
    """Return rows of numbers without extras; None for other rows, which take longer to read."""
    extras = table.get(EXTRAS, ())
    columns = {name: table[name] for name in places.columns if name in table}
    if extras.count(None) < len(extras) or any(not _PLAIN.issuperset(map(type, column)) for column in columns.values()):
        return None
    return RunRows(table["step"], table["progress"], columns)


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
