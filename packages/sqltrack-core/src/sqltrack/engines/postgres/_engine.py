"""Implement the interface for tracking for PostgreSQL, with psycopg 3."""

from __future__ import annotations

import contextlib
import math
import os
import re
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from sqltrack import sigterm
from sqltrack._masking import masked, masked_text
from sqltrack._quoting import quote_identifier
from sqltrack.engines._parameters import OWN_PARAMETERS
from sqltrack.engines.engine import Engine, find_sql_type
from sqltrack.engines.json import Jsonb, is_storable_text
from sqltrack.errors import (
    AccessDeniedError,
    ConfigError,
    DatabaseUnavailableError,
    MissingPackageError,
    NaiveDatetimeError,
    SQLTrackError,
)

try:
    import psycopg
    from psycopg.adapt import Dumper, PyFormat
    from psycopg.types.datetime import DatetimeBinaryDumper, DatetimeDumper
except ImportError as _error:
    raise MissingPackageError(
        "engine 'postgres'",
        "psycopg",
        "'sqltrack-core[postgres]'",
        hint="or use SQLite: Client(engine='sqlite'), engine=sqlite in sqltrack.conf, or SQLTRACK_DSN_ENGINE=sqlite",
    ) from _error

from sqltrack.engines.postgres._abandoned import AbandonedStatements
from sqltrack.engines.postgres._backend import ServerBackend
from sqltrack.engines.postgres._connection import Bound, BoundedConnection, Savepoint, is_readable
from sqltrack.engines.postgres._cursor import accepting_sql
from sqltrack.engines.postgres._errors import translate_error
from sqltrack.engines.postgres._hosts import connect_timeout, with_addresses
from sqltrack.engines.postgres._metrics_table import PostgresMetricsTable
from sqltrack.engines.postgres._pooler import (
    disable_session_features,
    is_pooled,
    is_refused_option,
    name_statements_uniquely,
)
from sqltrack.engines.postgres._types import SQL_TYPES
from sqltrack.engines.postgres.sql import POSTGRES, json_text

if TYPE_CHECKING:
    from sqltrack.engines.metrics_table import MetricsTable

__all__ = ["COLUMNS_SQL", "PostgresEngine"]

# Names and types of a table's columns; the parameter is the quoted name of the table.
COLUMNS_SQL = """
    SELECT attname, format_type(atttypid, atttypmod)
    FROM pg_attribute
    WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped
    ORDER BY attnum
"""

# Parameters that messages show. Users may put a whole address into one of them by mistake, with a password.
_SHOWN: Mapping[str, str] = {
    "host": "the name of a server",
    "hostaddr": "the address of a server",
    "port": "a number",
    "dbname": "the name of a database",
    "user": "the name of a user",
    "service": "the name of a service",
    "schema": "the name of a schema",
}
_ADDRESS = re.compile(r"^\s*[\w+.-]{2,}:/|\bpassword\s*=", re.IGNORECASE)

# Characters that they cannot contain, but parts of an address with a password can. A Unix socket may begin with @.
_NOT_SHOWN: Mapping[str, re.Pattern[str]] = {
    "host": re.compile(r"(?:^|,)[^/@,][^,]*@"),
    "hostaddr": re.compile(r"@"),
    "port": re.compile(r"[^\d\s,+-]"),
    "user": re.compile(r":"),
}

# Notice an unreachable server in seconds; TCP would wait for minutes.
_DEFAULTS: Mapping[str, Any] = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
    "fallback_application_name": "sqltrack",
}

# Timeout of a cancel request, in seconds.
_CANCEL_TIMEOUT = 2.0

# Timeout for probing whether the server is alive, in seconds.
_PROBE_TIMEOUT = 5.0

# Seconds that a terminated process waits for its statement to end, and then for the cancel request.
_LAST_WORD, _LAST_CANCEL = 0.25, 0.5

# Classes of SQLSTATE: transaction rollback (deadlocks), insufficient resources, objects that are in use or not ready,
# operator intervention, system errors, internal errors and damaged data. They are not the fault of the caller.
_PASSING_STATES = ("40", "53", "55", "57", "58", "XX")

# "sqltrack" as a number, so that it differs from the advisory locks of other programs.
_SETUP_LOCK = 0x73716C747261636B

