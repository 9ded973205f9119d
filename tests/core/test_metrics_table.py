"""Metrics are stored while other processes change, read or lock their table."""

from __future__ import annotations

import math
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from typing import Any

import pytest

import sqltrack
from sqltrack import Experiment, Run
from sqltrack.engines.admin import admin_of
from sqltrack.errors import DatabaseError
from support.metrics import logged, rows_as_dicts, same, stored_value


def test_columns_that_others_drop_or_change_meanwhile_are_noticed(run: Run, config: dict[str, Any]) -> None:
    other = sqltrack.Client(config)
    with run.track():
        run.add_metrics({"a": 1.0, "b": 1.0}, step=0)
        other.execute("ALTER TABLE metrics DROP COLUMN a")
        run.add_metrics({"a": 2.0, "b": 2.0}, step=1)
        other.execute("ALTER TABLE metrics RENAME COLUMN b TO c")
        run.add_metrics({"a": 3.0, "b": 3.0}, step=2)
    assert (logged(run, "a"), logged(run, "b"), logged(run, "c")) == (
        [None, 2.0, 3.0],
        [None, None, 3.0],
        [1.0, 2.0, None],
    )


def test_so_they_are_where_many_rows_are_added(run: Run, config: dict[str, Any]) -> None:
    rows = [{"step": step, "a": step + 0.5, "b": 1.0} for step in range(4)]
    with run.track():
        run.add_metrics_many(rows[:2])
        sqltrack.Client(config).execute("ALTER TABLE metrics DROP COLUMN a")
        run.add_metrics_many(rows[2:])
    assert [stored_value(run, "a", step) for step in range(4)] == [None, None, 2.5, 3.5]
    assert logged(run, "b") == [1.0] * 4


@pytest.mark.parametrize("many", [False, True])
def test_a_constraint_of_the_users_own_is_told_as_such(run: Run, many: bool) -> None:
    run.client.execute("ALTER TABLE metrics ADD COLUMN positive FLOAT CHECK (positive > 0)")
    with pytest.raises(DatabaseError, match="(?i)check constraint"):
        if many:
            run.add_metrics_many([{"step": 0, "positive": 1.0}, {"step": 1, "positive": -1.0}])
        else:
            run.add_metrics({"positive": -1.0})
    assert run.client.execute("SELECT * FROM metrics").fetchall() == []


REFUSING = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not now'; END $$;
CREATE TRIGGER refuse BEFORE DELETE ON metrics_pending EXECUTE FUNCTION refuse();
"""


@pytest.mark.engines("postgres")
def test_pending_metrics_may_stay_pending_when_the_run_ends(
    run: Run, config: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with run.track():
        with sqltrack.Client(config) as reader:
            reader.execute("SELECT * FROM metrics")
            run.add_metrics({"new": 1.0})
        run.client.executescript(REFUSING)
    run.start().stop()
    assert run.client.execute("SELECT status FROM runs").fetchone() == ("COMPLETED",)
    assert run.client.execute("SELECT extras FROM metrics_pending").fetchone() == ({"new": 1.0},)
    warnings = [record.getMessage() for record in caplog.records if "wait in another table" in record.getMessage()]
    assert ["not now" in warning for warning in warnings] == [True]
    run.client.execute("DROP TRIGGER refuse ON metrics_pending")
    run.start().stop()
    assert stored_value(run, "new") == 1.0


def test_new_metrics_of_many_rows_wait_as_well(run: Run, config: dict[str, Any]) -> None:
    rows = [{"step": step, "loss": 1.0, "new": step + 0.5} for step in range(3)]
    run.add_metrics({"loss": 0.0}, step=0)
    with run.track():
        with sqltrack.Client(config).cursor() as cursor:
            cursor.execute("SELECT * FROM metrics")
            run.add_metrics_many(rows)
        assert logged(run, "loss") == [1.0] * 3
    assert [stored_value(run, "new", step) for step in range(3)] == [0.5, 1.5, 2.5]


def drop_if_empty(client: sqltrack.Client, name: str) -> bool:
    return client._session.ask(lambda connection: admin_of(client.engine, connection).drop_empty_metric(name))


def test_a_column_that_holds_values_is_not_dropped_as_empty(run: Run, config: dict[str, Any]) -> None:
    client = run.client
    run.add_metrics({"full": 1.0, "empty": None, "viewed": None})
    client.execute("CREATE VIEW viewing AS SELECT metrics.viewed FROM metrics")
    assert drop_if_empty(client, "full") is False
    assert drop_if_empty(client, "empty") is True
    with client._session.keeping_connections():
        with pytest.raises(DatabaseError, match="viewing"):
            drop_if_empty(client, "viewed")
        # The kept connection holds no lock.
        sqltrack.Client(config, busy_timeout=0).execute("UPDATE metrics SET viewed = 2.0")
    assert rows_as_dicts(run) == [{"run_id": run.id, "step": 0, "progress": 0.0, "full": 1.0, "viewed": 2.0}]


@pytest.mark.engines("postgres")
def test_metrics_that_wait_for_a_column_do_not_hold_every_block_up(
    run: Run, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a lock timeout, a client does not try again at once."""
    table = run.client.engine.metrics_table
    grown: list[bool] = []

    def grow(*arguments: Any) -> bool:
        grown.append(type(table).grow(table, *arguments))
        return grown[-1]

    monkeypatch.setattr("sqltrack._metric_columns._GROWING_PAUSE", 1000.0)
    monkeypatch.setattr(table, "grow", grow)
    with run.track():
        with sqltrack.Client(config) as reader:
            reader.execute("SELECT * FROM metrics")
            for step in range(5):
                with run.client:
                    run.add_metrics({"new": step + 0.5}, step=step)
                run.client.execute("SELECT 1")
        assert grown == [False]
    assert grown == [False, True]
    assert [stored_value(run, "new", step) for step in range(5)] == [step + 0.5 for step in range(5)]


