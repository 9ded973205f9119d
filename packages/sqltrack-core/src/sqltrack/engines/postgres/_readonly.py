"""Keep a connection from everything but reading, and from reading for too long."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

__all__ = ["Clock", "guarded"]

# As a query it fixes the snapshot of the transaction, after which nothing can make that writable again
# (PostgreSQL manual, SET TRANSACTION). The limit of time is read when a statement begins.
_GUARD_SQL = b"SELECT set_config('transaction_read_only', 'on', true), set_config('statement_timeout', '%d', true)"


class Clock:
    """How long the statements of a connection may take, and when the last one began."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._begin = time.monotonic()

    def begin(self) -> None:
        """Start anew, for a statement."""
        self._begin = time.monotonic()

    def has_expired(self) -> bool:
        """Return whether the last statement took so long that the server ended it for that."""
        return time.monotonic() - self._begin >= self.seconds


@contextmanager
def guarded(connection: psycopg.Connection[Any], seconds: float) -> Iterator[Clock]:
    """Let the statements of a connection, which is in no transaction, only read until the end of the `with` block."""
    clock = Clock(seconds)
    factory, autocommit = connection.cursor_factory, connection.autocommit
    connection.autocommit = False
    connection.cursor_factory = _guarding(factory, clock)
    try:
        yield clock
    finally:
        connection.cursor_factory = factory
        # The connection may be lost, which whoever uses it next will notice.
        with contextlib.suppress(psycopg.Error):
            connection.rollback()
            connection.autocommit = autocommit


def _guarding(cursor_class: type[psycopg.Cursor[Any]], clock: Clock) -> type[psycopg.Cursor[Any]]:
    """Return a class of cursors that make every statement one that only reads.

    The guard goes before each, because a statement may end the transaction that the one before was in. Statements in a
    pipeline, and prepared ones, travel by the extended protocol, in which the server accepts one at a time, so that
    none can follow a COMMIT (PostgreSQL manual, 55.2.3).
    """
    guard = _GUARD_SQL % max(round(clock.seconds * 1000), 1)

    class GuardedCursor(cursor_class):  # type: ignore[valid-type,misc]
        def execute(self, *args: Any, **kwargs: Any) -> Any:
            self._guard()
            if psycopg.Pipeline.is_supported():
                with self.connection.pipeline():
                    return super().execute(*args, **kwargs)
            if self.connection.prepare_threshold is None:
                raise psycopg.NotSupportedError("reading through a pooler needs libpq 14 or newer")
            return super().execute(*args, **{**kwargs, "prepare": True})

        def stream(self, *args: Any, **kwargs: Any) -> Any:
            self._guard()
            yield from super().stream(*args, **kwargs)

        def executemany(self, *args: Any, **kwargs: Any) -> Any:
            raise psycopg.NotSupportedError("executemany is not for reading")

        def _guard(self) -> None:
            cursor_class(self.connection).execute(guard)
            clock.begin()

    return GuardedCursor
