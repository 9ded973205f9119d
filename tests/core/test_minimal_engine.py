"""An engine with only the three documented methods works, and names each further method that it lacks."""

from __future__ import annotations

import inspect
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import sqltrack
import sqltrack.engines
from sqltrack.commands.setup import set_up_quietly
from sqltrack.engines import Engine
from sqltrack.engines.admin import admin_of
from sqltrack.engines.metrics_table import MetricsTable, Upsert
from sqltrack.errors import DatabaseError, NotSetUpError
from support.engine_methods import required


class Minimal(Engine):
    def __repr__(self) -> str:
        return type(self).__name__

    def connect(self) -> sqlite3.Connection:
        return sqlite3.connect(":memory:", isolation_level=None)

    def data_dir(self) -> str:
        return str(Path(sqltrack.engines.__file__).with_name("sqlite"))

    def map_type(self, client: Any, typ: type) -> str:
        return "TEXT"


class OwnTable(MetricsTable):
    pass


class OwnUpsert(Upsert):
    pass


@pytest.fixture
def engine() -> Minimal:
    return Minimal()


@pytest.fixture
def connection(engine: Minimal) -> Iterator[sqlite3.Connection]:
    connection = engine.connect()
    yield connection
    connection.close()


# Missing methods


def test_exactly_the_documented_methods_must_be_defined() -> None:
    assert Engine.__abstractmethods__ == {"connect", "data_dir", "map_type"}
    with pytest.raises(TypeError, match="abstract"):
        type("Incomplete", (Engine,), {"connect": Minimal.connect, "data_dir": Minimal.data_dir})()


LACKING = [
    (owner, name)
    for owner, base in ((Minimal(), Engine), (OwnTable(), MetricsTable), (OwnUpsert(), Upsert))
    for name in sorted(required(base) - getattr(base, "__abstractmethods__", set()))
]


@pytest.mark.parametrize(("owner", "name"), LACKING, ids=[f"{type(owner).__name__}.{name}" for owner, name in LACKING])
def test_a_method_that_is_lacking_is_named_with_its_class_and_purpose(owner: Any, name: str) -> None:
    method = getattr(owner, name)
    parameters = inspect.signature(method).parameters.values()
    positional = [None for parameter in parameters if parameter.kind is not inspect.Parameter.KEYWORD_ONLY]
    named = {parameter.name: None for parameter in parameters if parameter.kind is inspect.Parameter.KEYWORD_ONLY}
    sentence = rf"^{type(owner).__name__} does not define {name}\(\), which SQLTrack needs to [a-z]+ [a-z ,]+$"
    with pytest.raises(NotImplementedError, match=sentence):
        method(*positional, **named)


def test_commands_of_operators_are_lacking_as_a_whole(engine: Minimal) -> None:
    with pytest.raises(NotImplementedError, match="^Minimal names no admin_class, which "):
        admin_of(engine)


# Defaults


def test_the_database_is_described_by_the_name_of_the_engine_and_exists(engine: Minimal) -> None:
    assert engine.describe() == "unnamed database"
    assert engine.exists()


def test_a_script_is_split_and_executed_by_the_rules_of_standard_sql(engine: Minimal, connection: Any) -> None:
    script = "CREATE TABLE t (x TEXT); -- a;b\nINSERT INTO t VALUES ('a;b'); SELECT x FROM t"
    assert engine.split_script(script) == [
        "CREATE TABLE t (x TEXT)",
        "-- a;b\nINSERT INTO t VALUES ('a;b')",
        "SELECT x FROM t",
    ]
    assert engine.execute_script(connection, script).fetchall() == [("a;b",)]


def test_a_savepoint_undoes_its_block_alone(engine: Minimal, connection: Any) -> None:
    connection.execute("CREATE TABLE t (x TEXT)")
    connection.execute("BEGIN")
    connection.execute("INSERT INTO t VALUES ('kept')")
    with pytest.raises(ZeroDivisionError), engine.savepoint(connection):
        connection.execute("INSERT INTO t VALUES ('undone')")
        raise ZeroDivisionError
    with engine.savepoint(connection):
        connection.execute("INSERT INTO t VALUES ('kept as well')")
    connection.execute("COMMIT")
    assert connection.execute("SELECT x FROM t").fetchall() == [("kept",), ("kept as well",)]


@pytest.mark.parametrize("method", ["abort", "abort_within"])
def test_a_connection_is_closed_without_an_error_however_often(engine: Minimal, connection: Any, method: str) -> None:
    connection.execute("BEGIN")
    for _ in range(2):
        getattr(engine, method)(connection)
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("SELECT 1")


def test_nothing_is_locked_and_no_statement_has_a_limit(engine: Minimal, connection: Any) -> None:
    engine.lock_schema(connection)
    engine.lock_rows(connection, "runs", [1])
    assert engine.execute_within(connection, 0.0, "SELECT ?", (1,)).fetchone() == (1,)


def test_an_error_of_the_driver_is_told_with_the_database_and_one_of_sqltracks_own_as_it_is(engine: Minimal) -> None:
    translated = engine.translate_error(sqlite3.OperationalError("no space"))
    assert type(translated) is DatabaseError
    assert str(translated) == "unnamed database: no space"
    own = NotSetUpError()
    assert engine.translate_error(own) is own


def test_a_metrics_table_converts_row_by_row_and_widens_nothing() -> None:
    table = OwnTable()
    assert table.row_converter([None, str])([1, 2]) == [1, "2"]
    assert table.row_converter([None, None])((1, 2)) == (1, 2)
    assert table.wider_type("BIGINT", float) is None
    assert table.is_in_use(None) is False
    assert table.extras_value({"a": 1}).obj == {"a": 1}


def test_an_upsert_that_stores_one_row_stores_many() -> None:
    stored: list[Sequence[Any]] = []

    class Storing(Upsert):
        def execute(self, connection: Any, values: Sequence[Any]) -> None:
            stored.append(values)

    Storing().execute_many(None, [(1, 0, 0.0), (1, 1, 0.0)])
    assert stored == [(1, 0, 0.0), (1, 1, 0.0)]


# In a client


class Opening(Minimal):
    """Opens transactions, and nothing else."""

    def set_autocommit(self, connection: sqlite3.Connection, enabled: bool) -> None:
        connection.isolation_level = None if enabled else "DEFERRED"

    def is_usable(self, connection: sqlite3.Connection) -> bool:
        return not connection.in_transaction


def client_of(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> sqltrack.Client:
    monkeypatch.setattr("sqltrack.client.create_engine", lambda config: engine)
    return sqltrack.Client({})


@pytest.mark.parametrize(("engine", "name"), [(Minimal(), "set_autocommit"), (Opening(), "table_columns")], ids=repr)
def test_a_client_passes_on_what_its_engine_lacks(engine: Engine, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    client = client_of(engine, monkeypatch)
    lacking = rf"^{type(engine).__name__} does not define {name}\(\)"
    with pytest.raises(NotImplementedError, match=lacking):
        set_up_quietly(client)
    with pytest.raises(NotImplementedError, match=lacking):
        client.metrics.add(1, {"loss": 1.0}, 0, 0.0, None)


def test_a_client_executes_statements_as_soon_as_transactions_can_be_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    client = client_of(Opening(), monkeypatch)
    assert client.execute("SELECT 1").fetchall() == [(1,)]
    with pytest.raises(DatabaseError, match="unnamed database: .*syntax error"):
        client.execute("nonsense")
