"""The client: transactions as `with` blocks, and short calls that need none."""

from __future__ import annotations

import contextlib
import copy
import itertools
import os
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from sqltrack._copies import ACCESS_ADVICE, portable_config, restored_config
from sqltrack._outbox._settings import outbox_settings
from sqltrack._row_writer import RowWriter
from sqltrack._sessions import Session
from sqltrack._settings import check_mask_settings
from sqltrack._with_statements import WithStatement, current_statement, leaves
from sqltrack.config import client_config, number_setting
from sqltrack.engines import config_of_address, create_engine
from sqltrack.engines._foreign import UNKNOWN, attempt, is_instance
from sqltrack.engines._spelling import quote
from sqltrack.engines.json import is_storable_text
from sqltrack.engines.sqltext import statement_text
from sqltrack.errors import UnusableValueError
from sqltrack.metrics import MetricsWriter

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path
    from types import TracebackType

    from sqltrack._outbox._outbox import Outbox
    from sqltrack._quoting import QueryText
    from sqltrack.engines._tokenizer import Dialect
    from sqltrack.engines.dbapi import DBAPICursor, Parameters
    from sqltrack.engines.engine import Engine

__all__ = ["Client", "Result"]

_KEEPALIVE = 5.0
_RECONNECT = 30.0


class _WrongTypeError(UnusableValueError, TypeError):
    """an argument of a query has the wrong type"""


class Result:
    """What a query returned, independent of the connection that it came from.

    Attributes:
        description: one sequence for each column, its name first (PEP 249), None if the statement returns no rows.
        rowcount: number of rows that the statement returned or changed, -1 if that is not known.
    """

    def __init__(self, cursor: DBAPICursor) -> None:
        self.description: Sequence[Any] | None = cursor.description
        rows = cursor.fetchall() if self.description is not None else []
        self.rowcount: int = len(rows) if self.description is not None else cursor.rowcount
        self._rows = iter(rows)

    def __iter__(self) -> Iterator[Any]:
        return self._rows

    def fetchone(self) -> Any:
        """Return the next row, None if there is none."""
        return next(self._rows, None)

    def fetchmany(self, size: int = 1) -> list[Any]:
        """Return up to `size` further rows."""
        return list(itertools.islice(self._rows, size))

    def fetchall(self) -> list[Any]:
        """Return all further rows."""
        return list(self._rows)

    def close(self) -> None:
        """Forget the rows that were not fetched."""
        self._rows = iter(())


