"""The client: transactions as `with` blocks, and short calls that need none."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from sqltrack._logging import get_logger
from sqltrack.config import load_config
from sqltrack.connections import ConnectionKeeper
from sqltrack.engines import create_engine
from sqltrack.engines.engine import number_setting
from sqltrack.errors import DatabaseUnavailableError, NotConnectedError, TooManyConnectionsError
from sqltrack.metrics import MetricsWriter
from sqltrack.quoting import query_text

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from sqltrack.engines.dbapi import DBAPICursor, Parameters
    from sqltrack.engines.engine import Engine
    from sqltrack.quoting import QueryText

__all__ = ["Client", "Result"]

T = TypeVar("T")

_KEEPALIVE = 5.0
_RECONNECT = 30.0


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
    end, or rolls back if it ends by an exception, and closes the connection. Without such a block every call connects,
    does its work in a transaction of its own, and closes; while a run is tracked, connections are kept for the next
    call instead.

    Threads may share a client, each has blocks of its own. A forked child may go on to use its parent's client.

    Args:
        config: a dict is the whole configuration, nothing else is looked at; a path names the config file; default:
            the file is found by `sqltrack.config.find_config_file`.
        kwargs: parameters that win over those from elsewhere: `engine`, "postgres" (default) or "sqlite"; those of
            the engine; `keepalive`, seconds after which an idle connection of a tracked run is closed, default 5;
            `reconnect`, seconds for which the calls of a tracked run try to reach a database that went away, and
            all calls wait for a server that has no connection left, default 30.

    Attributes:
        config: the configuration in force.
        engine: the engine that it chose.
        metrics: writes metrics, see `sqltrack.metrics`.

    Raises:
        ConfigError: (a ValueError) the configuration cannot be used.
        MissingPackageError: the engine needs a package that is not installed.
    """

    def __init__(self, config: dict[str, Any] | str | Path | None = None, **kwargs: Any) -> None:
        self.config: dict[str, Any] = (
            {**config, **kwargs} if isinstance(config, dict) else load_config(config, **kwargs)
        )
        self.engine: Engine = create_engine(self.config)
        self._keeper = ConnectionKeeper(self.engine, number_setting(self.config, "keepalive", _KEEPALIVE))
        self._reconnect = number_setting(self.config, "reconnect", _RECONNECT)
        self._session = self._keeper.session
        self.metrics: MetricsWriter = MetricsWriter(self)

    def __repr__(self) -> str:
        return f"Client({self.engine!r})"

    def __enter__(self) -> Any:
        session = self._session
        if session.depth == 0:
            session.connection = self._connect()
        # It may have been taken away, and a block that does not begin does not end either.
        connection = self._connection()
        session.depth += 1
        return connection

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        session = self._session
        if session.depth == 0:
            # A forked child leaves a block that its parent has entered, and that is the parent's to end.
            return
        session.depth -= 1
        if session.depth == 0:
            connection, session.connection = session.connection, None
            if connection is None:
                aborted, session.aborted = session.aborted, None
                self._keeper.drop(aborted)
                return
            if exc_type is not None and issubclass(exc_type, KeyboardInterrupt):
                # Ctrl-C may have come in the middle of a statement, after which nothing more can be said.
                self.metrics.forget()
                self._keeper.drop(connection)
                return
            self._end(connection, failed=exc_type is not None)
            self.metrics.settle(at_once=False)

    @contextlib.contextmanager
    def cursor(self) -> Iterator[Any]:
        """Connect if necessary and return a cursor, for use in a `with` block that works like the client's own."""
        with self as connection:
            cursor = connection.cursor()
            try:
                yield cursor
            finally:
                cursor.close()

    def execute(self, sql: QueryText, parameters: Parameters = ()) -> Result:
        """Execute a statement, connecting if necessary.

        Args:
            sql: the statement, a str or SQL; placeholders are %s or %(name)s on all engines.
            parameters: values for the placeholders, a sequence or a mapping.

        Returns:
            A cursor-like `Result`, which holds all rows and does not need the connection any more.

        Raises:
            DatabaseError: the database refused the statement.
        """
        return self._with_connection(
            lambda connection: Result(connection.execute(*_arguments(sql, parameters, connection)))
        )

    def executemany(self, sql: QueryText, seq_of_parameters: Iterable[Parameters]) -> Result:
        """Execute a statement once for each of `seq_of_parameters`; see `execute`."""

        def execute(connection: Any) -> Result:
            cursor = connection.cursor()
            cursor.executemany(query_text(sql, connection), seq_of_parameters)
            return Result(cursor)

        return self._with_connection(execute)

    def executescript(self, sql_script: QueryText) -> Result:
        """Execute all statements of a script, connecting if necessary; see `execute`.

        Without a BEGIN of its own the script is part of the transaction.
        """
        return self._with_connection(
            lambda connection: Result(self.engine.execute_script(connection, query_text(sql_script, connection)))
        )

    def commit(self) -> None:
        """Commit what was done since the `with` block began, or since the last commit.

        Raises:
            NotConnectedError: (a RuntimeError) there is no `with` block in this thread.
        """
        self._end_transaction("commit")

    def rollback(self) -> None:
        """Undo what was done since the `with` block began, or since the last commit.

        Raises:
            NotConnectedError: (a RuntimeError) there is no `with` block in this thread.
        """
        self._end_transaction("rollback")

    # -- for sqltrack's own modules -------------------------------------------------------------------------------

    def call(self, function: Callable[[Any], T], *, patience: float | None = None, once: bool = False) -> T:
        """Call `function(connection)` for one short piece of work.

        Inside of a `with` block it is part of the transaction. Elsewhere each of its statements commits by itself, and
        while a run is tracked a database that went away is tried again.

        Args:
            function: what to do with the connection; it must have the same effect when done twice, unless `once`.
            patience: seconds to try for, default: the setting `reconnect`.
            once: only connecting is tried again, not what failed on a connection.
        """
        if self._session.depth:
            with self._translated_errors():
                return function(self._connection())
        if once:
            return self._use(self._persist(self._keeper.take_usable, patience), function)
        return self._persist(lambda: self._use(self._keeper.take(), function), patience)

    def call_beside(self, function: Callable[[Any], T]) -> T:
        """Do the same outside of a `with` block even if one is open."""
        return self._persist(lambda: self._use(self._keeper.take(), function), None)

    @property
    def in_block(self) -> bool:
        """Whether a `with` block of this client is open in this thread."""
        return self._session.depth > 0

    def track(self, run_id: int) -> None:
        """Keep connections from now on, because a run is tracked."""
        self._keeper.hold(run_id)

    def untrack(self, run_id: int) -> None:
        """Undo `track` for a run."""
        self._keeper.release(run_id)

    def tracks(self, run_id: int) -> bool:
        """Return whether a run is tracked by this client."""
        return self._keeper.holds_for(run_id)

    @contextlib.contextmanager
    def keeping_connections(self) -> Iterator[None]:
        """Keep connections in the `with` block as while a run is tracked, for many calls in a row."""
        key = object()
        self._keeper.hold(key)
        try:
            yield
        finally:
            self._keeper.release(key)

    @contextlib.contextmanager
    def outside_blocks(self) -> Iterator[None]:
        """Let a signal handler work as if no `with` block were open, after rolling back the one that is.

        The interrupted thread may hold the locks of its connection, so that connection is given up.
        """
        session = self._session
        depth, connection = session.depth, session.connection
        session.depth, session.connection = 0, None
        if connection is not None:
            self.engine.abort_within(connection)
            session.aborted = connection
        try:
            yield
        finally:
            session.depth, session.connection = depth, None

    # -------------------------------------------------------------------------------------------------------------

    def _connect(self) -> Any:
        connection = self._persist(self._keeper.take_usable, None)
        self.engine.set_autocommit(connection, False)
        return connection

    def _connection(self) -> Any:
        connection = self._session.connection
        if connection is None:
            raise DatabaseUnavailableError("the transaction was rolled back because the process was told to terminate")
        return connection

    def _persist(self, attempt: Callable[[], T], patience: float | None) -> T:
        """Call `attempt` as often as it takes, if waiting can help.

        It can if the server is busy with others, and while a run is tracked if the database went away.
        """
        deadline = None if patience is None else time.monotonic() + patience
        delay = 0.05
        while True:
            try:
                return attempt()
            except DatabaseUnavailableError as error:
                now = time.monotonic()
                # The first attempt may have taken long to see that its connection is dead; that is not held against it.
                deadline = now + self._reconnect if deadline is None else deadline
                may_wait = self._keeper.parks or isinstance(error, TooManyConnectionsError)
                if not may_wait or now + delay > deadline:
                    raise
                get_logger("client").info("trying to reach the database again: %s", error)
            time.sleep(_jittered(delay))
            delay = min(delay * 2, 1.0)

    def _use(self, connection: Any, function: Callable[[Any], T]) -> T:
        """Call `function(connection)` and give the connection back."""
        try:
            result = function(connection)
        except self.engine.driver_error as error:
            if self.engine.is_usable(connection):
                self._keeper.give_back(connection)
            else:
                self._keeper.drop(connection)
            raise self.engine.translate_error(error) from error
        except BaseException:
            self._keeper.drop(connection)
            raise
        self._keeper.give_back(connection)
        return result

    def _with_connection(self, function: Callable[[Any], T]) -> T:
        with self._translated_errors(), self as connection:
            return function(connection)

    @contextlib.contextmanager
    def _translated_errors(self) -> Iterator[None]:
        try:
            yield
        except self.engine.driver_error as error:
            raise self.engine.translate_error(error) from error

    def _end_transaction(self, action: str) -> None:
        if self._session.depth == 0:
            raise NotConnectedError
        with self._translated_errors():
            getattr(self._connection(), action)()

    def _end(self, connection: Any, *, failed: bool) -> None:
        """End the transaction of the outermost block and give its connection back."""
        if failed:
            self.metrics.forget()
        try:
            connection.rollback() if failed else connection.commit()
            if self._keeper.parks:
                self.engine.set_autocommit(connection, True)
        except self.engine.driver_error as error:
            self._keeper.drop(connection)
            if not failed:
                raise self.engine.translate_error(error) from error
            # The exception that ended the block is what the caller must see.
            get_logger("client").warning("rolling back failed: %s", self.engine.translate_error(error))
        except BaseException:
            self._keeper.drop(connection)
            raise
        else:
            self._keeper.give_back(connection)


def _jittered(delay: float) -> float:
    """Return up to half as much again, so that jobs that failed together do not all come back together."""
    import random

    return delay * random.uniform(1, 1.5)


def _arguments(sql: QueryText, parameters: Parameters, connection: Any) -> tuple[Any, ...]:
    """Return the arguments of `execute`: without parameters the text must not be searched for placeholders."""
    text = query_text(sql, connection)
    return (text, parameters) if parameters else (text,)
