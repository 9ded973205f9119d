"""SQLTrack runs on Citus with one schema for each lab: setup, tracking, commands, and a host that is down.

These tests need a running cluster, see CONTRIBUTING.md.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

import sqltrack
from sqltrack import Experiment, queries
from sqltrack.cli import main
from sqltrack.commands import setup
from sqltrack.commands.tidy import apply_tidy, plan_tidy

pytestmark = pytest.mark.citus

_DISTRIBUTE_SQL = """
    SET search_path = {schema};
    BEGIN;
    ALTER TABLE experiments ALTER id DROP DEFAULT;
    ALTER TABLE runs ALTER id DROP DEFAULT;
    ALTER SEQUENCE experiments_id_seq OWNED BY NONE;
    ALTER SEQUENCE runs_id_seq OWNED BY NONE;
    SELECT citus_schema_distribute('{schema}');
    ALTER TABLE experiments ALTER id SET DEFAULT next_unused_id('experiments', 'experiments_id_seq');
    ALTER TABLE runs ALTER id SET DEFAULT next_unused_id('runs', 'runs_id_seq');
    COMMIT;
"""


@pytest.fixture(scope="module")
def cluster() -> dict[str, Any]:
    """Configuration of the superuser on the coordinator."""
    dsn = os.environ.get("SQLTRACK_TEST_CITUS_DSN")
    if dsn is None:
        pytest.fail("set SQLTRACK_TEST_CITUS_DSN to the connection string of a Citus coordinator")
    return {"engine": "postgres", **psycopg.conninfo.conninfo_to_dict(dsn)}


@pytest.fixture(params=["new", "distributed"])
def lab(request: pytest.FixtureRequest, cluster: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Configuration of a lab whose schema is on one host: set up there, or moved there with a run."""
    schema = f"lab_{uuid.uuid4().hex[:8]}"
    sharded = "on" if request.param == "new" else "off"
    options = f"-c citus.enable_schema_based_sharding={sharded}"
    config = {**cluster, "schema": schema}
    first = sqltrack.Client({**config, "options": options})
    setup(first)
    if request.param == "distributed":
        Experiment(first, name="before").get_run().add_metrics({"loss": 1.0}, step=1)
        first._session.close_idle()
        with connect(cluster) as connection:
            for statement in _DISTRIBUTE_SQL.format(schema=schema).split(";"):
                if statement.strip():
                    connection.execute(statement.encode())
    yield config
    with connect(cluster) as connection:
        connection.execute(f"DROP SCHEMA {schema} CASCADE".encode())
        if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (f"{schema}_writer",)).fetchone() is not None:
            connection.execute(f"DROP OWNED BY {schema}_writer".encode())
            connection.execute(f"DROP ROLE {schema}_writer".encode())


def connect(config: dict[str, Any]) -> psycopg.Connection[Any]:
    parameters = {name: value for name, value in config.items() if name not in ("engine", "schema")}
    return psycopg.connect(**parameters, autocommit=True)


def options_of(config: dict[str, Any]) -> list[str]:
    return [word for name, value in config.items() for word in (f"--{name}", str(value))]


def writer_of(lab: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Return the configuration of a user who may read and write in a lab."""
    role = f"{lab['schema']}_writer"
    with connect(lab) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN".encode())
        capsys.readouterr()
        assert main(["grant", *options_of(lab), role, "--write"]) == 0
        connection.execute(capsys.readouterr().out.encode())
    return {**lab, "user": role}


def expect_success(command: str, config: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    name, *rest = command.split()
    assert main([name, *options_of(config), *rest]) == 0, capsys.readouterr().err


def test_the_tables_are_distributed(lab: dict[str, Any]) -> None:
    with connect(lab) as connection:
        query = "SELECT COUNT(*) FROM citus_tables WHERE table_name::text LIKE %s"
        assert (connection.execute(query, (f"{lab['schema']}.%",)).fetchone() or (0,))[0] >= 6


def test_runs_are_tracked_read_and_changed(lab: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    client = sqltrack.Client(lab)
    run = Experiment(client, name="e").get_run()
    with run.track():
        run.add_args({"lr": 0.1})
        run.add_tags("new")
        for step in range(10):
            run.add_metrics({"loss": 1 / (step + 1), f"m{step}": step}, step=step)
        run.add_metrics_many({"step": step, "loss": step} for step in range(10, 400))
        run.add_metrics({"count": 1}, step=400)
        run.add_metrics({"count": 1.5}, step=401)
    other = Experiment(client, name="e").get_run()
    assert client.execute("SELECT COUNT(*) FROM metrics WHERE run_id = %s", (run.id,)).fetchall() == [(402,)]
    best = queries.best_values("loss", run_ids=[run.id])
    assert client.execute(best.sql, best.parameters).fetchall()[0][3] == 399
    writer = writer_of(lab, capsys)
    for command in ("ls", "runs", "runs --best loss", f"show {run.id}", f"metrics {run.id}", f"rm {other.id} --yes"):
        expect_success(command, writer, capsys)
    for command in ("rename-metric m3 third --yes", f"rewind {run.id} 100 --yes"):
        expect_success(command, lab, capsys)
    assert client.execute("SELECT MAX(step), MAX(third) FROM metrics").fetchall() == [(100, 3)]


def test_a_host_that_is_down_costs_no_value(lab: dict[str, Any], cluster: dict[str, Any]) -> None:
    """A node without a server: Citus then refuses to change tables, on connections that go on to work."""
    client = sqltrack.Client(lab)
    run = Experiment(client, name="e").get_run()
    run.add_metrics({"loss": 1.0}, step=1)
    with connect(cluster) as connection:
        worker = connection.execute(
            """
            SELECT nodename, nodeport FROM pg_dist_node WHERE groupid <> 0 AND groupid NOT IN (
                SELECT groupid FROM pg_dist_placement JOIN pg_dist_shard USING (shardid)
                WHERE logicalrelid = %s::regclass
            ) LIMIT 1
        """,
            (f"{lab['schema']}.metrics",),
        ).fetchone()
        assert worker is not None
        connection.execute(
            "SELECT citus_update_node(nodeid, 'localhost', 1) FROM pg_dist_node WHERE nodename = %s AND nodeport = %s",
            worker,
        )
        try:
            run.add_metrics({"loss": 2.0, "accuracy": 0.5}, step=2)
            assert run.flush(30)
        finally:
            connection.execute("SELECT citus_update_node(nodeid, %s, %s) FROM pg_dist_node WHERE nodeport = 1", worker)
            connection.execute("SELECT start_metadata_sync_to_all_nodes()")
    apply_tidy(client, plan_tidy(client))
    query = "SELECT step, loss, accuracy FROM metrics WHERE run_id = %s ORDER BY step"
    assert client.execute(query, (run.id,)).fetchall() == [(1, 1.0, None), (2, 2.0, 0.5)]


def test_a_large_table_is_not_rewritten(lab: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from sqltrack.engines.postgres import _metrics_table

    run = Experiment(sqltrack.Client(lab), name="e").get_run()
    run.add_metrics_many({"step": step, "n": 1} for step in range(1000))
    monkeypatch.setattr(_metrics_table, "_MAX_REWRITTEN_BYTES", 20_000)
    run.add_metrics({"n": 1.5}, step=1000)
    assert run.client.execute("SELECT n, extras FROM metrics WHERE step = 1000").fetchall() == [(None, {"n": 1.5})]
