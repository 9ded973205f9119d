"""Train with several processes: each rank logs to its own run, a child of the main run that rank 0 logs to.

    python ranks.py --ranks 4

The process that starts the ranks plans the main run and passes its id on in the environment. Each rank reads its number
from RANK and WORLD_SIZE. Here the script sets them as torchrun does. With torchrun or srun, plan the main run in the
batch script:

    export $(python ranks.py --plan)
    torchrun --nproc-per-node 4 ranks.py
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import random
import sys

import sqltrack
from sqltrack.commands import setup

EPOCHS = 5

# The mean that an all-reduce would have computed, and how far the ranks are apart.
OVER_RANKS = """
    SELECT metrics.step, COUNT(*), AVG(metrics.train_loss), MIN(metrics.train_loss), MAX(metrics.train_loss)
    FROM run_links JOIN metrics ON metrics.run_id = run_links.from_id
    WHERE run_links.kind = 'rank of' AND run_links.to_id = %s
    GROUP BY metrics.step ORDER BY metrics.step
"""


def plan() -> sqltrack.Run:
    """Plan the main run of the training."""
    client = sqltrack.Client()
    setup(client)
    return sqltrack.Experiment(client, name="Several processes").get_run()


def variables_of(run: sqltrack.Run) -> dict[str, str]:
    """Return the environment variables by which `run_from_env` finds a run."""
    return {"SQLTRACK_EXPERIMENT_ID": str(run.experiment_id), "SQLTRACK_RUN_ID": str(run.id)}


def train() -> None:
    """Train as one rank."""
    rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    client = sqltrack.Client()
    whole = sqltrack.run_from_env(client)
    with client:
        own = sqltrack.Experiment(client, whole.experiment_id).get_run()
        own.add_link("rank of", whole.id).add_args({"rank": rank, "world_size": world_size}).add_env("auto")
    # Each rank has its own status: you can see later which rank failed, and which were cancelled because of that.
    with own.track():
        if rank == 0:
            with whole.track():
                train_epochs(own, rank, whole)
        else:
            train_epochs(own, rank)


def train_epochs(own: sqltrack.Run, rank: int, whole: sqltrack.Run | None = None) -> None:
    """Log the metrics of this rank to its own run, and those that all ranks share to the main run, once."""
    rng = random.Random(rank)
    for epoch in range(EPOCHS):
        own.add_metrics({"train_loss": 1 / (epoch + 1) + rng.uniform(0, 0.1)}, step=epoch)
        if whole is not None:
            whole.add_metrics({"val_loss": 1.2 / (epoch + 1)}, step=epoch)


def start_rank(rank: int, world_size: int) -> None:
    """Start a rank as torchrun does."""
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(world_size))
    train()


def launch(ranks: int) -> None:
    """Start all ranks and wait for them."""
    run = plan()
    os.environ.update(variables_of(run))
    # Connections and CUDA do not survive a fork, so spawn. Children inherit the environment.
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=start_rank, args=(rank, ranks)) for rank in range(ranks)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        sys.exit(f"error: ranks of run {run.id} failed")
    for step, count, mean, low, high in run.client.execute(OVER_RANKS, (run.id,)):
        print(f"epoch {step}: train_loss {mean:.3f} on average of {count} ranks, {low:.3f} to {high:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Training by several processes, tracked by SQLTrack.")
    parser.add_argument("--ranks", type=int, default=4, help="number of processes (default: %(default)s)")
    parser.add_argument("--plan", action="store_true", help="plan a run and print the variables that name it")
    options = parser.parse_args()
    if options.plan:
        # Only the variables go to stdout, for the batch script.
        with contextlib.redirect_stdout(sys.stderr):
            run = plan()
        print(*(f"{name}={value}" for name, value in variables_of(run).items()))
    elif "RANK" in os.environ:
        train()
    else:
        launch(options.ranks)


if __name__ == "__main__":
    main()
