"""Databases for tests are copies of templates, and are dropped after their tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from plugins import postgres_databases
from plugins.postgres_databases import Databases
from plugins.postgres_server import RunningServer


@pytest.fixture
def databases(postgres_server: RunningServer) -> Iterator[Databases]:
    with Databases(postgres_server, {}) as databases:
        yield databases


def names(server: RunningServer, *candidates: dict[str, Any]) -> list[str]:
    """Return the names of those databases that exist, in order."""
    with psycopg.connect(server.dsn) as connection:
        found = {name for (name,) in connection.execute("SELECT datname FROM pg_database")}
    return [each["dbname"] for each in candidates if each["dbname"] in found]


def test_a_database_is_a_copy_of_its_template(databases: Databases) -> None:
    template = databases.create()
    with psycopg.connect(**template) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS a")
    made = databases.create(template["dbname"])
    assert made["dbname"] != template["dbname"]
    with psycopg.connect(**made) as connection:
        assert connection.execute("SELECT a FROM kept").fetchone() == (1,)


def test_databases_are_dropped_together_with_the_next_ones(
    databases: Databases, postgres_server: RunningServer
) -> None:
    """This includes databases that a forgotten process still uses."""
    first, second, third = (databases.create() for _ in range(3))
    with psycopg.connect(**first) as connection:
        databases.drop([first["dbname"]])
        assert names(postgres_server, first, second, third) == [first["dbname"], second["dbname"], third["dbname"]]
        databases.drop([second["dbname"], third["dbname"]])
        assert names(postgres_server, first, second, third) == [second["dbname"], third["dbname"]]
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    databases.drop([])
    assert names(postgres_server, first, second, third) == []


def test_databases_on_a_foreign_server_are_dropped_at_the_end(postgres_server: RunningServer) -> None:
    others = RunningServer(postgres_server.dsn, postgres_server.version)
    with Databases(others, {}) as databases:
        first, second = databases.create(), databases.create()
        databases.drop([first["dbname"]])
    assert names(postgres_server, first, second) == []


@pytest.mark.parametrize(
    ("version", "folder", "expected"),
    [
        ("15.18", "memory", " STRATEGY FILE_COPY"),
        ("18.4", "memory", " STRATEGY FILE_COPY"),
        ("14.23", "memory", ""),
        ("15.18", "disk", ""),
    ],
)
def test_files_are_copied_in_memory_where_the_server_lets_one_choose(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str, folder: str, expected: str
) -> None:
    monkeypatch.setattr(postgres_databases, "MEMORY", tmp_path / "memory")
    own: Any = SimpleNamespace(version=version, data_dir=tmp_path / folder / "data")
    assert postgres_databases._strategy_sql(RunningServer("", version, own)) == expected
    assert postgres_databases._strategy_sql(RunningServer("", version)) == ""
