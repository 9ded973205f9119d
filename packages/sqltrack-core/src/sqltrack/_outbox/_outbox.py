"""A process' outbox for one database: it keeps calls during an outage, and a thread sends them."""

from __future__ import annotations

import _thread
import contextlib
import math
import os
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from sqltrack._activity import activity, protected
from sqltrack._creation import FoundRun, NewId
from sqltrack._logging import get_logger, has_ended
from sqltrack._outbox._others import OtherOutboxes
from sqltrack._outbox._outages import is_outage
from sqltrack._outbox._places import check_folder, temporary_path
from sqltrack._outbox._settings import OutboxSettings
from sqltrack._times import utc_now
from sqltrack.errors import (
    DatabaseError,
    DatabaseLockedError,
    DatabaseUnavailableError,
    OutboxError,
    ReadOnlyDatabaseError,
    SQLTrackError,
    TooManyConnectionsError,
    UnusableValueError,
)

if TYPE_CHECKING:
    from sqltrack._outbox._file import OutboxFile
    from sqltrack._sessions import Session
    from sqltrack.client import Client
    from sqltrack.engines.engine import Engine

__all__ = ["Outbox", "close_all", "outbox_for"]

T = TypeVar("T")

# Seconds between two attempts to send, at first and at most.
_PAUSE, _LONGEST_PAUSE = 0.25, 15.0

# Seconds for which the thread waits until the database can be reached, at first and at most.
_REACH, _LONGEST_REACH = 5.0, 40.0

# Seconds between two checks for new calls, while all of them go through the file.
_POLL_PAUSE = 0.2

# Seconds that sending waits for the lock of a file in one go.
_BUSY_TIMEOUT = 2.0

# Seconds by which the tables of a file may lag behind its calls.
_SHOWN_EVERY = 1.0

# Seconds between two attempts to create a file, while calls are kept in memory.
_DISK_PAUSE = 1.0

# Seconds that an exiting process waits for unsent calls, in all its waits together.
_AT_END = 5.0

# The same after SIGTERM, and the longest that a call may then wait for the database.
_LAST_CALL = 0.5
_LAST_PATIENCE = 0.5

# Seconds that an exiting process spends on the tables of its files.
_SHOWN_AT_END = 0.25

# An outage that begins less than so many seconds after the previous one has ended lasts for at least one second, and
# each further one for at least twice as long as the one before, up to a limit.
_SOON, _LONGEST_HOLD = 60.0, 60.0

# Bytes that may wait in memory if no file can be written.
_MEMORY_LIMIT = 64 * 2**20

# Size in bytes from which a sent file is replaced by a new one, while all calls go through it.
_ROTATED_FROM = 8 * 2**20

# Part of its limit from which a file makes calls wait for the sender, and number of calls between two checks.
_NEARLY_FULL = 0.8
_LOOK_EVERY = 50

# Ids that are chosen during an outage: greater than those that the database chooses, and exact as floats.
_IDS = (2**52, 2**53 - 1)

# Number of times that are remembered for each run.
_MAX_TIMES = 10

# Priority of closing the outboxes among all that multiprocessing does at the end of a child: the last, after the child
# has waited for children of its own.
_LAST = -100

_outboxes: dict[str, Outbox] = {}

# Id of the process whose end by multiprocessing closes the outboxes.
_closing_pid: int | None = None


def outbox_for(config: dict[str, Any], engine: Engine, settings: OutboxSettings, reconnect: float) -> Outbox:
    """Return the outbox of this process for a database.

    Args:
        config: configuration of a client.
        engine: its engine.
        settings: its settings for the outbox.
        reconnect: seconds that beginning a run waits for a server that is starting, or has no free connection.

    Raises:
        ConfigError: (a ValueError) the folder is not safe to use.
    """
    check_folder(settings.folder)
    # An outbox that sends as one user must not get the calls of another.
    target = engine.target()
    key = repr((target, str(config.get("user")), settings.folder, settings.mode))
    outbox = _outboxes.get(key)
    if outbox is None:
        outbox = _outboxes[key] = Outbox(config, target, settings, reconnect)
    outbox.add_engine(engine)
    return outbox


