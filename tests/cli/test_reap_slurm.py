"""`sqltrack reap` asks Slurm about the jobs of runs."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack.cli import main
from sqltrack.commands import _slurm
from sqltrack.commands.reap import apply_reap, plan_reap
from sqltrack.errors import SlurmError
from support.dumps import dump
from support.old_runs import DAY, LONG_AGO, NOW, Start, state
from support.plans import reap
from support.processes import running

# Answers as sacct does: with rows of the requested jobs, and nothing about unknown jobs.
SACCT = """#!{python}
import json, os, sys, time
answers = json.load(open({answers!r}))
options = dict(word.split("=", 1) for word in sys.argv[1:] if "=" in word)
with open({calls!r}, "a") as file:
    print(json.dumps([sys.argv[1:], os.environ.get("SLURM_TIME_FORMAT")]), file=file)
if "fail" in answers:
    sys.exit(answers["fail"])
if "hang" in answers:
    time.sleep(600)
assert options["--format"] == "JobID,State,End,ExitCode" and "--noheader" in sys.argv and "--parsable2" in sys.argv
for job in options["--jobs"].split(","):
    rows = answers.get(options.get("--clusters", ""), {{}})
    array = job.partition("_")[0]
    for row in rows.get(job, rows.get(array + "_[]", [])):
        print(row)
"""


class Slurm:
    """A simulated Slurm."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.answers, self.calls_file = folder / "answers.json", folder / "calls"
        self.calls_file.touch()
        self.say()
        sacct = folder / "sacct"
        names = {"answers": str(self.answers), "calls": str(self.calls_file)}
        sacct.write_text(SACCT.format(python=sys.executable, **names))
        sacct.chmod(0o755)

    def say(self, rows: dict[str, list[str]] | None = None, **others: Any) -> None:
        """Let sacct answer with rows by job, of clusters by their names, or `fail`, or `hang`."""
        self.answers.write_text(json.dumps({"": rows or {}, **others}))

    def calls(self) -> list[Any]:
        return [json.loads(line) for line in self.calls_file.read_text().splitlines()]


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Slurm:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return Slurm(folder)


def epoch(time: datetime) -> int:
    return int(time.timestamp())


ENDED = [
    ("TIMEOUT", "TIMEOUT"),
    ("OUT_OF_MEMORY", "OUT_OF_MEMORY"),
    ("OUT_OF_ME+", "OUT_OF_MEMORY"),
    ("NODE_FAIL", "NODE_FAIL"),
    ("PREEMPTED", "PREEMPTED"),
    ("CANCELLED by 1000", "CANCELLED"),
    ("CANCELLED+", "CANCELLED"),
    ("COMPLETED", "COMPLETED"),
    ("FAILED", "FAILED"),
    ("DEADLINE", "DEADLINE"),
    ("BOOT_FAIL", "BOOT_FAIL"),
    ("EXPIRED", "EXPIRED"),
    ("LAUNCH_FAILED", "LAUNCH_FAILED"),
    ("RECONFIG_FAIL", "RECONFIG_FAIL"),
    ("SPECIAL_EXIT", "SPECIAL_EXIT"),
]


@pytest.mark.parametrize(("said", "status"), ENDED)
def test_a_run_gets_the_state_and_the_end_of_its_job(
    client: sqltrack.Client, start: Start, slurm: Slurm, said: str, status: str
) -> None:
    run = start(SLURM_JOB_ID="123")
    end = LONG_AGO + timedelta(hours=1)
    slurm.say({"123": [f"123|{said}|{epoch(end)}|1:0"]})
    (finding,) = reap(client)
    assert (finding.job, finding.new_status, finding.marked) == ("123", status, True)
    assert state(client, run) == (status, end)
    assert slurm.calls()[0][1] == "%s"


@pytest.mark.parametrize(
    "said",
    [
        "RUNNING",
        "PENDING",
        "REQUEUED",
        "SUSPENDED",
        "COMPLETING",
        "RESIZING",
        "CONFIGURING",
        "COMPLET+",
        "NEW_STATE",
        "",
    ],
)
def test_a_run_whose_job_is_alive_is_left_alone_however_old(
    client: sqltrack.Client, start: Start, slurm: Slurm, said: str
) -> None:
    start(SLURM_JOB_ID="123")
    slurm.say({"123": [f"123|{said}|Unknown|0:0"]})
    before = dump(client)
    (finding,) = reap(client, older_than=DAY)
    assert finding.new_status is None
    # The comment in the table gives the reason.
    assert ("unknown to sqltrack" in finding.why) == (said in ("COMPLET+", "NEW_STATE"))
    assert dump(client) == before


