"""Retry operations that fail only for a while, such as on a lock of another process."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

__all__ = ["retry"]

T = TypeVar("T")


def retry(
    attempt: Callable[[], T],
    can_help: Callable[[Exception], bool],
    *,
    seconds: float,
    pause: float = 0.005,
    longest: float = 0.05,
) -> T:
    """Call `attempt` until it succeeds, and return its result.

    Args:
        attempt: what to do; must be safe to do again after it has failed.
        can_help: returns whether another attempt may succeed where one has failed with this exception.
        seconds: time after which the exception of the last attempt is raised.
        pause: seconds between the first two attempts, default 0.005. Each pause is twice as long as the one before,
            and up to half as much again, so that processes that failed together do not come back together.
        longest: seconds that a pause grows to, default 0.05.

    Raises:
        Exception: that of the last attempt.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            return attempt()
        except Exception as error:
            if not can_help(error) or time.monotonic() + pause > deadline:
                raise
        _sleep(pause)
        pause = min(pause * 2, longest)


def _sleep(pause: float) -> None:
    try:
        # Slow to import, and seldom needed.
        import random
    except ImportError:
        # The interpreter ends.
        time.sleep(pause)
        return
    time.sleep(pause * random.uniform(1, 1.5))
