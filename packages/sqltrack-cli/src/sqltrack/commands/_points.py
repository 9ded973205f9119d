"""Read the metrics of runs from their columns and from `extras`, point by point."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sqltrack.client import Client
from sqltrack.commands._rows import ask, batches, to_number
from sqltrack.engines.admin import Question, admin_of
from sqltrack.engines.json import dumps
from sqltrack.engines.results import Reading, find_reader
from sqltrack.engines.schema import EXTRAS, KEY
from sqltrack.queries import Query, column_sql, merged_curves
from sqltrack.util import placeholders

__all__ = [
    "Chunk",
    "ExtraValues",
    "Places",
    "as_places",
    "extras_question",
    "extras_rows",
    "find_places",
    "logged_metrics",
    "places_questions",
    "read_chunks",
    "read_extras",
]

_CHUNK = 1_000
# This many values are read faster than it takes to find the columns that hold any.
_FEW = 2_000_000
# Columns that one statement counts values of; PostgreSQL allows 1,664 expressions.
_COUNTED = 1_000

METRICS = "metrics"

Key = tuple[int, int, float]


class ExtraValues(NamedTuple):
    """Metrics of a row that are not in columns.

    Attributes:
        key: run id, step and progress.
        values: names and values.
    """

    key: Key
    values: dict[str, Any]


class Places(NamedTuple):
    """The places of metrics.

    Attributes:
        columns: names and SQL types of the metrics that are columns, in order.
        extras: the tables that hold other metrics as JSON.
    """

    columns: dict[str, str]
    extras: list[str]

    def sort(self, names: Iterable[str]) -> list[str]:
        """Return names of metrics in the order of the columns, in which they were first logged."""
        found = set(names)
        return [*(name for name in self.columns if name in found), *sorted(found - self.columns.keys())]


class Chunk(NamedTuple):
    """Some rows of metrics, column by column.

    Attributes:
        keys: run id, step and progress of each row.
        values: the values of each metric by its name, None for rows without a value. Metrics without a value in any of
            the rows may be missing.
    """

    keys: list[Key]
    values: dict[str, list[Any]]


def find_places(client: Client, connection: Any) -> Places:
    """Return the places of metrics."""
    questions = places_questions(client)
    answers = [dict(cursor.fetchall()) for cursor in ask(client, connection, questions)]
    return as_places(client, connection, answers)


def places_questions(client: Client) -> list[Question]:
    """Return the queries for the places of metrics, none if queries are not enough."""
    admin = admin_of(client.engine)
    tables = [METRICS, *([] if admin.pending_table is None else [admin.pending_table])]
    return [question for question in map(admin.columns_question, tables) if question is not None]


def as_places(client: Client, connection: Any, answers: Sequence[dict[str, str]]) -> Places:
    """Return the places of metrics, given the columns in the answers to `places_questions`."""
    pending = admin_of(client.engine).pending_table
    columns = answers[0] if answers else client.engine.table_columns(connection, METRICS)
    extras = [METRICS] if EXTRAS in columns else []
    if pending is not None and (answers[1] if answers else client.engine.table_columns(connection, pending)):
        extras.append(pending)
    names = {name: sql_type for name, sql_type in columns.items() if name not in KEY and name != EXTRAS}
    return Places(names, extras)


def logged_metrics(client: Client, connection: Any, run_ids: Sequence[int], places: Places) -> dict[int, list[str]]:
    """Return the metrics that each of some runs has values of, in order."""
    columns = list(places.columns)
    found: dict[int, set[str]] = {run_id: set() for run_id in run_ids}
    for ids in batches(run_ids):
        condition = f"run_id IN ({placeholders(len(ids))})"
        for begin in range(0, len(columns), _COUNTED):
            names = columns[begin : begin + _COUNTED]
            counts = ", ".join(f"COUNT({column_sql(name)})" for name in names)
            sql = f"SELECT run_id, {counts} FROM metrics WHERE {condition} GROUP BY run_id"
            for run_id, *numbers in connection.execute(sql, tuple(ids)):
                found[run_id].update(itertools.compress(names, numbers))
        for extra in read_extras(client, connection, ids, tables=places.extras):
            found[extra.key[0]].update(extra.values)
    return {run_id: places.sort(names) for run_id, names in found.items()}


def read_extras(
    client: Client,
    connection: Any,
    run_ids: Sequence[int] | None = None,
    *,
    name: str | None = None,
    tables: Sequence[str] | None = None,
) -> Iterator[ExtraValues]:
    """Return the rows of runs that have extras, including pending ones.

    Args:
        client: client to use.
        connection: open connection of the client.
        run_ids: ids of the runs, default: all.
        name: name of a metric; rows without it are left out.
        tables: tables to read, default: all that hold extras.
    """
    for table in find_places(client, connection).extras if tables is None else tables:
        sql, parameters = extras_question(table, run_ids, name=name)
        # Without parameters, the driver does not look for placeholders.
        yield from extras_rows(connection.execute(sql, parameters) if parameters else connection.execute(sql), name)


def extras_question(table: str, run_ids: Sequence[int] | None = None, *, name: str | None = None) -> Question:
    """Return the query for the rows of a table that have extras; see `read_extras`."""
    conditions, parameters = ["extras IS NOT NULL"], list[Any]()
    if run_ids is not None:
        conditions.append(f"run_id IN ({placeholders(len(run_ids))})")
        parameters += run_ids
    if name is not None:
        # The name may also occur elsewhere in the text.
        conditions.append("CAST(extras AS TEXT) LIKE %s ESCAPE '!'")
        parameters.append(f"%{_escape_pattern(dumps(name))}%")
    sql = f"SELECT run_id, step, progress, extras FROM {table} WHERE {' AND '.join(conditions)}"
    return Question(sql, tuple(parameters))


def extras_rows(cursor: Any, name: str | None = None) -> Iterator[ExtraValues]:
    """Return the rows of a cursor with the answer to `extras_question`."""
    for run_id, step, progress, values in cursor:
        if isinstance(values, dict) and (name is None or name in values):
            yield ExtraValues((run_id, step, progress), values)


def read_chunks(
    client: Client,
    connection: Any,
    run_id: int,
    places: Places,
    names: Sequence[str] | None = None,
    *,
    merged: bool = False,
) -> Iterator[Chunk]:
    """Return the rows of a run's metrics, by step and progress. A first chunk without rows names pending metrics.

    Args:
        client: client to use.
        connection: open connection of the client.
        run_id: id of the run.
        places: where metrics are.
        names: the metrics to read, default: all metrics of the run.
        merged: whether to follow links.
    """
    number = _values(connection, run_id, places)
    if names is None and number > _FEW:
        names = logged_metrics(client, connection, [run_id], places)[run_id]
    chosen = None if names is None else frozenset(names)
    # There are few pending rows, and usually none.
    waiting = [table for table in places.extras if table != METRICS]
    pending = {row.key: row.values for row in read_extras(client, connection, tables=waiting)}
    yield Chunk([], {name: [] for key, values in pending.items() if key[0] == run_id for name in values})
    columns = None if names is None else [name for name in names if name in places.columns]
    if columns is not None and METRICS in places.extras:
        columns.append(EXTRAS)
    query = _merged_query(run_id, columns or []) if merged else _query(run_id, columns)
    if number <= _FEW and not merged:
        # A stream needs more round trips.
        cursor = connection.execute(*query)
        rows = Reading([column[0] for column in cursor.description], (), iter(lambda: cursor.fetchmany(_CHUNK), []))
        yield from _chunks(rows, places, pending, chosen, columns)
        return
    with find_reader(connection.cursor()).read(connection.cursor(), *query, _CHUNK) as rows:
        yield from _chunks(rows, places, pending, chosen, columns)


def _values(connection: Any, run_id: int, places: Places) -> int:
    """Return the number of values in the rows of a run, including missing ones."""
    sql = "SELECT COUNT(*) FROM metrics WHERE run_id = %s"
    return int(connection.execute(sql, (run_id,)).fetchone()[0]) * len(places.columns)


def _chunks(
    rows: Reading,
    places: Places,
    pending: Mapping[Key, Mapping[str, Any]],
    chosen: Collection[str] | None,
    columns: Sequence[str] | None,
) -> Iterator[Chunk]:
    heads = rows.names if columns is None else [*KEY, *columns]
    for chunk in rows.chunks:
        yield _chunk(dict(zip(heads, zip(*chunk))), places, pending, chosen)


def _chunk(
    columns: Mapping[str, Sequence[Any]],
    places: Places,
    pending: Mapping[Key, Mapping[str, Any]],
    chosen: Collection[str] | None,
) -> Chunk:
    """Return rows with their extras among the metrics."""
    keys = list(zip(*(columns[name] for name in KEY)))
    values: dict[str, list[Any]] = {}
    for name in places.columns:
        column = columns.get(name, ())
        if column.count(None) < len(column):
            values[name] = _as_numbers(name, places, column)
    for index, (key, extras) in enumerate(zip(keys, columns.get(EXTRAS, itertools.repeat(None)))):
        if not extras and key not in pending:
            continue
        # A value that does not fit the column of its metric is in the extras.
        for name, value in {**(extras or {}), **pending.get(key, {})}.items():
            if chosen is not None and name not in chosen:
                continue
            cells = values.get(name)
            if cells is None:
                cells = values[name] = [None] * len(keys)
            if cells[index] is None:
                (cells[index],) = _as_numbers(name, places, [value])
    return Chunk(keys, values)


def _as_numbers(name: str, places: Places, values: Sequence[Any]) -> list[Any]:
    """Return the values of a metric. SQLite and JSON store NaN and infinities as text."""
    return list(values) if places.columns.get(name, "").upper() == "TEXT" else list(map(to_number, values))


def _escape_pattern(text: str) -> str:
    return re.sub(r"([!%_])", r"!\1", text)


def _query(run_id: int, columns: Sequence[str] | None) -> Query:
    names = "*" if columns is None else ", ".join((*KEY, *map(column_sql, columns)))
    return Query(f"SELECT {names} FROM metrics WHERE run_id = %s ORDER BY step, progress", (run_id,))


def _merged_query(run_id: int, columns: Sequence[str]) -> Query:
    merged = merged_curves(*columns, run_ids=[run_id])
    # By position, because a metric may have the name of another column.
    names = ", ".join(("run_id", "step", "progress", *(f"value_{number}" for number in range(len(columns)))))
    sql = f"WITH merged (merged_id, {names}) AS (\n{merged.sql}\n) SELECT {names} FROM merged ORDER BY step, progress"
    return Query(sql, merged.parameters)
