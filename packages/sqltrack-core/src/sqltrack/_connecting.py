"""Open connections in a separate thread, so that a caller can stop waiting."""

from __future__ import annotations

import _thread
import contextlib
import sys
from typing import Any

from sqltrack.engines.engine import Engine
from sqltrack.errors import DatabaseUnavailableError

__all__ = ["connect_within"]


def connect_within(engine: Engine, seconds: float) -> Any:
    """Return a new connection.

    Neither drivers nor file systems keep every time limit, so the caller waits only for a thread. If no thread can be
    started, as at the end of the interpreter, only the driver's own limits apply.

    Args:
        engine: opens the connection.
        seconds: time limit; a connection that opens later is closed.

    Raises:
        DatabaseUnavailableError: the database cannot be reached, or not in this time.
    """
    attempt = _Attempt(engine, seconds)
    try:
        if sys.is_finalizing():
            # Threads that start now never run.
            attempt.run()
        else:
            _thread.start_new_thread(attempt.run, ())
    except RuntimeError:
        attempt.run()
    return attempt.result(seconds)


class _Attempt:
    def __init__(self, engine: Engine, seconds: float) -> None:
        self._engine = engine
        self._seconds = seconds
        self._connection: Any = None
        self._error: BaseException | None = None
        self._done = _thread.allocate_lock()
        self._done.acquire()
        # Acquired by the thread when it is done, or by a caller that gives up before.
        self._is_open = _thread.allocate_lock()

    def run(self) -> None:
        """Connect."""
        try:
            with self._engine.connecting_within(self._seconds):
                self._connection = self._engine.connect()
        except BaseException as error:
            self._error = error
        if self._is_open.acquire(blocking=False):
            self._done.release()
        elif self._connection is not None:
            with contextlib.suppress(Exception):
                self._connection.close()

    def result(self, seconds: float) -> Any:
        """Return the connection, or raise the error that occurred."""
        try:
            is_done = self._done.acquire(timeout=max(seconds, 0))
        except BaseException:
            # Ctrl-C, for example. The thread will close its connection.
            self._give_up()
            raise
        if not is_done and not self._give_up():
            # The connection was opened at the last moment.
            is_done = self._done.acquire()
        if not is_done:
            raise DatabaseUnavailableError(
                f"{self._engine.describe()} cannot be reached: no answer within {seconds:.3g} s"
            )
        error, self._error = self._error, None
        if error is not None:
            raise error
        return self._connection

    def _give_up(self) -> bool:
        return self._is_open.acquire(blocking=False)
