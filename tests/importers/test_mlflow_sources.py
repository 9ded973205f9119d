"""`sqltrack import mlflow`, from files, SQLite and PostgreSQL."""

from __future__ import annotations

import contextlib
import importlib.util
import math
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack.importers import ImportReport, SourceError, _spool, apply_import
from support.imports import (
    COMMON_METRICS,
    DATA,
    check_import,
    counts,
    extras_of,
    links_of,
    metrics_of,
)

MLFLOW_NEEDS = ("mlflow", "sqlalchemy", "alembic", "yaml")


def check_mlflow(client: sqltrack.Client, report: ImportReport, first: int = 1) -> None:
    """Check the runs of a source of MLflow, whose first run has this id."""
    assert counts(report) == (3, 0, 0, 0)
    assert [(left.what, left.count) for left in report.skipped] == [("deleted runs", 1)]
    query = f"SELECT status, comment, tags FROM runs WHERE id >= {first} ORDER BY id"
    assert client.execute(query).fetchall() == [
        ("COMPLETED", "a sweep", {"paper": True, "team=vision": True}),
        ("COMPLETED", "child", {}),
        ("FAILED", "broken", {}),
    ]
    (args,) = client.execute(f"SELECT args FROM runs WHERE id = {first}").fetchone()
    assert args == {
        "lr": 0.1,
        "layers": [4, 5],
        "name": "resnet",
        "commit": "12345e7",
        "augment": True,
        "no": None,
        "long": "x" * 6000,
    }
    links = client.execute(f"SELECT * FROM run_links WHERE from_id >= {first}").fetchall()
    assert links == [(first + 1, "child of", first)]
    assert metrics_of(client, first, "train/loss", "val acc", "odd", "again") == COMMON_METRICS
    assert "artifacts" in extras_of(client, first)["mlflow"]["artifact_uri"]


def test_runs_of_mlflow_arrive_from_its_database_and_its_folder(client: sqltrack.Client, mlflow_file: Path) -> None:
    pytest.importorskip("yaml")
    check_mlflow(client, check_import(client, None, f"sqlite:///{mlflow_file}"))
    check_mlflow(client, check_import(client, None, DATA / "mlruns"), first=4)


@pytest.mark.engines("sqlite", reason="the tool takes long to create its own database")
def test_runs_that_mlflow_has_just_written_arrive(client: sqltrack.Client, tmp_path: Path) -> None:
    for package in MLFLOW_NEEDS:
        if importlib.util.find_spec(package) is None:
            if os.environ.get("CI"):
                pytest.fail(f"{package!r} is not installed")
            pytest.skip(f"{package!r} is not installed")
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ALLOW_FILE_STORE": "true"}
    command = [sys.executable, str(DATA / "write_mlflow.py")]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    check_mlflow(client, check_import(client, None, tmp_path / "mlflow.db"))
    check_mlflow(client, check_import(client, None, tmp_path / "mlruns"), first=4)


@pytest.mark.engines("sqlite", reason="about reading the source")
def test_databases_of_old_versions_of_mlflow(client: sqltrack.Client, mlflow_file: Path) -> None:
    connection = sqlite3.connect(mlflow_file)
    connection.executescript("""
        CREATE TABLE old AS SELECT key, value, timestamp, run_uuid FROM metrics WHERE key = 'again';
        DROP TABLE metrics;
        ALTER TABLE old RENAME TO metrics;
    """)
    connection.close()
    assert counts(check_import(client, "mlflow", mlflow_file)) == (3, 0, 0, 0)
    assert metrics_of(client, 1, "again") == [(0, 0.0, 1.0), (0, 1.0, 2.0)]


