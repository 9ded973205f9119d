"""Signals that arrive in the middle of a statement."""

from __future__ import annotations

import ctypes
import functools
import sqlite3

__all__ = ["let_statements_signal"]


def let_statements_signal(connection: sqlite3.Connection, signum: int) -> None:
    """Give a connection an SQL function `strike()` by which statements send this process a signal.

    The function is not Python's, so that Python notices only when it begins the next function of the statement.
    """
    connection.create_function("strike", 0, functools.partial(ctypes.CDLL(None)["raise"], int(signum)))
