"""End statements that the server may still execute after their connection was dropped."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import psycopg

__all__ = ["Abandoned", "AbandonedStatements"]

# More connections than a process drops between two calls of `take`.
_MAX_KEPT = 1_000

# Seconds to wait for terminated backends to end, and between two checks.
_PATIENCE, _PAUSE = 2.0, 0.02

# Seconds in which the backends of a server that was frozen read the statements that arrived meanwhile. Until then,
# behind a pooler, they cannot be distinguished from idle ones.
_GRACE = 0.5

# A backend with the same pid that started later belongs to another connection.
_END_SQL = """
    SELECT pg_terminate_backend(activity.pid)
    FROM pg_stat_activity AS activity
    JOIN unnest(%s::int[], %s::float8[]) AS dropped (pid, age) ON dropped.pid = activity.pid
    WHERE activity.usename = current_user AND activity.pid <> pg_backend_pid()
        AND activity.backend_start <= clock_timestamp() - dropped.age * INTERVAL '1 second'
"""

# Behind a pooler, the pids are unknown, so this counts all writing statements that began before.
_COUNT_SQL = r"""
    SELECT count(*) FROM pg_stat_activity
    WHERE usename = current_user AND datname = current_database() AND pid <> pg_backend_pid() AND state = 'active'
        AND query_start <= clock_timestamp() - %s * INTERVAL '1 second'
        AND query ~* '^\s*(INSERT|UPDATE|DELETE|COPY|WITH|ALTER|COMMIT)\M'
"""


class Abandoned(NamedTuple):
    """A connection that was dropped in the middle of a statement.

    Attributes:
        process_id: pid of its backend, as reported by the server or the pooler.
        dropped: time of the drop (monotonic).
    """

    process_id: int
    dropped: float


class AbandonedStatements:
    """The connections of an engine that were dropped in the middle of a statement."""

    def __init__(self) -> None:
        self._dropped: deque[Abandoned] = deque(maxlen=_MAX_KEPT)

    def note(self, process_id: int) -> None:
        """Remember a connection that has just been dropped."""
        self._dropped.append(Abandoned(process_id, time.monotonic()))

    def take(self) -> list[Abandoned]:
        """Return the noted connections and forget them."""
        taken = []
        with contextlib.suppress(IndexError):
            while True:
                taken.append(self._dropped.popleft())
        return taken

    def give_back(self, dropped: Sequence[Abandoned]) -> None:
        """Remember connections again that `take` returned."""
        self._dropped.extend(dropped)

    def end(self, connection: psycopg.Connection[Any], dropped: Sequence[Abandoned], *, has_pooler: bool) -> bool:
        """Terminate the backends of dropped connections; return whether all their statements have ended.

        Behind a pooler, only wait for the statements, because their owners are unknown. If a single backend is frozen,
        a statement that still waits in its socket is missed.

        Args:
            connection: a connection to the same database.
            dropped: the dropped connections.
            has_pooler: whether a pooler is in between.

        Raises:
            psycopg.Error: the server does not answer, or refuses.
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
