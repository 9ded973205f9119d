"""Keep connections open between calls: while a run is tracked or for a moment, and only in their own process."""

from __future__ import annotations

import contextlib
import math
import os
import time
import weakref
from _thread import get_ident
from collections import deque
from collections.abc import Callable
from typing import Any

from sqltrack._closing import forget_watching, stop_watching, watch
from sqltrack._connecting import connect_within
from sqltrack._forks import PATIENCE, PAUSE, begin_fork, end_fork
from sqltrack._inherited import (
    close_unneeded,
    expect_child,
    forget_parent,
    keep_for_children,
    keep_forever,
    note_child,
)
from sqltrack.engines.engine import Engine
from sqltrack.errors import DatabaseUnavailableError

__all__ = ["ConnectionKeeper"]

# Seconds that a connection lingers after a call while no run is tracked, unless `keepalive` is shorter. So a job begins
# with one connection, and an idle process holds none.
_LINGER = 1.0

_keepers: weakref.WeakSet[ConnectionKeeper] = weakref.WeakSet()

# The ids of the threads of this process that have begun a fork. In the child they stay until our own function for
# children has run. Asking the system for the process id would take longer than the rest of `take`.
_forks: list[int] = []


class ConnectionKeeper:
    """Lends connections to one user at a time, and parks them in between.

    On a parked connection every statement commits by itself. While a run is tracked, a connection that was idle for
    `keepalive` seconds is closed, so that a job that logs once a minute does not occupy a connection of the server.
    Without a tracked run, a connection lingers for a second at most.

    There are no locks, on purpose: taking and parking are single operations on a deque, so a signal handler can do both
    at any moment.

    Args:
        engine: opens the connections.
        keepalive: seconds after which an idle parked connection is closed; with 0 connections do not linger.
    """

    def __init__(self, engine: Engine, keepalive: float) -> None:
        self._engine = engine
        self._keepalive = keepalive
        self._linger = min(keepalive, _LINGER)
        # Weak references, so that a connection that an interrupted call has lost is closed, and releases its locks.
        self._open: dict[int, Callable[[], Any]] = {}
        self._parked: deque[tuple[Any, float]] = deque()
        self._parked_at = -math.inf
        self._tracked: set[object] = set()
        # The threads that are taking connections, and those that use them, by the ids of the connections.
        self._takers: set[int] = set()
        self._users: dict[int, int] = {}
        # Ids of connections that were in use when this process was forked.
        self._inherited: set[int] = set()
        # Ids of connections in use that have lingered, and of threads that have lost one of these.
        self._lingered: set[int] = set()
        self._losers: set[int] = set()
        self._is_watched = False
        self._pid = os.getpid()
        _keepers.add(self)
        weakref.finalize(self, _close_parked, self._parked)

    @property
    def parks(self) -> bool:
        """Whether returned connections stay open because a run is tracked."""
        return bool(self._tracked)

    @property
    def lingers(self) -> bool:
        """Whether connections stay open for a moment even if no run is tracked."""
        return self._linger > 0

    def retains_for(self, run: object) -> bool:
        """Return whether connections are parked for `run`."""
        return run in self._tracked

    def retain(self, run: object) -> None:
        """Park connections from now on, because `run` is tracked."""
        self._tracked.add(run)

    def release(self, run: object) -> None:
        """Undo `retain` for a run; closes the parked connections if no tracked runs are left."""
        self._tracked.discard(run)
        if not self.parks:
            self.close_parked()

    def take(self, seconds: float | None = None) -> Any:
        """Return a connection on which every statement commits by itself, for exclusive use until it is given back.

        Args:
            seconds: limit for opening a connection, default: the engine's own.
        """
        thread = get_ident()
        # A signal handler or finalizer may take a connection while another one is taken.
        is_nested = thread in self._takers
        # Before the look at forks: either this thread sees the fork, or the fork sees this thread.
        self._takers.add(thread)
        try:
            if _forks:
                self._meet_fork(thread)
            try:
                connection, _ = self._parked.pop()
            except IndexError:
                connection = None
            if connection is not None and not self._tracked:
                connection = self._usable(connection)
            # Outside of the except block, so that errors of connecting do not get the IndexError as their context.
            if connection is None:
                connection = self._open_one(seconds)
            self._users[id(connection)] = thread
            return connection
        finally:
            if not is_nested:
                self._takers.discard(thread)

    def _meet_fork(self, thread: int) -> None:
        """Let another thread fork first. In a forked child, forget the connections of the parent."""
        if self._pid != os.getpid():
            # Called by a function that runs before ours.
            self.forget_inherited()
        if not self._engine.locks_by_process or any(thread in keeper._users.values() for keeper in list(_keepers)):
            # The fork does not wait for this one, or waits until this thread has given back what it uses.
            return
        deadline = time.monotonic() + PATIENCE
        while _forks and thread not in _forks and time.monotonic() < deadline:
            self._takers.discard(thread)
            time.sleep(PAUSE)
            self._takers.add(thread)

    def _usable(self, connection: Any) -> Any:
        """Return a connection that has lingered, None if the client can already tell that it has ended."""
        if not self._engine.is_usable(connection):
            self.drop(connection)
            return None
        self._lingered.add(id(connection))
        return connection

    def _open_one(self, seconds: float | None) -> Any:
        self._losers.discard(get_ident())
        self._require_database()
        # The file may disappear after this check, and an abandoned attempt may connect much later.
        self._engine.may_create = not self.parks
        if seconds is None or not self._engine.connects_in_threads:
            connection = self._engine.connect()
        else:
            connection = connect_within(self._engine, seconds)
        self._note(connection)
        self._engine.set_autocommit(connection, True)
        return connection

    def _note(self, connection: Any) -> None:
        # Weak references without callbacks, in which exceptions of signal handlers would be lost.
        # Iterate over a list, because signal handlers and other threads may open connections in between.
        for key in [key for key, reference in list(self._open.items()) if reference() is None]:
            self._open.pop(key, None)
        # Of a connection that was lost, and had the same id.
        self._inherited.discard(id(connection))
        try:
            self._open[id(connection)] = weakref.ref(connection)
        except TypeError:
            # The class of some drivers, such as sqlite3's own, has no weak references.
            self._open[id(connection)] = lambda: connection

    def take_usable(self, seconds: float | None = None) -> Any:
        """Return a connection for work that must not be done twice, after dropping parked connections that have ended.

        A connection that has lingered is tested with the server, because news of its end may still be on the way.

        Args:
            seconds: as in `take`.
        """
        while True:
            connection = self.take(seconds)
            is_usable = self._engine.answers if id(connection) in self._lingered else self._engine.is_usable
            if is_usable(connection):
                return connection
            self.drop(connection)

    def give_back(self, connection: Any, *, lingers: bool = True) -> None:
        """Park a connection, or close it.

        Args:
            connection: the connection; to be parked, it must commit every statement by itself.
            lingers: whether it stays open for a moment if no run is tracked.
        """
        if self._lingered:
            self._lingered.discard(id(connection))
        if not (self._tracked or (lingers and self._linger > 0)):
            try:
                if not self._keeps_locks_with(connection):
                    connection.close()
            finally:
                self._forget(connection)
            return
        self._parked_at = time.monotonic()
        self._parked.append((connection, self._parked_at))
        # Only now, so that a fork waits until the connection is parked.
        self._users.pop(id(connection), None)
        if not self._is_watched:
            self._is_watched = watch(self)
            if not self._is_watched:
                # At the end of the interpreter no thread would close it later.
                self.close_parked()

    def drop(self, connection: Any) -> None:
        """Close a connection that may be broken or in the middle of a statement; never raises."""
        if id(connection) in self._lingered:
            self._lingered.discard(id(connection))
            self._losers.add(get_ident())
        try:
            if not self._keeps_locks_with(connection):
                self._engine.abort(connection)
        finally:
            self._forget(connection)

    def _forget(self, connection: Any) -> None:
        """Forget a connection, only after it was closed, because a fork must wait until then."""
        self._open.pop(id(connection), None)
        self._users.pop(id(connection), None)

    def has_lost_lingering(self) -> bool:
        """Return whether this thread has dropped a connection that had lingered, and has not opened one since.

        Its work may have failed only because the connection had ended meanwhile. Other lingering connections may have
        ended with it, so they are closed.
        """
        if get_ident() not in self._losers:
            return False
        self._losers.discard(get_ident())
        if not self.parks:
            self.close_parked()
        return True

    def close_parked(self) -> None:
        """Close the connections that are not in use."""
        thread = get_ident()
        is_nested = thread in self._takers
        self._takers.add(thread)
        try:
            with contextlib.suppress(IndexError):
                while True:
                    self.drop(self._parked.pop()[0])
        finally:
            if not is_nested:
                self._takers.discard(thread)

    def close_idle(self) -> float | None:
        """Close the connections that have been idle for too long; for `sqltrack._closing`.

        Returns:
            Seconds until the next one may be closed. None if none was parked recently; the keeper has to be watched
            again after the next one is parked.
        """
        with contextlib.suppress(IndexError):
            # Look before taking: a busy loop must find its connection where it parked it.
            while self._is_idle(self._parked[0]):
                entry = self._parked.popleft()
                if not self._is_idle(entry):  # pragma: no cover - a race with a thread that takes it in between
                    self._parked.append(entry)
                    break
                self.drop(entry[0])
        pause = self._seconds_to_idle()
        if pause is None:
            self._is_watched = False
            # A connection that was parked in between relies on being watched.
            pause = self._seconds_to_idle()
            if pause is not None:
                self._is_watched = True
        return pause

    def prepare_fork(self) -> bool:
        """Close the connections that are not in use, so that a child does not inherit them.

        Returns:
            Whether to wait for connections that other threads use.
        """
        self._is_watched = False
        # Look first: a connection that is given back in between must be closed.
        users = {user for key, user in list(self._users.items()) if self._is_open(key)} | self._takers
        is_used = not users <= {get_ident()}
        self.close_parked()
        return is_used and self._engine.locks_by_process

    def note_fork(self) -> bool:
        """Note, just before a fork, which connections a child inherits, because they are in use.

        Returns:
            Whether there are any whose locks count.
        """
        if not self._engine.locks_by_process:
            return False
        found = {key for key in list(self._open) if self._is_open(key)}
        self._inherited |= found
        # Later forks need not wait for them.
        self._users.clear()
        return bool(found)

    def _is_open(self, key: int) -> bool:
        reference = self._open.get(key)
        return reference is not None and reference() is not None

    def _keeps_locks_with(self, connection: Any) -> bool:
        """Return whether a connection stays open instead of being closed, because a child has inherited it."""
        if id(connection) not in self._inherited:
            return False
        self._inherited.discard(id(connection))
        return keep_for_children(self._engine, connection)

    def forget_inherited(self) -> None:
        """Forget, in a forked child, the connections of its parent, which continues to use them."""
        for connection in [reference() for reference in list(self._open.values())]:
            if connection is not None:
                keep_forever(connection)
        self._open.clear()
        self._takers.clear()
        self._users.clear()
        self._inherited.clear()
        self._parked.clear()
        self._lingered.clear()
        self._losers.clear()
        self._pid = os.getpid()

    def _require_database(self) -> None:
        """Check that the database of a tracked run still exists; if it was moved, none must be created in its place.

        Raises:
            DatabaseUnavailableError: the database does not exist.
        """
        if self.parks and not self._engine.exists():
            raise DatabaseUnavailableError(f"{self._engine.describe()} was removed or moved while it was in use")

    def _seconds_to_idle(self) -> float | None:
        with contextlib.suppress(IndexError):
            return self._parked[0][1] + self._longest_pause - time.monotonic()
        # A connection in use will be back soon, and starting a thread for each call would cost more than waiting.
        left = self._parked_at + self._linger - time.monotonic()
        return left if left > 0 else None

    def _is_idle(self, entry: tuple[Any, float]) -> bool:
        return time.monotonic() - entry[1] >= self._longest_pause

    @property
    def _longest_pause(self) -> float:
        return self._keepalive if self.parks else self._linger


def _close_parked(parked: deque[tuple[Any, float]]) -> None:
    with contextlib.suppress(IndexError):
        while True:
            parked.pop()[0].close()


def _before_fork() -> None:
    _forks.append(get_ident())
    stop_watching()
    close_unneeded()
    deadline = time.monotonic() + PATIENCE
    while sum(keeper.prepare_fork() for keeper in list(_keepers)) and time.monotonic() < deadline:
        time.sleep(PAUSE)
    # Only now, because closing connections needs other threads.
    begin_fork()
    expect_child(inherits=sum(keeper.note_fork() for keeper in list(_keepers)) > 0)


def _in_child() -> None:
    end_fork(in_child=True)
    forget_watching()
    for keeper in list(_keepers):
        keeper.forget_inherited()
    forget_parent()
    _forks.clear()


def _in_parent() -> None:
    try:
        end_fork(in_child=False)
        note_child()
    finally:
        # A signal handler may have forked in between, and this be its child, which has forgotten the fork.
        with contextlib.suppress(ValueError):
            _forks.remove(get_ident())


if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows
    os.register_at_fork(before=_before_fork, after_in_child=_in_child, after_in_parent=_in_parent)
