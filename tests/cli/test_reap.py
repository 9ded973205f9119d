"""`sqltrack reap` marks runs whose status is RUNNING and whose last update was long ago."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

import sqltrack
from sqltrack.cli import main
from sqltrack.commands.reap import Finding, apply_reap, plan_reap
from sqltrack.errors import UnusableValueError
from support.dumps import dump
from support.old_runs import DAY, LONG_AGO, NOW, Start, state
from support.plans import reap
from support.processes import Program
from support.questions import CTRL_C, answer


@pytest.fixture(autouse=True)
def _nothing_of_slurm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))


def test_without_slurm_age_decides_if_a_limit_is_given(client: sqltrack.Client, start: Start) -> None:
    old, young, in_job = start(), start(NOW - timedelta(hours=1)), start(SLURM_JOB_ID="1")
    before = dump(client)
    assert [finding.new_status for finding in reap(client)] == [None] * 3
    assert dump(client) == before
    findings = {finding.run_id: finding for finding in reap(client, older_than=DAY, status="LOST")}
    assert "no sacct" in findings[in_job.id].why
    assert state(client, old) == state(client, in_job) == ("LOST", LONG_AGO)
    assert state(client, young)[0] == "RUNNING"


def test_a_run_that_never_logged_is_as_old_as_its_start(
    client: sqltrack.Client, experiment: sqltrack.Experiment
) -> None:
    run = experiment.get_run().set_created(LONG_AGO).set_started(NOW).set_status("RUNNING")
    client.execute("UPDATE runs SET time_updated = NULL WHERE id = %s", (run.id,))
    assert reap(client, older_than=DAY)[0].new_status is None
    run.set_started(LONG_AGO)
    client.execute("UPDATE runs SET time_updated = NULL WHERE id = %s", (run.id,))
    assert reap(client, older_than=DAY)[0].marked
    assert client.execute("SELECT status, time_updated FROM runs").fetchall() == [("FAILED", None)]


@pytest.mark.parametrize("status", ["COMPLETING", "CONFIGURING", "SUSPENDED"])
def test_other_states_with_a_process_count_as_running(client: sqltrack.Client, start: Start, status: str) -> None:
    run = start(status=status)
    reap(client, older_than=DAY)
    assert state(client, run)[0] == "FAILED"


@pytest.mark.parametrize("status", ["PLANNED", "PENDING", "COMPLETED", "FAILED", "my own"])
def test_runs_without_a_process_are_ignored(client: sqltrack.Client, start: Start, status: str) -> None:
    start(status=status)
    assert reap(client, older_than=DAY) == []


def test_only_the_experiment_that_was_named(client: sqltrack.Client, start: Start) -> None:
    run = start()
    other = sqltrack.Experiment(client, name="other").get_run().set_created(LONG_AGO).set_started(LONG_AGO)
    other.set_updated(LONG_AGO).set_status("RUNNING")
    assert [finding.run_id for finding in reap(client, older_than=DAY, experiment="other")] == [other.id]
    assert (state(client, run)[0], state(client, other)[0]) == ("RUNNING", "FAILED")


def test_a_run_that_is_heard_of_in_between_is_left_alone(client: sqltrack.Client, start: Start) -> None:
    logging, ended, silent = start(), start(), start()
    findings, _ = plan_reap(client, older_than=DAY)
    logging.add_metrics({"loss": 0.5}, 1)
    ended.stop()
    marked = apply_reap(client, findings)
    assert [finding.marked for finding in marked] == [False, False, True]
    assert [state(client, run)[0] for run in (logging, ended, silent)] == ["RUNNING", "COMPLETED", "FAILED"]


def test_runs_that_log_all_the_time_are_never_marked(client: sqltrack.Client, start: Start) -> None:
    """Each run becomes active at some moment of the work, and must not be marked after that."""
    runs = [start() for _ in range(30)]
    woken: dict[int, bool] = {}
    begin = threading.Event()

    def wake() -> None:
        begin.wait()
        for run in runs:
            run.add_metrics({"loss": 0.5}, 1)
            woken[run.id] = state(client, run)[0] == "RUNNING"

    thread = threading.Thread(target=wake)
    thread.start()
    findings, _ = plan_reap(client, older_than=DAY)
    begin.set()
    marked: dict[int, bool] = {}
    for finding in findings:
        marked.update({done.run_id: done.marked for done in apply_reap(client, [finding])})
    thread.join()
    for run in runs:
        # Marked if and only if it was not active before.
        status, updated = state(client, run)
        assert status == ("FAILED" if marked[run.id] else "RUNNING")
        assert updated > LONG_AGO
        assert woken[run.id] or marked[run.id]


def test_json_holds_the_same(
    client: sqltrack.Client, start: Start, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    run = start()
    assert main(["reap", "--json", "--older-than", "24h", "--yes", *options]) == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert record.keys() == {*Finding._fields, "id"} - {"run_id", "time_updated", "seen"}
    assert (record["id"], record["status"], record["new_status"], record["marked"]) == (
        run.id,
        "RUNNING",
        "FAILED",
        True,
    )
    assert record["last_update"] == LONG_AGO.isoformat()


def test_nothing_to_do_says_so(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reap", *options]) == 0
    assert capsys.readouterr().err == "no run is running\n"


def test_a_dry_run_changes_nothing(
    client: sqltrack.Client, start: Start, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    start()
    before = dump(client)
    assert main(["reap", "--dry-run", "--older-than", "1h", *options]) == 0
    assert capsys.readouterr().err == "1 run would be marked\n"
    plan_reap(client, older_than=DAY)
    assert dump(client) == before


@pytest.mark.parametrize(("text", "status"), [("y", 0), ("n", 1), (CTRL_C, 130)])
def test_it_obeys_the_answer(
    client: sqltrack.Client, start: Start, options: list[str], text: str | None, status: int
) -> None:
    start()
    before = dump(client)
    returned, _, errors = answer(["reap", "--older-than", "1h", *options], text)
    assert returned == status, errors
    assert "mark 1 run? [y/N]" in errors
    assert (dump(client) == before) == (status != 0)


def test_without_a_terminal_nothing_is_done(
    client: sqltrack.Client, start: Start, options: list[str], program: Program
) -> None:
    start()
    before = dump(client)
    done = program("reap", "--older-than", "1h", *options, stdin=subprocess.DEVNULL)
    assert done.returncode == 1
    assert "--yes" in done.stderr
    assert dump(client) == before


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["--experiment", "experimen"], 1, "did you mean 'experiment'?"),
        (["--status", " "], 1, "got ' '"),
        (["--status", "RUNNING"], 1, "got 'RUNNING'"),
        (["--older-than", "24"], 2, "expected a duration such as 90min, 24h or 7d, got '24'"),
        (["--older-than", "0h"], 2, "got '0h'"),
        (["--older-than", "-1h"], 2, "--older-than"),
        (["--older-than", "99999999999999w"], 2, "too long"),
        (["surplus"], 2, "surplus"),
    ],
)
def test_wrong_input_is_one_line(
    experiment: sqltrack.Experiment,
    options: list[str],
    words: list[str],
    status: int,
    says: str,
    one_line_error: Callable[[list[str]], tuple[int, str]],
) -> None:
    returned, line = one_line_error(["reap", *words, "--yes", *options])
    assert returned == status
    assert says in line


@pytest.mark.parametrize("status", ["RUNNING", "running", "RUNNING on node7"])
def test_a_status_that_is_that_of_a_running_run_is_refused(client: sqltrack.Client, status: str) -> None:
    with pytest.raises(UnusableValueError, match=status):
        reap(client, status=status)


def test_names_that_would_be_obeyed_by_a_terminal_are_shown_harmless(
    client: sqltrack.Client, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    run = sqltrack.Experiment(client, name="evil\x1b[2J").get_run().set_created(LONG_AGO)
    run.set_status("RUNNING").set_updated(LONG_AGO)
    assert main(["reap", "--dry-run", "--older-than", "1d12h", *options]) == 0
    output = capsys.readouterr()
    assert "\x1b" not in output.out
    assert os.linesep in output.out


def test_the_greatest_id_is_found_too(client: sqltrack.Client, experiment: sqltrack.Experiment) -> None:
    run = experiment.get_run(2**63 - 1).set_status("RUNNING").set_created(LONG_AGO).set_updated(LONG_AGO)
    (finding,) = reap(client, older_than=DAY)
    assert (finding.run_id, finding.marked) == (2**63 - 1, True)
    assert state(client, run)[0] == "FAILED"
