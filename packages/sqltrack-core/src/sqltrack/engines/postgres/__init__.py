"""PostgreSQL as a backend, through psycopg 3."""

from __future__ import annotations

import contextlib
import os
import select
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from sqltrack._environment import masked
from sqltrack.config import CLIENT_SETTINGS
from sqltrack.engines.engine import Engine, find_sql_type
from sqltrack.engines.health import PATIENCE
from sqltrack.engines.json import Jsonb, dumps, is_storable_text
from sqltrack.engines.sqltext import POSTGRES
from sqltrack.errors import ConfigError, DatabaseError, MissingPackageError, SQLTrackError, StatementTimeoutError
from sqltrack.quoting import quote_identifier

try:
    import psycopg
    from psycopg.adapt import Dumper, PyFormat
except ImportError as _error:
    raise MissingPackageError(
        "engine 'postgres'",
        "psycopg",
        "'sqltrack-core[postgres]'",
        hint="or use SQLite: Client(engine='sqlite'), engine=sqlite in sqltrack.conf, or SQLTRACK_DSN_ENGINE=sqlite",
    ) from _error

from sqltrack.engines.postgres._cursor import accepting_sql
from sqltrack.engines.postgres._errors import translate_error, without_excerpt
from sqltrack.engines.postgres._metrics import PostgresMetricsTable
from sqltrack.engines.postgres._passwords import encrypt_password, find_password
from sqltrack.engines.postgres._pooler import get_along, is_pooled, is_refused_option, name_statements_uniquely
from sqltrack.engines.postgres._readonly import guarded

if TYPE_CHECKING:
    from sqltrack.engines.health import Checks
    from sqltrack.engines.metrics import MetricsTable

__all__ = ["PostgresEngine"]

_SQL_TYPES: Mapping[type, str] = {
    bool: "BOOLEAN",
    int: "BIGINT",
    float: "DOUBLE PRECISION",
    str: "TEXT",
    bytes: "BYTEA",
    Decimal: "NUMERIC",
    datetime: "TIMESTAMP WITH TIME ZONE",
    date: "DATE",
    time: "TIME",
    timedelta: "INTERVAL",
    Jsonb: "JSONB",
    dict: "JSONB",
    list: "JSONB",
}

# By the names that format_type() gives to types.
_PYTHON_TYPES: Mapping[str, type] = {
    "bigint": int,
    "boolean": bool,
    "bytea": bytes,
    "date": date,
    "double precision": float,
    "integer": int,
    "interval": timedelta,
    "jsonb": dict,
    "numeric": Decimal,
    "real": float,
    "smallint": int,
    "text": str,
    "timestamp with time zone": datetime,
}

# All other parameters go to libpq. A config file may hold those of SQLite next to those of PostgreSQL.
_NOT_FOR_LIBPQ = CLIENT_SETTINGS | {"engine", "schema", "dbpath", "busy_timeout", "synchronous"}

# An unreachable server must cost seconds, not the minutes that TCP would wait.
_DEFAULTS: Mapping[str, Any] = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
    "fallback_application_name": "sqltrack",
}

# Seconds to wait for the server to hear that nobody waits for a statement any more.
_CANCEL_TIMEOUT = 2.0

# MaxHeapAttributeNumber (PostgreSQL manual, appendix K).
_MAX_COLUMNS = 1600

# "sqltrack" as a number, so that no other program's advisory locks are in the way.
_SETUP_LOCK = 0x73716C747261636B

# Whoever wants to change rows by hand rather hears that others hold them than waits for a forgotten transaction.
_ROW_LOCK_TIMEOUT = "30s"


class _JsonbDumper(Dumper):
    oid = psycopg.postgres.types["jsonb"].oid

    def dump(self, obj: Jsonb) -> bytes:
        return dumps(obj.obj).encode("utf-8")