def test_columns_that_others_add_meanwhile_are_used(run: Run, config: dict[str, Any]) -> None:
    with run.track():
        run.add_metrics({"a": 1.0}, step=0)
        sqltrack.Client(config).execute("ALTER TABLE metrics ADD COLUMN b FLOAT")
        run.add_metrics({"b": 1.0}, step=1)
    assert logged(run, "b") == [None, 1.0]


def test_new_metrics_in_a_block_become_columns_if_that_is_possible(run: Run) -> None:
    with run.client:
        run.add_metrics({"a": 1.0}, step=0)
        run.add_metrics({"a": 2.0, "b": 2.0}, step=1)
        run.add_metrics({"b": 3.0, "c": 3.0}, step=2)
    assert logged(run, "a") == [1.0, 2.0, None]
    assert [stored_value(run, "b", step) for step in range(3)] == [None, 2.0, 3.0]
    assert [stored_value(run, "c", step) for step in range(3)] == [None, None, 3.0]


@pytest.mark.parametrize(
    ("values", "read"),
    [
        ([1, "x", None], {}),
        ([1, "x", 2], {"j": 2}),
        ([1, "x", 2, "y"], {"extras": {"j": "y"}}),
        ([1, {"k": 1}, 2**70, 3], {"j": 3}),
    ],
)
@pytest.mark.parametrize("many", [False, True])
def test_the_last_value_of_a_block_counts_wherever_the_one_before_waits(
    run: Run, values: list[Any], read: dict[str, Any], many: bool
) -> None:
    """In the block that uses the table, the column for extras cannot be added."""
    with run.client:
        for value in values:
            # Another metric is stored in the same way, and stays.
            if many:
                run.add_metrics_many([{"step": 0, "j": value, "other": 1.0}, {"step": 1, "other": "z"}])
            else:
                run.add_metrics({"j": value, "other": 1.0}, step=0).add_metrics({"other": "z"}, step=1)
    first, second = ({name: value for name, value in row.items() if value is not None} for row in rows_as_dicts(run))
    assert first == {"run_id": run.id, "step": 0, "progress": 0.0, "other": 1.0, **read}
    assert second == {"run_id": run.id, "step": 1, "progress": 0.0, "extras": {"other": "z"}}


def test_a_reader_of_the_table_blocks_no_writer(run: Run, config: dict[str, Any], engine_name: str) -> None:
    """Behind an open transaction known metrics are stored at once. New ones wait for a moment, and none is lost."""
    run.add_metrics({"loss": 0.0}, step=0)
    reader = sqltrack.Client(config)
    slowest: dict[str, float] = {}

    def timed(kind: str, metrics: dict[str, Any], step: int) -> None:
        start = time.monotonic()
        run.add_metrics(metrics, step=step)
        slowest[kind] = max(slowest.get(kind, 0.0), time.monotonic() - start)

    with run.track():
        with reader.cursor() as cursor:
            cursor.execute("SELECT * FROM metrics")
            for step in range(1, 6):
                timed("known", {"loss": float(step)}, step)
                timed("new", {"loss": float(step), "new": step + 0.5}, step)
                timed("known", {"loss": float(step)}, step)
        assert slowest["known"] < 1.5
        assert slowest["new"] < 4
    assert logged(run, "loss") == [float(step) for step in range(6)]
    assert [stored_value(run, "new", step) for step in range(1, 6)] == [step + 0.5 for step in range(1, 6)]
    if engine_name == "postgres":
        assert run.client.execute("SELECT count(*) FROM metrics_pending").fetchone() == (0,)


