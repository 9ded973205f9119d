"""Close the idle connections of all clients of a process, in one thread that runs only while there are any."""

from __future__ import annotations

import _thread
import contextlib
import time
import weakref
from collections import deque
from typing import Protocol

from sqltrack._logging import get_logger

__all__ = ["Closable", "forget_watching", "stop_watching", "watch"]

# Seconds between two rounds, at least and at most. In each round the thread also checks whether it is still needed.
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0

# Seconds that a fork waits for the thread to close its connection; afterwards the child inherits a half-closed one.
_FORK_PATIENCE = 10.0


class Closable(Protocol):
    """An object with connections to close after they have been idle for too long."""

    def close_idle(self) -> float | None:
        """Close idle connections; return the seconds until the next one may be closed, None if there is none."""


class _Watcher:
    """The thread, and the objects that it watches.

    It uses no locks, on purpose, and no `threading.Thread`, which has some: a signal handler may interrupt any line in
    here, and call the same methods. Each step is a single operation on a deque.
    """

    def __init__(self) -> None:
        self._watched: deque[weakref.ref[Closable]] = deque()
        # Taking the only token gives the right to start the thread, which returns it at its end.
        self._tokens: deque[None] = deque([None], maxlen=1)
        # Held while there is nothing new; releasing it wakes the thread.
        self._news = _thread.allocate_lock()
        self._is_stopped = False

    def watch(self, closable: Closable) -> bool:
        reference = weakref.ref(closable)
        self._watched.append(reference)
        with contextlib.suppress(RuntimeError):
            self._news.release()
        if self._ensure_thread():
            return True
        # Another thread may change the deque meanwhile.
        with contextlib.suppress(ValueError, IndexError):
            self._watched.remove(reference)
        return False

    def stop(self) -> None:
        """Forget everything, and wait for the thread to end."""
        deadline = time.monotonic() + _FORK_PATIENCE
        self._watched.clear()
        self._is_stopped = True
        while not self._tokens and time.monotonic() < deadline:
            with contextlib.suppress(RuntimeError):
                self._news.release()
            time.sleep(0.0005)
        self._is_stopped = False

    def _ensure_thread(self) -> bool:
        """Return False if the thread does not run and cannot be started."""
        try:
            self._tokens.pop()
            _thread.start_new_thread(self._run, ())
        except IndexError:
            return True
        except BaseException as error:
            # Also after Ctrl-C: two threads are better than none.
            self._tokens.append(None)
            # The interpreter is exiting, or the system has no thread left.
            if isinstance(error, RuntimeError):
                return False
            raise
        return True

    def _run(self) -> None:
        try:
            while self._watched and not self._is_stopped:
                pause = self._close_idle()
                if self._watched:
                    self._news.acquire(timeout=pause)
        finally:
            self._tokens.append(None)
        # An object that was added after the last look found no token to take.
        if self._watched and not self._is_stopped:
            self._ensure_thread()

    def _close_idle(self) -> float:
        """Close the idle connections of all objects; return the seconds until the next one may be closed."""
        pause = _LONGEST_PAUSE
        for _ in range(len(self._watched)):
            with contextlib.suppress(IndexError):
                reference = self._watched.popleft()
                seconds = _close_idle(reference)
                if seconds is not None:
                    pause = min(pause, max(seconds, _SHORTEST_PAUSE))
                    self._watched.append(reference)
        return pause


def _close_idle(reference: weakref.ref[Closable]) -> float | None:
    closable = reference()
    if closable is None:
        return None
    try:
        return closable.close_idle()
    except Exception as error:
        # One engine's error must not keep the connections of others open.
        get_logger("client").warning("closing an idle connection failed: %s", error)
        return None


_watcher = _Watcher()


def watch(closable: Closable) -> bool:
    """Call `close_idle` of an object at the times it asks for, until it has nothing more to close.

    Args:
        closable: the object, which is not kept alive. Once it has nothing to close, it is forgotten, and has to be
            watched again later.

    Returns:
        False if no thread can be started, as at the end of the interpreter.
    """
    return _watcher.watch(closable)


def stop_watching() -> None:
    """Stop watching, and end the thread, so that a forked child does not inherit unfinished work."""
    _watcher.stop()


def forget_watching() -> None:
    """Start again in a forked child, which has only the thread that forked."""
    global _watcher
    _watcher = _Watcher()
