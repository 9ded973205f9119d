"""The setting `time_column` adds the time of each row as a metric."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

import pytest

import sqltrack
from sqltrack.errors import ConfigError


def read(client: sqltrack.Client) -> list[Any]:
    return client.execute('SELECT step, loss, "at" FROM metrics ORDER BY step').fetchall()


@pytest.fixture
def client(config: dict[str, Any]) -> sqltrack.Client:
    return sqltrack.Client({**config, "time_column": "at"})


def test_each_row_has_its_time(client: sqltrack.Client, run: sqltrack.Run) -> None:
    before = datetime.now(timezone.utc)
    with run.track():
        run.add_metrics({"loss": 1.0}, step=1)
        sqltrack.run_add_metrics(client, run.id, {"loss": 0.5}, 2)
        run.add_metrics_many([{"step": 3, "loss": 0.25}, {"step": 4, "loss": 0.1}])
    rows = read(client)
    assert [row[:2] for row in map(tuple, rows)] == [(1, 1.0), (2, 0.5), (3, 0.25), (4, 0.1)]
    times = [row[2] for row in rows]
    assert times == sorted(times)
    assert all(before <= time <= datetime.now(timezone.utc) for time in times)


def test_a_time_of_the_program_counts(client: sqltrack.Client, run: sqltrack.Run) -> None:
    time = datetime(2026, 1, 2, 3, tzinfo=timezone.utc)
    run.add_metrics({"loss": 1.0, "at": time}, step=1)
    run.add_metrics_many([{"step": 2, "loss": 1.0, "at": time + timedelta(1)}])
    assert [row[2] for row in read(client)] == [time, time + timedelta(1)]


def test_rows_of_any_form_get_a_time(client: sqltrack.Client, run: sqltrack.Run) -> None:
    class Named(NamedTuple):
        step: int
        loss: float

    run.add_metrics_many(iter([Named(1, 0.5), Named(2, 0.25)]))
    run.add_metrics(Named(3, 0.1)._replace(step=7), step=3)
    assert [row[2] is not None for row in read(client)] == [True] * 3


def test_logging_a_row_in_parts_is_no_oversight(run: sqltrack.Run, caplog: pytest.LogCaptureFixture) -> None:
    with run.track():
        run.add_metrics({"loss": 1.0}, step=1)
        run.add_metrics({"accuracy": 0.5}, step=1)
    assert caplog.messages == []


@pytest.mark.parametrize("name", ["step", "run_id", "progress", 3])
def test_a_column_that_exists_already_is_refused(config: dict[str, Any], name: Any) -> None:
    with pytest.raises(ConfigError, match="time_column must be"):
        sqltrack.Client({**config, "time_column": name})


def test_without_the_setting_no_column_is_added(config: dict[str, Any]) -> None:
    plain = sqltrack.Client(config)
    sqltrack.Experiment(plain, name="x").get_run().add_metrics({"loss": 1.0}, step=1)
    with plain as connection:
        assert "at" not in plain.engine.table_columns(connection, "metrics")
