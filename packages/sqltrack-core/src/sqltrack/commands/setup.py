"""Create SQLTrack's tables, and change them with the user's own scripts."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqltrack._arguments import as_client
from sqltrack._times import utc_now
from sqltrack.client import Client
from sqltrack.engines.engine import Engine
from sqltrack.engines.sqltext import first_keyword, script_error
from sqltrack.errors import (
    AccessDeniedError,
    DatabaseError,
    NotSetUpError,
    ReadOnlyDatabaseError,
    ScriptError,
    UnusableValueError,
)

if TYPE_CHECKING:
    from sqltrack._outbox._outbox import Outbox

__all__ = ["create_missing_tables", "create_table_once", "set_up_quietly", "setup"]

_BASE = "base.sql"
_EXPECTED = "paths of files, or pairs of name and SQL text"
_EXPECTED_ONE = "the path of a file, or a pair of name and SQL text"

# The scripts that have been executed. Not one of the documented tables, so that those stay as documented.
_RECORD_TABLE = "setup_scripts"
_CREATE_RECORD_TABLE = f"""
    CREATE TABLE {_RECORD_TABLE} (
        name TEXT PRIMARY KEY,
        time_executed TIMESTAMP WITH TIME ZONE NOT NULL
    )
"""

# Other programs, such as MLflow, have tables called "experiments" and "runs", but not this one.
_OWN_TABLE = "run_links"

# A script and its record are one transaction, even if the script contains statements for transactions.
_TRANSACTION_CONTROL = frozenset({"BEGIN", "START", "COMMIT", "END"})


def setup(client: Client, scripts: str | Path | Iterable[str | Path | tuple[str, str]] = ()) -> None:
    """Execute the SQL scripts that set up the database or change its tables, except those executed before.

    The included `base.sql` always comes first. A script is identified by its file name without folders. The script and
    the record of its execution are one transaction, even if the script contains BEGIN and END; a script that fails
    leaves no trace. Several processes may do this at once. One line is printed for each script: "(NEW) name" if it was
    executed now, "(OK) name" if it had been executed before.

    Args:
        client: client to use; its schema is created if it does not exist.
        scripts: paths of files, or pairs of name and SQL text, in order of execution; or a single path.

    Raises:
        ScriptError: a script failed; the error names the statement, without passwords.
        ValueError: a script is called `base.sql`, two have the same name, or one is neither a path nor a pair, or is
            not text in UTF-8.
        OSError: a file cannot be read.
    """
    as_client(client)
    named = [(_BASE, _included(client, _BASE)), *map(_load, _in_order(scripts))]
    _check_names([name for name, _ in named])
    if len(named) > 1:
        _execute_new(client, named)
        return
    client._session.create(lambda: _execute_new(client, named), _set_up_later)


def _execute_new(client: Client, named: Sequence[tuple[str, str]]) -> None:
    with client:
        executed = _executed_scripts(client)
    for name, script in named:
        is_new = name not in executed and _execute_once(client, name, script)
        _print_line(f"{'(NEW)' if is_new else '(OK)'} {name}")


def _set_up_later(outbox: Outbox, reason: DatabaseError | None) -> None:
    outbox.begin_database(reason)
    _print_line(f"(LATER) {_BASE}")


def set_up_quietly(client: Client) -> bool:
    """Set up the database with the included script alone; return whether that was necessary, and print nothing."""
    return _execute_once(client, _BASE, _included(client, _BASE))


def create_missing_tables(client: Client) -> bool:
    """Set up the database with the included script alone if its tables are missing; print nothing.

    Several processes may do this at once. A user who may not create tables uses the existing ones.

    Args:
        client: client to use.

    Returns:
        Whether this call has created the tables.

    Raises:
        NotSetUpError: the tables are missing and cannot be created.
    """
    if client._session.ask(lambda connection: bool(client.engine.table_columns(connection, _OWN_TABLE))):
        return False
    try:
        return set_up_quietly(client)
    except (AccessDeniedError, ReadOnlyDatabaseError, ScriptError) as error:
        raise NotSetUpError(
            f"{client.engine.describe()} has no sqltrack tables, and they cannot be created: {error}",
            "choose another database, or let a user who may create tables there execute: sqltrack setup",
        ) from error


def create_table_once(client: Client, table: str) -> None:
    """Create a table that not every SQLTrack database needs, unless it exists.

    Several processes may do this at once.

    Args:
        client: client to use.
        table: name of the table, and of the included script that creates it.
    """
    engine = client.engine
    with client as connection:
        if engine.table_columns(connection, table):
            return
        with _translated_errors(engine):
            engine.lock_schema(connection)
        if not engine.table_columns(connection, table):
            name = f"{table}.sql"
            _execute_statements(engine, connection, name, _included(client, name))


def _included(client: Client, name: str) -> str:
    return Path(client.engine.data_dir(), name).read_text(encoding="utf-8")


@contextmanager
def _translated_errors(engine: Engine) -> Iterator[None]:
    try:
        yield
    except engine.driver_error as error:
        raise engine.translate_error(error) from error


def _in_order(scripts: Any) -> list[Any]:
    """Return scripts as a list; a single path must not be split into characters."""
    if isinstance(scripts, (str, os.PathLike)):
        return [scripts]
    if not isinstance(scripts, Iterable):
        raise UnusableValueError(f"scripts must be {_EXPECTED}, got {scripts!r}")
    return list(scripts)


def _load(script: Any) -> tuple[str, str]:
    if isinstance(script, tuple) and len(script) == 2 and all(isinstance(part, str) for part in script):
        name, text = script
        return Path(name).name, text
    if not isinstance(script, (str, os.PathLike)):
        raise UnusableValueError(f"a script must be {_EXPECTED_ONE}, got {script!r}")
    _refuse_text(os.fspath(script))
    path = Path(script)
    try:
        return path.name, path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UnusableValueError(f"script {path.name!r} must be text in UTF-8") from None


def _refuse_text(script: Any) -> None:
    """Refuse an address or SQL in place of a path, without showing it, because it may contain a password."""
    if os.path.exists(script):
        return
    if "://" in str(script):
        raise UnusableValueError(
            f"a script must be {_EXPECTED_ONE}, got an address", "a database is named by: Client('postgresql://…')"
        )
    if re.search(r"[;\n]|^\s*(?i:ALTER|CREATE|DROP|GRANT|INSERT|UPDATE)\s(?!.*\.sql$)", str(script)):
        raise UnusableValueError(
            f"a script must be {_EXPECTED_ONE}, got SQL text",
            "give it a name: setup(client, [('v001.sql', 'ALTER …')])",
        )


def _print_line(line: str) -> None:
    """Print a line; characters that the output cannot encode are escaped."""
    try:
        print(line, flush=True)
    except UnicodeEncodeError:
        encoding = sys.stdout.encoding
        print(line.encode(encoding, "backslashreplace").decode(encoding), flush=True)


def _check_names(names: list[str]) -> None:
    for index, name in enumerate(names):
        if name in names[:index]:
            reason = "it is the name of the included script" if name == _BASE else "another script has this name"
            raise UnusableValueError(f"a script cannot be called {name!r}: {reason}")


def _executed_scripts(client: Client) -> set[str]:
    with client as connection:
        with _translated_errors(client.engine):
            is_there = bool(client.engine.table_columns(connection, _RECORD_TABLE))
        if not is_there:
            return set()
        return {name for (name,) in client.execute(f"SELECT name FROM {_RECORD_TABLE}")}


def _execute_once(client: Client, name: str, script: str) -> bool:
    """Execute a script unless another process has; return whether it was executed here."""
    engine = client.engine
    with client as connection:
        with _translated_errors(engine):
            engine.lock_schema(connection)
        if name in _executed_scripts(client):
            return False
        # A caller's block continues after a failed script, so only the script is undone.
        with engine.savepoint(connection):
            if not engine.table_columns(connection, _RECORD_TABLE):
                client.execute(_CREATE_RECORD_TABLE)
            _execute_statements(engine, connection, name, script)
            client.execute(f"INSERT INTO {_RECORD_TABLE} (name, time_executed) VALUES (%s, %s)", (name, utc_now()))
        return True


def _execute_statements(engine: Engine, connection: Any, name: str, script: str) -> None:
    for statement in engine.split_script(script):
        keyword = first_keyword(statement, engine.dialect)
        if keyword in _TRANSACTION_CONTROL:
            continue
        if keyword in ("ROLLBACK", "ABORT"):
            reason = "a setup script must not roll back; if it fails, all of it is undone"
            raise script_error(name, statement, reason, engine.dialect)
        try:
            connection.execute(statement)
        except engine.driver_error as error:
            failure = script_error(name, statement, error, engine.dialect)
            # The driver's error may contain a password.
            raise failure from (error if failure.statement == statement else None)
