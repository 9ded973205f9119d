"""Read the databases of other trackers, SQLite and PostgreSQL, without changing them."""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqltrack.client import Client
from sqltrack.engines import config_of_address
from sqltrack.engines.admin import admin_of
from sqltrack.engines.results import find_reader
from sqltrack.errors import DatabaseError
from sqltrack.importers._files import open_file
from sqltrack.importers._foreign import Request, SourceError

__all__ = ["ForeignDatabase", "open_database"]

_ROWS = 10_000


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
        with _open_sqlite(path) as connection:
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
def _open_sqlite(path: Path) -> Iterator[sqlite3.Connection]:
    # SQLite's own message names neither the file nor the reason.
    open_file(path).close()
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, isolation_level=None)) as connection:
        # Views and triggers of the file must not call functions that have effects.
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.text_factory = lambda text: text.decode("utf-8", "backslashreplace")
        yield connection


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
        cursor = self._connection.cursor()
        try:
            with find_reader(cursor).read(cursor, sql, tuple(parameters), _ROWS) as reading:
                for chunk in reading.chunks:
                    yield from chunk
        except (self._engine.driver_error, DatabaseError) as error:
            raise SourceError(f"{self._engine.describe()}: {error}") from error

    def columns(self, table: str) -> frozenset[str]:
        return frozenset(self._engine.table_columns(self._connection, table))
