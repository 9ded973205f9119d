"""Find the network that reads handwritten digits best, with every training tracked by SQLTrack.

This script trains a small neural network for each combination of learning rate and number of hidden units. Every
training is a run with its hyperparameters, its status and its metrics per epoch. The runs go to the database that
SQLTrack's configuration names (`sqltrack.conf`, or environment variables such as SQLTRACK_DSN_ENGINE=sqlite). One SQL
query then finds the best setting. If you start the script again, it adds new runs to the existing ones.

Requires, in addition to SQLTrack: pip install scikit-learn matplotlib rich
"""

from __future__ import annotations

import argparse
import itertools
import sys
import warnings
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

import sqltrack

EXPERIMENT = "Handwritten digits"
LEARNING_RATES = (0.003, 0.03, 0.3)
HIDDEN_UNITS = (16, 64)

# Each run's best epoch, the best run first. On both databases a comparison with 'NaN' is true only for numbers. It
# excludes NULL, and NaN, which PostgreSQL would sort above all numbers.
BEST_EPOCHS = """
    WITH ranked AS (
        SELECT run_id, step, val_accuracy,
            row_number() OVER (PARTITION BY run_id ORDER BY val_accuracy DESC, val_loss, step) AS place
        FROM metrics
        WHERE val_accuracy <> 'NaN' AND val_loss <> 'NaN'
    )
    SELECT runs.id, runs.args, runs.status, runs.time_started, runs.time_updated, ranked.step, ranked.val_accuracy,
        (SELECT val_loss FROM metrics WHERE run_id = runs.id ORDER BY step DESC LIMIT 1) AS final_val_loss
    FROM runs JOIN ranked ON ranked.run_id = runs.id AND ranked.place = 1
    WHERE runs.experiment_id = %s
    ORDER BY ranked.val_accuracy DESC, runs.id
"""

CURVES = "SELECT step, train_loss, val_loss, train_accuracy, val_accuracy FROM metrics WHERE run_id = %s ORDER BY step"

# Okabe and Ito chose these colors so that color-blind people can tell them apart; related colors share a learning rate.
COLORS = ("#56B4E9", "#0072B2", "#E69F00", "#D55E00", "#CC79A7", "#000000")
STAR: dict[str, Any] = {"marker": "*", "markersize": 17, "markeredgecolor": "white", "linestyle": "none", "zorder": 3}


# On Ctrl-C scikit-learn warns and continues to train. Turn the warning into an exception, which ends the training.
warnings.filterwarnings("error", "Training interrupted by user")


class Outcome(NamedTuple):
    """A row of the query above."""

    run_id: int
    args: dict[str, Any]
    status: str
    started: datetime
    updated: datetime
    best_epoch: int
    best_accuracy: float
    final_loss: float


def main() -> None:
    """Train and compare; report an error in one line."""
    options = parse_options()
    check_picture(options.picture)
    try:
        compare_settings(options)
    except sqltrack.SQLTrackError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("interrupted; the runs so far are in the database", file=sys.stderr)
        sys.exit(130)


def parse_options() -> argparse.Namespace:
    """Return the options of the command line. The database is not one of them; SQLTrack's configuration names it."""
    parser = argparse.ArgumentParser(description="Train classifiers of handwritten digits, tracked by SQLTrack.")
    parser.add_argument("--epochs", type=int, default=30, help="epochs of each training (default: %(default)s)")
    parser.add_argument(
        "--picture", type=Path, default="digits.png", help="file for the learning curves (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed for split, weights and batches (default: %(default)s)"
    )
    options = parser.parse_args()
    if options.epochs < 1 or not 0 <= options.seed < 2**32:
        parser.error("--epochs must be at least 1, and --seed from 0 to 4294967295")
    return options


def check_picture(path: Path) -> None:
    """Exit now, and not after the training, if the picture cannot be written."""
    if path.suffix.lower() not in (".png", ".svg", ".pdf"):
        sys.exit(f"error: cannot write picture {str(path)!r}: its name must end in .png, .svg or .pdf")
    try:
        existed = path.exists()
        path.open("ab").close()
        if not existed:
            path.unlink()
    except OSError as error:
        sys.exit(f"error: cannot write picture {str(path)!r}: {error.strerror}")


def compare_settings(options: argparse.Namespace) -> None:
    """Track a run per setting, then show the results from the database."""
    client = sqltrack.Client()
    runs = train_all(client, options.epochs, options.seed)

    everything = [Outcome(*row) for row in client.execute(BEST_EPOCHS, (runs[0].experiment_id,))]
    run_ids = {run.id for run in runs}
    outcomes = [outcome for outcome in everything if outcome.run_id in run_ids]
    print_table(outcomes)
    print(f"Best is {praise(outcomes[0])}")
    if len(everything) > len(outcomes):
        print(f"Best of all {len(everything)} runs so far is {praise(everything[0])}")
    draw_curves(client, outcomes, options.picture)
    print(f"Learning curves: {options.picture}")


