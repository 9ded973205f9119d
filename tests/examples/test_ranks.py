"""Training by several processes: which rank logs to which run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import sqltrack
from support.processes import run_together

pytestmark = pytest.mark.guides

SCRIPT = Path(__file__).parents[2] / "examples" / "ranks.py"

RunExample = Callable[..., str]


def children(client: sqltrack.Client, run_id: int) -> list[tuple[int, str, int]]:
    """Return rank, status and number of rows of the children of a run."""
    rows = client.execute(
        "SELECT args, status, (SELECT COUNT(*) FROM metrics WHERE run_id = runs.id)"
        " FROM runs JOIN run_links ON from_id = runs.id WHERE kind = 'rank of' AND to_id = %s",
        (run_id,),
    )
    return sorted((args["rank"], status, count) for args, status, count in rows)


def test_ranks_that_are_spawned_log_to_children_of_one_run(client: sqltrack.Client, run_example: RunExample) -> None:
    _, *lines = run_example("ranks.py", "--ranks", "3").splitlines()
    assert [line.partition(":")[0] for line in lines] == [f"epoch {epoch}" for epoch in range(5)]
    assert all("on average of 3 ranks" in line for line in lines)
    assert children(client, 1) == [(rank, "COMPLETED", 5) for rank in range(3)]
    whole = client.execute(
        "SELECT status, (SELECT COUNT(val_loss) FROM metrics WHERE run_id = 1) FROM runs WHERE id = 1"
    )
    assert whole.fetchone() == ("COMPLETED", 5)


def test_ranks_that_a_launcher_starts_find_the_run_that_was_planned(
    client: sqltrack.Client, run_example: RunExample, variables: dict[str, str]
) -> None:
    planned = dict(word.split("=") for word in run_example("ranks.py", "--plan").split())
    assert planned == {"SQLTRACK_EXPERIMENT_ID": "1", "SQLTRACK_RUN_ID": "1"}
    # torchrun gives each process these variables; env sets them in the same way.
    commands = [["env", f"RANK={rank}", "WORLD_SIZE=4", sys.executable, str(SCRIPT)] for rank in range(4)]
    done = run_together(commands, env={**variables, **planned}, text=True)
    assert [(rank.returncode, rank.stderr) for rank in done] == [(0, "")] * 4
    assert children(client, 1) == [(rank, "COMPLETED", 5) for rank in range(4)]


def test_a_rank_that_fails_is_told_from_those_that_did_not(client: sqltrack.Client, variables: dict[str, str]) -> None:
    # Stands for a fault of one rank: a process that has no room for its numbers.
    fault = (
        "import os, runpy, random\n"
        "if os.environ['RANK'] == '1':\n"
        "    random.Random = lambda seed: 1 / 0\n"
        f"runpy.run_path({os.fspath(SCRIPT)!r}, run_name='__main__')\n"
    )
    whole = sqltrack.Experiment(client, name="Several processes").get_run()
    planned = {"SQLTRACK_EXPERIMENT_ID": str(whole.experiment_id), "SQLTRACK_RUN_ID": str(whole.id)}
    commands = [["env", f"RANK={rank}", "WORLD_SIZE=2", sys.executable, "-c", fault] for rank in range(2)]
    done = run_together(commands, env={**variables, **planned}, text=True)
    assert [rank.returncode for rank in done] == [0, 1]
    assert children(client, whole.id) == [(0, "COMPLETED", 5), (1, "FAILED", 0)]


# Stands for a fault of all ranks, but not of the process that starts them.
SITECUSTOMIZE = """
import os, random
if "SQLTRACK_RUN_ID" in os.environ:
    random.Random = lambda seed: 1 / 0
"""


def test_a_launcher_whose_ranks_fail_fails(client: sqltrack.Client, variables: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(SITECUSTOMIZE, encoding="utf-8")
    environment = {**variables, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, str(SCRIPT), "--ranks", "2"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "(OK) base.sql\n")
    assert done.stderr.splitlines()[-1] == "error: ranks of run 1 failed"
    assert children(client, 1) == [(0, "FAILED", 0), (1, "FAILED", 0)]
