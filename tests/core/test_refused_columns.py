"""If the server refuses new columns for a while, metrics wait in `extras`, and `tidy` moves them to columns later."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest

import sqltrack
from sqltrack import Experiment, Run
from sqltrack.commands.tidy import apply_tidy, plan_tidy
from sqltrack.engines.postgres import _metrics_table

pytestmark = [
    pytest.mark.engines("postgres"),
    pytest.mark.not_pooled("a pooler takes these codes for the end of its own connection"),
]

# Codes with which Citus refuses ALTER TABLE, although the connection goes on to work: a host is down, the statement was
# sent to a worker, and an unsupported form of the statement.
STATES = ["08006", "XX000", "0A000", "55000"]

_REFUSE = """
    CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'connection to host %1$s failed' USING ERRCODE = '{state}'; END $$;
    CREATE EVENT TRIGGER refuses ON ddl_command_start WHEN TAG IN ('ALTER TABLE') EXECUTE FUNCTION refuse();
"""
_ALLOW = "DROP EVENT TRIGGER refuses; DROP FUNCTION refuse()"


@pytest.fixture(params=STATES)
def refusing(request: pytest.FixtureRequest, client: sqltrack.Client) -> Iterator[sqltrack.Client]:
    """A client of a server that refuses to change tables, to whom the same refusal was not reported yet."""
    _metrics_table._tell_refusal.cache_clear()
    client.executescript(_REFUSE.replace("%1$s", request.param).format(state=request.param))
    yield client
    client.executescript(_ALLOW)


def metric_columns(client: sqltrack.Client) -> set[str]:
    description = client.execute("SELECT * FROM metrics").description or ()
    return {column[0] for column in description} - {"run_id", "step", "progress"}


def stored(client: sqltrack.Client, run: Run) -> dict[int, Any]:
    """Return all metrics by step, wherever they are."""
    table = "metrics" if "extras" in metric_columns(client) else "metrics_pending"
    rows = client.execute(f"SELECT step, extras FROM {table} WHERE run_id = %s ORDER BY step", (run.id,))
    return dict(rows.fetchall())


def test_new_metrics_wait_and_are_moved_later(
    refusing: sqltrack.Client, caplog: pytest.LogCaptureFixture, config: dict[str, Any]
) -> None:
    run = Experiment(refusing, name="e").get_run()
    begin = time.monotonic()
    with caplog.at_level(logging.WARNING, "sqltrack"), run.track():
        for step in range(3):
            run.add_metrics({"loss": step / 4, "text": "a"}, step=step)
    assert time.monotonic() - begin < 5
    assert stored(refusing, run) == {step: {"loss": step / 4, "text": "a"} for step in range(3)}
    told = [record.getMessage() for record in caplog.records if "adds no columns" in record.getMessage()]
    assert len(told) == 1
    assert "sqltrack tidy" in told[0]
    refusing.execute("ALTER EVENT TRIGGER refuses DISABLE")
    apply_tidy(refusing, plan_tidy(refusing))
    assert {"loss", "text"} <= metric_columns(refusing)
    query = "SELECT step, loss, text FROM metrics ORDER BY step"
    assert refusing.execute(query).fetchall() == [(step, step / 4, "a") for step in range(3)]


def test_a_run_that_goes_on_stores_later_metrics_in_columns(refusing: sqltrack.Client) -> None:
    run = Experiment(refusing, name="e").get_run()
    run.add_metrics({"loss": 1.0}, step=1)
    refusing.execute("ALTER EVENT TRIGGER refuses DISABLE")
    later = Run(sqltrack.Client(refusing.config), run_id=run.id)
    later.add_metrics({"loss": 2.0, "accuracy": 0.5}, step=2)
    assert refusing.execute("SELECT loss, accuracy FROM metrics WHERE step = 2").fetchall() == [(2.0, 0.5)]


def test_many_rows_and_blocks_wait_too(refusing: sqltrack.Client) -> None:
    run = Experiment(refusing, name="e").get_run()
    run.add_metrics_many({"step": step, "loss": float(step)} for step in range(300))
    with refusing:
        run.add_metrics({"accuracy": 0.5}, step=300)
    found = stored(refusing, run)
    assert found == {**{step: {"loss": float(step)} for step in range(300)}, 300: {"accuracy": 0.5}}


def test_values_that_fit_no_column_wait_for_wider_ones(client: sqltrack.Client) -> None:
    run = Experiment(client, name="e").get_run()
    run.add_metrics({"count": 1}, step=0)
    client.executescript(_REFUSE.replace("%1$s", "a").format(state="08006"))
    try:
        Run(sqltrack.Client(client.config), run_id=run.id).add_metrics({"count": 1.5}, step=1)
    finally:
        client.executescript(_ALLOW)
    assert stored(client, run)[1] == {"count": 1.5}


def test_a_connection_that_is_lost_is_an_outage(client: sqltrack.Client, config: dict[str, Any]) -> None:
    run = Experiment(client, name="e").get_run()
    run.add_metrics({"loss": 1.0}, step=1)
    sqltrack.Client({**config, "outbox": "off"}).execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    run.add_metrics({"accuracy": 1.0}, step=2)
    assert run.flush(10)
    assert client.execute("SELECT step, accuracy FROM metrics ORDER BY step").fetchall() == [(1, None), (2, 1.0)]
