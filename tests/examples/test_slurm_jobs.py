"""The batch scripts, started and signalled as by Slurm, with stand-ins for its commands."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from support.processes import run_together, running
from support.typed_pages import install_program

pytestmark = pytest.mark.guides

EXAMPLES = Path(__file__).parents[2] / "examples"
BATCH_SCRIPTS = sorted((EXAMPLES / "slurm").glob("*.sbatch"))
# More than a job can do before it is stopped.
ENDLESS = "1000000"

# Like the real command it ends the job that it requeues.
SCONTROL = """
import os, signal, sys
open("scontrol.log", "a").write(" ".join(sys.argv[1:]) + "\\n")
os.kill(os.getppid(), signal.SIGTERM)
"""

# Starts a task for each place, and returns the worst exit status.
SRUN = """
import os, subprocess, sys
tasks = [
    subprocess.Popen(sys.argv[1:], env={**os.environ, "SLURM_PROCID": str(number)})
    for number in range(int(os.environ["SLURM_NTASKS"]))
]
sys.exit(max(task.wait() for task in tasks))
"""

# Passes the environment on, as Apptainer does.
APPTAINER = """
import os, sys
open("apptainer.log", "w").write(" ".join(sys.argv[1:]))
command = sys.argv[sys.argv.index("image.sif") + 1 :]
os.execvp(command[0], command)
"""

SACCT = """
print("4711|NODE_FAIL|4102444800|1:0")
"""


class Slurm:
    """A simulated cluster whose jobs run in one folder.

    Args:
        folder: where batch scripts are submitted.
        variables: the environment from which jobs are submitted.
    """

    def __init__(self, folder: Path, variables: dict[str, str]) -> None:
        self.folder = folder
        for name in ("scontrol", "srun", "apptainer", "sacct"):
            install_program(folder, name, globals()[name.upper()])
        self.variables = {**variables, "PATH": f"{folder}{os.pathsep}{variables['PATH']}"}

    @contextmanager
    def start(self, script: str, *arguments: str, job: int = 4711, **variables: Any) -> Iterator[subprocess.Popen[str]]:
        """Start a batch script on a node."""
        options: dict[str, Any] = {
            "cwd": self.folder,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": True,
        }
        with running(self.command(script, *arguments, job=job, **variables), env=self.variables, **options) as process:
            yield process

    def run(self, script: str, *arguments: str, job: int = 4711, **variables: Any) -> str:
        """Run a batch script, which must succeed, and return its output."""
        with self.start(script, *arguments, job=job, **variables) as process:
            output, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        return output

    def command(self, script: str, *arguments: str, job: int, **variables: Any) -> list[str]:
        names = {"SLURM_JOB_ID": job, **variables}
        return ["env", *(f"{name}={value}" for name, value in names.items()), "bash", script, *arguments]


@pytest.fixture
def slurm(variables: dict[str, str], tmp_path: Path) -> Slurm:
    for path in [*EXAMPLES.glob("*.py"), *(EXAMPLES / "slurm").iterdir()]:
        if path.is_file():
            shutil.copy(path, tmp_path)
    return Slurm(tmp_path, variables)


@pytest.fixture
def planned(client: sqltrack.Client, slurm: Slurm) -> sqltrack.Run:
    """A run for the next job."""
    run = sqltrack.Experiment(client, name="queue").get_run()
    slurm.variables.update(SQLTRACK_EXPERIMENT_ID=str(run.experiment_id), SQLTRACK_RUN_ID=str(run.id))
    return run


def wait_for_steps(client: sqltrack.Client, count: int) -> None:
    """Wait until a run has logged some steps."""
    deadline = time.monotonic() + 60
    while client.execute("SELECT COUNT(*) FROM metrics").fetchone()[0] < count:
        assert time.monotonic() < deadline, "the job logs nothing"
        time.sleep(0.02)


def begun(process: subprocess.Popen[str]) -> int:
    """Wait until a job trains; return its first epoch."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("run 1 begins with epoch "), (line, process.communicate())
    return int(line.split()[-1])


def steps(client: sqltrack.Client) -> list[int]:
    return [step for (step,) in client.execute("SELECT step FROM metrics ORDER BY run_id, step")]


def statuses(client: sqltrack.Client) -> list[tuple[int, str]]:
    return [tuple(row) for row in client.execute("SELECT id, status FROM runs ORDER BY id")]


