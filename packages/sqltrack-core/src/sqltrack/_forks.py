"""Let a fork wait while other threads are inside a C library, or import modules.

Their locks would stay locked in the child, which waits for them without end.
"""

from __future__ import annotations

import importlib
import time
from _thread import get_ident
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["PATIENCE", "PAUSE", "begin_fork", "end_fork", "unforked"]

T = TypeVar("T")

#: Seconds that a fork, and a thread that meets one, wait at most: longer than SQLite waits for locks by itself.
PATIENCE: float = 0.5

#: Seconds between two looks at each other.
PAUSE: float = 0.0002

# Ids of the threads inside the library, and of those that fork.
_inside: set[int] = set()
_forking: set[int] = set()


def unforked(call: Callable[..., T], *arguments: Any) -> T:
    """Return `call(*arguments)`; other threads fork before or after it."""
    thread = get_ident()
    if thread in _inside:
        return call(*arguments)
    try:
        _inside.add(thread)
        if _forking and thread not in _forking:
            _let_fork(thread)
        return call(*arguments)
    finally:
        _inside.discard(thread)


def _let_fork(thread: int) -> None:
    _inside.discard(thread)
    deadline = time.monotonic() + PATIENCE
    while _forking and time.monotonic() < deadline:
        time.sleep(PAUSE)
    _inside.add(thread)


def begin_fork() -> None:
    """Wait until no other thread is inside, and keep them out."""
    thread = get_ident()
    _forking.add(thread)
    deadline = time.monotonic() + PATIENCE
    while (_inside - {thread} or _is_importing(thread)) and time.monotonic() < deadline:
        time.sleep(PAUSE)


def _is_importing(thread: int) -> bool:
    """Return whether another thread imports a module; False if Python does not tell."""
    bootstrap = getattr(importlib, "_bootstrap", None)
    references = list(getattr(bootstrap, "_module_locks", {}).values())
    owners = {getattr(reference(), "owner", None) for reference in references}
    return bool(owners - {None, thread})


def end_fork(*, in_child: bool) -> None:
    """Undo `begin_fork`, in the parent or in the child, where the other threads no longer exist."""
    if in_child:
        _inside.clear()
        _forking.clear()
    else:
        _forking.discard(get_ident())