# Interactive commands fail with a clear error instead of waiting for a forgotten transaction.
_ROW_LOCK_TIMEOUT = "30s"


class _JsonbDumper(Dumper):
    oid = psycopg.postgres.types["jsonb"].oid

    def dump(self, obj: Jsonb) -> bytes:
        return json_text(obj.obj).encode("utf-8")


class _DatetimeDumper(DatetimeDumper):
    """Refuses naive datetimes, which PostgreSQL would read in the session's time zone."""

    def get_key(self, obj: datetime, format: PyFormat) -> Any:  # noqa: A002
        if obj.utcoffset() is None:
            raise NaiveDatetimeError(obj)
        return super().get_key(obj, format)


class _DatetimeBinaryDumper(DatetimeBinaryDumper):
    """The same for the binary format."""

    def get_key(self, obj: datetime, format: PyFormat) -> Any:  # noqa: A002
        if obj.utcoffset() is None:
            raise NaiveDatetimeError(obj)
        return super().get_key(obj, format)


class PostgresEngine(Engine):
    """Stores experiments in a PostgreSQL database.

    Args:
        config: connection parameters of libpq
            (https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS), and `schema`, the
            schema in which names are looked up.

    Attributes:
        has_pooler: whether a pooler is in between; known after the first connection.
        refuses_options: whether the pooler has refused start-up options.
        answer_limit: seconds that short statements wait for an answer of the server, see `bounded`; default 30.
        probe_interval: seconds after which a second connection checks whether the server still works on a long
            statement; default 10.
    """

    name = "postgres"
    driver_error: ClassVar[type[Exception]] = psycopg.Error
    dialect = POSTGRES
    metrics_table: ClassVar[MetricsTable] = PostgresMetricsTable()
    connects_in_threads: ClassVar[bool] = True
    admin_class: ClassVar[str | None] = "sqltrack.engines.postgres.admin:PostgresAdmin"

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.schema: str | None = config.get("schema") or None
        self.has_pooler: bool = False
        self.refuses_options: bool = False
        self.answer_limit: float = 30.0
        self.probe_interval: float = 10.0
        self._hurry = threading.local()
        self._abandoned = AbandonedStatements()
        self._parameters = {
            name: value for name, value in config.items() if name not in OWN_PARAMETERS and value is not None
        }
        _check_parameters({"schema": self.schema, **self._parameters})

    def __repr__(self) -> str:
        return f"PostgresEngine({self._target()!r})"

    def connect(self, cursor_factory: type[psycopg.Cursor[Any]] = psycopg.Cursor) -> psycopg.Connection[Any]:
        """Connect to the server.

        Args:
            cursor_factory: class of the connection's cursors.

        Raises:
            DatabaseUnavailableError: the server cannot be reached, or the database does not exist.
            AccessDeniedError: the server refuses the user.
        """
        try:
            connection = self._connect(accepting_sql(cursor_factory))
        except psycopg.Error as error:
            translated = self.translate_error(error)
            if isinstance(translated, AccessDeniedError) and self.access_advice is not None:
                translated = AccessDeniedError(translated.message, self.access_advice)
            raise translated from error
        except ImportError as error:
            if not sys.is_finalizing():
                raise
            raise DatabaseUnavailableError(
                "PostgreSQL cannot be reached any more: Python is ending, and has no modules left to connect with"
            ) from error
        connection.adapters.register_dumper(Jsonb, _JsonbDumper)
        for dumper in (_DatetimeDumper, _DatetimeBinaryDumper):
            connection.adapters.register_dumper(datetime, dumper)
        return connection

    def parameters(self) -> dict[str, Any]:
        """Return the parameters for libpq, from the configuration and our defaults; they may include a password."""
        parameters = {**_defaults(), **self._parameters}
        seconds = getattr(self._hurry, "seconds", None)
        if seconds is not None:
            # libpq waits at least two seconds.
            parameters["connect_timeout"] = max(math.ceil(min(seconds, connect_timeout(parameters))), 2)
        return parameters

    @contextlib.contextmanager
    def connecting_within(self, seconds: float) -> Iterator[None]:
        """Limit `connect_timeout` in this thread."""
        self._hurry.seconds = seconds
        try:
            yield
        finally:
            self._hurry.seconds = None

    def describe(self) -> str:
        return self._target()

    def target(self) -> dict[str, Any]:
        from sqltrack.engines.postgres._environment import told_to_libpq

        try:
            told = psycopg.conninfo.conninfo_to_dict(self._parameters.get("conninfo", ""))
        except psycopg.ProgrammingError:
            # Connecting will report the error.
            told = {}
        given = {**told, **self._parameters}
        place = {name: given.get(name) or told_to_libpq(name) for name in ("service", "host", "hostaddr", "port")}
        # The default database has the name of the user.
        place["dbname"] = given.get("dbname") or told_to_libpq("dbname") or given.get("user")
        place["schema"] = self.schema
        return {"engine": self.name, **{name: str(value) for name, value in place.items() if value}}

    def is_default_target(self) -> bool:
        from sqltrack.config import DEFAULT_CONFIG

        return self.target() == {"engine": self.name, "dbname": str(DEFAULT_CONFIG["dbname"])}

    def data_dir(self) -> str:
        """Return the path of the folder that holds `base.sql`."""
        return str(Path(__file__).parent)

    def map_type(self, client: Any, typ: type) -> str:
        """Return the SQL type of a column for values of `typ`; for other types than ours, the one that psycopg uses.

        Raises:
            TypeError: no SQL type fits.
        """
        sql_type = find_sql_type(typ, SQL_TYPES)
        if sql_type is not None:
            return sql_type
        try:
            oid = psycopg.adapters.get_dumper(typ, PyFormat.AUTO).oid
            return psycopg.adapters.types[oid].name.upper()
        except (psycopg.ProgrammingError, KeyError):
            raise TypeError(f"no PostgreSQL type for Python type {typ.__name__!r}") from None

    def set_autocommit(self, connection: psycopg.Connection[Any], enabled: bool) -> None:
        connection.autocommit = enabled

    def is_usable(self, connection: psycopg.Connection[Any]) -> bool:
        if connection.closed or connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            return False
        # If the server ended the session, its message already waits in the socket.
        try:
            return not is_readable(connection.pgconn.socket) or not _has_ended(connection)
        except psycopg.Error:
            return False

    def answers(self, connection: BoundedConnection) -> bool:
        if not self.is_usable(connection):
            return False
        try:
            with self.bounded(connection):
                psycopg.Cursor(connection).execute(b"SELECT", prepare=False)
        except psycopg.Error:
            return False
        return True

    def is_busy(self, connection: psycopg.Connection[Any]) -> bool:
        # psycopg holds the lock while it talks to the server; a signal handler would wait for it forever.
        # A pipeline must end before other statements can be executed.
        return (
            connection.lock.locked()
            or connection.info.transaction_status == psycopg.pq.TransactionStatus.ACTIVE
            or connection.info.pipeline_status != psycopg.pq.PipelineStatus.OFF
        )

    def limit_waits(self, connection: psycopg.Connection[Any], seconds: float | None) -> None:
        if seconds is not None:
            limit = str(max(round(seconds * 1000), 1))
            connection.execute("SELECT set_config('lock_timeout', %s, true)", (limit,))

    def limit(self, connection: BoundedConnection, seconds: float | None) -> None:
        connection.limit = seconds

    def bounded(self, connection: BoundedConnection, seconds: float | None = None) -> AbstractContextManager[None]:
        return Bound(connection, self.answer_limit if seconds is None else seconds)

    def savepoint(self, connection: BoundedConnection) -> AbstractContextManager[None]:
        return Savepoint(connection)

    def execute_within(
        self, connection: psycopg.Connection[Any], seconds: float, sql: str, parameters: Sequence[Any]
    ) -> Any:
        with connection.transaction():
            self.limit_waits(connection, seconds)
            return connection.execute(sql.encode("utf-8"), parameters)

    def ends_abandoned(self, connection: psycopg.Connection[Any], others: Sequence[Engine]) -> bool:
        engines = [engine for engine in others if isinstance(engine, PostgresEngine)]
        dropped = {engine: engine._abandoned.take() for engine in engines}
        has_ended = False
        try:
            has_ended = self._abandoned.end(
                connection, [item for items in dropped.values() for item in items], has_pooler=self.has_pooler
            )
        finally:
            if not has_ended:
                for engine, items in dropped.items():
                    engine._abandoned.give_back(items)
        return has_ended

    def abort(self, connection: psycopg.Connection[Any]) -> None:
        self._abort(connection, _CANCEL_TIMEOUT if sigterm.begun_exit() is None else _LAST_CANCEL)

    def _abort(self, connection: psycopg.Connection[Any], seconds: float) -> None:
        if isinstance(connection, BoundedConnection) and not self.is_usable(connection):
            self._abandoned.note(connection.process_id)
        with contextlib.suppress(Exception):
            if connection.info.transaction_status == psycopg.pq.TransactionStatus.ACTIVE:
                # With a timeout: a server that does not answer ignores this request, too.
                connection.cancel_safe(timeout=seconds)
        with contextlib.suppress(Exception):
            connection.close()

    def abort_within(self, connection: psycopg.Connection[Any]) -> bool:
        if connection.autocommit:
            # In autocommit mode the statement may still complete. In a transaction it could only be rolled back.
            _wait_for_answer(connection, _LAST_WORD)
        self._abort(connection, _LAST_CANCEL)
        return True

    def translate_error(self, error: Exception) -> SQLTrackError:
        return translate_error(error, self._target())

    def may_pass(self, error: Exception) -> bool:
        state = getattr(error, "sqlstate", None) or ""
        return state.startswith(_PASSING_STATES)

    def may_fail_over(self) -> bool:
        return True

    def execute_script(self, connection: psycopg.Connection[Any], script: str) -> Any:
        cursor = connection.cursor()
        # Behind a pooler, the schema is set per transaction, and the script may contain several.
        sets_schema = self.has_pooler and self.schema is not None
        for part in self.split_script(script) if sets_schema else [script]:
            cursor.execute(part.encode("utf-8"))
        return cursor

    def lock_schema(self, connection: psycopg.Connection[Any]) -> None:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_SETUP_LOCK,))
        if self.schema is not None:
            exists = connection.execute("SELECT FROM pg_namespace WHERE nspname = %s", (self.schema,)).fetchone()
            if exists is None:
                connection.execute(f"CREATE SCHEMA {quote_identifier(self.schema)}".encode())

    def lock_rows(
        self, connection: psycopg.Connection[Any], table: str, ids: Sequence[int], *, for_deletion: bool = False
    ) -> None:
        connection.execute("SELECT set_config('lock_timeout', %s, true)", (_ROW_LOCK_TIMEOUT,))
        # Lock in order, to avoid deadlocks.
        strength = "UPDATE" if for_deletion else "NO KEY UPDATE"
        sql = f"SELECT id FROM {quote_identifier(table)} WHERE id = ANY(%s) ORDER BY id FOR {strength}"
        connection.execute(sql.encode("utf-8"), (list(ids),))

    def table_columns(self, connection: psycopg.Connection[Any], table: str) -> dict[str, str]:
        return dict(connection.execute(COLUMNS_SQL, (quote_identifier(table),)).fetchall())

    def next_id(self, connection: psycopg.Connection[Any], table: str) -> int | None:
        sql = f"SELECT next_unused_id('{table}', '{table}_id_seq')"
        row = connection.execute(sql.encode("ascii")).fetchone()
        return None if row is None else int(row[0])

    def merge_json_sql(self, column: str) -> str:
        return f"{_object_sql(column)} || %s"

    def remove_keys_sql(self, column: str) -> str:
        removed = f"{column} - ARRAY(SELECT jsonb_array_elements_text(%s))"
        return f"CASE WHEN jsonb_typeof({column}) = 'object' THEN {removed} ELSE {column} END"

    def json_items_sql(self, column: str) -> str:
        objects = f"CASE jsonb_typeof({column}) WHEN 'object' THEN {column} END"
        return (
            f"SELECT runs.id AS run_id, item.key AS name, item.value AS value FROM runs, jsonb_each({objects}) AS item"
        )

    def _connect(self, cursor_factory: type[psycopg.Cursor[Any]]) -> BoundedConnection:
        connection = self._connect_with_options(cursor_factory)
        # Not every connection to a pooler is recognized, so remember the first one that is.
        self.has_pooler = self.has_pooler or self.refuses_options or is_pooled(connection)
        if self.has_pooler:
            disable_session_features(connection, self.schema)
        else:
            name_statements_uniquely(connection)
        self._bound(connection)
        return connection

    def _bound(self, connection: BoundedConnection) -> None:
        """Apply this engine's limits to a connection."""
        parameters = self.parameters()
        connection.short_limit = self.answer_limit
        connection.probe_interval = self.probe_interval
        connection.process_id = connection.info.backend_pid
        seconds = min(connect_timeout(parameters), _PROBE_TIMEOUT)
        parameters = {**parameters, "connect_timeout": max(math.ceil(seconds), 2)}
        connection.backend = ServerBackend(parameters, seconds, behind_pooler=self.has_pooler)

    def _connect_with_options(self, cursor_factory: type[psycopg.Cursor[Any]]) -> BoundedConnection:
        """Connect, with the schema as a start-up option unless a pooler refuses it; poolers may also ignore it."""
        parameters = with_addresses(self.parameters())
        if self.schema is not None and not self.refuses_options:
            search_path = f"-c search_path={_escape_option(quote_identifier(self.schema))}"
            options = f"{parameters.get('options', '')} {search_path}".strip()
            try:
                return BoundedConnection.connect(**{**parameters, "options": options}, cursor_factory=cursor_factory)
            except psycopg.OperationalError as error:
                if not is_refused_option(error):
                    raise
            self.refuses_options = True
        return BoundedConnection.connect(**parameters, cursor_factory=cursor_factory)

    def _target(self) -> str:
        """Return a description of the database for messages, without secrets."""
        parts = [
            f"{name}={masked(name, str(self._parameters[name]))}"
            for name in ("host", "port", "dbname", "user", "service")
            if name in self._parameters
        ]
        if self.schema is not None:
            parts.append(f"schema={self.schema}")
        return f"PostgreSQL database {' '.join(parts)!r}" if parts else "PostgreSQL database"


