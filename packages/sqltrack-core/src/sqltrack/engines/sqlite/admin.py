"""Implement the interface for operators' commands for SQLite."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager

from sqltrack._quoting import quote_identifier, quote_text
from sqltrack.engines.admin import Admin, JsonValue
from sqltrack.engines.checks import Checks
from sqltrack.engines.sqlite._connection import Connection
from sqltrack.engines.sqlite._engine import SQLiteEngine
from sqltrack.engines.sqlite._error_places import find_error
from sqltrack.engines.sqlite._filesystem import find_folder_problem
from sqltrack.engines.sqlite._interruptible import interruptible
from sqltrack.engines.sqlite._readonly import Guard, guarded
from sqltrack.engines.sqlite._snapshot import find_python_types, open_for_reading, snapshot
from sqltrack.errors import DatabaseError, NotSetUpError, ReadOnlyDatabaseError, StatementTimeoutError

__all__ = ["SQLiteAdmin"]

# SQLITE_MAX_COLUMN (https://sqlite.org/limits.html).
_MAX_COLUMNS = 2000

_TABLES_SQL = """
    SELECT name FROM sqlite_master
    WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite!_%' ESCAPE '!'
    ORDER BY name
"""


class SQLiteAdmin(Admin):
    """Operations that only operators' commands need, for SQLite."""

    engine: SQLiteEngine
    connection: Connection
    keeps_space = True

    def missing(self, advice: str = NotSetUpError.ADVICE) -> NotSetUpError:
        error = super().missing(advice)
        problem = find_folder_problem(self.engine.path)
        # Setup would fail, too.
        return error if problem is None else NotSetUpError(f"{error.message}: {problem[0]}", problem[1])

    def connect_read_only(self) -> Connection:
        try:
            return open_for_reading(self.engine.path, self.engine.busy_timeout)
        except sqlite3.Error as error:
            if "readonly" in str(error):
                # A process was killed while writing, so the file must be recovered before it can be read.
                return self.engine.connect()
            raise self.engine.translate_error(error) from error

    @property
    def in_transaction(self) -> bool:
        return self.connection.in_transaction

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        try:
            with snapshot(self.connection):
                yield
        except sqlite3.Error as error:
            raise self.engine.translate_error(error) from error

    @contextlib.contextmanager
    def read_only(self, seconds: float, *, as_superuser: bool = False, own_sql: bool = False) -> Iterator[None]:
        if self.connection.in_transaction:
            raise DatabaseError("a transaction is open", "end it before a read-only block")
        with guarded(self.connection, seconds) as guard:
            try:
                yield
            # Up to Python 3.11, a second statement raises an exception that is not a sqlite3.Error.
            except (sqlite3.Error, sqlite3.Warning) as error:
                raise self._translate_refusal(error, guard) from error

    def interruptible(self) -> AbstractContextManager[None]:
        return interruptible(self.connection)

    def identity(self) -> str:
        status = os.stat(self.engine.path)
        return f"sqlite {status.st_dev} {status.st_ino}"

    def list_tables(self) -> list[str]:
        return [name for (name,) in self.connection.execute(_TABLES_SQL)]

    def error_offset(self, statement: str, error: BaseException) -> int | None:
        return find_error(self.connection, statement, str(error))

    def python_types(self, table: str) -> dict[str, type]:
        return find_python_types(self.connection, table, self.engine.table_columns(self.connection, table))

    def index_names(self, table: str) -> set[str]:
        return {name for (name,) in self.connection.execute("SELECT name FROM pragma_index_list(?)", (table,))}

    def column_usage(self, table: str) -> tuple[int, int]:
        return len(self.engine.table_columns(self.connection, table)), _MAX_COLUMNS

    def row_estimate(self, table: str) -> int | None:
        return None

    def table_bytes(self, table: str) -> int | None:
        # SQLite would have to read the whole file.
        return None

    def checks(self, *, full: bool) -> Checks:
        from sqltrack.engines.sqlite._checks import sqlite_checks

        return sqlite_checks(self.engine, self.connection, full=full)

    def json_keys_sql(self, column: str) -> str:
        return f"json_each({column}) AS item"

    def json_value_sql(self, column: str, name: str, typ: type) -> str:
        # SQLite keeps the type of the value. Older versions do not have this operator.
        if sqlite3.sqlite_version_info >= (3, 38):
            return f"{column}->>{quote_text(name)}"
        return f"json_extract({column}, {quote_text(f'$.{json.dumps(name)}')})"

    def json_path_sql(self, column: str, path: Sequence[str]) -> JsonValue:
        kind, value = _json_item_sql(column, path)
        # SQLite returns true as 1, has no NaN, and reads numbers beyond the range of doubles as infinity.
        numbers = "WHEN 'NaN' THEN 'NaN' WHEN 'Infinity' THEN 9e999 WHEN '-Infinity' THEN -9e999"
        return JsonValue(
            f"CASE {kind} WHEN 'integer' THEN 'number' WHEN 'real' THEN 'number' WHEN 'text' THEN 'string' "
            f"WHEN 'true' THEN 'boolean' WHEN 'false' THEN 'boolean' ELSE {kind} END",
            f"CASE {kind} WHEN 'true' THEN 'true' WHEN 'false' THEN 'false' ELSE CAST({value} AS TEXT) END",
            f"CASE {kind} WHEN 'integer' THEN {value} WHEN 'real' THEN {value} "
            f"WHEN 'text' THEN CASE {value} {numbers} END END",
            value,
        )

    def seconds_between_sql(self, begin: str, end: str) -> str:
        # Days since 4714 BC as a float would have an error of some milliseconds.
        seconds, fraction = (f"(strftime('%s', {end}) - strftime('%s', {begin}))", "SUBSTR({}, 20, 7)")
        return f"({seconds} + {fraction.format(end)} - {fraction.format(begin)})"

    def data_version(self) -> str:
        return str(self.connection.execute("PRAGMA data_version").fetchone()[0])

    def cancel(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            self.connection.interrupt()

    def reclaim_space(self) -> None:
        self.connection.execute("VACUUM")

    def rename_metric(self, name: str, new_name: str) -> bool:
        old, new = quote_identifier(name), quote_identifier(new_name)
        self.connection.execute(f"ALTER TABLE metrics RENAME COLUMN {old} TO {new}")
        return True

    def drop_empty_metric(self, name: str) -> bool:
        column = quote_identifier(name)
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            query = f"SELECT 1 FROM metrics WHERE metrics.{column} IS NOT NULL LIMIT 1"
            is_empty = self.connection.execute(query).fetchone() is None
            if is_empty:
                self.connection.execute(f"ALTER TABLE metrics DROP COLUMN {column}")
            self.connection.commit()
        except BaseException:
            self.connection.rollback()
            raise
        return is_empty

    def _translate_refusal(self, error: Exception, guard: Guard) -> BaseException:
        """Return the error to raise for a failed statement of a read-only block."""
        message = str(error)
        if message == "interrupted":
            if guard.is_expired:
                return StatementTimeoutError(guard.seconds)
            # A signal handler raised, after Ctrl-C; SQLite ended the statement and swallowed the exception.
            return KeyboardInterrupt()
        if "not authorized" in message or message.endswith(("authorization denied", "is prohibited")):
            return ReadOnlyDatabaseError(
                f"database {self.engine.path!r} is opened read-only here, and the statement does more than read"
            )
        return self.engine.translate_error(error)


def _json_item_sql(column: str, path: Sequence[str]) -> tuple[str, str]:
    """Return expressions for the type of a value in SQLite's words, and for the value."""
    if all(map(_is_path_key, path)):
        place = quote_text("$" + "".join(f'."{key}"' for key in path))
        return f"json_type({column}, {place})", f"json_extract({column}, {place})"
    *parents, key = path
    kind, value = _json_item_sql(column, parents) if parents else (f"json_type({column})", column)
    # Older versions compare keys in paths with the text in the file, in which some characters are escaped.
    items = f"json_each(CASE {kind} WHEN 'object' THEN {value} END) WHERE key = {quote_text(key)}"
    return f"(SELECT type FROM {items})", f"(SELECT value FROM {items})"


def _is_path_key(key: str) -> bool:
    return key.isprintable() and not set(key) & {'"', "\\"}
