"""Errors about wrong settings, databases, servers and statements say what is wrong."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack._outbox._settings import outbox_settings
from sqltrack.commands import setup
from sqltrack.errors import (
    AccessDeniedError,
    ConfigError,
    DatabaseError,
    DatabaseLockedError,
    DatabaseUnavailableError,
    DiskFullError,
    NotADatabaseError,
    NotSetUpError,
    ReadOnlyDatabaseError,
    SQLTrackError,
    TooManyConnectionsError,
)


def test_an_unknown_engine_is_an_error_that_names_the_known() -> None:
    with pytest.raises(ConfigError, match="unknown engine 'mysql', expected 'postgres' or 'sqlite'"):
        sqltrack.Client(engine="mysql")


@pytest.mark.parametrize("setting", ["keepalive", "reconnect", "busy_timeout", "patience", "outbox_keep"])
@pytest.mark.parametrize("value", ["soon", -1, float("nan")])
def test_a_setting_that_is_no_number_is_an_error_that_names_it(setting: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"{setting} must be a number"):
        sqltrack.Client({"engine": "sqlite", setting: value})


@pytest.mark.parametrize(
    ("setting", "value", "says"),
    [
        ("outbox", "sometimes", "outbox must be on, off or always, got 'sometimes'"),
        ("outbox", "", "outbox must be on, off or always, got ''"),
        ("outbox", 2, "outbox must be on, off or always, got 2"),
        ("outbox_dir", "", "outbox_dir must name a folder, got ''"),
        ("outbox_dir", 7, "outbox_dir must name a folder, got 7"),
        ("outbox_dir", "a\0b", "outbox_dir must name a folder"),
        ("outbox_limit", "much", "outbox_limit must be a number of bytes, such as 500 MiB, got 'much'"),
        ("outbox_limit", -1, "outbox_limit must be a number of bytes, such as 500 MiB, got -1"),
        ("outbox_limit", "nan", "outbox_limit must be a number of bytes"),
        ("outbox_limit", "1 EB", "outbox_limit must be a number of bytes"),
        ("outbox_limit", True, "outbox_limit must be a number of bytes"),
    ],
)
def test_a_wrong_setting_of_the_outbox_is_an_error_though_it_is_not_needed_yet(
    setting: str, value: Any, says: str
) -> None:
    """A typo must not go unnoticed for days of training, even if the outbox is off."""
    for others in ({}, {"outbox": "off"}):
        with pytest.raises(ConfigError, match=re.escape(says)):
            sqltrack.Client({"engine": "sqlite", **others, setting: value})


@pytest.mark.parametrize(
    ("value", "expected"),
    [("0", 0), (1000, 1000), ("500 MiB", 500 * 2**20), ("500mb", 500 * 2**20), ("1.5 G", 3 * 2**29), ("2KiB", 2048)],
)
def test_sizes_have_units(value: Any, expected: int) -> None:
    assert outbox_settings({"outbox_limit": value}).limit == expected


@pytest.mark.parametrize("value", [True, "TRUE", " yes ", "1", 1, "on"])
def test_the_outbox_is_switched_by_any_word_for_yes(value: Any) -> None:
    assert outbox_settings({"outbox": value}).mode == "on"
    assert outbox_settings({"outbox": " Always"}).mode == "always"
    assert outbox_settings({"outbox": False}).mode == "off"


@pytest.mark.parametrize("seconds", ["inf", 1e12])
def test_a_patience_without_end_is_one(config: dict[str, Any], tmp_path: Path, seconds: Any) -> None:
    waits = {"patience": seconds, "reconnect": seconds, "outbox_keep": seconds}
    client = sqltrack.Client({**config, **waits, "outbox": "on", "outbox_dir": str(tmp_path / "outbox")})
    run = sqltrack.Experiment(client, name="patient").get_run().add_metrics({"loss": 0.5}, 1)
    assert client.execute("SELECT loss FROM metrics WHERE run_id = %s", (run.id,)).fetchall() == [(0.5,)]
    assert not (tmp_path / "outbox").exists()


@pytest.mark.parametrize("dbpath", ["", ":memory:", "file::memory:?cache=shared"])
def test_a_dbpath_that_names_no_file_is_refused(dbpath: str) -> None:
    with pytest.raises(ConfigError, match="dbpath must name a file"):
        sqltrack.Client(engine="sqlite", dbpath=dbpath)


def test_an_old_sqlite_is_refused_with_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    with pytest.raises(ConfigError, match=f"3.35 or newer, this Python has {sqlite3.sqlite_version}"):
        sqltrack.Client(engine="sqlite")


def test_an_unknown_synchronous_setting_is_refused() -> None:
    with pytest.raises(ConfigError, match="synchronous must be one of OFF, NORMAL, FULL, EXTRA, got 'maybe'"):
        sqltrack.Client(engine="sqlite", synchronous="maybe")


def test_a_database_that_was_not_set_up_is_an_error_that_says_what_to_do(empty_config: dict[str, Any]) -> None:
    client = sqltrack.Client(empty_config)
    for use in (
        lambda: sqltrack.Experiment(client, name="x"),
        lambda: client.execute("SELECT * FROM runs"),
        lambda: sqltrack.run_add_metrics(client, 1, {"loss": 1.0}),
        lambda: sqltrack.run_set_status(client, 1, "RUNNING"),
    ):
        with pytest.raises(NotSetUpError, match=r"set it up with client\.setup\(\)"):
            use()


def test_a_table_that_a_query_does_not_name_is_no_missing_set_up(client: sqltrack.Client) -> None:
    """The tables exist; the query lacks a FROM clause."""
    for query in ("SELECT metrics.step FROM runs", "SELECT 1 FROM runs WHERE experiments.name = 'x'"):
        with pytest.raises(DatabaseError) as caught:
            client.execute(query)
        assert type(caught.value) is DatabaseError


def test_a_file_that_is_no_database_is_an_error_that_names_it() -> None:
    Path("notes.txt").write_text("no database " * 100)
    client = sqltrack.Client(engine="sqlite", dbpath="notes.txt")
    with pytest.raises(NotADatabaseError, match=r"notes\.txt' is not a SQLite database"):
        setup(client)
    assert Path("notes.txt").read_text() == "no database " * 100


@pytest.mark.parametrize(
    ("dbpath", "reason"), [("no/folder/x.db", "folder '.*no/folder' does not exist"), (".", "it is a folder")]
)
def test_a_file_that_cannot_be_opened_is_an_error_that_says_why(dbpath: str, reason: str) -> None:
    with pytest.raises(DatabaseUnavailableError, match=f"cannot open SQLite database .*{reason}"):
        setup(sqltrack.Client(engine="sqlite", dbpath=dbpath))


def test_a_server_that_is_not_there_is_one_clear_error() -> None:
    psycopg = pytest.importorskip("psycopg")
    client = sqltrack.Client(host="127.0.0.1", port=1, user="alice", dbname="db", password="secret")
    with pytest.raises(DatabaseUnavailableError) as info:
        client.execute("SELECT 1")
    message = str(info.value)
    assert re.search(r"cannot connect to PostgreSQL database 'host=127\.0\.0\.1 port=1 .*check host and port", message)
    assert "\n" not in message
    assert isinstance(info.value.__cause__, psycopg.Error)


def test_passwords_are_nowhere_to_be_seen(postgres_config: dict[str, Any]) -> None:
    """Neither a repr nor an error, nor its cause, shows a password."""
    client = sqltrack.Client({**postgres_config, "password": "s3cret", "port": 1})
    shown = [repr(client), repr(client.engine), str(client)]
    with pytest.raises(SQLTrackError) as info:
        client.execute("SELECT 1")
    shown += [str(info.value), repr(info.value), str(info.value.__cause__)]
    assert not any("s3cret" in text for text in shown)


@pytest.mark.not_pooled("a pooler has its own message for a user that it does not know")
def test_a_missing_database_or_role_says_how_to_create_it(postgres_config: dict[str, Any]) -> None:
    with pytest.raises(DatabaseUnavailableError, match='database "nowhere" does not exist; create it'):
        sqltrack.Client({**postgres_config, "dbname": "nowhere"}).execute("SELECT 1")
    with pytest.raises(SQLTrackError, match='role "nobody else" does not exist; create it'):
        sqltrack.Client({**postgres_config, "user": "nobody else"}).execute("SELECT 1")


def test_a_wrong_connection_parameter_is_named(postgres_config: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="unknown parameter 'hots'; did you mean 'host'"):
        sqltrack.Client({**postgres_config, "hots": "typo"}).execute("SELECT 1")


def test_errors_of_statements_keep_the_drivers_error(client: sqltrack.Client) -> None:
    with pytest.raises(DatabaseError) as info:
        client.execute("SELEC 1")
    assert isinstance(info.value.__cause__, client.engine.driver_error)
    with pytest.raises(DatabaseError) as info:
        client.executemany("SELEC %s", [(1,)])
    assert isinstance(info.value.__cause__, client.engine.driver_error)


@pytest.mark.parametrize(
    ("state", "error"),
    [
        ("25006", ReadOnlyDatabaseError),
        ("25P03", DatabaseUnavailableError),
        ("42501", AccessDeniedError),
        ("53100", DiskFullError),
        ("53300", TooManyConnectionsError),
        ("55P03", DatabaseLockedError),
        ("57P03", DatabaseUnavailableError),
        ("P0001", DatabaseError),
    ],
)
def test_the_state_of_a_servers_error_tells_which_one_it_is(
    postgres_config: dict[str, Any], state: str, error: type[Exception]
) -> None:
    client = sqltrack.Client(postgres_config)
    with pytest.raises(error, match="no luck today") as info:
        client.execute(f"DO $$ BEGIN RAISE 'no luck today' USING ERRCODE = '{state}'; END $$")
    assert type(info.value) is error


def test_a_server_that_gives_up_is_one_that_may_come_back(postgres_config: dict[str, Any]) -> None:
    import psycopg

    severity: dict[int, bytes | None] = {psycopg.pq.DiagnosticField.SEVERITY_NONLOCALIZED: b"PANIC"}
    panic = psycopg.errors.DiskFull("could not write to its log", info=severity)
    error = sqltrack.Client(postgres_config).engine.translate_error(panic)
    assert type(error) is DatabaseUnavailableError
    assert "has crashed: could not write to its log" in str(error)


def test_a_server_without_new_transaction_ids_is_read_only(postgres_config: dict[str, Any]) -> None:
    """Its error has the state of limits that only other values would keep."""
    import psycopg

    function: dict[int, bytes | None] = {psycopg.pq.DiagnosticField.SOURCE_FUNCTION: b"GetNewTransactionId"}
    refusal = psycopg.errors.ProgramLimitExceeded("database is not accepting commands", info=function)
    assert type(sqltrack.Client(postgres_config).engine.translate_error(refusal)) is ReadOnlyDatabaseError


WITHOUT_PSYCOPG = """
import sys
sys.modules["psycopg"] = None
import sqltrack
try:
    sqltrack.Client().execute("SELECT 1")
except sqltrack.SQLTrackError as error:
    print(type(error).__mro__[1].__name__, isinstance(error, ImportError), error)
"""


def test_without_psycopg_the_error_says_what_to_install_and_how_to_choose_sqlite() -> None:
    """Without psycopg, no other engine replaces PostgreSQL."""
    output = subprocess.run([sys.executable, "-c", WITHOUT_PSYCOPG], capture_output=True, text=True, check=True).stdout
    assert "True engine 'postgres' requires 'psycopg'" in output
    assert "pip install 'sqltrack-core[postgres]'" in output
    assert "SQLTRACK_DSN_ENGINE=sqlite" in output
