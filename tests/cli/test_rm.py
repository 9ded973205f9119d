"""`sqltrack rm` deletes runs and experiments with everything that belongs to them, or nothing."""

from __future__ import annotations

import contextlib
import importlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

import sqltrack
from sqltrack.cli import main
from sqltrack.commands.rm import apply_rm, plan_rm
from sqltrack.engines.admin import admin_of
from sqltrack.errors import ConflictError, DatabaseLockedError, UnusableValueError
from support.connections import on_one_connection
from support.processes import Script, run_together, running
from support.questions import CTRL_C, answer

from .conftest import PROGRAM, wait_until_it_waits

pytestmark = pytest.mark.one_engine

Capture = pytest.CaptureFixture[str]

TABLES = ("experiments", "experiment_links", "runs", "run_links", "metrics")


@pytest.fixture
def client(client: sqltrack.Client) -> sqltrack.Client:
    """Runs 5, 6 and 7 of an experiment, 9 of another, and links between all of them."""
    with on_one_connection(client):
        first = sqltrack.Experiment(client, name="first")
        second = sqltrack.Experiment(client, name="second")
        first.add_link("continues", second.id)
        for run_id in (5, 6, 7):
            run = first.get_run(run_id).set_status("COMPLETED")
            for step in range(run_id):
                run.add_metrics({"loss": 0.5}, step=step)
        second.get_run(9)
        for from_id, kind, to_id in ((5, "resumes", 6), (6, "resumes", 7), (9, "repeats", 5)):
            sqltrack.run_add_link(client, from_id, kind, to_id)
    return client


def dump(client: sqltrack.Client) -> list[Any]:
    return [client.execute(f"SELECT * FROM {table} ORDER BY 1, 2, 3").fetchall() for table in TABLES]


def counts(client: sqltrack.Client) -> list[int]:
    return [client.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0] for table in TABLES]


def run_ids(client: sqltrack.Client) -> list[int]:
    return [run_id for (run_id,) in client.execute("SELECT id FROM runs ORDER BY id")]


def test_runs_go_with_all_that_belongs_to_them(client: sqltrack.Client, options: list[str], capsys: Capture) -> None:
    assert main(["rm", "5-6", "--yes", *options]) == 0
    output = capsys.readouterr()
    assert [line.rstrip() for line in output.out.splitlines()] == [
        "runs             2 (5, 6)",
        "rows of metrics  11",
        "links            3",
    ]
    assert output.err.startswith("2 runs, 11 rows of metrics and 3 links deleted\n")
    assert ("gc --vacuum" in output.err) == admin_of(client.engine).keeps_space
    assert run_ids(client) == [7, 9]
    assert counts(client) == [2, 1, 2, 0, 7]


def test_an_experiment_goes_with_its_runs(client: sqltrack.Client, options: list[str], capsys: Capture) -> None:
    assert main(["rm", "--experiment", "first", "--yes", "--json", *options]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "done": True,
        "experiment": "first",
        "runs": [5, 6, 7],
        "metrics": 18,
        "links": 4,
    }
    assert counts(client) == [1, 0, 1, 0, 0]


def test_an_experiment_without_runs_can_go(client: sqltrack.Client, options: list[str]) -> None:
    sqltrack.Experiment(client, name="empty")
    assert main(["rm", "--experiment", "empty", "--yes", *options]) == 0
    assert counts(client)[0] == 2


def test_a_dry_run_deletes_nothing(client: sqltrack.Client, options: list[str], capsys: Capture) -> None:
    before = dump(client)
    assert main(["rm", "5,6", "--dry-run", *options]) == 0
    assert capsys.readouterr().err == "2 runs, 11 rows of metrics and 3 links would be deleted\n"
    assert main(["rm", "--experiment", "first", "--dry-run", "--json", *options]) == 0
    assert json.loads(capsys.readouterr().out)["done"] is False
    assert dump(client) == before


def test_without_a_terminal_nothing_is_deleted(client: sqltrack.Client, options: list[str], capsys: Capture) -> None:
    before = dump(client)
    assert main(["rm", "5", *options]) == 1
    assert (
        capsys.readouterr().err
        == "sqltrack: cannot ask for confirmation: standard input is not a terminal (use --yes)\nnothing was deleted\n"
    )
    assert dump(client) == before


