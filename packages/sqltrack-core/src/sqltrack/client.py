"""The client: transactions as `with` blocks, and calls that work without one."""

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
from sqltrack.capture._settings import capture_setting, time_column_setting
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
    """The result of a statement, independent of the connection that it came from.

    Attributes:
        description: one sequence for each column, its name first (PEP 249); None if the statement returns no rows.
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
        """Return the next row, or None after the last one."""
        return next(self._rows, None)

    def fetchmany(self, size: int = 1) -> list[Any]:
        """Return the next `size` rows, or as many as are left."""
        return list(itertools.islice(self._rows, size))

    def fetchall(self) -> list[Any]:
        """Return all rows that are left."""
        return list(self._rows)

    def close(self) -> None:
        """Drop the rows that were not fetched."""
        self._rows = iter(())


class Client:
    """Access one database, with the settings of a configuration.

    A client is a context manager. Inside `with client as connection:` all calls of this thread share one connection and
    one transaction, also in nested blocks. The outermost block commits at its end, or rolls back if it ends with an
    exception. Outside of a block, each call uses a transaction of its own.

    Connections are opened when they are needed. While a run is tracked, they are kept until they have been idle for
    `keepalive` seconds. Otherwise blocks, `execute` and its siblings close their connection, and other calls keep it
    for a second at most.

    Threads and asyncio tasks can share a client; each has its own blocks, and so does a generator that opens one. A
    forked child can use its parent's client. Copies and pickles have the same configuration, and connections of their
    own. A pickle holds no password, except when multiprocessing makes it to start a process. An unpickled client looks
    for the password in the config file and the environment.

    Args:
        config: a dict is the whole configuration, without config file or environment. An address ("postgresql://…") or
            the path of a SQLite file, such as "runs.db", names the database, see `sqltrack.config.client_config`. Any
            other path names the config file. Default: the file that `sqltrack.config.find_config_file` finds.
        kwargs: parameters that override all other sources: `engine`, "postgres" (default) or "sqlite"; those of the
            engine; and these:
            `capture`, what to store about the context of runs, default "on", see `sqltrack.capture`;
            `keepalive`, seconds after which an idle connection of a tracked run is closed, default 5;
            `outbox`, "on" (default), "off" or "always": whether calls that write go to a file during an outage, see
            `sqltrack.outbox`;
            `patience`, seconds that such a call waits for the database, default 1;
            `reconnect`, seconds to wait for a server that has no free connection, and to retry calls of a tracked run
            without an outbox during an outage, default 30;
            `time_column`, name of a metric for the time at which a row was logged, default: none.

    Attributes:
        config: the configuration in effect.
        engine: the engine that the configuration chooses.
        metrics: the writer of metrics, see `sqltrack.metrics`.

    Raises:
        ConfigError: (a ValueError) the configuration cannot be used.
        MissingPackageError: the engine needs a package that is not installed.
    """

    def __init__(self, config: dict[str, Any] | str | Path | None = None, **kwargs: Any) -> None:
        self.config: dict[str, Any] = client_config(config, kwargs)
        check_mask_settings(self.config)
        # What to capture of each run that is tracked.
        self._captured = capture_setting(self.config)
        self._source: str | Path | None = None
        if isinstance(config, (str, os.PathLike)) and config_of_address(config) is None:
            # Copies in other processes look here for a password. An address may contain one itself.
            self._source = config
        self.engine: Engine = create_engine(self.config)
        reconnect = number_setting(self.config, "reconnect", _RECONNECT)
        self._session = Session(
            self.engine,
            keepalive=number_setting(self.config, "keepalive", _KEEPALIVE),
            reconnect=reconnect,
            outbox=_outbox_for(self.config, self.engine, reconnect),
        )
        # Engines may look up a type with the client. A weak reference avoids a cycle between client and writer.
        self.metrics: MetricsWriter = MetricsWriter(
            self._session, partial(self.engine.map_type, weakref.proxy(self)), time_column_setting(self.config)
        )
        self._rows = RowWriter(self._session)

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle, (type(self), *portable_config(self.config), self._source)

    def __copy__(self) -> Client:
        return self.__deepcopy__({})

    def __deepcopy__(self, memo: dict[int, Any]) -> Client:
        return _copy(type(self), copy.deepcopy(self.config, memo), self._source)

    # Hidden from type checkers, which find wrong names themselves.
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
        """Return a cursor, for use in a `with` block that works like the client's own."""
        return _CursorBlock(self._session)

    def execute(self, sql: QueryText, parameters: Parameters = ()) -> Result:
        """Execute a statement, and connect if necessary.

        Args:
            sql: the statement, a str or SQL; placeholders are %s or %(name)s with all engines.
            parameters: values for the placeholders, a sequence or a mapping.

        Returns:
            A `Result` with the methods of a cursor. It holds all rows and no longer needs the connection.

        Raises:
            DatabaseError: the database refused the statement.
            UnusableValueError: (a ValueError) the statement or the parameters have the wrong type, or contain text or
                numbers that the database cannot store.
        """
        return self._session.transact(
            lambda connection: Result(
                _execute(connection, *_arguments(sql, parameters, self.engine.dialect, connection))
            )
        )

    def executemany(self, sql: QueryText, seq_of_parameters: Iterable[Parameters]) -> Result:
        """Execute a statement once for each item of `seq_of_parameters`; see `execute`."""
        if not is_instance(seq_of_parameters, Iterable) or is_instance(seq_of_parameters, (str, bytes, Mapping)):
            raise _WrongTypeError(f"seq_of_parameters must be an iterable, got {quote(seq_of_parameters)}")

        def execute(connection: Any) -> Result:
            cursor = connection.cursor()
            text = _text(sql, True, self.engine.dialect, connection)
            cursor.executemany(text, map(_checked_parameters, seq_of_parameters))
            return Result(cursor)

        return self._session.transact(execute)

    def executescript(self, sql_script: QueryText) -> Result:
        """Execute all statements of a script, and connect if necessary; see `execute`.

        A script without a BEGIN of its own is part of the current transaction.
        """
        return self._session.transact(
            lambda connection: Result(
                self.engine.execute_script(connection, _text(sql_script, None, self.engine.dialect, connection))
            )
        )

    def setup(self, *scripts: str | Path | tuple[str, str] | Iterable[str | Path | tuple[str, str]]) -> None:
        """Create SQLTrack's tables, and execute the given SQL scripts that were not executed before.

        The same as `sqltrack.commands.setup`, with a line of output for each script.

        Args:
            scripts: paths of files, or pairs of name and SQL text, in order of execution; or one iterable of these.

        Raises:
            ScriptError: a script failed; the error names the statement, without passwords.
            ValueError: a script is called `base.sql`, two have the same name, or one is neither a path nor a pair.
            OSError: a file cannot be read.
        """
        from sqltrack.commands.setup import setup

        is_list = len(scripts) == 1 and not isinstance(scripts[0], (str, os.PathLike, tuple))
        setup(self, cast("Any", scripts[0] if is_list else scripts))

    def commit(self) -> None:
        """Commit the changes made since the `with` block began, or since the last commit.

        Raises:
            NotConnectedError: (a RuntimeError) this thread is not in a `with` block of the client.
        """
        self._session.end_transaction("commit")

    def rollback(self) -> None:
        """Undo the changes made since the `with` block began, or since the last commit.

        Raises:
            NotConnectedError: (a RuntimeError) this thread is not in a `with` block of the client.
        """
        self._session.end_transaction("rollback")
        self.metrics.invalidate()


