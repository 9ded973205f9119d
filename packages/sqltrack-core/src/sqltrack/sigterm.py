"""Call functions when the process is told to terminate by SIGTERM, as batch systems do before they kill it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Hashable
from types import FrameType
from typing import Any

from sqltrack._logging import get_logger

__all__ = ["deregister", "register"]

# 128 + 15, what shells report for a process that SIGTERM ended.
_EXIT_STATUS = 128 + signal.SIGTERM

_functions: dict[Hashable, Callable[[], Any]] = {}
_previous: Any = signal.SIG_DFL
_handling = False


def register(key: Hashable, func: Callable[[], Any]) -> None:
    """Call `func()` when SIGTERM arrives.

    The handler is installed by the first call in the main thread, in other threads only the function is recorded. It
    calls the functions in the order of their registration, then the handler that was there before; if there was none
    it ends the process with exit status 143, by SystemExit. A process that ignores SIGTERM goes on to ignore it.

    Args:
        key: what `deregister` calls the function; one that is registered already is replaced.
        func: called without arguments, in the main thread, between any two of its bytecodes: it must not wait for
            locks that this thread may hold. What it raises is logged.
    """
    _functions[key] = func
    if threading.current_thread() is threading.main_thread():
        _install()


def deregister(key: Hashable) -> None:
    """Do not call the function that was registered as `key` any more; the last one takes the handler along."""
    _functions.pop(key, None)
    if not _functions and threading.current_thread() is threading.main_thread():
        _uninstall()


def _forget_in_child() -> None:
    # What was registered is the parent's to do, and a child must end by SIGTERM as it would without us.
    _functions.clear()
    _uninstall()


def _install() -> None:
    global _previous
    current = signal.getsignal(signal.SIGTERM)
    if current is _handle or current is signal.SIG_IGN:
        return
    _previous = signal.signal(signal.SIGTERM, _handle)


def _uninstall() -> None:
    # A handler that somebody installed over ours stays: it may call ours, which then does nothing of its own.
    if signal.getsignal(signal.SIGTERM) is _handle:
        signal.signal(signal.SIGTERM, _previous if _previous is not None else signal.SIG_DFL)


def _handle(signum: int, frame: FrameType | None) -> None:
    global _handling
    if _handling:
        # A second signal, or the previous handler calls the one that was there when it was installed: us.
        return
    _handling = True
    try:
        _call_functions()
        if callable(_previous):
            _previous(signum, frame)
            return
    finally:
        _handling = False
    sys.exit(_EXIT_STATUS)


def _call_functions() -> None:
    for key, function in list(_functions.items()):
        try:
            function()
        except Exception:
            get_logger("sigterm").exception("function registered as %r failed", key)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
