"""A task of a job array: train with one line of a sweep file, as one run.

    sbatch --array=1-$(wc -l < sweep.jsonl) array.sbatch sweep.jsonl

If you submit the array again, tasks whose run is COMPLETED exit at once, tasks whose run failed or was cancelled repeat
it, and new lines of the file become new runs. No setting ever has two runs.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import sqltrack
from sqltrack.commands import setup


def take_run(experiment: sqltrack.Experiment, args: dict[str, Any], job: str) -> sqltrack.Run | None:
    """Return the run for a setting, or None if there is nothing to do."""
    client = experiment.client
    with client:
        # Changes nothing, but makes tasks that get here at the same time wait for each other, on both databases.
        client.execute("UPDATE experiments SET name = name WHERE id = %s", (experiment.id,))
        rows = client.execute("SELECT id, status, args, extras FROM runs WHERE experiment_id = %s", (experiment.id,))
        known = next((row for row in rows if row[2] == args), None)
        run = experiment.get_run(known[0] if known else None)
        if known:
            is_of_other_job = (known[3] or {}).get("slurm_job_id") != job
            if known[1] == "COMPLETED" or (known[1] == "RUNNING" and is_of_other_job):
                print(f"run {run.id} is already {known[1]}")
                return None
        return run.set_args(args).set_status("RUNNING").add_extras({"slurm_job_id": job})


def train(run: sqltrack.Run, args: dict[str, Any]) -> None:
    """Train; see train.py for checkpoints."""
    weight = 5.0
    for epoch in range(args["epochs"]):
        weight -= args["learning_rate"] * 2 * weight
        run.add_metrics({"loss": weight**2}, step=epoch)


def main() -> None:
    lines = Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()
    args = json.loads(lines[int(os.environ["SLURM_ARRAY_TASK_ID"]) - 1])
    client = sqltrack.Client()
    setup(client)
    experiment = sqltrack.Experiment(client, name=f"Sweep {Path(sys.argv[1]).stem}")
    run = take_run(experiment, args, os.environ["SLURM_JOB_ID"])
    if run is not None:
        with run.add_env("auto").track():
            train(run, args)


if __name__ == "__main__":
    main()
