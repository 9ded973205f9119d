"""In `Admin.read_only` the database refuses all changes, and statements that take too long."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack.engines.admin import admin_of
from sqltrack.engines.results import find_reader
from sqltrack.errors import DatabaseError, ReadOnlyDatabaseError, SQLTrackError, StatementTimeoutError

INSERT = "INSERT INTO experiments (name) VALUES ('intruder')"

WRITES = [
    "DELETE FROM runs",
    "UPDATE runs SET status = 'X'",
    INSERT,
    f"{INSERT} RETURNING id",
    "CREATE TABLE intruder (id INTEGER)",
    "CREATE TEMP TABLE intruder (id INTEGER)",
    "DROP TABLE metrics",
    "ALTER TABLE metrics ADD COLUMN intruder INTEGER",
    "CREATE VIEW intruder AS SELECT 1",
]
SQLITE_WRITES = [
    "PRAGMA journal_mode = DELETE",
    "PRAGMA user_version = 7",
    "PRAGMA query_only = OFF",
    "PRAGMA foreign_keys = OFF",
    "PRAGMA writable_schema = 1",
    "PRAGMA wal_checkpoint(TRUNCATE)",
    "PRAGMA optimize",
    "SELECT * FROM pragma_user_version(7)",
    "ATTACH DATABASE 'intruder.db' AS intruder",
    "DETACH DATABASE main",
    "VACUUM",
    "VACUUM INTO 'intruder.db'",
    "SELECT load_extension('intruder')",
    "REINDEX",
    "ANALYZE",
    "SAVEPOINT a",
    "BEGIN IMMEDIATE",
    "COMMIT",
    "WITH a AS (SELECT 1) DELETE FROM runs",
    "CREATE VIRTUAL TABLE intruder USING fts5(a)",
    "UPDATE sqlite_master SET sql = 'CREATE TABLE runs (intruder)' WHERE name = 'runs'",
]
POSTGRES_WRITES = [
    "EXPLAIN ANALYZE DELETE FROM runs",
    f"WITH a AS ({INSERT} RETURNING id) SELECT * FROM a",
    "SELECT intrude()",
    "SELECT nextval('runs_id_seq')",
    "SELECT setval('runs_id_seq', 1000)",
    "SET TRANSACTION READ WRITE",
    "SET transaction_read_only = off",
    "SELECT set_config('transaction_read_only', 'off', false)",
    "WITH a AS (SELECT set_config('transaction_read_only', 'off', true)) SELECT intrude() FROM a",
    f"DO $$ BEGIN COMMIT; {INSERT}; END $$",
    "SELECT * FROM runs FOR UPDATE",
    "TRUNCATE metrics",
    "CREATE TABLE intruder AS SELECT 1 AS a",
    "SELECT 1 AS a INTO intruder",
    "VACUUM",
    "GRANT ALL ON runs TO PUBLIC",
]
TEXTS_OF_SEVERAL = [
    "COMMIT; DELETE FROM runs",
    "ROLLBACK; DELETE FROM runs",
    "SELECT 1; DELETE FROM runs",
    f"COMMIT; {INSERT}; BEGIN",
]

# Each takes a while, and ends by itself if it is not interrupted.
LONG = """
    WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 3000)
    SELECT COUNT(*) FROM number AS a CROSS JOIN number AS b CROSS JOIN number AS c WHERE a.n + b.n = c.n + 7
