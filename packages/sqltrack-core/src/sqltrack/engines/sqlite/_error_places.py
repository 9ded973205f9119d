"""Find the place of an error in a statement, which SQLite knows but Python's module does not report."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from sqltrack.engines._tokenizer import tokens
from sqltrack.engines.sqlite._sql import SQLITE

__all__ = ["find_error"]

# Beginnings of the statement that are prepared, at most.
_MANY = 1_000


def find_error(connection: sqlite3.Connection, statement: str, message: str) -> int | None:
    """Return where a statement has an error, as a number of characters, None if that cannot be found.

    Args:
        connection: the connection, which must be read-only: beginnings of the statement are prepared.
        statement: the statement.
        message: SQLite's message.
    """
    starts, ends, position = list[int](), list[int](), 0
    for token in tokens(statement, SQLITE):
        begin, position = position, position + len(token.text)
        if token.kind == "comment" or token.text.isspace():
            continue
        # "no such column: runs.lose"
        if token.kind in ("word", "quoted") and message.endswith((f": {_name(token.text)}", f".{_name(token.text)}")):
            return begin
        starts.append(begin)
        ends.append(position)
    if not starts or len(starts) > _MANY:
        return None
    # The parser reads from left to right: each beginning that contains a syntax error fails in the same way.
    found: int | None = None
    for begin, end in zip(reversed(starts), reversed(ends)):
        if _error_of(connection, statement[:end]) != message:
            break
        found = begin
    return found


def _name(text: str) -> str:
    return text[1:-1] if text[:1] in ('"', "`", "[") else text


def _error_of(connection: sqlite3.Connection, statement: str) -> str | None:
    """Return the message for a statement that is prepared, but not executed."""
    with closing(sqlite3.Cursor(connection)) as cursor:
        try:
            cursor.execute(f"EXPLAIN {statement}")
        except (sqlite3.Error, sqlite3.Warning) as error:
            return str(error)
    return None
