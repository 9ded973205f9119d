"""Data frames are read with clients and with cursors, in transactions or not, for any statement."""

from __future__ import annotations

import contextlib
import math
import sqlite3
from typing import Any

import psycopg
import pytest

import sqltrack
from sqltrack.commands import setup
from sqltrack.errors import DatabaseError, NotSetUpError
from sqltrack.pandas import query_dataframe
from sqltrack.util import SQL
from support.frames import TEXT, types_of, use_chunks_of
from support.refusing_proxy import refusing_proxy


def test_a_cursor_sees_uncommitted_changes_of_its_transaction(client: sqltrack.Client) -> None:
    with contextlib.suppress(KeyError), client.cursor() as cursor:
        cursor.execute("INSERT INTO experiments (name) VALUES ('x')")
        for source in (cursor, client):
            assert query_dataframe(source, "SELECT name FROM experiments")["name"].tolist() == ["x"]
        assert query_dataframe(cursor, "SELECT name FROM experiments WHERE name = 'y'").empty
        raise KeyError
    assert query_dataframe(client, "SELECT name FROM experiments").empty


@pytest.mark.parametrize("returned", ["id, name", "xmin"])
def test_a_statement_that_returns_its_changes_is_executed_once(
    client: sqltrack.Client, engine_name: str, returned: str
) -> None:
    """Types that cannot be read in binary form need a second execution, after the first was rolled back."""
    returned = returned if engine_name == "postgres" else "id, name"
    insert = f"INSERT INTO experiments (name) VALUES (%s) RETURNING {returned}"
    assert len(query_dataframe(client, insert, ("client",))) == 1
    with client.cursor() as cursor:
        assert len(query_dataframe(cursor, insert, ("cursor",))) == 1
        assert len(query_dataframe(cursor, insert, ("again",))) == 1
    with contextlib.suppress(KeyError), client.cursor() as cursor:
        query_dataframe(cursor, insert, ("undone",))
        raise KeyError
    with client as connection:
        client.engine.set_autocommit(connection, True)
        assert len(query_dataframe(connection.cursor(), insert, ("autocommit",))) == 1
    names = query_dataframe(client, "SELECT name FROM experiments ORDER BY id")["name"].tolist()
    assert names == ["client", "cursor", "again", "autocommit"]


def test_another_cursor_of_the_connection_continues_where_it_was(client: sqltrack.Client) -> None:
    for name in "abcd":
        sqltrack.Experiment(client, name=name)
    with client as connection:
        outer = connection.cursor().execute("SELECT name FROM experiments ORDER BY name")
        assert outer.fetchone() == ("a",)
        assert query_dataframe(connection.cursor(), "SELECT * FROM runs").empty
        assert query_dataframe(outer, "SELECT 1 AS n")["n"].tolist() == [1]
        assert outer.fetchall() == [("b",), ("c",), ("d",)]


def test_the_cursor_s_rows_may_be_of_any_form(client: sqltrack.Client, engine_name: str) -> None:
    factories: dict[str, Any] = {"sqlite": sqlite3.Row, "postgres": psycopg.rows.dict_row}
    with client as connection:
        connection.row_factory = factories[engine_name]
        frame = query_dataframe(connection.cursor(), "SELECT 1 AS a, 2 AS a")
    assert frame.to_numpy().tolist() == [[1, 2]]


def test_a_cursor_of_the_driver_will_do(run: sqltrack.Run, config: dict[str, Any], engine_name: str) -> None:
    run.add_metrics({"loss": math.nan, "other": 1})
    parameters = {name: value for name, value in config.items() if name != "engine"}
    connect: dict[str, Any] = {
        "sqlite": lambda: sqlite3.connect(parameters["dbpath"]),
        "postgres": lambda: psycopg.connect(**parameters),
    }
    with contextlib.closing(connect[engine_name]()) as connection:
        frame = query_dataframe(connection.cursor(), "SELECT loss, other FROM metrics")
    assert types_of(frame) == {"loss": "float64", "other": "int64"}


def test_a_cursor_that_is_of_no_known_driver_will_do_as_well(run: sqltrack.Run, monkeypatch: Any) -> None:
    use_chunks_of(monkeypatch, 2)

    class Wrapped:
        def __init__(self, cursor: Any) -> None:
            self._cursor = cursor

        def __getattr__(self, name: str) -> Any:
            return getattr(self._cursor, name)

    for step in range(5):
        run.add_metrics({"loss": step / 2}, step=step)
    with run.client.cursor() as cursor:
        frame = query_dataframe(Wrapped(cursor), "SELECT step, loss FROM metrics WHERE step < %s", (3,))
    assert frame.to_dict("list") == {"step": [0, 1, 2], "loss": [0.0, 0.5, 1.0]}


