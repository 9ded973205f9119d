"""Call functions when the process receives SIGTERM, which batch systems send before they kill it."""

from __future__ import annotations

import _thread
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Hashable
from types import FrameType
from typing import Any, NoReturn

from sqltrack._activity import activity
from sqltrack._logging import get_logger

__all__ = ["begun_exit", "deregister", "register"]

# 128 + 15, as shells report for a process that SIGTERM has ended.
_EXIT_STATUS = 128 + signal.SIGTERM

# Seconds after which a dropped exit is tried again.
_RETRY_DELAY = 0.01

_functions: dict[Hashable, Callable[[], Any]] = {}
_NO_FRAME = object()

# The exit that was raised to end the process, until all functions are deregistered.
_ending: SystemExit | None = None

# The handlers that ours replaced each time it was installed, the latest last.
_below: list[Any] = []

# The signal that is being handled. A handler that calls ours is recognized by its frame.
_handled_frame: object | None = None
_level = 0


def register(key: Hashable, func: Callable[[], Any]) -> None:
    """Call `func()` when SIGTERM arrives.

    The first call in the main thread installs the handler; calls in other threads only record the function. The handler
    calls the functions in the order of registration, and then the previous handler. Without a previous handler it ends
    the process with exit status 143, by SystemExit. A process that ignores SIGTERM continues to ignore it.

    Args:
        key: the key for `deregister`; a function that is registered with it already is replaced.
        func: called without arguments, in the main thread and between any two bytecodes, so it must not wait for locks
            that this thread may hold. Exceptions that it raises are logged.
    """
    _functions[key] = func
    if threading.current_thread() is threading.main_thread():
        _install()


def deregister(key: Hashable) -> None:
    """Remove the function that was registered as `key`; without functions left, the handler is removed, too."""
    _functions.pop(key, None)
    if not _functions and threading.current_thread() is threading.main_thread():
        _uninstall()


def begun_exit() -> SystemExit | None:
    """Return the exit that was raised because SIGTERM has arrived, if any."""
    return _ending


def _forget_in_child() -> None:
    # The functions are for the parent to call. A child must end by SIGTERM as it would without us.
    _functions.clear()
    _uninstall()


def _install() -> None:
    current = signal.getsignal(signal.SIGTERM)
    if current is not _handle and current is not signal.SIG_IGN:
        _below.append(signal.signal(signal.SIGTERM, _handle))


def _uninstall() -> None:
    global _ending
    _ending = None
    # If another library has installed a handler over ours, it stays. When it calls ours, we call the one below.
    if signal.getsignal(signal.SIGTERM) is _handle:
        previous = _below.pop()
        signal.signal(signal.SIGTERM, previous if previous is not None else signal.SIG_DFL)


def _handle(signum: int, frame: FrameType | None) -> None:
    global _handled_frame, _level
    if _handled_frame is None:
        _handled_frame = frame or _NO_FRAME
        try:
            with activity.given_up():
                _call_functions()
                _pass_on(signum, frame)
        finally:
            _handled_frame = None
    elif frame is _handled_frame:
        # The previous handler has saved ours when it was installed, and calls it: call the next one below.
        _level += 1
        try:
            _pass_on(signum, frame)
        finally:
            _level -= 1


def _pass_on(signum: int, frame: FrameType | None) -> None:
    """Call the handler that was there before ours, or end the process."""
    previous = _below[-1 - _level] if _level < len(_below) else signal.SIG_DFL
    if callable(previous) and previous is not signal.SIG_DFL:
        _call_previous(previous, signum, frame)
    else:
        _end_process()


def _call_previous(previous: Callable[..., Any], signum: int, frame: FrameType | None) -> None:
    global _ending
    try:
        previous(signum, frame)
    except SystemExit as error:
        _ending = error
        raise


def _end_process() -> NoReturn:
    """Raise SystemExit, and try again if Python drops it.

    Python drops exceptions that are raised in finalizers and callbacks of weak references, among others. A signal can
    arrive in these as in any other code.
    """
    global _ending
    _ending = ending = SystemExit(_EXIT_STATUS)
    below = sys.unraisablehook

    def try_again(unraisable: sys.UnraisableHookArgs) -> None:
        if unraisable.exc_value is not ending:
            below(unraisable)
            return
        sys.unraisablehook = below
        # Later and in another thread, because an exception raised now would be dropped, too.
        with contextlib.suppress(RuntimeError):  # the interpreter is exiting, and starts no more threads
            _thread.start_new_thread(_send_again, ())

    sys.unraisablehook = try_again
    raise ending


def _send_again() -> None:  # pragma: no cover - in a thread that nothing traces, see the tests of dropped exits
    time.sleep(_RETRY_DELAY)
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
    else:
        signal.raise_signal(signal.SIGTERM)


def _call_functions() -> None:
    for key, function in list(_functions.items()):
        try:
            function()
        except Exception:
            get_logger("sigterm").exception("function registered as %r failed", key)


if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows
    os.register_at_fork(after_in_child=_forget_in_child)
