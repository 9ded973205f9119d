"""A psycopg connection that stops waiting when the server no longer answers."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType, TracebackType
from typing import Any, Protocol

import psycopg
from psycopg import waiting

from sqltrack.engines.postgres._pooler import LOST_STATEMENT_ERRORS, stop_preparing

__all__ = ["Backend", "Bound", "BoundedConnection", "Savepoint", "SilentServerError", "is_readable"]

# Seconds between two checks of the clock and of signals while the server is silent.
_INTERVAL = 0.1

# Seconds to wait for a cancel request, and again for the statement to end; and less if the statement has a limit.
_CANCEL_TIMEOUT = 2.0
_BRIEF_CANCEL_TIMEOUT = 0.5

# Seconds between two probes whether the server still works on a statement, at most.
_LONGEST_PAUSE = 60.0

# A single probe may fail because the statement has just ended or a packet got lost.
_FAILURES = 2

# Not the wait function in C: when signals interrupt it, it starts again without running their handlers, so that a timer
# with a shorter period than the interval suspends all time limits. Some versions do not report timeouts, either.
_wait: Any = waiting.wait_poll if hasattr(select, "poll") else waiting.wait_selector

# States of a socket: awaited by an operation, and reported to it.
_READ = int(waiting.WAIT_R)
_READABLE = int(waiting.READY_R)

_ACTIVE = psycopg.pq.TransactionStatus.ACTIVE


class SilentServerError(psycopg.OperationalError):
    """The server did not answer, so the connection was closed.

    Args:
        seconds: how long the server was silent.

    Attributes:
        seconds: how long the server was silent.
    """

    def __init__(self, seconds: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.args = (seconds,)
        self.seconds: float = seconds

    def __str__(self) -> str:
        return f"the server did not answer for {self.seconds:.3g} s"


class Backend(Protocol):
    """The server process of a connection, reached over a second connection and in bounded time."""

    def is_working(self, connection: BoundedConnection) -> bool:
        """Return whether the server works on the statement of a connection."""

    def cancel(self, connection: BoundedConnection, seconds: float) -> None:
        """Ask the server to cancel the statement of a connection, within about `seconds`."""


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that limits how long it waits for the server.

    TCP does not notice a frozen server, nor a network that drops packets after acknowledging them. A wait ends after
    `limit` seconds of silence. Without a limit, it continues while the `backend` works on the statement, which is
    probed after `probe_interval` seconds for the first time and then less and less often.

    At the end of such a wait, the connection closes and raises `SilentServerError`.

    Attributes:
        limit: limit in seconds, None for statements of any length; see `Bound`.
        short_limit: limit of commit and rollback in seconds, default 30.
        probe_interval: seconds of silence before the backend is probed, default 10.
        process_id: pid of the server process, as reported when the connection was opened, 0 if unknown.
        backend: the server process of the connection; without one, only limits end a wait.
        may_copy: whether the user may create temporary tables; True until the server refuses.
        metric_facts: known facts about metrics, see `Admin.take_facts`.
        plain_cursor_factory: class of the cursor that `write` keeps, psycopg's own or one that chooses a schema.
    """

    limit: float | None = None
    short_limit: float = 30.0
    probe_interval: float = 10.0
    process_id: int = 0
    backend: Backend | None = None
    may_copy: bool = True
    metric_facts: Mapping[str, Sequence[Any] | None] = MappingProxyType({})
    plain_cursor_factory: type[psycopg.Cursor[Any]] = psycopg.Cursor
    _plain_cursor: Any = None
    _poll: Callable[[float], Any] | None = None

    def wait(self, gen: Any, interval: float = _INTERVAL, timeout: float | None = None) -> Any:
        """Wait for an operation of psycopg. All waits go through here, except while connecting."""
        awaited = None
        try:
            if timeout is None:
                # Most answers come at once and in one piece, so watch only after that.
                try:
                    awaited = next(gen)
                    if awaited == _READ:
                        # A new function for each wait would take longer.
                        poll = self._poll
                        if poll is None:
                            poll = self._poll = _poll_function(self.pgconn.socket)
                        if poll(interval * 1000):
                            awaited = gen.send(_READABLE)
                except StopIteration as end:
                    return end.value
            return self._wait_watched(_Watched(gen, self, awaited), interval, timeout)
        except KeyboardInterrupt:
            if self.pgconn.transaction_status == _ACTIVE:
                self._end_statement(gen)
            raise

    @property
    def plain_cursor(self) -> Any:
        """A cursor that is kept and reused, for statements that need no conversions."""
        cursor = self._plain_cursor
        if cursor is None:
            cursor = self._plain_cursor = self.plain_cursor_factory(self)
        return cursor

    def write(self, sql: str, values: Sequence[Any]) -> None:
        """Execute a statement that returns no rows, with values of psycopg's types."""
        cursor = self._plain_cursor or self.plain_cursor
        try:
            cursor.execute(sql, values)
        except LOST_STATEMENT_ERRORS as error:
            if not stop_preparing(self, error):
                raise
            cursor.execute(sql, values)

    def close(self) -> None:
        """Close the connection and drop its cursor, because only the garbage collector could free the cycle."""
        self._plain_cursor = None
        super().close()

    def commit(self) -> None:
        """Commit, waiting at most `short_limit` seconds for the server."""
        with Bound(self, self.short_limit):
            super().commit()

    def rollback(self) -> None:
        """Roll back, waiting at most `short_limit` seconds for the server."""
        with Bound(self, self.short_limit):
            super().rollback()

    def cancel(self) -> None:
        """Ask the server to cancel the current statement, within a few seconds."""
        if psycopg.capabilities.has_cancel_safe():
            self.cancel_safe(timeout=_CANCEL_TIMEOUT)
        elif self.backend is not None and self._should_cancel():
            # An older libpq blocks all threads until the server answers.
            self.backend.cancel(self, _CANCEL_TIMEOUT)

    def give_up(self) -> None:
        """Close the connection at once, even in the middle of a statement."""
        with contextlib.suppress(OSError, psycopg.Error):
            _shut_down(self.pgconn.socket)
        self.pgconn.finish()

    def _wait_watched(self, watched: Any, interval: float, timeout: float | None) -> Any:
        interval = interval if self.limit is None else min(interval, self.limit)
        # Older versions lack this parameter.
        options = () if timeout is None else (timeout,)
        return _wait(watched, self.pgconn.socket, interval, *options)

    def _end_statement(self, gen: Any) -> None:
        """Cancel a statement that Ctrl-C interrupted, or give up the connection."""
        seconds = _CANCEL_TIMEOUT if self.limit is None else _BRIEF_CANCEL_TIMEOUT
        try:
            self.cancel_safe(timeout=seconds)
            with Bound(self, seconds):
                self._wait_watched(_Watched(gen, self), _INTERVAL, None)
        except psycopg.errors.QueryCanceled:
            pass
        except BaseException as error:
            self.give_up()
            # The caller must see this interruption, or the second one.
            if not isinstance(error, Exception):
                raise


