"""Wait for locks on tables without blocking other transactions."""

from __future__ import annotations

from collections.abc import Callable

import psycopg

from sqltrack._retrying import retry

__all__ = ["LOCK_TIMEOUT", "patiently"]

# Every INSERT queues behind an ALTER that waits for its lock, so one attempt must be short. It must also be shorter
# than the server's deadlock_timeout, so that in a deadlock the ALTER fails and never a writer.
LOCK_TIMEOUT = "50ms"


def patiently(change: Callable[[], bool], seconds: float) -> bool:
    """Call `change` until it gets its locks and return its result, or False after `seconds`."""
    try:
        return retry(change, lambda error: isinstance(error, psycopg.errors.LockNotAvailable), seconds=seconds)
    except psycopg.errors.LockNotAvailable:
        return False
