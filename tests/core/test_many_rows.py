"""Thousands of rows of metrics are added, all or none, and only to existing runs."""

from __future__ import annotations

import math

import pytest

import sqltrack
from sqltrack import Run, run_add_metrics_many
from sqltrack.errors import MissingRunError
from sqltrack.metrics import MetricsRow
from support.metrics import logged, rows_as_dicts, same, stored_value


def test_rows_are_added_by_the_thousand(run: Run) -> None:
    rows = [{"step": step, "loss": step / 2, "top1": None if step % 2 else 0.5} for step in range(3000)]
    rows += [{"progress": 0.5, "loss": math.nan, "run_id": 1}]
    assert run.add_metrics_many(reversed(rows)) is run
    assert len(logged(run, "loss")) == 3001
    assert same(run.client.execute("SELECT loss FROM metrics WHERE progress = 0.5").fetchone()[0], math.nan)
    run_add_metrics_many(run.client, run.id, [{"step": 7, "loss": -1.0}])
    assert stored_value(run, "loss", 7) == -1.0
    assert stored_value(run, "top1", 6) == 0.5


def test_rows_are_added_all_or_none(run: Run) -> None:
    with pytest.raises(ValueError, match="each row needs 'step' or 'progress'"):
        run.add_metrics_many([{"step": 1, "loss": 1.0}, {"loss": 2.0}])
    with pytest.raises(ValueError, match="the name of a metric"):
        run.add_metrics_many([{"step": 1, "loss": 1.0}, {"step": 2, "a\0b": 1.0}])
    assert run.client.execute("SELECT count(*) FROM metrics").fetchone() == (0,)
    run.client.execute("DELETE FROM runs")
    with pytest.raises(MissingRunError):
        run.add_metrics_many([{"step": 1, "loss": 1.0}])


@pytest.mark.parametrize("many", [False, True])
def test_a_missing_run_is_named_in_a_block_which_can_continue(
    client: sqltrack.Client, run: sqltrack.Run, many: bool
) -> None:
    run.add_metrics({"loss": 1.0}, step=0)
    with client:
        with pytest.raises(MissingRunError, match="no run with id 4711"):
            if many:
                sqltrack.run_add_metrics_many(client, 4711, [{"step": 1, "loss": 2.0}])
            else:
                sqltrack.run_add_metrics(client, 4711, {"loss": 2.0}, step=1)
        run.add_metrics({"loss": 3.0}, step=1)
    assert client.execute("SELECT run_id, loss FROM metrics ORDER BY step").fetchall() == [(run.id, 1.0), (run.id, 3.0)]


def test_copies_of_rows_need_their_run_as_well(client: sqltrack.Client) -> None:
    with pytest.raises(MissingRunError, match="no run with id 4711; it may have been deleted"):
        client.metrics.add_copies(4711, [MetricsRow(0, 0.0, {"loss": 1.0}, {})])
    assert client.execute("SELECT * FROM metrics").fetchall() == []


def test_rows_that_are_too_big_are_added_as_well(run: Run) -> None:
    rows = [{"step": step, **{f"m{number}": number + 0.5 for number in range(1200)}} for step in range(3)]
    run.add_metrics_many(rows)
    for row in rows_as_dicts(run):
        found = {**row, **(row.get("extras") or {})}
        assert all(found[f"m{number}"] == number + 0.5 for number in range(1200))
