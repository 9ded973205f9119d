"""Do work on connections: in the `with` block of a thread, or in short calls that need none."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from sqltrack._connections import ConnectionKeeper
from sqltrack._logging import get_logger
from sqltrack._retrying import retry
from sqltrack.errors import DatabaseUnavailableError, NotConnectedError, TooManyConnectionsError

if TYPE_CHECKING:
    from types import TracebackType

    from sqltrack.engines.engine import Engine

__all__ = ["Session"]

T = TypeVar("T")


class Session:
    """The work of one client on its database.

    A session is a context manager: the outermost `with` block of a thread is a transaction, see `sqltrack.Client`.
    While a run is tracked, connections are kept for the next piece of work.

    Args:
        engine: opens the connections.
        keepalive: seconds after which an idle connection that is kept is closed.
        reconnect: seconds for which to try again what fails because the database is away.

    Attributes:
        engine: the same.
    """

    def __init__(self, engine: Engine, keepalive: float, reconnect: float) -> None:
        self.engine: Engine = engine
        self._keeper = ConnectionKeeper(engine, keepalive)
        self._blocks = self._keeper.blocks
        self._reconnect = reconnect
        self._after_commit: list[weakref.WeakMethod[Callable[[], object]]] = []
        self._before_rollback: list[weakref.WeakMethod[Callable[[], object]]] = []

    # The transaction of a thread

    def __enter__(self) -> Any:
        blocks = self._blocks
        if blocks.depth == 0:
            blocks.connection = self._connect()
        # It may have been taken away, and a block that does not begin does not end either.
        connection = self._connection()
        blocks.depth += 1
        return connection

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        blocks = self._blocks
        if blocks.depth == 0:
            # A forked child leaves a block that its parent has entered, and that is the parent's to end.
            return
        blocks.depth -= 1
        if blocks.depth:
            return
        connection, blocks.connection = blocks.connection, None
        if connection is None:
            aborted, blocks.aborted = blocks.aborted, None
            self._keeper.drop(aborted)
        elif exc_type is not None and issubclass(exc_type, KeyboardInterrupt):
            # Ctrl-C may have come in the middle of a statement, after which nothing more can be said.
            _call(self._before_rollback)
            self._keeper.drop(connection)
        elif exc_type is not None:
            self._roll_back(connection)
        else:
            self._commit(connection)

    @property
    def in_block(self) -> bool:
        """Whether a `with` block is open in this thread."""
        return self._blocks.depth > 0

    def end_transaction(self, action: str) -> None:
        """Call "commit" or "rollback" of the open block's connection; the block goes on with a new transaction.

        Raises:
            NotConnectedError: there is no `with` block in this thread.
        """
        if not self.in_block:
            raise NotConnectedError
        with self._translated_errors():
            getattr(self._connection(), action)()

    def subscribe(self, *, after_commit: Callable[[], object], before_rollback: Callable[[], object]) -> None:
        """Call methods when a transaction ends, as long as their object lives.

        Args:
            after_commit: called after the outermost block has committed, and given its connection back.
            before_rollback: called before it rolls back.
        """
        self._after_commit.append(weakref.WeakMethod(after_commit))
        self._before_rollback.append(weakref.WeakMethod(before_rollback))

    # Pieces of work

    def transact(self, function: Callable[[Any], T]) -> T:
        """Return `function(connection)`, called in the open block, or else in a transaction of its own."""
        with self._translated_errors(), self as connection:
            return function(connection)

    def call(self, function: Callable[[Any], T], *, patience: float | None = None, once: bool = False) -> T:
        """Return `function(connection)`, called for one short piece of work.

        Inside of a `with` block it is part of the transaction. Elsewhere each of its statements commits by itself, and
        while a run is tracked a database that went away is tried again.

        Args:
            function: what to do with the connection; it must have the same effect when done twice, unless `once`.
            patience: seconds to try for, default: the setting `reconnect`.
            once: only connecting is tried again, not what failed on a connection.
        """
        if self._blocks.depth:
            with self._translated_errors():
                return function(self._connection())
        if once:
            return self._use(self._retry(self._keeper.take_usable, patience), function)
        return self._retry(lambda: self._use(self._keeper.take(), function), patience)

    def call_outside(self, function: Callable[[Any], T]) -> T:
        """Do the same as `call`, but never in the `with` block that may be open."""
        return self._retry(lambda: self._use(self._keeper.take(), function))

    @contextlib.contextmanager
    def outside_blocks(self) -> Iterator[None]:
        """Let a signal handler work as if no `with` block were open, after rolling back the one that is.

        The interrupted thread may hold the locks of its connection, so that connection is given up.
        """
        blocks = self._blocks
        depth, connection = blocks.depth, blocks.connection
        blocks.depth, blocks.connection = 0, None
        if connection is not None:
            self.engine.abort_within(connection)
            blocks.aborted = connection
        try:
            yield
        finally:
            blocks.depth, blocks.connection = depth, None

    # Connections between them

    def track(self, run_id: int) -> None:
        """Keep connections from now on, because a run is tracked."""
        self._keeper.retain(run_id)

    def untrack(self, run_id: int) -> None:
        """Undo `track` for a run."""
        self._keeper.release(run_id)

    def tracks(self, run_id: int) -> bool:
        """Return whether a run is tracked by this client."""
        return self._keeper.retains_for(run_id)

    @contextlib.contextmanager
    def keeping_connections(self) -> Iterator[None]:
        """Keep connections in the `with` block as while a run is tracked, for many calls in a row."""
        key = object()
        self._keeper.retain(key)
        try:
            yield
        finally:
            self._keeper.release(key)

    def _connect(self) -> Any:
        connection = self._retry(self._keeper.take_usable)
        self.engine.set_autocommit(connection, False)
        return connection

    def _connection(self) -> Any:
        connection = self._blocks.connection
        if connection is None:
            raise DatabaseUnavailableError("the transaction was rolled back because the process was told to terminate")
        return connection

    def _commit(self, connection: Any) -> None:
        with self._giving_back(connection), self._translated_errors():
            connection.commit()
            self._prepare_for_calls(connection)
        _call(self._after_commit)

    def _roll_back(self, connection: Any) -> None:
        _call(self._before_rollback)
        try:
            with self._giving_back(connection):
                connection.rollback()
                self._prepare_for_calls(connection)
        except self.engine.driver_error as error:
            # The exception that ended the block is what the caller must see.
            get_logger("client").warning("rolling back failed: %s", self.engine.translate_error(error))

    def _prepare_for_calls(self, connection: Any) -> None:
        if self._keeper.parks:
            self.engine.set_autocommit(connection, True)

    def _retry(self, attempt: Callable[[], T], patience: float | None = None) -> T:
        """Call `attempt` as often as it takes, if waiting can help."""
        if patience is None:
            # It may take long to see that a connection is dead, which does not count.
            try:
                return attempt()
            except DatabaseUnavailableError as error:
                if not self._can_help(error):
                    raise
        seconds = self._reconnect if patience is None else patience
        return retry(attempt, self._can_help, seconds=seconds, pause=0.05, longest=1.0)

    def _can_help(self, error: Exception) -> bool:
        """Return whether waiting helps: the server is busy with others, or was lost while a run is tracked."""
        if not isinstance(error, DatabaseUnavailableError):
            return False
        if not (self._keeper.parks or isinstance(error, TooManyConnectionsError)):
            return False
        get_logger("client").info("trying to reach the database again: %s", error)
        return True

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

    @contextlib.contextmanager
    def _giving_back(self, connection: Any) -> Iterator[None]:
        """Give a connection back at the end of the `with` block, or drop it if that fails."""
        try:
            yield
        except BaseException:
            self._keeper.drop(connection)
            raise
        self._keeper.give_back(connection)

    @contextlib.contextmanager
    def _translated_errors(self) -> Iterator[None]:
        try:
            yield
        except self.engine.driver_error as error:
            raise self.engine.translate_error(error) from error


def _call(methods: list[weakref.WeakMethod[Callable[[], object]]]) -> None:
    for reference in methods:
        method = reference()
        if method is not None:
            method()
