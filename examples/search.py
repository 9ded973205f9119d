"""Random search with the database as the queue: plan trials, then start any number of workers on any machines.

    python search.py plan --trials 20
    python search.py work &
    python search.py work &
    wait
    python search.py best

A trial is a planned run. Each worker takes the next one, and no two workers take the same. You can plan more trials and
start more workers at any time. There is no server other than the database.
"""

from __future__ import annotations

import argparse
import math
import random

import sqltrack
from sqltrack.commands import setup

# Two workers may look for the next trial at the same moment. On both databases the second UPDATE finds that the run is
# no longer planned, and changes nothing.
TAKE_NEXT = """
    UPDATE runs SET status = 'RUNNING'
    WHERE status = 'PLANNED' AND id = (
        SELECT MIN(id) FROM runs WHERE experiment_id = %s AND status = 'PLANNED'
    )
    RETURNING id
"""

ANY_LEFT = "SELECT id FROM runs WHERE experiment_id = %s AND status = 'PLANNED' LIMIT 1"

BEST = """
    SELECT runs.id, runs.args, MIN(metrics.val_loss) AS val_loss
    FROM runs JOIN metrics ON metrics.run_id = runs.id
    WHERE runs.experiment_id = %s AND metrics.val_loss <> 'NaN'
    GROUP BY runs.id, runs.args ORDER BY val_loss, runs.id LIMIT 5
"""


def plan(experiment: sqltrack.Experiment, trials: int, seed: int | None) -> None:
    """Plan trials with random hyperparameters: all of them or, on an error, none."""
    rng = random.Random(seed)
    with experiment.client:
        for _ in range(trials):
            args = {"learning_rate": 10 ** rng.uniform(-3, 0), "momentum": rng.choice([0.0, 0.5, 0.9])}
            experiment.get_run().add_args(args)


def take_next(experiment: sqltrack.Experiment) -> sqltrack.Run | None:
    """Take the next trial, or return None if all are taken."""
    client = experiment.client
    while True:
        taken = client.execute(TAKE_NEXT, (experiment.id,)).fetchone()
        if taken:
            return experiment.get_run(taken[0])
        # Another worker was faster. Are any trials left?
        if client.execute(ANY_LEFT, (experiment.id,)).fetchone() is None:
            return None


def work(experiment: sqltrack.Experiment) -> int:
    """Run trials until none is left, and return how many this worker ran."""
    done = 0
    while run := take_next(experiment):
        try:
            train(run.add_env("auto"))
        except Exception as error:
            # The run is FAILED by now, but the next trial may work.
            run.set_comment(f"{type(error).__name__}: {error}")
        done += 1
    return done


def train(run: sqltrack.Run) -> None:
    """Train with the hyperparameters that were planned."""
    (args,) = run.client.execute("SELECT args FROM runs WHERE id = %s", (run.id,)).fetchone()
    weight, velocity = 5.0, 0.0
    with run.track():
        for epoch in range(30):
            velocity = args["momentum"] * velocity - args["learning_rate"] * 2 * weight
            weight += velocity
            if not math.isfinite(weight):
                raise ArithmeticError(f"diverged in epoch {epoch}")
            run.add_metrics({"val_loss": weight**2}, step=epoch)


def show_best(experiment: sqltrack.Experiment) -> None:
    """Print the five best trials so far; workers may still be running."""
    for run_id, args, val_loss in experiment.client.execute(BEST, (experiment.id,)):
        print(f"run {run_id}: val_loss {val_loss:.3g} with {args}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Random search with workers that share a database.")
    parser.add_argument("action", choices=["plan", "work", "best"])
    parser.add_argument("--experiment", default="Random search")
    parser.add_argument("--trials", type=int, default=20, help="number of trials to plan (default: %(default)s)")
    parser.add_argument("--seed", type=int, help="seed for the hyperparameters (default: different ones each time)")
    options = parser.parse_args()

    client = sqltrack.Client()
    setup(client)
    experiment = sqltrack.Experiment(client, name=options.experiment)
    if options.action == "plan":
        plan(experiment, options.trials, options.seed)
    elif options.action == "work":
        print(f"{work(experiment)} trials done")
    else:
        show_best(experiment)


if __name__ == "__main__":
    main()
