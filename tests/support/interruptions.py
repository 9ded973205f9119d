"""Code that runs in the middle of other code of the same thread, as handlers of signals and finalizers do."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

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
        sys.settrace(self._see)
        try:
            function()
        finally:
            sys.settrace(outer)
        return self._count

    def _see(self, frame: FrameType, event: str, _argument: Any) -> Any:
        if event == "line":
            self._count += 1
            if self._count == self._moment + 1:
                self._interrupt()
        return self._see
