"""The page shows a standby, and rows that arrive there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

import sqltrack
from plugins.postgres_server import PostgresServer
from plugins.standby_server import StandbyServer, wait_until_copied
from sqltrack import Experiment
from sqltrack.commands.setup import set_up_quietly
from sqltrack.ui import queries
from sqltrack.ui._edits import Edits
from sqltrack.ui._errors import RequestError

pytestmark = [pytest.mark.engines("postgres"), pytest.mark.not_pooled("it starts its own servers")]


@pytest.fixture
def servers(server_binaries: Path) -> Iterator[tuple[PostgresServer, StandbyServer]]:
    with PostgresServer(server_binaries) as primary, StandbyServer(primary) as standby:
        yield primary, standby


def config_of(server: PostgresServer) -> dict[str, Any]:
    return {"engine": "postgres", **psycopg.conninfo.conninfo_to_dict(server.dsn)}


def test_views_of_a_standby_follow_the_primary(servers: tuple[PostgresServer, StandbyServer]) -> None:
    primary, standby = servers
    client = sqltrack.Client(config_of(primary))
    set_up_quietly(client)
    run = Experiment(client, name="e").get_run().start()
    run.add_metrics({"loss": 1.0}, step=1)
    wait_until_copied(primary, standby)
    source = queries.Database(sqltrack.Client(config_of(standby)))
    try:
        before = queries.changes(source, {"runs": [run.id]})
        page = queries.runs(source, {"columns": [["metric", "min", "loss"]], "sort": []})
        assert [(row["id"], row["values"]) for row in page["rows"]] == [(run.id, [1.0])]
        run.add_metrics({"loss": 0.5}, step=2)
        run.stop()
        wait_until_copied(primary, standby)
        after = queries.changes(source, {"runs": [run.id]})
        assert after["version"] != before["version"]
        (curve,) = queries.curves(source, {"runs": [run.id], "metrics": ["loss"], "x": "step", "pixels": 100})["curves"]
        assert (curve["x"], curve["y"]) == ([1, 2], [1.0, 0.5])
        edits = Edits(source)
        planned = edits.plan({"action": "tags", "runs": [run.id], "add": ["a"]})
        with pytest.raises(RequestError, match=r"refuses this change: .*read-only"):
            edits.apply({"plan": planned["plan"]})
        for name in ("about", "facets", "experiments", "live", "columns"):
            assert getattr(queries, name)(source, {})
    finally:
        source.close()
