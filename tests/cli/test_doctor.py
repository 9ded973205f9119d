"""The doctor finds problems on any engine, suggests what to do, and continues after failed checks."""

from __future__ import annotations

import importlib
import sqlite3
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import psycopg
import pytest

import sqltrack
from sqltrack.commands import doctor, setup
from sqltrack.commands.doctor import examine, examine_installation
from sqltrack.engines.admin import admin_of
from sqltrack.engines.checks import Checks
from support.findings import INSTALLATION, found_by, results

pytestmark = pytest.mark.usefixtures("plenty_of_room")


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


@pytest.mark.parametrize(("version", "result"), [("0.1.4", "problem"), ("0.2.0", "ok"), ("0.10.0", "ok")])
def test_the_earlier_project_of_the_same_name_is_a_problem(
    version: str, result: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Uninstalling it would remove files of ours."""
    monkeypatch.setattr(doctor, "version", lambda name: version if name == "sqltrack" else "0.2.0")
    finding = examine_installation()[1]
    assert finding.result == result
    if result == "problem":
        assert finding.advice is not None
        assert finding.advice.startswith(
            "pip uninstall sqltrack, then: pip install --force-reinstall --no-deps sqltrack-core"
        )


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
    assert findings["metrics.extras"].advice == "move them to columns, where possible: sqltrack tidy"
    assert findings["metric columns"].found.startswith("1 metric is a column;")


def test_only_the_newest_rows_are_looked_at_for_extras(run: sqltrack.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_READ_ROWS", 2)
    run.add_metrics({"run_id": 1.0}, step=0)
    for step in range(1, 3):
        run.add_metrics({"loss": 1.0}, step=step)
    finding = found_by(run.client)["metrics.extras"]
    assert (finding.result, finding.found) == ("ok", "no metrics in the last 2 rows by run and step")


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
    assert finding.found == f"11 runs are RUNNING without an update for 24 hours: {shown}, and 1 more"
    assert finding.advice is not None
    assert finding.advice.endswith("sqltrack reap")
    assert found_by(client, stale_after=31)["dead runs"].result == "ok"
    assert found_by(client, stale_after=0)["dead runs"].found.startswith(
        "13 runs are RUNNING without an update for 0 hours"
    )


def test_a_limit_of_age_must_not_be_negative(client: sqltrack.Client) -> None:
    for hours in (-1, float("nan")):
        with pytest.raises(ValueError, match="stale_after must be a number of hours that is not negative, got"):
            examine(client, stale_after=hours)


def test_the_limit_of_columns_is_watched(run: sqltrack.Run, engine_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = importlib.import_module(f"sqltrack.engines.{engine_name}.admin")
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


def test_a_wide_table_is_noted(run: sqltrack.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """From 300 metrics on, and not with 299."""
    assert doctor._WIDE == 300
    monkeypatch.setattr(doctor, "_WIDE", 3)
    run.add_metrics({"a": 1.0, "b": 2.0})
    assert results(found_by(run.client)) == {}
    run.add_metrics({"c": 1.0})
    finding = found_by(run.client)["metric columns"]
    assert finding.result == "note"
    assert finding.found.startswith("3 metrics are columns")
    assert finding.advice is not None
    assert "its own schema" in finding.advice


def test_an_index_for_best_values_is_suggested_for_a_large_table(
    run: sqltrack.Run, engine_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The suggested statement works, and afterwards there is no finding, as for a small table."""
    monkeypatch.setattr(importlib.import_module(f"sqltrack.engines.{engine_name}._checks"), "LARGE_ROWS", 4)
    client = run.client
    run.add_metrics_many([{"step": step, "note": "a", 'val "top1" %': 0.5} for step in range(3)])
    # An index without a metric does not help to find best values.
    client.executescript("CREATE INDEX by_step ON metrics (run_id, step); ANALYZE")
    assert "best values" not in found_by(client)
    run.add_metrics({"note": "a"}, step=3)
    client.execute("ANALYZE")
    finding = found_by(client)["best values"]
    assert finding.result == "note"
    assert finding.advice is not None
    client.executescript(finding.advice.partition("log: ")[2])
    assert "best values" not in found_by(client)


def test_large_tables_are_not_counted_to_the_end(run: sqltrack.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_COUNTED_ROWS", 3)
    for step in range(5):
        run.add_metrics({"loss": 1.0}, step=step)
    assert "more than 3 rows of metrics" in found_by(run.client)["sizes"].found
    run.client.execute("ANALYZE")
    with run.client as connection:
        estimate = admin_of(run.client.engine, connection).row_estimate("metrics")
    assert estimate in (None, 5)
    shown = "more than 3" if estimate is None else "about 5"
    assert f"{shown} rows of metrics" in found_by(run.client)["sizes"].found


def test_a_slow_connection_is_noted(client: sqltrack.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_SLOW", 0.0)
    assert results(found_by(client)) == {"connection": "note"}


def examine_also(client: sqltrack.Client, monkeypatch: pytest.MonkeyPatch, first: Checks, last: Checks) -> None:
    """Make further checks, before and after those of the database."""
    admin = type(admin_of(client.engine))
    own = admin.checks
    monkeypatch.setattr(admin, "checks", lambda self, *, full: {**first, **own(self, full=full), **last})


def test_a_check_that_fails_does_not_stop_the_others(client: sqltrack.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        with client as connection:
            connection.execute("SELECT nonsense FROM runs")

    examine_also(client, monkeypatch, {"before": fail}, {"after": fail})
    findings = {finding.check: finding for finding in examine(client)}
    assert results(findings) == {"before": "problem", "after": "problem"}
    assert findings["before"].found.startswith("cannot be checked: ")
    assert "nonsense" in findings["before"].found


def test_a_check_that_the_machine_refuses_does_not_stop_the_others(
    client: sqltrack.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise PermissionError(13, "Permission denied", "/somewhere")

    examine_also(client, monkeypatch, {}, {"machine": fail})
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
    with run.client as connection:
        admin = admin_of(run.client.engine, connection)
        sizes = [admin.table_bytes(table) for table in ("runs", "metrics")]
        assert admin.index_names("runs") >= {"runs_experiment_id"}
        assert admin.index_names("nothing") == set()
    if engine_name == "sqlite":
        assert sizes == [None, None]
    else:
        assert all(size > 0 and size % 8192 == 0 for size in sizes)