class PostgresEngine(Engine):
    """Stores experiments in a PostgreSQL database.

    Args:
        config: connection parameters as libpq knows them
            (https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS), and `schema`, the
            schema in which names are looked up.

    Attributes:
        has_pooler: whether a pooler was found in between, which takes a connection to find out.
    """

    name = "postgres"
    driver_error: ClassVar[type[Exception]] = psycopg.Error
    dialect = POSTGRES
    metrics_table: ClassVar[MetricsTable] = PostgresMetricsTable()
    has_users = True

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.schema: str | None = config.get("schema") or None
        self._refuses_options = False
        self.has_pooler: bool = False
        self._parameters = {
            name: value for name, value in config.items() if name not in _NOT_FOR_LIBPQ and value is not None
        }
        _check_parameters(self._parameters)

    def __repr__(self) -> str:
        return f"PostgresEngine({self._target()!r})"

    def connect(self, cursor_factory: type[psycopg.Cursor[Any]] = psycopg.Cursor) -> psycopg.Connection[Any]:
        """Connect to the server.

        Args:
            cursor_factory: class of the cursors that the connection makes.

        Raises:
            DatabaseUnavailableError: the server cannot be reached, or has no such database.
            AccessDeniedError: the server refuses the user.
        """
        try:
            connection = self._connect(accepting_sql(cursor_factory))
        except psycopg.Error as error:
            raise self.translate_error(error) from error
        connection.adapters.register_dumper(Jsonb, _JsonbDumper)
        return connection

    @contextlib.contextmanager
    def snapshot(self, connection: psycopg.Connection[Any]) -> Iterator[None]:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        try:
            yield
        except psycopg.Error as error:
            raise self.translate_error(error) from error
        finally:
            # The connection may be lost, which whoever uses it next will notice.
            with contextlib.suppress(psycopg.Error):
                connection.rollback()

    def identity(self, connection: psycopg.Connection[Any]) -> str:
        query = "SELECT extract(epoch FROM pg_postmaster_start_time()), current_database(), to_regclass('runs')::oid"
        return f"postgres {connection.execute(query).fetchone()}"

    def describe(self) -> str:
        return self._target()

    def driver_variables(self) -> dict[str, str]:
        options = psycopg.pq.Conninfo.get_defaults()
        variables = {option.envvar.decode(): option.keyword.decode() for option in options if option.envvar}
        # Looked at for the parameter service.
        return {**variables, "PGSERVICEFILE": "servicefile"}

    def refuses_options(self) -> bool:
        """Return whether a pooler is in between that takes no start-up options; connects to find out.

        Raises:
            psycopg.OperationalError: connecting fails for another reason.
        """
        if self._refuses_options:
            return True
        try:
            options = "-c application_name=sqltrack"
            psycopg.connect(**{**_defaults(), **self._parameters, "options": options}).close()
        except psycopg.OperationalError as error:
            if is_refused_option(error):
                return True
            raise
        return False

    def data_dir(self) -> str:
        """Return the path of the folder that holds `base.sql`."""
        return str(Path(__file__).parent)

    def map_type(self, client: Any, typ: type) -> str:
        """Return the SQL type of a column for values of the Python type `typ`, others than ours as psycopg adapts it.

        Raises:
            TypeError: no SQL type fits.
        """
        sql_type = find_sql_type(typ, _SQL_TYPES)
        if sql_type is not None:
            return sql_type
        try:
            oid = psycopg.adapters.get_dumper(typ, PyFormat.AUTO).oid
            return psycopg.adapters.types[oid].name.upper()
        except (psycopg.ProgrammingError, KeyError):
            raise TypeError(f"no PostgreSQL type for Python type {typ.__name__!r}") from None

    def driver_version(self, connection: psycopg.Connection[Any]) -> str:
        return f"PostgreSQL {connection.info.parameter_status('server_version')}"

    def set_autocommit(self, connection: psycopg.Connection[Any], enabled: bool) -> None:
        connection.autocommit = enabled

    def in_transaction(self, connection: psycopg.Connection[Any]) -> bool:
        return connection.info.transaction_status in (
            psycopg.pq.TransactionStatus.INTRANS,
            psycopg.pq.TransactionStatus.INERROR,
        )

    def is_usable(self, connection: psycopg.Connection[Any]) -> bool:
        if connection.closed or connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            return False
        # A server that ended the session has said so already; the news waits in the socket.
        try:
            return not _is_readable(connection.pgconn.socket) or not _has_ended(connection)
        except psycopg.Error:
            return False

    def execute_within(
        self, connection: psycopg.Connection[Any], seconds: float, sql: str, parameters: Sequence[Any]
    ) -> Any:
        limit = str(max(round(seconds * 1000), 1))
        with connection.transaction():
            connection.execute("SELECT set_config('lock_timeout', %s, true)", (limit,))
            return connection.execute(sql.encode("utf-8"), parameters)

    def give_way(self, connection: psycopg.Connection[Any]) -> None:
        # Shorter than what the server takes to see a deadlock.
        connection.execute("SET LOCAL lock_timeout = '50ms'")

    @contextlib.contextmanager
    def reading(self, connection: psycopg.Connection[Any], seconds: float) -> Iterator[None]:
        if connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            raise DatabaseError("a transaction is open", "end it before reading without the right to write")
        try:
            with guarded(connection, seconds) as clock:
                yield
        except psycopg.Error as error:
            if isinstance(error, psycopg.errors.QueryCanceled) and clock.has_expired():
                raise StatementTimeoutError(seconds) from error
            raise self.translate_error(error) from error

    def abort(self, connection: psycopg.Connection[Any]) -> None:
        with contextlib.suppress(Exception):
            if connection.info.transaction_status == psycopg.pq.TransactionStatus.ACTIVE:
                # With a limit, because a server that does not answer does not answer to this either.
                connection.cancel_safe(timeout=_CANCEL_TIMEOUT)
        with contextlib.suppress(Exception):
            connection.close()

    def translate_error(self, error: Exception) -> SQLTrackError:
        return translate_error(error, self._target())

    def reason_of(self, error: Exception) -> str:
        return without_excerpt(str(error))

    def command_tag(self, cursor: psycopg.Cursor[Any], statement: str, count: int) -> str:
        return cursor.statusmessage or super().command_tag(cursor, statement, count)

    def watch_notices(self, connection: psycopg.Connection[Any], notify: Callable[[str], None]) -> None:
        connection.add_notice_handler(lambda notice: notify(f"{notice.severity}: {notice.message_primary}"))

    def find_password(self, user: str, dbname: str) -> str | None:
        try:
            return find_password({**_defaults(), **self._parameters, "user": user, "dbname": dbname})
        except psycopg.Error as error:
            raise self.translate_error(error) from error

    def encrypt_password(self, connection: psycopg.Connection[Any], user: str, password: str) -> str:
        try:
            return encrypt_password(connection, user, password)
        except psycopg.Error as error:
            raise self.translate_error(error) from error

    def execute_script(self, connection: psycopg.Connection[Any], script: str) -> Any:
        cursor = connection.cursor()
        # Behind a pooler the schema is set for one transaction, and the script may begin others.
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
        # In order, so that two who lock the same rows do not wait for each other.
        strength = "UPDATE" if for_deletion else "NO KEY UPDATE"
        sql = f"SELECT id FROM {quote_identifier(table)} WHERE id = ANY(%s) ORDER BY id FOR {strength}"
        connection.execute(sql.encode("utf-8"), (list(ids),))

    def reclaim_space(self, connection: psycopg.Connection[Any]) -> None:
        connection.execute("VACUUM experiments, experiment_links, runs, run_links, metrics")

    def table_columns(self, connection: psycopg.Connection[Any], table: str) -> dict[str, str]:
        query = """
            SELECT attname, format_type(atttypid, atttypmod)
            FROM pg_attribute
            WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped
            ORDER BY attnum
        """
        return dict(connection.execute(query, (quote_identifier(table),)).fetchall())

    def python_types(self, connection: psycopg.Connection[Any], table: str) -> dict[str, type]:
        columns = self.table_columns(connection, table)
        return {name: _PYTHON_TYPES[sql_type] for name, sql_type in columns.items() if sql_type in _PYTHON_TYPES}

    def index_names(self, connection: psycopg.Connection[Any], table: str) -> set[str]:
        query = """
            SELECT relname FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
            WHERE indrelid = to_regclass(%s) AND indisvalid
        """
        return {name for (name,) in connection.execute(query, (quote_identifier(table),))}

    def column_usage(self, connection: psycopg.Connection[Any], table: str) -> tuple[int, int]:
        # Columns that were dropped count for ever.
        query = "SELECT COALESCE(max(attnum), 0)::int FROM pg_attribute WHERE attrelid = to_regclass(%s)"
        return _first_value(connection.execute(query, (quote_identifier(table),))), _MAX_COLUMNS

    def row_estimate(self, connection: psycopg.Connection[Any], table: str) -> int | None:
        # Before the first ANALYZE it is -1, or 0 in PostgreSQL 13.
        query = "SELECT NULLIF(GREATEST(reltuples, 0), 0)::bigint FROM pg_class WHERE oid = to_regclass(%s)"
        estimate: int | None = _first_value(connection.execute(query, (quote_identifier(table),)))
        return estimate

    def table_bytes(self, connection: psycopg.Connection[Any], table: str) -> int | None:
        query = "SELECT pg_total_relation_size(to_regclass(%s))"
        size: int | None = _first_value(self.execute_within(connection, PATIENCE, query, (quote_identifier(table),)))
        return size

    def health_checks(self, *, full: bool) -> Checks:
        from sqltrack.engines.postgres._health import health_checks

        return health_checks(self)

    def json_keys_sql(self, column: str) -> str:
        return f"jsonb_object_keys({column}) AS item(key)"

    def merge_json_sql(self, column: str) -> str:
        return f"{_object_sql(column)} || %s"

    def remove_keys_sql(self, column: str) -> str:
        removed = f"{column} - ARRAY(SELECT jsonb_array_elements_text(%s))"
        return f"CASE WHEN jsonb_typeof({column}) = 'object' THEN {removed} ELSE {column} END"

    def json_items_sql(self, column: str) -> str:
        return (
            f"SELECT runs.id AS run_id, item.key AS name, item.value AS value FROM runs, jsonb_each({column}) AS item"
        )

    def _connect(self, cursor_factory: type[psycopg.Cursor[Any]]) -> psycopg.Connection[Any]:
        connection = self._connect_with_options(cursor_factory)
        # Of many connections to a pooler one may look direct, so what was seen once holds for all that follow.
        self.has_pooler = self.has_pooler or self._refuses_options or is_pooled(connection)
        if self.has_pooler:
            get_along(connection, self.schema)
        else:
            name_statements_uniquely(connection)
        return connection

    def _connect_with_options(self, cursor_factory: type[psycopg.Cursor[Any]]) -> psycopg.Connection[Any]:
        """Connect, with the schema as a start-up option unless a pooler refuses those; a pooler may also ignore it."""
        parameters = {**_defaults(), **self._parameters}
        if self.schema is not None and not self._refuses_options:
            search_path = f"-c search_path={_escape_option(quote_identifier(self.schema))}"
            options = f"{parameters.get('options', '')} {search_path}".strip()
            try:
                return psycopg.connect(**{**parameters, "options": options}, cursor_factory=cursor_factory)
            except psycopg.OperationalError as error:
                if not is_refused_option(error):
                    raise
            self._refuses_options = True
        return psycopg.connect(**parameters, cursor_factory=cursor_factory)

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
    """Return an expression: what a JSON column holds if that has keys, else an object without any."""
    return f"CASE WHEN jsonb_typeof({column}) = 'object' THEN {column} ELSE '{{}}' END"


