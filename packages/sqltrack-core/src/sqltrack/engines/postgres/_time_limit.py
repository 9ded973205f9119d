"""Cancel statements of PostgreSQL that take too long, from the client."""

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

# Seconds by which the server, which has the same limit, may be late.
_GRACE = 0.25

# Seconds that a cancel request may take, and a statement after it, before the connection is cut.
_CANCEL_TIMEOUT = 2.0
_LAST_GRACE = 3.0


class Clock:
    """How long the statements of a connection may take, and when the last one began.

    Args:
        connection: the connection.
        seconds: how long a statement may take.

    Attributes:
        seconds: the same.
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
        """Start anew, for a statement or for several that are sent together."""
        # Waits while a cancel request is on its way, which would hit the new statement.
        with self._changed:
            self._begin = time.monotonic()
            self._statements = statements

    def stop(self) -> None:
        """End the watch."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()

    def has_ended(self, error: psycopg.Error) -> bool:
        """Return whether a statement failed with `error` because it took too long."""
        is_late = time.monotonic() - self._begin >= self.seconds
        return self._has_cut or (is_late and isinstance(error, psycopg.errors.QueryCanceled))

    def watch(self) -> None:
        """End statements that take longer, until `stop` is called."""
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
        """Let the thread that waits for the server see the end of the connection."""
        self._has_cut = True
        with contextlib.suppress(OSError, psycopg.Error):
            # A copy of the descriptor: psycopg closes its own.
            copy = socket.fromfd(self._connection.fileno(), socket.AF_INET, socket.SOCK_STREAM)
            with copy:
                copy.shutdown(socket.SHUT_RDWR)


@contextmanager
def keeping_time(connection: psycopg.Connection[Any], seconds: float) -> Iterator[Clock]:
    """End statements in the `with` block that take longer than `seconds`.

    The server has the same limit, but a statement can lift that for the next one, and a server can be unable to act.
    """
    clock = Clock(connection, seconds)
    thread = threading.Thread(target=clock.watch, name="sqltrack-time-limit", daemon=True)
    thread.start()
    try:
        yield clock
    finally:
        clock.stop()
        thread.join()
