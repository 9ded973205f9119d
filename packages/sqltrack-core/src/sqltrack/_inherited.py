"""Keep connections open that forked children have inherited, until these children have ended.

A child takes the locks of an inherited connection to SQLite for its own, so its new connections do not take them. If
its parent released them, others could remove a write-ahead log to which the child still adds.
"""

from __future__ import annotations

import contextlib
import os
from _thread import get_ident
from typing import Any

from sqltrack.engines.engine import Engine

__all__ = ["close_unneeded", "expect_child", "forget_parent", "keep_for_children", "keep_forever", "note_child"]

# For each database, a connection that stays open. The locks of one are enough.
_kept: dict[str, Any] = {}

# Pipes that end with the children: both ends for a fork that a thread has begun, by its id, and the ends to read from.
# -1 stands for a child that no pipe could be made for.
_pipes: dict[int, tuple[int, int]] = {}
_pipe_ends: list[int] = []


def keep_for_children(engine: Engine, connection: Any) -> bool:
    """Keep a connection that children have inherited, and that is no longer in use, open for these children.

    Returns:
        Whether it is kept; otherwise another one of the same database is, and this one should be closed.
    """
    with contextlib.suppress(engine.driver_error):
        engine.settle(connection)
    key = repr(engine.target())
    kept = _kept.get(key)
    # The file may have been replaced.
    if kept is not None and engine.is_usable(kept):
        return False
    _kept[key] = connection
    return True


def close_unneeded() -> None:
    """Close the kept connections if the children have ended."""
    for end in list(_pipe_ends):
        # Nobody writes; without a child that could, there is nothing to wait for.
        with contextlib.suppress(OSError, ValueError):
            os.read(end, 1)
            _pipe_ends.remove(end)
            _close(end)
    if not _pipe_ends:
        for key in list(_kept):
            with contextlib.suppress(Exception):
                _kept.pop(key).close()


def expect_child(*, inherits: bool) -> None:
    """Prepare, just before a fork, to see the end of the child.

    Args:
        inherits: whether it inherits connections in use.
    """
    if inherits or _kept:
        _pipes[get_ident()] = _open_pipe()


def note_child() -> None:
    """Note, after a fork of this thread, its child."""
    pipe = _pipes.pop(get_ident(), None)
    if pipe is not None:
        _pipe_ends.append(pipe[0])
        _close(pipe[1])


def forget_parent() -> None:
    """Forget, in a forked child, what its parent keeps open."""
    for connection in _kept.values():
        keep_forever(connection)
    _kept.clear()
    # The other end of this child's pipe stays open until the child ends.
    for end in [*_pipe_ends, *(pipe[0] for pipe in _pipes.values())]:
        _close(end)
    _pipe_ends.clear()
    _pipes.clear()


def keep_forever(connection: Any) -> None:
    """Keep a forked child from closing its parent's connection, in garbage collection or at exit.

    Closing it would end the parent's session on the server. SQLite would roll back the parent's transaction: its locks
    do not stop the child, which takes them for its own.
    """
    import ctypes

    # A list would not do, because the interpreter clears it at exit.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


def _open_pipe() -> tuple[int, int]:
    try:
        pipe = os.pipe()
    except OSError:
        return (-1, -1)
    os.set_blocking(pipe[0], False)
    return pipe


def _close(end: int) -> None:
    with contextlib.suppress(OSError):
        os.close(end)
