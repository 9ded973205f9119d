"""Let Ctrl-C end a statement of SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["interruptible"]

# Instructions of SQLite's virtual machine between two looks for a signal; a few milliseconds.
_LOOK_EVERY = 100_000


@contextmanager
def interruptible(connection: sqlite3.Connection) -> Iterator[None]:
    """Let Ctrl-C end a statement in the `with` block, and not only what comes after it."""
    # Python looks for signals when SQLite calls back, and SQLite takes the exception for a wish to stop.
    connection.set_progress_handler(lambda: 0, _LOOK_EVERY)
    try:
        yield
    except sqlite3.OperationalError as error:
        if str(error) == "interrupted":
            raise KeyboardInterrupt from None
        raise
    finally:
        connection.set_progress_handler(None, 0)
