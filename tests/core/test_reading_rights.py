"""Where only reading is allowed, only queries pass, with limited rights and limited time."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack.engines.admin import admin_of
from sqltrack.engines.results import find_reader
from sqltrack.errors import (
    AccessDeniedError,
    DatabaseError,
    ReadOnlyDatabaseError,
    SQLTrackError,
    StatementTimeoutError,
)
from support.databases import connect_to_postgres, temporary_role

SERVER = pytest.mark.engines("postgres", reason="SQLite has no users, and no server")

# Statements that a read-only transaction of PostgreSQL allows, or refuses only after they have begun.
STATEMENTS = [
    "COPY (SELECT 1) TO PROGRAM 'touch {file}'",
    "COPY (SELECT 1) TO '{file}'",
    "/* SELECT */ COPY runs TO '{file}'",
    "COPY runs TO STDOUT",
    "COPY runs FROM PROGRAM 'touch {file}'",
    "LOCK TABLE runs",
    "CLUSTER",
    "CHECKPOINT",
    "LISTEN intruder",
    "NOTIFY intruder",
    "DISCARD ALL",
    "DEALLOCATE ALL",
    "LOAD 'intruder'",
    "SET ROLE NONE",
    "RESET ROLE",
    "RESET SESSION AUTHORIZATION",
    "PREPARE intruder AS DELETE FROM runs",
    "DECLARE intruder CURSOR WITH HOLD FOR SELECT 1",
    "DO $$ BEGIN PERFORM 1; END $$",
    "ALTER SYSTEM SET work_mem = '1MB'",
    "EXPLAIN ANALYZE CREATE TABLE intruder AS SELECT 1 AS a",
    "EXPLAIN (ANALYZE) DELETE FROM runs",
    "EXPLAIN EXECUTE intruder",
    "EXPLAIN (SELECT 1); COPY (SELECT 1) TO '{file}'",
    "SHOW work_mem; COPY (SELECT 1) TO '{file}'",
]

# Functions with an immediate effect that no rollback undoes; they stand for all that a read-only role must not call.
FUNCTIONS = [
    "lo_export(4711, '{file}')",
    "lo_import('/etc/hostname')",
    "lo_create(4711)",
    "lo_unlink(4711)",
    "pg_read_file('postgresql.conf')",
    "pg_read_binary_file('postgresql.conf')",
    "pg_ls_dir('.')",
    "pg_terminate_backend({pid})",
    "pg_cancel_backend({pid})",
    "pg_reload_conf()",
    "pg_rotate_logfile()",
    "pg_switch_wal()",
    "pg_create_restore_point('intruder')",
    "pg_create_physical_replication_slot('intruder')",
    "pg_logical_emit_message(false, 'intruder', 'a')",
    "pg_stat_reset()",
    "nextval('runs_id_seq')",
    "setval('runs_id_seq', 1000)",
    "set_config('work_mem', '1MB', false)",
    "query_to_xml('SELECT pg_read_file(''postgresql.conf'')', true, true, '')",
]

# Each gets the rights of a superuser back, if it is executed.
RETURNS = [
    "SELECT set_config('role', 'none', true), pg_sleep(0)",
    "SELECT pg_catalog.\"set_config\"('role', 'none', false)",
    "SELECT U&\"\\0073et_config\"('role', 'none', false)",
    "SELECT set_config('session_authorization', session_user, true)",
    "VALUES (set_config('role', 'none', true))",
    "WITH a AS (SELECT set_config('role', 'none', true)) SELECT * FROM a",
    "SELECT * FROM runs WHERE set_config('role', 'none', true) = ''",
    "SELECT 1 ORDER BY set_config('role', 'none', true)",
    "SELECT * FROM set_config('role', 'none', true)",
    "SELECT 1 WHERE EXISTS (SELECT set_config('role', 'none', true)); -- and so on",
    "EXPLAIN ANALYZE SELECT set_config('role', 'none', true)",
    "EXPLAIN (ANALYZE, VERBOSE) SELECT set_config('role', 'none', true)",
    "EXPLAIN /* ; */ ANALYZE VERBOSE (SELECT set_config('role', 'none', true))",
    "SELECT * FROM query_to_xml('SELECT set_config(''role'', ''none'', true)', true, true, '')",
    "SELECT * FROM ts_stat('SELECT to_tsvector(set_config(''role'', ''none'', true))')",
    "SELECT return_rights()",
    "SELECT * FROM returned_rights",
    "SELECT table_to_xml('returned_rights', true, true, '')",
    "SELECT \"table_to_xml_and_xmlschema\"('returned_rights', true, true, '')",
    "SELECT schema_to_xml('public', true, true, '')",
    "SELECT database_to_xml(true, true, '')",
    "SELECT U&\"table\\005fto_xml\"('returned_rights', true, true, '')",
]

# Code by which an ordinary user could get the rights of a superuser, and a query that runs it, by the name in errors.
FOREIGN = {
    "function liar()": (
        "CREATE FUNCTION liar() RETURNS TEXT LANGUAGE plpgsql PARALLEL SAFE AS"
        " $$ BEGIN EXECUTE 'RESET ROLE'; RETURN current_user; END $$;"
        " CREATE VIEW leaderboard AS SELECT liar() AS score",
        "SELECT score FROM leaderboard",
    ),
    "domain checked": (
        "CREATE DOMAIN checked AS TEXT CHECK (set_config('role', 'none', true) IS NOT NULL)",
        "SELECT comment::checked FROM runs",
    ),
    "function aggregated(text,boolean)": (
        "CREATE AGGREGATE aggregated (TEXT, BOOLEAN)"
        " (SFUNC = set_config, STYPE = TEXT, INITCOND = 'role', PARALLEL = SAFE)",
        "SELECT aggregated('none', true)",
    ),
    "view rights_back": (
        "CREATE VIEW rights_back AS SELECT set_config('role', 'none', true)",
        "SELECT id FROM runs",
    ),
    "view by_name": (
        "CREATE VIEW by_name AS SELECT table_to_xml('runs', true, true, '')",
        "SELECT * FROM by_name",
    ),
    "operator ": (
        "CREATE FUNCTION unequal(TEXT, TEXT) RETURNS BOOLEAN LANGUAGE SQL AS"
        " $$ SELECT set_config('role', 'none', true) IS NOT NULL $$;"
        " CREATE OPERATOR !== (FUNCTION = unequal, LEFTARG = TEXT, RIGHTARG = TEXT);"
        " CREATE OPERATOR === (FUNCTION = texteq, LEFTARG = TEXT, RIGHTARG = TEXT, NEGATOR = !==)",
        "SELECT NOT 'a'::TEXT === 'a'::TEXT",
    ),
    "function as_json(colors)": (
        "CREATE TYPE colors AS ENUM ('red'); CREATE FUNCTION as_json(colors) RETURNS JSON LANGUAGE SQL AS"
        " $$ SELECT to_json(set_config('role', 'none', true)) $$;"
        " CREATE CAST (colors AS JSON) WITH FUNCTION as_json(colors)",
        "SELECT to_json('red'::colors)",
    ),
    "range type spans": (
        "CREATE TYPE spans AS RANGE (SUBTYPE = TEXT)",
        "SELECT spans('a', 'b')",
    ),
    "function equal_texts(text,text)": (
        "CREATE FUNCTION equal_texts(TEXT, TEXT) RETURNS BOOLEAN LANGUAGE SQL PARALLEL SAFE AS"
        " $$ SELECT set_config('role', 'none', true) IS NOT NULL $$;"
        " CREATE OPERATOR === (FUNCTION = equal_texts, LEFTARG = TEXT, RIGHTARG = TEXT)",
        "SELECT 'a'::TEXT === 'a'::TEXT",
    ),
}

QUERIES = {
    "SELECT id FROM runs; -- the only one": [(1,)],
    "TABLE experiments": None,
    "VALUES (1), (2)": [(1,), (2,)],
    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3) SELECT SUM(i) FROM n": [(6,)],
    "SELECT id, id FROM runs": [(1, 1)],
    "SELECT random() < 2, now() <= clock_timestamp(), gen_random_uuid() IS NULL": [(True, True, False)],
    "SELECT args ->> 'lr', row_number() OVER (ORDER BY id) FROM runs": [("0.1", 1)],
    "SELECT COUNT(*) FROM runs CROSS JOIN generate_series(1, 3)": [(3,)],
    "SELECT '100%', '%s', '{}', $$;$$": [("100%", "%s", "{}", ";")],
    "SELECT pg_size_pretty(pg_total_relation_size('metrics')) IS NULL, current_setting('port') IS NULL": [
        (False, False)
    ],
    "SHOW transaction_read_only": [("on",)],
    "EXPLAIN SELECT 1": None,
    "EXPLAIN (FORMAT XML) SELECT 1": None,
    "explain (analyze, costs off) SELECT * FROM runs": None,
    "-- a comment\nEXPLAIN ANALYZE VERBOSE SELECT * FROM runs;": None,
}


@pytest.fixture
def client(client: sqltrack.Client) -> sqltrack.Client:
    """A database with a run, on PostgreSQL a superuser's, with a function and a view that change the role."""
    sqltrack.Experiment(client, name="experiment").get_run(1).add_args({"lr": 0.1}).add_metrics({"loss": 1.0}, step=1)
    if client.engine.name == "postgres":
        with client as connection:
            if connection.info.server_version < 140000:
                pytest.skip("PostgreSQL before 14 has no role that only reads")
        returning = "SELECT set_config('role', 'none', true)"
        client.execute(f"CREATE FUNCTION return_rights() RETURNS TEXT LANGUAGE SQL AS $$ {returning} $$")
        client.execute(f"CREATE VIEW returned_rights AS {returning}")
    return client


