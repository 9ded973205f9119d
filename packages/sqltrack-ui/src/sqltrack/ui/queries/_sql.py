"""Run a read-only query of the user, and say where it is wrong."""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqltrack.commands._rows import to_number
from sqltrack.commands.sql import QueryResult
from sqltrack.engines.json import is_storable_text
from sqltrack.engines.kinds import ColumnKind
from sqltrack.engines.results import find_reader
from sqltrack.errors import AccessDeniedError, DatabaseError, ReadOnlyDatabaseError
from sqltrack.ui.queries._database import Database
from sqltrack.ui.queries._errors import QueryError
from sqltrack.ui.queries._runs import read_number
from sqltrack.ui.queries._snippets import as_python
from sqltrack.ui.queries._values import as_json, is_number, kind_of

__all__ = ["MOST_ROWS", "StatementError", "Stop", "sql"]

#: Rows of a result, at most.
MOST_ROWS = 10_000
# Characters of all values of a result, about.
_MOST_TEXT = 20_000_000
_CHUNK = 500
_LONGEST = 200_000


class StatementError(QueryError):
    """the database refused the statement

    Args:
        message: the database's message.
        offset: place of the error in the statement as a number of characters, None if unknown.
        statement: the statement.

    Attributes:
        details: a dict with offset, and with line and column, which count from 1; empty if the place is unknown.
    """

    def __init__(self, message: str, offset: int | None, statement: str) -> None:
        super().__init__(message, "where")
        self.details: dict[str, int] = {} if offset is None else _place(statement, offset)


class Stop:
    """Stops a query that another thread runs.

    Attributes:
        is_stopped: whether the query was stopped.
    """

    def __init__(self) -> None:
        self.is_stopped: bool = False
        self._lock = threading.Lock()
        self._cancel: Callable[[], None] | None = None

    def __call__(self) -> None:
        """Stop the query, if it is running."""
        with self._lock:
            self.is_stopped = True
            if self._cancel is not None:
                self._cancel()

    @contextlib.contextmanager
    def watching(self, cancel: Callable[[], None]) -> Iterator[None]:
        """Return a context manager in which a call of this object calls `cancel`, and not later.

        After the block, another query may use the connection.
        """
        with self._lock:
            self._cancel = cancel
        try:
            yield
        finally:
            with self._lock:
                self._cancel = None


def sql(source: Database, spec: Mapping[str, Any], stop: Stop | None = None) -> dict[str, Any]:
    """Run one query, which cannot change anything, and return its result.

    The result is never taken from a cache. The time limit is that of the database, see `Database`.

    Args:
        source: the database.
        spec: dict with sql, the query, and limit, the maximum number of rows, default and at most 10,000.
        stop: stops the query when it is called, default: the query runs to its end.

    Returns:
        A dict with columns (dicts with name and kind; names can repeat), rows, limit, cut ("rows" if there are more
        rows than the limit, "size" if the rest would be too large, otherwise None), seconds (duration), timeout (the
        time limit in seconds), version, sql and python.

    Raises:
        StatementError: the database refused the query.
        QueryError: the specification is not valid, or the query was stopped.
        StatementTimeoutError: the query took too long.
        DatabaseError: the database is not available.
    """
    text, limit = _text(spec), read_number(spec, "limit", MOST_ROWS, MOST_ROWS, least=1)
    version = source.version()
    began = time.monotonic()
    names, kinds, rows, cut = _run(source, text, limit, stop or Stop())
    columns = [_read_column([row[index] for row in rows], kind) for index, kind in enumerate(kinds)]
    return {
        "columns": [{"name": name, "kind": _kind(values)} for name, values in zip(names, columns)],
        "rows": [[_as_json(value) for value in row] for row in (zip(*columns) if rows else ())],
        "limit": limit,
        "cut": cut,
        "seconds": round(time.monotonic() - began, 3),
        "timeout": source.timeout,
        "version": version,
        "sql": text,
        "python": as_python(source, text),
    }


