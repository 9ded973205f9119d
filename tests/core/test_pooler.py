"""PostgreSQL behind a PgBouncer in transaction mode, where each transaction gets any session of the server."""

from __future__ import annotations

import configparser
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

import sqltrack
from plugins.pgbouncer import PgBouncer, settings_to_mix_up_statements
from sqltrack.commands import setup
from sqltrack.engines.admin import admin_of
from sqltrack.engines.postgres import _engine as postgres_engine
from sqltrack.errors import AccessDeniedError, DatabaseError, DatabaseUnavailableError, TooManyConnectionsError
from support.databases import connect_to_postgres
from support.metrics import rows_as_dicts

pytestmark = pytest.mark.pooler

# Returns no rows, so psycopg prepares it after a few executions.
CHANGE = "DELETE FROM runs WHERE id = -1"

ODD_SCHEMA = 'odd "schema"'

Pooled = Callable[..., AbstractContextManager[tuple[PgBouncer, dict[str, Any]]]]


@pytest.fixture
def direct(
    create_database: Callable[..., dict[str, Any]], postgres_template: str, postgres_server: Any
) -> dict[str, Any]:
    """Configuration for a database after setup, at the server's own address."""
    address = psycopg.conninfo.conninfo_to_dict(postgres_server.dsn)
    return {**create_database(postgres_template), "host": address.get("host"), "port": address.get("port")}


@pytest.fixture
def pooled(direct: dict[str, Any]) -> Pooled:
    """Start a pooler; return it, and the same configuration through it."""

    @contextmanager
    def start(sessions: int = 1, **settings: str) -> Iterator[tuple[PgBouncer, dict[str, Any]]]:
        with PgBouncer(direct, {"default_pool_size": str(sessions), **settings}) as pooler:
            yield pooler, {**direct, "host": pooler.host, "port": pooler.port}

    return start


def connect(config: dict[str, Any], **kwargs: Any) -> Any:
    """Connect without SQLTrack."""
    return psycopg.connect(**{name: value for name, value in config.items() if name != "engine"}, **kwargs)


def open_sessions(config: dict[str, Any], number: int) -> None:
    """Make a pooler open sessions, by opening as many transactions."""
    with ExitStack() as stack:
        for _ in range(number):
            stack.enter_context(connect(config)).execute("SELECT 1")


def settings_in_force(config: dict[str, Any]) -> tuple[Any, ...]:
    """Return the settings of a client that has set none, on the only session of a pool."""
    names = ["search_path", "transaction_read_only", "transaction_isolation", "statement_timeout", "lock_timeout"]
    with connect(config) as connection:
        query = "SELECT " + ", ".join(f"current_setting('{name}')" for name in names)
        row: tuple[Any, ...] = connection.execute(query).fetchone()
        return row


def counts_by_schema(config: dict[str, Any]) -> dict[str, int]:
    """Return the number of rows in each table of metrics."""
    with connect(config) as connection:
        schemas = connection.execute("SELECT schemaname FROM pg_tables WHERE tablename = 'metrics'").fetchall()
        return {
            schema: connection.execute(
                psycopg.sql.SQL("SELECT count(*) FROM {}.metrics").format(psycopg.sql.Identifier(schema))
            ).fetchone()[0]
            for (schema,) in schemas
        }


# Detecting a pooler


def test_a_server_without_a_pooler_is_known_as_such_and_prepares_statements(direct: dict[str, Any]) -> None:
    client = sqltrack.Client(direct)
    with client as connection:
        for _ in range(10):
            connection.execute(CHANGE)
        prepared = connection.execute("SELECT count(*) FROM pg_prepared_statements WHERE statement = %s", (CHANGE,))
        assert prepared.fetchone() == (1,)
    assert not client.engine.has_pooler


def test_a_pooler_is_recognised_by_its_first_connection_and_no_statement_is_prepared(pooled: Pooled) -> None:
    with pooled() as (_, config):
        client = sqltrack.Client(config)
        assert not client.engine.has_pooler
        with client as connection:
            for _ in range(10):
                connection.execute(CHANGE)
            assert connection.execute("SELECT count(*) FROM pg_prepared_statements").fetchone() == (0,)
        assert client.engine.has_pooler