@contextmanager
def reading_connection(client: sqltrack.Client, seconds: float = 10, *, as_superuser: bool = False) -> Iterator[Any]:
    with client as connection, admin_of(client.engine, connection).read_only(seconds, as_superuser=as_superuser):
        yield connection


def read_stream(connection: Any, sql: str) -> Any:
    cursor = connection.cursor()
    with find_reader(cursor).read(cursor, sql, None, 100) as reading:
        return [tuple(row) for chunk in reading.chunks for row in chunk]


def read_at_once(connection: Any, sql: str) -> Any:
    return connection.execute(sql).fetchall()


WAYS = pytest.mark.parametrize("read", [read_at_once, read_stream])


@SERVER
@WAYS
@pytest.mark.parametrize("as_superuser", [False, True])
def test_only_queries_pass(
    client: sqltrack.Client, tmp_path: Path, read: Callable[..., Any], as_superuser: bool
) -> None:
    tmp_path.chmod(0o777)
    file = tmp_path / "intruder"
    for sql in STATEMENTS:
        with (
            pytest.raises(SQLTrackError) as caught,
            reading_connection(client, as_superuser=as_superuser) as connection,
        ):
            read(connection, sql.format(file=file))
        is_one = ";" not in sql.partition("$$")[0]
        assert not is_one or isinstance(caught.value, ReadOnlyDatabaseError), sql
        assert not file.exists(), sql


