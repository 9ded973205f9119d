"""A training job: it picks up the run that submit.py has planned for it, and logs to that.

Started by hand it tracks a run of its own. Which database is used is for SQLTrack's configuration to say.
"""

from __future__ import annotations

import random
from typing import Any

import sqltrack
from sqltrack.args import docopt_main


def find_run(client: sqltrack.Client, args: dict[str, Any]) -> sqltrack.Run:
    """Return the run that was planned for this job, or a new one."""
    try:
        return sqltrack.run_from_env(client)
    except ValueError:
        return sqltrack.Experiment(client, name="Started by hand").get_run().add_args(args)


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
    """
    noise = random.Random(args.seed)
    weight, velocity = 5.0, 0.0
    run = find_run(sqltrack.Client(), args).add_env("auto")
    # Slurm sends SIGTERM before it ends a job, and the run is marked as CANCELLED.
    with run.track():
        for epoch in range(args.epochs):
            gradient = 2 * weight + noise.gauss(0, 0.1)
            velocity = args.momentum * velocity - args.learning_rate * gradient
            weight += velocity
            run.add_metrics({"loss": weight**2}, step=epoch, progress=(epoch + 1) / args.epochs)