def refuses_options(config: dict[str, Any]) -> bool:
    try:
        connect_to_postgres(config, options="-c application_name=sqltrack").close()
    except psycopg.OperationalError:
        return True
    return False


@pytest.mark.parametrize(("schema", "result"), [(None, "ok"), ("public", "note")])
def test_the_examination_of_a_database_names_the_pooler(pooled: Pooled, schema: str | None, result: str) -> None:
    with pooled() as (_, config):
        client = sqltrack.Client(config, schema=schema)
        with client as connection:
            verdict = admin_of(client.engine, connection).checks(full=False)["pooler"]()
        # Newer poolers accept the parameters that they know.
        refusing = " that refuses start-up options" if refuses_options(config) else ""
    assert verdict is not None
    assert verdict.result == result
    assert verdict.found.startswith(f"a pooler is in between{refusing}; ")
    assert verdict.advice is None


# Prepared statements


def log_in_turn(clients: list[sqltrack.Client], steps: int) -> list[sqltrack.Run]:
    """Let clients log one after the other, each under its own name."""
    runs = [sqltrack.Experiment(client, name="x").get_run().start() for client in clients]
    for step in range(steps):
        for index, run in enumerate(runs):
            run.add_metrics({f"metric {index}": float(step)}, step=step)
    for run in runs:
        run.stop()
    return runs


def check_logged(config: dict[str, Any], runs: list[sqltrack.Run], steps: int) -> None:
    with connect(config) as connection:
        for index, run in enumerate(runs):
            others = " AND ".join(f'"metric {other}" IS NULL' for other in range(len(runs)) if other != index)
            query = f'SELECT step, "metric {index}" FROM metrics WHERE run_id = {run.id} AND {others} ORDER BY step'
            assert connection.execute(query).fetchall() == [(step, float(step)) for step in range(steps)]


@pytest.mark.parametrize("sessions", [1, 2])
def test_clients_that_share_sessions_do_not_mix_up_statements(
    pooled: Pooled, direct: dict[str, Any], sessions: int
) -> None:
    with pooled(sessions) as (_, config):
        open_sessions(config, sessions)
        runs = log_in_turn([sqltrack.Client(config) for _ in range(3)], steps=20)
    check_logged(direct, runs, steps=20)


