"""Execute SQL scripts, statement by statement."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from sqltrack.client import Client
from sqltrack.engines import Engine
from sqltrack.engines.admin import Admin, admin_of
from sqltrack.engines.sqltext import Located, find_backslash, locate_statements, script_error

__all__ = ["Outcome", "execute"]


class Outcome(NamedTuple):
    """The outcome of a statement: its command tag, and its columns and rows, if any."""

    tag: str
    columns: list[str] | None
    rows: list[tuple[Any, ...]]


def execute(
    client: Client,
    script: str,
    *,
    name: str = "script",
    on_result: Callable[[Outcome], None] | None = None,
    on_notice: Callable[[str], None] | None = None,
) -> None:
    """Execute the statements of a script on its own connection, until one fails.

    Each statement is committed by itself, to allow CREATE DATABASE, except between BEGIN and COMMIT in the script. A
    statement that fails or is interrupted is rolled back, with the open transaction if any.

    Args:
        client: client of the database.
        script: SQL text.
        name: name of the script in errors.
        on_result: called with the outcome of each statement.
        on_notice: called with each notice or warning of the server.

    Raises:
        ScriptError: a statement failed, or a transaction was not ended; or the script contains psql commands, and was
            not executed at all.
        DatabaseError: connecting failed.
    """
    engine = client.engine
    _refuse_commands(engine, name, script)
    connection = engine.connect()
    begin: Located | None = None
    try:
        engine.set_autocommit(connection, True)
        admin = admin_of(engine, connection)
        if on_notice is not None:
            admin.watch_notices(on_notice)
        for statement in locate_statements(script, engine.dialect):
            outcome = _execute_statement(admin, name, statement)
            begin = (begin or statement) if admin.in_transaction else None
            if on_result is not None:
                on_result(outcome)
    finally:
        engine.abort(connection)
    if begin is not None:
        reason = "the transaction that begins here has no COMMIT, so it was rolled back"
        raise script_error(name, begin.text, reason, engine.dialect, line=begin.line)


def _refuse_commands(engine: Engine, name: str, script: str) -> None:
    command = find_backslash(script, engine.dialect)
    if command is not None:
        reason = "this is a psql command, not SQL; remove it, or use psql (nothing of the script was executed)"
        raise script_error(name, command.text, reason, engine.dialect, line=command.line)


def _execute_statement(admin: Admin, name: str, statement: Located) -> Outcome:
    engine, in_transaction = admin.engine, admin.in_transaction
    try:
        with admin.interruptible():
            cursor = _execute_parts(engine, admin.connection, statement.text)
            columns = None if cursor.description is None else [column[0] for column in cursor.description]
            rows = [] if columns is None else cursor.fetchall()
    except engine.driver_error as error:
        note = "; the open transaction was rolled back" if in_transaction else ""
        reason = admin.reason_of(error)
        failure = script_error(name, statement.text, reason, engine.dialect, line=statement.line, note=note)
        # The driver's error may quote a password.
        raise failure from (error if failure.statement == statement.text else None)
    count = cursor.rowcount if columns is None else len(rows)
    return Outcome(admin.command_tag(cursor, statement.text, count), columns, rows)


def _execute_parts(engine: Engine, connection: Any, statement: str) -> Any:
    """Execute a statement, in several parts if the database needs it, and return the cursor."""
    parts = engine.split_script(statement)
    if len(parts) == 1:
        return connection.execute(parts[0])
    with engine.savepoint(connection):
        return [connection.execute(part) for part in parts][-1]
