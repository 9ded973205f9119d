"""Keep a connection from everything but reading, and from reading for too long."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.rows import tuple_row
from psycopg.types.string import TextBinaryLoader

from sqltrack._quoting import query_text
from sqltrack.engines.admin import Question
from sqltrack.engines.postgres._admission import Query, check, declare, read_query, refusal
from sqltrack.engines.postgres._time_limit import Clock, keeping_time
from sqltrack.errors import ReadOnlyDatabaseError

__all__ = ["ask_together", "guarded"]

# As a query it fixes the snapshot of the transaction, after which nothing can make that writable again
# (PostgreSQL manual, SET TRANSACTION). The limit of time is read when a statement begins. All is qualified,
# because other users may have objects of the same names earlier in the search path.
_GUARD_SQL = b"""
    SELECT
        pg_catalog.set_config('transaction_read_only', 'on', true),
        pg_catalog.set_config('statement_timeout', '%d', true),
        EXISTS (
            SELECT FROM pg_catalog.pg_roles WHERE rolsuper AND pg_catalog.pg_has_role(session_user, oid, 'MEMBER')
        ) AS can_be_superuser,
        pg_catalog.current_setting('is_superuser') OPERATOR(pg_catalog.=) 'on'
"""

# The same for a pipeline, in which the server executes nothing after an error: that of a division by zero if the user
# can become a superuser, whose statements need more care.
_STRICT_GUARD_SQL = (
    b"SELECT *, 1 OPERATOR(pg_catalog./) (CASE WHEN guard.can_be_superuser THEN 0 ELSE 1 END) FROM ("
    + _GUARD_SQL
    + b") AS guard"
)

# The role comes last. The schema "$user" would be another one with it. Rows that a policy hides from it, and not from a
# superuser, are an error rather than missing.
_READING_ROLE_SQL = b"""
    SELECT
        pg_catalog.set_config(
            'search_path',
            pg_catalog.array_to_string(
                ARRAY(
                    SELECT pg_catalog.quote_ident(name)
                    FROM pg_catalog.unnest(pg_catalog.current_schemas(false)) AS name
                ),
                ', '
            ),
            true
        ),
        pg_catalog.set_config('row_security', 'off', true),
        pg_catalog.set_config('role', 'pg_read_all_data', true)
