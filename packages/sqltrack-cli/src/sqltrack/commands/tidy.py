"""Move metrics from the column `extras` to their own columns."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from sqltrack.client import Client
from sqltrack.commands._column_candidates import Candidate, Seen, find_candidates
from sqltrack.commands._databases import administering, read_only, table_columns
from sqltrack.commands._extras_rows import (
    ExtrasRow,
    Outcome,
    RowEdit,
    edit_rows,
    has_extras,
    has_pending,
    move_pending,
    read_rows,
)
from sqltrack.engines.admin import admin_of
from sqltrack.engines.json import Jsonb
from sqltrack.engines.metrics_table import MisfitError
from sqltrack.engines.schema import EXTRAS
from sqltrack.errors import NotSetUpError
from sqltrack.util import quote_identifier
from sqltrack.wording import pluralize

__all__ = ["Tidied", "apply_tidy", "plan_tidy"]

Progress = Callable[[int], object]


@dataclasses.dataclass
class Tidied:
    """The plan or outcome for the values of a metric in `extras`.

    Attributes:
        name: name of the metric.
        values: number of values in `extras`.
        column: SQL type of the column that they fit, None if they stay.
        change: necessary change of the table: "add", "widen", or None.
        moved: number of values that were moved.
        superseded: number of these that were dropped, because the column has another value in the same row.
        why: why values stay, None if none do.
    """

    name: str
    values: int
    column: str | None = None
    change: str | None = None
    moved: int = 0
    superseded: int = 0
    why: str | None = None


def plan_tidy(client: Client, progress: Progress | None = None) -> list[Tidied]:
    """Plan to move metrics from the column `extras` to columns that keep the exact values.

    Values are moved if a column can hold them: an existing one, possibly widened, or a new one if all values of the
    metric are of one kind. If a row has a value in both places, the column wins, because a later call wrote it.

    Args:
        client: client to use.
        progress: called now and then with the number of rows read.

    Returns:
        The plan for each metric with values in `extras`, by name.
    """
    candidates = _examine(client, progress, guarded=True)
    return [_tidied(candidate) for candidate in candidates.values()]


def apply_tidy(client: Client, found: Sequence[Tidied], progress: Progress | None = None) -> list[Tidied]:
    """Move metrics to columns as planned by `plan_tidy`.

    Jobs can log meanwhile. If the process is killed, nothing is lost, and another call does the rest.

    Args:
        client: client to use.
        found: the plan; other metrics are left alone.
        progress: called now and then with the number of rows moved.

    Returns:
        The outcome for each metric.
    """
    wanted = {item.name for item in found if item.column is not None}
    if not wanted and not has_pending(client):
        return list(found)
    settled = move_pending(client)
    candidates = _examine(client, None, guarded=False)
    _change_table(client, [candidate for name, candidate in candidates.items() if name in wanted])
    # Consider changes of the table by others since the plan.
    columns = table_columns(client, "metrics")
    tidied = {name: _tidied(candidate) for name, candidate in candidates.items()}
    movable = {
        name: candidate for name, candidate in candidates.items() if name in wanted and candidate.is_ready(columns)
    }
    for name in wanted & candidates.keys() - movable.keys():
        tidied[name] = Tidied(
            name,
            tidied[name].values,
            why="the table could not be changed: others hold a lock on it, or another user owns it",
        )
    _move(client, movable, tidied, progress)
    for name in movable:
        _explain(tidied[name], settled)
    return [tidied[name] for name in sorted(tidied)]


def _examine(client: Client, progress: Progress | None, *, guarded: bool) -> dict[str, Candidate]:
    seen: dict[str, Seen] = {}
    done = 0
    with read_only(client) as connection:
        columns = client.engine.table_columns(connection, "metrics")
    if not columns:
        raise NotSetUpError(f"{client.engine.describe()} has no sqltrack tables")
    for table in _sources(client, columns):
        for rows in read_rows(client, table=table, guarded=guarded):
            for row in rows:
                for name, value in row.values.items():
                    seen.setdefault(name, Seen()).add(value)
            done += len(rows)
            if progress is not None:
                progress(done)
    return find_candidates(client, columns, dict(sorted(seen.items())))


def _sources(client: Client, columns: Mapping[str, str]) -> Iterator[str]:
    """Return the tables with extras."""
    if EXTRAS in columns:
        yield "metrics"
    pending = admin_of(client.engine).pending_table
    if pending is not None and has_pending(client):
        yield pending


def _tidied(candidate: Candidate) -> Tidied:
    return Tidied(candidate.name, candidate.values, candidate.column, candidate.change, why=candidate.why)


def _change_table(client: Client, candidates: Sequence[Candidate]) -> None:
    added = {
        candidate.name: candidate.column for candidate in candidates if candidate.change == "add" and candidate.column
    }
    widened = {
        candidate.name: candidate.column for candidate in candidates if candidate.change == "widen" and candidate.column
    }
    table = client.engine.metrics_table
    # Separately, so that a column that cannot be widened does not keep others from being added.
    with administering(client) as admin:
        if added:
            table.grow(admin.connection, added, {})
        if widened:
            table.grow(admin.connection, {}, widened)


def _move(
    client: Client, candidates: Mapping[str, Candidate], tidied: dict[str, Tidied], progress: Progress | None
) -> None:
    if not candidates or not has_extras(client):
        return
    mover = _Mover(client, candidates)
    done = 0
    for rows in read_rows(client, guarded=False):
        for outcomes in edit_rows(client, rows, mover.edit):
            for outcome in outcomes:
                _count(outcome, candidates, tidied)
            done += len(outcomes)
            if progress is not None:
                progress(done)


def _count(outcome: Outcome, candidates: Mapping[str, Candidate], tidied: Mapping[str, Tidied]) -> None:
    if outcome.edit is not None:
        # The first column belongs to the row, and one for each metric follows.
        for name, is_same in zip(outcome.edit.names, outcome.returned[1:]):
            tidied[name].moved += 1
            tidied[name].superseded += is_same is not None and not is_same
    elif outcome.why is not None:
        for name in outcome.row.values.keys() & candidates.keys():
            tidied[name].why = outcome.why


def _explain(item: Tidied, settled: bool) -> None:
    """Set the reason why values stay, if any do."""
    left = item.values - item.moved
    if left <= 0:
        item.why = None
    elif not settled:
        item.why = f"{pluralize(left, 'value')} left in another table, because the table could not be changed"
    elif item.why is None:
        item.why = f"{pluralize(left, 'value')} would not be the same in a column of type {item.column}"


class _Mover:
    """Builds the statements that move metrics of a row from `extras` to their columns."""

    def __init__(self, client: Client, candidates: Mapping[str, Candidate]) -> None:
        self._candidates = candidates
        self._without_keys = client.engine.remove_keys_sql(f"metrics.{EXTRAS}")
        self._texts: dict[tuple[str, ...], str] = {}

    def edit(self, row: ExtrasRow, most: int) -> RowEdit | None:
        """Return the statement for a row, None if none of its metrics can be moved."""
        bound: dict[str, Any] = {}
        for name, value in row.values.items():
            candidate = self._candidates.get(name)
            if candidate is None or len(bound) >= most:
                continue
            try:
                bound[name] = candidate.bind(value)
            except (MisfitError, TypeError):
                continue
        if not bound:
            return None
        names = tuple(bound)
        # Twice: once to store, and once to compare with the stored values.
        parameters = [*bound.values(), Jsonb(list(names)), *row.key, row.text, *bound.values()]
        return RowEdit(self._sql(names), parameters, names)

    def _sql(self, names: tuple[str, ...]) -> str:
        text = self._texts.get(names)
        if text is None:
            columns = [quote_identifier(name).replace("%", "%%") for name in names]
            sets = ", ".join(f"{column} = COALESCE(metrics.{column}, %s)" for column in columns)
            same = ", ".join(f"metrics.{column} = %s" for column in columns)
            text = self._texts[names] = f"""
                UPDATE metrics SET {sets}, {EXTRAS} = NULLIF({self._without_keys}, '{{}}')
                WHERE run_id = %s AND step = %s AND progress = %s AND CAST(metrics.{EXTRAS} AS TEXT) = %s
                RETURNING run_id, {same}
            """
        return text