def _first_value(cursor: Any) -> Any:
    row = cursor.fetchone()
    return None if row is None else row[0]


def _check_parameters(parameters: Mapping[str, Any]) -> None:
    """Refuse what libpq would cut off, or name in an error with all that stands beside it, passwords included."""
    for name, value in parameters.items():
        text = str(value)
        if "\0" in text or not is_storable_text(text):
            raise ConfigError(f"parameter {name!r} must be text that can be encoded as UTF-8, without NUL")


def _defaults() -> dict[str, Any]:
    defaults = dict(_DEFAULTS)
    if os.environ.get("PGCONNECT_TIMEOUT"):
        del defaults["connect_timeout"]
    return defaults


def _escape_option(text: str) -> str:
    """Escape a word of libpq's `options`, where blanks separate and backslashes escape."""
    return text.replace("\\", "\\\\").replace(" ", "\\ ")


def _has_ended(connection: psycopg.Connection[Any]) -> bool:
    """Read what the server has sent to an idle connection; return whether it says that the session is over.

    Raises:
        psycopg.Error: the connection is broken.
    """
    severities: list[str | None] = []

    def note(notice: psycopg.errors.Diagnostic) -> None:
        severities.append(notice.severity_nonlocalized)

    connection.add_notice_handler(note)
    try:
        while _is_readable(connection.pgconn.socket):
            connection.pgconn.consume_input()
            # Lets libpq look at it.
            connection.pgconn.is_busy()
    finally:
        connection.remove_notice_handler(note)
    return "FATAL" in severities


def _is_readable(fd: int) -> bool:
    if hasattr(select, "poll"):  # pragma: no branch - Windows
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        return bool(poll.poll(0))
    return bool(select.select([fd], [], [], 0)[0])  # pragma: no cover - Windows
