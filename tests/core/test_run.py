"""Runs are fetched or created, tracked, and described."""

from __future__ import annotations

import argparse
import asyncio
import itertools
import math
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import sqltrack.args
from sqltrack import Experiment, Run, run_add_metrics, run_from_env, run_set_comment
from sqltrack.errors import (
    ConflictError,
    DatabaseError,
    MissingExperimentError,
    MissingRunError,
    NaiveDatetimeError,
    UnusableValueError,
)
from support.connections import record_connections
from support.logging_threads import wait_until
from support.platforms import needs_posix

pytestmark = pytest.mark.also_on("duckdb")

TIME = datetime(2024, 5, 7, 12, 30, 15, 123456, tzinfo=timezone(timedelta(hours=2)))


def column(run: Run, name: str) -> Any:
    return run.client.execute(f"SELECT {name} FROM runs WHERE id = %s", (run.id,)).fetchone()[0]


def status(run: Run) -> str:
    return str(column(run, "status"))


# Ids


def test_a_new_run_is_planned_and_has_a_time(experiment: Experiment) -> None:
    before = datetime.now(timezone.utc)
    run = experiment.get_run()
    row = run.client.execute("SELECT * FROM runs").fetchone()
    assert row[:3] == (run.id, experiment.id, "PLANNED")
    assert before <= row[3] <= datetime.now(timezone.utc)
    assert row[4:] == (None,) * 7


def test_a_run_is_got_or_created_by_its_id(client: sqltrack.Client, experiment: Experiment) -> None:
    assert experiment.get_run(4711).id == 4711
    assert experiment.get_run(4711).id == 4711
    assert Run(client, run_id=4711).experiment_id == experiment.id
    assert client.execute("SELECT count(*) FROM runs").fetchone() == (1,)


def test_a_run_of_another_experiment_is_an_error_that_names_both(client: sqltrack.Client, run: Run) -> None:
    other = Experiment(client, name="other")
    with pytest.raises(ConflictError, match=f"run {run.id} belongs to experiment {run.experiment_id}, not {other.id}"):
        other.get_run(run.id)


def test_a_run_without_an_experiment_must_exist(client: sqltrack.Client) -> None:
    with pytest.raises(MissingRunError, match="no run with id 7; give an experiment"):
        Run(client, run_id=7)
    with pytest.raises(MissingExperimentError, match="no experiment with id 7"):
        Run(client, 7)
    with pytest.raises(MissingExperimentError, match="no experiment with id 7"):
        Run(client, 7, 8)
    with pytest.raises(ValueError, match="a new run needs an experiment"):
        Run(client)


def test_generated_ids_step_over_those_chosen_by_hand(experiment: Experiment) -> None:
    first = experiment.get_run().id
    for number in range(1, 6):
        experiment.get_run(first + number)
    assert experiment.get_run().id == first + 6


WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@pytest.mark.engines("postgres")
def test_generated_ids_step_over_one_that_is_just_being_chosen_by_hand(
    experiment: Experiment, config: dict[str, Any]
) -> None:
    """PostgreSQL only, because SQLite lets only one transaction write at a time."""
    first = experiment.get_run().id
    sql = "INSERT INTO runs (id, experiment_id) VALUES (%s, %s)"
    with ThreadPoolExecutor() as pool, sqltrack.Client(config) as other:
        other.execute(sql, (first + 1, experiment.id))
        created = pool.submit(experiment.get_run)
        wait_until(lambda: sqltrack.Client(config).execute(WAITING).fetchone() == (1,))
        other.commit()
        assert created.result(60).id == first + 2


@pytest.mark.engines("sqlite", "postgres", reason="a default of DuckDB cannot look for unused ids")
def test_plain_sql_gets_unused_ids_as_well(client: sqltrack.Client, experiment: Experiment) -> None:
    """The database itself generates ids that no earlier run has, even after runs with chosen ids."""
    for number in range(1, 4):
        experiment.get_run(number)
    client.execute("INSERT INTO runs (experiment_id) VALUES (%s)", (experiment.id,))
    ids = [run_id for (run_id,) in client.execute("SELECT id FROM runs ORDER BY id")]
    assert ids == [1, 2, 3, 4]


