"""A database is read as it is at one moment, by a connection that leaves no trace."""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
import threading
from contextlib import closing
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack.commands.setup import create_table_once, set_up_quietly
from sqltrack.config import load_config_file
from sqltrack.engines.admin import admin_of
from sqltrack.errors import ConfigError, DatabaseError, DatabaseUnavailableError, NotADatabaseError


@pytest.fixture
def reader(client: sqltrack.Client) -> Any:
    connection = admin_of(client.engine).connect_read_only()
    yield connection
    client.engine.abort(connection)


def test_concurrent_commits_are_not_seen(client: sqltrack.Client, run: sqltrack.Run, reader: Any) -> None:
    def count() -> int:
        return int(reader.execute("SELECT COUNT(*) FROM metrics").fetchone()[0])

    with admin_of(client.engine, reader).snapshot():
        assert count() == 0
        run.add_metrics({"loss": 1.0}, step=1)
        assert count() == 0
    with admin_of(client.engine, reader).snapshot():
        assert count() == 1


@pytest.mark.parametrize("sql", ["DELETE FROM runs", "CREATE TABLE t (x INTEGER)", "UPDATE runs SET status = 'x'"])
def test_a_snapshot_can_only_be_read(client: sqltrack.Client, run: sqltrack.Run, reader: Any, sql: str) -> None:
    with pytest.raises(DatabaseError), admin_of(client.engine, reader).snapshot():
        reader.execute(sql)
    with admin_of(client.engine, reader).snapshot():
        assert reader.execute("SELECT status FROM runs").fetchall() == [("PLANNED",)]


@pytest.mark.engines("sqlite")
def test_a_file_that_cannot_be_read_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    client = sqltrack.Client(engine="sqlite", dbpath=str(path))
    with pytest.raises(DatabaseUnavailableError, match="cannot open"):
        admin_of(client.engine).connect_read_only()
    path.write_text("no database " * 100)
    with pytest.raises(NotADatabaseError, match=r"notes\.txt' is not a SQLite database"):
        admin_of(client.engine).connect_read_only()


@pytest.mark.engines("sqlite")
def test_changes_of_a_killed_writer_are_undone_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sqltrack.engines.sqlite._engine.is_network_file_system", lambda path: True)
    path, left = tmp_path / "sqltrack.db", tmp_path / "left.db"
    set_up_quietly(sqltrack.Client(engine="sqlite", dbpath=str(path)))
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        # Changes that do not fit into memory are written to the file before the commit, and the old pages to a journal.
        writer.execute("PRAGMA cache_size = 5")
        writer.execute("BEGIN")
        for number in range(500):
            writer.execute("INSERT INTO experiments (name, comment) VALUES (?, ?)", (number, "x" * 1000))
        shutil.copy(path, left)
        shutil.copy(f"{path}-journal", f"{left}-journal")
    with closing(admin_of(sqltrack.Client(engine="sqlite", dbpath=str(left)).engine).connect_read_only()) as connection:
        assert connection.execute("SELECT COUNT(*) FROM experiments").fetchone() == (0,)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_two_connections_have_an_identity_in_common_if_they_lead_to_one_database(
    client: sqltrack.Client, reader: Any, request: pytest.FixtureRequest, engine_name: str, tmp_path: Path
) -> None:
    if engine_name == "sqlite":
        other = sqltrack.Client(engine="sqlite", dbpath=str(tmp_path / "other.db"))
    else:
        other = sqltrack.Client({**client.config, "schema": "other"})
    set_up_quietly(other)
    with other as connection:
        assert admin_of(other.engine, connection).identity() != admin_of(client.engine, reader).identity()
    with client as connection:
        assert admin_of(client.engine, connection).identity() == admin_of(client.engine, reader).identity()


def test_columns_have_the_types_of_their_values(client: sqltrack.Client, run: sqltrack.Run, engine_name: str) -> None:
    values = {
        "bool": True,
        "bytes": b"x",
        "date": date(2026, 1, 1),
        "datetime": datetime(2026, 1, 1, tzinfo=timezone.utc),
        "dict": {"a": 1},
        "float": 0.5,
        "int": 1,
        "str": "x",
        "timedelta": timedelta(1),
    }
    run.add_metrics({**values, "wider": 1}, step=1).add_metrics({"wider": 0.5}, step=2)
    expected = {name: type(value) for name, value in values.items()}
    if engine_name == "postgres":
        run.add_metrics({"exact": Decimal("0.1")})
        expected["exact"] = Decimal
    client.execute("ALTER TABLE metrics ADD COLUMN of_unknown_type UUID")
    with client as connection:
        types = admin_of(client.engine, connection).python_types("metrics")
    assert types == {"run_id": int, "step": int, "progress": float, "wider": float, **expected}


def test_a_table_is_created_once_by_many_at_once(client: sqltrack.Client) -> None:
    failures: list[Exception] = []

    def create() -> None:
        try:
            create_table_once(client, "copied_runs")
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert client.execute("SELECT * FROM copied_runs").fetchall() == []


def test_a_database_is_set_up_without_a_word(empty_config: dict[str, Any], capfd: pytest.CaptureFixture[str]) -> None:
    client = sqltrack.Client(empty_config)
    assert set_up_quietly(client)
    assert not set_up_quietly(client)
    assert sqltrack.Experiment(client, name="e").id == 1
    assert capfd.readouterr() == ("", "")


def test_connections_are_kept_for_many_calls(client: sqltrack.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = client.engine.connect
    made: list[Any] = []

    def counting() -> Any:
        made.append(connect())
        return made[-1]

    monkeypatch.setattr(client.engine, "connect", counting)
    with client._session.keeping_connections():
        for _ in range(3):
            assert client.execute("SELECT 1").fetchone() == (1,)
    assert len(made) == 1
    client.execute("SELECT 1")
    assert len(made) == 2


def test_columns_are_added_beforehand(client: sqltrack.Client) -> None:
    client.metrics.add_columns({"loss": float, "Loss": float, "n": int, "step": int, "extras": dict})
    client.metrics.add_columns({"n": float, "more": str})
    client.metrics.add_columns({"loss": float, "step": int})
    with client as connection:
        types = admin_of(client.engine, connection).python_types("metrics")
    assert (types["loss"], types["n"], types["more"], types["extras"]) == (float, int, str, dict)


@pytest.mark.skipif(sys.platform != "linux", reason="open files are counted by /proc")
def test_a_closed_connection_leaves_no_file_open(tmp_path: Path) -> None:
    client = sqltrack.Client(engine="sqlite", dbpath=str(tmp_path / "sqltrack.db"))
    set_up_quietly(client)
    run = sqltrack.Experiment(client, name="e").get_run()
    before = len(os.listdir("/proc/self/fd"))
    for step in range(5):
        client.metrics.add_many(run.id, [{"step": step, "loss": 1.0}], None)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_config_file_is_read_whatever_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.conf"
    path.write_text("engine = sqlite\nuser = alice\n")
    monkeypatch.setenv("SQLTRACK_DSN_ENGINE", "postgres")
    assert load_config_file(path) == {
        "engine": "sqlite",
        "dbpath": "sqltrack.db",
        "user": "alice",
        "dbname": "alice",
    }
    with pytest.raises(ConfigError, match="does not exist"):
        load_config_file(tmp_path / "b.conf")
