"""Signals that arrive in the middle of a statement."""

from __future__ import annotations

import ctypes
import functools
import sqlite3

__all__ = ["let_statements_signal"]


def let_statements_signal(connection: sqlite3.Connection, signum: int) -> None:
    """Add an SQL function `strike()` to a connection; a statement that calls it sends a signal to this process.

    The function is not written in Python, so Python notices the signal only when it enters its next function.
    """
    connection.create_function("strike", 0, functools.partial(ctypes.CDLL(None)["raise"], int(signum)))