def test_steps_do_not_count_and_the_last_row_of_a_job_that_was_queued_again_does(
    client: sqltrack.Client, start: Start, slurm: Slurm
) -> None:
    ended, alive = start(SLURM_JOB_ID="1"), start(SLURM_JOB_ID="2")
    slurm.say(
        {
            "1": [
                f"1|NODE_FAIL|{epoch(LONG_AGO)}|0:0",
                f"1|TIMEOUT|{epoch(LONG_AGO + DAY)}|0:0",
                f"1.batch|CANCELLED|{epoch(LONG_AGO + DAY)}|0:15",
                f"1.extern|COMPLETED|{epoch(LONG_AGO + DAY)}|0:0",
                "no row at all",
            ],
            "2": [f"2|PREEMPTED|{epoch(LONG_AGO)}|0:0", "2|RUNNING|Unknown|0:0", f"2.0|FAILED|{epoch(LONG_AGO)}|1:0"],
        }
    )
    reap(client)
    assert state(client, ended) == ("TIMEOUT", LONG_AGO + DAY)
    assert state(client, alive) == ("RUNNING", LONG_AGO)


def test_tasks_of_an_array_are_told_apart(client: sqltrack.Client, start: Start, slurm: Slurm) -> None:
    def task(number: int) -> sqltrack.Run:
        return start(SLURM_JOB_ID="130", SLURM_ARRAY_JOB_ID="123", SLURM_ARRAY_TASK_ID=str(number))

    failed, waiting, far, unknown = task(4), task(6), task(19), task(50)
    group = "123_[5-7,15-21:2%2]|PENDING|Unknown|0:0"
    slurm.say({"123_4": [f"123_4|FAILED|{epoch(LONG_AGO)}|2:0", group], "123_[]": [group]})
    findings = {finding.run_id: finding for finding in reap(client)}
    assert findings[failed.id].job == "123_4"
    assert state(client, failed)[0] == "FAILED"
    for run in (waiting, far):
        assert findings[run.id].why == "Slurm: PENDING"
    assert findings[unknown.id].why.startswith("unknown to Slurm")
    assert {state(client, run)[0] for run in (waiting, far, unknown)} == {"RUNNING"}


def test_unreadable_tasks_of_an_array_are_unknown(client: sqltrack.Client, start: Start, slurm: Slurm) -> None:
    first, second = (start(SLURM_ARRAY_JOB_ID="9", SLURM_ARRAY_TASK_ID=task) for task in ("2", "7"))
    slurm.say({"9_[]": [f"9_[1-3,5-]|CANCELLED by 0|{epoch(LONG_AGO)}|0:0"]})
    reap(client)
    assert (state(client, first)[0], state(client, second)[0]) == ("CANCELLED", "RUNNING")


def test_tasks_that_were_cancelled_before_they_began_again(client: sqltrack.Client, start: Start, slurm: Slurm) -> None:
    run = start(SLURM_ARRAY_JOB_ID="9", SLURM_ARRAY_TASK_ID="3")
    slurm.say({"9_[]": [f"9_[1-3]|CANCELLED by 0|{epoch(LONG_AGO)}|0:0"]})
    reap(client)
    assert state(client, run)[0] == "CANCELLED"


def test_of_a_heterogeneous_job_all_components_must_have_ended(
    client: sqltrack.Client, start: Start, slurm: Slurm
) -> None:
    alive, ended = start(SLURM_JOB_ID="5"), start(SLURM_JOB_ID="7")
    end = epoch(LONG_AGO)
    slurm.say(
        {
            "5": [f"5+0|COMPLETED|{end}|0:0", "5+1|RUNNING|Unknown|0:0", f"5+0.batch|COMPLETED|{end}|0:0"],
            "7": [f"7+0|TIMEOUT|{end}|0:0", f"7+1|COMPLETED|{end}|0:0"],
        }
    )
    reap(client)
    assert (state(client, alive)[0], state(client, ended)[0]) == ("RUNNING", "TIMEOUT")


