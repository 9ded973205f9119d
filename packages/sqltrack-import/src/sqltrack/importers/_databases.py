"""Read the databases of other trackers, SQLite and PostgreSQL, without changing them."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from sqltrack.client import Client
from sqltrack.engines import config_of_address
from sqltrack.engines.admin import admin_of
from sqltrack.engines.results import find_reader
from sqltrack.errors import DatabaseError
from sqltrack.importers._files import open_file
from sqltrack.importers._foreign import Request, SourceError

__all__ = ["ForeignDatabase", "open_database", "open_sqlite"]

_ROWS = 10_000
# SQLite's code for a locked file.
_BUSY = 5


class ForeignDatabase(ABC):
    """A database of another tracker."""

    @abstractmethod
    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> Iterator[Sequence[Any]]:
        """Return the rows of a query, with few of them in memory.

        Args:
            sql: the query, with %s for parameters.
            parameters: values for the placeholders.

        Raises:
            SourceError: the database refuses the query, or is damaged.
        """

    @abstractmethod
    def columns(self, table: str) -> frozenset[str]:
        """Return the names of a table's columns, none if the table does not exist."""

    def require(self, kind: str, **tables: str) -> None:
        """Check that tables have certain columns, each given as a text with blanks in between.

        Raises:
            SourceError: a table or column is missing.
        """
        for table, names in tables.items():
            missing = set(names.split()) - self.columns(table)
            if missing:
                raise SourceError(f"not a database of {kind}: table {table!r} lacks {', '.join(sorted(missing))}")


@contextmanager
def open_database(request: Request) -> Iterator[ForeignDatabase]:
    """Open the database of a request for reading, in the `with` block.

    Raises:
        SourceError: it does not exist, or is neither a file nor the address of PostgreSQL.
    """
    path = _path_of(request)
    if path is not None:
        with open_sqlite(path) as connection:
            yield _SQLiteSource(connection, path)
        return
    scheme, _, rest = request.source.partition("://")
    # SQLAlchemy names the driver after the database.
    config = config_of_address(f"{scheme.partition('+')[0]}://{rest}")
    if config is None:
        raise SourceError(f"cannot read {request.place!r}", "give a file, sqlite:///FILE or postgresql://…")
    engine = Client({**config, "outbox": "off"}).engine
    connection = admin_of(engine).connect_read_only()
    try:
        yield _ServerSource(engine, connection)
    finally:
        engine.abort(connection)


@contextmanager
def open_sqlite(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a SQLite file for reading, in the `with` block. Neither the file nor its folder is changed.

    Raises:
        SourceError: it is not a regular file, not a database, or locked for too long.
        OSError: it cannot be read.
    """
    # SQLite's own message names neither the file nor the reason.
    open_file(path).close()
    with ExitStack() as stack:
        connection = stack.enter_context(closing(_connect(path, can_write=_is_unused_wal(path))))
        if not _is_readable(connection, path):
            # A process was killed while it was writing, or SQLite cannot create the files that it needs for reading.
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            connection = stack.enter_context(closing(_connect(_copied(path, Path(folder)), can_write=True)))
            if not _is_readable(connection, path):
                raise SourceError(f"{str(path)!r}: the file cannot be opened")
        yield connection


def _connect(path: Path, *, can_write: bool) -> sqlite3.Connection:
    mode = "rw" if can_write else "ro"
    connection = sqlite3.connect(f"{path.as_uri()}?mode={mode}", uri=True, isolation_level=None)
    connection.text_factory = lambda text: text.decode("utf-8", "backslashreplace")
    return connection


def _is_readable(connection: sqlite3.Connection, path: Path) -> bool:
    """Prepare a connection for reading, and return whether the file can be read where it is.

    Raises:
        SourceError: it is not a database, or locked for too long.
    """
    try:
        # Views and triggers of the file must not call functions that have effects.
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA query_only = ON")
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.DatabaseError as error:
        is_locked = getattr(error, "sqlite_errorcode", None) == _BUSY
        if isinstance(error, sqlite3.OperationalError) and not is_locked:
            return False
        raise SourceError(f"{str(path)!r}: {error}") from error
    return True


def _is_unused_wal(path: Path) -> bool:
    """Return whether a file is in WAL mode, and no other connection is open.

    SQLite creates two more files to read it. Only a connection that may write deletes them again.
    """
    with open_file(path) as file:
        is_wal = file.read(20)[18:] == b"\2\2"
    return is_wal and not Path(f"{path}-wal").exists()


def _copied(path: Path, folder: Path) -> Path:
    """Copy a database with the files that SQLite needs to restore it, and return the copy."""
    for suffix in ("", "-journal", "-wal"):
        source = Path(f"{path}{suffix}")
        if source.exists():
            with open_file(source) as file, (folder / f"copy{suffix}").open("wb") as copy:
                shutil.copyfileobj(file, copy)
    return folder / "copy"


def _path_of(request: Request) -> Path | None:
    """Return the path of a SQLite file, None for the address of a server."""
    if not request.is_address:
        return request.path
    scheme, _, rest = request.source.partition("://")
    if scheme.partition("+")[0] != "sqlite":
        return None
    # sqlite:///relative.db and sqlite:////absolute.db, as in SQLAlchemy.
    path = Path(rest[1:] if rest.startswith("/") else rest).expanduser().resolve()
    if not path.is_file():
        raise SourceError(f"{str(path)!r} does not exist")
    return path


class _SQLiteSource(ForeignDatabase):
    """A SQLite file.

    Args:
        connection: connection to the file.
        path: path of the file.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> Iterator[Sequence[Any]]:
        try:
            # "yield from" would close the cursor of an unfinished query, which fails after the connection is closed.
            for row in self._connection.execute(sql.replace("%s", "?"), parameters):  # noqa: UP028
                yield row
        except sqlite3.Error as error:
            raise SourceError(f"{str(self._path)!r}: {error}") from error

    def columns(self, table: str) -> frozenset[str]:
        return frozenset(name for (name,) in self.rows("SELECT name FROM pragma_table_info(%s)", (table,)))


class _ServerSource(ForeignDatabase):
    """A database of a PostgreSQL server.

    Args:
        engine: engine of the connection.
        connection: the connection.
    """

    def __init__(self, engine: Any, connection: Any) -> None:
        self._engine = engine
        self._connection = connection

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> Iterator[Sequence[Any]]:
        with self._explained():
            cursor = self._connection.cursor()
            with find_reader(cursor).read(cursor, sql, tuple(parameters), _ROWS) as reading:
                for chunk in reading.chunks:
                    yield from chunk

    def columns(self, table: str) -> frozenset[str]:
        with self._explained():
            return frozenset(self._engine.table_columns(self._connection, table))

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn errors of the server, or of the connection to it, into those of a source."""
        try:
            yield
        except (self._engine.driver_error, DatabaseError) as error:
            raise SourceError(f"{self._engine.describe()}: {error}") from error