def _object_sql(column: str) -> str:
    """Return an expression for the object in a JSON column, an empty one if it holds something else."""
    return f"CASE WHEN jsonb_typeof({column}) = 'object' THEN {column} ELSE '{{}}' END"


def _check_parameters(parameters: Mapping[str, Any]) -> None:
    """Refuse values that libpq would truncate, or that contain a password that it would show in an error."""
    for name, value in parameters.items():
        text = str(value)
        if "\0" in text or not is_storable_text(text):
            raise ConfigError(f"parameter {name!r} must be text that can be encoded as UTF-8, without NUL")
        if name in _SHOWN and _may_hold_password(name, text):
            raise ConfigError(
                f"{name} takes {_SHOWN[name]}, got an address or a password",
                "give host, port, user, dbname and passfile as parameters of their own, or the whole address as "
                "Client('postgresql://…')",
            )


def _may_hold_password(name: str, text: str) -> bool:
    if _ADDRESS.search(text) or masked_text(text) != text:
        return True
    return name in _NOT_SHOWN and _NOT_SHOWN[name].search(text) is not None


def _defaults() -> dict[str, Any]:
    defaults = dict(_DEFAULTS)
    if os.environ.get("PGCONNECT_TIMEOUT"):
        del defaults["connect_timeout"]
    return defaults


def _escape_option(text: str) -> str:
    """Escape a word of libpq's `options`: blanks separate words, and backslashes escape."""
    return text.replace("\\", "\\\\").replace(" ", "\\ ")


def _has_ended(connection: psycopg.Connection[Any]) -> bool:
    """Read the server's messages on an idle connection and return whether it ended the session.

    Raises:
        psycopg.Error: the connection is broken.
    """
    severities: list[str | None] = []

    def note(notice: psycopg.errors.Diagnostic) -> None:
        severities.append(notice.severity_nonlocalized)

    connection.add_notice_handler(note)
    try:
        while is_readable(connection.pgconn.socket):
            connection.pgconn.consume_input()
            # Makes libpq parse the input.
            connection.pgconn.is_busy()
    finally:
        connection.remove_notice_handler(note)
    return "FATAL" in severities


def _wait_for_answer(connection: psycopg.Connection[Any], seconds: float) -> None:
    if connection.info.transaction_status == psycopg.pq.TransactionStatus.ACTIVE:
        is_readable(connection.pgconn.socket, seconds)
