"""Open connections in a thread of its own, which a caller who cannot wait any longer leaves alone."""

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

    Neither a driver nor a file system keeps to every limit, so the caller only waits for the thread. Where no thread
    can be started, as at the end of the interpreter, the driver's own limits have to do.

    Args:
        engine: opens the connection.
        seconds: how long to wait for it. One that comes later is closed.

    Raises:
        DatabaseUnavailableError: the database cannot be reached, or not in this time.
    """
    attempt = _Attempt(engine, seconds)
    try:
        if sys.is_finalizing():
            # Threads that begin now are never executed.
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
        # Taken by the thread when it is done, or by a caller who gives up before.
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
        """Return the connection, or raise what has kept it from being opened."""
        try:
            is_done = self._done.acquire(timeout=max(seconds, 0))
        except BaseException:
            # Ctrl-C, for example. The thread then closes what it opens.
            self._give_up()
            raise
        if not is_done and not self._give_up():
            # It has come at the last moment.
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