def test_a_job_that_another_cluster_took_is_where_that_is(client: sqltrack.Client, start: Start, slurm: Slurm) -> None:
    run = start(SLURM_JOB_ID="5")
    slurm.say({"5": [f"5|TIMEOUT|{epoch(LONG_AGO)}|0:0", f"5|REVOKED|{epoch(LONG_AGO)}|0:0"]})
    reap(client)
    assert state(client, run)[0] == "TIMEOUT"


def test_the_cluster_of_a_job_is_asked_for_it(client: sqltrack.Client, start: Start, slurm: Slurm) -> None:
    first, second = (start(SLURM_JOB_ID="5", SLURM_CLUSTER_NAME=name) for name in ("alpha", "beta"))
    end = epoch(LONG_AGO)
    slurm.say(None, alpha={"5": [f"5|TIMEOUT|{end}|0:0"]}, beta={"5": [f"5|NODE_FAIL|{end}|0:0"]})
    reap(client)
    assert (state(client, first)[0], state(client, second)[0]) == ("TIMEOUT", "NODE_FAIL")


def test_invalid_job_numbers_and_clusters_never_reach_the_command(
    client: sqltrack.Client, start: Start, slurm: Slurm
) -> None:
    for job in ("1;rm", "--help", "", "1,2", None, True, {"a": 1}):
        start(SLURM_JOB_ID=job)
    start(SLURM_JOBID=17, SLURM_CLUSTER_NAME="-x y")
    start(SLURM_ARRAY_JOB_ID="17", SLURM_ARRAY_TASK_ID="x", SLURM_JOB_ID="18")
    reap(client)
    ((arguments, _),) = slurm.calls()
    assert "--jobs=17,18" in arguments
    assert not any(word.startswith("--clusters") for word in arguments)


def test_many_jobs_are_asked_for_in_few_calls(
    client: sqltrack.Client, experiment: sqltrack.Experiment, slurm: Slurm
) -> None:
    rows = [(experiment.id, "RUNNING", json.dumps({"SLURM_JOB_ID": str(n)})) for n in range(450)]
    client.executemany("INSERT INTO runs (experiment_id, status, env) VALUES (%s, %s, %s)", rows)
    # The time of the module may be before the runs were created, if the session takes long.
    end = epoch(datetime.now(timezone.utc))
    slurm.say({str(n): [f"{n}|TIMEOUT|{end}|0:0"] for n in range(449)})
    findings = reap(client)
    assert len(slurm.calls()) == 3
    assert sum(finding.marked for finding in findings) == 449
    assert client.execute("SELECT COUNT(*) FROM runs WHERE status = 'RUNNING'").fetchone() == (1,)


def test_time_only_goes_forward(client: sqltrack.Client, start: Start, slurm: Slurm) -> None:
    run = start(NOW, SLURM_JOB_ID="1")
    unknown = start(SLURM_JOB_ID="2")
    slurm.say({"1": [f"1|TIMEOUT|{epoch(NOW - timedelta(minutes=1))}|0:0"], "2": ["2|TIMEOUT|Unknown|0:0"]})
    reap(client)
    assert state(client, run) == ("TIMEOUT", NOW)
    assert state(client, unknown) == ("TIMEOUT", LONG_AGO)


def test_a_time_that_is_not_in_seconds_is_local_time(client: sqltrack.Client, start: Start, slurm: Slurm) -> None:
    run = start(SLURM_JOB_ID="1")
    end = LONG_AGO + DAY
    slurm.say({"1": [f"1|TIMEOUT|{end.astimezone().strftime('%Y-%m-%dT%H:%M:%S')}|0:0"]})
    reap(client)
    assert state(client, run) == ("TIMEOUT", end)


def test_a_run_that_outlives_its_job_is_not_part_of_it(client: sqltrack.Client, start: Start, slurm: Slurm) -> None:
    run = start(NOW, SLURM_JOB_ID="1")
    slurm.say({"1": [f"1|COMPLETED|{epoch(NOW - DAY)}|0:0"]})
    (finding,) = reap(client, older_than=DAY)
    assert "outlived its job" in finding.why
    assert state(client, run) == ("RUNNING", NOW)


