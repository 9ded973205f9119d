"""`sqltrack rename-metric` renames a metric, or moves its values to another metric."""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack.cli import main
from sqltrack.commands.rename_metric import apply_rename_metric, plan_rename_metric
from sqltrack.errors import ConflictError, DatabaseError, DatabaseLockedError, NotFoundError, UnusableValueError
from support.connections import on_one_connection
from support.dumps import dump
from support.extras import add_extras, column, columns, extras
from support.plans import rename_metric
from support.processes import Program, running
from support.questions import CTRL_C, answer

pytestmark = pytest.mark.one_engine


@pytest.fixture
def other(client: sqltrack.Client) -> sqltrack.Run:
    """A run of another experiment."""
    return sqltrack.Experiment(client, name="other").get_run()


@pytest.fixture
def client(client: sqltrack.Client, run: sqltrack.Run, other: sqltrack.Run) -> sqltrack.Client:
    """Two runs that have logged acc at three steps."""
    with on_one_connection(client):
        for each in (run, other):
            for step in range(3):
                each.add_metrics({"acc": each.id + step / 10, "loss": 0.5}, step)
    return client


ALL = [1.0, 1.1, 1.2, 2.0, 2.1, 2.2]


@pytest.mark.parametrize("name", ["accuracy", "a%b\"c;'", "ACC", "größe 🙂"])
def test_the_column_gets_the_other_name(client: sqltrack.Client, run: sqltrack.Run, name: str) -> None:
    before = columns(client)
    done = rename_metric(client, "acc", name)
    assert (done.column, done.values, len(done.runs)) == ("rename", 6, 2)
    assert list(columns(client)) == [name if column == "acc" else column for column in before]
    assert column(client, name) == ALL
    run.add_metrics({name: 7.0}, 3)
    assert column(client, name)[3] == 7.0


