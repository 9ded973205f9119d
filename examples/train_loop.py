"""A training loop to copy: seeds, validation, checkpoints, the best epoch, and a start from where another run ended.

    python train_loop.py --epochs 20
    python train_loop.py --epochs 40 --resume checkpoints/run-1.npz

Besides SQLTrack it needs: pip install numpy
"""

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np

import sqltrack
from sqltrack.commands import setup


def save(path: Path, **state: Any) -> None:
    # A process that is killed meanwhile leaves the old checkpoint.
    np.savez(path.with_suffix(".new.npz"), **state)
    os.replace(path.with_suffix(".new.npz"), path)


def loss_and_gradient(model: Any, x: Any, y: Any) -> tuple[float, Any]:
    probability = 1 / (1 + np.exp(-x @ model))
    loss = -np.mean(y * np.log(probability + 1e-9) + (1 - y) * np.log(1 - probability + 1e-9))
    return float(loss), x.T @ (probability - y) / len(y)


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a classifier, tracked by SQLTrack.")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--learning-rate", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--checkpoints", type=Path, default=Path("checkpoints"))
    parser.add_argument("--resume", type=Path, help="checkpoint of another run to go on from")
    args = parser.parse_args()
    args.checkpoints.mkdir(parents=True, exist_ok=True)

    rng = np.random.default_rng(args.seed)
    x = rng.normal(size=(1200, 20))
    y = (x @ rng.normal(size=20) + rng.normal(size=1200) > 0).astype(float)
    model, velocity, first_epoch, best_loss = np.zeros(20), np.zeros(20), 0, float("inf")

    # SQLTrack: a run with what was chosen and where it runs.
    client = sqltrack.Client()
    setup(client)
    run = sqltrack.Experiment(client, name="Training loop").get_run().add_args(args).add_env("auto")

    if args.resume:
        saved = np.load(args.resume)
        model, velocity, best_loss = saved["model"], saved["velocity"], float(saved["best_loss"])
        first_epoch = int(saved["epoch"]) + 1
        # SQLTrack: queries follow this link to make one learning curve of both runs.
        run.add_link("resumes", int(saved["run_id"]))

    # SQLTrack: the status is right however the block ends, also by an exception, Ctrl-C, or SIGTERM.
    with run.track():
        for epoch in range(first_epoch, args.epochs):
            # A generator per epoch: a resumed run sees the batches that an uninterrupted one would see.
            batches = np.array_split(np.random.default_rng([args.seed, epoch]).permutation(1000), 20)
            losses = []
            for batch in batches:
                loss, gradient = loss_and_gradient(model, x[batch], y[batch])
                velocity = 0.9 * velocity - args.learning_rate * gradient
                model = model + velocity
                losses.append(loss)
            val_loss, _ = loss_and_gradient(model, x[1000:], y[1000:])
            # SQLTrack: one row per epoch; once the call returns it is stored.
            run.add_metrics({"train_loss": np.mean(losses), "val_loss": val_loss}, step=epoch)

            is_best, best_loss = val_loss < best_loss, min(val_loss, best_loss)
            state = {"model": model, "velocity": velocity, "epoch": epoch, "best_loss": best_loss, "run_id": run.id}
            save(args.checkpoints / f"run-{run.id}.npz", **state)
            if is_best:
                best = args.checkpoints / f"run-{run.id}-best.npz"
                save(best, **state)
                # SQLTrack: what one looks for later when the model is needed.
                run.add_extras({"best_epoch": epoch, "best_checkpoint": best})
    print(f"run {run.id}: epochs {first_epoch} to {args.epochs - 1}, best val_loss {best_loss:.4f}")


if __name__ == "__main__":
    main()
