"""`sqltrack rewind` removes the rows that a run has logged after a checkpoint."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import pytest

import sqltrack
from sqltrack.cli import main
from sqltrack.commands.rewind import apply_rewind, plan_rewind
from sqltrack.engines.admin import admin_of
from sqltrack.errors import ConflictError
from support.connections import on_one_connection
from support.dumps import dump
from support.plans import rewind
from support.processes import Program
from support.questions import CTRL_C, answer

pytestmark = pytest.mark.one_engine

LONG_AGO = datetime(2020, 1, 1, tzinfo=timezone.utc)


@pytest.fixture
def run(run: sqltrack.Run, experiment: sqltrack.Experiment) -> sqltrack.Run:
    """A run with ten steps, next to another one."""
    with on_one_connection(run.client):
        for each in (run, experiment.get_run()):
            for step in range(10):
                each.add_metrics({"loss": step / 10}, step, updated=LONG_AGO)
    return run


def steps(client: sqltrack.Client, run_id: int) -> list[int]:
    sql = "SELECT step FROM metrics WHERE run_id = %s ORDER BY step"
    return [step for (step,) in client.execute(sql, (run_id,)).fetchall()]


def test_rows_after_the_checkpoint_go_and_those_of_other_runs_stay(client: sqltrack.Client, run: sqltrack.Run) -> None:
    done = rewind(client, run.id, 6)
    assert (done.rows, done.first_step, done.last_step) == (3, 7, 9)
    assert steps(client, run.id) == list(range(7))
    assert steps(client, run.id + 1) == list(range(10))
    assert rewind(client, run.id, -1).rows == 7
    assert steps(client, run.id) == []


def test_it_lists_the_deletions_before_it_starts(
    client: sqltrack.Client, run: sqltrack.Run, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["rewind", str(run.id), "6", "--yes", *options]) == 0
    output = capsys.readouterr()
    assert output.out == f"run {run.id} after step 6: 3 rows, from step 7 to step 9\n"
    assert output.err == "3 rows removed\n"
    assert main(["rewind", str(run.id), "6", *options]) == 0
    assert capsys.readouterr().out == f"run {run.id} after step 6: no rows\n"


def test_json_tells_the_same(
    client: sqltrack.Client, run: sqltrack.Run, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["rewind", str(run.id), "8", "--json", "--dry-run", *options]) == 0
    found = {"run_id": run.id, "step": 8, "rows": 1, "first_step": 9, "last_step": 9}
    assert json.loads(capsys.readouterr().out) == {**found, "removed": False}
    assert main(["rewind", str(run.id), "8", "--json", "--yes", *options]) == 0
    assert json.loads(capsys.readouterr().out) == {**found, "removed": True}


def test_a_dry_run_changes_nothing(client: sqltrack.Client, run: sqltrack.Run, options: list[str]) -> None:
    before = dump(client)
    assert main(["rewind", str(run.id), "2", "--dry-run", *options]) == 0
    assert dump(client) == before


@pytest.mark.parametrize(("text", "status"), [("y", 0), ("n", 1), ("", 1), (CTRL_C, 130)])
def test_it_obeys_the_answer(
    client: sqltrack.Client, run: sqltrack.Run, options: list[str], text: str | None, status: int
) -> None:
    before = dump(client)
    returned, _, errors = answer(["rewind", str(run.id), "6", *options], text)
    assert returned == status, errors
    assert f"remove 3 rows of run {run.id}? [y/N]" in errors
    assert "Traceback" not in errors
    assert (dump(client) == before) == (status != 0)


def test_without_a_terminal_nothing_is_done(
    client: sqltrack.Client, run: sqltrack.Run, options: list[str], program: Program
) -> None:
    before = dump(client)
    done = program("rewind", str(run.id), "6", *options, stdin=subprocess.DEVNULL)
    assert done.returncode == 1
    assert "--yes" in done.stderr
    assert dump(client) == before


def test_a_run_that_is_running_is_refused(
    client: sqltrack.Client, run: sqltrack.Run, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    run.start()
    before = dump(client)
    assert main(["rewind", str(run.id), "6", "--yes", *options]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "--force" in error
    assert dump(client) == before
    assert main(["rewind", str(run.id), "6", "--yes", "--force", *options]) == 0
    assert steps(client, run.id) == list(range(7))


def test_a_run_that_says_so_but_has_been_silent_is_not(client: sqltrack.Client, run: sqltrack.Run) -> None:
    run.set_status("RUNNING").set_updated(datetime.now(timezone.utc) - timedelta(minutes=11))
    assert rewind(client, run.id, 6).rows == 3


def test_a_run_that_starts_after_the_question_is_refused(client: sqltrack.Client, run: sqltrack.Run) -> None:
    planned = plan_rewind(client, run.id, 6)
    run.start()
    before = dump(client)
    with pytest.raises(ConflictError, match="RUNNING"):
        apply_rewind(client, planned)
    assert dump(client) == before


def test_rows_that_wait_for_a_column_go_too(client: sqltrack.Client, run: sqltrack.Run, engine_name: str) -> None:
    if engine_name == "sqlite":
        assert admin_of(client.engine).pending_table is None
        return
    sql = "INSERT INTO metrics_pending (run_id, step, progress, extras) VALUES (%s, %s, 0, '{}')"
    client.executemany(sql, [(run.id, 3), (run.id, 20)])
    assert rewind(client, run.id, 6)[2:5] == (4, 7, 20)
    assert client.execute("SELECT step FROM metrics_pending").fetchall() == [(3,)]


def test_another_process_that_logs_meanwhile_keeps_its_rows(client: sqltrack.Client, run: sqltrack.Run) -> None:
    other = sqltrack.Experiment(client, name="other").get_run()
    stop = threading.Event()
    logged: list[int] = []

    def log() -> None:
        while not stop.is_set():
            other.add_metrics({"loss": 0.5}, len(logged))
            logged.append(len(logged))

    thread = threading.Thread(target=log)
    thread.start()
    try:
        for step in range(9, -2, -1):
            rewind(client, run.id, step)
    finally:
        stop.set()
        thread.join()
    assert steps(client, run.id) == []
    assert steps(client, other.id) == logged


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["999", "1"], 1, "there is no run 999; the nearest is 2"),
        ([str(2**70), "1"], 1, "at most 63 bits"),
        (["1", str(2**70)], 1, "at most 64 bits"),
        (["one", "1"], 2, "expected the id of a run, or a range such as 5-9, got 'one'"),
        (["1", "1.5"], 2, "invalid int value: '1.5'"),
        (["1"], 2, "STEP"),
    ],
)
def test_wrong_input_is_one_line(
    run: sqltrack.Run,
    options: list[str],
    words: list[str],
    status: int,
    says: str,
    one_line_error: Callable[[list[str]], tuple[int, str]],
) -> None:
    returned, line = one_line_error(["rewind", *words, "--yes", *options])
    assert returned == status
    assert says in line


@pytest.mark.parametrize("command", [["rewind", "1", "1"], ["reap"], ["tidy"], ["rename-metric", "a", "b"]])
def test_a_database_that_is_not_set_up_is_one_line(
    empty_config: dict[str, str], command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = [word for name, value in empty_config.items() for word in (f"--{name}", str(value))]
    assert main([*command, "--yes", *words]) == 1
    output = capsys.readouterr()
    assert (output.out, output.err.count("\n")) == ("", 1)
    assert "sqltrack setup" in output.err


@pytest.mark.parametrize("command", [["rewind", "1", "1"], ["reap"], ["tidy"], ["rename-metric", "a", "b"]])
def test_a_server_that_cannot_be_reached_is_one_line(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--yes", "--engine", "postgres", "--host", "127.0.0.1", "--port", "1"]) == 1
    output = capsys.readouterr()
    assert (output.out, output.err.count("\n")) == ("", 1)
    assert "cannot connect" in output.err
