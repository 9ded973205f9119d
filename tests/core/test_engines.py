"""What the engines have in common, and how they are found."""

from __future__ import annotations

import pytest

import sqltrack
import sqltrack.engines
from sqltrack.errors import ConfigError


@pytest.mark.parametrize("name", ["PostgresEngine", "SQLiteEngine"])
def test_the_classes_of_engines_are_loaded_when_they_are_asked_for(name: str) -> None:
    assert getattr(sqltrack.engines, name).__name__ == name
    with pytest.raises(AttributeError, match="module 'sqltrack.engines' has no attribute 'MySQLEngine'"):
        getattr(sqltrack.engines, "MySQLEngine")  # noqa: B009


@pytest.mark.engines("sqlite")
def test_a_database_without_users_has_no_passwords(client: sqltrack.Client) -> None:
    with pytest.raises(ConfigError, match="engine 'sqlite' has no users"):
        client.engine.find_password("alice", "runs")
    with client as connection, pytest.raises(ConfigError, match="engine 'sqlite' has no users"):
        client.engine.encrypt_password(connection, "alice", "secret")


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
        assert client.engine.command_tag(cursor, statement, count).startswith(tag)


def test_the_reason_of_an_error_is_what_the_database_says(client: sqltrack.Client) -> None:
    with client as connection, client.engine.interruptible(connection):
        with pytest.raises(client.engine.driver_error) as info:
            connection.execute("SELECT secret FROM nowhere")
        assert "nowhere" in client.engine.reason_of(info.value)
        assert "secret" not in client.engine.reason_of(info.value)
        client.rollback()


@pytest.mark.engines("sqlite")
def test_an_error_within_an_interruptible_block_is_told_as_it_is(client: sqltrack.Client) -> None:
    error = client.engine.driver_error
    with client as connection, pytest.raises(error, match="no such table"), client.engine.interruptible(connection):
        connection.execute("SELECT * FROM nowhere")