@pytest.mark.parametrize(("text", "status"), [(CTRL_C, 130), ("n", 1), ("y", 0)])
def test_only_a_confirmation_deletes(
    client: sqltrack.Client, options: list[str], text: str | None, status: int
) -> None:
    before = dump(client)
    ended, output, errors = answer(["rm", "5", *options], text)
    assert (ended, "rows of metrics  5" in output) == (status, True)
    assert errors.startswith("delete 1 run, 5 rows of metrics and 2 links? [y/N] ")
    assert (dump(client) == before) == (status != 0)
    if status == 130:
        assert errors.endswith("sqltrack: interrupted\n")


@contextlib.contextmanager
def locking(client: sqltrack.Client) -> Iterator[None]:
    """Hold a lock that a deletion has to wait for."""
    with client as connection:
        connection.execute("UPDATE runs SET comment = 'locked' WHERE id = 6")
        yield
        connection.rollback()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="open files are listed in /proc")
def test_ctrl_c_in_the_middle_deletes_nothing(client: sqltrack.Client, options: list[str]) -> None:
    before = dump(client)
    command = [str(PROGRAM), "rm", "5", "6", "7", "--yes", *options]
    with (
        locking(client),
        running(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process,
    ):
        wait_until_it_waits(process.pid, client.config)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (130, "sqltrack: interrupted\n")
    assert dump(client) == before


def test_ctrl_c_ends_a_long_deletion_without_a_trace(client: sqltrack.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sqltrack.commands._rows.BATCH", 2)
    before = dump(client)
    with pytest.raises(KeyboardInterrupt):
        apply_rm(client, plan_rm(client, [5, 6, 7]), interrupt)
    assert dump(client) == before


@pytest.mark.unmeasured
@pytest.mark.parametrize("seconds", [0.5, 0.8, *(pytest.param(n, marks=pytest.mark.faults) for n in (0.4, 0.6, 1.0))])
def test_ctrl_c_at_any_moment_deletes_all_or_nothing(
    client: sqltrack.Client, options: list[str], seconds: float
) -> None:
    client.execute(
        """
        INSERT INTO metrics (run_id, step)
        WITH RECURSIVE number (n) AS (SELECT 1001 UNION ALL SELECT n + 1 FROM number WHERE n < 300000)
        SELECT 5, n FROM number
        """
    )
    before = counts(client)
    command = [str(PROGRAM), "rm", "5", "7", "--yes", *options]
    with running(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        status = process.wait(timeout=60)
    # The signal may arrive before, during or after the deletion.
    after = [2, 1, 2, 0, 6]
    assert counts(client) in ([after] if status == 0 else [before, after])


def test_no_call_waits_for_ever_for_a_forgotten_transaction(
    client: sqltrack.Client, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = dump(client)
    engine = importlib.import_module("sqltrack.engines.postgres._engine")
    monkeypatch.setattr(engine, "_ROW_LOCK_TIMEOUT", "200ms")
    with locking(client), pytest.raises(DatabaseLockedError, match="for (too long|longer)"):
        impatient = sqltrack.Client({**config, "busy_timeout": 0.2})
        apply_rm(impatient, plan_rm(impatient, [5, 6, 7]))
    assert dump(client) == before


def test_running_runs_are_refused(client: sqltrack.Client, options: list[str], capsys: Capture) -> None:
    now = datetime.now(timezone.utc)
    sqltrack.Run(client, run_id=6).set_status("RUNNING").set_updated(now - timedelta(minutes=9))
    before = dump(client)
    for arguments in (["5", "6"], ["--experiment", "first"]):
        assert main(["rm", *arguments, "--yes", *options]) == 1
        output = capsys.readouterr()
        assert (output.out, output.err.count("\n")) == ("", 1)
        assert "run 6 is RUNNING and was updated 54" in output.err
        assert "--force" in output.err
    assert dump(client) == before
    assert main(["rm", "6", "--yes", "--force", *options]) == 0
    assert run_ids(client) == [5, 7, 9]


def test_silent_runs_are_deleted(client: sqltrack.Client, options: list[str]) -> None:
    long_ago = datetime.now(timezone.utc) - timedelta(minutes=11)
    sqltrack.Run(client, run_id=6).set_status("RUNNING").set_started(long_ago).set_updated(long_ago)
    assert main(["rm", "6", "--yes", *options]) == 0


def test_a_run_that_begins_before_the_confirmation_is_spared(client: sqltrack.Client) -> None:
    deletion = plan_rm(client, [5, 6])
    sqltrack.Run(client, run_id=6).set_status("RUNNING").set_updated()
    with pytest.raises(ConflictError, match="run 6 is RUNNING"):
        apply_rm(client, deletion)
    assert run_ids(client) == [5, 6, 7, 9]


def test_a_run_that_is_added_before_the_confirmation_is_spared(client: sqltrack.Client) -> None:
    deletion = plan_rm(client, experiment="first")
    sqltrack.Experiment(client, name="first").get_run(10)
    with pytest.raises(
        ConflictError, match="run 10 has changed in the meantime: it is new; nothing was deleted, look again"
    ):
        apply_rm(client, deletion)
    assert run_ids(client) == [5, 6, 7, 9, 10]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["5", "8"], "there is no run 8; the nearest is 7 and 9"),
        (["10-99"], "there are no runs from 10 to 99"),
        (["--experiment", "firts"], "there is no experiment 'firts'; did you mean 'first'?"),
    ],
)
def test_a_missing_run_or_experiment_is_one_line(
    client: sqltrack.Client, options: list[str], arguments: list[str], message: str, capsys: Capture
) -> None:
    before = dump(client)
    assert main(["rm", *arguments, "--yes", *options]) == 1
    assert capsys.readouterr() == ("", f"sqltrack: {message}\n")
    assert dump(client) == before


@pytest.mark.parametrize("arguments", [[], ["5", "--experiment", "first"], ["all"], ["9-5"]], ids=" ".join)
def test_a_wrong_command_line_is_one_line(options: list[str], arguments: list[str], capsys: Capture) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["rm", *arguments, *options])
    assert caught.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_table_of_the_users_that_refers_to_runs_is_respected(
    client: sqltrack.Client, options: list[str], capsys: Capture
) -> None:
    client.execute("CREATE TABLE files (run_id BIGINT NOT NULL REFERENCES runs (id))")
    client.execute("INSERT INTO files VALUES (6)")
    before = dump(client)
    assert main(["rm", "5", "6", "--yes", *options]) == 1
    assert "foreign key" in capsys.readouterr().err.lower()
    assert dump(client) == before


