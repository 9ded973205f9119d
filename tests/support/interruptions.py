"""Code that runs in the middle of other code of the same thread, as handlers of signals and finalizers do."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from sqltrack import _activity

__all__ = ["count_moments", "interrupt_at"]


def count_moments(function: Callable[[], Any]) -> int:
    """Return between how many lines of Python, of whatever module, code can interrupt `function()`."""
    return _Moments(-1, lambda: None).trace(function)


def interrupt_at(moment: int, function: Callable[[], Any], interrupt: Callable[[], Any]) -> bool:
    """Call `function()`, and `interrupt()` before one of the lines that it executes.

    Returns:
        Whether there were so many lines.
    """
    return _Moments(moment, interrupt).trace(function) > moment


class _Moments:
    def __init__(self, moment: int, interrupt: Callable[[], Any]) -> None:
        self._moment = moment
        self._interrupt = interrupt
        self._count = 0

    def trace(self, function: Callable[[], Any]) -> int:
        outer = sys.gettrace()
        before = signal.signal(signal.SIGUSR1, lambda *_: self._interrupt())
        # Handlers may be known for a second without this one.
        _activity._handlers.forget()
        sys.settrace(self._see)
        try:
            function()
        finally:
            sys.settrace(outer)
            signal.signal(signal.SIGUSR1, before)
        return self._count

    def _see(self, frame: FrameType, event: str, _argument: Any) -> Any:
        if event == "line":
            self._count += 1
            if self._count == self._moment + 1:
                signal.raise_signal(signal.SIGUSR1)
        return self._see