@SERVER
@WAYS
def test_a_superuser_has_the_rights_of_a_reader(
    client: sqltrack.Client, config: dict[str, Any], tmp_path: Path, read: Callable[..., Any]
) -> None:
    tmp_path.chmod(0o777)
    file = tmp_path / "intruder"
    with closing(connect_to_postgres(config)) as other:
        (pid,) = other.execute("SELECT pg_backend_pid()").fetchone() or ()
        for function in FUNCTIONS:
            sql = f"SELECT {function.format(file=file, pid=pid)}"
            with pytest.raises((AccessDeniedError, ReadOnlyDatabaseError)), reading_connection(client) as connection:
                read(connection, sql)
            assert other.execute("SELECT 1").fetchone() == (1,), sql
    assert not file.exists()


@SERVER
@WAYS
def test_no_query_can_take_a_superusers_rights_back(client: sqltrack.Client, read: Callable[..., Any]) -> None:
    for sql in RETURNS:
        print(sql)
        with pytest.raises(ReadOnlyDatabaseError, match="PARALLEL SAFE"), reading_connection(client) as connection:
            read(connection, sql)


@SERVER
@pytest.mark.not_pooled("it changes the role of a session")
def test_a_superusers_query_executes_no_code_of_other_users(client: sqltrack.Client, config: dict[str, Any]) -> None:
    """Neither functions that are declared safe, nor those that the planner does not look into."""
    with closing(connect_to_postgres(config)) as connection, temporary_role(connection, "stranger of tests"):
        connection.execute('GRANT CREATE ON SCHEMA public TO "stranger of tests"')
        for name, (script, sql) in FOREIGN.items():
            connection.execute('SET ROLE "stranger of tests"')
            connection.execute(script)
            connection.execute("RESET ROLE")
            refused = pytest.raises(ReadOnlyDatabaseError, match="not a superuser")
            with refused as caught, reading_connection(client) as reading:
                reading.execute(sql)
            assert name in str(caught.value)
            with reading_connection(client, as_superuser=True) as reading:
                assert reading.execute(sql).fetchall()
            connection.execute('DROP OWNED BY "stranger of tests" CASCADE')
            connection.execute('GRANT CREATE ON SCHEMA public TO "stranger of tests"')
        # A view of functions that the server declares safe stays readable, and calls of unsafe functions are found.
        connection.execute('GRANT SELECT ON runs TO "stranger of tests"; SET ROLE "stranger of tests"')
        connection.execute("CREATE VIEW harmless AS SELECT id + 1 AS id, now() AS now FROM runs; RESET ROLE")
        connection.execute("CREATE FUNCTION public.honest() RETURNS INT LANGUAGE SQL AS 'SELECT 1'")
        connection.execute('ALTER FUNCTION public.honest() OWNER TO "stranger of tests"')
        with reading_connection(client) as reading:
            assert reading.execute("SELECT id FROM harmless").fetchall() == [(2,)]
        with pytest.raises(ReadOnlyDatabaseError, match="PARALLEL SAFE"), reading_connection(client) as reading:
            reading.execute("SELECT honest()")


