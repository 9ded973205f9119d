"""Check a PostgreSQL database and its server."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg

from sqltrack._quoting import quote_identifier
from sqltrack.engines._missing_index import LARGE_ROWS, missing_index
from sqltrack.engines.checks import Checks, Verdict, fetch_rows, note, ok, problem
from sqltrack.engines.postgres._hosts import with_addresses
from sqltrack.engines.postgres._pooler import is_refused_option
from sqltrack.engines.schema import KEY, PENDING, TABLES
from sqltrack.wording import pluralize

if TYPE_CHECKING:
    from sqltrack.engines.postgres._engine import PostgresEngine

__all__ = ["postgres_checks"]

Connection = psycopg.Connection[Any]

_OLDEST_VERSION, _NEWEST_VERSION = 13, 18

# Values of libpq's target_session_attrs.
_FOR_READING = ("standby", "prefer-standby", "read-only")
_FOR_WRITING = ("read-write", "primary")

# A transaction that is idle for this many seconds was probably forgotten.
_IDLE_SECONDS = 60

# Above this share of used connections, new ones may soon be refused.
_CROWDED = 0.8

_TABLES = [*TABLES, PENDING]
_SEQUENCES = ["experiments_id_seq", "runs_id_seq"]


def postgres_checks(engine: PostgresEngine, connection: Connection) -> Checks:
    """Return the checks for a PostgreSQL database."""
    checks = {
        "version": _version,
        "schema": _schema,
        "pooler": _pooler,
        "writable": _writable,
        "failover": _failover,
        "privileges": _privileges,
        "columns may be added": _ownership,
        "connections": _connections,
        "idle transactions": _idle_transactions,
        "metrics_pending": _pending,
        "best values": _best_values,
    }
    return {name: partial(check, engine, connection) for name, check in checks.items()}


def _version(engine: PostgresEngine, connection: Connection) -> Verdict:
    version = connection.info.parameter_status("server_version")
    found = f"PostgreSQL {version} (supported: {_OLDEST_VERSION} to {_NEWEST_VERSION})"
    major = connection.info.server_version // 10_000
    if major < _OLDEST_VERSION:
        return problem(found, "upgrade the server")
    if major > _NEWEST_VERSION:
        return note(found, "sqltrack was not tested with this version; look for a newer sqltrack")
    return ok(found)


def _schema(engine: PostgresEngine, connection: Connection) -> Verdict:
    schema = fetch_rows(engine, connection, "SELECT current_schema()")[0][0]
    if schema is not None:
        return ok(f"names are looked up in schema {schema!r}")
    if engine.schema is None:
        return problem("no schema of the search_path exists", "set the parameter schema, then: sqltrack setup")
    return problem(
        f"schema {engine.schema!r} does not exist, or this user may not use it",
        f"create it with: sqltrack setup, or as its owner: GRANT USAGE ON SCHEMA {quote_identifier(engine.schema)}",
    )


def _pooler(engine: PostgresEngine, connection: Connection) -> Verdict | None:
    is_refusing = engine.refuses_options or _refuses_options(engine)
    if not is_refusing and not engine.has_pooler:
        return ok("start-up options are accepted")
    found = f"a pooler is in between{' that refuses start-up options' if is_refusing else ''}"
    if engine.schema is not None:
        return note(f"{found}; the schema is set in each transaction, which costs round trips")
    if engine.has_pooler:
        return ok(f"{found}; statements are not prepared")
    return note(
        f"{found}, with which prepared statements may fail",
        "PgBouncer before 1.21 loses them; if you set the parameter schema, for example to public, sqltrack uses none",
    )


def _refuses_options(engine: PostgresEngine) -> bool:
    """Connect and return whether a pooler refuses start-up options.

    Raises:
        psycopg.OperationalError: connecting fails for another reason.
    """
    try:
        psycopg.connect(**{**with_addresses(engine.parameters()), "options": "-c application_name=sqltrack"}).close()
    except psycopg.OperationalError as error:
        if is_refused_option(error):
            return True
        raise
    return False


def _writable(engine: PostgresEngine, connection: Connection) -> Verdict:
    query = "SELECT pg_is_in_recovery(), current_setting('transaction_read_only') = 'on'"
    is_standby, is_read_only = fetch_rows(engine, connection, query)[0]
    if is_standby and _session_attributes(connection) in _FOR_READING:
        return note("the server is a standby, which can be read but not changed, as target_session_attrs asks")
    if is_standby:
        return problem(
            "the server is a standby, which can be read but not changed",
            "connect to the primary to track runs; for readers set target_session_attrs=prefer-standby",
        )
    if is_read_only:
        return problem("transactions are read-only", "see default_transaction_read_only of server, database and user")
    return ok("transactions may write")


def _failover(engine: PostgresEngine, connection: Connection) -> Verdict | None:
    target = engine.target()
    hosts = (target.get("host") or target.get("hostaddr") or "").split(",")
    if len(hosts) < 2:
        return None
    wanted = _session_attributes(connection)
    if wanted in _FOR_WRITING:
        return ok(f"connections go to the one of {len(hosts)} hosts that can be changed")
    if wanted in _FOR_READING:
        return ok(f"connections go to {len(hosts)} hosts, for reading")
    return note(
        f"{len(hosts)} hosts, and connections go to the first that answers, even if it can only be read",
        "set target_session_attrs=read-write, so that runs continue on the host that takes over",
    )


def _session_attributes(connection: Connection) -> str:
    """Return which servers the configuration asks for, "any" by default."""
    return str(connection.info.get_parameters().get("target_session_attrs", "any"))


def _privileges(engine: PostgresEngine, connection: Connection) -> Verdict | None:
    if not any(engine.table_columns(connection, table) for table in _TABLES):
        return None
    query = """
        SELECT privilege, string_agg(name, ', ' ORDER BY name)
        FROM unnest(%s::text[]) AS name, unnest(%s::text[]) AS privilege
        WHERE to_regclass(name) IS NOT NULL AND NOT has_table_privilege(to_regclass(name), privilege)
        GROUP BY privilege
        ORDER BY privilege
    """
    missing = fetch_rows(engine, connection, query, (_TABLES, ["SELECT", "INSERT", "UPDATE", "DELETE"]))
    missing += [
        (privilege, sequences) for privilege, sequences in fetch_rows(engine, connection, _SEQUENCES_SQL) if sequences
    ]
    user = fetch_rows(engine, connection, "SELECT current_user")[0][0]
    if not missing:
        return ok(f"user {user!r} may read and write the tables")
    statements = [
        f"GRANT {privilege} ON {'SEQUENCE ' if privilege == 'USAGE' else ''}{names} TO {quote_identifier(user)}"
        for privilege, names in missing
    ]
    found = "; ".join(f"no {privilege} on {names}" for privilege, names in missing)
    return problem(f"user {user!r} lacks privileges: {found}", f"as the tables' owner: {'; '.join(statements)}")


_SEQUENCES_SQL = f"""
    SELECT 'USAGE', string_agg(name, ', ' ORDER BY name)
    FROM unnest(ARRAY{_SEQUENCES}::text[]) AS name
    WHERE to_regclass(name) IS NOT NULL AND NOT has_sequence_privilege(to_regclass(name), 'USAGE')
