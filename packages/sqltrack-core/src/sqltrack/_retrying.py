"""Retry operations that fail temporarily, for example because another process holds a lock."""

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
        attempt: does the work; repeating it after a failure must be safe.
        can_help: tells whether a retry may succeed after an attempt failed with this exception.
        seconds: time after which the exception of the last attempt is raised.
        pause: seconds between the first two attempts, default 0.005. Each pause is twice as long as the one before,
            plus up to half of it at random, so that processes that failed together do not retry together.
        longest: longest pause in seconds, default 0.05.

    Raises:
        Exception: the exception of the last attempt.
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
        # The interpreter is exiting.
        time.sleep(pause)
        return
    time.sleep(pause * random.uniform(1, 1.5))