def test_a_text_names_the_variable_that_holds_the_id(experiment: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="environment variable 'SLURM_JOBID', .* is not set"):
        experiment.get_run("SLURM_JOBID")
    monkeypatch.setenv("SLURM_JOBID", "12_3")
    with pytest.raises(ValueError, match="environment variable 'SLURM_JOBID' should hold an id, got '12_3'"):
        experiment.get_run("SLURM_JOBID")
    monkeypatch.setenv("SLURM_JOBID", "123")
    assert experiment.get_run("SLURM_JOBID").id == 123


def test_the_environment_names_experiment_and_run(client: sqltrack.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The experiment's name or id is enough, and errors name the variables."""
    with pytest.raises(ValueError, match="set SQLTRACK_EXPERIMENT_NAME or SQLTRACK_EXPERIMENT_ID"):
        run_from_env(client)
    monkeypatch.setenv("SQLTRACK_EXPERIMENT_NAME", "")
    with pytest.raises(ValueError, match="no environment variable names"):
        run_from_env(client)
    assert client.execute("SELECT count(*) FROM experiments").fetchone() == (0,)
    monkeypatch.setenv("SQLTRACK_EXPERIMENT_NAME", "from env")
    first = run_from_env(client)
    monkeypatch.setenv("SQLTRACK_EXPERIMENT_ID", str(first.experiment_id))
    assert run_from_env(client).experiment_id == first.experiment_id
    monkeypatch.setenv("SQLTRACK_EXPERIMENT_NAME", "")
    monkeypatch.setenv("SQLTRACK_RUN_ID", str(first.id))
    assert run_from_env(client).id == first.id
    monkeypatch.setenv("SQLTRACK_RUN_ID", "")
    with pytest.raises(ValueError, match="'SQLTRACK_RUN_ID' should hold an id, got ''"):
        run_from_env(client)


# Tracking


def test_a_tracked_run_is_running_and_then_completed(run: Run) -> None:
    with run.track() as tracked:
        assert tracked is run
        assert status(run) == "RUNNING"
        started, updated = column(run, "time_started"), column(run, "time_updated")
        assert abs(started - updated) < timedelta(seconds=1)
    assert status(run) == "COMPLETED"
    assert column(run, "time_started") == started
    assert column(run, "time_updated") > updated


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ZeroDivisionError("x"), "exception"),
        (KeyboardInterrupt(), "interrupt"),
        (asyncio.CancelledError(), "interrupt"),
        (TimeoutError(), "exception"),
        (SystemExit(), "normal"),
        (SystemExit(0), "normal"),
        (SystemExit(False), "normal"),
        (SystemExit(0.0), "exception"),
        (SystemExit(3), "exception"),
        (SystemExit("message"), "exception"),
        (GeneratorExit(), "exception"),
    ],
)
def test_the_way_a_block_ends_gives_the_status(run: Run, error: BaseException, expected: str) -> None:
    """Each end of a block has its status, and the exception is passed on unchanged."""
    with pytest.raises(type(error)) as info, run.track("normal", "exception", "interrupt", "terminated"):
        raise error
    assert info.value is error
    assert status(run) == expected


@needs_posix
def test_ctrl_c_in_an_asyncio_program_cancels_the_run(run: Run) -> None:
    async def train() -> None:
        with run.track():
            asyncio.get_running_loop().call_later(0.01, signal.raise_signal, signal.SIGINT)
            await asyncio.sleep(60)

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(train())
    assert status(run) == "CANCELLED"


def test_start_and_stop_do_the_same_as_track(run: Run) -> None:
    assert run.start(started=TIME, updated=TIME) is run
    assert (status(run), column(run, "time_started"), column(run, "time_updated")) == ("RUNNING", TIME, TIME)
    assert run.stop("DONE", updated=None) is run
    assert (status(run), column(run, "time_updated")) == ("DONE", TIME)


