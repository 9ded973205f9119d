"""Make a PostgreSQL connection read-only, with a statement timeout."""

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

# As a query it takes the transaction's snapshot, after which the transaction cannot become writable again (PostgreSQL
# manual, SET TRANSACTION). The server reads the timeout when a statement begins. All names are qualified, because
# other users may have objects of the same names earlier in the search path.
_GUARD_SQL = b"""
    SELECT
        pg_catalog.set_config('transaction_read_only', 'on', true),
        pg_catalog.set_config('statement_timeout', '%d', true),
        EXISTS (
            SELECT FROM pg_catalog.pg_roles WHERE rolsuper AND pg_catalog.pg_has_role(session_user, oid, 'MEMBER')
        ) AS can_be_superuser,
        pg_catalog.current_setting('is_superuser') OPERATOR(pg_catalog.=) 'on'
"""

# The same for a pipeline, in which the server executes nothing after an error. It divides by zero if the user can
# become a superuser, whose statements need more checks.
_STRICT_GUARD_SQL = (
    b"SELECT *, 1 OPERATOR(pg_catalog./) (CASE WHEN guard.can_be_superuser THEN 0 ELSE 1 END) FROM ("
    + _GUARD_SQL
    + b") AS guard"
)

# The role is set last, because it changes the schema "$user". With row_security off, a policy that would hide rows from
# the role, but not from a superuser, raises an error instead.
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

# Also release the locks that outlive a transaction. Sent together, because a pooler may run the next transaction in
# another session.
_END_SQL = (b"ROLLBACK", b"SELECT pg_catalog.pg_advisory_unlock_all()")

_NO_ROLE = "a superuser's query needs a read-only role, which PostgreSQL has from version 14 on"
_NO_ROLE_ADVICE = "connect as a read-only user (sqltrack grant makes one), or use --as-superuser"

# Classes of errors that occur before a statement is executed: feature_not_supported, and
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
    """Return a context manager in which a connection is read-only.

    Args:
        connection: the connection, not in a transaction.
        seconds: timeout of a statement.
        as_superuser: whether a superuser's statements keep all permissions.
        own_sql: whether the statements are SQLTrack's own, which are executed even if the server has no read-only
            role. Like others, they are checked for code of other users that they could execute.
        has_pooler: whether a pooler is in between; not all versions support pipelines.
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
            # If the connection is lost, its next use will report that.
            with contextlib.suppress(psycopg.Error):
                if not reading.has_ended:
                    psycopg.Cursor(connection).execute(b"; ".join(_END_SQL))
                connection.autocommit = autocommit


def ask_together(
    connection: psycopg.Connection[Any], questions: Sequence[Question], *, are_last: bool
) -> list[Any] | None:
    """Send queries in one round trip, each after its guard; see `sqltrack.engines.admin.Admin.ask_together`.

    Args:
        connection: a connection in a block of `guarded`.
        questions: the queries.
        are_last: whether the transaction ends with them.

    Returns:
        A cursor for each query; None if they must be executed one by one, for a superuser or because one failed.
    """
    reading: _Reading | None = getattr(connection.cursor_factory, "reading", None)
    return None if reading is None else reading.ask_together(questions, are_last=are_last)


class _Reading:
    """The state of a block of `guarded`.

    Args:
        connection: the connection.
        cursor_class: class of its cursors outside the block.
        clock: clock of the statement timeout.
        as_superuser: see `guarded`.

    Attributes:
        has_ended: whether the transaction has ended and its locks are released.
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
        """See the function `ask_together`."""
        new = [self._cursor_class(self._connection, row_factory=tuple_row) for _ in questions]
        return new if self.execute_together(new, questions, are_last=are_last) else None

    def execute_together(
        self, cursors: Sequence[psycopg.Cursor[Any]], questions: Sequence[Question], *, are_last: bool = False
    ) -> bool:
        """Execute queries with unguarded cursors in one round trip; return whether that was possible."""
        if not self.takes_pipelines or any(read_query(sql) != (sql, sql) for sql, _ in questions):
            return False
        self.has_ended = False
        self._clock.begin(len(questions))
        begins = self._connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        if begins:
            # Otherwise psycopg would send BEGIN itself and wait for the answer.
            self._connection.autocommit = True
        error = self._in_pipeline(lambda: self._send_all(cursors, questions, begins=begins, are_last=are_last))
        if error is None:
            self.has_ended = are_last
            self.begin_by_itself()
            return True
        is_wrong = isinstance(error, psycopg.Error) and not isinstance(error, psycopg.errors.QueryCanceled)
        if not is_wrong or self._connection.closed:
            raise error
        # One by one, they get the checks for a superuser, or the right error.
        self.takes_pipelines = False
        self._connection.rollback()
        self.begin_by_itself()
        return False

    def begin_by_itself(self) -> None:
        """Make the next statement begin a transaction, which the guard needs, unless one is open."""
        if self._connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE:
            self._connection.autocommit = False

    def _in_pipeline(self, send: Callable[[], object]) -> BaseException | None:
        """Send statements and wait for all answers; return the first error, if any."""
        first: BaseException | None = None
        try:
            with self._connection.pipeline():
                # If an error left this block, psycopg would log its consequences.
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
            # Call the base class, without the guard of the block's cursors.
            self._cursor_class.execute(cursor, sql, *([parameters] if parameters else []))
        for end in _END_SQL if are_last else ():
            psycopg.Cursor(self._connection).execute(end)


class _RefusingCursor(psycopg.ServerCursor[Any]):
    """Refuses server-side cursors, which would bypass the guard."""

    def execute(self, *args: Any, **kwargs: Any) -> Any:
        raise psycopg.NotSupportedError("server-side cursors are not supported on a read-only connection")


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
    """Return a cursor class that makes every statement read-only.

    The guard precedes each statement, because the previous one may have ended the transaction.
    """
    guard = _guard_sql(_GUARD_SQL, clock)
    block = reading

    class GuardedCursor(cursor_class):  # type: ignore[valid-type,misc]
        admits_only_queries = True
        reading = block

        def execute(self, query: Any, params: Any = None, **kwargs: Any) -> Any:
            text = _query_text(query, self, params)
            # Saves three of four round trips.
            if own_sql and not any(kwargs.values()) and block.execute_together([self], [Question(text, params or ())]):
                return self
            statement = self._admitted(text, params)
            if statement.query == statement.text:
                # The server has checked that it is a single statement.
                return super().execute(statement.text, params, **kwargs)
            # EXPLAIN and SHOW return text, which is the same in binary format. For that, psycopg uses the extended
            # protocol, which allows only one statement.
            self.adapters.register_loader("xml", TextBinaryLoader)
            return super().execute(statement.text, params, **{**kwargs, "binary": True})

        def stream(self, query: Any, params: Any = None, **kwargs: Any) -> Any:
            yield from super().stream(self._admitted(query, params).text, params, **kwargs)

        def executemany(self, *args: Any, **kwargs: Any) -> Any:
            raise psycopg.NotSupportedError("executemany is not supported on a read-only connection")

        def copy(self, *args: Any, **kwargs: Any) -> Any:
            raise psycopg.NotSupportedError("copy is not supported on a read-only connection")

        def _admitted(self, query: Any, params: Any) -> Query:
            """Let the server check that a text is a query, and return it."""
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
                    # Inside a block of connection.transaction(), only the caller can roll back.
                    raise error from None
                self._guard()
                raise refusal(self.connection, error, text) from error
            clock.begin()
            return statement

        def _guard(self) -> bool:
            """Make the next statement read-only; return whether its user could become a superuser, but must not."""
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
