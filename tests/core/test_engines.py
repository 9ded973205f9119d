"""Common behavior of the engines, and how they are found."""

from __future__ import annotations

import signal
from typing import Any
from uuid import UUID

import pytest

import sqltrack
import sqltrack.engines
from sqltrack.commands import setup
from sqltrack.engines.admin import admin_of
from sqltrack.errors import ConfigError, DatabaseError


@pytest.mark.parametrize("name", ["PostgresEngine", "SQLiteEngine"])
def test_the_classes_of_engines_are_loaded_when_they_are_asked_for(name: str) -> None:
    assert getattr(sqltrack.engines, name).__name__ == name
    with pytest.raises(AttributeError, match="module 'sqltrack.engines' has no attribute 'MySQLEngine'"):
        getattr(sqltrack.engines, "MySQLEngine")  # noqa: B009


@pytest.mark.engines("sqlite")
def test_a_database_without_users_has_no_passwords(client: sqltrack.Client) -> None:
    with pytest.raises(ConfigError, match="engine 'sqlite' has no users"):
        admin_of(client.engine).find_password("alice", "runs")
    with client as connection, pytest.raises(ConfigError, match="engine 'sqlite' has no users"):
        admin_of(client.engine, connection).encrypt_password("alice", "secret")


def test_types_that_only_the_driver_knows_have_columns_as_well(postgres_config: dict[str, Any]) -> None:
    client = sqltrack.Client(postgres_config)
    assert client.engine.map_type(client, UUID) == "UUID"
    setup(client)
    run = sqltrack.Experiment(client, name="experiment").get_run()
    client.execute(f"ALTER TABLE runs ADD COLUMN number {client.engine.map_type(client, UUID)}")
    client.execute("UPDATE runs SET number = %s", (UUID(int=run.id),))
    assert client.execute("SELECT number FROM runs").fetchone() == (UUID(int=run.id),)


def test_how_long_connecting_may_take_can_be_told_to_libpq_as_well(
    postgres_config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def timeout() -> str:
        with sqltrack.Client(postgres_config) as connection:
            return str(connection.info.get_parameters()["connect_timeout"])

    assert timeout() == "10"
    monkeypatch.setenv("PGCONNECT_TIMEOUT", "7")
    assert timeout() == "7"


def test_passwords_that_cannot_be_found_or_encrypted_are_errors(postgres_config: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="unknown parameter 'hots'; did you mean 'host'"):
        admin_of(sqltrack.Client(postgres_config, hots="typo").engine).find_password("alice", "runs")
    engine = sqltrack.Client(postgres_config).engine
    connection = engine.connect()
    connection.close()
    with pytest.raises(DatabaseError):
        admin_of(engine, connection).encrypt_password("alice", "secret")


@pytest.mark.parametrize(
    ("statement", "tag"),
    [
        ("CREATE TEMPORARY TABLE t (x INTEGER)", "CREATE TABLE"),
        ("INSERT INTO experiments (name) VALUES ('a')", "INSERT"),
        ("SELECT 1", "SELECT"),
    ],
)
def test_a_statement_that_was_executed_has_a_name(client: sqltrack.Client, statement: str, tag: str) -> None:
    with client.cursor() as cursor:
        cursor.execute(statement)
        count = {"CREATE TABLE": -1}.get(tag, 1)
        assert admin_of(client.engine).command_tag(cursor, statement, count).startswith(tag)


def test_the_reason_of_an_error_is_what_the_database_says(client: sqltrack.Client) -> None:
    with client as connection, admin_of(client.engine, connection).interruptible():
        with pytest.raises(client.engine.driver_error) as info:
            connection.execute("SELECT secret FROM nowhere")
        assert "nowhere" in admin_of(client.engine).reason_of(info.value)
        assert "secret" not in admin_of(client.engine).reason_of(info.value)
        client.rollback()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this platform has no timer that sends signals")
def test_interrupted_statements_end_at_once(client: sqltrack.Client) -> None:
    endless = "WITH RECURSIVE a (n) AS (SELECT 1 UNION ALL SELECT 1 - n FROM a) SELECT COUNT(*) FROM a WHERE n > 1"
    previous = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        with client as connection:
            with pytest.raises(KeyboardInterrupt), admin_of(client.engine, connection).interruptible():
                signal.setitimer(signal.ITIMER_REAL, 0.2)
                connection.execute(endless).fetchall()
            client.rollback()
            assert client.execute("SELECT COUNT(*) FROM runs").fetchone() == (0,)
    finally:
        signal.signal(signal.SIGALRM, previous)


@pytest.mark.engines("sqlite")
def test_an_error_within_an_interruptible_block_is_told_as_it_is(client: sqltrack.Client) -> None:
    error = client.engine.driver_error
    with (
        client as connection,
        pytest.raises(error, match="no such table"),
        admin_of(client.engine, connection).interruptible(),
    ):
        connection.execute("SELECT * FROM nowhere")
