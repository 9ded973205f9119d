"""`sqltrack copy` copies experiments from one database to another, and keeps everything that exists there."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

import sqltrack
from sqltrack.commands._copying import spool
from sqltrack.commands.copy import CopyResult, copy
from sqltrack.engines.json import jsonb
from sqltrack.errors import SQLTrackError
from support.copies import OLD, by_origin, fill, metrics_by_origin, origins
from support.dumps import dump

from .conftest import Create


def test_everything_arrives_and_comes_back_unaltered(
    client: sqltrack.Client, target: sqltrack.Client, create: Create
) -> None:
    fill(client)
    expected = by_origin(client)
    assert len(expected["metrics"]) == 240
    result = copy(client, target)
    assert result == CopyResult(experiments=3, runs=6, rows=240, links=6)
    assert by_origin(target) == expected
    fresh = create("sqlite")
    copy(target, fresh)
    assert by_origin(fresh) == expected
    copy(client, fresh)
    assert by_origin(fresh) == expected


@pytest.mark.parametrize("full", [False, True])
def test_a_second_copy_changes_nothing(client: sqltrack.Client, target: sqltrack.Client, full: bool) -> None:
    fill(client)
    copy(client, target)
    before = dump(target)
    assert copy(client, target, full=full) == CopyResult(runs_unchanged=6)
    assert dump(target) == before


@pytest.mark.parametrize("full", [False, True])
def test_nothing_is_added_where_the_runs_come_from(
    client: sqltrack.Client, target: sqltrack.Client, create: Create, full: bool
) -> None:
    fill(client)
    before = dump(client)
    copy(client, target)
    fresh = create("sqlite")
    copy(target, fresh)
    for database in (target, fresh):
        assert copy(database, client, full=full) == CopyResult(runs_unchanged=6)
    assert dump(client) == before


def test_columns_have_fitting_types_also_those_that_are_empty(client: sqltrack.Client, target: sqltrack.Client) -> None:
    run = sqltrack.Experiment(client, name="e").get_run()
    values = {"i": 1, "f": 0.5, "b": True, "t": "x", "y": b"x", "d": date(2026, 1, 1), "w": OLD, "l": timedelta(1)}
    run.add_metrics({**values, "j": {"a": 1}, "mixed": 1}, step=1)
    run.add_metrics({"mixed": 0.5}, step=2)
    client.execute("DELETE FROM metrics WHERE step = 1")
    copy(client, target)
    with target as connection:
        columns = target.engine.table_columns(connection, "metrics")
    types = {name: target.engine.map_type(target, type(value)).upper() for name, value in values.items()}
    assert {name: columns[name].upper() for name in values} == types
    assert target.execute("SELECT mixed, i FROM metrics").fetchall() == [(0.5, None)]
    assert columns["j"].upper() == "JSONB"
    assert "extras" not in columns


def test_integers_and_floats_of_one_column_stay_in_one_column(create: Create) -> None:
    source, target = create("sqlite"), create("postgres")
    run = sqltrack.Experiment(source, name="e").get_run()
    source.metrics.add_many(run.id, [{"step": i, "x": i if i < 3 else i / 2} for i in range(6)], None)
    copy(source, target)
    assert target.execute("SELECT x FROM metrics ORDER BY step").fetchall() == [(0,), (1,), (2,), (1.5,), (2,), (2.5,)]


def test_metrics_that_wait_for_their_column_are_copied(create: Create, postgres_config: dict[str, Any]) -> None:
    source, target = create("postgres"), create("sqlite")
    run = sqltrack.Experiment(source, name="e").get_run().add_metrics({"loss": 1.0}, step=3)
    sql = "INSERT INTO metrics_pending (run_id, step, progress, extras) VALUES (%s, 3, 0, %s)"
    source.execute(sql, (run.id, jsonb({"Loss": 2.0, "loss": 9.0, "new": [1]})))
    copy(source, target)
    ((row),) = metrics_by_origin(target).values()
    assert row == {"loss": 1.0, "Loss": 2.0, "new": [1]}
    assert metrics_by_origin(source).keys() == metrics_by_origin(target).keys()


def test_experiments_of_one_name_are_merged_and_keep_their_values(
    client: sqltrack.Client, target: sqltrack.Client
) -> None:
    sqltrack.Experiment(target, name="only there")
    sqltrack.Experiment(client, name="e").set_comment("theirs").set_tags("a", "b").get_run()
    sqltrack.Experiment(target, name="e").set_comment("ours").set_tags("b", "c")
    client.execute("UPDATE experiments SET extras = %s", (jsonb({"x": 1}),))
    assert copy(client, target) == CopyResult(experiments_changed=1, runs=1)
    rows = target.execute("SELECT name, comment, tags, extras FROM experiments ORDER BY id").fetchall()
    assert rows == [
        ("only there", None, None, None),
        ("e", "ours", {"a": True, "b": True, "c": True}, {"x": 1}),
    ]


def test_runs_get_new_ids_where_theirs_are_in_use(client: sqltrack.Client, target: sqltrack.Client) -> None:
    fill(client)
    expected = by_origin(client)
    ids = [run_id for (run_id,) in client.execute("SELECT id FROM runs ORDER BY id")]
    other = sqltrack.Experiment(target, name="other")
    for run_id in ids[::2]:
        other.get_run(run_id).set_comment("ours").add_metrics({"mine": 1}, step=1, updated=None)
    copy(client, target)
    origin = origins(target)
    assert [origin[run_id][0] for run_id in ids[1::2]] == ids[1::2]
    ours = target.execute("SELECT id, comment FROM runs WHERE experiment_id = %s ORDER BY id", (other.id,)).fetchall()
    assert ours == [(run_id, "ours") for run_id in ids[::2]]
    assert target.execute("SELECT COUNT(*) FROM metrics WHERE mine = 1").fetchone() == (len(ours),)
    copied = by_origin(target)
    for table in ("runs", "metrics", "run_links"):
        assert all(key in copied[table] for key in expected[table])
    assert copy(client, target).runs_unchanged == 6


def test_a_run_that_continues_is_followed_and_the_targets_own_values_stay(
    client: sqltrack.Client, target: sqltrack.Client
) -> None:
    run = sqltrack.Experiment(client, name="e").get_run().add_metrics({"loss": 1.0}, step=1)
    run.set_status("RUNNING").set_args({"lr": 1, "same": [1]}).set_tags("old")
    copy(client, target)
    copied = sqltrack.Run(target, run_id=run.id)
    copied.add_tags("ours").add_args({"ours": 1}).add_metrics({"ours": 5.0}, step=1).add_metrics({"ours": 6.0}, step=9)
    run.add_metrics({"loss": 0.5, "acc": 0.1}, step=2).add_metrics({"acc": 0.2}, step=1).add_metrics(
        {"loss": 3}, step=1
    )
    run.set_status("COMPLETED").set_args({"lr": 2, "same": [1]}).set_comment("done").set_env({"A": "1"}).set_tags("new")
    assert copy(client, target) == CopyResult(runs_changed=1, rows=1, rows_changed=1)
    columns = "status, comment, tags, args, env, time_updated"
    assert target.execute(f"SELECT {columns} FROM runs").fetchone() == (
        "COMPLETED",
        "done",
        {"old": True, "new": True, "ours": True},
        {"lr": 2, "same": [1], "ours": 1},
        {"A": "1"},
        client.execute("SELECT time_updated FROM runs").fetchone()[0],
    )
    rows = target.execute("SELECT step, loss, acc, ours FROM metrics ORDER BY step").fetchall()
    assert rows == [(1, 3, 0.2, 5), (2, 0.5, 0.1, None), (9, None, None, 6)]


def test_a_value_is_not_missed_because_the_time_of_the_change_lags_behind(
    client: sqltrack.Client, target: sqltrack.Client
) -> None:
    run = sqltrack.Experiment(client, name="e").get_run().add_metrics({"loss": 1.0}, step=1)
    copy(client, target)
    run.add_metrics({"loss": 2.0}, step=1, updated=None)
    assert copy(client, target).rows_changed == 1
    assert target.execute("SELECT loss FROM metrics").fetchall() == [(2.0,)]


def test_a_run_without_a_time_of_change_is_compared_each_time(client: sqltrack.Client, target: sqltrack.Client) -> None:
    run = sqltrack.Experiment(client, name="e").get_run().add_metrics({"loss": 1.0}, step=1, updated=None)
    assert copy(client, target).rows == 1
    run.add_metrics({"loss": 2.0}, step=1, updated=None)
    assert copy(client, target).rows_changed == 1


def test_metrics_of_runs_that_ended_long_ago_are_only_compared_if_that_is_asked_for(
    client: sqltrack.Client, target: sqltrack.Client
) -> None:
    run = sqltrack.Experiment(client, name="e").get_run().add_metrics({"loss": 1.0}, step=1).set_updated(OLD)
    copy(client, target)
    run.add_metrics({"loss": 2.0}, step=1, updated=None).set_comment("changed")
    assert copy(client, target) == CopyResult(runs_changed=1)
    assert target.execute("SELECT comment FROM runs").fetchall() == [("changed",)]
    assert copy(client, target, full=True) == CopyResult(runs_changed=1, rows_changed=1)
    assert target.execute("SELECT loss FROM metrics").fetchall() == [(2.0,)]


def test_a_run_that_continued_in_the_copy_is_followed_back(client: sqltrack.Client, target: sqltrack.Client) -> None:
    run = sqltrack.Experiment(client, name="e").get_run().add_metrics({"loss": 1.0}, step=1).set_status("RUNNING")
    copy(client, target)
    run.set_status("COMPLETED").add_metrics({"loss": 0.5}, step=1)
    sqltrack.Run(target, run_id=run.id).add_tags("theirs")
    assert copy(target, client).runs_changed == 1
    assert client.execute("SELECT status, tags, loss FROM runs, metrics").fetchall() == [
        ("COMPLETED", {"theirs": True}, 0.5)
    ]
    copied = sqltrack.Run(target, run_id=run.id).set_status("FAILED").add_metrics({"loss": 0.1}, step=1)
    copied.add_metrics({"loss": 0.2}, step=2)
    assert copy(target, client) == CopyResult(runs_changed=1, rows=1, rows_changed=1)
    assert client.execute("SELECT status, loss FROM runs, metrics ORDER BY step").fetchall() == [
        ("FAILED", 0.1),
        ("FAILED", 0.2),
    ]


def test_one_experiment_is_copied_and_links_to_others_are_counted_until_they_can_be(
    client: sqltrack.Client, target: sqltrack.Client
) -> None:
    fill(client)
    result = copy(client, target, ["experiment 0"])
    assert (result.experiments, result.runs, result.rows) == (1, 3, 120)
    # To an experiment, and from three runs of another one.
    assert (result.links, result.links_left_out) == (2, 4)
    result = copy(client, target, ["experiment 1"])
    assert (result.experiments, result.runs, result.links, result.links_left_out) == (1, 3, 4, 0)
    copy(client, target)
    assert by_origin(target) == by_origin(client)


def test_a_run_that_was_deleted_in_the_target_is_copied_again(client: sqltrack.Client, target: sqltrack.Client) -> None:
    fill(client)
    copy(client, target)
    target.execute("DELETE FROM runs WHERE id = (SELECT MIN(id) FROM runs)")
    assert copy(client, target).runs == 1
    assert by_origin(target) == by_origin(client)


def test_an_experiment_that_was_renamed_takes_its_runs_along(client: sqltrack.Client, target: sqltrack.Client) -> None:
    experiment = sqltrack.Experiment(client, name="before")
    experiment.get_run()
    copy(client, target)
    experiment.set_name("after")
    copy(client, target)
    sql = "SELECT name FROM runs JOIN experiments ON experiments.id = runs.experiment_id"
    assert target.execute(sql).fetchall() == [("after",)]


def test_rows_that_do_not_fit_into_memory_go_through_a_file(
    client: sqltrack.Client, target: sqltrack.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "_MAX_MEMORY", 1000)
    monkeypatch.setattr("sqltrack.commands._copying.reader._ROWS_PER_CHUNK", 7)
    fill(client)
    copy(client, target)
    assert by_origin(target) == by_origin(client)
    assert copy(client, target, full=True) == CopyResult(runs_unchanged=6)


def test_a_dry_run_tells_the_same_and_changes_nothing(client: sqltrack.Client, target: sqltrack.Client) -> None:
    fill(client)
    before = dump(target)
    expected = copy(client, target, dry_run=True)
    assert dump(target) == before
    assert copy(client, target) == expected
    run = sqltrack.Run(client, run_id=10).add_metrics({"new": 1.0}, step=1000).add_metrics({"new": 1}, step=0)
    run.add_link("new", 10)
    before = dump(target)
    expected = copy(client, target, dry_run=True)
    assert dump(target) == before
    assert expected == CopyResult(runs_changed=1, runs_unchanged=5, rows=1, rows_changed=1, links=1)
    assert copy(client, target) == expected


@pytest.mark.engines("sqlite")
def test_a_run_without_a_usable_time_of_creation_is_named(client: sqltrack.Client, target: sqltrack.Client) -> None:
    fill(client, runs=2, rows=1)
    client.execute("UPDATE runs SET time_created = 'yesterday' WHERE id = 10")
    with pytest.raises(SQLTrackError, match="run 10 has time_created 'yesterday', expected a time"):
        copy(client, target)


def test_rows_that_only_the_target_has_between_others_stay(client: sqltrack.Client, target: sqltrack.Client) -> None:
    run = sqltrack.Experiment(client, name="e").get_run()
    for step in (1, 3):
        run.add_metrics({"loss": step / 2}, step=step)
    copy(client, target)
    (run_id,) = target.execute("SELECT id FROM runs").fetchone()
    sqltrack.Run(target, run_id=run_id).add_metrics({"loss": 9.0}, step=2, updated=None)
    run.add_metrics({"loss": 1.25}, step=3)
    copy(client, target, full=True)
    assert target.execute("SELECT step, loss FROM metrics ORDER BY step").fetchall() == [(1, 0.5), (2, 9.0), (3, 1.25)]


def test_json_that_is_no_object_is_copied_as_it_is(client: sqltrack.Client, target: sqltrack.Client) -> None:
    run = sqltrack.Experiment(client, name="e").get_run()
    for value in ([1, {"a": None}], "text", 3):
        client.execute("UPDATE runs SET args = %s WHERE id = %s", (jsonb(value), run.id))
        run.set_updated("auto")
        copy(client, target)
        assert target.execute("SELECT args FROM runs").fetchone() == (value,)


def test_types_that_only_postgresql_has_become_the_nearest_type(create: Create, postgres_server: Any) -> None:
    source, target = create("postgres"), create("sqlite")
    source.execute("ALTER TABLE metrics ADD COLUMN price NUMERIC, ADD COLUMN at TIME")
    sqltrack.Experiment(source, name="e").get_run().add_metrics({"loss": 1.0}, step=1)
    source.execute("UPDATE metrics SET price = 1.5, at = '12:30'")
    copy(source, target)
    assert target.execute("SELECT price, at FROM metrics").fetchall() == [(1.5, "12:30:00")]
