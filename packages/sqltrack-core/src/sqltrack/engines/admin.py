"""The interface for operators' commands: read a database safely, examine it, change its tables and users."""

from __future__ import annotations

import contextlib
import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from sqltrack._quoting import quote_text
from sqltrack.engines.sqltext import keywords
from sqltrack.errors import ConfigError, NotSetUpError

if TYPE_CHECKING:
    from sqltrack.engines.checks import Checks
    from sqltrack.engines.engine import Engine

__all__ = ["Admin", "Question", "admin_of"]


class Question(NamedTuple):
    """A query of the program's, or with a part of the user's.

    Attributes:
        sql: its text.
        parameters: values for its placeholders, default: none.
    """

    sql: str
    parameters: Sequence[Any] = ()


def admin_of(engine: Engine, connection: Any = None) -> Admin:
    """Return what operators' commands can do with the database of an engine.

    Args:
        engine: the engine.
        connection: a connection of the engine, default: none yet.

    Raises:
        NotImplementedError: the engine has no such commands.
    """
    if engine.admin_class is None:
        raise NotImplementedError(
            f"{type(engine).__name__} names no admin_class, which the commands of the program need"
        )
    module, _, name = engine.admin_class.partition(":")
    admin: Admin = getattr(importlib.import_module(module), name)(engine, connection)
    return admin


