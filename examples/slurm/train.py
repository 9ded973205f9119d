"""A training job: it uses the run that was planned for it, and continues that run when the job is requeued.

If you start it by hand, it creates a run. SQLTrack's configuration names the database.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import sqltrack
from sqltrack.args import docopt_main
from sqltrack.commands import setup


def find_run(client: sqltrack.Client, args: dict[str, Any]) -> sqltrack.Run:
    """Return the run that was planned for this job, or a new one."""
    try:
        return sqltrack.run_from_env(client)
    except ValueError:
        setup(client)
        return sqltrack.Experiment(client, name="Started by hand").get_run().add_args(args)


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint; if the process is killed while it writes, the old checkpoint remains."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".tmp").write_text(json.dumps(state))
    os.replace(path.with_suffix(".tmp"), path)


def requeue(run: sqltrack.Run) -> None:
    """Put this job back into Slurm's queue; its next start continues the same run."""
    # Set REQUEUED before Slurm ends this process, so that it stays the final status.
    run.stop("REQUEUED")
    try:
        subprocess.run(["scontrol", "requeue", os.environ["SLURM_JOB_ID"]], check=True)
    except (KeyError, OSError, subprocess.CalledProcessError) as error:
        run.set_status("TIMEOUT").set_comment(f"could not be requeued: {error!r}")
        sys.exit(f"error: run {run.id} could not be requeued: {error!r}")


@docopt_main
def main(args: Any) -> None:
    """
    usage: train.py [options]

    options:
        -h --help           Show this text and end.
        --epochs N          How often to go through the data [default: 20]
        --learning-rate R   Step size [default: 0.1]
        --momentum M        Share of the last step that the next one keeps [default: 0.9]
        --seed N            Seed of the noise [default: 0]
        --checkpoints PATH  Folder for checkpoints [default: checkpoints]
    """
    # Slurm sends this signal some time before the time limit, as --signal says. Finish the epoch first.
    is_time_up: list[bool] = []
    signal.signal(signal.SIGUSR1, lambda *_: is_time_up.append(True))

    run = find_run(sqltrack.Client(), args).add_env("auto")
    checkpoint = Path(str(args.checkpoints)) / f"run-{run.id}.json"
    state: dict[str, Any] = {"epoch": -1, "weight": 5.0, "velocity": 0.0}
    if checkpoint.exists():
        state = json.loads(checkpoint.read_text())
        run.add_extras({"restarts": int(os.environ.get("SLURM_RESTART_COUNT", 0))})

    # SIGTERM, sent by scancel or preemption, sets the status CANCELLED. A continued run keeps the time of its first
    # start.
    with run.track(started=None if checkpoint.exists() else "auto"):
        print(f"run {run.id} begins with epoch {state['epoch'] + 1}", flush=True)
        for epoch in range(state["epoch"] + 1, args.epochs):
            gradient = 2 * state["weight"] + random.Random(f"{args.seed} {epoch}").gauss(0, 0.1)
            velocity = args.momentum * state["velocity"] - args.learning_rate * gradient
            state = {"epoch": epoch, "weight": state["weight"] + velocity, "velocity": velocity}
            run.add_metrics({"loss": state["weight"] ** 2}, step=epoch)
            save(checkpoint, state)
            if is_time_up and epoch + 1 < args.epochs:
                requeue(run)
                return