def test_a_job_that_runs_out_of_time_continues_its_run_after_a_requeue(
    client: sqltrack.Client, slurm: Slurm, planned: sqltrack.Run, tmp_path: Path
) -> None:
    with slurm.start("job.sbatch", "--epochs", ENDLESS) as process:
        assert begun(process) == 0
        # Only the process that was started as the batch script's shell.
        process.send_signal(signal.SIGUSR1)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (-signal.SIGTERM, "")
    assert (tmp_path / "scontrol.log").read_text() == "requeue 4711\n"
    started = client.execute("SELECT time_started FROM runs").fetchone()
    assert statuses(client) == [(planned.id, "REQUEUED")]

    first = steps(client)
    with slurm.start("job.sbatch", "--epochs", str(len(first) + 3), SLURM_RESTART_COUNT=1) as process:
        assert begun(process) == len(first)
        assert process.wait(timeout=60) == 0
    assert statuses(client) == [(planned.id, "COMPLETED")]
    assert steps(client) == list(range(len(first) + 3))
    assert client.execute("SELECT extras, time_started FROM runs").fetchone() == ({"restarts": 1}, *started)


def test_a_job_whose_node_fails_continues_its_run(client: sqltrack.Client, slurm: Slurm, planned: sqltrack.Run) -> None:
    with slurm.start("job.sbatch", "--epochs", ENDLESS) as process:
        begun(process)
        wait_for_steps(client, 3)
        process.kill()
    assert statuses(client) == [(planned.id, "RUNNING")]
    killed_at = steps(client)
    last = str(len(killed_at) + 2)
    with slurm.start("job.sbatch", "--epochs", last, SLURM_RESTART_COUNT=1) as process:
        # The last epoch may be logged without a checkpoint; then it is repeated and replaces its row.
        assert begun(process) in (len(killed_at), len(killed_at) - 1)
        assert process.wait(timeout=60) == 0
    assert (statuses(client), steps(client)) == ([(planned.id, "COMPLETED")], list(range(int(last))))


def test_a_job_that_is_cancelled_says_so(client: sqltrack.Client, slurm: Slurm, planned: sqltrack.Run) -> None:
    with slurm.start("job.sbatch", "--epochs", ENDLESS) as process:
        begun(process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 143
    assert statuses(client) == [(planned.id, "CANCELLED")]


def test_a_job_that_cannot_be_requeued_says_why(
    client: sqltrack.Client, slurm: Slurm, planned: sqltrack.Run, tmp_path: Path
) -> None:
    install_program(tmp_path, "scontrol", "import sys; sys.exit('requeueing is not allowed')")
    with slurm.start("job.sbatch", "--epochs", ENDLESS) as process:
        begun(process)
        process.send_signal(signal.SIGUSR1)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, "requeueing is not allowed" in errors) == (1, True)
    ((status, comment),) = client.execute("SELECT status, comment FROM runs").fetchall()
    assert (status, comment[:25]) == ("TIMEOUT", "could not be requeued: Ca")


def test_a_job_that_was_killed_gets_its_state_from_slurm(
    client: sqltrack.Client, slurm: Slurm, planned: sqltrack.Run
) -> None:
    with slurm.start("job.sbatch", "--epochs", ENDLESS) as process:
        begun(process)
        process.kill()
    assert statuses(client) == [(planned.id, "RUNNING")]
    command = ["sqltrack", "reap", "--yes"]
    subprocess.run(command, env=slurm.variables, check=True, capture_output=True)
    assert statuses(client) == [(planned.id, "NODE_FAIL")]


def run_array(slurm: Slurm, sweep: str, tasks: range, *jobs: int, **variables: Any) -> None:
    """Run the tasks of arrays at the same time; the job number of its first task identifies an array."""
    commands = [
        slurm.command(
            "array.sbatch", sweep, job=job + task, SLURM_ARRAY_TASK_ID=task, SLURM_ARRAY_JOB_ID=job, **variables
        )
        for job in jobs
        for task in tasks
    ]
    done = run_together(commands, env=slurm.variables, cwd=slurm.folder, text=True)
    assert [(task.returncode, task.stderr) for task in done] == [(0, "")] * len(commands)


def test_an_array_that_is_submitted_twice_makes_no_run_twice(client: sqltrack.Client, slurm: Slurm) -> None:
    run_array(slurm, "sweep.jsonl", range(1, 5), 100, 200)
    assert sorted(status for _, status in statuses(client)) == ["COMPLETED"] * 4
    stored = sorted(args["learning_rate"] for (args,) in client.execute("SELECT args FROM runs"))
    assert stored == [0.01, 0.03, 0.1, 0.3]
    assert steps(client) == [*range(10)] * 4


