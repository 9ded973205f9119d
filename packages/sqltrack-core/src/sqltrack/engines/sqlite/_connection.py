"""sqlite3's connection and cursor, taught psycopg's placeholders, SQLTrack's values and safe transactions."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqltrack.engines.sqlite._values import adapt, adapt_all, sql_literal
from sqltrack.engines.sqltext import SQLITE, keywords, split_statements, translate_placeholders
from sqltrack.quoting import query_text

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Connection", "Cursor"]

_WRITING = frozenset(
    {"INSERT", "UPDATE", "DELETE", "REPLACE", "CREATE", "DROP", "ALTER", "REINDEX", "ANALYZE", "SAVEPOINT"}
)
_WRITING_AFTER_WITH = frozenset({"INSERT", "UPDATE", "DELETE", "REPLACE"})


@lru_cache(maxsize=512)
def _writes(statement: str) -> bool:
    """Return whether a statement may change the database, and so needs a transaction that can be committed."""
    words = keywords(statement, SQLITE)
    first = next(words, "")
    if first == "WITH":
        return not _WRITING_AFTER_WITH.isdisjoint(words)
    return first in _WRITING


class Connection(sqlite3.Connection):
    """A connection that takes the write lock before the first change of a transaction, not in the middle of it.

    SQLite refuses, without waiting, a transaction that has read and then wants to write while another one writes
    (https://sqlite.org/isolation.html); BEGIN IMMEDIATE waits for its turn instead.

    Attributes:
        autocommit_enabled: whether each statement commits by itself; else changes wait for `commit()`.
        plain_cursor: a cursor of the sqlite3 module itself, for statements that need none of our care.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # No transactions by the module's own rules.
        self.isolation_level = None
        self.autocommit_enabled = False
        self.plain_cursor = sqlite3.Cursor(self)

    def cursor(self, factory: Any = None) -> Any:
        """Return a new `Cursor`, or what `factory` makes."""
        return super().cursor(factory or Cursor)

    # sqlite3's own shortcuts would make cursors of its own.

    def execute(self, query: Any, params: Any = (), /) -> Any:
        """Execute a statement with a new cursor and return that."""
        return self.cursor().execute(query, params)

    def executemany(self, query: Any, params_seq: Iterable[Any], /) -> Any:
        """Execute a statement once for each of `params_seq` with a new cursor and return that."""
        return self.cursor().executemany(query, params_seq)

    def executescript(self, script: Any, /) -> Any:
        """Execute the statements of a script with a new cursor and return that."""
        return self.cursor().executescript(script)

    def sql_literal(self, value: Any) -> str:
        """Return `value` spelled out in SQL."""
        return sql_literal(value)

    def begin_write(self) -> None:
        """Take the write lock, unless a transaction is open or every statement commits by itself."""
        if not self.autocommit_enabled and not self.in_transaction:
            self.plain_cursor.execute("BEGIN IMMEDIATE")


class Cursor(sqlite3.Cursor):
    """A cursor that accepts psycopg's placeholders besides SQLite's own, and closes at the end of a `with` block."""

    connection: Connection

    def __enter__(self) -> Cursor:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def sql_literal(self, value: Any) -> str:
        """Return `value` spelled out in SQL."""
        return sql_literal(value)

    def execute(self, query: Any, params: Any = (), /) -> Cursor:
        """Execute one statement; without parameters its text is not touched."""
        text = self._prepare(query)
        if not params:
            super().execute(text)
        else:
            super().execute(*_bind(text, params))
        return self

    def executemany(self, query: Any, params_seq: Iterable[Any], /) -> Cursor:
        """Execute one statement for each of `params_seq`."""
        text = self._prepare(query)
        translated = _translate(text)
        super().executemany(translated.text, (_bind_values(translated.names, params) for params in params_seq))
        return self

    def executescript(self, script: Any, /) -> Cursor:
        """Execute statements in turn as part of the open transaction, where sqlite3 would commit it first.

        As in PostgreSQL, a BEGIN inside of a transaction changes nothing.
        """
        for statement in split_statements(query_text(script, self), SQLITE):
            if self.connection.in_transaction and next(keywords(statement, SQLITE), "") == "BEGIN":
                continue
            self.execute(statement)
        return self

    def _prepare(self, query: Any) -> str:
        text = query_text(query, self)
        if _writes(text):
            self.connection.begin_write()
        return text


def _translate(text: str) -> Any:
    try:
        return translate_placeholders(text)
    except ValueError as error:
        raise sqlite3.ProgrammingError(str(error)) from None


def _bind(text: str, params: Any) -> tuple[str, Any]:
    translated = _translate(text)
    return translated.text, _bind_values(translated.names, params)


def _bind_values(names: tuple[str, ...] | None, params: Any) -> Any:
    if names is not None:
        try:
            return [adapt(params[name]) for name in names]
        except KeyError as error:
            raise sqlite3.ProgrammingError(f"query parameter missing: {error.args[0]}") from None
        except TypeError:
            raise sqlite3.ProgrammingError("named placeholders need a mapping of parameters") from None
    if isinstance(params, Mapping):
        return {name: adapt(value) for name, value in params.items()}
    return adapt_all(params)
