"""What an engine is: everything that differs between the databases, and nothing else."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, ClassVar

from sqltrack.engines.sqltext import Dialect, keywords, split_statements
from sqltrack.errors import ConfigError, SQLTrackError

if TYPE_CHECKING:
    from sqltrack.engines.health import Checks
    from sqltrack.engines.metrics import MetricsTable

__all__ = ["Engine", "find_sql_type", "number_setting"]


def number_setting(config: Mapping[str, Any], name: str, default: float) -> float:
    """Return the setting `name` of a configuration as a number that is not negative.

    Raises:
        ConfigError: it is something else.
    """
    value = config.get(name, default)
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if not number >= 0:
        raise ConfigError(f"{name} must be a number of seconds that is not negative, got {value!r}")
    return number


def find_sql_type(typ: type, sql_types: Mapping[type, str]) -> str | None:
    """Return the SQL type of the nearest base class of `typ` that has one, None if none has."""
    return next((sql_types[base] for base in typ.__mro__ if base in sql_types), None)


class Engine(ABC):
    """A database that SQLTrack can store experiments in.

    An engine opens connections and says how its database spells what SQLTrack needs. It holds nothing but its
    configuration; connections belong to the client.

    Attributes:
        name: what `engine` in the configuration calls it.
        driver_error: base class of the errors that the database driver raises.
        dialect: how the database quotes and comments.
        metrics_table: the metrics table as the database sees it.
        schema: the database schema in which names are looked up, None for the database's default.
        has_users: whether there is a server with users, who have rights in databases.
        keeps_space: whether the space of deleted rows stays with the database until `reclaim_space` is called.
    """

    name: ClassVar[str]
    driver_error: ClassVar[type[Exception]]
    dialect: ClassVar[Dialect]
    metrics_table: ClassVar[MetricsTable]
    schema: str | None = None
    has_users: ClassVar[bool] = False
    keeps_space: ClassVar[bool] = False

    @abstractmethod
    def connect(self) -> Any:
        """Open a connection to the database.

        Returns:
            The driver's connection, in a mode in which changes wait for `commit()`.

        Raises:
            DatabaseUnavailableError: the database cannot be reached or opened.
        """

    def open_for_reading(self) -> Any:
        """Open a connection that is only used to read, and leaves the database as it is.

        Raises:
            DatabaseUnavailableError: the database cannot be reached or opened.
        """
        return self.connect()

    @abstractmethod
    def snapshot(self, connection: Any) -> AbstractContextManager[None]:
        """Let the statements in the `with` block see the database as it is at one moment, and only read.

        The connection must be in no transaction.

        Raises:
            DatabaseError: the database refused a statement in the block.
        """

    @abstractmethod
    def identity(self, connection: Any) -> str:
        """Return a text that two connections have in common if they lead to the same tables, and else not."""

    @abstractmethod
    def describe(self) -> str:
        """Return what database this is, for messages, without secrets."""

    def exists(self) -> bool:
        """Return False if connecting would create the database."""
        return True

    def driver_variables(self) -> dict[str, str]:
        """Return the environment variables that the driver looks at, with the names of their parameters."""
        return {}

    @abstractmethod
    def data_dir(self) -> str:
        """Return the path of the folder that holds the SQL scripts of this engine."""

    @abstractmethod
    def map_type(self, client: Any, typ: type) -> str:
        """Return the SQL type of a column for values of the Python type `typ`.

        Raises:
            TypeError: no SQL type fits.
        """

    @abstractmethod
    def driver_version(self, connection: Any) -> str:
        """Return name and version of the database behind a connection, such as "PostgreSQL 17.10"."""

    @abstractmethod
    def set_autocommit(self, connection: Any, enabled: bool) -> None:
        """Choose whether every statement commits by itself or changes wait for `commit()`."""

    @abstractmethod
    def in_transaction(self, connection: Any) -> bool:
        """Return whether a transaction is open."""

    @abstractmethod
    def is_usable(self, connection: Any) -> bool:
        """Return whether an idle connection works, as far as one can tell without asking the server."""

    @abstractmethod
    def execute_within(self, connection: Any, seconds: float, sql: str, parameters: Sequence[Any]) -> Any:
        """Execute one statement, waiting at most `seconds` for locks of others, and return the cursor."""

    def give_way(self, connection: Any) -> None:
        """Let the open transaction fail rather than wait for rows that others have changed, if the database has such.

        What is not urgent says so before its first change, so that of two that wait for each other it is never the
        other one that fails.
        """
        return

    @abstractmethod
    def reading(self, connection: Any, seconds: float) -> AbstractContextManager[None]:
        """Let the database refuse all but reading in the `with` block, whatever the text of the statements says.

        The connection must be in no transaction; the block is one of its own, or none, and leaves no trace.

        Args:
            connection: the connection.
            seconds: how long a statement may take, more than 0.

        Raises:
            ReadOnlyDatabaseError: a statement in the block would change something.
            StatementTimeoutError: a statement in the block took too long.
            DatabaseError: the database refused a statement for another reason, or a transaction is open.
        """

    @contextlib.contextmanager
    def savepoint(self, connection: Any) -> Iterator[None]:
        """Undo only what the `with` block did if it ends by an exception, so that the transaction can go on."""
        connection.execute("SAVEPOINT sqltrack")
        try:
            yield
        except BaseException:
            with contextlib.suppress(self.driver_error):
                connection.execute("ROLLBACK TO SAVEPOINT sqltrack")
                connection.execute("RELEASE SAVEPOINT sqltrack")
            raise
        connection.execute("RELEASE SAVEPOINT sqltrack")

    @contextlib.contextmanager
    def interruptible(self, connection: Any) -> Iterator[None]:
        """Let Ctrl-C end a statement in the `with` block, and not only what comes after it."""
        yield

    @abstractmethod
    def abort(self, connection: Any) -> None:
        """Roll back and close a connection that may be in the middle of a statement; never raises."""

    def abort_within(self, connection: Any) -> None:
        """Roll back a connection whose statement may be what a signal has interrupted; never raises.

        It is of no use any more, and closed by `abort` when the statement has ended.
        """
        self.abort(connection)

    @abstractmethod
    def translate_error(self, error: Exception) -> SQLTrackError:
        """Return the error that says what the driver's `error` means to users, and what to do about it."""

    def reason_of(self, error: Exception) -> str:
        """Return what the database says about a statement that failed, without quoting it."""
        return str(error)

    def command_tag(self, cursor: Any, statement: str, count: int) -> str:
        """Return what the database calls a statement that it has executed, such as "CREATE TABLE" or "SELECT 3".

        Args:
            cursor: the statement's cursor.
            statement: its text.
            count: number of rows that it returned or changed, -1 if that is not known.
        """
        words = [word for word in keywords(statement, self.dialect) if word not in ("TEMP", "TEMPORARY", "UNIQUE")]
        is_definition = words[0] in ("CREATE", "ALTER", "DROP")
        return " ".join(words[: 2 if is_definition else 1]) + (f" {count}" if count >= 0 else "")

    def watch_notices(self, connection: Any, notify: Callable[[str], None]) -> None:
        """Let `notify` be called with each notice or warning that the server sends; not every database does."""
        return

    def find_password(self, user: str, dbname: str) -> str | None:
        """Return the password that the password file holds for a user of a database, None if there is none.

        Raises:
            ConfigError: the database has no users.
        """
        raise ConfigError(f"engine {self.name!r} has no users, and no passwords")

    def encrypt_password(self, connection: Any, user: str, password: str) -> str:
        """Return a user's password in the form in which the server keeps it.

        Raises:
            ConfigError: the database has no users.
        """
        raise ConfigError(f"engine {self.name!r} has no users, and no passwords")

    def split_script(self, script: str) -> list[str]:
        """Return the statements of a script."""
        return split_statements(script, self.dialect)

    @abstractmethod
    def execute_script(self, connection: Any, script: str) -> Any:
        """Execute the statements of a script in turn and return the last cursor."""

    @abstractmethod
    def lock_schema(self, connection: Any) -> None:
        """Begin to change the schema: wait until nobody else does, create the configured schema if it is missing."""

    @abstractmethod
    def lock_rows(self, connection: Any, table: str, ids: Sequence[int], *, for_deletion: bool = False) -> None:
        """Keep others from changing rows until the end of the transaction, waiting for those who do so now.

        Args:
            connection: the connection, not one in which every statement commits by itself.
            table: name of a table with the key `id`.
            ids: ids of the rows; those that do not exist are no error.
            for_deletion: whether others must not refer to the rows either.
        """

    @abstractmethod
    def reclaim_space(self, connection: Any) -> None:
        """Give back the space of deleted rows; every statement of the connection must commit by itself."""

    @abstractmethod
    def table_columns(self, connection: Any, table: str) -> dict[str, str]:
        """Return names and SQL types of a table's columns in order, empty if there is no such table."""

    @abstractmethod
    def python_types(self, connection: Any, table: str) -> dict[str, type]:
        """Return the Python type of the values in each of a table's columns, apart from those of unknown type.

        The type is what a column is declared to hold, unless the database lets it hold more, and it does.
        """

    @abstractmethod
    def index_names(self, connection: Any, table: str) -> set[str]:
        """Return the names of a table's indexes that are in use."""

    @abstractmethod
    def column_usage(self, connection: Any, table: str) -> tuple[int, int]:
        """Return how many columns of a table count, and how many the database allows."""

    @abstractmethod
    def row_estimate(self, connection: Any, table: str) -> int | None:
        """Return how many rows the database believes a table to have, None if it has no idea."""

    @abstractmethod
    def table_bytes(self, connection: Any, table: str) -> int | None:
        """Return the size of a table with its indexes, None if that cannot be told quickly."""

    @abstractmethod
    def health_checks(self, *, full: bool) -> Checks:
        """Return the checks that only this database needs, by name.

        Args:
            full: whether to look at everything, however long it takes.
        """

    @abstractmethod
    def json_keys_sql(self, column: str) -> str:
        """Return an item of a FROM clause: `item` with the column `key`, the top-level keys of a JSON `column`."""

    @abstractmethod
    def merge_json_sql(self, column: str) -> str:
        """Return an expression: the JSON `column` with the top-level keys of the Jsonb object %s added or replaced."""

    @abstractmethod
    def remove_keys_sql(self, column: str) -> str:
        """Return an expression: the JSON `column` without the top-level keys in the Jsonb list %s."""

    @abstractmethod
    def json_items_sql(self, column: str) -> str:
        """Return a query: run_id, name and value for each top-level key of a JSON `column` of the table runs.

        Values are JSON, which CAST(… AS TEXT) turns into its text.
        """
