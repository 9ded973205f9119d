"""The doctor's findings about a PostgreSQL database, its server and its permissions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import sqltrack
from sqltrack.cli import main
from sqltrack.commands import setup
from sqltrack.commands.doctor import examine
from sqltrack.engines.json import Jsonb
from sqltrack.engines.postgres import _checks as postgres_health
from support.databases import connect_to_postgres
from support.findings import INSTALLATION, found_by, results
from support.refusing_proxy import refusing_proxy

from .conftest import connection

pytestmark = pytest.mark.usefixtures("plenty_of_room")


@pytest.fixture
def postgres_client(create_database: Callable[..., dict[str, Any]], postgres_template: str) -> sqltrack.Client:
    return sqltrack.Client(create_database(postgres_template))


@pytest.fixture
def stranger(postgres_client: sqltrack.Client) -> Iterator[sqltrack.Client]:
    """Client of a user who may only read the tables."""
    config = postgres_client.config
    role = f"{config['dbname']}_stranger"
    with connect_to_postgres(config) as administrator:
        administrator.execute(f'CREATE ROLE "{role}" LOGIN')
        administrator.execute(f'GRANT SELECT ON ALL TABLES IN SCHEMA public TO "{role}"')
        try:
            yield sqltrack.Client(config, user=role)
        finally:
            administrator.execute(f'DROP OWNED BY "{role}"')
            administrator.execute(f'DROP ROLE "{role}"')


def test_a_server_that_does_not_answer_is_a_problem(postgres_client: sqltrack.Client) -> None:
    client = sqltrack.Client(postgres_client.config, host="127.0.0.1", port=1, password="hush")
    findings = found_by(client)
    assert list(findings) == [*INSTALLATION, "outbox", "connection"]
    assert findings["connection"].result == "problem"
    assert "cannot connect to PostgreSQL database 'host=127.0.0.1 port=1" in findings["connection"].found
    assert "hush" not in repr(findings)
    assert findings["connection"].advice is not None


def test_a_database_name_with_semicolons_is_not_taken_for_advice(postgres_client: sqltrack.Client) -> None:
    client = sqltrack.Client(postgres_client.config, dbname="a; b")
    finding = found_by(client)["connection"]
    assert finding.found.endswith('database "a; b" does not exist')
    assert finding.advice == "create it as shown by: sqltrack create --dbname 'a; b'"


def test_privileges_that_are_missing_are_problems_that_the_advice_solves(
    stranger: sqltrack.Client, postgres_client: sqltrack.Client
) -> None:
    findings = found_by(stranger)
    assert results(findings) == {"privileges": "problem", "columns may be added": "note"}
    assert "no INSERT on experiment_links, experiments, metrics, metrics_pending, run" in findings["privileges"].found
    advice = findings["privileges"].advice
    assert advice is not None
    postgres_client.executescript(advice.removeprefix("as the tables' owner: "))
    assert results(found_by(stranger)) == {"columns may be added": "note"}
    sqltrack.Experiment(stranger, name="experiment").get_run().start()
    advice = findings["columns may be added"].advice
    assert advice is not None
    postgres_client.execute(advice.partition("superuser: ")[2])
    assert results(found_by(stranger)) == {}


def test_unreadable_tables_are_a_separate_problem(stranger: sqltrack.Client, postgres_client: sqltrack.Client) -> None:
    postgres_client.execute(f'REVOKE SELECT ON runs FROM "{stranger.config["user"]}"')
    findings = {finding.check: finding for finding in examine(stranger)}
    assert findings["dead runs"].found.startswith("cannot be checked: ")
    assert findings["metric columns"].result == "ok"
    assert "no SELECT on runs" in findings["privileges"].found


@pytest.mark.not_pooled("it asks psycopg for the process id of the server's session, which a pooler hides")
def test_idle_transactions_that_lock_metrics_are_noted(
    postgres_client: sqltrack.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connect_to_postgres(postgres_client.config) as other:
        with other.transaction():
            other.execute("SELECT * FROM metrics")
            assert results(found_by(postgres_client)) == {}
            monkeypatch.setattr(postgres_health, "_IDLE_SECONDS", 0)
            finding = found_by(postgres_client)["idle transactions"]
        assert finding.result == "note"
        assert re.search(rf"pid {other.info.backend_pid} of user {other.info.user!r} for \d+ s", finding.found)
        assert finding.advice is not None
        assert f"pg_terminate_backend({other.info.backend_pid})" in finding.advice
        assert results(found_by(postgres_client)) == {}


def test_a_table_that_is_locked_does_not_stop_the_doctor(
    postgres_client: sqltrack.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("sqltrack.engines.checks", "sqltrack.engines.postgres.admin"):
        monkeypatch.setattr(f"{module}.PATIENCE", 0.1)
    with connect_to_postgres(postgres_client.config) as other, other.transaction():
        other.execute("LOCK TABLE runs IN ACCESS EXCLUSIVE MODE")
        findings = {finding.check: finding for finding in examine(postgres_client)}
    assert results(findings) == {"sizes": "problem", "dead runs": "problem"}
    assert "another transaction holds a lock for too long" in findings["dead runs"].found


def test_metrics_that_wait_are_noted(postgres_client: sqltrack.Client) -> None:
    run = sqltrack.Experiment(postgres_client, name="experiment").get_run()
    query = "INSERT INTO metrics_pending (run_id, step, progress, extras) VALUES (%s, 0, 0, %s)"
    postgres_client.execute(query, (run.id, Jsonb({"loss": 1.0})))
    findings = found_by(postgres_client)
    assert results(findings) == {"metrics_pending": "note"}
    assert findings["metrics_pending"].found.startswith("1 row holds pending metrics")


def test_columns_that_were_dropped_count(postgres_client: sqltrack.Client) -> None:
    postgres_client.execute("ALTER TABLE metrics ADD COLUMN loss FLOAT, ADD COLUMN other FLOAT")
    postgres_client.execute("ALTER TABLE metrics DROP COLUMN other")
    expected = "1 metric is a column, 1 more were dropped, but still count; 5 of 1,600 possible columns are taken"
    assert found_by(postgres_client)["metric columns"].found == expected


def test_an_index_that_is_invalid_counts_as_missing(postgres_client: sqltrack.Client) -> None:
    postgres_client.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'runs_tags'::regclass")
    finding = found_by(postgres_client)["indexes"]
    assert finding.result == "problem"
    assert finding.advice is not None
    postgres_client.executescript(finding.advice.removeprefix("execute: "))
    assert results(found_by(postgres_client)) == {}


@pytest.mark.not_pooled("the doctor notes the pooler as well")
def test_a_schema_that_does_not_exist_is_a_problem(postgres_client: sqltrack.Client) -> None:
    client = sqltrack.Client(postgres_client.config, schema="no such")
    findings = found_by(client)
    assert results(findings) == {"setup": "problem", "schema": "problem"}
    assert findings["schema"].found.startswith("schema 'no such' does not exist")
    setup(client)
    assert results(found_by(client)) == {}


@pytest.mark.not_pooled("it changes settings of new sessions, and a pooler reuses earlier ones")
def test_a_database_that_can_only_be_read_is_a_problem(postgres_client: sqltrack.Client) -> None:
    dbname = postgres_client.config["dbname"]
    postgres_client.execute(f'ALTER DATABASE "{dbname}" SET default_transaction_read_only = on')
    assert results(found_by(postgres_client)) == {"writable": "problem"}


def test_servers_of_other_versions_are_told(postgres_client: sqltrack.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_health, "_OLDEST_VERSION", 99)
    assert results(found_by(postgres_client)) == {"version": "problem"}
    monkeypatch.setattr(postgres_health, "_OLDEST_VERSION", 10)
    monkeypatch.setattr(postgres_health, "_NEWEST_VERSION", 11)
    assert results(found_by(postgres_client)) == {"version": "note"}


def test_a_server_without_free_connections_is_noted(
    postgres_client: sqltrack.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_health, "_CROWDED", 0.0)
    findings = found_by(postgres_client)
    assert results(findings) == {"connections": "note"}
    used, _, limit = findings["connections"].found.partition(" of ")
    assert 1 <= int(used) < int(limit.partition(" ")[0])


@pytest.mark.not_pooled("it starts a pooler of its own")
def test_a_pooler_that_refuses_options_is_noted(postgres_client: sqltrack.Client) -> None:
    with connect_to_postgres(postgres_client.config) as other:
        port = other.info.port
    with refusing_proxy(port) as proxy_port:
        client = sqltrack.Client(postgres_client.config, host="127.0.0.1", port=proxy_port)
        findings = found_by(client)
        assert results(findings) == {"pooler": "note"}
        assert findings["pooler"].advice is not None
        assert "schema" in findings["pooler"].advice
        findings = found_by(sqltrack.Client(client.config, schema="public"))
        assert results(findings) == {"pooler": "note"}
        assert findings["pooler"].advice is None


def test_passwords_are_not_shown(
    postgres_client: sqltrack.Client, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SQLTRACK_DSN_PASSWORD", "hush")
    monkeypatch.setenv("PGPASSWORD", "hush")
    for more in ([], ["--port", "1"], ["--schema", "none"], ["--user", "nobody at all"]):
        main(["doctor", *connection(postgres_client.config), *more])
        out, err = capsys.readouterr()
        assert "hush" not in out + err