"""
_READING_ROLE_VERSION = 140000

# Locks that no transaction ends; together, because a pooler may give the next transaction another session.
_END_SQL = (b"ROLLBACK", b"SELECT pg_catalog.pg_advisory_unlock_all()")

_NO_ROLE = "a superuser's query needs a role that may only read, which PostgreSQL has from version 14 on"
_NO_ROLE_ADVICE = "connect as a user who may only read (sqltrack grant makes one), or use --as-superuser"

# Classes of errors that a text can have before it is executed: feature_not_supported, and
# syntax_error_or_access_rule_violation (PostgreSQL manual, appendix A).
_TEXT_ERRORS = ("0A", "42")


@contextmanager
def guarded(
    connection: psycopg.Connection[Any],
    seconds: float,
    *,
    as_superuser: bool,
    own_sql: bool = False,
    has_pooler: bool = False,
) -> Iterator[Clock]:
    """Let the statements of a connection, which is in no transaction, only read until the end of the `with` block.

    Args:
        connection: the connection.
        seconds: how long a statement may take.
        as_superuser: whether a superuser's statements keep all rights.
        own_sql: whether the statements are the program's own, which servers without a role that may only read execute
            as well. They are looked at like others, for the code of other users that they could execute.
        has_pooler: whether a pooler lies in between; what that does with a pipeline depends on its version.
    """
    factory, server_factory, autocommit = (
        connection.cursor_factory,
        connection.server_cursor_factory,
        connection.autocommit,
    )
    with keeping_time(connection, seconds) as clock:
        connection.autocommit = False
        reading = _Reading(connection, factory, clock, as_superuser)
        reading.takes_pipelines = psycopg.Pipeline.is_supported() and not has_pooler
        connection.cursor_factory = _guarding(factory, clock, as_superuser, own_sql, reading)
        connection.server_cursor_factory = _RefusingCursor
        try:
            yield clock
        finally:
            connection.cursor_factory = factory
            connection.server_cursor_factory = server_factory
            # The connection may be lost, which whoever uses it next will notice.
            with contextlib.suppress(psycopg.Error):
                if not reading.has_ended:
                    psycopg.Cursor(connection).execute(b"; ".join(_END_SQL))
                connection.autocommit = autocommit


def ask_together(
    connection: psycopg.Connection[Any], questions: Sequence[Question], *, are_last: bool
) -> list[Any] | None:
    """Send queries in one round trip, each behind its guard; see `sqltrack.engines.admin.Admin.ask_together`.

    Args:
        connection: a connection in a block of `guarded`.
        questions: the queries.
        are_last: whether the transaction ends with them.

    Returns:
        A cursor for each; None if they have to be asked one by one: by a superuser, or because one fails.
    """
    reading: _Reading | None = getattr(connection.cursor_factory, "reading", None)
    return None if reading is None else reading.ask_together(questions, are_last=are_last)


class _Reading:
    """What happens between the begin and the end of a block of `guarded`.

    Args:
        connection: the connection.
        cursor_class: the class of its cursors outside of the block.
        clock: keeps the time of statements.
        as_superuser: see `guarded`.

    Attributes:
        has_ended: whether the transaction has ended, with all that it left.
        takes_pipelines: whether statements can be sent together.
    """

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        cursor_class: type[psycopg.Cursor[Any]],
        clock: Clock,
        as_superuser: bool,
    ) -> None:
        self.has_ended = False
        self._connection = connection
        self._cursor_class = cursor_class
        self._clock = clock
        self._guard = _guard_sql(_GUARD_SQL if as_superuser else _STRICT_GUARD_SQL, clock)
        self.takes_pipelines = False

    def ask_together(self, questions: Sequence[Question], *, are_last: bool) -> list[Any] | None:
        """Do the work of the function of this name."""
        new = [self._cursor_class(self._connection, row_factory=tuple_row) for _ in questions]
        return new if self.execute_together(new, questions, are_last=are_last) else None

    def execute_together(
        self, cursors: Sequence[psycopg.Cursor[Any]], questions: Sequence[Question], *, are_last: bool = False
    ) -> bool:
        """Execute queries by these cursors of the class outside of the block; return whether that was possible."""
        if not self.takes_pipelines or any(read_query(sql) != (sql, sql) for sql, _ in questions):
            return False
        self.has_ended = False
        self._clock.begin(len(questions))
        begins = self._connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        if begins:
            # By itself psycopg would wait for the answer to BEGIN.
            self._connection.autocommit = True
        error = self._in_pipeline(lambda: self._send_all(cursors, questions, begins=begins, are_last=are_last))
        if error is None:
            self.has_ended = are_last
            self.begin_by_itself()
            return True
        is_wrong = isinstance(error, psycopg.Error) and not isinstance(error, psycopg.errors.QueryCanceled)
        if not is_wrong or self._connection.closed:
            raise error
        # One by one they are as they should be for a superuser, and have the right error if they are wrong.
        self.takes_pipelines = False
        self._connection.rollback()
        self.begin_by_itself()
        return False

    def begin_by_itself(self) -> None:
        """Let the next statement begin a transaction, without which it would have no guard, unless one is open."""
        if self._connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE:
            self._connection.autocommit = False

    def _in_pipeline(self, send: Callable[[], object]) -> BaseException | None:
        """Send statements and wait for the answers to all; return the first error, None if there is none."""
        first: BaseException | None = None
        try:
            with self._connection.pipeline():
                # Of an error in here psycopg would log what follows from it.
                try:
                    send()
                except BaseException as error:
                    first = error
        except psycopg.Error as error:
            first = first or error
        return first

    def _send_all(
        self, cursors: Sequence[psycopg.Cursor[Any]], questions: Sequence[Question], *, begins: bool, are_last: bool
    ) -> None:
        if begins:
            psycopg.Cursor(self._connection).execute(b"BEGIN")
        for cursor, (sql, parameters) in zip(cursors, questions):
            self._cursor_class(self._connection).execute(self._guard)
            declare(self._cursor_class, self._connection, sql, parameters)
            # Past the guard of cursors in the block.
            self._cursor_class.execute(cursor, sql, *([parameters] if parameters else []))
        for end in _END_SQL if are_last else ():
            psycopg.Cursor(self._connection).execute(end)


class _RefusingCursor(psycopg.ServerCursor[Any]):
    """A cursor on the server, which would see no guard."""

    def execute(self, *args: Any, **kwargs: Any) -> Any:
        raise psycopg.NotSupportedError("cursors on the server are not for reading here")


def _guard_sql(sql: bytes, clock: Clock) -> bytes:
    return sql % max(round(clock.seconds * 1000), 1)


def _query_text(query: Any, cursor: Any, parameters: Any) -> str:
    return (
        query.decode("utf-8")
        if isinstance(query, bytes)
        else query_text(query, cursor, has_parameters=bool(parameters))
    )


def _guarding(
    cursor_class: type[psycopg.Cursor[Any]], clock: Clock, as_superuser: bool, own_sql: bool, reading: _Reading
) -> type[psycopg.Cursor[Any]]:
    """Return a class of cursors that make every statement one that only reads.

    The guard goes before each, because a statement may end the transaction that the one before was in.
    """
    guard = _guard_sql(_GUARD_SQL, clock)
    block = reading

    class GuardedCursor(cursor_class):  # type: ignore[valid-type,misc]
        admits_only_queries = True
        reading = block

        def execute(self, query: Any, params: Any = None, **kwargs: Any) -> Any:
            text = _query_text(query, self, params)
            # One round trip instead of four, for queries that are short and not wrong.
            if own_sql and not any(kwargs.values()) and block.execute_together([self], [Question(text, params or ())]):
                return self
            statement = self._admitted(text, params)
            if statement.query == statement.text:
                # The server has said that it is one statement.
                return super().execute(statement.text, params, **kwargs)
            # Others give text, the same in binary form, for which psycopg uses the protocol that allows only one.
            self.adapters.register_loader("xml", TextBinaryLoader)
            return super().execute(statement.text, params, **{**kwargs, "binary": True})

        def stream(self, query: Any, params: Any = None, **kwargs: Any) -> Any:
            yield from super().stream(self._admitted(query, params).text, params, **kwargs)

        def executemany(self, *args: Any, **kwargs: Any) -> Any:
            raise psycopg.NotSupportedError("executemany is not for reading")

        def copy(self, *args: Any, **kwargs: Any) -> Any:
            raise psycopg.NotSupportedError("copy is not for reading here")

        def _admitted(self, query: Any, params: Any) -> Query:
            """Return what to execute, after the server has agreed that it is a query."""
            block.has_ended = False
            text = _query_text(query, self, params)
            statement = read_query(text)
            block.begin_by_itself()
            is_superuser = self._guard()
            try:
                self._check(statement, params, is_superuser)
            except psycopg.Error as error:
                if params or not (error.sqlstate or "").startswith(_TEXT_ERRORS):
                    raise
                try:
                    self.connection.rollback()
                    block.begin_by_itself()
                except psycopg.ProgrammingError:
                    # The caller has to end a block of connection.transaction() before more can be asked.
                    raise error from None
                self._guard()
                raise refusal(self.connection, error, text) from error
            clock.begin()
            return statement

        def _guard(self) -> bool:
            """Begin a statement that can only read; return whether its user can become a superuser, and must not."""
            row = cursor_class(self.connection, row_factory=tuple_row).execute(guard).fetchone()
            clock.begin()
            if row is None or as_superuser:
                return False
            *_, can_be_superuser, is_superuser = row
            if is_superuser:
                if self.connection.info.server_version >= _READING_ROLE_VERSION:
                    cursor_class(self.connection).execute(_READING_ROLE_SQL)
                elif not own_sql:
                    raise ReadOnlyDatabaseError(_NO_ROLE, _NO_ROLE_ADVICE)
            return bool(can_be_superuser)

        def _check(self, statement: Query, params: Any, is_superuser: bool) -> None:
            if statement.query is not None:
                check(cursor_class, self.connection, statement.query, params, only_harmless=is_superuser)

    return GuardedCursor
