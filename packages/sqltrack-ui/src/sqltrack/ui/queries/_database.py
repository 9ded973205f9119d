"""Read a database in short read-only transactions, with connections that are used again."""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from datetime import datetime, timedelta, timezone
from itertools import chain
from typing import Any, NamedTuple, TypeVar

from sqltrack.client import Client
from sqltrack.commands._databases import require_database
from sqltrack.commands._points import Places, find_places
from sqltrack.commands._rows import dicts, fetch
from sqltrack.engines.admin import Admin, Question, admin_of
from sqltrack.errors import DatabaseUnavailableError
from sqltrack.statuses import ENDED_STATES, find_state
from sqltrack.ui.queries._cache import Cache

__all__ = ["Database"]

T = TypeVar("T")

# Idle connections that are kept.
_IDLE = 4
# Rows that are read at once. The objects of few rows stay in the processor's caches.
_PIECE = 250
# Seconds between looks at what changes rarely.
_COARSE = 60.0
# Calls write the time of a run at most once a second.
_SETTLED = timedelta(seconds=3)


class _Coarse(NamedTuple):
    """A version that was the current one at a time on the monotonic clock, and the columns for metrics then."""

    version: str
    at: float
    places: Places


class Database:
    """A database to look at, with caches. Threads can share an object.

    Nothing is written. Connections are opened when they are needed, and some are kept for the next query. At the end of
    a `with` block all are closed.

    Args:
        client: client with the configuration of the database.
        timeout: time limit of a statement in seconds, default 30.
        cache_bytes: maximum size of the caches in bytes, default 64 MiB.

    Attributes:
        client: the client.
        cache: results by a version of the data.
    """

    def __init__(self, client: Client, timeout: float = 30.0, cache_bytes: int = 64 * 2**20) -> None:
        self.client = client
        self.timeout = timeout
        self.cache: Cache = Cache(cache_bytes)
        self._lock = threading.Lock()
        self._rows_lock = threading.Lock()
        self._idle: list[Any] = []
        self._in_use: set[Any] = set()
        self._is_closed = False
        self._coarse: _Coarse | None = None
        self._clock: tuple[datetime, float] | None = None
        self._watch_lock = threading.Lock()
        self._watching: Any = None
        # The text of a connection means nothing on another one, nor in another process.
        self._epoch = time.time_ns()

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def version(self) -> str:
        """Return a short text that changes whenever the data have changed.

        Raises:
            DatabaseError: the database is not available.
        """
        with self._watch_lock:
            if self._watching is not None and not self.client.engine.is_usable(self._watching):
                self._stop_watching()
            try:
                text = self._read_version()
            except DatabaseUnavailableError:
                self._stop_watching()
                text = self._read_version()
        return hashlib.blake2b(f"{self._epoch} {text}".encode(), digest_size=8).hexdigest()

    def coarse_version(self, version: str) -> str:
        """Return a version that follows the given one within a minute.

        It suits results of runs that have ended, whose changes by SQLTrack show in `time_updated`: only changes by
        other programs are noticed late. Changes of columns are noticed at once.
        """
        places = self.places(version)
        with self._lock:
            known = self._coarse
            if known is None or time.monotonic() - known.at > _COARSE or known.places != places:
                known = self._coarse = _Coarse(version, time.monotonic(), places)
            return known.version

    def run_version(self, version: str, status: str, updated: datetime | None) -> str:
        """Return the version of a run: that of all data, unless the run has ended and no change is recent."""
        is_over = find_state(status) in ENDED_STATES and updated is not None and self.is_settled(updated)
        return f"{self.coarse_version(version)} {status} {updated}" if is_over else version

    def is_settled(self, updated: datetime | None) -> bool:
        """Return whether the time of a run's last change is that of its last call."""
        return updated is None or self.now() - updated > _SETTLED

    def expire(self) -> None:
        """Show the present data from now on: let no result outlive its version. Call this after a change."""
        self.cache.expire()
        with self._lock:
            self._coarse = None

    def now(self) -> datetime:
        """Return the current time on the database's clock."""
        with self._lock:
            known = self._clock
        if known is None or time.monotonic() - known[1] > _COARSE:
            (row,) = self.fetch("SELECT CURRENT_TIMESTAMP AS now")
            # SQLite returns text.
            now = row["now"]
            read = now if isinstance(now, datetime) else datetime.fromisoformat(now).replace(tzinfo=timezone.utc)
            known = read, time.monotonic()
            with self._lock:
                self._clock = known
        return known[0] + timedelta(seconds=time.monotonic() - known[1])

    def cached(self, key: Hashable, compute: Callable[[], T], version: str | None = None) -> tuple[T, str]:
        """Return a result from the cache, or compute it; see `Cache.get`.

        Args:
            key: key of the result.
            compute: computes it.
            version: a version that was read before, default: the current one.
        """
        return self.cache.get(key, self.version() if version is None else version, compute)

    @contextlib.contextmanager
    def reading(self, *, own_sql: bool = True, seconds: float | None = None) -> Iterator[Any]:
        """Return a read-only connection.

        Args:
            own_sql: whether the statements are SQLTrack's own (default), or contain text of the user.
            seconds: time limit of a statement, default: that of the database.

        Raises:
            NotSetUpError: the database does not exist; it is not created.
            StatementTimeoutError: a statement took too long.
            DatabaseError: the database refused a statement, or is not available.
        """
        connection = self._take()
        is_whole = False
        try:
            admin = self.admin(connection)
            with admin.read_only(seconds or self.timeout, as_superuser=own_sql, own_sql=own_sql):
                yield connection
            is_whole = True
        finally:
            self._give_back(connection, is_whole=is_whole)

    def admin(self, connection: Any = None) -> Admin:
        """Return the operations of the database's engine."""
        return admin_of(self.client.engine, connection)

    def fetch(self, sql: str, parameters: Sequence[Any] = (), *, own_sql: bool = True) -> list[dict[str, Any]]:
        """Return the rows of a query as dicts. See `reading` for the rest."""
        return self._once_more(lambda: self._fetch(sql, parameters, own_sql))

    def fetch_tuples(self, sql: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Return the rows of one of SQLTrack's own queries, which may be many and have at least one parameter."""
        return self.ask(lambda connection: list(chain.from_iterable(self._read_many(connection, sql, parameters))))

    def fetch_columns(self, sql: str, parameters: Sequence[Sequence[Any]]) -> list[list[list[Any]]]:
        """Return the columns of a query's results, each a list of values, for each of some parameters.

        No columns are returned for a result without rows. See `fetch_tuples` for the rest.
        """
        return self.ask(lambda connection: [self._read_columns(connection, sql, item) for item in parameters])

    def ask(self, function: Callable[[Any], T], *, own_sql: bool = True) -> T:
        """Call a function with a read-only connection, again if the connection was lost, and return its result."""

        def call() -> T:
            with self.reading(own_sql=own_sql) as connection:
                return function(connection)

        return self._once_more(call)

    def questions(self, questions: Sequence[Question]) -> list[list[dict[str, Any]]]:
        """Return the rows of several of SQLTrack's own queries, in few round trips."""
        return self.ask(
            lambda connection: [
                dicts(cursor) for cursor in self.admin(connection).ask_together(questions, are_last=True)
            ]
        )

    def places(self, version: str | None = None) -> Places:
        """Return the columns that hold metrics; see `cached` for the version."""
        return self.cached(("places",), lambda: self.ask(lambda it: find_places(self.client, it)), version)[0]

    def close(self) -> None:
        """Close the connections, and cancel the statements of other threads."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
            running = list(self._in_use)
        for connection in running:
            self.admin(connection).cancel()
        for connection in idle:
            self.client.engine.abort(connection)
        with self._watch_lock:
            self._stop_watching()

    def _fetch(self, sql: str, parameters: Sequence[Any], own_sql: bool) -> list[dict[str, Any]]:
        with self.reading(own_sql=own_sql) as connection:
            rows: list[dict[str, Any]] = fetch(connection, sql, parameters)
            return rows

    def _read_many(self, connection: Any, sql: str, parameters: Sequence[Any]) -> Iterator[list[tuple[Any, ...]]]:
        cursor = self.admin(connection).execute_for_many(sql, parameters)
        while True:
            # SQLite lets other threads run after each row. Several that read rows take twice as long as one by one.
            with self._rows_lock:
                rows = cursor.fetchmany(_PIECE)
            if not rows:
                return
            yield rows

    def _read_columns(self, connection: Any, sql: str, parameters: Sequence[Any]) -> list[list[Any]]:
        columns: list[list[Any]] = []
        for rows in self._read_many(connection, sql, parameters):
            columns = columns or [[] for _ in rows[0]]
            for column, values in zip(columns, zip(*rows)):
                column += values
        return columns

    def _once_more(self, call: Callable[[], T]) -> T:
        """Call a function, again if a kept connection was lost."""
        try:
            return call()
        except DatabaseUnavailableError:
            with self._lock:
                idle, self._idle = self._idle, []
            for connection in idle:
                self.client.engine.abort(connection)
            return call()

    def _take(self) -> Any:
        engine = self.client.engine
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                connection = self._open()
            elif not engine.is_usable(connection):
                engine.abort(connection)
                continue
            with self._lock:
                self._in_use.add(connection)
            return connection

    def _open(self) -> Any:
        require_database(self.client.engine)
        return self.admin().connect_read_only()

    def _give_back(self, connection: Any, *, is_whole: bool) -> None:
        with self._lock:
            self._in_use.discard(connection)
            if is_whole and not self._is_closed and len(self._idle) < _IDLE:
                self._idle.append(connection)
                return
        self.client.engine.abort(connection)

    def _read_version(self) -> str:
        if self._watching is None:
            self._watching = self._open()
            self._epoch += 1
        admin = self.admin(self._watching)
        try:
            with admin.read_only(self.timeout, as_superuser=True, own_sql=True):
                return admin.data_version()
        except BaseException:
            self._stop_watching()
            raise

    def _stop_watching(self) -> None:
        connection, self._watching = self._watching, None
        if connection is not None:
            self.client.engine.abort(connection)
