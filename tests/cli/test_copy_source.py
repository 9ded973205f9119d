"""`sqltrack copy` only reads its source, which may be read-only, and does not block jobs that write to it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack.commands.copy import copy
from support.copies import by_origin, fill
from support.unprivileged import UNPRIVILEGED, needs_permissions

from .conftest import Create


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_the_file_of_the_source_is_not_touched(create: Create, journal: str) -> None:
    source, target = create("sqlite"), create("sqlite")
    fill(source)
    path = Path(source.config["dbpath"])
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA journal_mode = {journal}")
    content, changed = path.read_bytes(), path.stat().st_mtime_ns
    copy(source, target)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == (content, changed)
    assert by_origin(target) == by_origin(source)


def test_a_job_can_write_to_the_source_while_rows_are_stored(create: Create) -> None:
    source, target = create("sqlite"), create("sqlite")
    run = sqltrack.Experiment(source, name="e").get_run().add_metrics({"loss": 1.0}, step=1)
    path = source.config["dbpath"]
    with source:
        """Close the connection, which lingers, as the journal cannot be changed beside it."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    store = target.metrics.add_copies

    def storing(*arguments: Any) -> None:
        with contextlib.closing(sqlite3.connect(path, timeout=0)) as connection:
            connection.execute("UPDATE metrics SET loss = 2.0")
            connection.commit()
        store(*arguments)

    target.metrics.add_copies = storing  # type: ignore[method-assign]
    copy(source, target)
    assert target.execute("SELECT loss FROM metrics").fetchall() == [(1.0,)]
    assert source.execute("SELECT loss FROM metrics WHERE run_id = %s", (run.id,)).fetchall() == [(2.0,)]


READ = """
import sys
import sqltrack
from sqltrack.engines.admin import admin_of

engine = sqltrack.Client(engine="sqlite", dbpath=sys.argv[1]).engine
admin = admin_of(engine, admin_of(engine).connect_read_only())
with admin.snapshot():
    print(admin.connection.execute("SELECT COUNT(*) FROM runs").fetchone()[0])
admin.connection.close()
"""


@needs_permissions
@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_a_file_in_a_folder_that_cannot_be_written_to_is_copied(create: Create, tmp_path: Path, journal: str) -> None:
    source, target = create("sqlite"), create("sqlite")
    fill(source, runs=2, rows=3)
    path = tmp_path / "folder" / "source.db"
    path.parent.mkdir()
    path.write_bytes(Path(source.config["dbpath"]).read_bytes())
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA journal_mode = {journal}")
    path.chmod(0o444)
    path.parent.chmod(0o555)
    command = [sys.executable, "-c", UNPRIVILEGED + READ, str(path)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "2\n"
    copy(sqltrack.Client({"engine": "sqlite", "dbpath": str(path)}), target)
    path.parent.chmod(0o755)
    assert by_origin(target) == by_origin(source)


def test_a_user_who_may_only_read_can_copy(create: Create, postgres_server: Any) -> None:
    import psycopg

    source, middle, target = create("postgres"), create("sqlite"), create("sqlite")
    fill(middle)
    copy(middle, source)
    name = f"reader_{os.getpid()}"
    with psycopg.connect(postgres_server.dsn, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN")
    try:
        source.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}")
        copy(sqltrack.Client({**source.config, "user": name}), target)
        assert by_origin(target) == by_origin(middle)
    finally:
        source.execute(f"DROP OWNED BY {name}")
        with psycopg.connect(postgres_server.dsn, autocommit=True) as connection:
            connection.execute(f"DROP ROLE {name}")
