"""Read-only files and databases, and roles without privileges, are errors that say so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack import Experiment
from sqltrack.commands import setup
from sqltrack.errors import AccessDeniedError, ReadOnlyDatabaseError
from support.connections import close_lingering
from support.databases import connect_to_postgres
from support.processes import Script
from support.unprivileged import UNPRIVILEGED, needs_permissions

WRITE = """
from sqltrack.errors import ReadOnlyDatabaseError

experiment = Experiment(client, 1)
run = Run(client, run_id=1)
confirm(client.execute("SELECT loss FROM metrics").fetchone()[0])

def write_in_block():
    with client:
        client.execute("DELETE FROM metrics")

def track():
    with run.track():
        pass

for write in (
    lambda: run.add_metrics({"loss": 2.0}), lambda: run.add_metrics({"new": 2.0}), lambda: run.set_status("DONE"),
    lambda: Experiment(client, name="new"), lambda: experiment.get_run(), write_in_block, track,
):
    try:
        write()
    except ReadOnlyDatabaseError as error:
        confirm(error)
"""


@pytest.mark.no_outbox
@needs_permissions
def test_a_file_that_may_only_be_read_is_an_error_that_says_so(tmp_path: Path) -> None:
    path = tmp_path / "sqltrack.db"
    config = {"engine": "sqlite", "dbpath": str(path), "outbox": "off"}
    client = sqltrack.Client(config)
    setup(client)
    Experiment(client, name="experiment").get_run().add_metrics({"loss": 1.0})
    path.chmod(0o444)
    with Script(UNPRIVILEGED + WRITE, config) as script:
        lines = script.succeed()
    assert lines == ["1.0"] + [f"database {str(path)!r} is read-only, check its permissions"] * 7


@pytest.mark.no_outbox
@pytest.mark.not_pooled("it changes settings of new sessions, and a pooler reuses earlier ones")
def test_a_database_of_a_server_that_may_only_be_read_is_an_error_that_says_so(
    postgres_config: dict[str, Any],
) -> None:
    client = sqltrack.Client(postgres_config)
    setup(client)
    run = Experiment(client, name="experiment").get_run()
    run.add_metrics({"loss": 1.0})
    with connect_to_postgres(postgres_config) as connection:
        connection.execute(f'ALTER DATABASE "{postgres_config["dbname"]}" SET default_transaction_read_only = on')
    # The setting applies to new sessions.
    close_lingering(client)
    calls: list[Callable[[], Any]] = [
        lambda: run.add_metrics({"loss": 2.0}),
        lambda: run.add_metrics({"new": 2.0}),
        lambda: run.set_status("DONE"),
        lambda: client.execute("DELETE FROM metrics"),
        lambda: Experiment(client, name="other"),
        lambda: run.start(),
    ]
    for call in calls:
        with pytest.raises(ReadOnlyDatabaseError, match="is read-only"):
            call()
    assert client.execute("SELECT loss FROM metrics").fetchall() == [(1.0,)]


@pytest.mark.not_pooled("it changes settings of new sessions, and a pooler reuses earlier ones")
def test_a_role_without_privileges_is_an_error_that_says_so(postgres_config: dict[str, Any]) -> None:
    setup(sqltrack.Client(postgres_config))
    role = f"{postgres_config['dbname']}_stranger"
    client = sqltrack.Client(postgres_config, user=role)
    calls: list[Callable[[], Any]] = [
        lambda: client.execute("SELECT * FROM metrics"),
        lambda: Experiment(client, name="experiment"),
        lambda: sqltrack.run_add_metrics(client, 1, {"loss": 1.0}),
        lambda: sqltrack.run_set_status(client, 1, "RUNNING"),
        lambda: setup(client),
    ]
    with connect_to_postgres(postgres_config) as administrator:
        administrator.execute(f'CREATE ROLE "{role}" LOGIN')
        try:
            for call in calls:
                with pytest.raises(AccessDeniedError, match="refuses access"):
                    call()
            administrator.execute(f'REVOKE CONNECT ON DATABASE "{postgres_config["dbname"]}" FROM PUBLIC')
            with pytest.raises(AccessDeniedError, match="permission denied for database"):
                client.execute("SELECT 1")
        finally:
            administrator.execute(f'DROP ROLE "{role}"')