class Client:
    """Connects to the database that a configuration names.

    A client is a context manager: inside of `with client as connection:` there is one connection and one transaction
    for all that uses the client in this thread, however deep blocks are nested. The outermost block commits at its
    end, or rolls back if it ends by an exception, and closes the connection. Without such a block every call connects
    if necessary, and does its work in a transaction of its own. Connections are kept for the next call while a run is
    tracked; elsewhere for a second at most, and not after `execute` and the like.

    Threads and asyncio tasks may share a client, each has blocks of its own; so has a generator that opens a block. A
    forked child may go on to use its parent's client. Copies, also those that were pickled, have the same
    configuration and connections of their own. A pickle holds no password, unless multiprocessing makes it to start a
    process; its copy looks for the password in the config file and the environment.

    Args:
        config: a dict is the whole configuration, nothing else is looked at; "postgresql://…" and the path of a SQLite
            file, such as "runs.db", name the database, see `sqltrack.config.client_config`; any other path names the
            config file; default: the file is found by `sqltrack.config.find_config_file`.
        kwargs: parameters that win over those from elsewhere: `engine`, "postgres" (default) or "sqlite"; those of
            the engine; `keepalive`, seconds after which an idle connection of a tracked run is closed, default 5.
            Without a tracked run it is closed after a second at most;
            `outbox`, "on" (default), "off" or "always": whether calls that write go to a file while the database is
            away, see `sqltrack.outbox`; `patience`, seconds that such a call waits for the database, default 1;
            `reconnect`, seconds for which the calls of a tracked run without an outbox try to reach a database that
            went away, and for which a server that has no connection left is waited for, default 30.

    Attributes:
        config: the configuration in force.
        engine: the engine that it chose.
        metrics: writes metrics, see `sqltrack.metrics`.

    Raises:
        ConfigError: (a ValueError) the configuration cannot be used.
        MissingPackageError: the engine needs a package that is not installed.
    """

    def __init__(self, config: dict[str, Any] | str | Path | None = None, **kwargs: Any) -> None:
        self.config: dict[str, Any] = client_config(config, kwargs)
        check_mask_settings(self.config)
        self._source: str | Path | None = None
        if isinstance(config, (str, os.PathLike)) and config_of_address(config) is None:
            # Where a copy in another process looks for a password. An address may hold one itself.
            self._source = config
        self.engine: Engine = create_engine(self.config)
        reconnect = number_setting(self.config, "reconnect", _RECONNECT)
        self._session = Session(
            self.engine,
            keepalive=number_setting(self.config, "keepalive", _KEEPALIVE),
            reconnect=reconnect,
            outbox=_outbox_for(self.config, self.engine, reconnect),
        )
        # Engines may ask the database for a type, so they get the client, to which the writer must not refer itself.
        self.metrics: MetricsWriter = MetricsWriter(self._session, partial(self.engine.map_type, weakref.proxy(self)))
        self._rows = RowWriter(self._session)

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle, (type(self), *portable_config(self.config), self._source)

    def __copy__(self) -> Client:
        return self.__deepcopy__({})

    def __deepcopy__(self, memo: dict[int, Any]) -> Client:
        return _copy(type(self), copy.deepcopy(self.config, memo), self._source)

    # Hidden from type checkers, which find wrong names by themselves.
    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            from sqltrack._habits import missing_attribute

            raise missing_attribute(self, name)

    def __repr__(self) -> str:
        return f"Client({self.engine!r})"

    def __enter__(self) -> Any:
        return self._session.enter(current_statement(self))

    @leaves
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        *,
        statement: WithStatement | None = None,
    ) -> None:
        self._session.leave(statement, exc_type)

    def cursor(self) -> AbstractContextManager[Any]:
        """Connect if necessary and return a cursor, for use in a `with` block that works like the client's own."""
        return _CursorBlock(self._session)

    def execute(self, sql: QueryText, parameters: Parameters = ()) -> Result:
        """Execute a statement, connecting if necessary.

        Args:
            sql: the statement, a str or SQL; placeholders are %s or %(name)s on all engines.
            parameters: values for the placeholders, a sequence or a mapping.

        Returns:
            A cursor-like `Result`, which holds all rows and does not need the connection any more.

        Raises:
            DatabaseError: the database refused the statement.
            UnusableValueError: (a ValueError) the statement or the parameters are of another kind, or hold texts or
                numbers that the database cannot.
        """
        return self._session.transact(
            lambda connection: Result(
                _execute(connection, *_arguments(sql, parameters, self.engine.dialect, connection))
            )
        )

    def executemany(self, sql: QueryText, seq_of_parameters: Iterable[Parameters]) -> Result:
        """Execute a statement once for each of `seq_of_parameters`; see `execute`."""
        if not is_instance(seq_of_parameters, Iterable) or is_instance(seq_of_parameters, (str, bytes, Mapping)):
            raise _WrongTypeError(f"seq_of_parameters must be an iterable, got {quote(seq_of_parameters)}")

        def execute(connection: Any) -> Result:
            cursor = connection.cursor()
            text = _text(sql, True, self.engine.dialect, connection)
            cursor.executemany(text, map(_checked_parameters, seq_of_parameters))
            return Result(cursor)

        return self._session.transact(execute)

    def executescript(self, sql_script: QueryText) -> Result:
        """Execute all statements of a script, connecting if necessary; see `execute`.

        Without a BEGIN of its own the script is part of the transaction.
        """
        return self._session.transact(
            lambda connection: Result(
                self.engine.execute_script(connection, _text(sql_script, None, self.engine.dialect, connection))
            )
        )

    def setup(self, *scripts: str | Path | tuple[str, str] | Iterable[str | Path | tuple[str, str]]) -> None:
        """Create the tables of SQLTrack, and execute SQL scripts that were not executed before.

        Does the same as `sqltrack.commands.setup`, and prints a line for each script.

        Args:
            scripts: paths of files, or pairs of name and SQL text, in the order of execution; or one iterable of these.

        Raises:
            ScriptError: a script failed; the error names the statement, without passwords.
            ValueError: a script is called `base.sql`, or two have the same name, or one is neither a path nor a pair.
            OSError: a file cannot be read.
        """
        from sqltrack.commands.setup import setup

        is_list = len(scripts) == 1 and not isinstance(scripts[0], (str, os.PathLike, tuple))
        setup(self, cast("Any", scripts[0] if is_list else scripts))

    def commit(self) -> None:
        """Commit what was done since the `with` block began, or since the last commit.

        Raises:
            NotConnectedError: (a RuntimeError) there is no `with` block in this thread.
        """
        self._session.end_transaction("commit")

    def rollback(self) -> None:
        """Undo what was done since the `with` block began, or since the last commit.

        Raises:
            NotConnectedError: (a RuntimeError) there is no `with` block in this thread.
        """
        self._session.end_transaction("rollback")
        self.metrics.invalidate()