@pytest.mark.parametrize("name", ["step", "progress", "run_id", "extras"])
def test_no_value_is_left_of_a_metric_that_is_called_like_another_column(
    client: sqltrack.Client, run: sqltrack.Run, options: list[str], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The columns of those names hold no values of metrics, in one experiment or in all."""
    for value, chosen in enumerate(([], ["--experiment", "experiment"])):
        run.add_metrics({name: value}, 7)
        assert main(["rename-metric", name, f"mine{value}", "--yes", *chosen, *options]) == 0
        assert capsys.readouterr().err.splitlines()[-1] == "renamed"
    assert extras(client)[3] == {"mine0": 0, "mine1": 1}


def test_a_key_is_not_a_value_of_both_metrics(client: sqltrack.Client, run: sqltrack.Run) -> None:
    """A row that gets only the new name in the meantime has no value of the old one, which is called step."""
    run.add_metrics({"step": 1.5}, 7)
    planned = plan_rename_metric(client, "step", "mine")
    add_extras(client, run.id, {8: {"mine": 2.5}})
    done = apply_rename_metric(client, planned)
    assert (done.extras, done.left, done.both) == (1, 0, 0)


def test_a_writer_recreates_the_old_name_and_continues(
    client: sqltrack.Client, run: sqltrack.Run, config: dict[str, Any]
) -> None:
    stop = threading.Event()
    failures: list[BaseException] = []
    writer = sqltrack.Client(config)
    logged = [0]

    def log() -> None:
        try:
            mine = sqltrack.Run(writer, run_id=run.id)
            with mine.track():
                while not stop.is_set():
                    mine.add_metrics({"acc": 0.5}, 100 + logged[0])
                    logged[0] += 1
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=log)
    thread.start()
    try:
        for number in range(5):
            time.sleep(0.1)
            rename_metric(client, "acc", f"acc{number}")
            deadline = time.monotonic() + 30
            while "acc" not in columns(client) and time.monotonic() < deadline:
                time.sleep(0.01)
    finally:
        stop.set()
        thread.join()
    assert failures == []
    names = [f"acc{number}" for number in range(5)] + ["acc"]
    counted = [value for name in names for value in column(client, name) if value == 0.5]
    assert len(counted) == logged[0] > 0


def test_values_in_extras_get_the_other_name_too(client: sqltrack.Client, run: sqltrack.Run) -> None:
    add_extras(client, run.id, {5: {"acc": "text", "more": 1}})
    add_extras(client, run.id, {6: {"acc": 0.5}})
    assert rename_metric(client, "acc", "accuracy").extras == 2
    kept = client.execute("SELECT extras FROM metrics WHERE step > 4 ORDER BY step").fetchall()
    assert kept == [({"accuracy": "text", "more": 1},), ({"accuracy": 0.5},)]
    assert column(client, "accuracy")[:3] == ALL[:3]


def test_a_metric_that_is_in_extras_only(client: sqltrack.Client, run: sqltrack.Run, other: sqltrack.Run) -> None:
    long = "x" * 80
    add_extras(client, run.id, {5: {long: 1}})
    add_extras(client, other.id, {5: {long: 2}})
    done = rename_metric(client, long, long + "y", experiment="other")
    assert (done.column, done.extras) == (None, 1)
    kept = client.execute("SELECT extras FROM metrics WHERE step = 5 ORDER BY run_id").fetchall()
    assert kept == [({long: 1},), ({long + "y": 2},)]


@pytest.mark.engines("postgres")
def test_pending_metrics_get_the_other_name(client: sqltrack.Client, run: sqltrack.Run) -> None:
    sql = "INSERT INTO metrics_pending (run_id, step, progress, extras) VALUES (%s, 9, 0, '{\"acc\": 1}')"
    client.execute(sql, (run.id,))
    assert rename_metric(client, "acc", "accuracy").extras == 1
    assert client.execute("SELECT extras FROM metrics WHERE step = 9").fetchall() == [({"accuracy": 1},)]


def test_only_the_runs_of_an_experiment(client: sqltrack.Client) -> None:
    before = columns(client)
    done = rename_metric(client, "acc", "accuracy", experiment="other")
    assert (done.column, done.values) == ("move", 3)
    assert columns(client) == {**before, "accuracy": before["acc"]}
    assert column(client, "acc") == [*ALL[:3], None, None, None]
    assert column(client, "accuracy") == [None, None, None, *ALL[3:]]


def test_merging_moves_values_where_there_is_none_and_leaves_no_empty_column(
    client: sqltrack.Client, run: sqltrack.Run, other: sqltrack.Run
) -> None:
    run.add_metrics({"accuracy": 0.25}, 7)
    with pytest.raises(ConflictError, match="--merge"):
        rename_metric(client, "acc", "accuracy")
    rename_metric(client, "acc", "accuracy", merge=True)
    assert column(client, "accuracy") == [*ALL[:3], 0.25, *ALL[3:]]
    assert "acc" not in columns(client)
    other.add_metrics({"acc": math.nan}, 8)
    rename_metric(client, "acc", "accuracy", experiment="other")
    assert math.isnan(column(client, "accuracy")[-1])
    assert column(client, "acc") == [None] * 8


@pytest.mark.parametrize("options", [{"merge": True}, {"experiment": "experiment"}])
def test_rows_that_have_values_of_both_are_counted_and_nothing_is_done(
    client: sqltrack.Client, run: sqltrack.Run, options: dict[str, Any]
) -> None:
    run.add_metrics({"accuracy": 0.25}, 1).add_metrics({"accuracy": 0.25}, 2)
    before = dump(client)
    with pytest.raises(ConflictError, match="both .* have values in 2 rows;"):
        rename_metric(client, "acc", "accuracy", **options)
    assert dump(client) == before
    # The values of the other experiment do not matter.
    assert rename_metric(client, "acc", "accuracy", experiment="other").values == 3


@pytest.mark.parametrize(
    ("in_columns", "in_extras"), [("acc", "accuracy"), ("accuracy", "acc"), (None, "both"), ("loss", "both")]
)
def test_so_are_those_that_have_them_in_different_places(
    client: sqltrack.Client, run: sqltrack.Run, in_columns: str | None, in_extras: str
) -> None:
    if in_columns:
        run.add_metrics({in_columns: 0.5}, 20)
    add_extras(client, run.id, {20: {"acc": 1, "accuracy": 2} if in_extras == "both" else {in_extras: 1.0}})
    before = dump(client)
    with pytest.raises(ConflictError, match="both .* have values in 1 row;"):
        rename_metric(client, "acc", "accuracy", merge=True)
    assert dump(client) == before


def test_columns_of_different_numbers_are_merged_exactly(client: sqltrack.Client, run: sqltrack.Run) -> None:
    run.add_metrics({"n": 3}, 10)
    rename_metric(client, "n", "acc", merge=True)
    assert column(client, "acc") == [*ALL[:3], 3, *ALL[3:]]
    run.add_metrics({"m": 5}, 11)
    rename_metric(client, "acc", "m", merge=True)
    assert column(client, "m") == [*ALL[:3], 3, 5, *ALL[3:]]


@pytest.mark.parametrize("value", ["text", True, 2**53 + 1])
def test_values_that_the_other_column_would_alter_are_refused(
    client: sqltrack.Client, run: sqltrack.Run, other: sqltrack.Run, value: Any
) -> None:
    other.add_metrics({"odd": value}, 10)
    if type(value) is int:
        # Of an earlier run, which could have been moved.
        run.add_metrics({"odd": 1}, 10)
    with pytest.raises(ConflictError, match=f"'odd' has the value {value!r}"):
        rename_metric(client, "odd", "acc", merge=True)
    assert [found for found in column(client, "odd") if found is not None] == (
        [1, value] if type(value) is int else [value]
    )
    assert [found for found in column(client, "acc") if found is not None] == ALL


@pytest.mark.engines("postgres")
def test_the_holder_of_a_lock_is_named_and_writers_do_not_stall(
    client: sqltrack.Client,
    run: sqltrack.Run,
    config: dict[str, Any],
    engine_name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from sqltrack.engines.postgres import admin

    # Much longer than a busy machine takes for a call.
    monkeypatch.setattr(admin, "_MAX_WAIT", 4.0)
    slowest = 0.0
    with sqltrack.Client(config) as reader:
        reader.execute("SELECT acc FROM metrics").fetchall()
        failures: list[BaseException] = []

        def rename() -> None:
            try:
                rename_metric(sqltrack.Client(config), "acc", "accuracy")
            except DatabaseLockedError as error:
                failures.append(error)

        thread = threading.Thread(target=rename)
        thread.start()
        with run.track():
            while thread.is_alive():
                begin = time.monotonic()
                run.add_metrics({"acc": 0.5}, 50)
                slowest = max(slowest, time.monotonic() - begin)
        thread.join()
    assert len(failures) == 1
    assert "sqltrack doctor" in str(failures[0])
    assert slowest < 3
    assert "acc" in columns(client)
    rename_metric(client, "acc", "accuracy")
    assert "acc" not in columns(client)


@pytest.mark.engines("postgres")
def test_who_may_not_change_the_table_is_told_so(
    client: sqltrack.Client, config: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"rename_{random.randrange(10**9)}"
    client.execute(f"CREATE ROLE {name} LOGIN")
    try:
        client.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {name}")
        words = [word for key, value in {**config, "user": name}.items() for word in (f"--{key}", str(value))]
        assert main(["rename-metric", "acc", "accuracy", "--yes", *words]) == 1
        error = capsys.readouterr().err.splitlines()[-1]
        assert "must be owner of table metrics" in error
    finally:
        client.execute(f"DROP OWNED BY {name}")
        client.execute(f"DROP ROLE {name}")


def test_killed_at_any_moment_the_rest_can_be_done_again(
    client: sqltrack.Client, experiment: sqltrack.Experiment, run: sqltrack.Run, options: list[str]
) -> None:
    for _ in range(40):
        each = experiment.get_run()
        each.add_metrics_many([{"step": step, "acc": step + 0.5} for step in range(100)])
    run.add_metrics({"accuracy": 0.25}, 99)
    program = Path(sys.executable).with_name("sqltrack")
    command = [program, "rename-metric", "acc", "accuracy", "--merge", "--yes", *options]
    for _ in range(5):
        with running(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
            # Killed at the end of the block.
            time.sleep(random.uniform(0.3, 0.8))
        if "acc" not in columns(client):
            break
        found = sorted(value for name in ("acc", "accuracy") for value in column(client, name) if value is not None)
        assert len(found) == 6 + 40 * 100 + 1
    if "acc" in columns(client):
        rename_metric(client, "acc", "accuracy", merge=True)
    assert sum(value is not None for value in column(client, "accuracy")) == 6 + 40 * 100 + 1


def test_it_says_what_will_be_done_and_warns_of_jobs_that_run(
    client: sqltrack.Client, run: sqltrack.Run, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    run.start()
    assert main(["rename-metric", "acc", "accuracy", "--yes", *options]) == 0
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "'acc' → 'accuracy': column renamed, 6 values of 2 runs",
        "1 run is RUNNING: jobs that still log 'acc' create it again",
        "renamed",
    ]


def test_json_tells_the_same(client: sqltrack.Client, options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rename-metric", "acc", "accuracy", "--json", "--yes", *options]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "name": "acc",
        "new_name": "accuracy",
        "experiment_id": None,
        "column": "rename",
        "runs": 2,
        "values": 6,
        "extras": 0,
        "running": 0,
        "merges": False,
        "left": 0,
        "both": 0,
        "renamed": True,
    }


@pytest.mark.parametrize("words", [["acc", "accuracy"], ["acc", "b", "--experiment", "other"]])
def test_a_dry_run_changes_nothing(
    client: sqltrack.Client, run: sqltrack.Run, options: list[str], words: list[str]
) -> None:
    add_extras(client, run.id, {5: {"acc": 1}})
    before = dump(client)
    assert main(["rename-metric", *words, "--dry-run", *options]) == 0
    assert dump(client) == before


@pytest.mark.parametrize(("text", "status"), [("y", 0), ("n", 1), (CTRL_C, 130)])
def test_it_obeys_the_answer(client: sqltrack.Client, options: list[str], text: str | None, status: int) -> None:
    before = dump(client)
    returned, _, errors = answer(["rename-metric", "acc", "accuracy", *options], text)
    assert returned == status, errors
    assert "rename 'acc' to 'accuracy'? [y/N]" in errors
    assert (dump(client) == before) == (status != 0)


def test_without_a_terminal_nothing_is_done(client: sqltrack.Client, options: list[str], program: Program) -> None:
    before = dump(client)
    done = program("rename-metric", "acc", "accuracy", *options, stdin=subprocess.DEVNULL)
    assert done.returncode == 1
    assert "--yes" in done.stderr
    assert dump(client) == before


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["ac", "accuracy"], 1, "there is no metric 'ac'; did you mean 'acc'?"),
        (["acc", "loss"], 1, "there is a metric 'loss' already; --merge"),
        (["acc", "acc"], 1, "must differ"),
        (["acc", ""], 1, "not empty, got ''"),
        (["acc", "step"], 1, "cannot be renamed to 'step'"),
        (["run_id", "acc2"], 1, "there is no metric 'run_id'"),
        (["extras", "acc2"], 1, "there is no metric 'extras'"),
        (["acc", "accuracy", "--experiment", "othr"], 1, "did you mean 'other'?"),
        (["acc"], 2, "NEW"),
    ],
)
def test_wrong_input_is_one_line(
    client: sqltrack.Client,
    options: list[str],
    words: list[str],
    status: int,
    says: str,
    one_line_error: Callable[[list[str]], tuple[int, str]],
) -> None:
    before = dump(client)
    returned, line = one_line_error(["rename-metric", *words, "--yes", *options])
    assert returned == status
    assert says in line
    assert dump(client) == before


def test_a_name_that_cannot_be_a_column_is_refused(
    client: sqltrack.Client, run: sqltrack.Run, engine_name: str
) -> None:
    name = "LOSS" if engine_name == "sqlite" else "ctid"
    before = dump(client)
    with pytest.raises(UnusableValueError, match="cannot be the name of a column here"):
        rename_metric(client, "acc", name)
    with pytest.raises(UnusableValueError, match="cannot be the name of a column here"):
        rename_metric(client, "acc", name, experiment="other")
    with pytest.raises(NotFoundError):
        rename_metric(client, name, "new")
    assert dump(client) == before


def test_progress_is_told_by_runs_and_rows_of_extras(
    client: sqltrack.Client, run: sqltrack.Run, other: sqltrack.Run
) -> None:
    run.add_metrics({"accuracy": 0.25}, 7)
    add_extras(client, run.id, {20: {"acc": 0.5}})
    add_extras(client, other.id, {20: {"else": 0.5}})
    told: list[int] = []
    done = apply_rename_metric(client, plan_rename_metric(client, "acc", "accuracy", merge=True), told.append)
    assert (done.values, done.extras) == (6, 1)
    assert (told[:2], told[-1]) == ([1, 2], 3)
    found = client.execute("SELECT extras FROM metrics WHERE extras IS NOT NULL ORDER BY run_id").fetchall()
    assert found == [({"accuracy": 0.5},), ({"else": 0.5},)]


def test_texts_of_a_users_column_are_merged(client: sqltrack.Client, run: sqltrack.Run) -> None:
    client.execute("ALTER TABLE metrics ADD COLUMN remark VARCHAR(20)")
    client.execute("UPDATE metrics SET remark = 'fine' WHERE run_id = %s AND step = 1", (run.id,))
    run.add_metrics({"note": "better"}, 2)
    rename_metric(client, "remark", "note", merge=True)
    assert column(client, "note")[:3] == [None, "fine", "better"]


@pytest.mark.engines("postgres")
def test_integers_go_to_a_users_column_of_decimals(client: sqltrack.Client, run: sqltrack.Run) -> None:
    client.execute("ALTER TABLE metrics ADD COLUMN price NUMERIC")
    run.add_metrics({"count": 3}, 1)
    rename_metric(client, "count", "price", merge=True)
    assert column(client, "price")[:3] == [None, 3, None]


@pytest.mark.engines("postgres")
def test_without_the_new_column_nothing_is_moved(client: sqltrack.Client, config: dict[str, Any]) -> None:
    with sqltrack.Client(config) as reader:
        reader.execute("SELECT acc FROM metrics").fetchall()
        with pytest.raises(DatabaseLockedError, match="column 'accuracy' could not be added"):
            rename_metric(client, "acc", "accuracy", experiment="other")
    assert column(client, "acc") == ALL
    rename_metric(client, "acc", "accuracy", experiment="other")
    assert column(client, "accuracy") == [None, None, None, *ALL[3:]]


@pytest.mark.engines("postgres")
def test_rows_of_extras_that_others_hold_are_counted(
    client: sqltrack.Client, run: sqltrack.Run, config: dict[str, Any]
) -> None:
    for step in (20, 21):
        add_extras(client, run.id, {step: {"late": step}})
    with sqltrack.Client(config) as other:
        other.execute("SELECT step FROM metrics WHERE step = 20 FOR UPDATE")
        with pytest.raises(DatabaseError, match="'late' is still in the extras of 1 row,"):
            rename_metric(client, "late", "later")
    assert rename_metric(client, "late", "later", merge=True).extras == 1
    found = client.execute("SELECT extras FROM metrics WHERE step >= 20 ORDER BY step").fetchall()
    assert found == [({"later": 20},), ({"later": 21},)]
