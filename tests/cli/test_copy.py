"""`sqltrack copy` brings experiments from one database into another, and what is there already stays."""

from __future__ import annotations

import contextlib
import json
import math
import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack.cli import main
from sqltrack.commands import _copy_rows
from sqltrack.commands._addresses import client_of
from sqltrack.commands.copy import CopyResult, copy
from sqltrack.commands.setup import set_up_quietly
from sqltrack.engines.json import jsonb
from sqltrack.errors import ConfigError, ConflictError, MissingRunError, NotSetUpError, SQLTrackError
from support.processes import Script, run_together, running

from .conftest import PROGRAM

Program = Callable[..., subprocess.CompletedProcess[str]]
Create = Callable[[str], sqltrack.Client]

OLD = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=timezone.utc)
BASE_TABLES = ("experiments", "experiment_links", "runs", "run_links", "metrics", "setup_scripts")
NAMES = ("loss", "Loss", 'odd "name"', "100%", "%s", "a'b;--", "ctid", "ä" * 40, "step two", "extras ", "RUN_ID")


# -- databases ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def create(request: pytest.FixtureRequest, tmp_path: Path) -> Create:
    """Make further databases that are set up, on an engine by name; where SQLite alone is tested, on that."""
    number = iter(range(100))
    engines = request.config.getoption("--engines")

    def make(engine: str) -> sqltrack.Client:
        if engine == "postgres" and "postgres" in engines:
            template = request.getfixturevalue("postgres_template")
            return sqltrack.Client(request.getfixturevalue("create_database")(template))
        client = sqltrack.Client({"engine": "sqlite", "dbpath": str(tmp_path / f"other_{next(number)}.db")})
        set_up_quietly(client)
        return client

    return make


@pytest.fixture
def target(engine_name: str, create: Create) -> sqltrack.Client:
    """A database of the other engine."""
    return create("postgres" if engine_name == "sqlite" else "sqlite")


def address(client: sqltrack.Client) -> str:
    """Return what names a database on the command line."""
    config = client.config
    if config["engine"] == "sqlite":
        return str(config["dbpath"])
    return " ".join(f"{name}={config[name]}" for name in ("host", "port", "user", "dbname") if config.get(name))


def tables(client: sqltrack.Client) -> list[str]:
    with client as connection:
        names = (*BASE_TABLES, "metrics_pending", "copied_runs")
        return [name for name in names if client.engine.table_columns(connection, name)]


def full_dump(client: sqltrack.Client) -> dict[str, list[str]]:
    """Return everything that a database holds, and in which columns."""
    dump = {}
    for table in tables(client):
        result = client.execute(f"SELECT * FROM {table}")
        names = [column[0] for column in result.description]
        dump[table] = [repr(names), *sorted(map(repr, result))]
    return dump


def canonical(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)]
    if isinstance(value, datetime):
        return value.astimezone(timezone.utc)
    return value


def origins(client: sqltrack.Client) -> dict[int, tuple[int, datetime]]:
    """Return the origin of each run."""
    found = {run_id: (run_id, canonical(at)) for run_id, at in client.execute("SELECT id, time_created FROM runs")}
    if "copied_runs" in tables(client):
        for run_id, source_id, at in client.execute("SELECT run_id, source_id, time_created FROM copied_runs"):
            found[run_id] = (source_id, canonical(at))
    return found


def metrics_by_origin(client: sqltrack.Client) -> dict[Any, dict[str, Any]]:
    origin = origins(client)
    rows: dict[Any, dict[str, Any]] = {}
    for table in ("metrics", "metrics_pending"):
        if table not in tables(client):
            continue
        result = client.execute(f"SELECT * FROM {table}")
        names = [column[0] for column in result.description]
        for values in result:
            row = dict(zip(names, values))
            key = (origin[row.pop("run_id")], row.pop("step"), row.pop("progress"))
            found = {**(row.pop("extras", None) or {})}
            found.update((name, value) for name, value in row.items() if value is not None)
            rows.setdefault(key, {}).update((name, canonical(value)) for name, value in found.items())
    return rows