class Savepoint:
    """A context manager that undoes only its block when that raises, so that the transaction can continue.

    Args:
        connection: the connection of the transaction.
    """

    __slots__ = ("_connection",)

    def __init__(self, connection: BoundedConnection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._execute(b"SAVEPOINT sqltrack")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._execute(b"RELEASE SAVEPOINT sqltrack")
            return
        if self._connection.lock.locked():
            # A signal handler raised before psycopg released the lock; waiting for it would never end.
            self._connection.give_up()
            return
        with contextlib.suppress(psycopg.Error):
            self._execute(b"ROLLBACK TO SAVEPOINT sqltrack")
            self._execute(b"RELEASE SAVEPOINT sqltrack")

    def _execute(self, sql: bytes) -> None:
        self._connection.plain_cursor.execute(sql, prepare=False)


class Bound:
    """A context manager that limits each wait for the server; an outer `Bound` with a lower limit still applies.

    Args:
        connection: the connection.
        seconds: limit of each wait, in seconds.
    """

    __slots__ = ("_connection", "_outer", "_seconds")

    def __init__(self, connection: BoundedConnection, seconds: float) -> None:
        self._connection = connection
        self._seconds = seconds
        self._outer: float | None = None

    def __enter__(self) -> None:
        outer = self._outer = self._connection.limit
        if outer is None or self._seconds < outer:
            self._connection.limit = self._seconds

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.limit = self._outer


class _Watched:
    """Wraps the generator of a psycopg operation and checks the clock while its socket is not ready.

    It is not a generator itself, so that a signal handler that raises in here does not end the operation.

    Args:
        operation: the generator, to which the state of the socket is sent.
        connection: its connection.
        awaited: state of the socket that a started operation waits for.
    """

    __slots__ = (
        "_awaited",
        "_connection",
        "_failures",
        "_limit",
        "_next_probe",
        "_operation",
        "_pause",
        "_silent_since",
    )

    def __init__(self, operation: Any, connection: BoundedConnection, awaited: Any = None) -> None:
        self._operation = operation
        self._awaited = awaited
        self._connection = connection
        self._limit = connection.limit
        # Unknown until the first wait.
        self._silent_since = -1.0

    def __iter__(self) -> _Watched:
        return self

    def __next__(self) -> Any:
        return next(self._operation) if self._awaited is None else self._awaited

    def send(self, ready: Any) -> Any:
        """Send the state of the socket to the operation: the events for which it is ready, 0 for none."""
        if ready:
            self._silent_since = -1.0
        else:
            self._watch(time.monotonic())
        return self._operation.send(ready)

    def _watch(self, now: float) -> None:
        if self._silent_since < 0:
            self._silent_since = now - _INTERVAL
            self._failures = 0
            self._pause = self._connection.probe_interval
            self._next_probe = self._silent_since + self._pause
        if self._limit is not None:
            if now - self._silent_since >= self._limit:
                self._give_up(now)
        elif self._connection.backend is not None and now >= self._next_probe:
            self._probe(self._connection.backend)

    def _probe(self, backend: Backend) -> None:
        if backend.is_working(self._connection):
            self._failures = 0
            self._pause = min(self._pause * 2, max(_LONGEST_PAUSE, self._pause))
        else:
            self._failures += 1
            self._pause = self._connection.probe_interval
        now = time.monotonic()
        if self._failures >= _FAILURES and not is_readable(self._connection.pgconn.socket):
            self._give_up(now)
        self._next_probe = now + self._pause

    def _give_up(self, now: float) -> None:
        self._connection.give_up()
        raise SilentServerError(now - self._silent_since)


def is_readable(fd: int, seconds: float = 0) -> bool:
    """Return whether a socket becomes readable within `seconds`."""
    return bool(_poll_function(fd)(seconds * 1000))


def _poll_function(fd: int) -> Callable[[float], Any]:
    """Return a function that waits for some milliseconds until a socket is readable, and returns a true value if so."""
    if hasattr(select, "poll"):  # pragma: no branch - Windows
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        return poll.poll
    return lambda milliseconds: select.select([fd], [], [], milliseconds / 1000)[0]  # pragma: no cover - Windows


def _shut_down(fd: int) -> None:
    """Shut down a socket, so that the server sees its end even if forked children hold it open."""
    with socket.socket(fileno=os.dup(fd)) as duplicate:
        duplicate.shutdown(socket.SHUT_RDWR)