@SERVER
@pytest.mark.not_pooled("it changes the role of a session")
def test_a_superuser_reads_a_database_that_another_user_has_set_up(
    client: sqltrack.Client, config: dict[str, Any]
) -> None:
    """The function that setup creates is not a reason to refuse queries."""
    with closing(connect_to_postgres(config)) as connection, temporary_role(connection, "owner of tests"):
        for table in ("experiments", "runs"):
            connection.execute(f'ALTER TABLE {table} OWNER TO "owner of tests"')
        connection.execute('ALTER FUNCTION next_unused_id OWNER TO "owner of tests"')
        with reading_connection(client) as reading:
            assert reading.execute("SELECT id FROM runs").fetchall() == [(1,)]


@SERVER
@pytest.mark.parametrize("lock", ["UPDATE", "NO KEY UPDATE", "SHARE", "KEY SHARE"])
def test_the_error_of_a_query_that_locks_rows_says_so(client: sqltrack.Client, lock: str) -> None:
    for query in ("TABLE runs", "SELECT * FROM runs", "SELECT * FROM (SELECT * FROM runs LIMIT 1) AS a"):
        with pytest.raises(ReadOnlyDatabaseError, match="locks rows"), reading_connection(client) as connection:
            connection.execute(f"{query} FOR {lock}")