def by_origin(client: sqltrack.Client) -> dict[str, Any]:
    """Return what a database holds in a form that does not depend on ids, nor on the places of values."""
    origin = origins(client)
    columns = "status, time_created, time_started, time_updated, comment, tags, args, env, extras"
    names = dict(client.execute("SELECT id, name FROM experiments").fetchall())
    runs = client.execute(f"SELECT id, experiment_id, {columns} FROM runs").fetchall()
    return {
        "experiments": sorted(map(repr, client.execute("SELECT name, comment, tags, extras FROM experiments"))),
        "runs": {origin[run[0]]: (names[run[1]], *map(canonical, run[2:])) for run in runs},
        "experiment_links": {
            (names[from_id], kind, names[to_id])
            for from_id, kind, to_id in client.execute("SELECT from_id, kind, to_id FROM experiment_links")
        },
        "run_links": {
            (origin[from_id], kind, origin[to_id])
            for from_id, kind, to_id in client.execute("SELECT from_id, kind, to_id FROM run_links")
        },
        "metrics": metrics_by_origin(client),
    }


def fill(client: sqltrack.Client, runs: int = 6, rows: int = 40) -> None:
    """Fill a database with values of every type."""
    experiments = [sqltrack.Experiment(client, name=f"experiment {i}").add_tags(f"tag {i}") for i in range(3)]
    experiments[0].set_comment("50% 'off'").add_link("continues", experiments[1].id)
    client.execute("UPDATE experiments SET extras = %s WHERE id = %s", (jsonb({"a": [1.5, None]}), experiments[1].id))
    made = []
    for number in range(runs):
        run = experiments[number % 2].get_run(10 + 3 * number if number % 3 == 0 else None)
        run.set_args({"lr": 0.1 * number, "deep": {"er": [True, None, "ä"]}, "big": 2**60}).set_env({"PATH": "/bin"})
        run.add_tags("good").set_extras({"nan": math.nan}).set_comment(f"run {number}")
        client.metrics.add_many(run.id, [row_of_metrics(step) for step in range(rows)], None)
        run.set_created(OLD + timedelta(microseconds=number)).set_started(OLD).set_updated(OLD + timedelta(hours=1))
        run.set_status(("COMPLETED", "FAILED", "RUNNING")[number % 3])
        made.append(run)
    for run in made[1:]:
        run.add_link("after", made[0].id)


def row_of_metrics(step: int) -> dict[str, Any]:
    # Rows have some twenty different sets of metrics.
    randoms = random.Random(step % 20)
    row: dict[str, Any] = {"step": step, "progress": step / 7}
    row.update((name, randoms.random()) for name in NAMES if randoms.random() < 0.7)
    special = {
        "int": step,
        "int then float": step if step < 5 else step + 0.5,
        "float": randoms.choice([math.nan, math.inf, -math.inf, 0.1, 1e300]),
        "bool": step % 2 == 0,
        "text": "ä%s\n'",
        "bytes": bytes(range(step % 5)),
        "date": date(2026, 1, 1) + timedelta(days=step),
        "datetime": OLD + timedelta(microseconds=step),
        "timedelta": timedelta(days=step, microseconds=1),
        "json": {"a": [step, None, {"b": "c"}]},
        "null": None,
        "huge int": 2**70,
        "mixed": "text" if step % 9 == 0 else 1.5,
    }
    row.update((name, value) for name, value in special.items() if randoms.random() < 0.6)
    return row if step else {"step": 0}


# -- what is copied ----------------------------------------------------------------------------------------------------


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
    dump = full_dump(target)
    assert copy(client, target, full=full) == CopyResult(runs_unchanged=6)
    assert full_dump(target) == dump


@pytest.mark.parametrize("full", [False, True])
def test_nothing_is_added_where_the_runs_come_from(
    client: sqltrack.Client, target: sqltrack.Client, create: Create, full: bool
) -> None:
    fill(client)
    dump = full_dump(client)
    copy(client, target)
    fresh = create("sqlite")
    copy(target, fresh)
    for database in (target, fresh):
        assert copy(database, client, full=full) == CopyResult(runs_unchanged=6)
    assert full_dump(client) == dump


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


