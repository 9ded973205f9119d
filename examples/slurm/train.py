"""A training job: it picks up the run that was planned for it, logs to that, and goes on with it when it is requeued.

Started by hand it tracks a run of its own. Which database is used is for SQLTrack's configuration to say.
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
    """Write a checkpoint; a process that is killed meanwhile leaves the old one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".tmp").write_text(json.dumps(state))
    os.replace(path.with_suffix(".tmp"), path)


def requeue(run: sqltrack.Run) -> None:
    """Put this job into Slurm's queue again; its next start goes on with the same run."""
    # Before Slurm ends this process: REQUEUED shall be the last word.
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
    # Slurm sends this signal some time before the limit, as --signal says. The epoch is finished first.
    is_time_up: list[bool] = []
    signal.signal(signal.SIGUSR1, lambda *_: is_time_up.append(True))

    run = find_run(sqltrack.Client(), args).add_env("auto")
    checkpoint = Path(str(args.checkpoints)) / f"run-{run.id}.json"
    state: dict[str, Any] = {"epoch": -1, "weight": 5.0, "velocity": 0.0}
    if checkpoint.exists():
        state = json.loads(checkpoint.read_text())
        run.add_extras({"restarts": int(os.environ.get("SLURM_RESTART_COUNT", 0))})

    # SIGTERM, by scancel or preemption, marks the run as CANCELLED. One that goes on keeps the time of its first start.
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
