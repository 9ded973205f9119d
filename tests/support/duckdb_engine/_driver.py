"""DuckDB with the interface that SQLTrack expects of a driver: placeholders, cursors, and implicit transactions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any

import duckdb

from sqltrack.engines.json import Jsonb, dumps
from sqltrack.engines.sqltext import STANDARD, first_keyword, translate_placeholders
from sqltrack.util import query_text

__all__ = ["Connection", "Cursor"]


class Connection:
    """A connection to a database file.

    Args:
        path: path of the file.

    Attributes:
        autocommit: whether every statement commits by itself.
        in_transaction: whether a transaction is open.
        closed: whether the connection is closed.
    """

    def __init__(self, path: str) -> None:
        self.autocommit: bool = False
        self.in_transaction: bool = False
        self.closed: bool = False
        self._connection = duckdb.connect(path)

    def cursor(self) -> Cursor:
        return Cursor(self)

    def execute(self, query: Any, params: Any = (), /) -> Cursor:
        return self.cursor().execute(query, params)

    def commit(self) -> None:
        self._end_transaction("COMMIT")

    def rollback(self) -> None:
        self._end_transaction("ROLLBACK")

    def close(self) -> None:
        self.closed = True
        self._connection.close()

    def execute_natively(self, text: str, values: Sequence[Any]) -> duckdb.DuckDBPyConnection:
        """Execute one statement with DuckDB's own placeholders; its result is valid until the next statement."""
        if not (self.autocommit or self.in_transaction):
            self._connection.execute("BEGIN")
            self.in_transaction = True
        return self._connection.execute(text, values)

    def _end_transaction(self, statement: str) -> None:
        if self.in_transaction:
            # A transaction that cannot be committed is finished as well.
            self.in_transaction = False
            self._connection.execute(statement)


class Cursor:
    """The result of one statement, read completely, because DuckDB's cursors are separate connections."""

    def __init__(self, connection: Connection) -> None:
        self.description: list[Any] | None = None
        self.rowcount: int = -1
        self._connection = connection
        self._rows: Iterator[Any] = iter(())

    def __enter__(self) -> Cursor:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Any]:
        return self._rows

    def execute(self, query: Any, params: Any = (), /) -> Cursor:
        text, values = _bind(query_text(query), params)
        result = self._connection.execute_natively(text, values)
        self._take(text, result.description or [], result.fetchall())
        return self

    def executemany(self, query: Any, params_seq: Iterable[Any], /) -> Cursor:
        for params in params_seq:
            self.execute(query, params)
        return self

    def fetchone(self) -> Any:
        return next(self._rows, None)

    def fetchmany(self, size: int = 1) -> list[Any]:
        return [row for row, _ in zip(self._rows, range(size))]

    def fetchall(self) -> list[Any]:
        return list(self._rows)

    def close(self) -> None:
        self._rows = iter(())

    def _take(self, text: str, description: list[Any], rows: list[Any]) -> None:
        names = [column[0] for column in description]
        if names == ["Count"] and first_keyword(text, STANDARD) not in ("SELECT", "WITH"):
            # Instead of rows, DuckDB returns the number of rows that the statement changed.
            self.description, self._rows = None, iter(())
            self.rowcount = rows[0][0] if rows else -1
            return
        json_columns = {index for index, column in enumerate(description) if column[1] == "JSON"}
        self.description, self._rows = description, (_read_json(row, json_columns) for row in rows)
        self.rowcount = len(rows)


def _read_json(row: Sequence[Any], json_columns: set[int]) -> tuple[Any, ...]:
    return tuple(
        json.loads(value) if index in json_columns and value is not None else value for index, value in enumerate(row)
    )


def _bind(query: str, params: Any) -> tuple[str, list[Any]]:
    """Return a statement with DuckDB's placeholders, and the values for them in order."""
    if not params:
        return query, []
    text, names = translate_placeholders(query, STANDARD)
    values = params if names is None else [params[name] for name in names]
    return text, [dumps(value.obj) if isinstance(value, Jsonb) else value for value in values]
