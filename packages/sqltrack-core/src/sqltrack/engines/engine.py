"""The interface for tracking, which each engine implements for its database."""

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

    An engine opens connections and says how its database spells what SQLTrack needs. It holds only its configuration;
    connections belong to the client.

    A class of your own must define `connect`, `data_dir` and `map_type`. To track runs it defines the other methods
    that raise NotImplementedError here, and a `metrics_table`. Methods that do something here are defaults, which fit
    a database with one user at a time.

    Attributes:
        name: value of `engine` in the configuration.
        driver_error: base class of the errors that the database driver raises.
        dialect: how the database quotes and comments.
        metrics_table: the metrics table as the database sees it.
        admin_class: "module:class" of the `sqltrack.engines.admin.Admin` of the engine, None if it has none.
        connects_in_threads: whether other threads may use a connection than the one that has opened it. Then a call
            that must not wait leaves a thread alone that tries to connect; default: no.
        may_create: whether `connect` may create a database that does not exist. It may not while a run is tracked.
        schema: the database schema in which names are looked up, None for the database's default.
        access_advice: what to advise where the database refuses access, None for the usual.
    """

    name: ClassVar[str] = "unnamed"
    driver_error: ClassVar[type[Exception]] = Exception
    dialect: ClassVar[Dialect] = STANDARD
    metrics_table: ClassVar[MetricsTable] = MetricsTable()
    admin_class: ClassVar[str | None] = None
    connects_in_threads: ClassVar[bool] = False
    may_create: bool = True
    schema: str | None = None
    access_advice: str | None = None

    @abstractmethod
    def connect(self) -> DBAPIConnection:
        """Open a connection to the database.

        Returns:
            The driver's connection (`sqltrack.engines.dbapi.DBAPIConnection`), in a mode in which changes wait for
            `commit()`. It takes the placeholders %s and %(name)s, binds `sqltrack.engines.json.Jsonb`, and returns
            JSON as Python objects.

        Raises:
            DatabaseUnavailableError: the database cannot be reached or opened.
        """

    @abstractmethod
    def data_dir(self) -> str:
        """Return the path of the folder that holds the SQL scripts of this engine."""

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
        """Return which database this is, for messages, without secrets; default: the name of the engine."""
        return f"{self.name} database"

    def target(self) -> dict[str, Any]:
        """Return what tells this database from others, for later and without secrets; default: the engine's name."""
        return {"engine": self.name}

    def exists(self) -> bool:
        """Return False if connecting would create the database; default: True."""
        return True

    def set_autocommit(self, connection: Any, enabled: bool) -> None:
        """Choose whether every statement commits by itself or changes wait for `commit()`."""
        raise lacking(self, "set_autocommit", "begin and end transactions")

    def is_usable(self, connection: Any) -> bool:
        """Return whether an idle connection works, as far as the client can tell without asking the server."""
        raise lacking(self, "is_usable", "use a connection again")

    def answers(self, connection: Any) -> bool:
        """Return whether an idle connection works, after asking the server; the default asks no server."""
        return self.is_usable(connection)

    def is_busy(self, connection: Any) -> bool:
        """Return whether a connection is executing a statement, which code that interrupts it must not disturb."""
        return False

    def limit_waits(self, connection: Any, seconds: float | None) -> None:
        """Wait for locks at most `seconds` in the open transaction, None for as long as usual; default: no limit."""
        return

    def bounded(self, connection: Any, seconds: float | None = None) -> AbstractContextManager[None]:
        """Return a context manager in which short work on a connection waits for the database with a limit.

        By default there is none: nothing ends a wait for a file system. An engine with a server closes a connection
        on which nothing came for too long, and raises a `driver_error` that it translates to
        DatabaseUnavailableError. Without this context manager a statement may take as long as the server works on it.

        Args:
            connection: the connection, used in this thread alone.
            seconds: how long each answer may take, default: what the engine finds right. In nested ones the lowest
                limit counts.
        """
        return contextlib.nullcontext()

    def limit(self, connection: Any, seconds: float | None) -> None:
        """Let all waits on a connection end after some seconds, also those for the locks of others; default: no limit.

        A statement whose end nobody waits for may be executed later; see `ends_abandoned`.

        Args:
            connection: the connection.
            seconds: how long each wait may take from now on, None for as long as usual.
        """
        return

    def ends_abandoned(self, connection: Any, others: Sequence[Engine]) -> bool:
        """Make sure that no statement is executed any more whose connection was dropped before it had ended.

        By default there are no such statements.

        Args:
            connection: a connection to the same database.
            others: engines whose connections were dropped.

        Returns:
            Whether that is so; if not, ask again later.
        """
        return True

    def connecting_within(self, seconds: float) -> AbstractContextManager[None]:
        """Return a context manager in which connecting takes about `seconds` at most; by default there is no limit."""
        return contextlib.nullcontext()

    def execute_within(self, connection: Any, seconds: float, sql: str, parameters: Sequence[Any]) -> Any:
        """Execute one statement, waiting at most `seconds` for locks, and return the cursor."""
        self.limit_waits(connection, seconds)
        try:
            return connection.execute(sql, parameters)
        finally:
            self.limit_waits(connection, None)

    def savepoint(self, connection: Any) -> AbstractContextManager[None]:
        """Undo only what the `with` block did if it raises, so that the transaction can continue.

        Without savepoints an override may do nothing. Then a statement that fails costs the whole transaction.
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

    def abort(self, connection: Any) -> None:
        """Roll back and close a connection that may be in the middle of a statement; never raises."""
        for end in (connection.rollback, connection.close):
            with contextlib.suppress(self.driver_error):
                end()

    def abort_within(self, connection: Any) -> bool:
        """Roll back a connection whose statement a signal may have interrupted; never raises.

        The connection is not used again. `abort` closes it when the statement has ended.

        Returns:
            Whether its locks are free now, which they may be only when the statement has ended.
        """
        self.abort(connection)
        return True

    def translate_error(self, error: Exception) -> SQLTrackError:
        """Return the error that says what the driver's `error` means, and what to do about it.

        Raises:
            NotImplementedError: `error` is one. An engine that names no `driver_error` meets all exceptions here, and
                a method that a class lacks is not an error of the database.
        """
        if isinstance(error, NotImplementedError):
            raise error
        return error if isinstance(error, SQLTrackError) else DatabaseError(f"{self.describe()}: {error}")

    def may_pass(self, error: Exception) -> bool:
        """Return whether a driver's error, for which there is no class of ours, may not come again later; default: no.

        Args:
            error: the driver's error, such as that of a disk that fails.
        """
        return False

    def split_script(self, script: str) -> list[str]:
        """Return the statements of a script."""
        return split_statements(script, self.dialect)

    def execute_script(self, connection: Any, script: str) -> Any:
        """Execute the statements of a script in turn and return the last cursor."""
        cursor = connection.cursor()
        for statement in self.split_script(script):
            cursor.execute(statement)
        return cursor

    def lock_schema(self, connection: Any) -> None:
        """Begin to change the schema: wait for others that do so, create the configured schema if it is missing.

        By default nothing is locked.
        """
        return

    def lock_rows(self, connection: Any, table: str, ids: Sequence[int], *, for_deletion: bool = False) -> None:
        """Lock rows until the end of the transaction, waiting for others that change them; default: no lock.

        Args:
            connection: the connection, not in autocommit mode.
            table: name of a table with the key `id`.
            ids: ids of the rows; those that do not exist are no error.
            for_deletion: whether to lock out new references to the rows, too.
        """
        return

    def table_columns(self, connection: Any, table: str) -> dict[str, str]:
        """Return names and SQL types of a table's columns in order, empty if there is no such table."""
        raise lacking(self, "table_columns", "find the columns of a table")

    def new_id_sql(self, table: str) -> str:
        """Return the value of the key `id` for a new row of a table: DEFAULT, or an expression in its place."""
        return "DEFAULT"

    def next_id(self, connection: Any, table: str) -> int | None:
        """Return an unused id for a new row of a table, which nobody else gets; None, the default: there is none yet.

        With it a row can be inserted again if it is not known whether it was.
        """
        return None

    def merge_json_sql(self, column: str) -> str:
        """Return an expression: the JSON `column` with the top-level keys of the Jsonb object %s added or replaced."""
        raise lacking(self, "merge_json_sql", "add tags, arguments, environment variables and extras")

    def remove_keys_sql(self, column: str) -> str:
        """Return an expression: the JSON `column` without the top-level keys in the Jsonb list %s."""
        raise lacking(self, "remove_keys_sql", "remove tags, arguments, environment variables and extras")

    def json_items_sql(self, column: str) -> str:
        """Return a query: run_id, name and value for each top-level key of a JSON `column` of the table runs.

        Values are JSON, which CAST(… AS TEXT) turns into its text. A run whose column holds no object has none.
        """
        raise lacking(self, "json_items_sql", "compare the arguments of runs")


def find_sql_type(typ: type, sql_types: Mapping[type, str]) -> str | None:
    """Return the SQL type of the nearest base class of `typ` that has one, None if none has; for `map_type`."""
    return next((sql_types[base] for base in typ.__mro__ if base in sql_types), None)
