"""Random search: the database is the queue, and any number of workers takes trials from it."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import sqltrack
from support.modules import load_module
from support.processes import run_together

pytestmark = pytest.mark.guides

SCRIPT = Path(__file__).parents[2] / "examples" / "search.py"
WORKERS = 8
TRIALS = 40

RunExample = Callable[..., str]


@pytest.fixture(scope="module")
def search() -> ModuleType:
    """The example as a module."""
    return load_module(SCRIPT)


# Workers that wait for each other at the start, and then take trials as fast as they can.
WORKER = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
import search, sqltrack
experiment = sqltrack.Experiment(sqltrack.Client(), name="queue")
open(f"ready-{os.getpid()}", "w").close()
while len([name for name in os.listdir() if name.startswith("ready-")]) < int(sys.argv[2]):
    time.sleep(0.01)
while run := search.take_next(experiment):
    print(run.id)
"""


def test_eight_workers_at_once_take_every_trial_and_none_twice(
    client: sqltrack.Client, search: ModuleType, variables: dict[str, str]
) -> None:
    experiment = sqltrack.Experiment(client, name="queue")
    search.plan(experiment, TRIALS, seed=1)
    commands = [[sys.executable, "-c", WORKER, str(SCRIPT.parent), str(WORKERS)]] * WORKERS
    done = run_together(commands, env=variables, text=True)
    assert [(worker.returncode, worker.stderr) for worker in done] == [(0, "")] * WORKERS
    taken = [int(line) for worker in done for line in worker.stdout.splitlines()]
    assert Counter(taken) == Counter(range(1, TRIALS + 1))
    assert client.execute("SELECT status, COUNT(*) FROM runs GROUP BY status").fetchall() == [("RUNNING", TRIALS)]


def test_workers_train_the_planned_trials(client: sqltrack.Client, run_example: RunExample) -> None:
    run_example("search.py", "plan", "--trials", "6", "--seed", "3")
    assert run_example("search.py", "work").splitlines() == ["(OK) base.sql", "6 trials done"]
    assert run_example("search.py", "work").splitlines()[-1] == "0 trials done"
    rows = client.execute(
        "SELECT id, status, env IS NULL, (SELECT COUNT(*) FROM metrics WHERE run_id = runs.id) FROM runs ORDER BY id"
    )
    assert [tuple(map(int, (row[0], row[1] == "COMPLETED", row[2], row[3]))) for row in rows] == [
        (run_id, 1, 0, 30) for run_id in range(1, 7)
    ]


def test_planning_is_all_or_nothing(
    client: sqltrack.Client, search: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = sqltrack.Experiment(client, name="queue")
    calls: list[Any] = []

    def fail_at_third(run: sqltrack.Run, args: Any) -> sqltrack.Run:
        calls.append(args)
        if len(calls) == 3:
            raise OSError("disk full")
        return run

    monkeypatch.setattr(sqltrack.Run, "add_args", fail_at_third)
    with pytest.raises(OSError, match="disk full"):
        search.plan(experiment, 5, seed=1)
    assert client.execute("SELECT COUNT(*) FROM runs").fetchone() == (0,)


def test_a_trial_that_fails_does_not_end_its_worker(client: sqltrack.Client, search: ModuleType) -> None:
    experiment = sqltrack.Experiment(client, name="queue")
    with client:
        for learning_rate in (1e300, 0.1):
            experiment.get_run().add_args({"learning_rate": learning_rate, "momentum": 0.0})
    assert search.work(experiment) == 2
    rows = client.execute("SELECT status, comment FROM runs ORDER BY id").fetchall()
    assert [status for status, _ in rows] == ["FAILED", "COMPLETED"]
    assert "Error" in rows[0][1]


def test_trials_are_taken_in_the_order_of_planning_and_only_those_of_the_experiment(
    client: sqltrack.Client, search: ModuleType
) -> None:
    mine, other = (sqltrack.Experiment(client, name=name) for name in ("mine", "other"))
    theirs = other.get_run()
    planned = [mine.get_run().id for _ in range(2)]
    assert [run.id for run in iter(lambda: search.take_next(mine), None)] == planned
    assert client.execute("SELECT id FROM runs WHERE status = 'PLANNED'").fetchall() == [(theirs.id,)]


def test_the_best_trials_are_shown_first(client: sqltrack.Client, run_example: RunExample) -> None:
    experiment = sqltrack.Experiment(client, name="Random search")
    for loss in (3.0, 0.5, float("nan"), 2.0):
        experiment.get_run().add_args({"learning_rate": loss}).add_metrics({"val_loss": loss})
    lines = run_example("search.py", "best").splitlines()
    assert [line.split(" with ")[0] for line in lines[1:]] == [
        "run 2: val_loss 0.5",
        "run 4: val_loss 2",
        "run 1: val_loss 3",
    ]