"""


def _ownership(engine: PostgresEngine, connection: Connection) -> Verdict | None:
    query = """
        SELECT pg_has_role(relowner, 'USAGE'), pg_get_userbyid(relowner), current_user::text
        FROM pg_class WHERE oid = to_regclass('metrics')
    """
    for may_alter, owner, user in fetch_rows(engine, connection, query):
        if may_alter:
            return ok(f"user {user!r} may add columns to metrics")
        return note(
            f"user {user!r} may not add columns to metrics, whose owner is {owner!r}: new metrics go to extras",
            "add their columns beforehand as the owner (sqltrack setup SCRIPT), or as a superuser: "
            f"GRANT {quote_identifier(owner)} TO {quote_identifier(user)}",
        )
    return None


def _connections(engine: PostgresEngine, connection: Connection) -> Verdict:
    # All users can read pg_stat_database; pg_stat_activity hides details of other users.
    query = """
        SELECT
            (SELECT sum(numbackends)::int FROM pg_stat_database),
            current_setting('max_connections')::int
                - current_setting('superuser_reserved_connections')::int
                - COALESCE(current_setting('reserved_connections', true), '0')::int
    """
    used, limit = fetch_rows(engine, connection, query)[0]
    found = f"{used} of {limit} connections are in use"
    if used >= limit * _CROWDED:
        return note(found, "raise max_connections, use a pooler, or lower keepalive so that idle jobs hold none")
    return ok(found)


def _idle_transactions(engine: PostgresEngine, connection: Connection) -> Verdict:
    query = """
        SELECT DISTINCT activity.pid, activity.usename::text,
            extract(epoch FROM clock_timestamp() - activity.state_change)::bigint
        FROM pg_locks JOIN pg_stat_activity AS activity ON activity.pid = pg_locks.pid
        WHERE pg_locks.relation = to_regclass('metrics')
            AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND pg_locks.granted
            AND activity.state IN ('idle in transaction', 'idle in transaction (aborted)')
            AND activity.state_change <= clock_timestamp() - %s * interval '1 second'
        ORDER BY 3 DESC
    """
    idle = fetch_rows(engine, connection, query, (_IDLE_SECONDS,))
    if not idle:
        return ok("none found that locks metrics")
    shown = ", ".join(f"pid {pid} of user {user!r} for {seconds:,} s" for pid, user, seconds in idle)
    return note(
        f"metrics is locked by idle transactions: {shown}",
        "no column can be added until they end, new metrics go to extras; "
        f"end them in the program that forgot them, or with: SELECT pg_terminate_backend({idle[0][0]})",
    )


def _pending(engine: PostgresEngine, connection: Connection) -> Verdict | None:
    if not engine.table_columns(connection, "metrics_pending"):
        return None
    sql = "SELECT count(*) FROM (SELECT FROM metrics_pending LIMIT 100001) AS counted"
    [(rows,)] = fetch_rows(engine, connection, sql)
    if not rows:
        return ok("no metrics wait for a column")
    shown = "more than 100,000 rows hold" if rows > 100_000 else pluralize(rows, "row holds", "rows hold")
    found = f"{shown} pending metrics, because the table metrics could not be changed"
    return note(found, "move them with: sqltrack tidy")


def _best_values(engine: PostgresEngine, connection: Connection) -> Verdict | None:
    # An estimate; 0 or -1 before the first ANALYZE.
    query = "SELECT reltuples FROM pg_class WHERE oid = to_regclass('metrics')"
    if not any(rows >= LARGE_ROWS for (rows,) in fetch_rows(engine, connection, query)):
        return None
    query = """
        SELECT 1
        FROM pg_index
            JOIN pg_attribute AS run ON run.attrelid = indrelid AND run.attnum = indkey[0]
            JOIN pg_attribute AS metric ON metric.attrelid = indrelid AND metric.attnum = indkey[1]
        WHERE indrelid = to_regclass('metrics') AND indisvalid AND run.attname = 'run_id' AND metric.attname <> ALL (%s)
        LIMIT 1
    """
    if fetch_rows(engine, connection, query, (list(KEY),)):
        return None
    columns = engine.table_columns(connection, "metrics")
    numbers = (name for name, typ in columns.items() if typ.upper() == "DOUBLE PRECISION" and name not in KEY)
    metric = next(numbers, None)
    return None if metric is None else missing_index(metric)
