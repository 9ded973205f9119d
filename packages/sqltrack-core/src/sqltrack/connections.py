"""Keep connections open between the calls of a tracked run, and only then, and only in their own process."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from collections import deque
from typing import Any

from sqltrack.engines.engine import Engine

__all__ = ["ConnectionKeeper", "Session"]

# Connections that a forked child got from its parent. They are the parent's: the child must neither use nor close
# them, and garbage collection would close them, so they stay referenced for good.
_inherited: list[Any] = []
_holders: weakref.WeakSet[ConnectionKeeper | Session] = weakref.WeakSet()


class Session(threading.local):
    """The open `with` blocks of a client in one thread, and the connection that they share.

    Attributes:
        depth: how many blocks are open.
        connection: the connection, None outside of blocks, or if it was taken away from them.
    """

    def __init__(self) -> None:
        self.depth = 0
        self.connection: Any = None
        _holders.add(self)

    def forget_inherited(self) -> None:
        """Start anew in a forked child, whose parent goes on with the blocks."""
        if self.connection is not None:
            _inherited.append(self.connection)
        self.depth = 0
        self.connection = None


class ConnectionKeeper:
    """Hands connections to one user at a time, and parks them in between while a run is tracked.

    Parked connections commit every statement by themselves. One that nobody took for `keepalive` seconds is closed, so
    that a job that logs once a minute holds no connection of the server.

    There are no locks on purpose: taking and parking are single operations on a deque, so that a signal handler may do
    both at any moment.

    Args:
        engine: opens the connections.
        keepalive: seconds after which an idle parked connection is closed.
    """

    def __init__(self, engine: Engine, keepalive: float) -> None:
        self._engine = engine
        self._keepalive = keepalive
        self._parked: deque[tuple[Any, float]] = deque()
        self._tracked: set[object] = set()
        self._closer: threading.Thread | None = None
        _holders.add(self)
        weakref.finalize(self, _close_parked, self._parked)

    @property
    def parks(self) -> bool:
        """Whether connections that are given back stay open."""
        return bool(self._tracked)

    def holds_for(self, run: object) -> bool:
        """Return whether connections are parked for `run`."""
        return run in self._tracked

    def hold(self, run: object) -> None:
        """Park connections from now on, because `run` is tracked."""
        self._tracked.add(run)

    def release(self, run: object) -> None:
        """Undo `hold` for a run; without tracked runs parked connections are closed."""
        self._tracked.discard(run)
        if not self.parks:
            _close_parked(self._parked)

    def take(self) -> Any:
        """Return a connection in which every statement commits by itself; it is the caller's until given back."""
        try:
            connection, _ = self._parked.pop()
        except IndexError:
            connection = self._engine.connect()
            self._engine.set_autocommit(connection, True)
        return connection

    def take_usable(self) -> Any:
        """Return the same, after dropping parked connections that have ended since they were parked."""
        while True:
            connection = self.take()
            if self._engine.is_usable(connection):
                return connection
            self._engine.abort(connection)

    def give_back(self, connection: Any) -> None:
        """Park a connection, or close it if no run is tracked."""
        if not self.parks:
            connection.close()
            return
        self._parked.append((connection, time.monotonic()))
        if self._closer is None:
            self._start_closer()

    def _start_closer(self) -> None:
        self._closer = threading.Thread(
            target=_close_idle, args=(weakref.ref(self), self._keepalive), name="sqltrack-keepalive", daemon=True
        )
        self._closer.start()

    def close_idle(self) -> bool:
        """Close what has been idle for too long; return whether anything is left to watch."""
        try:
            # Look before taking: a busy loop must find its connection where it parked it.
            while self._is_idle(self._parked[0]):
                entry = self._parked.popleft()
                if not self._is_idle(entry):
                    self._parked.append(entry)
                    break
                self._engine.abort(entry[0])
        except IndexError:
            pass
        if self._parked or self.parks:
            return True
        self._closer = None
        return False

    def _is_idle(self, entry: tuple[Any, float]) -> bool:
        return time.monotonic() - entry[1] >= self._keepalive

    def forget_inherited(self) -> None:
        """Start anew in a forked child, whose parent goes on with the connections."""
        _inherited.extend(self._parked)
        self._parked.clear()
        self._closer = None


def _close_idle(keeper_ref: weakref.ref[ConnectionKeeper], keepalive: float) -> None:
    """Watch a keeper's parked connections until no run is tracked any more, or the keeper is gone."""
    while True:
        time.sleep(max(keepalive / 4, 0.05))
        keeper = keeper_ref()
        if keeper is None or not keeper.close_idle():
            return
        del keeper


def _close_parked(parked: deque[tuple[Any, float]]) -> None:
    with contextlib.suppress(IndexError):
        while True:
            parked.pop()[0].close()


def _forget_inherited_connections() -> None:
    for holder in list(_holders):
        holder.forget_inherited()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_inherited_connections)