class Admin(ABC):
    """What only operators' commands need of a database.

    Args:
        engine: the engine.
        connection: a connection of it, None before there is one; then only `missing`, `connect_read_only`,
            `driver_variables`, `find_password`, `encrypt_password` and the attributes are of use.

    Attributes:
        engine: the same.
        connection: the same.
        keeps_space: whether the space of deleted rows stays with the database until `reclaim_space` is called.
        pending_table: name of the table in which extras wait while `metrics` cannot get the column, None if there is
            no such table.
        extras_keep_floats: whether a float in `extras` is still told from an integer if it is very large.
    """

    keeps_space: ClassVar[bool] = False
    pending_table: ClassVar[str | None] = None
    extras_keep_floats: ClassVar[bool] = True

    def __init__(self, engine: Engine, connection: Any) -> None:
        self.engine = engine
        self.connection: Any = connection

    # Before there is a connection

    def missing(self, advice: str = NotSetUpError.ADVICE) -> NotSetUpError:
        """Return the error for a database that does not exist.

        Args:
            advice: what to do if it can be created; default: to set it up.
        """
        return NotSetUpError(f"{self.engine.describe()} does not exist", advice)

    def connect_read_only(self) -> Any:
        """Open a connection that is only used to read, and leaves the database as it is.

        Raises:
            DatabaseUnavailableError: the database cannot be reached or opened.
        """
        return self.engine.connect()

    def driver_variables(self) -> dict[str, str]:
        """Return the environment variables that the driver looks at, with the names of their parameters."""
        return {}

    def find_password(self, user: str, dbname: str) -> str | None:
        """Return the password that the password file holds for a user of a database, None if there is none.

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
        """Let the statements in the `with` block see the database as it is at one moment, and only read.

        The connection must be in no transaction.

        Raises:
            DatabaseError: the database refused a statement in the block.
        """

    @abstractmethod
    def read_only(
        self, seconds: float, *, as_superuser: bool = False, own_sql: bool = False
    ) -> AbstractContextManager[None]:
        """Let the database refuse all but queries in the `with` block, whatever the text of the statements says.

        The connection must be in no transaction; the block is one of its own, or none, and leaves no trace.

        Args:
            seconds: how long a statement may take, more than 0.
            as_superuser: whether the statements of a superuser keep all rights, where the database has superusers.
                Default False: they have the rights of a role that may only read.
            own_sql: whether the statements are the program's own and not the user's. They may then be executed by a
                superuser without such a role, if the database has none. Default False.

        Raises:
            ReadOnlyDatabaseError: a statement in the block would change something, or could execute code with which
                another user can take on the rights of a superuser.
            StatementTimeoutError: a statement in the block took too long.
            DatabaseError: the database refused a statement for another reason, or a transaction is open.
        """

    def ask_together(self, questions: Sequence[Question], *, are_last: bool = False) -> list[Any]:
        """Execute queries inside of `read_only`, over a network in as few round trips as possible.

        Args:
            questions: the queries.
            are_last: whether the block asks nothing after these, so that it can end with them; default False.

        Returns:
            A cursor for each, in their order.
        """
        return [
            self.connection.execute(sql, tuple(parameters)) if parameters else self.connection.execute(sql)
            for sql, parameters in questions
        ]

    def columns_question(self, table: str) -> Question | None:
        """Return the query for names and SQL types of a table's columns, None if it takes more than a query."""
        return None

    def facts_question(self, metric: str) -> Question | None:
        """Return the query for what decides how best values of a metric are found, None if that takes no query.

        Its answer goes to `take_facts`. Otherwise the statement that finds them makes a round trip to ask.
        """
        return None

    def take_facts(self, metric: str, answer: Any) -> None:
        """Take the cursor with the answer to `facts_question`, for statements on this connection."""
        return

    def refuse_foreign_code(self, tables: Iterable[str]) -> None:
        """Make sure that other users cannot take on the rights of a superuser when that reads tables.

        The connection must be in no transaction. There is nothing to do where the database has no users.

        Args:
            tables: names of the tables; those that do not exist are left out.

        Raises:
            ReadOnlyDatabaseError: they can, because the tables are views that call functions, for example.
        """
        return

    def interruptible(self) -> AbstractContextManager[None]:
        """Let Ctrl-C end a statement in the `with` block, and not only what comes after it."""
        return contextlib.nullcontext()

    def fail_fast_on_locks(self) -> None:
        """Make the open transaction fail instead of waiting for row locks, if the database has them.

        Background work calls this before its first change, so that in a deadlock it is the one that is aborted.
        """
        return

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
        words = [
            word for word in keywords(statement, self.engine.dialect) if word not in ("TEMP", "TEMPORARY", "UNIQUE")
        ]
        is_definition = words[0] in ("CREATE", "ALTER", "DROP")
        return " ".join(words[: 2 if is_definition else 1]) + (f" {count}" if count >= 0 else "")

    def watch_notices(self, notify: Callable[[str], None]) -> None:
        """Call `notify` with each notice or warning that the server sends; not every database sends any."""
        return

    # What there is

    @abstractmethod
    def identity(self) -> str:
        """Return a text that two connections have in common if and only if they lead to the same tables."""

    @abstractmethod
    def python_types(self, table: str) -> dict[str, type]:
        """Return the Python type of the values in each of a table's columns, apart from those of unknown type.

        The type is what a column is declared to hold, unless the database lets it hold more, and it does.
        """

    @abstractmethod
    def index_names(self, table: str) -> set[str]:
        """Return the names of a table's indexes that are in use."""

    @abstractmethod
    def column_usage(self, table: str) -> tuple[int, int]:
        """Return how many columns of a table count, and how many the database allows."""

    @abstractmethod
    def row_estimate(self, table: str) -> int | None:
        """Return how many rows the database believes a table to have, None if it has no idea."""

    @abstractmethod
    def table_bytes(self, table: str) -> int | None:
        """Return the size of a table with its indexes, None if that cannot be told quickly."""

    @abstractmethod
    def checks(self, *, full: bool) -> Checks:
        """Return the checks that only this database needs, by name.

        Args:
            full: whether to look at everything, however long it takes.
        """

    @abstractmethod
    def json_keys_sql(self, column: str) -> str:
        """Return an item of a FROM clause: `item` with the column `key`, the top-level keys of a JSON `column`."""

    def json_value_sql(self, column: str, name: str, typ: type) -> str:
        """Return an expression: the value of a top-level key of a JSON column, to compare with values of a type.

        Args:
            column: the column, as it stands in a statement.
            name: the key.
            typ: bool, int or float for truth values and numbers, any other for texts.
        """
        text = f"{column}->>{quote_text(name)}"
        sql_type = {bool: "BOOLEAN", int: "DOUBLE PRECISION", float: "DOUBLE PRECISION"}.get(typ)
        return text if sql_type is None else f"CAST({text} AS {sql_type})"

    # Changes; every statement of the connection must commit by itself

    @abstractmethod
    def reclaim_space(self) -> None:
        """Give back the space of deleted rows."""

    @abstractmethod
    def rename_metric(self, name: str, new_name: str) -> bool:
        """Rename the column of a metric, without making others wait for long.

        Returns:
            False if the table stayed locked for some time, so that nothing was done.
        """

    @abstractmethod
    def drop_empty_metric(self, name: str) -> bool:
        """Drop the column of a metric unless it holds values, without making others wait for long.

        Returns:
            False if it holds values, or if the table stayed locked for some time.
        """

    def move_pending(self, limit: int) -> int:
        """Move up to `limit` rows that wait in `pending_table`, if there is one, to `extras`, and return how many."""
        return 0

    def encrypt_password(self, user: str, password: str) -> str:
        """Return a user's password in the form in which the server keeps it, or can keep it if there is no connection.

        Raises:
            ConfigError: the database has no users.
        """
        raise ConfigError(f"engine {self.engine.name!r} has no users, and no passwords")
