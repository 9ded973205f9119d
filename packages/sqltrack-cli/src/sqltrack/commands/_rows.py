"""Read rows as dicts, split ids into batches, and lock rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

from sqltrack.client import Client
from sqltrack.engines.admin import Question, admin_of

__all__ = ["BATCH", "ask", "batches", "dicts", "fetch", "lock_rows", "to_number"]

T = TypeVar("T")

# Maximum number of values in a statement; SQLite before 3.32 takes 999.
BATCH = 500

_NUMBERS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def fetch(connection: Any, sql: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
    """Return the rows of a query as dicts."""
    return dicts(connection.execute(sql, tuple(parameters)) if parameters else connection.execute(sql))


def ask(client: Client, connection: Any, questions: Sequence[Question], *, are_last: bool = False) -> list[Any]:
    """Return cursors with the answers to several queries, in few round trips; see `Admin.ask_together`."""
    return admin_of(client.engine, connection).ask_together(questions, are_last=are_last)


def dicts(cursor: Any) -> list[dict[str, Any]]:
    """Return the rows of a cursor as dicts."""
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row)) for row in cursor.fetchall()]


def batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Return parts of a sequence that fit into a statement."""
    for begin in range(0, len(items), BATCH):
        yield items[begin : begin + BATCH]


def lock_rows(
    client: Client, connection: Any, table: str, ids: Iterable[int | None], *, for_deletion: bool = False
) -> None:
    """Lock rows until the end of the transaction, except ids that are None."""
    found = sorted({id_ for id_ in ids if id_ is not None})
    client.engine.lock_rows(connection, table, found, for_deletion=for_deletion)


def to_number(value: Any) -> Any:
    """Return the float for a text that stands for NaN or an infinity, otherwise the value itself."""
    return _NUMBERS.get(value, value) if isinstance(value, str) else value
