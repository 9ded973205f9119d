"""Read many rows from PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import chain, islice
from typing import Any

import psycopg
from psycopg.rows import tuple_row

from sqltrack._quoting import query_text
from sqltrack.engines.kinds import KINDS, ColumnKind
from sqltrack.engines.postgres._types import NAMES
from sqltrack.engines.postgres.sql import POSTGRES
from sqltrack.engines.results import Reader, Reading
from sqltrack.engines.sqltext import first_keyword

__all__ = ["PostgresReader", "execute_binary"]

_INFOS = {name: psycopg.postgres.types[name] for name in (*NAMES, "oid", "time without time zone", "uuid")}
_KINDS: Mapping[int, ColumnKind] = {_INFOS[name].oid: KINDS[typ] for name, typ in NAMES.items()}

# Types that psycopg loads alike from the binary and the text format; unknown types would stay bytes.
_BINARY = {oid for info in _INFOS.values() for oid in (info.oid, info.array_oid)}

# Statements that a savepoint undoes. Others, such as COMMIT and COPY, have effects outside their transaction.
_UNDONE = frozenset({"SELECT", "WITH", "VALUES", "TABLE", "EXPLAIN", "SHOW", "INSERT", "UPDATE", "DELETE", "MERGE", ""})

_NO_ROWS = "the statement returns no rows, expected a query"


class PostgresReader(Reader):
    """Streams rows in the binary format, which is about twice as fast as text, with few rows in memory."""

    @contextmanager
    def read(self, cursor: Any, query: Any, parameters: Any, size: int) -> Iterator[Reading]:
        connection = cursor.connection
        text = query_text(query, cursor, has_parameters=bool(parameters))
        arguments = (text, parameters) if parameters else (text,)
        with closing(connection.cursor()) as reading:
            if not getattr(reading, "admits_only_queries", False):
                _refuse_commands(connection, text)
            reading.row_factory = tuple_row
            rows = reading.stream(*arguments, binary=True, size=_stream_size(size))
            # An open stream blocks the connection.
            with _undo_unless_done(connection) as done, closing(rows):
                first = _first_rows(rows, size)
                if first and _is_binary(reading):
                    done.append(True)
                    yield _reading(reading, chain([first], iter(lambda: list(islice(rows, size)), [])))
                    return
            # A stream without rows does not describe its columns.
            reading.execute(*arguments, binary=False)
            yield _reading(reading, iter(lambda: reading.fetchmany(size), []))


def execute_binary(connection: psycopg.Connection[Any], sql: str, parameters: Sequence[Any]) -> psycopg.Cursor[Any]:
    """Execute a query, for results in the binary format if all their types can be read from it."""
    cursor = connection.execute(sql, tuple(parameters), binary=True)
    return cursor if _is_binary(cursor) else connection.execute(sql, tuple(parameters), binary=False)


def _is_binary(cursor: psycopg.Cursor[Any]) -> bool:
    """Return whether psycopg loads all columns of a result alike from the binary and the text format."""
    return all(column.type_code in _BINARY for column in cursor.description or ())


def _refuse_commands(connection: Any, text: str) -> None:
    """Refuse a statement that returns no rows and could not be undone, before it is executed."""
    if first_keyword(text, POSTGRES) in _UNDONE:
        return
    pgconn = connection.pgconn
    with connection.lock:
        result = pgconn.prepare(b"", text.encode(connection.info.encoding))
        if result.status == psycopg.pq.ExecStatus.COMMAND_OK:
            result = pgconn.describe_prepared(b"")
    if result.status == psycopg.pq.ExecStatus.COMMAND_OK and not result.nfields:
        raise psycopg.ProgrammingError(_NO_ROWS)


def _reading(cursor: Any, chunks: Iterator[Any]) -> Reading:
    columns = cursor.description
    kinds = [_KINDS.get(column.type_code) for column in columns]
    return Reading([column.name for column in columns], kinds, chunks, is_typed=True)


def _first_rows(rows: Iterator[Any], size: int) -> list[Any]:
    try:
        return list(islice(rows, size))
    except psycopg.ProgrammingError as error:
        if "didn't produce a result" not in str(error):
            raise
        raise psycopg.ProgrammingError(_NO_ROWS) from error


def _stream_size(size: int) -> int:
    """Return the number of rows to fetch at once; libpq before 17 supports only 1."""
    return size if psycopg.capabilities.has_stream_chunked() else 1


@contextmanager
def _undo_unless_done(connection: Any) -> Iterator[list[bool]]:
    """Return a context manager that undoes its block if that adds nothing to the list, to allow another attempt."""
    done: list[bool] = []
    if connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE and not connection.autocommit:
        yield done
        if not done:
            connection.rollback()
        return
    with connection.transaction():
        yield done
        if not done:
            raise psycopg.Rollback
