"""The outbox of a process for one database: calls go there while the database is away, and a thread sends them."""

from __future__ import annotations

import _thread
import json
import os
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from sqltrack._activity import activity
from sqltrack._logging import get_logger
from sqltrack._outbox._outages import is_outage
from sqltrack._outbox._places import check_folder
from sqltrack._outbox._settings import OutboxSettings
from sqltrack.errors import DatabaseError, DatabaseUnavailableError, OutboxError, SQLTrackError

if TYPE_CHECKING:
    from sqltrack._outbox._file import OutboxFile
    from sqltrack.engines.engine import Engine

__all__ = ["Outbox", "close_all", "outbox_for"]

# Seconds between two attempts to send, at first and at most.
_PAUSE, _LONGEST_PAUSE = 0.25, 15.0

# Seconds that the thread waits for a call before it ends, and between two looks while calls go through the file.
_IDLE, _SHORTLY = 2.0, 0.05

# Seconds that a process waits at its end for what is not sent yet, all its waits together.
_AT_END = 5.0

# The same after SIGTERM.
_LAST_CALL = 0.5

# Seconds by which each row of a call makes its time longer.
_PER_ROW = 0.001

_outboxes: dict[str, Outbox] = {}


def outbox_for(config: dict[str, Any], engine: Engine, settings: OutboxSettings) -> Outbox:
    """Return the outbox of this process for a database.

    Args:
        config: configuration of a client.
        engine: its engine.
        settings: its settings.

    Raises:
        ConfigError: (a ValueError) the folder is not safe to use.
    """
    check_folder(settings.folder)
    key = json.dumps([os.getpid(), engine.target(), settings.folder, settings.mode], sort_keys=True)
    outbox = _outboxes.get(key)
    if outbox is None:
        outbox = _outboxes[key] = Outbox(config, engine.target(), settings)
    outbox.add_engine(engine)
    return outbox