def test_an_array_repeats_failed_tasks_and_adds_new_ones(client: sqltrack.Client, slurm: Slurm) -> None:
    lines = [json.dumps({"learning_rate": rate, "epochs": 2}) for rate in (0.1, 0.2, 0.3)]
    sweep = slurm.folder / "sweep.jsonl"
    sweep.write_text("\n".join(lines[:2]))
    run_array(slurm, "sweep.jsonl", range(1, 3), 100)
    (failed,) = client.execute("SELECT MIN(id) FROM runs").fetchone()
    client.execute("UPDATE runs SET status = 'FAILED' WHERE id = %s", (failed,))
    sweep.write_text("\n".join(lines))
    run_array(slurm, "sweep.jsonl", range(1, 4), 200)
    assert [status for _, status in statuses(client)] == ["COMPLETED"] * 3
    jobs = [int(extras["slurm_job_id"]) >= 200 for (extras,) in client.execute("SELECT extras FROM runs ORDER BY id")]
    assert jobs == [True, False, True]


def test_a_task_leaves_runs_of_other_jobs_alone_but_continues_its_own(client: sqltrack.Client, slurm: Slurm) -> None:
    args = json.loads((slurm.folder / "sweep.jsonl").read_text().splitlines()[0])
    run = sqltrack.Experiment(client, name="Sweep sweep").get_run().add_args(args).add_extras({"slurm_job_id": "7"})
    run.set_status("RUNNING")
    assert "run 1 is already RUNNING" in slurm.run("array.sbatch", "sweep.jsonl", job=8, SLURM_ARRAY_TASK_ID=1)
    assert (statuses(client), steps(client)) == ([(1, "RUNNING")], [])
    slurm.run("array.sbatch", "sweep.jsonl", job=7, SLURM_ARRAY_TASK_ID=1, SLURM_RESTART_COUNT=1)
    assert (statuses(client), steps(client)) == ([(1, "COMPLETED")], [*range(10)])


def test_ranks_that_srun_starts_are_children_of_one_run(client: sqltrack.Client, slurm: Slurm) -> None:
    slurm.run("ranks.sbatch", SLURM_NTASKS=3)
    children = client.execute("SELECT COUNT(*) FROM run_links WHERE kind = 'rank of' AND to_id = 1").fetchone()
    assert (children, statuses(client)) == ((3,), [(run_id, "COMPLETED") for run_id in range(1, 5)])


def test_a_job_in_a_container_finds_run_and_database_by_the_environment(
    client: sqltrack.Client, slurm: Slurm, planned: sqltrack.Run
) -> None:
    slurm.run("container.sbatch", "--epochs", "2")
    assert statuses(client) == [(planned.id, "COMPLETED")]
    assert (slurm.folder / "apptainer.log").read_text().startswith(f"exec --nv --bind {slurm.folder}")


def test_a_job_in_a_container_gets_its_signals(client: sqltrack.Client, slurm: Slurm, planned: sqltrack.Run) -> None:
    with slurm.start("container.sbatch", "--epochs", ENDLESS) as process:
        begun(process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 143
    assert statuses(client) == [(planned.id, "CANCELLED")]


def test_workers_of_an_array_take_all_planned_runs(client: sqltrack.Client, slurm: Slurm) -> None:
    subprocess.run(
        [sys.executable, "search.py", "plan", "--trials", "5"],
        cwd=slurm.folder,
        env=slurm.variables,
        check=True,
        capture_output=True,
    )
    commands = [slurm.command("worker.sbatch", job=100 + task, SLURM_ARRAY_TASK_ID=task) for task in (1, 2)]
    done = run_together(commands, env=slurm.variables, cwd=slurm.folder, text=True)
    assert [(task.returncode, task.stderr) for task in done] == [(0, "")] * 2
    assert statuses(client) == [(run_id, "COMPLETED") for run_id in range(1, 6)]
    jobs = {env["SLURM_JOB_ID"] for (env,) in client.execute("SELECT env FROM runs")}
    assert jobs <= {"101", "102"}


@pytest.mark.parametrize("path", BATCH_SCRIPTS, ids=lambda path: path.name)
def test_a_batch_script_passes_signals_on(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "#!/bin/bash"
    options = [line for line in lines if line.startswith("#SBATCH")]
    # Slurm stops looking for options at the first command.
    assert lines[1 : len(options) + 1] == options
    assert lines[-1].startswith(("exec ", "srun "))
    # Without B: the signal goes to steps, which only srun creates.
    to_shell = any("--signal=B:" in option for option in options)
    assert not (to_shell and lines[-1].startswith("srun"))
    subprocess.run(["bash", "-n", str(path)], check=True)
