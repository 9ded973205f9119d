"""The interface for operators' commands: read, check and change a database, its tables and its users."""

from __future__ import annotations

import contextlib
import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from sqltrack._quoting import quote_text
from sqltrack.engines.schema import TABLES
from sqltrack.engines.sqltext import keywords
from sqltrack.errors import ConfigError, NotSetUpError

if TYPE_CHECKING:
    from sqltrack.engines.checks import Checks
    from sqltrack.engines.engine import Engine

__all__ = ["Admin", "JsonValue", "Question", "RunRows", "admin_of"]


class Question(NamedTuple):
    """A query of a command, which may contain SQL of the user.

    Attributes:
        sql: the text.
        parameters: values for its placeholders, default: none.
    """

    sql: str
    parameters: Sequence[Any] = ()


class RunRows(NamedTuple):
    """Rows of metrics of a run, by step and progress.

    Attributes:
        steps: their steps.
        progress: their progress, 0 for all unless it was asked for.
        values: the values of each metric, None for rows without one; metrics without any value may be missing.
    """

    steps: Sequence[int]
    progress: Sequence[float]
    values: Mapping[str, Sequence[Any]]


class JsonValue(NamedTuple):
    """Expressions for the value at a path in a JSON column, all NULL if there is none.

    Attributes:
        kind: "object", "array", "string", "number", "boolean" or "null".
        text: the value as text; a string without quotes, NULL for null.
        number: the value as a number, NULL for other values; `'NaN'` for the string "NaN", and infinities likewise.
        value: the value in the database's own form.
    """

    kind: str
    text: str
    number: str
    value: str


def admin_of(engine: Engine, connection: Any = None) -> Admin:
    """Create the `Admin` of an engine.

    Args:
        engine: the engine.
        connection: a connection of the engine, default: none yet.

    Raises:
        NotImplementedError: the engine has no `admin_class`.
    """
    if engine.admin_class is None:
        raise NotImplementedError(
            f"{type(engine).__name__} names no admin_class, which the commands of the program need"
        )
    module, _, name = engine.admin_class.partition(":")
    admin: Admin = getattr(importlib.import_module(module), name)(engine, connection)
    return admin