class _CursorBlock:
    """Makes a `with` block like the client's own, with a cursor instead of the connection."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._cursors: list[Any] = []

    def __enter__(self) -> Any:
        cursor = self._session.enter(current_statement(self)).cursor()
        self._cursors.append(cursor)
        return cursor

    @leaves
    def __exit__(
        self, exc_type: type[BaseException] | None, *_: object, statement: WithStatement | None = None
    ) -> None:
        try:
            # Its connection is closed already if a generator outlives the block around it.
            with contextlib.suppress(self._session.engine.driver_error):
                self._cursors.pop().close()
        finally:
            self._session.leave(statement, exc_type)


def _outbox_for(config: dict[str, Any], engine: Engine, reconnect: float) -> Outbox | None:
    settings = outbox_settings(config)
    if settings.mode == "off":
        return None
    # Of no use to programs that do without.
    from sqltrack._outbox._outbox import outbox_for

    return outbox_for(config, engine, settings, reconnect)


def _copy(cls: type[Client], config: dict[str, Any], source: str | Path | None) -> Client:
    client = cls.__new__(cls)
    Client.__init__(client, config)
    client._source = source
    return client


def _unpickle(cls: type[Client], config: dict[str, Any], lacks_password: bool, source: str | Path | None) -> Client:
    client = _copy(cls, restored_config(config, source) if lacks_password else config, source)
    if lacks_password and client.config == config:
        client.engine.access_advice = ACCESS_ADVICE
    return client


def _arguments(sql: QueryText, parameters: Parameters, dialect: Dialect, connection: Any) -> tuple[Any, ...]:
    """Return the arguments of `execute`: without parameters the text must not be searched for placeholders."""
    if parameters is None or len(_checked_parameters(parameters)) == 0:
        return (_text(sql, None, dialect, connection),)
    return _text(sql, parameters, dialect, connection), parameters


def _text(sql: QueryText, parameters: Any, dialect: Dialect, connection: Any) -> str:
    """Return a statement as the text to execute with parameters.

    Raises:
        UnusableValueError: it is not a statement, or no database can read its characters.
    """
    if not is_instance(sql, str) and attempt(lambda query: query.as_string, sql) is UNKNOWN:
        raise _WrongTypeError(f"a query must be str or SQL, got {type(sql).__name__!r}")
    text = statement_text(sql, parameters, dialect, connection)
    if "\0" in text or not is_storable_text(text):
        raise UnusableValueError(f"a statement must not hold NUL or lone surrogates, got {quote(text)}")
    return text


def _checked_parameters(parameters: Any) -> Any:
    """Return parameters as they are.

    Raises:
        UnusableValueError: they are neither a sequence nor a mapping.
    """
    if is_instance(parameters, (str, bytes)) or not is_instance(parameters, (Sequence, Mapping)):
        raise _WrongTypeError(f"parameters must be a sequence or a mapping, got {quote(parameters)}")
    return parameters


def _execute(connection: Any, text: str, *parameters: Any) -> Any:
    try:
        return connection.execute(text, *parameters)
    except UnicodeEncodeError:
        raise UnusableValueError(f"a parameter must not hold lone surrogates, got {quote(parameters[0])}") from None
    except (TypeError, OverflowError, RecursionError) as error:
        raise _WrongTypeError(f"the parameters cannot be bound: {error}") from error
