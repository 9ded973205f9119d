"""Make SQLite statements interruptible by Ctrl-C."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["interruptible"]

# Instructions of SQLite's virtual machine between two checks for signals; a few milliseconds.
_LOOK_EVERY = 100_000


@contextmanager
def interruptible(connection: sqlite3.Connection) -> Iterator[None]:
    """Return a context manager in which Ctrl-C interrupts a running statement."""
    # Python checks for signals when SQLite calls back, and SQLite stops the statement after an exception.
    connection.set_progress_handler(lambda: 0, _LOOK_EVERY)
    try:
        yield
    except sqlite3.OperationalError as error:
        if str(error) == "interrupted":
            raise KeyboardInterrupt from None
        raise
    finally:
        connection.set_progress_handler(None, 0)