def test_new_metrics_of_a_block_are_columns_after_it(run: Run, config: dict[str, Any], caplog: Any) -> None:
    """A block that uses the table delays new columns only until it ends; then a query sees all values."""
    moment = datetime(2024, 1, 2, 3, 4, 5, 6, tzinfo=timezone.utc)
    run.set_status("RUNNING")
    with run.client:
        for step in range(5):
            run.add_metrics({"loss": step + 0.5}, step=step)
            if step % 2:
                run.add_metrics(
                    {"val_loss": step + 0.25, "at": moment, "n": step, "raw": b"\0", "nan": math.nan}, step=step
                )
                run.add_metrics_many([{"step": step, "many": [step]}])
    rows = run.client.execute("SELECT step, val_loss, at, n, raw, many FROM metrics ORDER BY step").fetchall()
    assert rows[1::2] == [(step, step + 0.25, moment, step, b"\0", [step]) for step in (1, 3)]
    assert rows[::2] == [(step, *(None,) * 5) for step in (0, 2, 4)]
    assert all(same(value, math.nan) for value in logged(run, "nan")[1::2])
    assert not any((row.get("extras") or {}) for row in rows_as_dicts(run))
    run.add_metrics({"val_loss": 0.125}, step=5)
    assert sqltrack.Client(config).execute("SELECT MIN(val_loss), MAX(val_loss) FROM metrics").fetchone() == (
        0.125,
        3.25,
    )
    assert caplog.records == []


def test_a_block_that_is_rolled_back_adds_no_columns_later(run: Run) -> None:
    run.add_metrics({"loss": 1.0})
    with pytest.raises(ZeroDivisionError), run.client:
        run.add_metrics({"loss": 2.0})
        run.add_metrics({"new": 2.0})
        raise ZeroDivisionError
    with run.client:
        run.add_metrics({"loss": 3.0}, step=1)
    assert "new" not in rows_as_dicts(run)[0]


def test_a_value_that_was_replaced_meanwhile_stays_so(
    run: Run, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values that another process has stored since the end of the block are newer than the block's extras."""
    other = sqltrack.Run(sqltrack.Client(config), run_id=run.id)
    waiting = run.client.metrics._waiting
    move = waiting._move_to_columns

    def move_late() -> None:
        other.add_metrics({"a": 2.0})
        move()

    monkeypatch.setattr(waiting, "_move_to_columns", move_late)
    with run.client:
        run.add_metrics({"loss": 1.0})
        run.add_metrics({"a": 1.0, "b": 1.0})
    other.add_metrics({"a": 2.0})
    run.client.metrics.move_pending()
    (row,) = rows_as_dicts(run)
    assert (row["a"], row["b"], row.get("extras")) == (2.0, 1.0, None)


def test_metrics_that_waited_for_a_lock_are_columns_once_it_is_gone(
    run: Run, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sqltrack._metric_columns._GROWING_PAUSE", 0.0)
    run.add_metrics({"loss": 0.0, "extras": 1.0})
    with run.track():
        with sqltrack.Client(config) as reader:
            reader.execute("SELECT * FROM metrics").fetchall()
            run.add_metrics({"new": 1.0}, step=1)
        run.add_metrics({"new": 2.0}, step=2)
        assert logged(run, "new") == [None, 1.0, 2.0]
        with sqltrack.Client(config) as reader:
            reader.execute("SELECT * FROM metrics").fetchall()
            run.add_metrics({"last": 1.0}, step=3)
    assert logged(run, "last") == [None, None, None, 1.0]


def test_blocks_of_many_threads_leave_nothing_behind(run: Run, experiment: Experiment) -> None:
    """Threads that share a client add the same new metrics in blocks at the same time."""

    def log(number: int) -> None:
        own = experiment.get_run()
        for epoch in range(5):
            with run.client:
                own.add_metrics({"loss": 1.0}, step=epoch)
                own.add_metrics({f"m{epoch}": number + 0.5, "common": 1.0}, step=epoch)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(log, range(4)))
    run.client.metrics._columns._growing_again = -math.inf
    run.client.metrics.move_pending()
    assert not any((row.get("extras") or {}) for row in rows_as_dicts(run))
    for epoch in range(5):
        values = sorted(value for value in logged_by_all(run, f"m{epoch}") if value is not None)
        assert values == [number + 0.5 for number in range(4)]


def logged_by_all(run: Run, name: str) -> list[Any]:
    return [value for (value,) in run.client.execute(f"SELECT {name} FROM metrics")]


@pytest.mark.engines("postgres", reason="SQLite adds columns within the block")
def test_no_more_values_are_remembered_than_there_is_room_for(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Further values stay in extras, and a warning says so."""
    monkeypatch.setattr("sqltrack._waiting_metrics._MAX_WAITING", 3)
    run.set_status("RUNNING")
    with run.client:
        run.add_metrics({"loss": 1.0})
        for step in range(5):
            run.add_metrics({"new": step + 0.5}, step=step)
    assert logged(run, "new") == [0.5, 1.5, 2.5, None, None]
    assert [stored_value(run, "new", step) for step in range(5)] == [step + 0.5 for step in range(5)]
    (message,) = [record.getMessage() for record in caplog.records]
    assert "metric 'new' is stored in the column metrics.extras: too many values wait" in message