def test_sacct_that_fails_is_one_line_and_age_decides_only_if_a_limit_is_given(
    client: sqltrack.Client, start: Start, slurm: Slurm, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    run = start(SLURM_JOB_ID="1")
    slurm.say(fail="slurm_persist_conn_open: failed\nto connect")
    assert main(["reap", "--yes", *options]) == 1
    output = capsys.readouterr()
    assert (output.out, output.err.count("\n")) == ("", 1)
    assert "sacct failed with exit status 1: slurm_persist_conn_open: failed to connect" in output.err
    assert "--older-than" in output.err
    assert state(client, run)[0] == "RUNNING"
    assert main(["reap", "--yes", "--older-than", "1d", *options]) == 0
    assert "sacct failed" in capsys.readouterr().err
    assert state(client, run)[0] == "FAILED"


def test_one_cluster_that_fails_does_not_keep_others_from_being_asked(
    client: sqltrack.Client, start: Start, slurm: Slurm
) -> None:
    lost, found = start(SLURM_JOB_ID="1", SLURM_CLUSTER_NAME="gone"), start(SLURM_JOB_ID="2")
    slurm.say({"2": [f"2|TIMEOUT|{epoch(NOW)}|0:0"]}, gone="no rows, which makes it fail")
    findings, failures = plan_reap(client, older_than=DAY)
    assert len(failures) == 1
    assert "cluster 'gone'" in failures[0]
    apply_reap(client, findings)
    assert (state(client, lost)[0], state(client, found)[0]) == ("FAILED", "TIMEOUT")


def test_sacct_that_hangs_is_ended_after_a_while(
    client: sqltrack.Client, start: Start, slurm: Slurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(SLURM_JOB_ID="1")
    slurm.say(hang=True)
    # A wrapper, as on some clusters, whose child would keep the pipe open.
    sacct = slurm.folder / "sacct"
    sacct.rename(slurm.folder / "real")
    sacct.write_text(f'#!/bin/sh\n"{slurm.folder}/real" "$@"\n:\n')
    sacct.chmod(0o755)
    monkeypatch.setattr(_slurm, "_TIMEOUT", 1.0)
    begin = time.monotonic()
    with pytest.raises(SlurmError, match="did not answer within 1 s"):
        reap(client)
    assert time.monotonic() - begin < 20
    assert reap(client, older_than=DAY)[0].marked


def test_sacct_that_cannot_be_executed(client: sqltrack.Client, start: Start, slurm: Slurm) -> None:
    start(SLURM_JOB_ID="1")
    (slurm.folder / "sacct").write_text("#!/no/such/interpreter\n")
    with pytest.raises(SlurmError, match="cannot be started"):
        reap(client)


def test_slurm_is_not_asked_when_no_run_has_a_job(client: sqltrack.Client, start: Start, slurm: Slurm) -> None:
    start()
    slurm.say(fail="never")
    assert len(reap(client)) == 1
    assert slurm.calls() == []


def test_a_line_for_each_run_says_what_and_why(
    client: sqltrack.Client, start: Start, slurm: Slurm, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    start(SLURM_JOB_ID="12"), start(SLURM_JOB_ID="13")
    slurm.say({"12": [f"12|TIMEOUT|{epoch(NOW)}|0:0"], "13": ["13|RUNNING|Unknown|0:0"]})
    assert main(["reap", "--yes", *options]) == 0
    output = capsys.readouterr()
    head, _, first, second = output.out.splitlines()
    assert head.split("  ")[0] == "id"
    for part in ("12", "30 d ago", "RUNNING", "TIMEOUT", "Slurm: TIMEOUT, exit 0:0"):
        assert part in first
    assert "Slurm: RUNNING" in second
    assert output.err == "1 run marked\n"
    assert main(["reap", "--yes", *options]) == 0
    assert capsys.readouterr().err == "no run needs to be marked\n"


def test_ctrl_c_while_sacct_hangs_ends_both(
    client: sqltrack.Client, start: Start, slurm: Slurm, options: list[str]
) -> None:
    start(SLURM_JOB_ID="1")
    slurm.say(hang=True)
    program = Path(sys.executable).with_name("sqltrack")
    with running([program, "reap", *options], stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 30
        while not slurm.calls() and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.2)
        process.send_signal(2)
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (130, "sqltrack: interrupted\n")
