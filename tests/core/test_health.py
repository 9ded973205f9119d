"""A database's own report of its health in unusual cases; the tests of the command doctor cover the others."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

import sqltrack
from plugins.postgres_server import PostgresServer
from sqltrack import Experiment
from sqltrack.commands import setup
from sqltrack.engines.admin import admin_of
from sqltrack.engines.checks import Verdict
from sqltrack.errors import ReadOnlyDatabaseError
from support.databases import connect_to_postgres
from support.refusing_proxy import refusing_proxy


def examine(client: sqltrack.Client, check: str) -> Verdict:
    with client as connection:
        verdict = admin_of(client.engine, connection).checks(full=False)[check]()
    assert verdict is not None
    return verdict


@pytest.fixture
def journal_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> sqltrack.Client:
    """Client of a SQLite database with a rollback journal."""
    monkeypatch.setattr("sqltrack.engines.sqlite._engine.is_network_file_system", lambda path: True)
    client = sqltrack.Client(engine="sqlite", dbpath=str(tmp_path / "sqltrack.db"), busy_timeout=0.1)
    setup(client)
    return client


@pytest.mark.skipif(sys.platform == "win32", reason="this platform has no such limits")
def test_a_file_that_cannot_be_written_to_for_a_rare_reason_is_a_problem(journal_client: sqltrack.Client) -> None:
    import resource

    with closing(journal_client.engine.connect()) as connection:
        writable = admin_of(journal_client.engine, connection).checks(full=False)["writable"]
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
        try:
            verdict = writable()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert verdict is not None
        assert (verdict.result, verdict.found) == ("problem", "the file cannot be written to: disk I/O error")
        assert writable() == Verdict("ok", "the file can be written to")


def test_the_integrity_of_a_locked_file_is_not_known(journal_client: sqltrack.Client) -> None:
    with closing(journal_client.engine.connect()) as connection:
        integrity = admin_of(journal_client.engine, connection).checks(full=True)["integrity"]
        with closing(sqlite3.connect(journal_client.config["dbpath"], isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                integrity()
        assert integrity() == Verdict("ok", "quick_check finds the file intact")


@pytest.mark.not_pooled("it sets the parameter options, which a pooler refuses")
def test_a_search_path_that_leads_nowhere_is_a_problem(postgres_config: dict[str, Any]) -> None:
    verdict = examine(sqltrack.Client(postgres_config, options="-c search_path=nowhere"), "schema")
    assert (verdict.result, verdict.found) == ("problem", "no schema of the search_path exists")
    assert "set the parameter schema" in str(verdict.advice)


@pytest.mark.not_pooled("it starts a pooler of its own")
def test_a_pooler_that_looks_like_a_server_is_known_by_the_options_that_it_refuses(
    postgres_config: dict[str, Any],
) -> None:
    with connect_to_postgres(postgres_config) as connection:
        port = connection.info.port
    away = sqltrack.Client({**postgres_config, "host": "127.0.0.1", "port": 1})
    with pytest.raises(psycopg.OperationalError):
        admin_of(away.engine).checks(full=False)["pooler"]()
    with refusing_proxy(port) as proxy_port:
        pooled = {**postgres_config, "host": "127.0.0.1", "port": proxy_port}
        verdict = examine(sqltrack.Client(pooled), "pooler")
        assert (verdict.result, "prepared statements may fail" in verdict.found) == ("note", True)
        with_schema = examine(sqltrack.Client(pooled, schema="public"), "pooler")
        assert (with_schema.result, with_schema.advice) == ("note", None)


@pytest.mark.no_outbox
def test_a_standby_can_only_be_read(server_binaries: Path) -> None:
    with PostgresServer(server_binaries) as server:
        client = sqltrack.Client(_config(server))
        setup(client)
        run = Experiment(client, name="experiment").get_run()
        assert examine(client, "writable").result == "ok"
        # Without a primary to follow it waits for ever, and still answers.
        Path(server.data_dir, "standby.signal").touch()
        server.restart()
        verdict = examine(client, "writable")
        assert verdict.result == "problem"
        assert "a standby, which can be read but not changed" in verdict.found
        # The database is not named by mistake if the configuration asks for a server to read.
        for_reading = sqltrack.Client({**_config(server), "target_session_attrs": "prefer-standby"})
        assert examine(for_reading, "writable").result == "note"
        with pytest.raises(ReadOnlyDatabaseError, match="is read-only"):
            run.add_metrics({"loss": 1.0})
        assert client.execute("SELECT status FROM runs").fetchall() == [("PLANNED",)]


@pytest.mark.parametrize(
    ("attributes", "result"), [(None, "note"), ("any", "note"), ("read-write", "ok"), ("read-only", "ok")]
)
@pytest.mark.engines("postgres")
@pytest.mark.not_pooled("a pooler has one address")
def test_of_several_hosts_runs_need_the_one_that_can_be_changed(
    attributes: str | None, result: str, server_binaries: Path
) -> None:
    with PostgresServer(server_binaries) as server:
        if attributes == "read-only":
            with psycopg.connect(server.dsn, autocommit=True) as connection:
                connection.execute("ALTER SYSTEM SET default_transaction_read_only = on")
                connection.execute("SELECT pg_reload_conf()")
        several = {**_config(server), "host": "127.0.0.1,127.0.0.1", "port": f"{server.port},{server.port}"}
        if attributes is not None:
            several["target_session_attrs"] = attributes
        verdict = examine(sqltrack.Client(several), "failover")
        assert verdict.result == result
        assert (verdict.advice is not None) == (result == "note")


def _config(server: PostgresServer) -> dict[str, Any]:
    return {"engine": "postgres", **psycopg.conninfo.conninfo_to_dict(server.dsn)}