@SERVER
@pytest.mark.not_pooled("a pooler takes no start-up options")
def test_nor_can_it_if_the_session_has_begun_with_another_role(client: sqltrack.Client, config: dict[str, Any]) -> None:
    member = sqltrack.Client(config, options="-c role=pg_read_all_data")
    with reading_connection(member) as connection:
        assert connection.execute("SELECT id FROM runs").fetchall() == [(1,)]
    with pytest.raises(ReadOnlyDatabaseError), reading_connection(member) as connection:
        connection.execute(RETURNS[0])


@SERVER
@WAYS
def test_queries_read_as_ever(client: sqltrack.Client, read: Callable[..., Any]) -> None:
    for sql, expected in QUERIES.items():
        for as_superuser in (False, True):
            print(sql)
            with reading_connection(client, as_superuser=as_superuser) as connection:
                rows = read(connection, sql)
            assert rows == expected if expected is not None else rows, sql
            assert not any(isinstance(value, bytes) for row in rows for value in row), sql


@SERVER
def test_the_values_of_placeholders_are_seen(client: sqltrack.Client) -> None:
    with reading_connection(client) as connection:
        assert connection.execute("SELECT id FROM runs WHERE id = %s AND '%%' = '%%'", (1,)).fetchall() == [(1,)]
        assert connection.execute("EXPLAIN SELECT id FROM runs WHERE id = %(id)s", {"id": 1}).fetchall()


@SERVER
def test_the_tables_are_those_that_the_superuser_sees(client: sqltrack.Client, config: dict[str, Any]) -> None:
    """Even in a schema named after the superuser."""
    client.execute("CREATE SCHEMA AUTHORIZATION CURRENT_USER")
    client.execute(f'CREATE TABLE "{config["user"]}".runs AS SELECT 7 AS id')
    with reading_connection(client) as connection:
        assert connection.execute("SELECT id FROM runs").fetchall() == [(7,)]
        assert connection.execute("SELECT current_user").fetchall() == [("pg_read_all_data",)]
        assert connection.execute("SELECT id FROM runs").fetchall() == [(7,)]


@SERVER
def test_rows_that_a_policy_would_hide_are_an_error(client: sqltrack.Client) -> None:
    client.execute("ALTER TABLE runs ENABLE ROW LEVEL SECURITY")
    with pytest.raises(AccessDeniedError, match="row-level security"), reading_connection(client) as connection:
        connection.execute("SELECT id FROM runs")


@SERVER
def test_a_superuser_can_ask_for_all_rights(client: sqltrack.Client) -> None:
    with reading_connection(client, as_superuser=True) as connection:
        assert connection.execute("SELECT pg_read_file('postgresql.conf') IS NULL").fetchall() == [(False,)]
    with reading_connection(client) as connection:
        assert connection.execute("SELECT current_user = session_user").fetchall() == [(False,)]
    assert client.execute("SELECT current_user = session_user").fetchall() == [(True,)]


