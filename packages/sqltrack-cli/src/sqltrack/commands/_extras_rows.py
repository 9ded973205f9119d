"""Read and change the rows of metrics that have extras, while jobs continue to log."""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

from sqltrack.client import Client
from sqltrack.commands._databases import administering, read_only, table_columns
from sqltrack.engines.admin import admin_of
from sqltrack.engines.metrics_table import Fault
from sqltrack.engines.schema import EXTRAS, INT64
from sqltrack.errors import DatabaseError, DatabaseLockedError

__all__ = ["ExtrasRow", "Outcome", "RowEdit", "edit_rows", "has_extras", "has_pending", "move_pending", "read_rows"]

# A transaction with this many rows takes a fraction of a second, during which others may have to wait.
_ROWS_PER_TRANSACTION = 200
_ROWS_PER_QUERY = 1_000

_ATTEMPTS = 20

_FIRST = (INT64[0], INT64[0], -math.inf)

Key = tuple[int, int, float]


class ExtrasRow(NamedTuple):
    """A row of metrics with extras.

    Attributes:
        key: run id, step and progress.
        text: the extras as text of the database, to see whether they have changed.
        values: the extras.
    """

    key: Key
    text: str
    values: dict[str, Any]


class RowEdit(NamedTuple):
    """A statement that changes one row if its extras have not changed.

    Attributes:
        sql: the statement.
        parameters: its parameters.
        names: the metrics that it changes.
    """

    sql: str
    parameters: Sequence[Any]
    names: Sequence[str]


class Outcome(NamedTuple):
    """The outcome for a row.

    Attributes:
        row: the row.
        edit: the statement that changed it, None if the row was not changed.
        returned: the row that the statement returned.
        why: why it was not changed, None if no change was needed.
    """

    row: ExtrasRow
    edit: RowEdit | None
    returned: Any = None
    why: str | None = None


# A function that returns the statement for a row, with at most this many metrics; None if there is nothing to do.
Editor = Callable[[ExtrasRow, int], "RowEdit | None"]

_ALL = 2**31


def has_extras(client: Client) -> bool:
    """Return whether the column for extras exists."""
    return EXTRAS in table_columns(client, "metrics")


def has_pending(client: Client) -> bool:
    """Return whether there are pending metrics, which wait for the column for extras."""
    table = admin_of(client.engine).pending_table
    if table is None or not table_columns(client, table):
        return False
    return bool(client.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchall())


def move_pending(client: Client) -> bool:
    """Move pending metrics to the column for extras; return whether none are left."""
    if not has_pending(client):
        return True
    table = client.engine.metrics_table
    with administering(client) as admin:
        if not has_extras(client) and not table.grow(
            admin.connection, {EXTRAS: client.engine.map_type(client, dict)}, {}
        ):
            return False
        while admin.move_pending(_ROWS_PER_QUERY):
            pass
    return not has_pending(client)


def read_rows(
    client: Client, *, table: str = "metrics", condition: str = "1 = 1", parameters: Sequence[Any] = (), guarded: bool
) -> Iterator[list[ExtrasRow]]:
    """Return rows with extras in batches, in the order of their keys.

    Each batch is read in its own transaction: a long transaction would keep writers from adding columns.

    Args:
        client: client to use.
        table: `metrics`, or the table of pending metrics.
        condition: condition on the rows, in SQL.
        parameters: parameters of the condition.
        guarded: whether to use a read-only connection.
    """
    sql = f"""
        SELECT run_id, step, progress, CAST({table}.{EXTRAS} AS TEXT) FROM {table}
        WHERE {table}.{EXTRAS} IS NOT NULL AND (run_id, step, progress) > (%s, %s, %s) AND {condition}
        ORDER BY run_id, step, progress LIMIT {_ROWS_PER_QUERY}
    """
    last: Key = _FIRST
    while True:
        block: AbstractContextManager[Any] = read_only(client) if guarded else nullcontext()
        with block:
            found = client.execute(sql, (*last, *parameters)).fetchall()
        if not found:
            return
        last = tuple(found[-1][:3])
        yield [_as_row(row) for row in found]


def edit_rows(client: Client, rows: Sequence[ExtrasRow], editor: Editor) -> Iterator[list[Outcome]]:
    """Change rows in batches, each in its own transaction.

    Rows that others have changed since they were read are read again. Others never wait long for a lock, and after a
    deadlock this side retries.

    Args:
        client: client to use.
        rows: rows, in the order of their keys.
        editor: returns the statement for each row.
    """
    for begin in range(0, len(rows), _ROWS_PER_TRANSACTION):
        part = rows[begin : begin + _ROWS_PER_TRANSACTION]
        outcomes = _try(client, [(row, editor(row, _ALL)) for row in part])
        if isinstance(outcomes, DatabaseError):
            outcomes = [_edit_alone(client, row, editor) for row in part]
        yield [_edit_alone(client, outcome.row, editor) if outcome.why is not None else outcome for outcome in outcomes]


def _try(client: Client, edits: Sequence[tuple[ExtrasRow, RowEdit | None]]) -> list[Outcome] | DatabaseError:
    """Change rows in one transaction; return the error if it fails and a retry can help."""
    try:
        with client as connection:
            admin_of(client.engine, connection).fail_fast_on_locks()
            return [_execute(client, row, edit) for row, edit in edits]
    except DatabaseError as error:
        if isinstance(error, DatabaseLockedError) or _fault(client, error) is not None:
            return error
        raise


def _execute(client: Client, row: ExtrasRow, edit: RowEdit | None) -> Outcome:
    if edit is None:
        return Outcome(row, None)
    rows = client.execute(edit.sql, edit.parameters).fetchall()
    return Outcome(row, edit, rows[0]) if rows else Outcome(row, None, why="changed by others repeatedly")


def _edit_alone(client: Client, row: ExtrasRow, editor: Editor) -> Outcome:
    """Change one row, with retries while it is locked, and with fewer metrics if the row would grow too big."""
    most = _ALL
    outcome = Outcome(row, None, why="locked by others")
    for _ in range(_ATTEMPTS):
        current = _read_again(client, row.key)
        if current is None:
            return Outcome(row, None)
        edit = editor(current, most)
        if edit is None:
            return Outcome(current, None, why=outcome.why if most < _ALL else None)
        outcomes = _try(client, [(current, edit)])
        if isinstance(outcomes, DatabaseError):
            if _fault(client, outcomes) is Fault.TOO_BIG:
                most = len(edit.names) // 2
                outcome = Outcome(current, None, why="the row would grow too big")
            time.sleep(random.uniform(0.005, 0.05))
            continue
        (outcome,) = outcomes
        if outcome.edit is not None:  # pragma: no branch - else others have changed the row between two statements
            return outcome
    return outcome


def _read_again(client: Client, key: Key) -> ExtrasRow | None:
    sql = f"""
        SELECT run_id, step, progress, CAST(metrics.{EXTRAS} AS TEXT) FROM metrics
        WHERE metrics.{EXTRAS} IS NOT NULL AND run_id = %s AND step = %s AND progress = %s
    """
    row = client.execute(sql, key).fetchone()
    return None if row is None else _as_row(row)


def _as_row(row: Sequence[Any]) -> ExtrasRow:
    values = json.loads(row[3])
    return ExtrasRow((row[0], row[1], row[2]), row[3], values if isinstance(values, dict) else {})


def _fault(client: Client, error: DatabaseError) -> Fault | None:
    cause = error.__cause__
    return None if cause is None else client.engine.metrics_table.fault_of(cause)
