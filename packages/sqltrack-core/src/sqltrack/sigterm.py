"""Call functions when the process is told to terminate by SIGTERM, as batch systems do before they kill it."""

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

# 128 + 15, what shells report for a process that SIGTERM ended.
_EXIT_STATUS = 128 + signal.SIGTERM

# Seconds after which a signal that came to nothing is sent again.
_SHORTLY = 0.01

_functions: dict[Hashable, Callable[[], Any]] = {}
_NO_FRAME = object()

# What was raised to end the process, until whoever had registered a function has let go of it.
_ending: SystemExit | None = None

# The handlers that were there whenever ours was installed, the latest last.
_below: list[Any] = []

# What is being done about a signal, so that a second one is known from a handler that calls ours.
_handled_frame: object | None = None
_level = 0


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


def begun_exit() -> SystemExit | None:
    """Return the exit that was raised because SIGTERM has arrived, None if none was."""
    return _ending


def _forget_in_child() -> None:
    # What was registered is the parent's to do, and a child must end by SIGTERM as it would without us.
    _functions.clear()
    _uninstall()


def _install() -> None:
    current = signal.getsignal(signal.SIGTERM)
    if current is not _handle and current is not signal.SIG_IGN:
        _below.append(signal.signal(signal.SIGTERM, _handle))


def _uninstall() -> None:
    global _ending
    _ending = None
    # A handler that somebody installed over ours stays; if it calls ours, that passes on to what was there before.
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
        # The handler below ours found ours when it was installed, and calls it: pass on to the next one below.
        _level += 1
        try:
            _pass_on(signum, frame)
        finally:
            _level -= 1


def _pass_on(signum: int, frame: FrameType | None) -> None:
    """Do what was done on SIGTERM before ours was installed, by default end the process."""
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
    """Raise SystemExit, and if that comes to nothing, try again.

    Python drops what is raised in finalizers, callbacks of weak references and the like, which a signal meets as it
    meets any other code.
    """
    global _ending
    _ending = ending = SystemExit(_EXIT_STATUS)
    below = sys.unraisablehook

    def try_again(unraisable: sys.UnraisableHookArgs) -> None:
        if unraisable.exc_value is not ending:
            below(unraisable)
            return
        sys.unraisablehook = below
        # Later and from elsewhere, because what is raised now would be dropped, too.
        with contextlib.suppress(RuntimeError):  # no new threads while the interpreter ends, as it should
            _thread.start_new_thread(_send_again, ())

    sys.unraisablehook = try_again
    raise ending


def _send_again() -> None:  # pragma: no cover - in a thread that nothing traces, see the tests of dropped exits
    time.sleep(_SHORTLY)
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
