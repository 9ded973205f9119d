"""Move metrics from the column `extras` into columns of their own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from sqltrack.client import Client
from sqltrack.commands._connections import administering, table_columns
from sqltrack.commands._extras import (
    Edit,
    ExtrasRow,
    Outcome,
    edit_rows,
    has_extras,
    has_pending,
    move_pending,
    read_rows,
)
from sqltrack.commands._places import Place, Seen, find_places
from sqltrack.commands._records import reading
from sqltrack.commands._words import counted
from sqltrack.engines.admin import admin_of
from sqltrack.engines.json import Jsonb
from sqltrack.engines.metrics_table import MisfitError
from sqltrack.engines.schema import EXTRAS
from sqltrack.errors import NotSetUpError
from sqltrack.quoting import quote_identifier

__all__ = ["Tidied", "examine_extras", "move_extras", "tidy"]

Progress = Callable[[int], object]


@dataclasses.dataclass
class Tidied:
    """What becomes, or became, of the values of a metric that are in `extras`.

    Attributes:
        name: name of the metric.
        values: how many values there are in `extras`.
        column: SQL type of the column that they fit into, None if they stay.
        change: what has to be done to the table for that: "add", "widen", or None.
        moved: how many values were moved.
        superseded: how many of those were dropped, because the column has another value in the same row.
        why: why values stay, None if none does.
    """

    name: str
    values: int
    column: str | None = None
    change: str | None = None
    moved: int = 0
    superseded: int = 0
    why: str | None = None


def tidy(client: Client, *, dry_run: bool = False) -> list[Tidied]:
    """Move metrics from the column `extras` into columns, where they are exactly the same afterwards.

    Values are moved if a column can hold them: one that is there, possibly widened, or a new one if all values of the
    metric are of one kind. Where a row has a value in both places, the column wins: it is what a later call has
    written. Others may go on to write; when the process is killed, nothing is lost, and another call does the rest.

    Args:
        client: client to use.
        dry_run: whether to change nothing.

    Returns:
        What becomes of each metric that has values in `extras`, by name.
    """
    found = examine_extras(client)
    return found if dry_run else move_extras(client, found)


def examine_extras(client: Client, progress: Progress | None = None) -> list[Tidied]:
    """Find out what `tidy` would do, and change nothing.

    Args:
        client: client to use.
        progress: called with the number of rows that have been read, now and then.
    """
    places = _examine(client, progress, read_only=True)
    return [_tidied(place) for place in places.values()]


def move_extras(client: Client, found: Sequence[Tidied], progress: Progress | None = None) -> list[Tidied]:
    """Do what `examine_extras` has found to be possible.

    Args:
        client: client to use.
        found: what that returned; other metrics are left alone.
        progress: called with the number of rows that have been moved, now and then.

    Returns:
        What became of each metric.
    """
    wanted = {item.name for item in found if item.column is not None}
    if not wanted and not has_pending(client):
        return list(found)
    settled = move_pending(client)
    places = _examine(client, None, read_only=False)
    _change_table(client, [place for name, place in places.items() if name in wanted])
    # What others have done to the table meanwhile counts as well.
    columns = table_columns(client, "metrics")
    tidied = {name: _tidied(place) for name, place in places.items()}
    movable = {name: place for name, place in places.items() if name in wanted and place.is_ready(columns)}
    for name in wanted & places.keys() - movable.keys():
        tidied[name] = Tidied(
            name, tidied[name].values, why="the table could not be changed: others use it, or it is not this user's"
        )
    _move(client, movable, tidied, progress)
    for name in movable:
        _explain(tidied[name], settled)
    return [tidied[name] for name in sorted(tidied)]


def _examine(client: Client, progress: Progress | None, *, read_only: bool) -> dict[str, Place]:
    seen: dict[str, Seen] = {}
    done = 0
    with reading(client) as connection:
        columns = client.engine.table_columns(connection, "metrics")
    if not columns:
        raise NotSetUpError(f"{client.engine.describe()} has no sqltrack tables")
    for table in _sources(client, columns):
        for rows in read_rows(client, table=table, read_only=read_only):
            for row in rows:
                for name, value in row.values.items():
                    seen.setdefault(name, Seen()).add(value)
            done += len(rows)
            if progress is not None:
                progress(done)
    return find_places(client, columns, dict(sorted(seen.items())))


def _sources(client: Client, columns: Mapping[str, str]) -> Iterator[str]:
    """Return the tables in which there are extras."""
    if EXTRAS in columns:
        yield "metrics"
    pending = admin_of(client.engine).pending_table
    if pending is not None and has_pending(client):
        yield pending


def _tidied(place: Place) -> Tidied:
    return Tidied(place.name, place.values, place.column, place.change, why=place.why)


def _change_table(client: Client, places: Sequence[Place]) -> None:
    added = {place.name: place.column for place in places if place.change == "add" and place.column}
    widened = {place.name: place.column for place in places if place.change == "widen" and place.column}
    table = client.engine.metrics_table
    # Apart, because one that cannot be widened should not keep others from being added.
    with administering(client) as admin:
        if added:
            table.grow(admin.connection, added, {})
        if widened:
            table.grow(admin.connection, {}, widened)


def _move(client: Client, places: Mapping[str, Place], tidied: dict[str, Tidied], progress: Progress | None) -> None:
    if not places or not has_extras(client):
        return
    mover = _Mover(client, places)
    done = 0
    for rows in read_rows(client, read_only=False):
        for outcomes in edit_rows(client, rows, mover.edit):
            for outcome in outcomes:
                _count(outcome, places, tidied)
            done += len(outcomes)
            if progress is not None:
                progress(done)


def _count(outcome: Outcome, places: Mapping[str, Place], tidied: Mapping[str, Tidied]) -> None:
    if outcome.edit is not None:
        # The first column is the row's own, one for each metric follows.
        for name, is_same in zip(outcome.edit.names, outcome.returned[1:]):
            tidied[name].moved += 1
            tidied[name].superseded += is_same is not None and not is_same
    elif outcome.why is not None:
        for name in outcome.row.values.keys() & places.keys():
            tidied[name].why = outcome.why


def _explain(item: Tidied, settled: bool) -> None:
    """Say why values stay, if any do."""
    left = item.values - item.moved
    if left <= 0:
        item.why = None
    elif not settled:
        item.why = f"{counted(left, 'value')} left in another table, because the table could not be changed"
    elif item.why is None:
        item.why = f"{counted(left, 'value')} would not be the same in a column of type {item.column}"


class _Mover:
    """Builds the statements that move metrics of a row from `extras` to their columns."""

    def __init__(self, client: Client, places: Mapping[str, Place]) -> None:
        self._places = places
        self._without_keys = client.engine.remove_keys_sql(f"metrics.{EXTRAS}")
        self._texts: dict[tuple[str, ...], str] = {}

    def edit(self, row: ExtrasRow, most: int) -> Edit | None:
        """Return the statement for a row, None if nothing of it can be moved."""
        bound: dict[str, Any] = {}
        for name, value in row.values.items():
            place = self._places.get(name)
            if place is None or len(bound) >= most:
                continue
            try:
                bound[name] = place.bind(value)
            except (MisfitError, TypeError):
                continue
        if not bound:
            return None
        names = tuple(bound)
        # Twice, once to be stored and once to be compared with what is there then.
        parameters = [*bound.values(), Jsonb(list(names)), *row.key, row.text, *bound.values()]
        return Edit(self._sql(names), parameters, names)

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
