"""A training loop to copy: seeds, validation, checkpoints, the best epoch, and continuing from a checkpoint.

    python train_loop.py --epochs 20
    python train_loop.py --epochs 40 --resume checkpoints/run-1.npz

Requires, in addition to SQLTrack: pip install numpy
"""

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np

import sqltrack
from sqltrack.commands import setup


def save(path: Path, **state: Any) -> None:
    # If the process is killed while it saves, the old checkpoint remains.
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
    parser.add_argument("--resume", type=Path, help="checkpoint of another run to continue from")
    args = parser.parse_args()
    args.checkpoints.mkdir(parents=True, exist_ok=True)

    rng = np.random.default_rng(args.seed)
    x = rng.normal(size=(1200, 20))
    y = (x @ rng.normal(size=20) + rng.normal(size=1200) > 0).astype(float)
    model, velocity, first_epoch, best_loss = np.zeros(20), np.zeros(20), 0, float("inf")

    # SQLTrack: a run with its arguments and its environment.
    client = sqltrack.Client()
    setup(client)
    run = sqltrack.Experiment(client, name="Training loop").get_run().add_args(args).add_env("auto")

    if args.resume:
        saved = np.load(args.resume)
        model, velocity, best_loss = saved["model"], saved["velocity"], float(saved["best_loss"])
        first_epoch = int(saved["epoch"]) + 1
        # SQLTrack: with this link, queries can merge the learning curves of both runs.
        run.add_link("resumes", int(saved["run_id"]))

    # SQLTrack: sets the right status when the block ends, also on an exception, Ctrl-C or SIGTERM.
    with run.track():
        for epoch in range(first_epoch, args.epochs):
            # One generator per epoch: a resumed run sees the same batches as an uninterrupted one.
            batches = np.array_split(np.random.default_rng([args.seed, epoch]).permutation(1000), 20)
            losses = []
            for batch in batches:
                loss, gradient = loss_and_gradient(model, x[batch], y[batch])
                velocity = 0.9 * velocity - args.learning_rate * gradient
                model = model + velocity
                losses.append(loss)
            val_loss, _ = loss_and_gradient(model, x[1000:], y[1000:])
            # SQLTrack: one row per epoch, stored when the call returns.
            run.add_metrics({"train_loss": np.mean(losses), "val_loss": val_loss}, step=epoch)

            is_best, best_loss = val_loss < best_loss, min(val_loss, best_loss)
            state = {"model": model, "velocity": velocity, "epoch": epoch, "best_loss": best_loss, "run_id": run.id}
            save(args.checkpoints / f"run-{run.id}.npz", **state)
            if is_best:
                best = args.checkpoints / f"run-{run.id}-best.npz"
                save(best, **state)
                # SQLTrack: where to find the best model later.
                run.add_extras({"best_epoch": epoch, "best_checkpoint": best})
    print(f"run {run.id}: epochs {first_epoch} to {args.epochs - 1}, best val_loss {best_loss:.4f}")


if __name__ == "__main__":
    main()
