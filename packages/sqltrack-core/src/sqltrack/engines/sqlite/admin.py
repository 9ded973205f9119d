"""Implement the interface for operators' commands for SQLite."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager

from sqltrack._quoting import quote_identifier, quote_text
from sqltrack.engines.admin import Admin
from sqltrack.engines.checks import Checks
from sqltrack.engines.sqlite._connection import Connection
from sqltrack.engines.sqlite._engine import SQLiteEngine
from sqltrack.engines.sqlite._filesystem import find_folder_problem
from sqltrack.engines.sqlite._interruptible import interruptible
from sqltrack.engines.sqlite._readonly import Guard, guarded
from sqltrack.engines.sqlite._snapshot import find_python_types, open_for_reading, snapshot
from sqltrack.errors import DatabaseError, NotSetUpError, ReadOnlyDatabaseError, StatementTimeoutError

__all__ = ["SQLiteAdmin"]

# SQLITE_MAX_COLUMN (https://sqlite.org/limits.html).
_MAX_COLUMNS = 2000


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