class Admin(ABC):
    """Operations that only operators' commands need.

    Args:
        engine: the engine.
        connection: a connection of the engine, or None; without one, use only `missing`, `connect_read_only`,
            `driver_variables`, `find_password`, `encrypt_password` and the attributes.

    Attributes:
        engine: the engine.
        connection: the connection.
        keeps_space: whether the space of deleted rows is not freed until `reclaim_space` is called.
        pending_table: name of the table for extras that wait until `metrics` has the column, None if the database does
            not need one.
        extras_keep_floats: whether very large floats in `extras` can be distinguished from integers.
    """

    keeps_space: ClassVar[bool] = False
    pending_table: ClassVar[str | None] = None
    extras_keep_floats: ClassVar[bool] = True

    def __init__(self, engine: Engine, connection: Any) -> None:
        self.engine = engine
        self.connection: Any = connection

    # Without a connection

    def missing(self, advice: str = NotSetUpError.ADVICE) -> NotSetUpError:
        """Return the error for a database that does not exist.

        Args:
            advice: advice if the database can be created; default: to set it up.
        """
        return NotSetUpError(f"{self.engine.describe()} does not exist", advice)

    def connect_read_only(self) -> Any:
        """Open a connection for reading, without changing the database.

        Raises:
            DatabaseUnavailableError: the database cannot be reached or opened.
        """
        return self.engine.connect()

    def driver_variables(self) -> dict[str, str]:
        """Return the environment variables that the driver reads, with the names of their parameters."""
        return {}

    def find_password(self, user: str, dbname: str) -> str | None:
        """Return a user's password for a database from the password file, None if it has none.

        Raises:
            ConfigError: the database has no users.
        """
        raise ConfigError(f"engine {self.engine.name!r} has no users, and no passwords")

    # Statements and transactions

    @property
    @abstractmethod
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""

    @abstractmethod
    def snapshot(self) -> AbstractContextManager[None]:
        """Return a context manager in which all statements read the same state of the database.

        The block is read-only. The connection must not be in a transaction.

        Raises:
            DatabaseError: the database refused a statement in the block.
        """

    @abstractmethod
    def read_only(
        self, seconds: float, *, as_superuser: bool = False, own_sql: bool = False
    ) -> AbstractContextManager[None]:
        """Return a context manager in which the database executes queries only, whatever SQL it is given.

        The connection must not be in a transaction. The block changes nothing, and no settings outlive it.

        Args:
            seconds: timeout of a statement in seconds, more than 0.
            as_superuser: whether the statements of a superuser keep all permissions, if the database has superusers.
                Default False: they have the permissions of a read-only role.
            own_sql: whether the statements are SQLTrack's own and not the user's. A superuser may then execute them
                without a read-only role, if the database has none. Default False.

        Raises:
            ReadOnlyDatabaseError: a statement in the block would change something, or could execute code with which
                another user gains the permissions of a superuser.
            StatementTimeoutError: a statement in the block took too long.
            DatabaseError: the database refused a statement for another reason, or a transaction is open.
        """

    def ask_together(self, questions: Sequence[Question], *, are_last: bool = False) -> list[Any]:
        """Execute queries inside a `read_only` block, in as few round trips as possible.

        Args:
            questions: the queries.
            are_last: whether these are the last queries of the block, so that it can end in the same round trip;
                default False.

        Returns:
            A cursor for each query, in their order.
        """
        return [
            self.connection.execute(sql, tuple(parameters)) if parameters else self.connection.execute(sql)
            for sql, parameters in questions
        ]

    def execute_for_many(self, sql: str, parameters: Sequence[Any]) -> Any:
        """Execute a query, and return a cursor that reads many rows the fastest way.

        Args:
            sql: a query.
            parameters: values for its placeholders, at least one.
        """
        return self.connection.execute(sql, tuple(parameters))

    def read_runs(self, run_ids: Sequence[int], columns: Mapping[str, str], *, has_extras: bool) -> dict[int, RunRows]:
        """Return the rows with values of some metrics, many at once, without those that wait for columns.

        By default, and for runs with values in `extras` or metrics of other types than numbers, nothing is returned:
        their rows must be read one by one.

        Args:
            run_ids: ids of the runs, at least one, each with ten million rows at most.
            columns: names and SQL types of the metrics.
            has_extras: whether the table has the column `extras`.
        """
        return {}

    def columns_question(self, table: str) -> Question | None:
        """Return the query for names and SQL types of a table's columns, None if one query is not enough."""
        return None

    def facts_question(self, metric: str) -> Question | None:
        """Return the query for the facts that decide how to find best values of a metric, None if there are none.

        Pass the cursor to `take_facts`, or the statement that finds best values needs another round trip.
        """
        return None

    def take_facts(self, metric: str, answer: Any) -> None:
        """Keep the result of `facts_question` for statements on this connection."""
        return

    def refuse_foreign_code(self, tables: Iterable[str]) -> None:
        """Refuse to read tables as a superuser if other users could then gain the superuser's permissions.

        The connection must not be in a transaction. By default, for databases without users, do nothing.

        Args:
            tables: names of the tables; missing tables are ignored.

        Raises:
            ReadOnlyDatabaseError: they could, for example because the tables are views that call functions.
        """
        return

    def interruptible(self) -> AbstractContextManager[None]:
        """Return a context manager in which Ctrl-C interrupts a running statement."""
        return contextlib.nullcontext()

    def fail_fast_on_locks(self) -> None:
        """Make the open transaction fail instead of waiting for row locks, if the database has them.

        Background work calls this before its first change, so that in a deadlock it is the one that is aborted.
        """
        return

    def reason_of(self, error: Exception) -> str:
        """Return the database's message for a failed statement, without quotes from the statement."""
        return str(error)

    def command_tag(self, cursor: Any, statement: str, count: int) -> str:
        """Return the command tag of an executed statement, such as "CREATE TABLE" or "SELECT 3".

        Args:
            cursor: the statement's cursor.
            statement: its text.
            count: number of rows that it returned or changed, -1 if unknown.
        """
        words = [
            word for word in keywords(statement, self.engine.dialect) if word not in ("TEMP", "TEMPORARY", "UNIQUE")
        ]
        is_definition = words[0] in ("CREATE", "ALTER", "DROP")
        return " ".join(words[: 2 if is_definition else 1]) + (f" {count}" if count >= 0 else "")

    def watch_notices(self, notify: Callable[[str], None]) -> None:
        """Call `notify` with each notice or warning of the server; by default, do nothing."""
        return

    # Metadata

    @abstractmethod
    def identity(self) -> str:
        """Return a text that is equal for two connections if and only if they lead to the same tables."""

    def list_tables(self) -> list[str]:
        """Return the names of all tables and views that statements can name without a schema, in alphabetical order."""
        return list(TABLES)

    def error_offset(self, statement: str, error: BaseException) -> int | None:
        """Return where the database found an error in a statement, as a number of characters, None if unknown.

        Call it on the connection that executed the statement, in the same `read_only` block.

        Args:
            statement: the text that was executed, without parameters.
            error: the error of the driver.
        """
        return None

    @abstractmethod
    def python_types(self, table: str) -> dict[str, type]:
        """Return the Python types of a table's columns, without columns of unknown type.

        The type follows the declaration of the column, unless the database accepts other values and it holds some.
        """

    @abstractmethod
    def index_names(self, table: str) -> set[str]:
        """Return the names of a table's indexes that are in use."""

    @abstractmethod
    def column_usage(self, table: str) -> tuple[int, int]:
        """Return the number of a table's columns that count towards the limit, and the limit."""

    @abstractmethod
    def row_estimate(self, table: str) -> int | None:
        """Return the database's estimate of a table's row count, None if it has none."""

    @abstractmethod
    def table_bytes(self, table: str) -> int | None:
        """Return the size of a table and its indexes in bytes, None if finding it would take long."""

    @abstractmethod
    def checks(self, *, full: bool) -> Checks:
        """Return the checks for this kind of database, by name.

        Args:
            full: whether to include checks that take long.
        """

    @abstractmethod
    def json_keys_sql(self, column: str) -> str:
        """Return a FROM item: `item` with the column `key`, the top-level keys of a JSON `column`."""

    def json_value_sql(self, column: str, name: str, typ: type) -> str:
        """Return an expression for the value of a top-level key of a JSON column, comparable with values of a type.

        Args:
            column: the column, as SQL.
            name: the key.
            typ: bool, int or float; any other type means text.
        """
        text = f"{column}->>{quote_text(name)}"
        sql_type = {bool: "BOOLEAN", int: "DOUBLE PRECISION", float: "DOUBLE PRECISION"}.get(typ)
        return text if sql_type is None else f"CAST({text} AS {sql_type})"

    @abstractmethod
    def json_path_sql(self, column: str, path: Sequence[str]) -> JsonValue:
        """Return expressions for a value in a JSON column.

        Args:
            column: the column, as SQL.
            path: the keys of the objects that lead to the value, at least one.
        """

    @abstractmethod
    def seconds_between_sql(self, begin: str, end: str) -> str:
        """Return an expression for the seconds from one time to another."""

    @abstractmethod
    def data_version(self) -> str:
        """Return a text that changes when other connections commit changes, on this connection and without scans.

        Two texts of one connection are equal only if the data are. Call it before the statements that read the data.
        """

    def cancel(self) -> None:
        """Cancel the running statement of the connection, from any thread; by default, do nothing."""
        return

    # Changes; the connection must be in autocommit mode

    @abstractmethod
    def reclaim_space(self) -> None:
        """Free the space of deleted rows."""

    @abstractmethod
    def rename_metric(self, name: str, new_name: str) -> bool:
        """Rename the column of a metric, without blocking other connections for long.

        Returns:
            False if nothing was done because the table stayed locked.
        """

    @abstractmethod
    def drop_empty_metric(self, name: str) -> bool:
        """Drop the column of a metric if it is empty, without blocking other connections for long.

        Returns:
            False if it holds values, or if the table stayed locked.
        """

    def move_pending(self, limit: int) -> int:
        """Move up to `limit` rows from `pending_table`, if any, to `extras`, and return their number."""
        return 0

    def encrypt_password(self, user: str, password: str) -> str:
        """Hash a user's password as the server does, or without a connection, in a form that any server accepts.

        Raises:
            ConfigError: the database has no users.
        """
        raise ConfigError(f"engine {self.engine.name!r} has no users, and no passwords")
