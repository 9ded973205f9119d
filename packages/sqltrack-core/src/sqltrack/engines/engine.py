"""The interface for tracking that each engine implements for its database."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar

from sqltrack.engines._lacking import lacking
from sqltrack.engines.dbapi import DBAPIConnection
from sqltrack.engines.metrics_table import MetricsTable
from sqltrack.engines.sqltext import STANDARD, Dialect, split_statements
from sqltrack.errors import DatabaseError, SQLTrackError

__all__ = ["Engine", "find_sql_type"]


class Engine(ABC):
    """A database that SQLTrack can store experiments in.

    An engine opens connections and knows the SQL of its database. It holds only its configuration; connections belong
    to the client.

    To write your own engine, define `connect`, `data_dir` and `map_type`. To track runs with it, also define
    `metrics_table` and the other methods that raise NotImplementedError here. The remaining methods have defaults that
    suit a database with one user at a time.

    Attributes:
        name: value of `engine` in the configuration.
        driver_error: base class of the errors that the database driver raises.
        dialect: syntax of quotes and comments.
        metrics_table: SQL and types of the table `metrics`.
        admin_class: "module:class" of the engine's `sqltrack.engines.admin.Admin`, None if it has none.
        connects_in_threads: whether a connection may be used outside the thread that opened it. Calls can then stop
            waiting for a slow connection attempt, which continues in a thread. Default False.
        locks_by_process: whether locks of connections belong to their process, as those of files do. A fork then waits
            a moment until no other thread uses a connection. Default False.
        may_create: whether `connect` may create a missing database. Default True, False while a run is tracked.
        schema: the database schema in which names are looked up, None for the database's default.
        access_advice: advice for the error when the database refuses access, None for the usual advice.
    """

    name: ClassVar[str] = "unnamed"
    driver_error: ClassVar[type[Exception]] = Exception
    dialect: ClassVar[Dialect] = STANDARD
    metrics_table: ClassVar[MetricsTable] = MetricsTable()
    admin_class: ClassVar[str | None] = None
    connects_in_threads: ClassVar[bool] = False
    locks_by_process: ClassVar[bool] = False
    may_create: bool = True
    schema: str | None = None
    access_advice: str | None = None

    @abstractmethod
    def connect(self) -> DBAPIConnection:
        """Open a connection to the database.

        Returns:
            The driver's connection (`sqltrack.engines.dbapi.DBAPIConnection`), not in autocommit mode. It takes the
            placeholders %s and %(name)s, binds `sqltrack.engines.json.Jsonb`, and returns JSON as Python objects.

        Raises:
            DatabaseUnavailableError: the database cannot be reached or opened.
        """

    @abstractmethod
    def data_dir(self) -> str:
        """Return the path of the folder that holds the engine's SQL scripts."""

    @abstractmethod
    def map_type(self, client: Any, typ: type) -> str:
        """Return the SQL type of a column for values of the Python type `typ`.

        Args:
            client: the client that needs the column.
            typ: the type.

        Raises:
            TypeError: no SQL type fits.
        """

    def describe(self) -> str:
        """Return a description of the database for messages, without secrets; default: the engine's name."""
        return f"{self.name} database"

    def target(self) -> dict[str, Any]:
        """Return the parameters that identify this database, without secrets; default: the engine's name."""
        return {"engine": self.name}

    def is_default_target(self) -> bool:
        """Return whether neither configuration nor environment name a database; default: False."""
        return False

    def exists(self) -> bool:
        """Return False if connecting would create the database; default: True."""
        return True

    def set_autocommit(self, connection: Any, enabled: bool) -> None:
        """Turn autocommit mode on or off."""
        raise lacking(self, "set_autocommit", "begin and end transactions")

    def is_usable(self, connection: Any) -> bool:
        """Return whether an idle connection looks usable, without a round trip to the server."""
        raise lacking(self, "is_usable", "reuse a connection")

    def answers(self, connection: Any) -> bool:
        """Return whether an idle connection works, by a round trip to the server; default: same as `is_usable`."""
        return self.is_usable(connection)

    def is_busy(self, connection: Any) -> bool:
        """Return whether a connection is executing a statement, so that a signal handler must leave it alone."""
        return False

    def limit_waits(self, connection: Any, seconds: float | None) -> None:
        """Set the lock timeout of the open transaction; by default, do nothing.

        Args:
            connection: the connection.
            seconds: the timeout, None for the usual one.
        """
        return

    def bounded(self, connection: Any, seconds: float | None = None) -> AbstractContextManager[None]:
        """Return a context manager that limits how long short statements wait for an answer of the server.

        When the time is up, an engine with a server closes the connection and raises a `driver_error` that it
        translates to DatabaseUnavailableError. Outside the context manager, statements may take as long as the server
        works on them. By default there is no limit, because a wait for a file system cannot be ended.

        Args:
            connection: the connection, used in this thread only.
            seconds: seconds that each answer may take, default: set by the engine. When nested, the lowest limit
                applies.
        """
        return contextlib.nullcontext()

    def limit(self, connection: Any, seconds: float | None) -> None:
        """Limit all waits on a connection, including those for locks; by default, do nothing.

        The server may still execute a statement after the client stopped waiting for it; see `ends_abandoned`.

        Args:
            connection: the connection.
            seconds: seconds that each wait may take from now on, None for the usual limits.
        """
        return

    def ends_abandoned(self, connection: Any, others: Sequence[Engine]) -> bool:
        """End the statements that the server still executes although their connections were dropped.

        The default suits databases without such statements.

        Args:
            connection: a connection to the same database.
            others: engines whose connections were dropped.

        Returns:
            Whether all have ended; if not, call again later.

        Raises:
            Exception: the driver's error, if the server does not answer, or refuses. It must reach the caller, who
                would otherwise use the same dead connection again.
        """
        return True

    def connecting_within(self, seconds: float) -> AbstractContextManager[None]:
        """Return a context manager in which connecting takes about `seconds` at most; default: no limit."""
        return contextlib.nullcontext()

    def execute_within(self, connection: Any, seconds: float, sql: str, parameters: Sequence[Any]) -> Any:
        """Execute one statement, waiting at most `seconds` for locks, and return the cursor."""
        self.limit_waits(connection, seconds)
        try:
            return connection.execute(sql, parameters)
        finally:
            self.limit_waits(connection, None)

    def savepoint(self, connection: Any) -> AbstractContextManager[None]:
        """Return a context manager that undoes only its block when that raises, so that the transaction can continue.

        If the database has no savepoints, an override may do nothing. A failed statement then fails the transaction.
        """
        return self._savepoint(connection)

    @contextlib.contextmanager
    def _savepoint(self, connection: Any) -> Iterator[None]:
        connection.execute("SAVEPOINT sqltrack")
        try:
            yield
        except BaseException:
            with contextlib.suppress(self.driver_error):
                connection.execute("ROLLBACK TO SAVEPOINT sqltrack")
                connection.execute("RELEASE SAVEPOINT sqltrack")
            raise
        connection.execute("RELEASE SAVEPOINT sqltrack")

    def settle(self, connection: Any) -> None:
        """Roll back a connection and end its queries, because it stays open without being used; may raise errors."""
        connection.rollback()

    def abort(self, connection: Any) -> None:
        """Roll back and close a connection, even in the middle of a statement; never raises."""
        for end in (connection.rollback, connection.close):
            with contextlib.suppress(self.driver_error):
                end()

    def abort_within(self, connection: Any) -> bool:
        """Roll back a connection from a signal handler that may have interrupted its statement; never raises.

        Do not use the connection again. `abort` closes it after the statement has ended.

        Returns:
            Whether its locks are released; if not, they are when the statement ends.
        """
        self.abort(connection)
        return True

    def translate_error(self, error: Exception) -> SQLTrackError:
        """Return the SQLTrackError for an error of the driver, with its meaning and advice.

        Raises:
            NotImplementedError: `error` is one. An engine without a `driver_error` gets all exceptions here, and a
                missing method is not a database error.
        """
        if isinstance(error, NotImplementedError):
            raise error
        return error if isinstance(error, SQLTrackError) else DatabaseError(f"{self.describe()}: {error}")

    def may_pass(self, error: Exception) -> bool:
        """Return whether a retry may succeed after a driver's error that has no class of ours; default: False.

        Args:
            error: the driver's error, for example of a failing disk.
        """
        return False

    def may_fail_over(self) -> bool:
        """Return whether another server may take over from one that is read-only; default: False."""
        return False

    def split_script(self, script: str) -> list[str]:
        """Return the statements of a script."""
        return split_statements(script, self.dialect)

    def execute_script(self, connection: Any, script: str) -> Any:
        """Execute the statements of a script in order and return the last cursor."""
        cursor = connection.cursor()
        for statement in self.split_script(script):
            cursor.execute(statement)
        return cursor

    def lock_schema(self, connection: Any) -> None:
        """Lock out other transactions that change tables, and create the configured schema if it is missing.

        By default, do nothing.
        """
        return

    def lock_rows(self, connection: Any, table: str, ids: Sequence[int], *, for_deletion: bool = False) -> None:
        """Lock rows until the end of the transaction; by default, do nothing.

        Args:
            connection: the connection, not in autocommit mode.
            table: name of a table with the key `id`.
            ids: ids of the rows; missing rows are ignored.
            for_deletion: whether to lock out new references to the rows, too.
        """
        return

    def table_columns(self, connection: Any, table: str) -> dict[str, str]:
        """Return names and SQL types of a table's columns in order, an empty dict if the table does not exist."""
        raise lacking(self, "table_columns", "find the columns of a table")

    def new_id_sql(self, table: str) -> str:
        """Return the SQL for the `id` of a new row of a table: DEFAULT, or an expression."""
        return "DEFAULT"

    def next_id(self, connection: Any, table: str) -> int | None:
        """Reserve an id for a new row of a table and return it, or None if the database cannot reserve ids (default).

        With a reserved id, an INSERT can be retried although it may have succeeded.
        """
        return None

    def merge_json_sql(self, column: str) -> str:
        """Return an expression for the JSON `column` with the top-level keys of the Jsonb object %s merged in."""
        raise lacking(self, "merge_json_sql", "add tags, arguments, environment variables and extras")

    def remove_keys_sql(self, column: str) -> str:
        """Return an expression for the JSON `column` without the top-level keys in the Jsonb list %s."""
        raise lacking(self, "remove_keys_sql", "remove tags, arguments, environment variables and extras")

    def json_items_sql(self, column: str) -> str:
        """Return a query for run_id, name and value of each top-level key of a JSON `column` of the table `runs`.

        Values are JSON; CAST(… AS TEXT) turns them into text. Runs whose column does not hold an object are left out.
        """
        raise lacking(self, "json_items_sql", "compare the arguments of runs")


def find_sql_type(typ: type, sql_types: Mapping[type, str]) -> str | None:
    """Return the SQL type of `typ` or its nearest base class, None if it has none; for `map_type`."""
    return next((sql_types[base] for base in typ.__mro__ if base in sql_types), None)