class Outbox:
    """Runs calls on the database, or keeps them in a file during an outage.

    All clients of a process that write to one database share it, so that calls stay in order.

    Args:
        config: the configuration for sending.
        target: parameters that name the database.
        settings: the settings.
        reconnect: as for `outbox_for`.

    Attributes:
        warned_metrics: names of metrics that clients have warned of, so that sending them does not.
    """

    def __init__(
        self, config: Mapping[str, Any], target: Mapping[str, Any], settings: OutboxSettings, reconnect: float
    ) -> None:
        self._config = {**config, "outbox": "off", "reconnect": 0}
        if target.get("engine") == "sqlite":
            # The thread has other work than to wait for a lock, and will try again.
            self._config["busy_timeout"] = _BUSY_TIMEOUT
        if not settings.is_default_folder:
            # The process may change its current folder.
            self._config["outbox_dir"] = settings.folder
        self._target = target
        self._settings = settings
        self._patience = settings.patience
        self._reconnect = reconnect
        self._engines: weakref.WeakSet[Engine] = weakref.WeakSet()
        self._has_written = False
        self._has_changed = False
        self._experiments: dict[int, int] = {}
        self._experiment_ids: dict[int, int] = {}
        self._times: dict[int, list[str]] = {}
        self.warned_metrics: set[str] = set()
        self._names: dict[str, int] = {}
        self._others = OtherOutboxes(self._config, target)
        self._begin()

    def _begin(self) -> None:
        # Reentrant, because a signal handler may interrupt the thread that holds it.
        self._lock = threading.RLock()
        # The oldest first; more than one only after a file could no longer be written.
        self._files: deque[OutboxFile] = deque()
        self._untold: deque[tuple[Any, ...]] = deque()
        self._is_direct = self._settings.mode != "always"
        self._is_away = False
        # Whether the log says that calls wait, and not yet that they have arrived.
        self._is_announced = False
        # The present outage lasts until then (monotonic), even if all calls arrive earlier.
        self._hold_until = 0.0
        self._hold = 0.0
        self._ended_at = -math.inf
        self._number = 0
        self._next_file_at = 0.0
        # Held while there is nothing new for the thread; releasing it wakes the thread.
        self._news = _thread.allocate_lock()
        self._has_thread = False
        # Calls of finalizers that the garbage collector has run in the thread, while it was sending.
        self._postponed: Collection[object] = ()
        self._is_closing = False
        # The first limit notices the end of an outage soon, and longer ones allow for a slow network.
        self._reach_limit = _REACH
        # Seconds that all waits at the end may take together, and how many are left.
        self._at_end = self._left_to_wait = _AT_END
        # Whether this process tracks runs, and so sends the files of dead processes.
        self._sends_others = False

    def add_engine(self, engine: Engine) -> None:
        """Track the statements that another engine's connections have given up."""
        self._engines.add(engine)

    def note_run(self, run_id: int, experiment_id: int, times: Iterable[datetime | None] = ()) -> None:
        """Remember the experiment of a run, and the times that were found with it."""
        self._experiments[run_id] = experiment_id
        self.note_times(run_id, times)

    def note_times(self, run_id: int, times: Iterable[datetime | None]) -> None:
        """Remember times of a run that precede the calls that follow, even if the clock is set back.

        Args:
            run_id: id of the run.
            times: when the run was started or updated; None is ignored.
        """
        new = [time.isoformat() for time in times if time is not None]
        if not new:
            return
        self._times[run_id] = [*self._times.get(run_id, ()), *new][-_MAX_TIMES:]
        with self._lock:
            if self._files:
                # If that fails, the next call moves to a new file, with these times.
                with contextlib.suppress(OutboxError):
                    self._files[-1].journal.note_times(run_id, self._times[run_id])

    def note_start(self) -> None:
        """Remember that a run was started; from now on a read-only database is an outage."""
        self._has_changed = True

    @property
    def is_direct(self) -> bool:
        """Whether calls go directly to the database."""
        return self._is_direct

    def real_experiment_id(self, experiment_id: int) -> int:
        """Return the id of an experiment in the database; during an outage it may have had another one."""
        return self._experiment_ids.get(experiment_id, experiment_id)

    # Calls

    def deliver(self, session: Session, work: Callable[..., None], arguments: Sequence[Any]) -> None:
        """Run a call, or keep it; part of `Session.submit`.

        Args:
            session: the session.
            work: the work.
            arguments: its arguments.

        Raises:
            OutboxError: the call can neither be run nor kept.
        """
        current = activity.works[-1]
        if current.block is not None:
            work(*arguments)
            return
        reason: DatabaseError | None = None
        if self._is_direct:
            current.deadline = time.monotonic() + self._patience
            try:
                work(*arguments)
            except DatabaseError as error:
                if has_ended() or not self._covers(work, error):
                    raise
                session.close_idle()
                reason = error
            else:
                self._has_written = self._has_changed = True
                return
        self._keep_work(work, arguments, reason)

    def create(
        self,
        session: Session,
        create: Callable[[], T],
        keep: Callable[[Outbox, DatabaseError | None], T],
    ) -> T:
        """Return `create()`, or during an outage the result of `keep`; see `Session.create`."""
        reason: DatabaseError | None = None
        if not self._is_away:
            try:
                self._reach(session)
                created = self._patiently(session, create)
            except DatabaseError as error:
                if not self._is_outage(error):
                    raise
                reason = error
            else:
                self._has_written = True
                return created
        return keep(self, reason)

    def begin_database(self, reason: DatabaseError | None) -> None:
        """Keep the creation of missing tables for later.

        Args:
            reason: why the database seems to be away, None if that is known.
        """
        self._keep("begin_database", (), reason)

    def begin_experiment(self, known_id: int | None, name: str | None, reason: DatabaseError | None) -> int:
        """Return the id of an experiment that is looked up, or created, after the outage.

        Args:
            known_id: its id; may be None if there is a name.
            name: its name; may be None if there is an id.
            reason: as for `begin_database`.
        """
        if known_id is None and name in self._names:
            return self._names[name]
        new_id = _random_id() if known_id is None else known_id
        self._keep("begin_experiment", (new_id, known_id, name), reason)
        if name is not None:
            self._names[name] = new_id
        return new_id

    def begin_run(
        self,
        experiment_id: int | None,
        run_id: int | None,
        description: Mapping[str, Any],
        reason: DatabaseError | None,
        new_id: NewId | None = None,
    ) -> FoundRun:
        """Return a run that is looked up, or created, after the outage.

        Args:
            experiment_id: id of its experiment; may be None if the run exists.
            run_id: its id, None for a new one.
            description: as for `sqltrack._creation.get_or_create_run`.
            reason: as for `begin_database`.
            new_id: contains the id that the database has given to the run, if any.

        Raises:
            UnusableValueError: neither an experiment nor a run is given.
        """
        if run_id is None and experiment_id is None:
            raise UnusableValueError("a new run needs an experiment, got neither experiment_id nor run_id")
        if run_id is None:
            given = None if new_id is None else new_id.value
            run_id = _random_id() if given is None else given
        if experiment_id is not None:
            self.note_run(run_id, experiment_id)
        self._keep("begin_run", (run_id, experiment_id, dict(description), utc_now()), reason)
        return FoundRun(run_id, experiment_id or 0, None)

    def require_direct(self) -> None:
        """Wait until calls go directly to the database again, because transactions need it.

        Raises:
            DatabaseUnavailableError: they do not, within the time that a call may take.
        """
        self._hold_until = 0.0
        if not self._is_direct and not self.flush(self._patience):
            raise DatabaseUnavailableError(
                "a 'with client:' block cannot begin while calls wait in the outbox, because the database is away",
                "log without a block: calls outside of one are retried, or kept in the outbox",
            )

    # The end

    def flush(self, timeout: float | None = None, run_id: int | None = None) -> bool:
        """Wait until the database has stored or refused all calls of this process.

        Args:
            timeout: seconds to wait at most, None for no limit.
            run_id: id of a run; also wait for calls about it that other processes of this host have made so far.

        Returns:
            Whether it has.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        pause = 0.001
        while self._has_calls() or not self._has_returned:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return False
            if not self._ensure_thread():
                return False
            self._wake()
            time.sleep(pause if left is None else min(pause, left))
            pause = min(pause * 2, 0.05)
        if run_id is None:
            return True
        from sqltrack._outbox._calls import owner_of

        return self._others.flush(owner_of("set_columns", ("runs", run_id)), deadline)

    def flush_at_end(self) -> bool:
        """Wait a moment for unsent calls, because a run has ended or the process exits; all waits share one limit.

        Returns:
            Whether dead processes of this host have left files that could not be sent.
        """
        left = False
        if self._left_to_wait > 0 and (self._sends_others or self._has_calls()):
            begin = time.monotonic()
            has_sent = not self._has_calls() or self.flush(self._left_to_wait)
            self.count_wait(begin)
            if has_sent and self._sends_others:
                begin = time.monotonic()
                left = not self._others.send_dead(max(self._left_to_wait, 0))
                self._left_to_wait -= time.monotonic() - begin
        return left

    def count_wait(self, begin: float) -> None:
        """Count the time since `begin` (monotonic) as a wait at the end, if calls are left.

        The call that sets a final status may be the first to meet an outage, and wait for the database.
        """
        if self._has_calls():
            self._left_to_wait -= time.monotonic() - begin

    def hurry(self) -> None:
        """Reduce all waits to the time that a terminated process has."""
        self.limit_wait_at_end(_LAST_CALL)
        self._patience = min(self._patience, _LAST_PATIENCE)

    def limit_wait_at_end(self, seconds: float) -> None:
        """Wait for at most so many seconds for unsent calls when the process exits; others of this user send them."""
        self._at_end = min(self._at_end, seconds)
        self._left_to_wait = min(self._left_to_wait, self._at_end)

    def close(self) -> None:
        """Stop the thread, and log the number of unsent calls; later calls stay in the file."""
        left = self.flush_at_end()
        self._is_closing = True
        self._wake()
        self._wait_for_postponed()
        protected(self._close)
        if left:
            get_logger("outbox").warning(
                "calls of other processes, which have ended, wait in %s until they are sent by: sqltrack outbox send",
                self._settings.folder,
            )

    def reopen(self) -> None:
        """Undo `close`, because the process may make further calls."""
        self._is_closing = False

    def _wait_for_postponed(self) -> None:
        """Wait a moment until the thread has stopped sending and made its postponed calls."""
        deadline = time.monotonic() + _LAST_CALL
        while self._postponed and time.monotonic() < deadline:
            time.sleep(0.001)

    def _close(self) -> None:
        with contextlib.suppress(SQLTrackError):
            self._show(_SHOWN_AT_END)
        with self._lock:
            files = list(self._files)
            ended = [file for file in files if file.is_empty]
            for file in ended:
                self._files.remove(file)
                self._end_file(file)
            left = [self._out_of_memory(file) for file in files if file not in ended]
        self._tell()
        for file in left:
            self._report(file)

    def _report(self, file: OutboxFile) -> None:
        calls = file.journal.contents().calls
        if calls == file.reported:
            return
        file.reported = calls
        if file.is_in_memory:
            get_logger("outbox").error("%d calls are lost: neither the database nor an outbox can be written", calls)
        elif os.path.dirname(file.journal.path) == temporary_path():
            told = (
                "%d calls wait in %s, which may not survive a restart, until they are sent by: sqltrack outbox send %s"
            )
            get_logger("outbox").warning(told, calls, file.journal.path, file.journal.path)
        else:
            get_logger("outbox").warning(
                "%d calls wait in %s until they are sent by: sqltrack outbox send", calls, file.journal.path
            )

    def _out_of_memory(self, file: OutboxFile) -> OutboxFile:
        """Return a file with calls that are only in memory, in the temporary folder if necessary."""
        if file.is_in_memory:
            file = self._leave_memory(file, self._settings)
        if file.is_in_memory:
            file = self._leave_memory(file, self._settings._replace(folder=temporary_path(), is_default_folder=False))
        return file

    def forget_inherited(self) -> None:
        """Start again in a forked child, without the files and thread of its parent."""
        for file in self._files:
            file.keep_inherited()
        self._begin()

    # Keeping

    def _is_outage(self, error: DatabaseError) -> bool:
        engine = next(iter(self._engines), None)
        if engine is None or isinstance(error, OutboxError):
            return False
        if isinstance(error, ReadOnlyDatabaseError) and not self._has_changed:
            # A standby that is meant for reading is no place for runs, even if it has told the id of an experiment.
            return False
        return is_outage(engine, error, has_written=self._has_written)

    def _covers(self, work: Callable[..., None], error: DatabaseError) -> bool:
        from sqltrack._outbox._calls import name_of

        if activity.works[-1].patience is not None and not isinstance(error, DatabaseUnavailableError):
            # A block of this thread holds the lock, so the session waits for it instead.
            return False
        if name_of(work) is None:
            return False
        # A lock is no mistake in the configuration, so it is an outage from the first call on.
        return isinstance(error, DatabaseLockedError) or self._is_outage(error)

    def _reach(self, session: Session) -> None:
        """Check that the database can be reached, and wait for a server that is starting or has no free connection.

        Raises:
            DatabaseError: it cannot.
        """
        deadline = time.monotonic() + self._reconnect
        while True:
            try:
                self._patiently(session, lambda: session.ask(_do_nothing))
                return
            except DatabaseUnavailableError as error:
                is_busy = isinstance(error, TooManyConnectionsError) or error.is_starting
                if not is_busy or time.monotonic() >= deadline:
                    raise
            time.sleep(_PAUSE)

    def _patiently(self, session: Session, create: Callable[[], T]) -> T:
        """Return `create()`, without a time limit for the first one, which waits as if there were no outbox."""
        return session.call_within(self._patience, create) if self._has_written else create()

    def _keep_work(self, work: Callable[..., None], arguments: Sequence[Any], reason: DatabaseError | None) -> None:
        from sqltrack._outbox._calls import arguments_of, name_of

        name = name_of(work)
        # Work without a name moves waiting metrics, which can wait longer.
        if name is not None:
            self._keep(name, arguments_of(name, arguments), reason)

    def _keep(self, name: str, arguments: tuple[Any, ...], reason: DatabaseError | None) -> None:
        """Store a call in the file.

        Raises:
            OutboxError: it cannot be stored.
        """
        from sqltrack._outbox._calls import owner_of
        from sqltrack._outbox._coding import encode

        owner, text = owner_of(name, arguments), encode(arguments)
        self._make_room()
        try:
            self._append(owner, name, text, reason)
        finally:
            # Only now: log handlers hold locks, too, and may log to a run themselves.
            self._tell()
        if not self._has_thread:
            self._ensure_thread()

    def _append(self, owner: str, name: str, text: str, reason: DatabaseError | None) -> None:
        with self._lock:
            if reason is not None:
                self._is_away = True
            file = self._file_to_write(reason)
            try:
                file.append(owner, name, text)
            except OutboxError as error:
                # The disk is full, for example, or the folder was removed.
                file = self._file_after(file, error)
                file.append(owner, name, text)
            if self._is_direct:
                self._begin_outage()

    def _begin_outage(self) -> None:
        """Send all calls through the file, for a while if outages follow each other closely.

        A full disk, for example, may have room for a few rows again and again.
        """
        self._is_direct = False
        now = time.monotonic()
        is_soon = now < self._ended_at + _SOON
        self._hold = min(max(2 * self._hold, 1.0), _LONGEST_HOLD) if is_soon else 0.0
        self._hold_until = now + self._hold

    def _tell(self) -> None:
        """Log the messages that were collected while the lock was held."""
        while self._untold:
            with contextlib.suppress(IndexError):
                level, *message = self._untold.popleft()
                getattr(get_logger("outbox"), level)(*message)

    def _file_to_write(self, reason: DatabaseError | None) -> OutboxFile:
        file = self._files[-1] if self._files else None
        if file is None:
            try:
                file = self._create_file(self._settings)
            except (SQLTrackError, OSError) as error:
                return self._begin_memory(error)
            if reason is not None:
                self._is_announced = True
                self._untold.append(("warning", "calls wait in %s: %s", file.journal.path, reason))
        elif file.is_in_memory and time.monotonic() >= self._next_file_at:
            return self._leave_memory(file, self._settings)
        return file

    def _create_file(self, settings: OutboxSettings) -> OutboxFile:
        from sqltrack._outbox._file import OutboxFile

        file = OutboxFile.create(settings, self._target, self._times, self._experiment_ids)
        self._files.append(file)
        _close_with_child()
        return file

    def _file_after(self, file: OutboxFile, error: OutboxError) -> OutboxFile:
        """Return the replacement for a file that cannot be written: a new one, or memory."""
        if file.is_in_memory:
            raise error
        try:
            return self._create_file(self._settings)
        except (SQLTrackError, OSError):
            return self._begin_memory(error)

    def _begin_memory(self, error: Exception) -> OutboxFile:
        from sqltrack._outbox._file import OutboxFile

        self._is_announced = True
        self._untold.append(("error", "calls are only in memory, because no outbox can be written: %s", error))
        self._next_file_at = time.monotonic() + _DISK_PAUSE
        file = OutboxFile.in_memory(self._target, self._times, self._experiment_ids)
        self._files.append(file)
        _close_with_child()
        return file

    def _leave_memory(self, memory: OutboxFile, settings: OutboxSettings) -> OutboxFile:
        """Return a file with the calls from memory, or the same memory if no file can be written yet."""
        self._next_file_at = time.monotonic() + _DISK_PAUSE
        try:
            file = self._create_file(settings)
        except (SQLTrackError, OSError):
            return memory
        try:
            file.take_over(memory)
        except SQLTrackError:
            self._files.remove(file)
            file.end()
            return memory
        self._files.remove(memory)
        memory.end()
        self._untold.append(("warning", "calls wait in %s, and no longer in memory", file.journal.path))
        return file

    def _make_room(self) -> None:
        """Check the size of the file from time to time; wait for the sender if there is little room.

        Raises:
            OutboxError: the file is full.
        """
        self._number += 1
        if self._number % _LOOK_EVERY or not self._files:
            return
        deadline = time.monotonic() + self._patience
        while True:
            with self._lock:
                if not self._files:
                    return
                file = self._files[-1]
                size = file.journal.size
                limit = _MEMORY_LIMIT if file.is_in_memory else self._settings.limit
            if size < limit * _NEARLY_FULL or file.is_empty:
                return
            if self._is_away or time.monotonic() >= deadline:
                break
            self._wake()
            time.sleep(_POLL_PAUSE)
        if size >= limit:
            # Every call must fail now, not one of many.
            self._number = _LOOK_EVERY - 1
            raise OutboxError(
                f"the outbox is full: {size:,} bytes, and the database is away",
                None if file.is_in_memory else "raise outbox_limit, or send it: sqltrack outbox send",
            )

    @property
    def _has_returned(self) -> bool:
        """Whether calls go to the database again, after it has received all calls that were kept, or will do later."""
        return self._settings.mode == "always" or not self._files or self._is_held

    @property
    def _is_held(self) -> bool:
        """Whether calls go through the file for a while, although the database receives them."""
        return time.monotonic() < self._hold_until

    def _has_calls(self) -> bool:
        # A postponed call leaves the queue after it was run, and may be kept in a file.
        if self._postponed:
            return True
        with self._lock:
            return any(not file.is_empty for file in self._files)

    # Sending

    def send_left_behind(self) -> None:
        """Send the outboxes of dead processes of the same user for this database, because a run begins.

        A thread sends them, and only once. Those of this host are sent again at the end of outages and of runs.
        """
        if not self._sends_others:
            self._sends_others = True
            self._others.send_all_dead()

    def _ensure_thread(self) -> bool:
        """Start the thread if necessary; return whether it runs."""
        with self._lock:
            if self._has_thread or self._is_closing:
                return self._has_thread
            self._has_thread = True
        try:
            threading.Thread(target=self._run, name="sqltrack-outbox", daemon=True).start()
        except RuntimeError:
            # The interpreter is exiting, or the system has no thread left.
            self._has_thread = False
            return False
        return True

    def _wake(self) -> None:
        with contextlib.suppress(RuntimeError):
            self._news.release()

    def _run(self) -> None:
        """Send calls until none are left."""
        from sqltrack.client import Client

        client = Client(self._config)
        client.metrics._warnings.share(self.warned_metrics)
        self._postponed = activity.waiting
        pause = _PAUSE
        told: type[Exception] | None = None
        has_ended = False
        try:
            client._session.track(0)
            while not self._is_closing:
                try:
                    if protected(self._send, client) and protected(self._may_end):
                        has_ended = True
                        return
                    pause, told = _PAUSE, None
                    self._news.acquire(timeout=_POLL_PAUSE)
                except SQLTrackError as error:
                    self._is_away = True
                    if told is not type(error):
                        told = type(error)
                        protected(get_logger("outbox").info, "calls cannot be sent yet: %s", error)
                    if type(error) is DatabaseError:
                        # SQLite would never read again the damaged pages that this connection has read.
                        client._session.close_idle()
                    self._wait(pause)
                    pause = min(pause * 2, _LONGEST_PAUSE)
        except Exception:
            get_logger("outbox").exception("this process has stopped sending calls")
        finally:
            if not has_ended:
                self._has_thread = False
            # Calls that are left are made by the next thread that catches up.
            if self._postponed is activity.waiting:
                self._postponed = ()
            client._session.untrack(0)

    def _may_end(self) -> bool:
        """Return whether the thread may end; a later call starts another one."""
        with self._lock:
            if self._files:
                return False
            self._has_thread = False
            return True

    def _wait(self, seconds: float) -> None:
        """Wait for new work, and meanwhile update the tables of the files."""
        deadline = time.monotonic() + seconds
        while not self._is_closing:
            protected(self._show, deadline - time.monotonic())
            left = deadline - time.monotonic()
            if left <= 0 or self._news.acquire(timeout=min(left, _SHOWN_EVERY)):
                return

    def _show(self, seconds: float) -> None:
        """Update the tables of the files, for at most so many seconds: calls may come faster."""
        deadline = time.monotonic() + seconds
        with self._lock:
            files = list(self._files)
        for file in files:
            file.show(self._experiments, deadline)

    def _send(self, client: Client) -> bool:
        """Send calls; return whether all were sent and calls go directly to the database again.

        Raises:
            SQLTrackError: the database is away.
        """
        while not self._is_closing:
            with self._lock:
                file = self._files[0] if self._files else None
            if file is None:
                return self._settings.mode != "always"
            self._prepare_to_send(client)
            sent = file.send_batch(client)
            if file.sender is not None:
                self._learn(file.sender.experiment_ids)
            if sent.calls or sent.refused:
                self._left_to_wait = self._at_end
                continue
            was_away, self._is_away = self._is_away, False
            if was_away and self._sends_others:
                self._others.send_dead(0)
            has_ended = self._has_ended(file)
            if has_ended or (file in self._files and file.is_empty):
                if self._is_announced and not self._is_held:
                    self._is_announced = False
                    get_logger("outbox").warning("the database is there again, and all calls have arrived")
                return has_ended and self._settings.mode != "always"
        return True

    def _learn(self, experiment_ids: Mapping[int, int]) -> None:
        """Remember the ids of experiments in the database, also for files whose calls still have the other ids."""
        with self._lock:
            if experiment_ids.items() <= self._experiment_ids.items():
                return
            self._experiment_ids.update(experiment_ids)
            for file in list(self._files)[1:]:
                with contextlib.suppress(OutboxError):
                    file.note_experiments(self._experiment_ids)

    def _prepare_to_send(self, client: Client) -> None:
        """Check that the database can be reached, and no longer executes statements that were given up.

        Raises:
            DatabaseError: it cannot, or still does.
        """
        session, engine = client._session, client.engine
        # A batch that took too long may still be executed, and hold its locks.
        engines = [engine, *self._engines]
        begin = time.monotonic()
        try:
            has_ended = session.perform_within(
                self._reach_limit,
                lambda: session.call(lambda connection: engine.ends_abandoned(connection, engines)),
            )
        except DatabaseUnavailableError:
            if time.monotonic() - begin > self._reach_limit / 2:
                self._reach_limit = min(self._reach_limit * 2, _LONGEST_REACH)
            raise
        self._reach_limit = _REACH
        if not has_ended:
            raise DatabaseLockedError("the server still executes statements that were given up")

    def _has_ended(self, file: OutboxFile) -> bool:
        """Remove a file that was sent completely; return whether no file is left."""
        with self._lock:
            if not file.is_empty:
                return False
            is_last = len(self._files) == 1
            is_always = self._settings.mode == "always"
            if is_last and (self._is_held or (is_always and file.journal.size < _ROTATED_FROM)):
                return False
            self._files.popleft()
            if is_last:
                self._is_direct = not is_always
                self._ended_at = time.monotonic()
            self._end_file(file)
        self._tell()
        return is_last

    def _end_file(self, file: OutboxFile) -> None:
        damage = file.end()
        if damage is not None:
            told = "a part of %s cannot be read (%s): all other calls have arrived, and the file is kept"
            self._untold.append(("error", told, file.journal.path, damage))


def _do_nothing(connection: Any) -> None:
    """Do nothing with a connection."""


def _random_id() -> int:
    # Slow to import, and seldom needed.
    import random

    return random.SystemRandom().randint(*_IDS)


def close_all() -> None:
    """Close all outboxes of this process, which is exiting."""
    for outbox in list(_outboxes.values()):
        outbox.close()


def _close_with_child() -> None:
    """Let multiprocessing close the outboxes at the end of a child, which may be `os._exit` without `atexit`."""
    global _closing_pid
    processes = sys.modules.get("multiprocessing.process")
    if processes is None or processes.parent_process() is None or _closing_pid == os.getpid():
        return
    from multiprocessing.util import Finalize

    _closing_pid = os.getpid()
    Finalize(None, _close_at_end_of_child, exitpriority=_LAST)


def _close_at_end_of_child() -> None:
    close_all()
    for outbox in list(_outboxes.values()):
        # A spawned child ends as usual, and may store the status of a run after this.
        outbox.reopen()


def _in_child() -> None:
    for outbox in list(_outboxes.values()):
        outbox.forget_inherited()


if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows
    os.register_at_fork(after_in_child=_in_child)