def test_lines_of_mlruns_that_are_damaged_are_named(client: sqltrack.Client, mlruns: Path) -> None:
    (path,) = mlruns.rglob("metrics/odd")
    path.write_bytes(b"1000 nan 1\nxyz\n2000 inf 2\n3000 0.12")
    (meta,) = path.parents[1].parent.glob("*/metrics/step")
    (meta.parents[1] / "meta.yaml").write_text("start_time: [1")
    report = apply_import(client, "mlflow", str(mlruns))
    assert counts(report) == (2, 0, 0, 1)
    broken, run, _ = report.runs
    assert broken.name == str(meta.parents[1] / "meta.yaml")
    assert run.problems == [f"{str(path)!r}, offset 11: expected time, value and step, got b'xyz\\n'"]
    assert run.notes == [f"{str(path)!r}, offset 26: the last line is incomplete"]
    assert [row for row in metrics_of(client, 1, "odd") if row[2]] == [(1, 0.0, "NaN"), (2, 0.0, math.inf)]


@pytest.mark.engines("sqlite", reason="about reading the source")
def test_runs_of_deleted_experiments_of_mlruns_are_counted(client: sqltrack.Client, mlruns: Path) -> None:
    (path,) = mlruns.rglob("metrics/step")
    (mlruns / ".trash").mkdir()
    path.parents[2].rename(mlruns / ".trash" / "1")
    report = apply_import(client, "mlflow", str(mlruns))
    assert (report.runs, [(left.what, left.count) for left in report.skipped]) == ([], [("deleted runs", 4)])


def test_yaml_of_mlruns_makes_no_objects(client: sqltrack.Client, mlruns: Path, tmp_path: Path) -> None:
    (path,) = mlruns.rglob("metrics/step")
    (path.parents[1] / "meta.yaml").write_text(f"!!python/object/apply:os.mkdir ['{tmp_path / 'made'}']")
    assert counts(apply_import(client, "mlflow", str(mlruns))) == (2, 0, 0, 1)
    assert not (tmp_path / "made").exists()


def test_links_to_parents_are_added_after_an_interruption_and_once(
    client: sqltrack.Client, mlflow_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sqltrack.importers._target import Target

    def stop(self: Target) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Target, "link_to_parents", stop)
        with pytest.raises(KeyboardInterrupt):
            apply_import(client, "mlflow", str(mlflow_file))
    assert links_of(client) == []
    assert counts(apply_import(client, "mlflow", str(mlflow_file))) == (0, 0, 3, 0)
    assert links_of(client) == [("child", "child of", "a sweep")]
    # A link that was deleted here stays deleted.
    client.execute("DELETE FROM run_links")
    apply_import(client, "mlflow", str(mlflow_file))
    assert links_of(client) == []
    # A parent that was deleted here gets its children back.
    client.execute("DELETE FROM metrics WHERE run_id = 1")
    client.execute("DELETE FROM runs WHERE id = 1")
    check_import(client, "mlflow", mlflow_file)
    assert links_of(client) == [("child", "child of", "a sweep")]


def test_a_parent_that_is_imported_after_its_child_is_linked(client: sqltrack.Client, mlflow_file: Path) -> None:
    def set_stage(stage: str) -> None:
        with contextlib.closing(sqlite3.connect(mlflow_file)) as connection:
            connection.execute("UPDATE runs SET lifecycle_stage = ? WHERE name = 'parent'", (stage,))
            connection.commit()

    set_stage("deleted")
    apply_import(client, "mlflow", str(mlflow_file))
    assert links_of(client) == []
    set_stage("active")
    assert counts(check_import(client, "mlflow", mlflow_file)) == (1, 0, 2, 0)
    assert links_of(client) == [("child", "child of", "a sweep")]


