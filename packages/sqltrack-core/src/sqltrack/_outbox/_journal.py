"""A file of calls that wait to be sent: an ordinary SQLTrack database in SQLite, with a table of the calls."""

from __future__ import annotations

import bisect
import contextlib
import itertools
import json
import math
import os
import re
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from sqltrack._outbox._coding import decode, encode
from sqltrack._outbox._places import OutboxLock, check_file, new_path, state_of
from sqltrack._times import utc_now
from sqltrack.engines.sqlite import SQLiteEngine
from sqltrack.engines.sqlite._connection import Connection
from sqltrack.errors import DatabaseError, NotADatabaseError, OutboxError

__all__ = [
    "EXPERIMENTS",
    "MEMORY",
    "REFUSED_SUFFIX",
    "SENT_SUFFIX",
    "SIDE_FILES",
    "Call",
    "Contents",
    "Journal",
    "Times",
    "about_file",
    "create_journal",
    "lock_path",
    "remove_remains",
]

#: Suffix of the file with calls that the database has refused permanently.
REFUSED_SUFFIX = ".refused"

#: Suffix of a file that was sent completely, and is kept for a while.
SENT_SUFFIX = ".sent"

#: In place of a path: the calls are in memory only.
MEMORY = ":memory:"

# Names of notes: the parameters of the database, and the known times of a run.
_TARGET, _TIMES = "target", "times of run {}"

# Name of the position up to which calls were sent, in a file that keeps them.
_SENT = "sent"

#: Name of the note of ids of experiments in the database, by the ids that they got during an outage.
EXPERIMENTS: str = "experiments"

#: Suffixes of the files that SQLite keeps next to a database.
SIDE_FILES: Sequence[str] = ("-wal", "-shm", "-journal")

_SCRIPT = """
    CREATE TABLE outbox_about (name TEXT PRIMARY KEY, value TEXT NOT NULL);
    CREATE TABLE outbox_calls (
        seq INTEGER PRIMARY KEY,
        time TEXT NOT NULL,
        owner TEXT NOT NULL,
        name TEXT NOT NULL,
        arguments TEXT NOT NULL,
        reason TEXT
    );
"""
_COLUMNS = "seq, time, owner, name, arguments, reason"

_APPEND_SQL = "INSERT INTO outbox_calls (time, owner, name, arguments) VALUES (?, ?, ?, ?)"

# Seconds to wait for another process that reads the file.
_TIMEOUT = 5.0

# Bytes of arguments after which `Journal.read` stops. Decoded and sent, they take several times as much memory.
_READ_BYTES = 4 * 2**20

# Smallest size of a call in bytes, which limits how many of them a damaged file can contain.
_LEAST_BYTES = 50

# Number of positions that are searched at once in a damaged file.
_RANGE = 1_024

# Suffix of a lock file.
_LOCK_SUFFIX = ".lock"

# Suffix of a file that is being created.
_NEW_SUFFIX = ".new"

# The engine tests with such files and folders what the file system can do.
_PROBE = re.compile(r"\.(.+\.db)-[^-.]+")

# Suffixes of files that are useless without the file they belong to.
_UNFINISHED = (_LOCK_SUFFIX, _NEW_SUFFIX, *(_NEW_SUFFIX + suffix for suffix in SIDE_FILES), *SIDE_FILES)


# For each run, the times of its changes that precede all calls in a file, as ISO text.
Times: TypeAlias = Mapping[int, Sequence[str]]


class Call(NamedTuple):
    """A call that waits.

    Attributes:
        seq: its position in the file.
        time: when it was made.
        owner: its subject, such as "runs 7"; calls with different subjects may be sent in any order.
        name: name of the call.
        arguments: its arguments.
        reason: why the database has refused it, None if it has not.
    """

    seq: int
    time: datetime
    owner: str
    name: str
    arguments: tuple[Any, ...]
    reason: str | None


class Contents(NamedTuple):
    """The contents of a file.

    Attributes:
        calls: number of calls.
        runs: number of runs that the calls are about.
        first: time of the first call, None if there are no calls.
        last: time of the last call, None if there are no calls.
    """

    calls: int
    runs: int
    first: datetime | None
    last: datetime | None


