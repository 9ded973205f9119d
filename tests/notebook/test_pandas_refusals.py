"""A statement that returns no rows is not a query, and is refused before it changes anything."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import sqltrack
import sqltrack.polars
from sqltrack.errors import DatabaseError
from sqltrack.pandas import query_dataframe

READERS = pytest.mark.parametrize("read", [query_dataframe, sqltrack.polars.query_polars], ids=["pandas", "polars"])

COMMANDS = {
    "sqlite": [
        "PRAGMA user_version=9",
        "/* a comment */ pragma main.user_version(9);",
        "PRAGMA foreign_keys = OFF",
        'PRAGMA "foreign_keys" = OFF',
        "EXPLAIN PRAGMA foreign_keys = OFF",
        "PRAGMA cache_size=17",
        "PRAGMA journal_mode=DELETE",
        "ATTACH '{file}' AS other",
        "VACUUM INTO '{file}'",
        "CREATE TABLE intruder (a INT)",
        "CREATE TEMP TABLE intruder AS SELECT 1 AS a",
        "INSERT INTO experiments (name) VALUES ('intruder')",
        "WITH a AS (SELECT 'intruder' AS name) INSERT INTO experiments (name) SELECT name FROM a",
        "DELETE FROM experiments",
        "SAVEPOINT intruder",
        "COMMIT",
        "ROLLBACK",
    ],
    "postgres": [
        "CREATE TABLE intruder (a INT)",
        "SELECT 1 AS a INTO intruder",
        "INSERT INTO experiments (name) VALUES ('intruder')",
        "WITH a AS (SELECT 'intruder' AS name) INSERT INTO experiments (name) SELECT name FROM a",
        "DELETE FROM experiments",
        "SET work_mem = '17MB'",
        "SAVEPOINT intruder",
        "/* a comment */ COMMIT",
        "ROLLBACK",
        "COPY (SELECT 1) TO '{file}'",
        "COPY (SELECT 1) TO STDOUT",
        "LISTEN intruder",
        "DO $$ BEGIN CREATE TABLE intruder (a INT); END $$",
    ],
}

STATE = {
    "sqlite": [
        "SELECT name FROM sqlite_master",
        "SELECT name FROM sqlite_temp_master",
        "PRAGMA user_version",
        "PRAGMA foreign_keys",
        "PRAGMA cache_size",
        "PRAGMA journal_mode",
        "PRAGMA database_list",
    ],
    "postgres": [
        "SELECT oid FROM pg_class WHERE relname = 'intruder'",
        "SHOW work_mem",
        "SELECT pg_listening_channels()",
    ],
}


@READERS
def test_a_statement_without_rows_leaves_nothing_behind(
    client: sqltrack.Client, engine_name: str, read: Callable[..., Any], tmp_path: Path
) -> None:
    """In a block and outside; earlier changes of the block stay."""
    sqltrack.Experiment(client, name="kept")
    file = tmp_path / "written"
    for command in COMMANDS[engine_name]:
        text = command.format(file=file)
        with contextlib.suppress(KeyError), client.cursor() as cursor:
            cursor.execute("INSERT INTO experiments (name) VALUES ('mine')")
            before = [cursor.execute(query).fetchall() for query in STATE[engine_name]]
            for source in (cursor, client):
                with pytest.raises((DatabaseError, client.engine.driver_error)):
                    read(source, text)
                names = cursor.execute("SELECT name FROM experiments ORDER BY id").fetchall()
                assert names == [("kept",), ("mine",)], text
                assert [cursor.execute(query).fetchall() for query in STATE[engine_name]] == before, text
            raise KeyError
        with pytest.raises(DatabaseError):
            read(client, text)
        assert client.execute("SELECT name FROM experiments").fetchall() == [("kept",)], text
        assert not file.exists(), text


@READERS
def test_statements_with_rows_are_read(client: sqltrack.Client, engine_name: str, read: Callable[..., Any]) -> None:
    """Whatever its keyword, and even if it changes data, because it says so."""
    queries = {
        "sqlite": [
            "PRAGMA user_version",
            "PRAGMA table_info(runs)",
            "PRAGMA main.index_list('runs')",
            "PRAGMA table_list",
        ],
        "postgres": ["SHOW work_mem", "TABLE experiments", "(SELECT 1 AS a)"],
    }[engine_name]
    insert = "INSERT INTO experiments (name) VALUES ('a') RETURNING id"
    common = [
        "VALUES (1)",
        "EXPLAIN SELECT 1",
        "WITH a AS (SELECT 1 AS b) SELECT * FROM a",
        "DELETE FROM runs RETURNING id",
    ]
    for query in (insert, *queries, *common):
        for source in (query, f"-- a comment\n{query};", f"{query} ; ; -- a comment"):
            assert read(client, source.replace("'a'", f"'{len(source)}'")).shape[1] >= 1, source
    assert len(read(client, "SELECT id FROM experiments")) == 3


@READERS
def test_a_text_without_a_statement_is_refused(client: sqltrack.Client, read: Callable[..., Any]) -> None:
    for text in ("", " ", ";", "-- a comment", "SELECT 1; SELECT 2", "SELECT 1;; SELECT 2"):
        with pytest.raises(DatabaseError):
            read(client, text)