def test_experiments_of_one_name_are_one_and_keep_what_they_have(
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


def test_a_run_that_goes_on_is_followed_and_what_only_the_target_has_stays(
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


def test_a_run_that_went_on_in_the_copy_is_followed_back_and_else_only_gets_what_it_lacks(
    client: sqltrack.Client, target: sqltrack.Client
) -> None:
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
    monkeypatch.setattr(_copy_rows, "_MAX_MEMORY", 1000)
    monkeypatch.setattr("sqltrack.commands._copy_records._ROWS_PER_CHUNK", 7)
    fill(client)
    copy(client, target)
    assert by_origin(target) == by_origin(client)
    assert copy(client, target, full=True) == CopyResult(runs_unchanged=6)


# -- the source is only read -------------------------------------------------------------------------------------------


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


def test_a_job_can_write_to_the_source_while_what_was_read_is_stored(create: Create) -> None:
    source, target = create("sqlite"), create("sqlite")
    run = sqltrack.Experiment(source, name="e").get_run().add_metrics({"loss": 1.0}, step=1)
    path = source.config["dbpath"]
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


READ_AS_NOBODY = """
import os, sys, urllib.parse
import sqltrack, sqltrack.engines.sqlite
if os.getuid() == 0:
    os.setuid(65534)
engine = sqltrack.Client(engine="sqlite", dbpath=sys.argv[1]).engine
connection = engine.open_for_reading()
with engine.snapshot(connection):
    print(connection.execute("SELECT COUNT(*) FROM runs").fetchone()[0])
connection.close()
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_a_file_in_a_folder_that_cannot_be_written_to_is_copied(create: Create, journal: str) -> None:
    source, target = create("sqlite"), create("sqlite")
    fill(source, runs=2, rows=3)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "source.db")
        path.write_bytes(Path(source.config["dbpath"]).read_bytes())
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute(f"PRAGMA journal_mode = {journal}")
        path.chmod(0o444)
        Path(folder).chmod(0o555)
        command = [sys.executable, "-c", READ_AS_NOBODY, str(path)]
        assert subprocess.run(command, capture_output=True, text=True, check=True, cwd="/").stdout == "2\n"
        copy(sqltrack.Client({"engine": "sqlite", "dbpath": str(path)}), target)
        Path(folder).chmod(0o700)
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


# -- interrupted, and at the same time ---------------------------------------------------------------------------------


def command(source: sqltrack.Client, target: sqltrack.Client) -> list[str]:
    return [str(PROGRAM), "copy", address(source), address(target), "--json"]


def start(source: sqltrack.Client, target: sqltrack.Client, **options: Any) -> AbstractContextManager[Any]:
    return running(command(source, target), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def wait_for_rows(client: sqltrack.Client, number: int) -> None:
    deadline = time.monotonic() + 30
    while client.execute("SELECT COUNT(*) FROM metrics").fetchone()[0] < number:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_copy_that_was_killed_is_completed_by_the_next(client: sqltrack.Client, target: sqltrack.Client) -> None:
    fill(client, runs=14, rows=100)
    total = client.execute("SELECT COUNT(*) FROM metrics").fetchone()[0]
    for part in (0.01, 0.2, random.uniform(0.2, 0.8), 0.9):
        with start(client, target) as process:
            wait_for_rows(target, round(total * part))
            time.sleep(random.uniform(0, 0.02))
            process.kill()
            process.communicate()
    copy(client, target)
    assert by_origin(target) == by_origin(client)
    dump = full_dump(target)
    assert copy(client, target, full=True) == CopyResult(runs_unchanged=14)
    assert full_dump(target) == dump


@pytest.mark.unmeasured
def test_ctrl_c_is_one_line_and_the_next_copy_goes_on(client: sqltrack.Client, target: sqltrack.Client) -> None:
    fill(client, runs=14, rows=120)
    with start(client, target) as process:
        wait_for_rows(target, 100)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=30)
    lines = [line for line in errors.splitlines() if not line.startswith("metric ")]
    assert (process.returncode, output, lines) == (130, "", ["sqltrack: interrupted"])
    copy(client, target)
    assert by_origin(target) == by_origin(client)


def test_two_copies_at_the_same_time_are_one(client: sqltrack.Client, target: sqltrack.Client) -> None:
    fill(client, runs=20, rows=50)
    other = sqltrack.Experiment(target, name="other")
    for run_id in range(1, 12, 2):
        other.get_run(run_id)
    ended = run_together([command(client, target)] * 3)
    assert [done.returncode for done in ended] == [0, 0, 0], ended
    assert sum(json.loads(done.stdout)["runs"] for done in ended) >= 20
    assert target.execute("SELECT COUNT(*) FROM runs").fetchone() == (26,)
    target.execute("DELETE FROM experiments WHERE id = %s", (other.id,))
    assert by_origin(target) == by_origin(client)


def test_two_databases_with_the_same_ids_go_into_one_at_the_same_time(create: Create, target: sqltrack.Client) -> None:
    sources = [create("sqlite") for _ in range(2)]
    for index, source in enumerate(sources):
        fill(source, runs=10, rows=10)
        # Runs of different databases are not created in the same microsecond.
        source.execute("UPDATE runs SET time_created = %s || substr(time_created, 5)", (str(2020 + index),))
    ended = run_together([command(source, target) for source in sources])
    assert [done.returncode for done in ended] == [0, 0], ended
    copied = by_origin(target)
    for source in sources:
        expected = by_origin(source)
        assert expected["metrics"].items() <= copied["metrics"].items()
        assert expected["run_links"] <= copied["run_links"]
    assert len(copied["runs"]) == 20


WRITER = """
run = Experiment(client, name="live").get_run()
with run.track():
    confirm(run.id)
    step = 0
    while True:
        run.add_metrics({"loss": 1 / (step + 1), f"new {step % 40}": step}, step=step)
        run.add_metrics({"val": float(step)}, step=step)
        step += 1
        time.sleep(0.002)
"""


def test_a_run_that_goes_on_is_complete_after_a_last_copy(client: sqltrack.Client, target: sqltrack.Client) -> None:
    with Script(WRITER, client.config) as writer:
        writer.read_line()
        for _ in range(6):
            copy(client, target)
            time.sleep(0.1)
        writer.send_signal(signal.SIGKILL)
        writer.finish()
    copy(client, target)
    assert by_origin(target) == by_origin(client)
    assert len(by_origin(target)["metrics"]) > 50
    dump = full_dump(target)
    copy(client, target)
    assert full_dump(target) == dump


def test_a_dry_run_tells_the_same_and_changes_nothing(client: sqltrack.Client, target: sqltrack.Client) -> None:
    fill(client)
    dump = full_dump(target)
    expected = copy(client, target, dry_run=True)
    assert full_dump(target) == dump
    assert copy(client, target) == expected
    run = sqltrack.Run(client, run_id=10).add_metrics({"new": 1.0}, step=1000).add_metrics({"new": 1}, step=0)
    run.add_link("new", 10)
    dump = full_dump(target)
    expected = copy(client, target, dry_run=True)
    assert full_dump(target) == dump
    assert expected == CopyResult(runs_changed=1, runs_unchanged=5, rows=1, rows_changed=1, links=1)
    assert copy(client, target) == expected


# -- the command line --------------------------------------------------------------------------------------------------


def test_the_program_says_what_it_did(
    client: sqltrack.Client, target: sqltrack.Client, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(client)
    command = ["copy", address(client), address(target)]
    assert main([*command, "--dry-run"]) == 0
    line = "added: 3 experiments, 6 runs, 240 rows of metrics, 6 links\n"
    assert capsys.readouterr().out == f"would be {line}"
    assert main(command) == 0
    assert capsys.readouterr().out == line
    sqltrack.Run(client, run_id=10).set_comment("new")
    assert main(command) == 0
    assert capsys.readouterr().out == (
        "added: 0 experiments, 0 runs, 0 rows of metrics, 0 links\n"
        "changed: 0 experiments, 1 run, 0 rows of metrics\n"
        "unchanged: 5 runs\n"
    )
    assert main([*command, "--json", "--experiment", "experiment 1"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["runs_unchanged"], printed["links_left_out"], printed["dry_run"]) == (3, 0, False)


def test_the_program_says_which_links_it_left_out(
    client: sqltrack.Client, target: sqltrack.Client, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(client)
    assert main(["copy", address(client), address(target), "--experiment", "experiment 0"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "left out: 4 links to what is not copied"


def test_the_configured_database_is_a_point(
    client: sqltrack.Client,
    options: list[str],
    target: sqltrack.Client,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fill(client, runs=2, rows=2)
    # These are for the configured database, and not for one that is named.
    monkeypatch.setenv("SQLTRACK_DSN_DBPATH", "nowhere/nothing.db")
    monkeypatch.setenv("SQLTRACK_DSN_DBNAME", "nothing")
    config = Path("other.conf")
    config.write_text("".join(f"{name} = {value}\n" for name, value in target.config.items() if value is not None))
    assert main(["copy", ".", str(config), *options]) == 0
    assert by_origin(target) == by_origin(client)
    assert main(["copy", str(config), "configured", *options]) == 0
    assert "unchanged: 2 runs" in capsys.readouterr().out


def test_the_target_is_set_up_if_that_is_asked_for(
    client: sqltrack.Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(client, runs=2, rows=2)
    path = tmp_path / "archive.db"
    command = ["copy", address(client), str(path)]
    assert main(command) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert main([*command, "--setup", "--dry-run"]) == 1
    assert not path.exists()
    assert main([*command, "--setup", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["runs"] == 2
    assert by_origin(client_of(str(path))) == by_origin(client)


def test_addresses_are_told_apart(tmp_path: Path, postgres_server: Any) -> None:
    Path("empty").touch()
    Path("text").write_text("engine = sqlite\ndbpath = here.db\n")
    Path("binary").write_bytes(b"\x7fELF\0\0")
    Path("host=x").write_bytes(b"SQLite format 3\0 and so on")
    for path in ("empty", "missing.db", "host=x", "~/file"):
        expected = Path(path).expanduser()
        assert client_of(path).config == {"engine": "sqlite", "dbpath": str(expected)}
    assert client_of("text").config["dbpath"] == "here.db"
    uri = "postgresql://al%20ice:pa%25ss@host:1234/db?sslmode=require&schema=my%20schema"
    assert client_of(uri).config == {
        "engine": "postgres",
        "user": "al ice",
        "password": "pa%ss",
        "host": "host",
        "port": "1234",
        "dbname": "db",
        "sslmode": "require",
        "schema": "my schema",
    }
    assert client_of("postgres://host/db?schema=s").config["schema"] == "s"
    assert client_of("host='a b' dbname = x").config == {"engine": "postgres", "host": "a b", "dbname": "x"}
    odd = client_of(r"schema = 'it\'s mine' host=x password='schema=no \\' dbname=y")
    assert odd.config == {
        "engine": "postgres",
        "host": "x",
        "password": "schema=no \\",
        "dbname": "y",
        "schema": "it's mine",
    }
    assert client_of("host=x schema=s").config["schema"] == "s"
    for path, message in (
        ("binary", "neither a SQLite database nor a config file"),
        ("missing.conf", "does not exist"),
        ("mysql://user:secret@host/db", "unknown kind of address 'mysql://…'"),
        ("postgresql://user:secret@host/db?nonsense=secret", "cannot be understood"),
        ("host=x password='secret", "cannot be understood"),
    ):
        with pytest.raises(ConfigError, match=message) as caught:
            client_of(path)
        assert "secret" not in str(caught.value)


def test_source_and_target_must_not_be_the_same(client: sqltrack.Client, tmp_path: Path) -> None:
    same = dict(client.config)
    if same["engine"] == "sqlite":
        (tmp_path / "link.db").symlink_to(same["dbpath"])
        same["dbpath"] = str(tmp_path / "link.db")
    else:
        same["host"] = "localhost" if same.get("host") != "localhost" else "127.0.0.1"
    with pytest.raises(ConflictError, match="are the same database"):
        copy(client, sqltrack.Client(same))


def test_what_is_no_database_of_sqltrack_is_neither_read_nor_written(
    client: sqltrack.Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "foreign.db")) as connection:
        connection.execute("CREATE TABLE t (x)")
    here = address(client)
    for source, target, message in (
        ("missing.db", here, "does not exist; there is nothing to copy from it"),
        ("foreign.db", here, "has no sqltrack tables; there is nothing to copy from it"),
        (here, "missing.db", "does not exist; set it up with"),
        (here, "foreign.db", "has no sqltrack tables; set it up with"),
        ("host=nowhere.invalid password=secret", here, "cannot connect to PostgreSQL database"),
        (here, "postgresql://user:secret@nowhere.invalid/x", "cannot connect to PostgreSQL database"),
        (here, "folder/missing.db", "does not exist"),
    ):
        assert main(["copy", source, target]) == 1
        output, errors = capsys.readouterr()
        assert (output, errors.count("\n")) == ("", 1)
        assert message in errors
        assert "secret" not in errors
    assert not Path("missing.db").exists()


def test_an_unknown_experiment_is_an_error(
    client: sqltrack.Client, target: sqltrack.Client, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(client, runs=1, rows=1)
    dump = full_dump(target)
    assert main(["copy", address(client), address(target), "--experiment", "experimant 1"]) == 1
    assert "did you mean 'experiment 1'" in capsys.readouterr().err
    assert full_dump(target) == dump


def test_both_databases_must_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["copy", "one.db"])
    assert caught.value.code == 2


@pytest.mark.unmeasured
@pytest.mark.skipif(os.name == "nt", reason="Windows has no such limits")
def test_a_full_disk_is_one_line_and_the_next_copy_goes_on(client: sqltrack.Client, create: Create) -> None:
    target = create("sqlite")
    fill(client, runs=14, rows=120)
    limit = Path(target.config["dbpath"]).stat().st_size + 300_000

    def small_files() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    with start(client, target, preexec_fn=small_files) as process:
        output, errors = process.communicate(timeout=60)
    lines = [line for line in errors.splitlines() if not line.startswith("metric ")]
    assert (process.returncode, output, len(lines)) == (1, "", 1), errors
    assert lines[0].startswith(f"sqltrack: database {target.config['dbpath']!r}: ")
    copy(client, target)
    assert by_origin(target) == by_origin(client)


def test_a_target_that_goes_away_is_an_error(client: sqltrack.Client, target: sqltrack.Client) -> None:
    fill(client, runs=2, rows=2)
    target.execute("DROP TABLE run_links")
    with pytest.raises(NotSetUpError):
        copy(client, target)
    with pytest.raises(SQLTrackError):
        copy(target, client)


# -- what changes meanwhile, and what is odd ---------------------------------------------------------------------------


def test_runs_that_are_deleted_from_the_source_meanwhile_are_left_out(
    client: sqltrack.Client, target: sqltrack.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(client)
    monkeypatch.setattr("sqltrack.commands._records._BATCH", 2)
    run_ids = [run_id for (run_id,) in client.execute("SELECT id FROM runs ORDER BY id")]

    def delete_others(done: int, total: int) -> None:
        # One that has been looked at by now, and one that has not.
        client.execute("DELETE FROM runs WHERE id IN (%s, %s)", (run_ids[1], run_ids[2]))

    assert copy(client, target, progress=delete_others).runs == len(run_ids) - 2
    assert by_origin(target) == by_origin(client)


DELETING = {
    "sqlite": [
        "CREATE TRIGGER forget AFTER INSERT ON copied_runs BEGIN DELETE FROM runs WHERE id = NEW.run_id; END",
    ],
    "postgres": [
        """
        CREATE FUNCTION forget() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN DELETE FROM runs WHERE id = NEW.run_id; RETURN NULL; END $$
        """,
        "CREATE TRIGGER forget AFTER INSERT ON copied_runs FOR EACH ROW EXECUTE FUNCTION forget()",
    ],
}


def test_a_run_that_is_deleted_from_the_target_meanwhile_is_an_error(
    client: sqltrack.Client, target: sqltrack.Client
) -> None:
    fill(client, runs=1, rows=1)
    copy(client, target)
    for statement in DELETING[target.engine.name]:
        target.execute(statement)
    run = sqltrack.Experiment(client, name="experiment 1").get_run()
    with pytest.raises(MissingRunError, match=f"{run.id}.*deleted from the target while it was copied"):
        copy(client, target)


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


def test_types_that_only_postgresql_has_become_what_is_nearest(create: Create, postgres_server: Any) -> None:
    source, target = create("postgres"), create("sqlite")
    source.execute("ALTER TABLE metrics ADD COLUMN price NUMERIC, ADD COLUMN at TIME")
    sqltrack.Experiment(source, name="e").get_run().add_metrics({"loss": 1.0}, step=1)
    source.execute("UPDATE metrics SET price = 1.5, at = '12:30'")
    copy(source, target)
    assert target.execute("SELECT price, at FROM metrics").fetchall() == [(1.5, "12:30:00")]