def test_of_two_users_who_delete_the_same_run_one_succeeds(client: sqltrack.Client, options: list[str]) -> None:
    command = [str(PROGRAM), "rm", "5", "6", "--yes", *options]
    ended = sorted((done.returncode, b"no run 5" in done.stderr) for done in run_together([command] * 2))
    assert ended == [(0, False), (1, True)]
    assert run_ids(client) == [7, 9]


@pytest.mark.parametrize("in_transactions", [False, True])
def test_who_logs_to_a_run_that_is_deleted_hears_of_it(
    client: sqltrack.Client, config: dict[str, Any], options: list[str], in_transactions: bool, capsys: Capture
) -> None:
    text = """
import contextlib
from sqltrack.errors import MissingRunError
run = Run(client, run_id=7)
try:
    with run.track():
        for step in range(100, 10**9):
            with client if IN_TRANSACTIONS else contextlib.nullcontext():
                run.add_metrics({"loss": 0.5}, step=step)
                run.add_metrics({"loss": 0.25}, step=step, progress=1.0)
            if step == 200:
                confirm("logging")
except MissingRunError as error:
    confirm(error)
""".replace("IN_TRANSACTIONS", str(in_transactions))
    with Script(text, config) as script:
        script.read_line()
        status = main(["rm", "7", "--yes", "--force", *options])
        assert (status, capsys.readouterr().err.splitlines()[0][-7:]) == (0, "deleted")
        (message,) = script.succeed()[1:]
    assert message == "there is no run with id 7; it may have been deleted"
    assert run_ids(client) == [5, 6, 9]
    assert client.execute("SELECT COUNT(*) FROM metrics WHERE run_id = 7").fetchone() == (0,)


def test_a_database_that_was_not_set_up_is_told(empty_config: dict[str, Any], capsys: Capture) -> None:
    options = [word for name, value in empty_config.items() for word in (f"--{name}", str(value))]
    assert main(["rm", "5", "--yes", *options]) == 1
    output = capsys.readouterr()
    assert (output.out, output.err.count("\n")) == ("", 1)
    assert "sqltrack setup" in output.err


def test_a_plan_changes_nothing_and_lists_the_deletions(client: sqltrack.Client) -> None:
    before = dump(client)
    assert plan_rm(client, [5, 5])[:-1] == (None, [5], 5, 2, None, False)
    deletion = plan_rm(client, experiment="1", force=True)
    assert deletion[:-1] == ("first", [5, 6, 7], 18, 4, 1, True)
    for runs, experiment in (([], None), ([9], "second")):
        with pytest.raises(UnusableValueError):
            plan_rm(client, runs, experiment=experiment)
    assert dump(client) == before
    assert apply_rm(client, deletion) == deletion
    assert run_ids(client) == [9]