class Journal:
    """The calls of a file.

    Args:
        path: path of the file, which is created if it does not exist.
        about: notes to store in a new file.
        keeps: whether calls stay in the file after they were sent.

    Attributes:
        path: the same.
        damage: SQLite's message about a part of the file that cannot be read, if any.

    Raises:
        OutboxError: the file is not safe to use, or cannot be used.
    """

    def __init__(self, path: str, about: Mapping[str, Any] | None = None, *, keeps: bool = False) -> None:
        self.path = path
        self._keeps = keeps
        self._sent = 0
        self.damage: str | None = None
        # Reentrant, because a signal handler may interrupt the thread that holds it.
        self._lock = threading.RLock()
        # Positions of the calls that can be found in a damaged file, None if it is not known to be damaged.
        self._readable: list[int] | None = None
        try:
            if path != MEMORY:
                if about is not None and not os.path.exists(path):
                    _create(path, about)
                check_file(path)
            self._connection: Connection = self._connect()
            self._connection.autocommit_enabled = True
            if path == MEMORY:
                _fill(self._connection, about or {})
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        if about is None and not path.endswith(SENT_SUFFIX):
            sent = self.about().get(_SENT, 0)
            self._sent = sent if type(sent) is int else 0

    @property
    def size(self) -> int:
        """Size in bytes, including the files that SQLite keeps next to it."""
        if self.path == MEMORY:
            ((size,),) = self._fetch("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
            return int(size)
        sizes = 0
        for suffix in ("", *SIDE_FILES):
            with contextlib.suppress(OSError):
                sizes += os.stat(self.path + suffix).st_size
        return sizes

    def about(self) -> dict[str, Any]:
        """Return the notes in the file, as many of them as can be read."""
        notes: dict[str, Any] = {}
        for _ in range(2):
            try:
                with self._lock:
                    # One by one, because SQLite reads all pages before the damaged one.
                    for name, value in self._connection.execute("SELECT name, value FROM outbox_about"):
                        notes[name] = json.loads(value)
                return notes
            except (sqlite3.Error, ValueError) as error:
                self._note_damage(error)
        return notes

    def note(self, name: str, value: Any) -> None:
        """Store a note in the file.

        Raises:
            OutboxError: it cannot be stored.
        """
        try:
            self._execute("INSERT OR REPLACE INTO outbox_about VALUES (?, ?)", (name, json.dumps(value)))
        except sqlite3.Error as error:
            raise self._unusable(error) from error

    def note_times(self, run_id: int, times: Sequence[str]) -> None:
        """Store the times of a run that precede all later calls, whatever the clock says.

        Raises:
            OutboxError: they cannot be stored.
        """
        self.note(_TIMES.format(run_id), times)

    def times_of(self, run_id: int) -> set[datetime]:
        """Return the times of a run that precede the calls in this file."""
        with contextlib.suppress(sqlite3.Error, TypeError, ValueError):
            sql = "SELECT value FROM outbox_about WHERE name = ?"
            for (value,) in self._fetch(sql, (_TIMES.format(run_id),)):
                return set(map(datetime.fromisoformat, json.loads(value)))
        return set()

    def about_of_refused(self) -> dict[str, Any]:
        """Return the notes for a file of calls of this file that the database refuses."""
        prefix = _TIMES.format("")
        return {name: value for name, value in self.about().items() if name == _TARGET or name.startswith(prefix)}

    def append(self, owner: str, name: str, arguments: str) -> None:
        """Store a call, and return once it is on its way to the disk.

        Args:
            owner: its subject.
            name: name of the call.
            arguments: its arguments, see `encode`.

        Raises:
            OutboxError: it cannot be stored.
        """
        connection = self._connection
        try:
            with self._lock:
                if self.path != MEMORY:
                    connection.check_file()
                connection.write(_APPEND_SQL, (utc_now().isoformat(), owner, name, arguments))
        except sqlite3.Error as error:
            raise self._unusable(error) from error

    def take_over(self, calls: Sequence[Call], reason: str | None = None) -> None:
        """Store calls from another file, all or none, and each only once.

        Args:
            calls: the calls.
            reason: why the database has refused them, None if it has not.

        Raises:
            OutboxError: they cannot be stored.
        """
        try:
            with self._lock:
                found = [(call.time.isoformat(), call.owner, call.name, encode(call.arguments)) for call in calls]
                times = [values[0] for values in found]
                sql = "SELECT time, owner, name, arguments FROM outbox_calls WHERE time BETWEEN ? AND ?"
                known = set(self._fetch(sql, (min(times), max(times))))
                new = [(*values, reason) for values in found if values not in known]
                with _transaction(self._connection):
                    sql = "INSERT INTO outbox_calls (time, owner, name, arguments, reason) VALUES (?, ?, ?, ?, ?)"
                    self._connection.executemany(sql, new)
        except sqlite3.Error as error:
            raise self._unusable(error) from error

    def read(self, limit: int, after: int = 0) -> list[Call]:
        """Return the first calls, as many of them as can be read, see `damage`.

        Large calls are returned in parts of a few megabytes, so the rest follows with another `after`.

        Args:
            limit: the largest number of calls, at least 1.
            after: the position after which to begin.
        """
        if self._readable is None:
            try:
                return [self._call(row) for row in self._rows(limit, after)]
            except Exception as error:
                # Damaged data may look like anything, so any error is possible.
                self._note_damage(error)
        return list(itertools.islice(self._salvaged(after, _READ_BYTES), limit))

    def check(self) -> None:
        """Check the whole file, and set `damage` if a part is damaged."""
        if self.damage is None:
            try:
                ((found,),) = self._fetch("PRAGMA quick_check(1)")
                if found != "ok":
                    self.damage = found
            except sqlite3.Error as error:
                self._note_damage(error)

    def forget(self, first: int, last: int) -> None:
        """Remove the calls from one position to another.

        Raises:
            OutboxError: they cannot be removed.
        """
        try:
            if self._keeps:
                self._write("INSERT OR REPLACE INTO outbox_about VALUES (?, ?)", (_SENT, json.dumps(last)))
                self._sent = last
            else:
                self._write("DELETE FROM outbox_calls WHERE seq BETWEEN ? AND ?", (first, last))
        except sqlite3.Error as error:
            raise self._unusable(error) from error

    def skip(self, last: int) -> None:
        """Stop reading calls up to a position, because they were sent and cannot be removed.

        Another process would send them again, which changes nothing.
        """
        self._sent = last

    @property
    def is_empty(self) -> bool:
        """Whether the file contains no calls; False if it cannot be read."""
        try:
            return not self._fetch("SELECT seq FROM outbox_calls WHERE seq > ? LIMIT 1", (self._sent,))
        except sqlite3.Error as error:
            if not _is_locked(error):
                self._note_damage(error)
            return False

    def ends_of(self, owner: str) -> tuple[int, int] | None:
        """Return the positions of the first and the last call about a subject, None if there are none.

        Of a damaged file, they are the first and the last possible ones.
        """
        sql = "SELECT seq FROM outbox_calls WHERE seq > ? AND owner = ? ORDER BY seq {} LIMIT 1"
        try:
            rows = [row for order in ("ASC", "DESC") for row in self._fetch(sql.format(order), (self._sent, owner))]
        except sqlite3.Error:
            return (0, 2**63 - 1)
        return (rows[0][0], rows[-1][0]) if rows else None

    def contents(self) -> Contents:
        """Return the contents of the file, where readable."""
        runs_sql = "COUNT(DISTINCT CASE WHEN owner LIKE 'runs %' THEN owner END)"
        sql = f"SELECT COUNT(*), {runs_sql}, MIN(time), MAX(time) FROM outbox_calls WHERE seq > ?"
        try:
            ((calls, runs, first, last),) = self._fetch(sql, (self._sent,))
        except sqlite3.DatabaseError as error:
            self._note_damage(error)
            number = 0
            owned: set[str] = set()
            ends: list[datetime] = []
            for call in self._salvaged(0):
                number += 1
                if call.owner.startswith("runs "):
                    owned.add(call.owner)
                ends = [*ends[:1], call.time]
            return Contents(number, len(owned), ends[0] if ends else None, ends[-1] if ends else None)
        return Contents(calls, runs, first and datetime.fromisoformat(first), last and datetime.fromisoformat(last))

    def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()

    def set_aside(self) -> None:
        """Close the file, which was sent completely, and rename it accordingly."""
        with contextlib.suppress(sqlite3.Error):
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.close()
        with contextlib.suppress(OSError):
            os.rename(self.path, self.path + SENT_SUFFIX)

    def remove(self) -> None:
        """Close the file and delete it."""
        self.close()
        # The files beside it first, so that none is taken for another file's if this ends here. Twice, because one that
        # reads the file creates them again.
        for suffix in (*SIDE_FILES, "", *SIDE_FILES):
            with contextlib.suppress(OSError):
                os.unlink(self.path + suffix)

    def _execute(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Execute a statement, in one thread at a time."""
        with self._lock:
            cursor: sqlite3.Cursor = self._connection.execute(sql, values)
        return cursor

    def _write(self, sql: str, values: Sequence[Any]) -> None:
        """Execute a statement, even if the open file was removed."""
        with self._lock:
            self._connection.write(sql, values)

    def _fetch(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._lock:
            rows: list[tuple[Any, ...]] = self._connection.execute(sql, values).fetchall()
        return rows

    def _rows(self, limit: int, after: int) -> list[tuple[Any, ...]]:
        sql = f"SELECT {_COLUMNS} FROM outbox_calls WHERE seq > ? ORDER BY seq LIMIT ?"
        rows: list[tuple[Any, ...]] = []
        size = 0
        with self._lock, contextlib.closing(self._connection.execute(sql, (max(after, self._sent), limit))) as cursor:
            for row in cursor:
                rows.append(row)
                size += _size(row)
                if size >= _READ_BYTES:
                    break
        return rows

    def _call(self, row: Sequence[Any]) -> Call:
        seq, time, owner, name, arguments, reason = row
        return Call(seq, datetime.fromisoformat(time), owner, name, decode(arguments), reason)

    def _note_damage(self, error: Exception) -> None:
        """Remember that the file is damaged, and look for its readable parts.

        Raises:
            OutboxError: it is only locked.
        """
        if _is_locked(error):
            raise self._unusable(error) from error
        self.damage = str(error) or type(error).__name__
        if self._readable is None:
            # Without this, SQLite reads nothing of a truncated file. It also allows changes, which are not made.
            with contextlib.suppress(sqlite3.Error):
                self._execute("PRAGMA writable_schema = ON")
            self._readable = list(self._readable_places())

    def _salvaged(self, after: int, most: float = math.inf) -> Iterator[Call]:
        """Yield the calls of a damaged file one by one, without those that cannot be read, up to `most` bytes."""
        sql = f"SELECT {_COLUMNS} FROM outbox_calls WHERE seq = ?"
        places = self._readable or []
        for place in places[bisect.bisect_right(places, max(after, self._sent)) :]:
            try:
                rows = self._fetch(sql, (place,))
                call = self._call(rows[0]) if rows else None
            except Exception as error:
                self.damage = str(error) or type(error).__name__
                continue
            if call is not None:
                yield call
                most -= _size(rows[0])
                if most <= 0:
                    return

    def _readable_places(self) -> Iterator[int]:
        """Yield the positions of calls that SQLite can find; halve ranges that it cannot read."""
        try:
            self._fetch("SELECT rootpage FROM sqlite_master WHERE name = 'outbox_calls'")
        except sqlite3.Error:
            return
        first, last = self._ends()
        ranges = [(start, min(start + _RANGE - 1, last)) for start in range(first, last + 1, _RANGE)]
        ranges.reverse()
        while ranges:
            low, high = ranges.pop()
            # To find the end of a range, SQLite looks at the following row, which may be unreadable.
            condition = "BETWEEN ? AND ?" if low < high else "= max(?, ?)"
            try:
                rows = self._fetch(f"SELECT seq FROM outbox_calls WHERE seq {condition} ORDER BY seq", (low, high))
            except sqlite3.Error:
                if low < high:
                    middle = (low + high) // 2
                    ranges += [(middle + 1, high), (low, middle)]
                continue
            for (place,) in rows:
                yield place

    def _ends(self) -> tuple[int, int]:
        """Return the first and the last possible position of a call in a damaged file."""
        first = self._number("SELECT seq FROM outbox_calls ORDER BY seq LIMIT 1")
        last = self._number("SELECT seq FROM outbox_calls ORDER BY seq DESC LIMIT 1")
        most = self.size // _LEAST_BYTES
        if last is None:
            return first or 1, (first or 1) + most
        return max(1, last - most) if first is None else first, last

    def _number(self, sql: str) -> int | None:
        """Return the number that a query finds, None if there is none or it cannot be read."""
        try:
            rows = self._fetch(sql)
        except sqlite3.Error:
            return None
        return rows[0][0] if rows and type(rows[0][0]) is int else None

    def _connect(self) -> Connection:
        """Open the file as SQLTrack opens its databases, with the journal mode that the file system allows."""
        try:
            if self.path != MEMORY:
                engine = SQLiteEngine({"dbpath": self.path, "busy_timeout": _TIMEOUT})
                # Another process may have sent and deleted it a moment ago.
                engine.may_create = False
                return engine.connect()
        except DatabaseError as error:
            if type(error) not in (DatabaseError, NotADatabaseError):
                raise self._unusable(error) from error
            # A damaged file can be reported and kept, and parts of it may be readable.
            self.damage = error.message
            address = f"{Path(self.path).as_uri()}?mode=rw"
            return Connection(address, uri=True, path=self.path, timeout=_TIMEOUT, check_same_thread=False)
        return Connection(MEMORY, timeout=_TIMEOUT, check_same_thread=False)

    def _unusable(self, error: Exception) -> OutboxError:
        return OutboxError(f"outbox {self.path!r} cannot be used: {error}")


def create_journal(folder: str, about: Mapping[str, Any], *, keeps: bool = False) -> tuple[Journal, OutboxLock]:
    """Return a new file in a folder, and the lock which shows that this process writes it.

    Raises:
        OutboxError: it cannot be created.
    """
    path = new_path(folder)
    try:
        lock = OutboxLock(lock_path(path))
    except OSError as error:
        raise OutboxError(f"no outbox can be created in {folder!r}: {error.strerror}") from error
    try:
        return Journal(path, about, keeps=keeps), lock
    except BaseException:
        lock.release(remove=True)
        raise


def about_file(target: Mapping[str, Any], times: Times, experiment_ids: Mapping[int, int]) -> dict[str, Any]:
    """Return the notes for a new file.

    Args:
        target: its database.
        times: the known times of runs.
        experiment_ids: the ids of experiments in the database, by the ids that they got during an outage.
    """
    notes = {_TARGET: dict(target), **{_TIMES.format(run_id): known for run_id, known in times.items()}}
    return {**notes, EXPERIMENTS: dict(experiment_ids)} if experiment_ids else notes


def lock_path(path: str) -> str:
    """Return the path of the lock file of an outbox."""
    return path + _LOCK_SUFFIX


def _size(row: Sequence[Any]) -> int:
    """Return the bytes of a call's arguments, which are ASCII text."""
    return len(row[4])


def _is_locked(error: Exception) -> bool:
    """Return whether SQLite has only waited too long for a lock."""
    return isinstance(error, sqlite3.OperationalError) and "locked" in str(error)


def remove_remains(folder: str) -> None:
    """Delete the remains of files whose process was killed while it created or deleted them, or others read them."""
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            path = os.path.join(folder, name)
            probe = _PROBE.fullmatch(name)
            whole = os.path.join(folder, probe[1] if probe else _without_suffix(name))
            is_useless = probe is not None or (whole != path and not os.path.exists(whole))
            if is_useless and state_of(lock_path(whole)) == "dead":
                with contextlib.suppress(OSError):
                    if os.path.isdir(path):
                        import shutil

                        shutil.rmtree(path)
                    else:
                        os.unlink(path)


def _without_suffix(name: str) -> str:
    """Return the name of the file to which an unfinished file next to it belongs; other names as they are."""
    suffix = next((suffix for suffix in _UNFINISHED if name.endswith(suffix)), "")
    return name.removesuffix(suffix)


def _create(path: str, about: Mapping[str, Any]) -> None:
    """Create a file without calls, readable only for this user: completely, or not at all.

    Raises:
        OutboxError: it cannot be created.
    """
    new = path + _NEW_SUFFIX
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    try:
        # A process that was killed at this point has left it behind.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(new)
        os.close(os.open(new, flags, 0o600))
        with contextlib.closing(sqlite3.connect(new, isolation_level=None)) as connection:
            _fill(connection, about)
        os.rename(new, path)
    except OSError as error:
        raise OutboxError(f"outbox {path!r} cannot be created: {error.strerror}") from error


def _fill(connection: sqlite3.Connection, about: Mapping[str, Any]) -> None:
    """Create the tables, and store the notes about the file."""
    connection.executescript(_SCRIPT)
    items = [(name, json.dumps(value)) for name, value in about.items()]
    connection.executemany("INSERT INTO outbox_about VALUES (?, ?)", items)


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
