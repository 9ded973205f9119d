"""Statements whose connection was dropped before the server had answered, and which it may still execute."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import psycopg

__all__ = ["Abandoned", "AbandonedStatements"]

# More than a process drops before somebody asks.
_MAX_KEPT = 1_000

# Seconds to wait for processes that were told to end, and between two looks.
_PATIENCE, _PAUSE = 2.0, 0.02

# Seconds in which processes that were frozen with a server, and go on, read what was sent to them meanwhile. Until then
# nothing tells those behind a pooler from idle ones.
_GRACE = 0.5

# A process of that number which began later is another's.
_END_SQL = """
    SELECT pg_terminate_backend(activity.pid)
    FROM pg_stat_activity AS activity
    JOIN unnest(%s::int[], %s::float8[]) AS dropped (pid, age) ON dropped.pid = activity.pid
    WHERE activity.usename = current_user AND activity.pid <> pg_backend_pid()
        AND activity.backend_start <= clock_timestamp() - dropped.age * INTERVAL '1 second'
"""

# Behind a pooler processes have other numbers, so this asks for any statement that began before and writes.
_COUNT_SQL = r"""
    SELECT count(*) FROM pg_stat_activity
    WHERE usename = current_user AND datname = current_database() AND pid <> pg_backend_pid() AND state = 'active'
        AND query_start <= clock_timestamp() - %s * INTERVAL '1 second'
        AND query ~* '^\s*(INSERT|UPDATE|DELETE|COPY|WITH|ALTER|COMMIT)\M'
"""


class Abandoned(NamedTuple):
    """A connection that was dropped in the middle of a statement.

    Attributes:
        process_id: number of the process that serves it, as the server or the pooler has told.
        dropped: when it was dropped (monotonic).
    """

    process_id: int
    dropped: float


class AbandonedStatements:
    """The connections of an engine that were dropped in the middle of something."""

    def __init__(self) -> None:
        self._dropped: deque[Abandoned] = deque(maxlen=_MAX_KEPT)

    def note(self, process_id: int) -> None:
        """Remember a connection that has just been dropped."""
        self._dropped.append(Abandoned(process_id, time.monotonic()))

    def take(self) -> list[Abandoned]:
        """Return what was noted, and forget it."""
        taken = []
        with contextlib.suppress(IndexError):
            while True:
                taken.append(self._dropped.popleft())
        return taken

    def give_back(self, dropped: Sequence[Abandoned]) -> None:
        """Remember again what `take` has returned."""
        self._dropped.extend(dropped)

    def end(self, connection: psycopg.Connection[Any], dropped: Sequence[Abandoned], *, has_pooler: bool) -> bool:
        """Let the server end the statements of connections; return whether none of them can be executed any more.

        Behind a pooler this only waits for them, because nothing tells whose statements they are. One that is still in
        the socket of a process, which alone is frozen, is not seen.

        Args:
            connection: a connection to the same database.
            dropped: the connections.
            has_pooler: whether there is a pooler in between.

        Raises:
            psycopg.Error: the server cannot be asked.
        """
        if not dropped:
            return True
        if has_pooler:
            time.sleep(_GRACE)
        deadline = time.monotonic() + _PATIENCE
        while self._is_any_left(connection, dropped, has_pooler):
            if time.monotonic() > deadline:
                return False
            time.sleep(_PAUSE)
        return True

    def _is_any_left(self, connection: psycopg.Connection[Any], dropped: Sequence[Abandoned], has_pooler: bool) -> bool:
        now = time.monotonic()
        if has_pooler:
            latest = max(item.dropped for item in dropped)
            found = connection.execute(_COUNT_SQL, (now - latest,)).fetchone()
            return found is not None and found[0] > 0
        numbers = [item.process_id for item in dropped]
        ages = [now - item.dropped for item in dropped]
        return bool(connection.execute(_END_SQL, (numbers, ages)).fetchall())
