"""A column that another process adds never breaks a statement that was executed before, however often."""

from __future__ import annotations

from typing import Any

import pytest

import sqltrack

# psycopg prepares a statement after five executions.
OFTEN = 8

RETURNING = "UPDATE metrics SET loss = loss WHERE run_id = %s RETURNING *"
QUERIES = [
    "SELECT * FROM metrics WHERE run_id = %s",
    "SELECT metrics.* FROM metrics JOIN runs ON runs.id = metrics.run_id WHERE runs.id = %s",
    "WITH chosen AS (SELECT * FROM metrics) SELECT * FROM chosen WHERE run_id = %s",
    "WITH chosen (id) AS (SELECT 1) SELECT metrics.* FROM metrics, chosen WHERE run_id = %s",
    "-- a comment\nSELECT * FROM metrics WHERE run_id = %s",
    RETURNING,
    "/* INSERT */ " + RETURNING,
]


@pytest.fixture
def client(client: sqltrack.Client) -> sqltrack.Client:
    """A database with one row of metrics, of run 1."""
    sqltrack.Experiment(client, name="experiment").get_run(1).add_metrics({"loss": 1.0}, step=1)
    return client


def add_column(config: dict[str, Any], name: str) -> None:
    sqltrack.Client(config).execute(f"ALTER TABLE metrics ADD COLUMN {name} FLOAT")


def test_calls_see_the_column(client: sqltrack.Client, config: dict[str, Any]) -> None:
    with sqltrack.Experiment(client, name="experiment").get_run(2).track():
        for number, query in enumerate(QUERIES):
            for name in (f"first{number}", f"second{number}"):
                width = {len(client.execute(query, (1,)).fetchone()) for _ in range(OFTEN)}
                add_column(config, name)
                assert {len(client.execute(query, (1,)).fetchone()) for _ in range(OFTEN)} == {width.pop() + 1}, query


@pytest.mark.parametrize("query", QUERIES[:-2])
def test_the_transaction_of_a_block_continues(client: sqltrack.Client, config: dict[str, Any], query: str) -> None:
    with client as connection:
        for name in ("first", "second"):
            width = {len(connection.execute(query, (1,)).fetchone()) for _ in range(OFTEN)}
            # Otherwise the change would wait for this transaction.
            client.commit()
            add_column(config, name)
            assert {len(connection.execute(query, (1,)).fetchone()) for _ in range(OFTEN)} == {width.pop() + 1}
            client.execute("UPDATE runs SET comment = %s WHERE id = 1", (name,))
    assert client.execute("SELECT comment FROM runs WHERE id = 1").fetchone() == ("second",)


def test_cursors_see_it(client: sqltrack.Client, config: dict[str, Any]) -> None:
    with client as connection, connection.cursor() as cursor:
        for _ in range(OFTEN):
            cursor.execute(QUERIES[0], (1,))
        client.commit()
        add_column(config, "first")
        assert len(cursor.execute(QUERIES[0], (1,)).fetchone()) == 5
        assert [column[0] for column in cursor.description][-1] == "first"


@pytest.mark.engines("postgres", reason="SQLite returns no rows from many executions, and has no server")
def test_so_do_many_executions_streams_and_cursors_on_the_server(
    client: sqltrack.Client, config: dict[str, Any]
) -> None:
    def widths(connection: Any) -> list[int]:
        cursor = connection.cursor()
        cursor.executemany(RETURNING, [(1,)] * OFTEN, returning=True)
        found = [len(cursor.fetchone())]
        cursor.executemany(RETURNING, [(1,)])
        client.commit()
        found += [len(row) for row in cursor.stream(QUERIES[0], (1,))]
        with connection.cursor(name="named") as named:
            found.append(len(named.execute(QUERIES[0], (1,)).fetchone()))
        client.commit()
        return found

    with client as connection:
        for _ in range(OFTEN):
            assert widths(connection) == [4, 4, 4]
        add_column(config, "first")
        assert widths(connection) == [5, 5, 5]


@pytest.mark.not_pooled("nothing is prepared behind a pooler")
@pytest.mark.engines("postgres", reason="SQLite prepares all statements, and does so again when a table has changed")
def test_statements_that_return_no_rows_are_still_prepared(client: sqltrack.Client) -> None:
    with client as connection:
        for statement in ("SELECT 1", "UPDATE runs SET comment = 'x' WHERE id = 1", RETURNING % 1):
            for _ in range(OFTEN):
                connection.execute(statement)
        found = connection.execute("SELECT statement FROM pg_prepared_statements").fetchall()
    assert found == [("UPDATE runs SET comment = 'x' WHERE id = 1",)]