def test_runs_before_the_damage_of_a_database_are_imported(
    client: sqltrack.Client, mlflow_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A query may fail only for the damaged pages of one run, or while the runs are listed."""
    from sqltrack.importers import _mlflow_database

    find = _mlflow_database._found_run

    def fail_for(name: str, error: Exception) -> None:
        def found_run(database: Any, row: Any, columns: Any) -> Any:
            if row[2] == name:
                raise error
            return find(database, row, columns)

        monkeypatch.setattr(_mlflow_database, "_found_run", found_run)

    fail_for("child", sqlite3.DatabaseError("malformed"))
    report = apply_import(client, "mlflow", str(mlflow_file))
    assert counts(report) == (1, 0, 0, 1)
    assert (report.runs[-1].name, report.runs[-1].problems) == (str(mlflow_file), ["malformed"])
    fail_for("child", SourceError("malformed"))
    assert counts(apply_import(client, "mlflow", str(mlflow_file))) == (1, 0, 1, 1)


def test_a_tag_that_was_changed_after_the_end_of_a_run_arrives(client: sqltrack.Client, mlflow_file: Path) -> None:
    apply_import(client, "mlflow", str(mlflow_file))
    with contextlib.closing(sqlite3.connect(mlflow_file)) as connection:
        connection.execute("UPDATE tags SET value = 'speech' WHERE value = 'vision'")
        connection.commit()
    assert counts(check_import(client, "mlflow", mlflow_file)) == (0, 1, 2, 0)
    assert extras_of(client, 1)["mlflow"]["tags"]["team"] == "speech"


# The columns of MLflow's tables that are read, in PostgreSQL.
MLFLOW_TABLES = {
    "experiments": "experiment_id INTEGER, name TEXT, lifecycle_stage TEXT",
    "runs": "run_uuid TEXT, name TEXT, experiment_id INTEGER, status TEXT, start_time BIGINT, end_time BIGINT, "
    "lifecycle_stage TEXT, artifact_uri TEXT",
    "metrics": 'key TEXT, value DOUBLE PRECISION, "timestamp" BIGINT, run_uuid TEXT, step BIGINT, is_nan BOOLEAN',
    "latest_metrics": "key TEXT, run_uuid TEXT",
    "params": "key TEXT, value TEXT, run_uuid TEXT",
    "tags": "key TEXT, value TEXT, run_uuid TEXT",
}


@pytest.fixture
def mlflow_server(create_database: Callable[..., dict[str, Any]], mlflow_file: Path) -> dict[str, Any]:
    """The connection of a PostgreSQL database with the content of the file."""
    import psycopg

    config = {name: value for name, value in create_database().items() if name != "engine"}
    with contextlib.closing(sqlite3.connect(mlflow_file)) as file, psycopg.connect(**config) as server:
        for table, definition in MLFLOW_TABLES.items():
            server.execute(f"CREATE TABLE {table} ({definition})")
            names = [part.split()[0] for part in definition.split(", ")]
            values = ", ".join("%s::int::boolean" if name == "is_nan" else "%s" for name in names)
            for row in file.execute(f"SELECT {', '.join(names)} FROM {table}").fetchall():
                server.execute(f"INSERT INTO {table} VALUES ({values})", row)
    return config


def address_of(config: dict[str, Any]) -> str:
    """Return the address of a PostgreSQL database, as MLflow writes it."""
    user, host = config.get("user", ""), config.get("host", "")
    return f"postgresql+psycopg2://{user}@/{config['dbname']}?host={host}&port={config.get('port', 5432)}"


@pytest.mark.engines("postgres", reason="reads a database of a server")
def test_runs_of_mlflow_arrive_from_postgresql(client: sqltrack.Client, mlflow_server: dict[str, Any]) -> None:
    check_mlflow(client, check_import(client, None, address_of(mlflow_server)))


@pytest.mark.engines("postgres", reason="reads a database of a server")
def test_an_import_that_lost_the_server_of_the_source_is_finished_by_the_next(
    client: sqltrack.Client, mlflow_server: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import psycopg

    sql = """
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()
    """
    ended: list[Any] = []

    def end_connections(_: int) -> None:
        if not ended:
            with psycopg.connect(**mlflow_server) as server:
                ended.extend(server.execute(sql).fetchall())

    # The first run is read in several parts.
    monkeypatch.setattr(_spool, "_IN_MEMORY", 2)
    report = apply_import(client, "mlflow", address_of(mlflow_server), progress=end_connections)
    assert ended == [(True,)]
    assert report.has_problems
    assert report.count("new") < 3
    check_mlflow(client, apply_import(client, "mlflow", address_of(mlflow_server)))
