"""Signals that arrive in the middle of a statement."""

from __future__ import annotations

import ctypes
import functools
import signal
import sqlite3
import time
from typing import Any

__all__ = ["let_statements_signal", "stop_timer"]


def let_statements_signal(connection: sqlite3.Connection, signum: int) -> None:
    """Add an SQL function `strike()` to a connection; a statement that calls it sends a signal to this process.

    The function is not written in Python, so Python notices the signal only when it enters its next function.
    """
    connection.create_function("strike", 0, functools.partial(ctypes.CDLL(None)["raise"], int(signum)))


def stop_timer(previous: Any) -> None:
    """Stop the timer that sends SIGALRM, and restore the previous handler of the signal."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    # A last signal may have met another thread, and wait for this one to call the handler.
    time.sleep(0.02)
    signal.signal(signal.SIGALRM, previous)
