"""Cancel PostgreSQL statements that take too long, from the client."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

__all__ = ["Clock", "keeping_time"]

# Seconds to wait for the server's own timeout, which has the same limit.
_GRACE = 0.25

# Seconds that a cancel request may take, and then the statement, before the connection is cut.
_CANCEL_TIMEOUT = 2.0
_LAST_GRACE = 3.0


class Clock:
    """Cancels the statements of a connection after a timeout.

    Args:
        connection: the connection.
        seconds: timeout of a statement.

    Attributes:
        seconds: timeout of a statement.
    """

    def __init__(self, connection: psycopg.Connection[Any], seconds: float) -> None:
        self.seconds = seconds
        self._connection = connection
        self._changed = threading.Condition()
        self._is_stopped = False
        self._has_cut = False
        self._begin = time.monotonic()
        self._statements = 1

    def begin(self, statements: int = 1) -> None:
        """Restart the clock, for one statement or for several that are sent together."""
        # Wait for a cancel request that is on its way, or it would hit the new statement.
        with self._changed:
            self._begin = time.monotonic()
            self._statements = statements

    def stop(self) -> None:
        """Stop watching."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()

    def has_ended(self, error: psycopg.Error) -> bool:
        """Return whether a statement failed with `error` because it took too long."""
        is_late = time.monotonic() - self._begin >= self.seconds
        return self._has_cut or (is_late and isinstance(error, psycopg.errors.QueryCanceled))

    def watch(self) -> None:
        """Cancel statements that take too long, until `stop` is called."""
        with self._changed:
            while not self._is_stopped:
                left = self._begin + self.seconds * self._statements + _GRACE - time.monotonic()
                if left > 0:
                    self._changed.wait(left)
                elif self._is_active():
                    self._end(self._begin)
                else:
                    self._changed.wait(_GRACE)

    def _end(self, begin: float) -> None:
        with contextlib.suppress(psycopg.Error):
            self._connection.cancel_safe(timeout=_CANCEL_TIMEOUT)
        self._changed.wait_for(lambda: self._is_stopped or self._begin != begin, _LAST_GRACE)
        if self._begin == begin and not self._is_stopped and self._is_active():
            self._cut()

    def _is_active(self) -> bool:
        return self._connection.info.transaction_status == psycopg.pq.TransactionStatus.ACTIVE

    def _cut(self) -> None:
        """Cut the connection, so that the thread that waits for the server wakes up."""
        self._has_cut = True
        with contextlib.suppress(OSError, psycopg.Error):
            # Copy the descriptor: psycopg closes its own.
            copy = socket.fromfd(self._connection.fileno(), socket.AF_INET, socket.SOCK_STREAM)
            with copy:
                copy.shutdown(socket.SHUT_RDWR)


@contextmanager
def keeping_time(connection: psycopg.Connection[Any], seconds: float) -> Iterator[Clock]:
    """Return a context manager that cancels statements that take longer than `seconds`.

    The server has the same limit. But a statement can lift it for the next one, and the server may not respond.
    """
    clock = Clock(connection, seconds)
    thread = threading.Thread(target=clock.watch, name="sqltrack-time-limit", daemon=True)
    thread.start()
    try:
        yield clock
    finally:
        clock.stop()
        thread.join()
