"""The doctor finds what is wrong, says what to do, and goes on after what cannot be checked."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest

import sqltrack
from cli.conftest import PROGRAM, connection, wait_until_it_waits
from sqltrack.cli import main
from sqltrack.commands import doctor, setup
from sqltrack.commands.doctor import Finding, examine, examine_installation
from sqltrack.engines import sqlite as sqlite_engine
from sqltrack.engines.health import show_bytes
from sqltrack.engines.json import Jsonb
from sqltrack.engines.postgres import _health as postgres_health
from sqltrack.engines.sqlite import _health as sqlite_health
from support.postgres_server import _find_temporary_folder, _server_account
from support.processes import running
from support.refusing_proxy import refusing_proxy

INSTALLATION = ["python", "distributions", "drivers"]


def found_by(client: sqltrack.Client, **options: Any) -> dict[str, Finding]:
    findings = examine(client, **options)
    names = [finding.check for finding in findings]
    assert len(names) == len(set(names))
    assert names[:3] == INSTALLATION
    assert all("cannot be checked" not in finding.found for finding in findings)
    return {finding.check: finding for finding in findings}


def results(findings: dict[str, Finding]) -> dict[str, str]:
    return {name: finding.result for name, finding in findings.items() if finding.result != "ok"}


def connect(config: dict[str, Any], **options: Any) -> psycopg.Connection[Any]:
    parameters = {name: value for name, value in config.items() if name != "engine"}
    return psycopg.connect(**parameters, autocommit=True, **options)


@pytest.fixture(autouse=True)
def _plenty_of_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """How much is free on the machine of the tests is not their business."""
    set_free_space(monkeypatch, 10**12)


def set_free_space(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    class Usage(NamedTuple):
        free: int

    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(free))


# -- any database -------------------------------------------------------------------------------------------------


def test_a_healthy_database_has_no_problems(run: sqltrack.Run) -> None:
    run.start().add_metrics({"loss": 1.0, "accuracy": 0.5})
    findings = found_by(run.client, full=True)
    assert results(findings) == {}
    assert all(finding.advice is None for finding in findings.values())
    assert findings["setup"].found == "executed scripts: base.sql"
    assert findings["sizes"].found.startswith("1 experiment")
    assert "1 row of metrics" in findings["sizes"].found
    assert findings["metric columns"].found.startswith("2 metrics are columns; 5 of ")
    assert "metrics" in findings["tables"].found


def test_progress_is_told(client: sqltrack.Client) -> None:
    done: list[int] = []
    examine(client, progress=done.append)
    assert done == list(range(len(done)))
    assert len(done) > 10


def test_the_installation_is_examined_without_a_database() -> None:
    findings = examine_installation()
    assert [finding.check for finding in findings] == INSTALLATION
    assert "sqltrack-core" in findings[1].found
    assert f"SQLite {sqlite3.sqlite_version}" in findings[2].found
    assert f"psycopg {psycopg.__version__}" in findings[2].found


def test_a_python_without_sqlite_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sqlite3", None)
    assert "SQLite (not part of this Python)" in examine_installation()[2].found


def test_distributions_that_are_not_installed_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_DISTRIBUTIONS", ("sqltrack-core", "sqltrack-nothing"))
    assert examine_installation()[1].found.endswith("; not installed: sqltrack-nothing")


def test_a_missing_index_is_a_problem_that_the_advice_solves(client: sqltrack.Client) -> None:
    client.execute("DROP INDEX runs_experiment_id")
    client.execute("DROP INDEX run_links_to_id")
    finding = found_by(client)["indexes"]
    assert finding.result == "problem"
    assert finding.found.endswith((": run_links_to_id, runs_experiment_id", ": runs_experiment_id, run_links_to_id"))
    assert finding.advice is not None
    client.executescript(finding.advice.removeprefix("execute: "))
    assert results(found_by(client)) == {}


def test_missing_tables_and_columns_are_problems(client: sqltrack.Client) -> None:
    client.execute("DROP TABLE run_links")
    client.execute("ALTER TABLE runs RENAME COLUMN comment TO remark")
    finding = found_by(client)["tables"]
    assert finding.result == "problem"
    assert "table run_links" in finding.found
    assert "column runs.comment" in finding.found
    assert finding.advice is not None
    assert "base.sql" in finding.advice


def test_the_rest_is_examined_if_the_metrics_are_missing(run: sqltrack.Run) -> None:
    run.client.execute("DROP TABLE metrics")
    findings = found_by(run.client)
    assert results(findings) == {"tables": "problem"}
    assert findings["dead runs"].result == "ok"
    assert not {"metric columns", "metrics.extras"} & findings.keys()


def test_columns_of_others_are_noted(client: sqltrack.Client) -> None:
    client.execute("ALTER TABLE runs ADD COLUMN colour TEXT")
    client.execute("ALTER TABLE metrics ADD COLUMN loss FLOAT")
    findings = found_by(client)
    assert results(findings) == {"tables": "note"}
    assert findings["tables"].found.endswith(": runs.colour")


def test_tables_without_a_record_of_scripts_are_noted(client: sqltrack.Client) -> None:
    client.execute("DROP TABLE setup_scripts")
    assert results(found_by(client)) == {"setup": "note"}


def test_a_record_without_the_base_script_is_a_problem(client: sqltrack.Client) -> None:
    client.execute("DELETE FROM setup_scripts")
    assert results(found_by(client)) == {"setup": "problem"}


def test_an_empty_database_is_not_set_up(empty_config: dict[str, Any]) -> None:
    if "dbpath" in empty_config:
        Path(empty_config["dbpath"]).touch()
    client = sqltrack.Client(empty_config)
    findings = found_by(client)
    assert results(findings) == {"setup": "problem"}
    assert not {"tables", "indexes", "sizes", "metric columns", "dead runs", "privileges"} & findings.keys()
    assert findings["setup"].advice == "set it up with: sqltrack setup"
    setup(client)
    assert results(found_by(client)) == {}


def test_metrics_in_extras_are_named_with_their_rows(run: sqltrack.Run) -> None:
    for step in range(3):
        run.add_metrics({"run_id": 1.0}, step=step)
    run.add_metrics({"extras": 2.0, "loss": 1.0}, step=2)
    findings = found_by(run.client)
    assert results(findings) == {"metrics.extras": "note"}
    assert findings["metrics.extras"].found.endswith("rows by run and step: run_id (3), extras (1)")
    assert findings["metrics.extras"].advice == "move what fits into columns: sqltrack tidy"
    assert findings["metric columns"].found.startswith("1 metric is a column;")


def test_only_the_newest_rows_are_looked_at_for_extras(run: sqltrack.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_READ_ROWS", 2)
    run.add_metrics({"run_id": 1.0}, step=0)
    for step in range(1, 3):
        run.add_metrics({"loss": 1.0}, step=step)
    finding = found_by(run.client)["metrics.extras"]
    assert (finding.result, finding.found) == ("ok", "no metrics are in there, in the last 2 rows by run and step")


def test_dead_runs_are_counted_and_the_first_are_named(experiment: sqltrack.Experiment) -> None:
    client = experiment.client
    runs = [experiment.get_run().start() for _ in range(14)]
    day_before = datetime.now(timezone.utc) - timedelta(hours=30)
    ids = [run.id for run in runs]
    for run_id in ids[:12]:
        client.execute("UPDATE runs SET time_updated = %s WHERE id = %s", (day_before, run_id))
    client.execute("UPDATE runs SET status = 'COMPLETED' WHERE id = %s", (ids[0],))
    client.execute("UPDATE runs SET time_updated = NULL, time_started = %s WHERE id = %s", (day_before, ids[1]))
    finding = found_by(client)["dead runs"]
    assert finding.result == "note"
    shown = ", ".join(str(run_id) for run_id in ids[1:11])
    assert finding.found == f"11 runs are RUNNING without news for 24 hours: {shown}, and 1 more"
    assert finding.advice is not None
    assert finding.advice.endswith("sqltrack reap")
    assert found_by(client, stale_after=31)["dead runs"].result == "ok"
    assert found_by(client, stale_after=0)["dead runs"].found.startswith("13 runs are RUNNING without news for 0 hours")


def test_a_limit_of_age_must_not_be_negative(client: sqltrack.Client) -> None:
    for hours in (-1, float("nan")):
        with pytest.raises(ValueError, match="stale_after must be a number of hours that is not negative, got"):
            examine(client, stale_after=hours)


def test_the_limit_of_columns_is_watched(run: sqltrack.Run, engine_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = importlib.import_module(f"sqltrack.engines.{engine_name}")
    run.add_metrics({"a": 1.0, "b": 2.0})
    for limit, result in ((100, "ok"), (6, "problem"), (5, "problem")):
        monkeypatch.setattr(engine, "_MAX_COLUMNS", limit)
        finding = found_by(run.client)["metric columns"]
        assert (finding.result, finding.found) == (
            result,
            f"2 metrics are columns; 5 of {limit} possible columns are taken",
        )
    run.add_metrics({f"more {number}": 1.0 for number in range(12)})
    monkeypatch.setattr(engine, "_MAX_COLUMNS", 20)
    assert results(found_by(run.client)) == {"metric columns": "note"}


def test_large_tables_are_not_counted_to_the_end(run: sqltrack.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_COUNTED_ROWS", 3)
    for step in range(5):
        run.add_metrics({"loss": 1.0}, step=step)
    assert "more than 3 rows of metrics" in found_by(run.client)["sizes"].found
    run.client.execute("ANALYZE")
    with run.client as connection:
        estimate = run.client.engine.row_estimate(connection, "metrics")
    assert estimate in (None, 5)
    shown = "more than 3" if estimate is None else "about 5"
    assert f"{shown} rows of metrics" in found_by(run.client)["sizes"].found


def test_a_slow_connection_is_noted(client: sqltrack.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_SLOW", 0.0)
    assert results(found_by(client)) == {"connection": "note"}


def test_a_check_that_fails_does_not_stop_the_others(client: sqltrack.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(connection: Any) -> None:
        client.engine.execute_within(connection, 1.0, "SELECT nonsense FROM runs", ())

    checks = {"before": fail, **client.engine.health_checks(full=False), "after": fail}
    monkeypatch.setattr(client.engine, "health_checks", lambda full: checks)
    findings = {finding.check: finding for finding in examine(client)}
    assert results(findings) == {"before": "problem", "after": "problem"}
    assert findings["before"].found.startswith("cannot be checked: ")
    assert "nonsense" in findings["before"].found


def test_a_check_that_the_machine_refuses_does_not_stop_the_others(
    client: sqltrack.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(connection: Any) -> None:
        raise PermissionError(13, "Permission denied", "/somewhere")

    checks = {**client.engine.health_checks(full=False), "machine": fail}
    monkeypatch.setattr(client.engine, "health_checks", lambda full: checks)
    findings = {finding.check: finding for finding in examine(client)}
    assert results(findings) == {"machine": "problem"}
    assert findings["machine"].found == "cannot be checked: [Errno 13] Permission denied: '/somewhere'"


def test_nothing_is_changed(run: sqltrack.Run, config: dict[str, Any]) -> None:
    run.start()
    tables = ("experiments", "runs", "metrics", "setup_scripts")
    before = [run.client.execute(f"SELECT * FROM {table}").fetchall() for table in tables]
    examine(run.client, full=True)
    assert [run.client.execute(f"SELECT * FROM {table}").fetchall() for table in tables] == before


def test_the_size_of_a_table_is_told_where_it_is_known(run: sqltrack.Run, engine_name: str) -> None:
    engine = run.client.engine
    with run.client as connection:
        sizes = [engine.table_bytes(connection, table) for table in ("runs", "metrics")]
        assert engine.index_names(connection, "runs") >= {"runs_experiment_id"}
        assert engine.index_names(connection, "nothing") == set()
    if engine_name == "sqlite":
        assert sizes == [None, None]
    else:
        assert all(size > 0 and size % 8192 == 0 for size in sizes)


def test_sizes_are_shown_in_the_unit_that_suits_them() -> None:
    assert [show_bytes(size) for size in (0, 999, 4096, 1.5e6, 2e9, 3e12, 5e15)] == [
        *("0 bytes", "999 bytes", "4.1 kB", "1.5 MB", "2 GB", "3 TB", "5,000 TB"),
    ]


# -- SQLite -------------------------------------------------------------------------------------------------------


@pytest.fixture
def sqlite_client(tmp_path: Path) -> sqltrack.Client:
    client = sqltrack.Client(engine="sqlite", dbpath=str(tmp_path / "sqltrack.db"))
    setup(client)
    return client


def test_a_file_that_does_not_exist_is_not_created(tmp_path: Path) -> None:
    path = tmp_path / "no.db"
    findings = found_by(sqltrack.Client(engine="sqlite", dbpath=str(path)))
    assert list(findings) == [*INSTALLATION, "connection"]
    assert findings["connection"].found == f"SQLite database {str(path)!r} does not exist"
    assert not path.exists()


def test_a_file_that_is_no_database_is_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "text.db"
    path.write_text("no database, " * 100)
    finding = found_by(sqltrack.Client(engine="sqlite", dbpath=str(path)))["connection"]
    assert finding == ("connection", "problem", f"file {str(path)!r} is no SQLite database", finding.advice)
    assert finding.advice == "choose another file with dbpath"


def test_a_shared_file_system_is_no_place_for_a_write_ahead_log(
    sqlite_client: sqltrack.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (sqlite_health, sqlite_engine):
        monkeypatch.setattr(module, "is_network_file_system", lambda path: True)
    assert results(found_by(sqlite_client)) == {"file": "note", "journal": "problem"}
    with contextlib.closing(sqlite_client.engine.connect()) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    findings = found_by(sqlite_client)
    assert results(findings) == {"file": "note"}
    assert findings["journal"].found == "journal_mode = delete"


def test_the_slower_journal_is_noted(sqlite_client: sqltrack.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    with contextlib.closing(sqlite3.connect(sqlite_client.config["dbpath"])) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    # As if others used the file, so that sqltrack cannot switch.
    monkeypatch.setattr(sqlite_engine.SQLiteEngine, "_journal_mode", lambda self, connection: "delete")
    assert results(found_by(sqlite_client)) == {"journal": "note"}


def test_a_disk_without_room_is_a_problem(sqlite_client: sqltrack.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    set_free_space(monkeypatch, 10**6)
    finding = found_by(sqlite_client)["disk"]
    assert (finding.result, finding.found) == ("problem", "1 MB free")
    set_free_space(monkeypatch, 5 * 10**8)
    assert results(found_by(sqlite_client)) == {"disk": "note"}


def test_somebody_who_writes_for_ever_is_a_problem(
    sqlite_client: sqltrack.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_health, "PATIENCE", 0.2)
    with contextlib.closing(sqlite3.connect(sqlite_client.config["dbpath"])) as writer:
        writer.execute("BEGIN IMMEDIATE")
        findings = found_by(sqlite_client)
    assert results(findings) == {"writable": "problem"}
    assert findings["writable"].found == "another process has been writing for 0.2 s"


EXAMINE_AS_NOBODY = """
import os, sys
import sqltrack, sqltrack.engines.sqlite._health
from sqltrack.commands.doctor import examine, examine_installation
# Loads what that needs, which may lie in a folder of root's.
examine_installation()
if os.getuid() == 0:
    os.setuid(65534)