"""


@pytest.fixture
def client(client: sqltrack.Client) -> sqltrack.Client:
    """A database with a run, and on PostgreSQL a function that writes."""
    sqltrack.Experiment(client, name="experiment").get_run(1).add_metrics({"loss": 1.0}, step=1)
    if client.engine.name == "postgres":
        client.execute(f"CREATE FUNCTION intrude() RETURNS BIGINT LANGUAGE SQL VOLATILE AS $$ {INSERT} RETURNING id $$")
    return client


@contextmanager
def reading_connection(client: sqltrack.Client, seconds: float, *, as_superuser: bool = False) -> Iterator[Any]:
    with client as connection, admin_of(client.engine, connection).read_only(seconds, as_superuser=as_superuser):
        yield connection


def contents(client: sqltrack.Client) -> Any:
    tables = ("experiments", "runs", "metrics")
    columns = client.execute("SELECT * FROM metrics WHERE run_id = 0").description
    return [client.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall() for table in tables], len(columns or ())


def statements(engine_name: str) -> list[str]:
    return [*WRITES, *TEXTS_OF_SEVERAL, *(SQLITE_WRITES if engine_name == "sqlite" else POSTGRES_WRITES)]


def test_whatever_a_statement_says_it_changes_nothing(client: sqltrack.Client, engine_name: str) -> None:
    before = contents(client)
    for sql in statements(engine_name):
        with pytest.raises(SQLTrackError), reading_connection(client, 10) as connection:
            connection.execute(sql).fetchall()
        assert contents(client) == before, sql
    assert not Path("intruder.db").exists()


def test_neither_does_one_that_is_read_chunk_by_chunk(client: sqltrack.Client, engine_name: str) -> None:
    before = contents(client)
    for sql in statements(engine_name):
        with pytest.raises(SQLTrackError), reading_connection(client, 10) as connection:
            cursor = connection.cursor()
            with find_reader(cursor).read(cursor, sql, None, 100) as reading:
                list(reading.chunks)
        assert contents(client) == before, sql


@pytest.mark.engines("postgres")
def test_neither_does_one_behind_a_pooler_that_takes_no_options(
    client: sqltrack.Client, config: dict[str, Any], engine_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(client)
    pooled = sqltrack.Client(config, schema="public")
    monkeypatch.setattr(pooled.engine, "refuses_options", True)
    for sql in statements(engine_name):
        with pytest.raises(SQLTrackError), reading_connection(pooled, 10) as connection:
            connection.execute(sql).fetchall()
        assert contents(client) == before, sql
    with reading_connection(pooled, 10) as connection:
        assert connection.execute("SELECT id FROM runs").fetchall() == [(1,)]


@pytest.mark.parametrize("sql", WRITES)
def test_the_error_says_that_one_can_only_read(client: sqltrack.Client, sql: str) -> None:
    with pytest.raises(ReadOnlyDatabaseError, match="read-only"), reading_connection(client, 10) as connection:
        connection.execute(sql)


def test_neither_is_a_pragma_a_second_file_or_a_copy_of_the_database_only_reading(
    client: sqltrack.Client, engine_name: str
) -> None:
    refused = {
        "sqlite": ["PRAGMA user_version = 7", "ATTACH DATABASE 'intruder.db' AS a", "VACUUM INTO 'intruder.db'"],
        "postgres": ["SELECT intrude()", "SELECT nextval('runs_id_seq')", "CREATE TABLE intruder AS SELECT 1 AS a"],
    }
    for sql in refused[engine_name]:
        with pytest.raises(ReadOnlyDatabaseError, match="read-only"), reading_connection(client, 10) as connection:
            connection.execute(sql).fetchall()


def test_ending_the_transaction_does_not_let_later_statements_write(client: sqltrack.Client) -> None:
    before = contents(client)
    endings = ("COMMIT", "ROLLBACK", "COMMIT AND CHAIN", "SET TRANSACTION READ WRITE", INSERT)
    with client as connection:
        for first in endings:
            for second in endings:
                with pytest.raises(SQLTrackError), admin_of(client.engine, connection).read_only(10):
                    for sql in (first, second, "DELETE FROM runs"):
                        try:
                            connection.execute(sql)
                        except client.engine.driver_error:
                            pass
                    connection.execute(INSERT)
    assert contents(client) == before


@pytest.mark.engines("postgres")
def test_changes_that_servers_do_not_count_as_writing_are_undone(client: sqltrack.Client) -> None:
    try:
        # Servers before 16 allow it.
        with reading_connection(client, 10) as connection:
            connection.execute("SELECT lo_create(4711)")
    except ReadOnlyDatabaseError:
        pass
    assert client.execute("SELECT COUNT(*) FROM pg_largeobject_metadata").fetchone() == (0,)


def test_reading_works_as_ever(client: sqltrack.Client) -> None:
    with reading_connection(client, 10) as connection:
        assert connection.execute("SELECT id, status FROM runs").fetchall() == [(1, "PLANNED")]
        assert client.execute("SELECT name FROM experiments WHERE id = %s", (1,)).fetchall() == [("experiment",)]
        assert "loss" in client.engine.table_columns(connection, "metrics")
        recursive = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3) SELECT SUM(i) FROM n"
        assert connection.execute(recursive).fetchone() == (6,)
        assert connection.execute("SELECT COUNT(*), MAX(loss), LOWER('A') FROM metrics").fetchone() == (1, 1.0, "a")
        assert connection.execute("EXPLAIN SELECT 1").fetchall()
        assert connection.execute("SELECT args FROM runs WHERE status LIKE 'P%';").fetchall() == [(None,)]
        arguments = client.engine.json_items_sql("runs.args")
        assert connection.execute(arguments).fetchall() == []
        assert connection.execute("SELECT * FROM experiment_links").fetchall() == []


def test_afterwards_the_connection_can_write_and_take_its_time(client: sqltrack.Client) -> None:
    engine = client.engine
    with client as connection:
        with admin_of(engine, connection).read_only(1):
            connection.execute("SELECT 1")
        connection.execute("INSERT INTO experiments (name) VALUES ('one')")
        client.commit()
        with pytest.raises(SQLTrackError), admin_of(engine, connection).read_only(10):
            connection.execute("DELETE FROM runs")
        connection.execute("INSERT INTO experiments (name) VALUES ('two')")
        client.commit()
        with pytest.raises(StatementTimeoutError), admin_of(engine, connection).read_only(0.05):
            connection.execute(LONG).fetchall()
        connection.execute("INSERT INTO experiments (name) VALUES ('three')")
        connection.execute("CREATE TABLE more (id INTEGER)")
        limits = "SELECT n FROM (SELECT 1 AS n) AS one"
        assert connection.execute(limits).fetchone() == (1,)
    names = [name for (name,) in client.execute("SELECT name FROM experiments ORDER BY id")]
    assert names == ["experiment", "one", "two", "three"]


def test_what_was_set_before_is_set_again_also_for_autocommit(client: sqltrack.Client) -> None:
    connection = client.engine.connect()
    client.engine.set_autocommit(connection, True)
    with admin_of(client.engine, connection).read_only(10):
        connection.execute("SELECT 1").fetchall()
    connection.execute(INSERT)
    connection.close()
    assert client.execute("SELECT COUNT(*) FROM experiments").fetchone() == (2,)


def test_a_statement_that_takes_too_long_is_ended(client: sqltrack.Client) -> None:
    begin = time.monotonic()
    with (
        pytest.raises(StatementTimeoutError, match="took longer than 0.2 s"),
        reading_connection(client, 0.2) as connection,
    ):
        connection.execute(LONG).fetchall()
    assert time.monotonic() - begin < 10


def test_the_limit_is_for_each_statement_and_cannot_be_lifted_by_one(client: sqltrack.Client, engine_name: str) -> None:
    lift = {"sqlite": "SELECT 1", "postgres": "SELECT set_config('statement_timeout', '0', false)"}[engine_name]
    with pytest.raises(StatementTimeoutError), reading_connection(client, 0.3, as_superuser=True) as connection:
        for _ in range(4):
            connection.execute("SELECT 1").fetchall()
            time.sleep(0.1)
        connection.execute(lift).fetchall()
        connection.execute(LONG).fetchall()


@pytest.mark.engines("postgres")
def test_many_statements_at_once_are_no_reading(client: sqltrack.Client) -> None:
    refused = pytest.raises(DatabaseError, match="not supported on a read-only connection")
    with client as connection, refused, admin_of(client.engine, connection).read_only(60):
        connection.cursor().executemany("SELECT %s", [(1,), (2,)])


def test_an_open_transaction_is_not_touched(client: sqltrack.Client) -> None:
    with client as connection:
        connection.execute(INSERT)
        with (
            pytest.raises(DatabaseError, match="a transaction is open"),
            admin_of(client.engine, connection).read_only(10),
        ):
            pass
    assert client.execute("SELECT COUNT(*) FROM experiments").fetchone() == (2,)


def test_other_mistakes_keep_their_own_errors(client: sqltrack.Client) -> None:
    for sql, named in {"SELECT nonsense FROM runs": "nonsense", "SELEKT 1": "SELEKT"}.items():
        with pytest.raises(DatabaseError, match=named) as caught, reading_connection(client, 10) as connection:
            connection.execute(sql)
        assert not isinstance(caught.value, (ReadOnlyDatabaseError, StatementTimeoutError))
    with pytest.raises(ZeroDivisionError), reading_connection(client, 10) as connection:
        raise ZeroDivisionError


def test_ctrl_c_ends_a_long_statement(client: sqltrack.Client) -> None:
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt), client as connection, admin_of(client.engine, connection).read_only(60):
        timer.start()
        connection.execute(LONG).fetchall()
    assert time.monotonic() - begin < 30
    assert client.execute("SELECT COUNT(*) FROM runs").fetchone() == (1,)


def test_a_guard_of_sqlite_leaves_its_connection_as_it_found_it(tmp_path: Path) -> None:
    client = sqltrack.Client(engine="sqlite", dbpath=str(tmp_path / "a.db"))
    with client as connection:
        connection.plain_cursor.execute("PRAGMA query_only = ON")
        with admin_of(client.engine, connection).read_only(10):
            pass
        assert connection.execute("PRAGMA query_only").fetchone() == (1,)
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            connection.execute("CREATE TABLE a (b)")
