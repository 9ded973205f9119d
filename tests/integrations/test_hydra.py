"""Start jobs with Hydra, and find their configurations in the runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from support.processes import running
from support.variables import database_variables

SCRIPT = """
import os, signal, sys, time
import hydra, sqltrack
from hydra.core.config_store import ConfigStore

CONFIG = {"lr": 0.1, "twice": "${lr}${lr}", "prompt": "x" * 10_000, "model": {"layers": [{"size": 3, "bias": None}]}}
ConfigStore.instance().store("config", {**CONFIG, "end": "none"})

@hydra.main(version_base=None, config_name="config")
def train(config):
    BODY
    if config.end == "raise":
        raise RuntimeError("no convergence")
    if config.end == "wait":
        print("waiting", flush=True)
        while True:
            time.sleep(0.02)

train()
"""

LOGS = 'with sqltrack.track() as run:\n        run.add_metrics({"loss": config.lr}, step=1)'
CALLBACK = "+hydra.callbacks.sqltrack._target_=sqltrack.integrations.hydra.SQLTrackCallback"
EXPERIMENT = "+hydra.callbacks.sqltrack.experiment=digits"

Train = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., list[str]]:
    """Return a function that writes a script with a function body, and returns the command that runs it."""

    def command(*arguments: str, body: str = LOGS) -> list[str]:
        path = tmp_path / "train.py"
        path.write_text(SCRIPT.replace("BODY", body), encoding="utf-8")
        return [sys.executable, str(path), *arguments, CALLBACK, EXPERIMENT]

    return command


@pytest.fixture
def variables(config: dict[str, Any]) -> dict[str, str]:
    """An environment that names the test's database."""
    return {**os.environ, **database_variables(config)}


@pytest.fixture
def train(command: Callable[..., list[str]], variables: dict[str, str]) -> Train:
    """Return a function that runs the script."""

    def train(*arguments: str, **options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command(*arguments, **options), env=variables, capture_output=True, text=True)

    return train


def found(client: sqltrack.Client, columns: str) -> list[Any]:
    return list(client.execute(f"SELECT {columns} FROM runs ORDER BY id").fetchall())


def test_each_job_of_a_multirun_is_a_run_with_its_configuration(client: sqltrack.Client, train: Train) -> None:
    done = train("-m", "lr=0.1,0.2,0.3")
    assert done.returncode == 0, done.stderr
    assert [status for (status,) in found(client, "status")] == ["COMPLETED"] * 3
    for number, (arguments, extras) in enumerate(found(client, "args, extras")):
        lr = (number + 1) / 10
        assert arguments == {
            "lr": lr,
            "twice": f"{lr}{lr}",
            "prompt": "x" * 10_000,
            "end": "none",
            "model": {"layers": [{"size": 3, "bias": None}]},
        }
        assert extras["hydra"]["overrides"] == [f"lr={lr}"]
        assert Path(extras["hydra"]["output_dir"]).name == str(number)
    # The function has logged to the run of its job.
    rows = client.execute("SELECT run_id, loss FROM metrics ORDER BY run_id").fetchall()
    assert [loss for _, loss in rows] == [0.1, 0.2, 0.3]
    assert [run_id for run_id, _ in rows] == [run_id for (run_id,) in found(client, "id")]


@pytest.mark.parametrize("body", ["pass", LOGS], ids=["untracked", "tracked"])
def test_a_job_that_raises_has_failed(client: sqltrack.Client, train: Train, body: str) -> None:
    done = train("end=raise", body=body)
    assert done.returncode == 1
    assert "no convergence" in done.stderr
    assert found(client, "status") == [("FAILED",)]


@pytest.mark.engines("sqlite", reason="the jobs end in the same way, whatever the database")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_job_that_is_interrupted_is_cancelled(
    client: sqltrack.Client, command: Callable[..., list[str]], variables: dict[str, str], number: signal.Signals
) -> None:
    options: Any = {"env": variables, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with running(command("end=wait", body="pass"), **options) as process:
        assert process.stdout is not None
        assert "waiting\n" in iter(process.stdout.readline, "")
        process.send_signal(number)
        process.communicate(timeout=60)
    assert found(client, "status") == [("CANCELLED",)]


@pytest.mark.engines("sqlite", reason="the database is not reached")
def test_without_a_database_the_jobs_run_all_the_same(
    tmp_path: Path, command: Callable[..., list[str]], variables: dict[str, str]
) -> None:
    environment = {**variables, "SQLTRACK_DSN_DBPATH": str(tmp_path / "missing" / "sqltrack.db")}
    done = subprocess.run(command("-m", "lr=1,2", body="pass"), env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (done.stdout + done.stderr).count("nothing is logged, and the training continues") == 1