@pytest.mark.parametrize(
    ("query", "parameters"),
    [
        ("SELECT %s AS a, '%%' AS b, 7 %% 4 AS c", (5,)),
        ("SELECT %(a)s AS a, '%%' AS b, 7 %% 4 AS c", {"a": 5, "unused": 1}),
        ("SELECT 5 AS a, '%' AS b, 7 % 4 AS c", ()),
        (SQL("SELECT {} AS a, '%' AS b, 7 % 4 AS c").format(5), ()),
    ],
)
def test_placeholders_are_those_of_execute(client: sqltrack.Client, query: Any, parameters: Any) -> None:
    expected = client.execute(query, parameters).fetchall()
    with client.cursor() as cursor:
        for source in (client, cursor):
            frame = query_dataframe(source, query, parameters)
            assert [tuple(row) for row in frame.itertuples(index=False)] == expected
            assert list(frame.columns) == ["a", "b", "c"]


def test_with_a_client_errors_are_ours_and_with_a_cursor_the_driver_s(client: sqltrack.Client) -> None:
    with pytest.raises(DatabaseError, match="nonsense"):
        query_dataframe(client, "SELECT nonsense")
    with pytest.raises(client.engine.driver_error, match="nonsense"), client.cursor() as cursor:
        query_dataframe(cursor, "SELECT nonsense")
    with pytest.raises(DatabaseError, match="the statement returns no rows, expected a query"):
        query_dataframe(client, "UPDATE runs SET status = 'x'")
    client.execute("DROP TABLE run_links")
    with pytest.raises(NotSetUpError):
        query_dataframe(client, "SELECT * FROM run_links")


def test_a_tracked_run_s_connection_serves_as_well(run: sqltrack.Run) -> None:
    with run.track():
        run.add_metrics({"loss": 0.5})
        assert query_dataframe(run.client, "SELECT loss FROM metrics")["loss"].tolist() == [0.5]
        run.add_metrics({"loss": 0.25}, step=1)
    assert query_dataframe(run.client, "SELECT status FROM runs")["status"].tolist() == ["COMPLETED"]


@pytest.mark.parametrize(
    ("query", "parameters"),
    [
        ("SELECT name FROM experiments WHERE id = ?", (1,)),
        ("SELECT name FROM experiments WHERE id = :id", {"id": 1}),
        ("-- first\nSELECT name FROM experiments; -- last", ()),
        ("PRAGMA user_version", ()),
        ("VALUES (1, 'x')", ()),
        ("EXPLAIN QUERY PLAN SELECT 1", ()),
    ],
)
def test_queries_only_sqlite_knows_are_fine(sqlite_client: sqltrack.Client, query: str, parameters: Any) -> None:
    setup(sqlite_client)
    sqltrack.Experiment(sqlite_client, name="x")
    with sqlite_client:
        frame = query_dataframe(sqlite_client, query, parameters)
        assert len(frame) == 1
        assert sqlite_client.execute("SELECT * FROM sqlite_temp_master").fetchall() == []


def test_reading_from_sqlite_needs_no_lock_for_writing(run: sqltrack.Run, sqlite_client: sqltrack.Client) -> None:
    setup(sqlite_client)
    sqltrack.Experiment(sqlite_client, name="x")
    impatient = sqltrack.Client({**sqlite_client.config, "engine": "sqlite", "busy_timeout": 0})
    with sqlite_client:
        sqlite_client.execute("UPDATE experiments SET comment = 'y'")
        frame = query_dataframe(impatient, "SELECT name, comment FROM experiments")
    assert types_of(frame) == {"name": TEXT, "comment": TEXT}


def test_the_schema_is_found_behind_a_pooler(postgres_config: dict[str, Any]) -> None:
    """A query behind a pooler finds its schema, in a transaction and in autocommit."""
    with psycopg.connect(**{name: value for name, value in postgres_config.items() if name != "engine"}) as connection:
        port = connection.info.port
    with refusing_proxy(port) as proxy_port:
        client = sqltrack.Client({**postgres_config, "host": "127.0.0.1", "port": proxy_port}, schema="other")
        setup(client)
        sqltrack.Experiment(client, name="x")
        with client as connection:
            for autocommit in (False, True):
                client.commit()
                client.engine.set_autocommit(connection, autocommit)
                for query in ("SELECT name FROM experiments", "SELECT name FROM experiments WHERE id < 0"):
                    assert list(query_dataframe(connection.cursor(), query).columns) == ["name"]