def test_a_run_that_was_not_started_may_be_stopped(run: Run) -> None:
    assert run.stop("SKIPPED") is run
    assert status(run) == "SKIPPED"
    assert column(run, "time_updated") is not None


def test_a_run_that_was_stopped_inside_the_block_keeps_its_status(run: Run) -> None:
    with run.track():
        run.stop("PREEMPTED")
    assert status(run) == "PREEMPTED"


def test_tracking_keeps_one_connection_until_stop(client: sqltrack.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Earlier calls have used the same connection."""
    opened = record_connections(client, monkeypatch)
    run = Experiment(client, name="experiment").get_run()
    with run.track():
        for step in range(20):
            run.add_metrics({"loss": 1.0}, step=step)
            run.set_comment(str(step))
    assert len(opened) == 1


def test_time_updated_follows_metrics_at_once_outside_of_tracked_runs(run: Run) -> None:
    run.add_metrics({"loss": 1.0})
    first = column(run, "time_updated")
    run.add_metrics({"loss": 1.0})
    assert column(run, "time_updated") > first
    run.add_metrics({"loss": 1.0}, updated=TIME)
    assert column(run, "time_updated") == TIME
    run.add_metrics({"loss": 1.0}, updated=None)
    assert column(run, "time_updated") == TIME


def test_time_updated_of_a_tracked_run_lags_by_a_second_at_most_and_is_exact_at_stop(run: Run) -> None:
    with run.track():
        deadline = time.monotonic() + 1.5
        while time.monotonic() < deadline:
            run.add_metrics({"loss": 1.0})
            lag = datetime.now(timezone.utc) - column(run, "time_updated")
            assert lag < timedelta(seconds=1.3)
            time.sleep(0.05)
        before_stop = datetime.now(timezone.utc)
    assert column(run, "time_updated") >= before_stop


def test_time_updated_in_a_block_lags_by_a_second_at_most(run: Run) -> None:
    """Even after an earlier time was set in the block, or its changes were rolled back."""
    run.set_updated(TIME)
    with run.client:
        for undo in (lambda: None, run.client.rollback, lambda: run.set_updated(TIME)):
            run.add_metrics({"loss": 1.0})
            undo()
            run.add_metrics({"loss": 1.0})
            assert datetime.now(timezone.utc) - column(run, "time_updated") < timedelta(seconds=1.3)
        run.add_metrics({"loss": 1.0}, updated=TIME)
        assert column(run, "time_updated") == TIME


@pytest.mark.engines("postgres", reason="SQLite keeps one version of a row")
def test_a_block_writes_the_row_of_its_run_not_for_each_call(run: Run) -> None:
    """PostgreSQL keeps a version of the row for each update in the block, and each further update reads all of them."""
    with run.client as connection:
        for step in range(20):
            run.add_metrics({"loss": 1.0}, step=step)
        sql = "SELECT n_tup_upd FROM pg_stat_xact_user_tables WHERE relname = 'runs'"
        assert connection.execute(sql).fetchone()[0] < 20


# Describing


def test_setters_chain_and_set(run: Run) -> None:
    chained = run.set_comment("c").set_status("s").set_created(TIME).set_started(TIME).set_updated(TIME)
    assert chained is run
    values = [column(run, name) for name in ("comment", "status", "time_created", "time_started", "time_updated")]
    assert values == ["c", "s", TIME, TIME, TIME]
    run.set_comment(None).set_created(None).set_started(None).set_updated(None)
    values = [column(run, name) for name in ("comment", "time_created", "time_started", "time_updated")]
    assert values == [None, TIME, TIME, TIME]
    run.set_started()
    assert column(run, "time_started") > TIME


def test_a_naive_datetime_is_refused_with_advice(run: Run) -> None:
    naive = datetime(2024, 5, 7)
    for call in (run.set_created, run.set_started, run.set_updated, lambda dt: run.start(started=dt)):
        with pytest.raises(NaiveDatetimeError, match=r"must have a time zone, .*use datetime\.now\(timezone\.utc\)"):
            call(naive)
    with pytest.raises(NaiveDatetimeError):
        run.add_metrics({"loss": 1.0}, updated=naive)
    with pytest.raises(ValueError, match="a timestamp must be 'auto', a datetime or None, got 'now'"):
        run.set_created("now")  # type: ignore[arg-type]
    assert status(run) == "PLANNED"


@pytest.mark.parametrize("name", ["args", "env", "extras"])
def test_items_are_set_added_and_removed_with_none_kept(run: Run, name: str) -> None:
    """`add_*` merges top-level keys and keeps a value None, and `set_*(None)` writes NULL."""
    setter, adder, remover = (getattr(run, f"{verb}_{name}") for verb in ("set", "add", "remove"))
    assert setter({"a": 1, "b": {"c": 2}}) is run
    assert adder({"b": {"d": 3}, "e": None, "k'\"\\.k": "v"}) is run
    assert column(run, name) == {"a": 1, "b": {"d": 3}, "e": None, "k'\"\\.k": "v"}
    adder(None)
    assert remover("a", "missing", {"b": 1}, ["k'\"\\.k"]) is run
    assert column(run, name) == {"e": None}
    setter(None)
    assert column(run, name) is None
    remover("a")
    assert column(run, name) is None
    adder({"a": 1})
    with pytest.raises(ValueError, match="a name must be a str, got 5"):
        remover("a", 5)
    assert column(run, name) == {"a": 1}


@pytest.mark.parametrize("odd", ["null", "5", "[1]"])
def test_items_replace_values_from_plain_sql_that_have_no_keys(run: Run, odd: str) -> None:
    run.client.execute("UPDATE runs SET args = %s", (odd,))
    run.remove_args("a").add_args({"a": 1})
    assert column(run, "args") == {"a": 1}


@pytest.mark.engines("sqlite")
def test_values_from_plain_sql_that_are_not_json_are_not_overwritten(run: Run) -> None:
    run.client.execute("UPDATE runs SET args = 'nonsense'")
    with pytest.raises(DatabaseError):
        run.add_args({"a": 1})
    assert column(run, "args") == "nonsense"


def test_tags_are_set_added_and_removed(run: Run) -> None:
    run.set_tags("a", "b").add_tags("c").remove_tags("a")
    assert column(run, "tags") == {"b": True, "c": True}


def test_args_may_come_as_a_namespace(run: Run) -> None:
    run.add_args(argparse.Namespace(lr=0.1, path=Path("x")))
    assert column(run, "args") == {"lr": 0.1, "path": "x"}
    with pytest.raises(ValueError, match=r"args must be a dict, .* got \[1\]"):
        run.set_args([1])


def test_args_that_cannot_be_detected_change_nothing(run: Run) -> None:
    run.set_args({"a": 1}).add_args().set_args()
    assert column(run, "args") == {"a": 1}


@pytest.mark.parametrize("outcome", [SystemExit(0), ValueError("no usage"), None])
def test_detecting_args_never_raises_or_exits(run: Run, monkeypatch: pytest.MonkeyPatch, outcome: Any) -> None:
    def detect_args() -> Any:
        if outcome is not None:
            raise outcome

    monkeypatch.setattr(sqltrack.args, "detect_args", detect_args, raising=False)
    run.set_args({"a": 1}).add_args("auto").set_args("auto")
    assert column(run, "args") == {"a": 1}


def test_without_the_package_that_detects_args_none_are_stored(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sqltrack.args", None)
    run.set_args({"a": 1}).add_args().set_args()
    assert column(run, "args") == {"a": 1}


def test_detected_args_are_stored(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqltrack.args, "detect_args", lambda: {"lr": 0.1, "data": Path("x")}, raising=False)
    assert column(run.add_args(), "args") == {"lr": 0.1, "data": "x"}
    assert column(run.set_args({}).set_args(), "args") == {"lr": 0.1, "data": "x"}


def test_links_between_runs_are_added_and_removed(run: Run, experiment: Experiment) -> None:
    other = experiment.get_run()
    assert run.add_link("resumes", other.id).add_link("resumes", other.id).add_link("repeats", other.id) is run
    query = "SELECT from_id, kind, to_id FROM run_links ORDER BY kind"
    assert run.client.execute(query).fetchall() == [(run.id, "repeats", other.id), (run.id, "resumes", other.id)]
    run.remove_link("repeats", other.id).remove_link("nothing", 99)
    assert run.client.execute(query).fetchall() == [(run.id, "resumes", other.id)]
    with pytest.raises(MissingRunError, match="no run with id 99"):
        run.add_link("resumes", 99)


@pytest.mark.engines("sqlite", "postgres", reason="DuckDB has no ON DELETE CASCADE")
def test_rows_go_when_their_run_goes(run: Run, experiment: Experiment) -> None:
    """Metrics and links are deleted with their run, and later calls for the run are errors."""
    run.add_metrics({"loss": 1.0}).add_link("resumes", experiment.get_run().id)
    run.client.execute("DELETE FROM runs WHERE id = %s", (run.id,))
    for table in ("metrics", "run_links"):
        assert run.client.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
    with pytest.raises(MissingRunError, match="it may have been deleted"):
        run.set_status("RUNNING")
    with pytest.raises(MissingRunError, match="it may have been deleted"):
        run.add_metrics({"loss": 1.0})


def test_the_environment_is_stored_with_credentials_masked(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables whose names look like credentials are masked, and so are passwords in URLs and connection strings."""
    shown = {"TOKENIZERS_PARALLELISM": "true", "NUM_TOKENS": "5", "SECOND": "x", "PLAIN_URL": "https://a/b"}
    hidden = ["SQLTRACK_DSN_PASSWORD", "PGPASSWORD", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "WANDB_API_KEY", "MyApiKey"]
    hidden += ["GOOGLE_APPLICATION_CREDENTIALS", "SSH_PRIVATE_KEY", "GH-TOKEN"]
    for name, value in {**shown, **dict.fromkeys(hidden, "s3cret")}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("DATABASE_URL", "postgresql://alice:p@s3cret@host/db")
    monkeypatch.setenv("DSN", "host=h password='s3cret x' user=u")
    env = column(run.add_env(), "env")
    assert shown.items() <= env.items()
    assert {env[name] for name in hidden} == {"***"}
    assert env["DATABASE_URL"] == "postgresql://alice:***@host/db"
    assert env["DSN"] == "host=h password=*** user=u"
    assert "s3cret" not in str(env)


def test_masking_can_be_extended_and_turned_off(config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_DOOR", "1234")
    monkeypatch.setenv("HF_TOKEN", "s3cret")
    run = Experiment(sqltrack.Client(config, mask_env_names="lab_*, OTHER"), name="a").get_run().set_env()
    assert (column(run, "env")["LAB_DOOR"], column(run, "env")["HF_TOKEN"]) == ("***", "***")
    run = Experiment(sqltrack.Client(config, mask_env="no"), name="a").get_run().set_env()
    assert (column(run, "env")["LAB_DOOR"], column(run, "env")["HF_TOKEN"]) == ("1234", "s3cret")


def test_an_environment_that_is_no_text_is_escaped(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that is not UTF-8 is stored with the invalid bytes escaped."""
    monkeypatch.setenv("ODD", b"caf\xe9".decode("utf-8", "surrogateescape"))
    assert column(run.add_env(), "env")["ODD"] == "caf\\udce9"


MINIMAL = """
import sqltrack
from sqltrack.commands import setup

client = sqltrack.Client()
setup(client)
experiment = sqltrack.Experiment(client, name="Minimal")
run = experiment.get_run()
with run.track():
    for epoch in range(90):
        run.add_metrics({"loss": 7 ** (1 / (epoch + 1))}, step=epoch)
"""


@pytest.mark.engines("sqlite", "postgres", reason="other processes do not know the engine of the tests")
def test_the_minimal_example_runs_on_each_engine(empty_config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in empty_config.items():
        monkeypatch.setenv(f"SQLTRACK_DSN_{name.upper()}", str(value))
    subprocess.run([sys.executable, "-c", MINIMAL], check=True, capture_output=True)
    client = sqltrack.Client(empty_config)
    rows = client.execute("SELECT * FROM metrics ORDER BY step").fetchall()
    assert rows == [(1, epoch, 0.0, 7 ** (1 / (epoch + 1))) for epoch in range(90)]
    assert client.execute("SELECT status FROM runs").fetchall() == [("COMPLETED",)]


@pytest.mark.parametrize("text", ["a\0b", "caf\udce9"])
def test_text_that_is_no_utf8_is_escaped(run: Run, text: str) -> None:
    escaped = text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()
    with run.set_comment(text).track(normal=text):
        run.add_link(text, run.id)
    assert run.client.execute("SELECT status, comment FROM runs").fetchall() == [(escaped, escaped)]
    assert run.client.execute("SELECT kind FROM run_links").fetchall() == [(escaped,)]
    assert run.remove_link(text, run.id).client.execute("SELECT kind FROM run_links").fetchall() == []


@pytest.mark.parametrize("taken", [2**52, 2**63 - 1])
def test_new_runs_get_ids_whatever_was_chosen_before(run: Run, taken: int) -> None:
    experiment = Experiment(run.client, run.experiment_id)
    assert experiment.get_run(taken).id == taken
    new = [experiment.get_run().id for _ in range(3)]
    assert len({run.id, taken, *new}) == 5
    assert max(new) < 2**52


def test_an_id_that_cannot_be_one_is_refused(run: Run) -> None:
    uses: list[Callable[[Any], Any]] = [
        lambda value: run_add_metrics(run.client, value, {"loss": 1.0}),
        lambda value: run_set_comment(run.client, value, "x"),
        lambda value: run.add_link("kind", value),
    ]
    values: list[Any] = [2**63, -(2**63) - 1, 10**400, 0.5, "x", math.nan, np.ma.masked, 1j]
    for use, value in itertools.product(uses, values):
        with pytest.raises(UnusableValueError, match="must be an integer"):
            use(value)


def test_an_id_of_any_integral_type_is_one(run: Run) -> None:
    values: list[Any] = [np.int64(1), np.float32(1), np.array(1), Decimal(1), 1.0]
    for step, value in enumerate(values):
        assert Run(run.client, run_id=value).id == run.id
        run_add_metrics(run.client, value, {"loss": 1.0}, step=step)
        run_set_comment(run.client, value, f"comment {step}")
        run.add_link(f"kind {step}", value)
    links = run.client.execute("SELECT from_id, to_id, kind FROM run_links ORDER BY kind").fetchall()
    assert links == [(run.id, run.id, f"kind {step}") for step in range(len(values))]
    rows = run.client.execute("SELECT run_id, step FROM metrics ORDER BY step").fetchall()
    assert rows == [(run.id, step) for step in range(len(values))]


def test_a_timestamp_that_no_database_can_keep_is_refused(run: Run) -> None:
    uses: list[Callable[[Any], Any]] = [
        lambda value: run.set_started(value),
        lambda value: run.start(started=value),
        lambda value: run.add_metrics({"loss": 1.0}, updated=value),
        lambda value: run.add_metrics_many([{"step": 1, "loss": 1.0}], updated=value),
    ]
    values: list[Any] = [
        pd.NaT,
        np.datetime64("2024-01-01"),
        datetime.max.replace(tzinfo=timezone(-timedelta(hours=11))),
        datetime.min.replace(tzinfo=timezone(timedelta(hours=14))),
    ]
    for use, value in itertools.product(uses, values):
        with pytest.raises(UnusableValueError, match="a timestamp must be"):
            use(value)
    assert status(run) == "PLANNED"
    assert run.client.execute("SELECT * FROM metrics").fetchall() == []