class Outbox:
    """Does calls on the database, or keeps them in a file until it is there again.

    It is shared by all clients of a process that write to one database, so that calls stay in order.

    Args:
        config: the configuration with which to send.
        target: which database it is.
        settings: the settings.
    """

    def __init__(self, config: dict[str, Any], target: dict[str, Any], settings: OutboxSettings) -> None:
        self._config = {**config, "outbox": "off", "reconnect": 0}
        self._target = target
        self._settings = settings
        self._engines: weakref.WeakSet[Engine] = weakref.WeakSet()
        # A signal's handler may come in between, in the thread that holds it.
        self._lock = threading.RLock()
        self._file: OutboxFile | None = None
        self._is_direct = settings.mode != "always"
        self._has_written = False
        self._experiments: dict[int, int] = {}
        # Locked while there is nothing new for the thread; releasing it wakes the thread.
        self._news = _thread.allocate_lock()
        self._has_thread = False
        self._is_closing = False
        self._left_to_wait = _AT_END

    def add_engine(self, engine: Engine) -> None:
        """Look after the statements that connections of another engine have left behind."""
        self._engines.add(engine)

    def note_run(self, run_id: int, experiment_id: int) -> None:
        """Remember the experiment of a run, and that the database can be written to."""
        self._experiments[run_id] = experiment_id
        self._has_written = True

    @property
    def is_direct(self) -> bool:
        """Whether calls go to the database."""
        return self._is_direct

    def deliver(self, work: Callable[..., None], arguments: Sequence[Any]) -> None:
        """Do the work of a call, or keep the call; in the course of `Session.submit`.

        Args:
            work: what to do.
            arguments: its arguments.
        """
        current = activity.works[-1]
        if current.block is not None:
            work(*arguments)
            return
        if self._is_direct:
            current.deadline = time.monotonic() + self._settings.patience
            if len(arguments) > 1 and type(arguments[1]) is list:
                current.deadline += len(arguments[1]) * _PER_ROW
            try:
                work(*arguments)
            except DatabaseError as error:
                if not self._covers(work, error):
                    raise
                reason: DatabaseError | None = error
            else:
                self._has_written = True
                return
        else:
            reason = None
        self._keep(work, arguments, reason)

    def require_direct(self) -> None:
        """Wait until calls go to the database again, because a transaction can only be there.

        Raises:
            DatabaseUnavailableError: they do not within the time that a call may take.
        """
        if not self._is_direct and not self.flush(self._settings.patience):
            raise DatabaseUnavailableError(
                "a 'with client:' block cannot begin while calls wait in the outbox, because the database is away",
                "log without a block: each call then takes care of itself",
            )

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until all calls have arrived in the database, or have been refused by it.

        Args:
            timeout: seconds to wait at most, None for no limit.

        Returns:
            Whether they have.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        pause = 0.001
        while self._has_calls():
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return False
            if not self._ensure_thread():
                return False
            self._wake()
            time.sleep(pause if left is None else min(pause, left))
            pause = min(pause * 2, 0.05)
        return True

    def flush_at_end(self) -> None:
        """Wait for a moment for what is not sent yet, because a run has ended or the process does; all waits count."""
        if self._has_calls() and self._left_to_wait > 0:
            begin = time.monotonic()
            self.flush(self._left_to_wait)
            self._left_to_wait -= time.monotonic() - begin

    def hurry(self) -> None:
        """Wait no longer than a terminated process may."""
        self._left_to_wait = min(self._left_to_wait, _LAST_CALL)

    def close(self) -> None:
        """End the thread, and report what is left; calls that come later stay in the file."""
        self.flush_at_end()
        self._is_closing = True
        self._wake()
        with self._lock:
            file = self._file
            if file is None:
                return
            if file.is_empty:
                self._forget_file(file)
                return
            contents = file.journal.contents()
            get_logger("outbox").warning(
                "%d calls wait in %s until they are sent by: sqltrack outbox send", contents.calls, file.journal.path
            )

    def forget_inherited(self) -> None:
        """Begin anew in a forked child: file and thread are its parent's."""
        file, self._file = self._file, None
        if file is not None:
            file.keep_inherited()
        self._lock = threading.RLock()
        self._news = _thread.allocate_lock()
        self._has_thread = False
        self._is_direct = self._settings.mode != "always"

    # Keeping

    def _covers(self, work: Callable[..., None], error: DatabaseError) -> bool:
        from sqltrack._outbox._calls import name_of

        if isinstance(error, OutboxError) or not self._engines:
            return False
        if activity.works[-1].patience is not None and not isinstance(error, DatabaseUnavailableError):
            # A block of this thread holds the lock, and whoever waits for that does so in the session.
            return False
        engine = next(iter(self._engines))
        return name_of(work) is not None and is_outage(engine, error, has_written=self._has_written)

    def _keep(self, work: Callable[..., None], arguments: Sequence[Any], reason: DatabaseError | None) -> None:
        from sqltrack._outbox._calls import arguments_of, name_of, owner_of
        from sqltrack._outbox._coding import encode

        name = name_of(work)
        if name is None:
            # Metrics that wait for columns wait for longer.
            return
        stored = arguments_of(name, arguments)
        owner, text = owner_of(name, stored), encode(stored)
        with self._lock:
            file = self._file
            if file is None:
                try:
                    file = self._open(reason)
                except (SQLTrackError, OSError) as error:
                    raise OutboxError(f"the database is away, and so is the outbox: {error}") from (reason or error)
            self._is_direct = False
            file.journal.append(owner, name, text)
            table, _, row_id = owner.partition(" ")
            experiment_id = self._experiments.get(int(row_id)) if table == "runs" else None
            file.mirror.perform(name, stored, experiment_id)
        if not self._has_thread:
            self._ensure_thread()

    def _open(self, reason: DatabaseError | None) -> OutboxFile:
        from sqltrack._outbox._file import OutboxFile

        file = self._file = OutboxFile.create(self._settings, self._target)
        if reason is not None:
            get_logger("outbox").warning("calls wait in %s: %s", file.journal.path, reason)
        return file

    def _has_calls(self) -> bool:
        with self._lock:
            return self._file is not None and not self._file.is_empty

    # Sending

    def _ensure_thread(self) -> bool:
        """Return whether the thread runs, after starting it if it does not."""
        with self._lock:
            if self._has_thread or self._is_closing:
                return self._has_thread
            self._has_thread = True
        try:
            threading.Thread(target=self._run, name="sqltrack-outbox", daemon=True).start()
        except RuntimeError:
            # The interpreter ends, or the system has no thread left.
            self._has_thread = False
            return False
        return True

    def _wake(self) -> None:
        try:
            self._news.release()
        except RuntimeError:
            return

    def _run(self) -> None:
        """Send what waits, until nothing does."""
        from sqltrack.client import Client

        client = Client(self._config)
        pause = _PAUSE
        try:
            client._session.track(0)
            while not self._is_closing:
                try:
                    if self._send(client):
                        return
                    pause = _PAUSE
                    self._news.acquire(timeout=_SHORTLY)
                except SQLTrackError as error:
                    get_logger("outbox").info("calls cannot be sent yet: %s", error)
                    self._news.acquire(timeout=pause)
                    pause = min(pause * 2, _LONGEST_PAUSE)
        except Exception:
            get_logger("outbox").exception("calls are not sent by this process any more")
        finally:
            self._has_thread = False
            client._session.untrack(0)

    def _send(self, client: Any) -> bool:
        """Send what waits; return whether that is all, and calls go to the database again.

        Raises:
            SQLTrackError: the database is away.
        """
        session = client._session
        while not self._is_closing:
            file = self._file
            if file is None:
                return True
            if not session.perform_within(_AT_END, lambda: session.call(self._ends_abandoned)):
                raise DatabaseUnavailableError("the server still executes what calls have left behind")
            _, sent = file.send_batch(client)
            if sent.calls or sent.refused:
                self._left_to_wait = _AT_END
                continue
            with self._lock:
                if not file.is_empty:
                    continue
                if self._settings.mode == "always":
                    return False
                self._is_direct = True
                self._forget_file(file)
            get_logger("outbox").warning("all calls have arrived, the database is there again")
            return True
        return True

    def _ends_abandoned(self, connection: Any) -> bool:
        engines = list(self._engines)
        return engines[0].ends_abandoned(connection, engines) if engines else True

    def _forget_file(self, file: OutboxFile) -> None:
        self._file = None
        file.end()


def close_all() -> None:
    """End all outboxes of this process, which ends."""
    for outbox in list(_outboxes.values()):
        outbox.close()


def _in_child() -> None:
    for outbox in list(_outboxes.values()):
        outbox.forget_inherited()


if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows
    os.register_at_fork(after_in_child=_in_child)