client = sqltrack.Client(engine="sqlite", dbpath=sys.argv[1])
for finding in examine(client):
    if finding.result == "problem":
        print(f"{finding.check}: {finding.found}")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="this platform has other permissions")
def test_what_may_only_be_read_is_a_problem() -> None:
    def examine_as_nobody() -> list[str]:
        command = [sys.executable, "-c", EXAMINE_AS_NOBODY, str(path)]
        return subprocess.run(command, capture_output=True, text=True, check=True, cwd="/").stdout.splitlines()

    with tempfile.TemporaryDirectory(dir=_find_temporary_folder(_server_account())) as folder:
        path = Path(folder, "sqltrack.db")
        setup(sqltrack.Client(engine="sqlite", dbpath=str(path)))
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")
        Path(folder).chmod(0o777)
        path.chmod(0o444)
        assert examine_as_nobody() == ["writable: the file can only be read, runs cannot be tracked"]
        path.chmod(0o666)
        assert examine_as_nobody() == []
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")
        Path(folder).chmod(0o555)
        (problem,) = examine_as_nobody()
        assert problem.startswith("writable: nothing can be created in the folder ")
        Path(folder).chmod(0o700)


def test_a_damaged_file_is_found_by_a_full_examination(sqlite_client: sqltrack.Client) -> None:
    path = Path(sqlite_client.config["dbpath"])
    run = sqltrack.Experiment(sqlite_client, name="experiment").get_run()
    with sqlite_client:
        for step in range(2_000):
            run.add_metrics({"loss": step * 0.1}, step=step)
    data = bytearray(path.read_bytes())
    for page in range(len(data) // 4096 - 4, len(data) // 4096):
        data[page * 4096 : (page + 1) * 4096] = b"\x7f" * 4096
    path.write_bytes(data)
    findings = {finding.check: finding for finding in examine(sqlite_client, full=True)}
    assert findings["integrity"].result == "problem"
    assert findings["integrity"].found.startswith("quick_check finds the file damaged: ")
    assert "integrity" not in {finding.check for finding in examine(sqlite_client)}


def test_rows_that_belong_to_nothing_are_found_by_a_full_examination(sqlite_client: sqltrack.Client) -> None:
    with contextlib.closing(sqlite3.connect(sqlite_client.config["dbpath"])) as connection, connection:
        connection.execute("INSERT INTO metrics (run_id) VALUES (99)")
    findings = found_by(sqlite_client, full=True)
    assert results(findings) == {"references": "problem"}
    assert findings["references"].found == "rows that belong to nothing: 1 of metrics"


def test_ctrl_c_ends_the_check_of_integrity(sqlite_client: sqltrack.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_health, "_STEPS", 10)
    with contextlib.closing(sqlite_client.engine.connect()) as connection:
        set_handler = connection.set_progress_handler

        class Interrupted:
            """Presses Ctrl-C when SQLite is about to look."""

            def __getattr__(self, name: str) -> Any:
                return getattr(connection, name)

            def set_progress_handler(self, handler: Any, steps: int) -> None:
                set_handler(handler and (lambda: signal.raise_signal(signal.SIGINT) or handler()), steps)

        # Where the tests run in the background, nobody would heed it.
        handler = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            with pytest.raises(KeyboardInterrupt):
                sqlite_health._integrity(Interrupted())  # type: ignore[arg-type]
        finally:
            signal.signal(signal.SIGINT, handler)
        assert sqlite_health._integrity(connection).result == "ok"


# -- PostgreSQL ---------------------------------------------------------------------------------------------------


@pytest.fixture
def postgres_client(create_database: Callable[..., dict[str, Any]], postgres_template: str) -> sqltrack.Client:
    return sqltrack.Client(create_database(postgres_template))


@pytest.fixture
def stranger(postgres_client: sqltrack.Client) -> Iterator[sqltrack.Client]:
    """Client of a user who may read the tables, and nothing else."""
    config = postgres_client.config
    role = f"{config['dbname']}_stranger"
    with connect(config) as administrator:
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
    assert list(findings) == [*INSTALLATION, "connection"]
    assert findings["connection"].result == "problem"
    assert "cannot connect to PostgreSQL database 'host=127.0.0.1 port=1" in findings["connection"].found
    assert "hush" not in repr(findings)
    assert findings["connection"].advice is not None


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


def test_what_may_not_be_read_is_a_problem_of_its_own(
    stranger: sqltrack.Client, postgres_client: sqltrack.Client
) -> None:
    postgres_client.execute(f'REVOKE SELECT ON runs FROM "{stranger.config["user"]}"')
    findings = {finding.check: finding for finding in examine(stranger)}
    assert findings["dead runs"].found.startswith("cannot be checked: ")
    assert findings["metric columns"].result == "ok"
    assert "no SELECT on runs" in findings["privileges"].found


def test_idle_transactions_that_lock_metrics_are_noted(
    postgres_client: sqltrack.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connect(postgres_client.config) as other:
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
    for module in ("sqltrack.commands.doctor", "sqltrack.engines.postgres", "sqltrack.engines.postgres._health"):
        monkeypatch.setattr(f"{module}.PATIENCE", 0.1)
    with connect(postgres_client.config) as other, other.transaction():
        other.execute("LOCK TABLE runs IN ACCESS EXCLUSIVE MODE")
        findings = {finding.check: finding for finding in examine(postgres_client)}
    assert results(findings) == {"sizes": "problem", "dead runs": "problem"}
    assert "somebody holds a lock for too long" in findings["dead runs"].found


def test_metrics_that_wait_are_noted(postgres_client: sqltrack.Client) -> None:
    run = sqltrack.Experiment(postgres_client, name="experiment").get_run()
    query = "INSERT INTO metrics_pending (run_id, step, progress, extras) VALUES (%s, 0, 0, %s)"
    postgres_client.execute(query, (run.id, Jsonb({"loss": 1.0})))
    findings = found_by(postgres_client)
    assert results(findings) == {"metrics_pending": "note"}
    assert findings["metrics_pending"].found.startswith("1 row holds metrics that wait")


def test_columns_that_were_dropped_count(postgres_client: sqltrack.Client) -> None:
    postgres_client.execute("ALTER TABLE metrics ADD COLUMN loss FLOAT, ADD COLUMN other FLOAT")
    postgres_client.execute("ALTER TABLE metrics DROP COLUMN other")
    expected = "1 metric is a column, 1 more were dropped, which count; 5 of 1,600 possible columns are taken"
    assert found_by(postgres_client)["metric columns"].found == expected


def test_an_index_that_is_invalid_counts_as_missing(postgres_client: sqltrack.Client) -> None:
    postgres_client.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'runs_tags'::regclass")
    finding = found_by(postgres_client)["indexes"]
    assert finding.result == "problem"
    assert finding.advice is not None
    postgres_client.executescript(finding.advice.removeprefix("execute: "))
    assert results(found_by(postgres_client)) == {}


def test_a_schema_that_does_not_exist_is_a_problem(postgres_client: sqltrack.Client) -> None:
    client = sqltrack.Client(postgres_client.config, schema="no such")
    findings = found_by(client)
    assert results(findings) == {"setup": "problem", "schema": "problem"}
    assert findings["schema"].found.startswith("schema 'no such' does not exist")
    setup(client)
    assert results(found_by(client)) == {}


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


def test_a_pooler_that_refuses_options_is_noted(postgres_client: sqltrack.Client) -> None:
    with connect(postgres_client.config) as other:
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


# -- the program --------------------------------------------------------------------------------------------------


def test_the_program_shows_a_line_for_each_finding(
    run: sqltrack.Run, options: list[str], program: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    done = program("doctor", *options)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) == len(examine(run.client)) + 1
    assert lines[0].startswith("✔  python ")
    assert "\x1b" not in done.stdout


def test_problems_are_marked_and_make_the_program_fail(
    client: sqltrack.Client, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", *options]) == 0
    assert capsys.readouterr().out.endswith("no problems\n")
    client.execute("DROP INDEX runs_experiment_id")
    client.execute("ALTER TABLE runs ADD COLUMN colour TEXT")
    assert main(["doctor", *options]) == 1
    out, err = capsys.readouterr()
    assert err == ""
    (index,) = (line for line in out.splitlines() if " indexes " in line)
    assert index.startswith("✘  indexes ")
    assert "   → execute: " in out
    assert out.endswith("1 problem, 1 note\n")


def test_findings_can_be_had_as_json(
    client: sqltrack.Client, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    client.execute("DROP INDEX runs_experiment_id")
    assert main(["doctor", "--json", *options]) == 1
    findings = json.loads(capsys.readouterr().out)
    assert [finding["check"] for finding in findings] == [finding.check for finding in examine(client)]
    assert {finding["check"] for finding in findings if finding["result"] == "problem"} == {"indexes"}
    assert findings[0].keys() == {"check", "result", "found", "advice"}


def test_the_age_of_dead_runs_is_an_option(
    run: sqltrack.Run, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    run.start()
    assert main(["doctor", *options, "--stale-after", "0"]) == 0
    assert f"1 run is RUNNING without news for 0 hours: {run.id}" in capsys.readouterr().out


@pytest.mark.parametrize("hours", ["-1", "nan", "inf", "soon"])
def test_another_age_is_an_error_of_usage(hours: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as info:
        main(["doctor", f"--stale-after={hours}"])
    assert info.value.code == 2
    assert f"--stale-after: must be a number of hours from 0 to 1,000,000, got {hours!r}" in capsys.readouterr().err


def test_names_of_metrics_cannot_control_the_terminal(
    run: sqltrack.Run, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    run.add_metrics({"run_id": 1.0})
    run.client.execute("UPDATE metrics SET extras = %s", (Jsonb({"\x1b[31mred\r": 1.0}),))
    assert main(["doctor", *options]) == 0
    out = capsys.readouterr().out
    assert "\\x1b[31mred\\r (1)" in out
    assert "\x1b" not in out


def test_a_configuration_that_cannot_be_used_is_a_finding(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["doctor", "--engine", "nonsense", "--json"]) == 1
    findings = json.loads(capsys.readouterr().out)
    assert [finding["check"] for finding in findings] == [*INSTALLATION, "configuration"]
    assert findings[3]["found"] == "unknown engine 'nonsense', expected 'postgres' or 'sqlite'"
    # As if psycopg were not installed.
    monkeypatch.setitem(sys.modules, "psycopg", None)
    monkeypatch.delitem(sys.modules, "sqltrack.engines.postgres")
    assert main(["doctor", "--engine", "postgres"]) == 1
    assert "✘  configuration " in capsys.readouterr().out


def test_passwords_are_not_shown(
    postgres_client: sqltrack.Client, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SQLTRACK_DSN_PASSWORD", "hush")
    monkeypatch.setenv("PGPASSWORD", "hush")
    for more in ([], ["--port", "1"], ["--schema", "none"], ["--user", "nobody at all"]):
        main(["doctor", *connection(postgres_client.config), *more])
        out, err = capsys.readouterr()
        assert "hush" not in out + err


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="open files are listed in /proc")
def test_ctrl_c_ends_the_program_with_one_line(config: dict[str, Any], client: sqltrack.Client) -> None:
    with client:
        # Locks for which the doctor waits.
        client.execute("DROP INDEX runs_experiment_id")
        client.execute("ALTER TABLE setup_scripts RENAME TO others")
        command = [str(PROGRAM), "doctor", *connection(config)]
        with running(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            wait_until_it_waits(process.pid, config)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
        client.rollback()
    assert (process.returncode, out, err) == (130, "", "sqltrack: interrupted\n")


def test_a_reader_that_has_seen_enough_ends_the_program_quietly(config: dict[str, Any]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [str(PROGRAM), "doctor", *connection(config)]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")