class _CursorBlock:
    """A `with` block like the client's own that returns a cursor instead of the connection."""

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
            # If a generator outlives the block around it, its connection is closed already.
            with contextlib.suppress(self._session.engine.driver_error):
                self._cursors.pop().close()
        finally:
            self._session.leave(statement, exc_type)


def _outbox_for(config: dict[str, Any], engine: Engine, reconnect: float) -> Outbox | None:
    settings = outbox_settings(config)
    if settings.mode == "off":
        return None
    # Imported here because programs without an outbox do not need it.
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
    """Return the arguments of `execute`: text without parameters must not be searched for placeholders."""
    if parameters is None or len(_checked_parameters(parameters)) == 0:
        return (_text(sql, None, dialect, connection),)
    return _text(sql, parameters, dialect, connection), parameters


def _text(sql: QueryText, parameters: Any, dialect: Dialect, connection: Any) -> str:
    """Return the text of a statement, ready to execute with `parameters`.

    Raises:
        UnusableValueError: it is not a statement, or contains characters that no database can read.
    """
    if not is_instance(sql, str) and attempt(lambda query: query.as_string, sql) is UNKNOWN:
        raise _WrongTypeError(f"a query must be str or SQL, got {type(sql).__name__!r}")
    text = statement_text(sql, parameters, dialect, connection)
    if "\0" in text or not is_storable_text(text):
        raise UnusableValueError(f"a statement must not hold NUL or lone surrogates, got {quote(text)}")
    return text


def _checked_parameters(parameters: Any) -> Any:
    """Return parameters unchanged.

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