def train_all(client: sqltrack.Client, epochs: int, seed: int) -> list[sqltrack.Run]:
    """Train with every setting, each time as a new run; return the runs."""
    images, labels = load_digits(return_X_y=True)
    data = train_test_split(images / 16, labels, train_size=1200, stratify=labels, random_state=seed)
    runs = []
    console = Console(stderr=True)
    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), "{task.fields[accuracy]}")
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        for learning_rate, hidden_units in itertools.product(LEARNING_RATES, HIDDEN_UNITS):
            args = {"learning_rate": learning_rate, "hidden_units": hidden_units, "epochs": epochs, "seed": seed}
            bar = progress.add_task(describe(args), total=epochs, accuracy="")
            with sqltrack.track(EXPERIMENT, args=args, client=client) as run:
                runs.append(run)
                for epoch, metrics in enumerate(train(args, data), start=1):
                    run.add_metrics(metrics, step=epoch)
                    progress.update(bar, completed=epoch, accuracy=f"{metrics['val_accuracy']:.1%}")
    return runs


def train(args: dict[str, Any], data: list[Any]) -> Iterator[dict[str, float]]:
    """Train a network, and yield its metrics after each epoch."""
    train_images, val_images, train_labels, val_labels = data
    network = MLPClassifier(
        hidden_layer_sizes=args["hidden_units"],
        learning_rate_init=args["learning_rate"],
        solver="sgd",
        batch_size=32,
        random_state=args["seed"],
    )
    for _ in range(args["epochs"]):
        try:
            network.partial_fit(train_images, train_labels, classes=range(10))
        except UserWarning as warning:
            raise KeyboardInterrupt from warning
        train_probabilities, val_probabilities = network.predict_proba(train_images), network.predict_proba(val_images)
        yield {
            "train_loss": log_loss(train_labels, train_probabilities),
            "train_accuracy": accuracy_score(train_labels, train_probabilities.argmax(axis=1)),
            "val_loss": log_loss(val_labels, val_probabilities),
            "val_accuracy": accuracy_score(val_labels, val_probabilities.argmax(axis=1)),
        }


def describe(args: dict[str, Any]) -> str:
    """Return a setting in words."""
    return f"learning rate {args['learning_rate']}, {args['hidden_units']} hidden units"


def praise(best: Outcome) -> str:
    """Describe the best run in words."""
    return f"run {best.run_id}: {describe(best.args)}, {best.best_accuracy:.2%} accuracy at epoch {best.best_epoch}."


def print_table(outcomes: list[Outcome]) -> None:
    """Print the result of each run, the best first."""
    table = Table(title=EXPERIMENT, box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("run", "learning\nrate", "hidden\nunits", "best val\naccuracy", "at\nepoch", "final\nval loss"):
        table.add_column(heading, justify="right")
    table.add_column("status")
    table.add_column("seconds", justify="right")
    for run_id, args, status, started, updated, best_epoch, best_accuracy, final_loss in outcomes:
        setting = (str(run_id), str(args["learning_rate"]), str(args["hidden_units"]))
        # SQLite returns NaN as text.
        loss, seconds = float(final_loss), (updated - started).total_seconds()
        table.add_row(*setting, f"{best_accuracy:.2%}", str(best_epoch), f"{loss:.3f}", status, f"{seconds:.1f}")
    Console().print(table)


def draw_curves(client: sqltrack.Client, outcomes: list[Outcome], path: Path) -> None:
    """Plot loss and accuracy of all runs over the epochs."""
    figure = Figure(figsize=(11, 6), layout="constrained")
    figure.suptitle(f"{EXPERIMENT}: training (dashed), validation (solid), best epoch (star)")
    loss, accuracy = figure.subplots(1, 2)
    best = outcomes[0]
    for color, outcome in zip(COLORS, sorted(outcomes)):
        epochs, train_loss, val_loss, train_accuracy, val_accuracy = zip(*client.execute(CURVES, (outcome.run_id,)))
        for axes, train_curve, val_curve in ((loss, train_loss, val_loss), (accuracy, train_accuracy, val_accuracy)):
            axes.plot(epochs, train_curve, ".--", color=color, linewidth=1, markersize=2)
            axes.plot(epochs, val_curve, ".-", color=color, linewidth=2, markersize=5, label=describe(outcome.args))
            if outcome is best:
                axes.plot(best.best_epoch, val_curve[epochs.index(best.best_epoch)], color=color, **STAR)
    for axes, quantity in ((loss, "Loss (log scale)"), (accuracy, "Accuracy")):
        axes.set(xlabel="Epoch", ylabel=quantity, xlim=(0, None))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    loss.set_yscale("log")
    loss.set_ylim(bottom=max(0.01, loss.get_ylim()[0]))
    accuracy.set_ylim(min(outcome.best_accuracy for outcome in outcomes) - 0.1, 1.01)
    accuracy.yaxis.set_major_formatter(PercentFormatter(1))
    figure.legend(*loss.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