@SERVER
def test_and_has_to_where_no_role_only_reads(client: sqltrack.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sqltrack.engines.postgres._readonly._READING_ROLE_VERSION", 10**6)
    with pytest.raises(ReadOnlyDatabaseError, match="--as-superuser"), reading_connection(client) as connection:
        connection.execute("SELECT 1")
    with reading_connection(client, as_superuser=True) as connection:
        assert connection.execute("SELECT 1").fetchall() == [(1,)]


@SERVER
@pytest.mark.not_pooled("it changes the role of a session")
def test_other_users_keep_their_rights(client: sqltrack.Client, config: dict[str, Any]) -> None:
    with closing(connect_to_postgres(config)) as connection, temporary_role(connection, "reader of tests", "LOGIN"):
        connection.execute('GRANT SELECT ON ALL TABLES IN SCHEMA public TO "reader of tests"')
        reader = sqltrack.Client(config, user="reader of tests")
        with reading_connection(reader) as reading:
            # Functions without restrictions have only the rights of this user.
            assert reading.execute("SELECT return_rights(), id FROM runs").fetchall() == [("none", 1)]
        for sql in ("LOCK TABLE runs", "COPY runs TO STDOUT", "SELECT pg_read_file('postgresql.conf')"):
            with pytest.raises((AccessDeniedError, ReadOnlyDatabaseError)), reading_connection(reader) as reading:
                reading.execute(sql)


@SERVER
@pytest.mark.not_pooled("it changes the role of a session")
def test_members_of_a_superusers_role_cannot_take_it_on(client: sqltrack.Client, config: dict[str, Any]) -> None:
    with closing(connect_to_postgres(config)) as connection, temporary_role(connection, "member of tests", "LOGIN"):
        connection.execute('GRANT SELECT ON ALL TABLES IN SCHEMA public TO "member of tests"')
        connection.execute(f'GRANT "{config["user"]}" TO "member of tests"')
        member = sqltrack.Client(config, user="member of tests")
        with reading_connection(member) as reading:
            found = reading.execute("SELECT current_user, id FROM runs").fetchall()
            assert found == [("member of tests", 1)]
        role = f"SELECT set_config('role', '{config['user']}', true)"
        for sql in (role, f"SELECT * FROM ({role}) AS a", "SELECT return_rights()"):
            with pytest.raises(ReadOnlyDatabaseError, match="PARALLEL SAFE"), reading_connection(member) as reading:
                reading.execute(sql)


@SERVER
def test_locks_that_outlive_a_transaction_are_released(client: sqltrack.Client, config: dict[str, Any]) -> None:
    locks = """
        SELECT COUNT(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database
        WHERE locktype = 'advisory' AND datname = current_database()
    """
    for as_superuser in (False, True):
        with client as connection:
            with admin_of(client.engine, connection).read_only(10, as_superuser=as_superuser):
                connection.execute("SELECT pg_advisory_lock(4711)")
            with pytest.raises(DatabaseError), admin_of(client.engine, connection).read_only(10):
                connection.execute("SELECT pg_advisory_lock(4711)")
                connection.execute("SELECT 1 / 0")
            with closing(connect_to_postgres(config)) as other:
                assert other.execute(locks).fetchone() == (0,)
            assert client.execute("SELECT 1").fetchone() == (1,)


@SERVER
def test_no_other_way_of_a_cursor_reads(client: sqltrack.Client) -> None:

    def execute_named(connection: Any) -> None:
        with connection.cursor(name="named") as cursor:
            cursor.execute("SELECT 1")

    ways: list[Callable[[Any], Any]] = [
        lambda connection: connection.cursor().executemany("SELECT %s", [(1,)]),
        lambda connection: connection.cursor().copy("COPY runs TO STDOUT").__enter__(),
        execute_named,
    ]
    for way in ways:
        with (
            pytest.raises(DatabaseError, match="not supported on a read-only connection"),
            reading_connection(client) as connection,
        ):
            way(connection)
    with client as connection, connection.cursor(name="named") as cursor:
        assert cursor.execute("SELECT id FROM runs").fetchall() == [(1,)]


@SERVER
def test_the_client_keeps_the_time_limit_where_the_server_does_not(
    client: sqltrack.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sqltrack.engines.postgres import _readonly

    # As if the limit had been lifted.
    monkeypatch.setattr(_readonly, "_GUARD_SQL", _readonly._GUARD_SQL.replace(b"statement_timeout", b"my.timeout"))
    for read in (read_at_once, read_stream):
        with (
            pytest.raises(StatementTimeoutError, match="took longer than 0.2 s"),
            reading_connection(client, 0.2) as connection,
        ):
            read(connection, "SELECT pg_sleep(60)")
    assert client.execute("SELECT 1").fetchone() == (1,)


@SERVER
@pytest.mark.not_pooled("it stops a process of the server")
def test_it_does_so_as_well_where_the_server_does_not_react(
    own_config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sqltrack.engines.postgres._time_limit._LAST_GRACE", 0.2)
    client = sqltrack.Client(own_config)
    connection = client.engine.connect()
    pid = connection.info.backend_pid
    timer = threading.Timer(0.1, os.kill, (pid, signal.SIGSTOP))
    try:
        with pytest.raises(StatementTimeoutError), admin_of(client.engine, connection).read_only(0.5):
            timer.start()
            connection.execute("SELECT pg_sleep(60)")
    finally:
        timer.join()
        os.kill(pid, signal.SIGCONT)
    assert connection.closed


# SQLite


@pytest.mark.engines("sqlite", reason="PostgreSQL has no pragmas")
def test_no_pragma_changes_anything(client: sqltrack.Client, tmp_path: Path) -> None:
    with client as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM pragma_pragma_list")]
        # Pragmas that change something even without an argument, and lists of objects that the connection has used so
        # far.
        left_out = {"incremental_vacuum", "optimize", "shrink_memory", "wal_checkpoint", "case_sensitive_like"}
        telling = [name for name in names if name not in left_out | {"database_list", "module_list"}]

        def told() -> dict[str, Any]:
            plain = connection.plain_cursor
            return {name: plain.execute(f"PRAGMA {name}").fetchall() for name in telling}

        def files() -> dict[str, bytes]:
            return {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.suffix != ".db-shm"}

        before = told(), files()
        for name in names:
            for value in ("0", "1", "7", "'DELETE'", "'/tmp'"):
                for sql in (
                    f"PRAGMA {name} = {value}",
                    f"pragma main.{name}({value})",
                    f"SELECT * FROM pragma_{name}({value})",
                ):
                    try:
                        with admin_of(client.engine, connection).read_only(10):
                            connection.execute(sql).fetchall()
                    except SQLTrackError:
                        pass
        assert (told(), files()) == before


@pytest.mark.engines("sqlite", reason="PostgreSQL attaches no files, and loads no extensions here")
@pytest.mark.parametrize(
    "sql",
    [
        "ATTACH ':memory:' AS intruder",
        "attach '' as intruder",
        "-- SELECT\nATTACH DATABASE 'intruder.db' AS intruder",
        "SELECT load_extension('intruder')",
        "SELECT LOAD_EXTENSION('intruder', 'init')",
        "WITH a AS (SELECT load_extension('intruder') AS b) SELECT * FROM a",
        "SELECT 1 WHERE load_extension('intruder') IS NULL",
        "EXPLAIN SELECT load_extension('intruder')",
        "CREATE TEMP TRIGGER intruder AFTER INSERT ON runs BEGIN SELECT 1; END",
        "CREATE TEMP VIEW intruder AS SELECT 1",
    ],
)
def test_no_file_is_attached_and_no_code_is_loaded(client: sqltrack.Client, sql: str) -> None:
    for read in (read_at_once, read_stream):
        with pytest.raises(ReadOnlyDatabaseError), reading_connection(client) as connection:
            read(connection, sql)
    assert not Path("intruder.db").exists()


@pytest.mark.engines("sqlite", reason="PostgreSQL's functions are in its own catalog")
def test_functions_that_the_library_says_act_directly_are_refused(client: sqltrack.Client) -> None:
    with client as connection:
        flagged = connection.execute("SELECT DISTINCT name FROM pragma_function_list WHERE flags & 0x80000").fetchall()
        assert flagged
        for (name,) in flagged:
            for arguments in ("'a'", "'a', 'b'"):
                with pytest.raises(SQLTrackError) as caught, admin_of(client.engine, connection).read_only(10):
                    connection.execute(f"SELECT {name}({arguments})").fetchall()
                assert "read-only" in str(caught.value) or "wrong number" in str(caught.value)
