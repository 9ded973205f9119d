"""Run code in the middle of other code of the same thread, as signal handlers and finalizers do."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

from sqltrack import _activity

__all__ = ["count_moments", "interrupt_at"]


def count_moments(function: Callable[[], Any], interrupts: Mapping[int, Callable[[], Any]] | None = None) -> int:
    """Return the number of lines of Python, in any module, between which code can interrupt `function()`.

    Args:
        function: the function to call.
        interrupts: calls that interrupt it, by the number of the line before which they do.
    """
    return _Moments(interrupts or {}).trace(function)


def interrupt_at(moment: int, function: Callable[[], Any], interrupt: Callable[[], Any]) -> bool:
    """Call `function()`, and `interrupt()` before one of the lines that it executes.

    Returns:
        Whether there were that many lines.
    """
    return count_moments(function, {moment: interrupt}) > moment


class _Moments:
    def __init__(self, interrupts: Mapping[int, Callable[[], Any]]) -> None:
        self._interrupts = interrupts
        self._now: Callable[[], Any] | None = None
        self._count = 0

    def trace(self, function: Callable[[], Any]) -> int:
        outer = sys.gettrace()
        before = signal.signal(signal.SIGUSR1, self._interrupt)
        # A cache of handlers may lack this one for a second.
        _activity._handlers.forget()
        sys.settrace(self._see)
        try:
            function()
        finally:
            sys.settrace(outer)
            signal.signal(signal.SIGUSR1, before)
            _release_logging()
        return self._count

    def _interrupt(self, *_: object) -> None:
        assert self._now is not None
        try:
            self._now()
        finally:
            self._now = None

    def _see(self, frame: FrameType, event: str, _argument: Any) -> Any:
        # Do not count lines of the interrupting code.
        if event == "line" and self._now is None:
            self._now = self._interrupts.get(self._count)
            self._count += 1
            if self._now is not None:
                signal.raise_signal(signal.SIGUSR1)
        return self._see


def _release_logging() -> None:
    """Release the locks of logging that this thread still holds, or the next thread that logs would wait for ever.

    Python acquires them before the `try` whose `finally` releases them, so an exception in between leaves them locked.
    """
    handlers = [reference() for reference in logging._handlerList]  # type: ignore[attr-defined]
    for lock in (logging._lock, *(handler.lock for handler in handlers if handler is not None)):  # type: ignore[attr-defined]
        while lock is not None and lock._is_owned():
            lock.release()