@pytest.mark.parametrize("sessions", [1, 2])
def test_so_do_those_that_do_not_see_the_pooler(
    pooled: Pooled, direct: dict[str, Any], sessions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """About one in a thousand connections to a pooler looks like a direct connection to a server."""
    monkeypatch.setattr(postgres_engine, "is_pooled", lambda connection: False)
    with pooled(sessions, **settings_to_mix_up_statements()) as (_, config):
        open_sessions(config, sessions)
        clients = [sqltrack.Client(config) for _ in range(3)]
        runs = log_in_turn(clients, steps=20)
        assert not any(client.engine.has_pooler for client in clients)
    check_logged(direct, runs, steps=20)


@contextmanager
def occupying(config: dict[str, Any], session: int) -> Iterator[None]:
    """Leave only one session of the pool to other clients."""
    with ExitStack() as stack:
        holders = [stack.enter_context(connect(config))]
        while holders[-1].execute("SELECT pg_backend_pid()").fetchone() != (session,):
            holders.append(stack.enter_context(connect(config)))
        for other in holders[:-1]:
            other.rollback()
        yield


def test_no_statement_becomes_that_of_another_client(
    pooled: Pooled, direct: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_engine, "is_pooled", lambda connection: False)
    insert = "INSERT INTO said VALUES (%s, '{}')"
    with pooled(2, **settings_to_mix_up_statements()) as (_, config), ExitStack() as stack:
        engine = sqltrack.Client(config).engine
        first, second = (stack.enter_context(closing(engine.connect())) for _ in range(2))
        first.autocommit = second.autocommit = True
        first.execute("CREATE TABLE said (n INT, who TEXT)")
        # There is only one session so far.
        (session,) = first.execute("SELECT pg_backend_pid()").fetchone()
        for n in range(10):
            first.execute(insert.format("first"), (n,))
        for client, who in ((second, "second"), (first, "first")):
            with occupying(config, session):
                for n in range(10):
                    client.execute(insert.format(who), (n,))
        said = first.execute("SELECT who, count(*) FROM said GROUP BY who ORDER BY who").fetchall()
    assert said == [("first", 20), ("second", 10)]


def test_a_statement_that_got_lost_inside_of_a_transaction_is_an_error_once(
    pooled: Pooled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_engine, "is_pooled", lambda connection: False)
    with pooled(**settings_to_mix_up_statements()) as (_, config):
        client = sqltrack.Client(config)
        with client as connection:
            for _ in range(10):
                client.execute(CHANGE)
            client.commit()
            with connect(config, autocommit=True) as other:
                other.execute("DEALLOCATE ALL")
            with pytest.raises(DatabaseError, match="prepared statement"):
                client.execute(CHANGE)
            client.rollback()
            for _ in range(10):
                assert client.execute(CHANGE).rowcount == 0
            assert connection.execute("SELECT count(*) FROM pg_prepared_statements").fetchone() == (0,)


def test_a_statement_of_the_users_own_that_does_not_exist_is_not_executed_again(direct: dict[str, Any]) -> None:
    client = sqltrack.Client(direct)
    connection = client.engine.connect()
    connection.autocommit = True
    connection.execute("CREATE TABLE counted (n INT)")
    with pytest.raises(psycopg.errors.InvalidSqlStatementName):
        connection.execute("INSERT INTO counted VALUES (1); COMMIT; EXECUTE nothing")
    assert connection.execute("SELECT count(*) FROM counted").fetchone() == (1,)
    connection.close()


def test_no_two_connections_call_their_prepared_statements_the_same(direct: dict[str, Any]) -> None:
    client = sqltrack.Client(direct)
    names = []
    for _ in range(2):
        with client as connection:
            for _ in range(10):
                connection.execute(CHANGE)
            query = "SELECT name FROM pg_prepared_statements WHERE statement = %s"
            names += connection.execute(query, (CHANGE,)).fetchone()
    assert len(set(names)) == 2


def test_a_query_for_all_columns_finds_those_that_others_add(pooled: Pooled) -> None:
    with pooled(2) as (_, config):
        clients = [sqltrack.Client(config) for _ in range(2)]
        run = sqltrack.Experiment(clients[0], name="x").get_run()
        with clients[1]._session.keeping_connections():
            for step in range(8):
                run.add_metrics({f"metric {step}": 1.0}, step=step)
                rows = clients[1]._session.ask(
                    lambda connection: connection.execute("SELECT * FROM metrics").fetchall()
                )
                assert [len(row) for row in rows] == [3 + step + 1] * (step + 1)


# The schema

IGNORING = [{}, {"ignore_startup_parameters": "options"}]


@pytest.mark.parametrize("settings", IGNORING, ids=["options refused", "options ignored"])
def test_the_schema_is_in_force_and_does_not_reach_others(
    pooled: Pooled, direct: dict[str, Any], settings: dict[str, str]
) -> None:
    """`schema` works without startup options, and other clients of the same sessions keep theirs."""
    with pooled(**settings) as (_, config):
        before = settings_in_force(config)
        client = sqltrack.Client(config, schema=ODD_SCHEMA)
        setup(client)
        run = sqltrack.Experiment(client, name="x").get_run()
        with run.track():
            for step in range(10):
                run.add_metrics({"loss": 1.0, f"metric {step}": 1.0}, step=step)
                assert settings_in_force(config) == before
        assert client.execute("SELECT count(*) FROM metrics").fetchone() == (10,)
    assert counts_by_schema(direct) == {"public": 0, ODD_SCHEMA: 10}


@pytest.mark.parametrize("settings", IGNORING, ids=["options refused", "options ignored"])
def test_clients_with_different_schemas_share_one_session(
    pooled: Pooled, direct: dict[str, Any], settings: dict[str, str]
) -> None:
    schemas = ["a", "b", None]
    with pooled(**settings) as (_, config):
        clients = [sqltrack.Client(config, schema=schema) for schema in schemas]
        for client in clients:
            setup(client)

        def track(client: sqltrack.Client) -> None:
            run = sqltrack.Experiment(client, name="x").get_run()
            with run.track():
                for step in range(15):
                    run.add_metrics({f"metric of {client.engine.schema}": float(step)}, step=step)

        with ThreadPoolExecutor(len(clients)) as pool:
            for future in [pool.submit(track, client) for client in clients]:
                future.result()
        for client in clients:
            query = f'SELECT array_agg("metric of {client.engine.schema}" ORDER BY step) FROM metrics'
            assert client.execute(query).fetchone() == ([float(step) for step in range(15)],)
            others = {f"metric of {schema}" for schema in schemas if schema != client.engine.schema}
            with client as connection:
                assert others.isdisjoint(client.engine.table_columns(connection, "metrics"))
    assert counts_by_schema(direct) == {"public": 15, "a": 15, "b": 15}


def test_a_script_with_transactions_of_its_own_stays_in_the_schema(pooled: Pooled, direct: dict[str, Any]) -> None:
    with pooled() as (_, config):
        client = sqltrack.Client(config, schema="a")
        setup(client)
        client.executescript(
            "BEGIN; CREATE TABLE first (n INT); COMMIT; CREATE TABLE second (n INT); INSERT INTO second VALUES (7);"
        )
        assert client.execute("SELECT n FROM second").fetchone() == (7,)
    with connect(direct) as connection:
        query = "SELECT schemaname FROM pg_tables WHERE tablename IN ('first', 'second')"
        assert connection.execute(query).fetchall() == [("a",), ("a",)]


@pytest.mark.parametrize("autocommit", [False, True])
def test_copy_looks_names_up_in_the_schema(pooled: Pooled, direct: dict[str, Any], autocommit: bool) -> None:
    with pooled() as (_, config):
        client = sqltrack.Client(config, schema="a")
        setup(client)
        with client as connection:
            client.engine.set_autocommit(connection, autocommit)
            with connection.cursor() as cursor:
                with cursor.copy("COPY experiments (name) FROM STDIN") as copy:
                    copy.write_row(("copied",))
                with cursor.copy("COPY (SELECT name FROM experiments) TO STDOUT") as copy:
                    assert list(copy.rows()) == [("copied",)]
    with connect(direct) as connection:
        assert connection.execute("SELECT count(*) FROM public.experiments").fetchone() == (0,)
        assert connection.execute("SELECT name FROM a.experiments").fetchall() == [("copied",)]


def test_so_do_cursors_on_the_server(pooled: Pooled) -> None:
    with pooled() as (_, config):
        client = sqltrack.Client(config, schema="a")
        setup(client)
        sqltrack.Experiment(client, name="x")
        with client as connection, connection.cursor(name="many rows") as cursor:
            assert cursor.execute("SELECT name FROM experiments").fetchall() == [("x",)]


# State that a transaction leaves in its session


@pytest.mark.parametrize("schema", [None, "public"])
def test_reading_only_and_snapshots_end_with_their_transaction(pooled: Pooled, schema: str | None) -> None:
    with pooled() as (_, config):
        before = settings_in_force(config)
        engine = sqltrack.Client(config, schema=schema).engine
        for block in (lambda admin: admin.read_only(5), lambda admin: admin.snapshot()):
            connection = engine.connect()
            with block(admin_of(engine, connection)):
                assert connection.execute("SELECT count(*) FROM runs").fetchone() == (0,)
            assert settings_in_force(config) == before
            connection.close()


def test_blocks_that_hold_all_sessions_keep_new_metrics_for_later(
    pooled: Pooled, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No other session is available to add a column during the block."""
    monkeypatch.setattr("sqltrack._metric_columns._BESIDE_BLOCK", 0.3)
    with pooled() as (_, config):
        client = sqltrack.Client(config)
        run = sqltrack.Experiment(client, name="pool").get_run()
        with client:
            for step in range(3):
                run.add_metrics({"loss": 1.0, f"new {step}": 2.0}, step=step)
        assert set(rows_as_dicts(run)[0]) == {"run_id", "step", "progress"}
        # After the pause that follows a failed attempt, they become columns.
        monkeypatch.setattr(client.metrics._columns, "_growing_again", 0.0)
        client.metrics.move_pending()
        query = 'SELECT loss, "new 0", "new 1", "new 2", extras FROM metrics ORDER BY step'
        columns = [(1.0, 2.0, None, None, None), (1.0, None, 2.0, None, None), (1.0, None, None, 2.0, None)]
        assert client.execute(query).fetchall() == columns


def test_no_lock_remains_when_many_set_up_at_once(pooled: Pooled) -> None:
    """setup() locks only within its transactions, because a session's lock would stay in the pooler."""
    with pooled(3) as (_, config):
        clients = [sqltrack.Client(config, schema="a") for _ in range(8)]
        with ThreadPoolExecutor(len(clients)) as pool:
            for future in [pool.submit(setup, client) for client in clients]:
                future.result()
        query = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
        assert clients[0].execute(query).fetchone() == (0,)
        assert clients[0].execute("SELECT count(*) FROM setup_scripts").fetchone() == (1,)


def test_a_statement_that_is_given_up_ends_on_the_server(pooled: Pooled, direct: dict[str, Any]) -> None:
    with pooled() as (_, config):
        engine = sqltrack.Client(config).engine
        connection = engine.connect()
        connection.pgconn.send_query(b"SELECT pg_sleep(600)")
        engine.abort(connection)
        assert settings_in_force(config)
    assert connection.closed


# The documentation


def test_the_documented_configuration_is_one(direct: dict[str, Any]) -> None:
    text = (Path(__file__).parents[2] / "docs" / "pgbouncer.md").read_text(encoding="utf-8")
    main, databases = re.findall(r"```ini\n(.*?)```", text, re.DOTALL)
    parser = configparser.ConfigParser(allow_no_value=True, interpolation=None, delimiters="=")
    parser.read_string(main)
    own = {"listen_addr", "listen_port", "auth_type", "auth_file"}
    settings = {name: value for name, value in parser["pgbouncer"].items() if name not in own}
    names = [line.partition(" = ")[0] for line in databases.splitlines()]
    assert names == ["experiments", "*"]
    for name in (direct["dbname"], "*"):
        with PgBouncer(direct, settings, [name]) as pooler:
            client = sqltrack.Client({**direct, "host": pooler.host, "port": pooler.port}, schema="a")
            setup(client)
            assert client.execute("SELECT current_schema()").fetchone() == ("a",)
            assert client.engine.has_pooler


# A pooler that is gone, or full


@pytest.mark.parametrize("schema", [None, "public"])
def test_a_tracked_run_continues_after_the_pooler_was_restarted(
    pooled: Pooled, direct: dict[str, Any], schema: str | None
) -> None:
    with pooled() as (pooler, config):
        run = sqltrack.Experiment(sqltrack.Client(config, schema=schema, reconnect=120), name="x").get_run()
        with run.track():
            for step in range(30):
                if step == 10:
                    pooler.stop()
                    pooler.start()
                if step == 20:
                    pooler.stop()
                    starting = threading.Thread(target=pooler.start)
                    starting.start()
                run.add_metrics({"loss": float(step)}, step=step)
            starting.join()
    with connect(direct) as connection:
        rows = connection.execute("SELECT step, loss FROM metrics ORDER BY step").fetchall()
        assert rows == [(step, float(step)) for step in range(30)]
        assert connection.execute("SELECT status FROM runs").fetchone() == ("COMPLETED",)


def test_without_a_pooler_at_its_address_the_error_says_so(pooled: Pooled) -> None:
    with pooled() as (pooler, config):
        pooler.stop()
        with pytest.raises(DatabaseUnavailableError, match="check host and port"):
            sqltrack.Client(config).execute("SELECT 1")


def test_a_pooler_that_takes_no_more_clients_is_named_as_the_reason(pooled: Pooled) -> None:
    with pooled(max_client_conn="1") as (_, config):
        # The pooler may be late to notice that the previous client has gone.
        with (
            sqltrack.Client(config, reconnect=60),
            pytest.raises(TooManyConnectionsError, match="raise max_client_conn"),
        ):
            sqltrack.Client(config, reconnect=0).execute("SELECT 1")
        assert sqltrack.Client(config, reconnect=60).execute("SELECT 1").fetchone() == (1,)


def test_a_pooler_that_does_not_know_a_user_is_told_apart_from_one_that_is_down(pooled: Pooled) -> None:
    with pooled() as (_, config), pytest.raises(AccessDeniedError, match="no such user.*; the pooler must know"):
        sqltrack.Client(config, user="nobody here").execute("SELECT 1")
