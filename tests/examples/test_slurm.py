"""The Slurm example: a submitted job is planned in the database, and logs to that run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from support.variables import database_variables

EXAMPLES = Path(__file__).parents[2] / "examples" / "slurm"

# Runs a job at once, as its own shell would on a node, and answers as sbatch does.
SBATCH = """#!/bin/sh
for argument; do
    echo "$argument" >> sbatch.log
    case "$argument" in --wrap=*) sh -c "${argument#--wrap=}" > slurm-4711.out || exit 1 ;; esac
done
echo "4711;cluster"
"""


@pytest.fixture
def environment(config: dict[str, Any], tmp_path: Path) -> dict[str, str]:
    """An environment with our sbatch, in which SQLTrack uses the test's database."""
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.parent.mkdir()
    sbatch.write_text(SBATCH)
    sbatch.chmod(0o755)
    variables = database_variables(config)
    return {**os.environ, **variables, "PATH": f"{sbatch.parent}{os.pathsep}{os.environ['PATH']}"}


def submit(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(EXAMPLES / "submit.py"), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def runs(client: sqltrack.Client) -> list[Any]:
    query = "SELECT status, args, extras, comment, env FROM runs ORDER BY id"
    return client.execute(query).fetchall()


def test_a_job_logs_to_the_run_that_was_planned_for_it(
    client: sqltrack.Client, environment: dict[str, str], tmp_path: Path
) -> None:
    script = str(EXAMPLES / "train.py")
    done = submit(
        environment, "--experiment", "queue", "--sbatch=--time=1:00", script, "--epochs", "3", "--seed", "007"
    )
    assert done.stdout.splitlines() == ["(OK) base.sql", "run 1 is job 4711"]
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "sbatch.log").read_text().splitlines()[:3] == ["--parsable", "--job-name=run-1", "--time=1:00"]
    ((status, args, extras, comment, env),) = runs(client)
    options = {"epochs": 3, "learning_rate": 0.1, "momentum": 0.9, "seed": 7, "checkpoints": "checkpoints"}
    assert args == {"help": False, **options}
    assert (status, extras, comment) == ("COMPLETED", {"slurm_job_id": "4711"}, None)
    assert env["SQLTRACK_RUN_ID"] == "1"
    assert [step for (step,) in client.execute("SELECT step FROM metrics WHERE loss > 0 ORDER BY step")] == [0, 1, 2]


def test_a_wrong_command_line_is_refused_before_it_is_queued(
    client: sqltrack.Client, environment: dict[str, str]
) -> None:
    done = submit(environment, str(EXAMPLES / "train.py"), "--epoch")
    assert done.returncode == 1
    assert done.stderr.startswith("error: cannot read the arguments of")
    assert runs(client) == []


def test_a_job_that_cannot_be_queued_leaves_a_cancelled_run(
    client: sqltrack.Client, environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "bin" / "sbatch").write_text("#!/bin/sh\necho 'invalid partition' >&2\nexit 1\n")
    done = submit(environment, str(EXAMPLES / "train.py"))
    assert done.returncode == 1
    assert "error: run 1 could not be queued" in done.stderr
    ((status, _, _, comment, _),) = runs(client)
    assert status == "CANCELLED"
    assert comment.startswith("could not be queued: ")


def test_started_by_hand_it_tracks_a_run_of_its_own(client: sqltrack.Client, environment: dict[str, str]) -> None:
    command = [sys.executable, str(EXAMPLES / "train.py"), "--epochs", "2"]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    assert [(row[0], row[1]["epochs"]) for row in runs(client)] == [("COMPLETED", 2)]