def _text(spec: Mapping[str, Any]) -> str:
    text = spec.get("sql")
    if not isinstance(text, str) or "\0" in text or not is_storable_text(text):
        raise QueryError(f"sql must be a text without NUL, got {text!r}")
    if not text.strip():
        raise QueryError("the query is empty")
    if len(text) > _LONGEST:
        raise QueryError(f"the query is longer than {_LONGEST:,} characters")
    return text


class _Result(NamedTuple):
    """Names and declared kinds of columns, the rows, and why rows are missing."""

    names: list[str]
    kinds: list[ColumnKind | None]
    rows: list[Sequence[Any]]
    cut: str | None


def _run(source: Database, text: str, limit: int, stop: Stop) -> _Result:
    try:
        return _read(source, text, limit, stop)
    except BaseException as error:
        # SQLite's interruption looks like that by Ctrl-C.
        if not stop.is_stopped:
            raise
        raise QueryError("the query was stopped") from error


def _read(source: Database, text: str, limit: int, stop: Stop) -> _Result:
    offsets: list[int | None] = []

    def read(connection: Any) -> _Result:
        try:
            reader = find_reader(connection.cursor())
            with (
                stop.watching(source.admin(connection).cancel),
                reader.read(connection.cursor(), text, None, min(limit + 1, _CHUNK)) as result,
            ):
                found = QueryResult(result.names, result.kinds, result.chunks, limit)
                rows, is_large = _collect(found)
                return _Result(found.names, found.kinds, rows, "size" if is_large else "rows" if found.is_cut else None)
        except source.client.engine.driver_error as error:
            offsets.append(source.admin(connection).error_offset(text, error))
            raise

    try:
        return source.ask(read, own_sql=False)
    except DatabaseError as error:
        if type(error) not in (DatabaseError, ReadOnlyDatabaseError, AccessDeniedError):
            raise
        raise StatementError(_reason(source, error), offsets[-1] if offsets else None, text) from error


def _collect(rows: Iterable[Sequence[Any]]) -> tuple[list[Sequence[Any]], bool]:
    """Return the rows, and whether some were left out because all are too large."""
    found, size = list[Sequence[Any]](), 0
    for row in rows:
        size += sum(len(value) if isinstance(value, (str, bytes)) else 16 for value in row)
        if size > _MOST_TEXT and found:
            return found, True
        found.append(row)
    return found, False


def _reason(source: Database, error: DatabaseError) -> str:
    """Return the database's words, without its own name, which the page shows all the time."""
    cause = error.__cause__
    if type(error) is DatabaseError and isinstance(cause, source.client.engine.driver_error):
        return " ".join(source.admin().reason_of(cause).split())
    return str(error)


def _read_column(values: list[Any], kind: ColumnKind | None) -> list[Any]:
    """Return the values of a column in their types, also if the database has no types for them and declares none.

    SQLite returns NaN, times and JSON as text.
    """
    if kind is not None:
        return values
    if any(map(is_number, values)):
        return list(map(to_number, values))
    texts = [value for value in values if value is not None]
    if not texts or not all(isinstance(value, str) for value in texts):
        return values
    for read in _READERS:
        try:
            return [value if value is None else read(value) for value in values]
        except ValueError:
            continue
    return values


def _read_nan(text: str) -> float:
    value = to_number(text)
    if isinstance(value, float):
        return value
    raise ValueError(text)


def _read_time(text: str) -> datetime:
    if _TIME.fullmatch(text):
        return datetime.fromisoformat(text)
    raise ValueError(text)


def _read_object(text: str) -> dict[str, Any]:
    value = json.loads(text) if text.startswith("{") else None
    if isinstance(value, dict):
        return value
    raise ValueError(text)


_READERS: Sequence[Callable[[str], Any]] = (_read_nan, _read_time, _read_object)
_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{6})?[+-]\d\d:\d\d")


def _kind(values: Iterable[Any]) -> str:
    kinds = {kind_of(value) for value in values} - {None}
    return (kinds.pop() or "text") if len(kinds) == 1 else "text"


def _as_json(value: Any) -> Any:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).hex()
    return as_json(value)


def _place(statement: str, offset: int) -> dict[str, int]:
    before = statement[:offset]
    return {"offset": offset, "line": before.count("\n") + 1, "column": offset - (before.rfind("\n") + 1) + 1}
