"""Wait for locks on tables without making others wait."""

from __future__ import annotations

from collections.abc import Callable

import psycopg

from sqltrack._retrying import retry

__all__ = ["LOCK_TIMEOUT", "patiently"]

# Every INSERT queues behind an ALTER that waits for its lock, so one attempt must be short. It is also shorter than the
# time after which the server looks for a deadlock, so that it is never a writer that fails.
LOCK_TIMEOUT = "50ms"


def patiently(change: Callable[[], bool], seconds: float) -> bool:
    """Return the result of `change`, which is repeated while others hold locks; False after that many seconds."""
    try:
        return retry(change, lambda error: isinstance(error, psycopg.errors.LockNotAvailable), seconds=seconds)
    except psycopg.errors.LockNotAvailable:
        return False
