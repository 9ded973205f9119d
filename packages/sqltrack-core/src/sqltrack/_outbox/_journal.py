"""A file of calls that wait to be sent: an ordinary SQLite database of SQLTrack, and a table of the calls."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqltrack._outbox._coding import decode, encode
from sqltrack._outbox._places import OutboxLock, check_file, new_path
from sqltrack._times import utc_now
from sqltrack.engines.sqlite import SQLiteEngine
from sqltrack.engines.sqlite._connection import Connection
from sqltrack.errors import OutboxError

__all__ = [
    "MEMORY",
    "REFUSED_SUFFIX",
    "SENT_SUFFIX",
    "SIDE_FILES",
    "Call",
    "Contents",
    "Journal",
    "create_journal",
    "lock_path",
]

#: Ends the name of the file of calls that the database has refused for good.
REFUSED_SUFFIX = ".refused"

#: Ends the name of a file of which all was sent, and that is kept for a while.
SENT_SUFFIX = ".sent"

#: In place of a path: the calls are in memory only.
MEMORY = ":memory:"

# Under this name the file says up to which place its calls were sent, if those stay.
_SENT = "sent"

#: The files that SQLite keeps beside one.
SIDE_FILES: Sequence[str] = ("-wal", "-shm", "-journal")

_SCRIPT = """
    CREATE TABLE IF NOT EXISTS outbox_about (name TEXT PRIMARY KEY, value TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS outbox_calls (
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

# Seconds to wait for whoever reads the file at the moment.
_TIMEOUT = 5.0

# Rows without a readable one in between, after which a damaged file is taken to be read to its end.
_LONGEST_GAP = 10_000


class Call(NamedTuple):
    """A call that waits.

    Attributes:
        seq: its place in the order of the file.
        time: when it was made.
        owner: what it is about, such as "runs 7"; calls about different things may be sent in any order.
        name: what it does.
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
    """What a file holds.

    Attributes:
        calls: number of calls.
        owners: number of experiments and runs that they are about.
        first: time of the first, None if there is none.
        last: time of the last, None if there is none.
    """

    calls: int
    owners: int
    first: datetime | None
    last: datetime | None


class Journal:
    """The calls of a file.

    Args:
        path: path of the file, which is created if it does not exist.
        about: what to store about the file, of one that exists what it has stored.
        keeps: whether calls that were sent stay in the file.

    Attributes:
        path: the same.
        damage: what SQLite said when it could not read all of the file, None if it could.

    Raises:
        OutboxError: the file is not safe to use, or cannot be used.
    """

    def __init__(self, path: str, about: Mapping[str, Any] | None = None, *, keeps: bool = False) -> None:
        self.path = path
        self._keeps = keeps
        self._sent = 0
        self.damage: str | None = None
        # A signal's handler may come in between, in the thread that holds it.
        self._lock = threading.RLock()
        if path != MEMORY:
            if about is not None and not os.path.exists(path):
                _create(path)
            check_file(path)
        try:
            self._connection = _connect(path)
            if about is not None:
                self._connection.executescript(_SCRIPT)
                items = [(name, json.dumps(value)) for name, value in about.items()]
                self._connection.executemany("INSERT OR IGNORE INTO outbox_about VALUES (?, ?)", items)
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        if about is None and not path.endswith(SENT_SUFFIX):
            self._sent = int(self.about().get(_SENT, 0))

    @property
    def size(self) -> int:
        """How many bytes the file has, with those that SQLite keeps beside it."""
        if self.path == MEMORY:
            ((size,),) = self._fetch("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
            return int(size)
        sizes = 0
        for suffix in ("", *SIDE_FILES):
            with contextlib.suppress(OSError):
                sizes += os.stat(self.path + suffix).st_size
        return sizes

    def about(self) -> dict[str, Any]:
        """Return what is stored about the file, as much of it as can be read."""
        try:
            rows = self._fetch("SELECT name, value FROM outbox_about")
            return {name: json.loads(value) for name, value in rows}
        except (sqlite3.Error, ValueError) as error:
            self.damage = str(error)
            return {}

    def note(self, name: str, value: Any) -> None:
        """Store something about the file.

        Raises:
            OutboxError: it cannot be stored.
        """
        try:
            self._execute("INSERT OR REPLACE INTO outbox_about VALUES (?, ?)", (name, json.dumps(value)))
        except sqlite3.Error as error:
            raise self._unusable(error) from error

    def append(self, owner: str, name: str, arguments: str) -> None:
        """Store a call, which is on its way to the disk when this returns.

        Args:
            owner: what it is about.
            name: what it does.
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

    def take_over(self, call: Call, reason: str | None = None) -> None:
        """Store a call of another file.

        Args:
            call: the call.
            reason: why the database has refused it, None if it has not.

        Raises:
            OutboxError: it cannot be stored.
        """
        sql = "INSERT INTO outbox_calls (time, owner, name, arguments, reason) VALUES (?, ?, ?, ?, ?)"
        values = (call.time.isoformat(), call.owner, call.name, encode(call.arguments), reason)
        try:
            self._execute(sql, values)
        except sqlite3.Error as error:
            raise self._unusable(error) from error

    def read(self, limit: int, after: int = 0) -> list[Call]:
        """Return the first calls, as many of them as can be read, see `damage`.

        Args:
            limit: the most to return.
            after: the place after which to begin.
        """
        try:
            return [self._call(row) for row in self._rows(limit, after)]
        except (sqlite3.DatabaseError, ValueError, KeyError) as error:
            self.damage = str(error)
            return list(self._salvaged(limit, after))

    def forget(self, first: int, last: int) -> None:
        """Remove the calls from one place to another.

        Raises:
            OutboxError: they cannot be removed.
        """
        if self._keeps:
            self.note(_SENT, last)
            self._sent = last
            return
        try:
            self._execute("DELETE FROM outbox_calls WHERE seq BETWEEN ? AND ?", (first, last))
        except sqlite3.Error as error:
            raise self._unusable(error) from error

    @property
    def is_empty(self) -> bool:
        """Whether there is no call; False if that cannot be read."""
        try:
            return not self._fetch("SELECT seq FROM outbox_calls WHERE seq > ? LIMIT 1", (self._sent,))
        except sqlite3.Error as error:
            self.damage = str(error)
            return False

    def contents(self) -> Contents:
        """Return what the file holds, as far as that can be read."""
        sql = "SELECT COUNT(*), COUNT(DISTINCT owner), MIN(time), MAX(time) FROM outbox_calls WHERE seq > ?"
        try:
            ((calls, owners, first, last),) = self._fetch(sql, (self._sent,))
        except sqlite3.DatabaseError as error:
            self.damage = str(error)
            found = self.read(2**31)
            calls, owners = len(found), len({call.owner for call in found})
            return Contents(calls, owners, found[0].time if found else None, found[-1].time if found else None)
        return Contents(calls, owners, first and datetime.fromisoformat(first), last and datetime.fromisoformat(last))

    def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()

    def set_aside(self) -> None:
        """Close the file, of which all was sent, and let its name say so."""
        with contextlib.suppress(sqlite3.Error):
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.close()
        with contextlib.suppress(OSError):
            os.rename(self.path, self.path + SENT_SUFFIX)

    def remove(self) -> None:
        """Close the file and delete it."""
        self.close()
        for suffix in ("", *SIDE_FILES):
            with contextlib.suppress(OSError):
                os.unlink(self.path + suffix)

    def _execute(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Execute a statement, one at a time however many threads there are."""
        with self._lock:
            cursor: sqlite3.Cursor = self._connection.execute(sql, values)
        return cursor

    def _fetch(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._lock:
            rows: list[tuple[Any, ...]] = self._connection.execute(sql, values).fetchall()
        return rows

    def _rows(self, limit: int, after: int) -> list[tuple[Any, ...]]:
        sql = f"SELECT {_COLUMNS} FROM outbox_calls WHERE seq > ? ORDER BY seq LIMIT ?"
        return self._fetch(sql, (max(after, self._sent), limit))

    def _call(self, row: Sequence[Any]) -> Call:
        seq, time, owner, name, arguments, reason = row
        return Call(seq, datetime.fromisoformat(time), owner, name, decode(arguments), reason)

    def _salvaged(self, limit: int, after: int) -> Iterator[Call]:
        """Yield calls one by one, past those that cannot be read."""
        sql = f"SELECT {_COLUMNS} FROM outbox_calls WHERE seq = ?"
        found = gap = 0
        while found < limit and gap < _LONGEST_GAP:
            after += 1
            try:
                rows = self._fetch(sql, (after,))
                call = self._call(rows[0]) if rows else None
            except (sqlite3.DatabaseError, ValueError, KeyError):
                call = None
            if call is None:
                gap += 1
                continue
            found, gap = found + 1, 0
            yield call

    def _unusable(self, error: Exception) -> OutboxError:
        return OutboxError(f"outbox {self.path!r} cannot be used: {error}")


def create_journal(folder: str, about: Mapping[str, Any], *, keeps: bool = False) -> tuple[Journal, OutboxLock]:
    """Return a new file in a folder, and the lock that says that this process writes it.

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


def lock_path(path: str) -> str:
    """Return the path of the lock file of an outbox."""
    return f"{path}.lock"


def _create(path: str) -> None:
    """Create an empty file that nobody else can read.

    Raises:
        OutboxError: it cannot be created.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    try:
        os.close(os.open(path, flags, 0o600))
    except OSError as error:
        raise OutboxError(f"outbox {path!r} cannot be created: {error.strerror}") from error


def _connect(path: str) -> Connection:
    """Open a file in the way that SQLTrack opens its databases, with the log that the file system allows."""
    if path == MEMORY:
        connection = Connection(path, timeout=_TIMEOUT, check_same_thread=False)
        connection.autocommit_enabled = True
        return connection
    connection = SQLiteEngine({"dbpath": path, "busy_timeout": _TIMEOUT}).connect()
    connection.autocommit_enabled = True
    return connection
