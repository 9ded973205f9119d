"""Fill a database with made-up experiments, to try notebooks, queries and the command line program on.

The module `made_up_runs` invents six experiments of a team that classifies images. This script adds them to the
database that SQLTrack's configuration names (`sqltrack.conf`, or environment variables such as
SQLTRACK_DSN_ENGINE=sqlite). The same seed gives the same data, apart from the time. If you start the script again, it
adds new runs to the existing ones.

The ids of runs are the numbers of their Slurm jobs, such as 523459, but the oldest run has id 1. With --first-id 1, ids
count from 1.

Requires, in addition to SQLTrack: pip install rich
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Callable
from datetime import datetime, timezone

from made_up_runs import EXPERIMENT_LINKS, TOPICS, Draft, draft_runs, measure
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

import sqltrack
from sqltrack.commands import setup
from sqltrack.engines.json import jsonb
from sqltrack.queries import first_value

INSERT_RUN = """
    INSERT INTO runs
        (id, experiment_id, status, time_created, time_started, time_updated, comment, tags, args, env, extras)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
INSERT_LINK = "INSERT INTO run_links (from_id, kind, to_id) VALUES (%s, %s, %s)"

# The approximate number of metrics rows per transaction, few enough that other processes can write in between.
ROWS_PER_TRANSACTION = 5_000
MAX_EPOCHS = 100_000
MAX_ID = 2**63 - 1


def main() -> None:
    """Generate the data; report an error in one line."""
    options = parse_options()
    try:
        client = sqltrack.Client(outbox="off")
        setup(client)
        run_ids = generate_with_bar(client, options)
    except sqltrack.SQLTrackError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("interrupted; the runs so far are complete", file=sys.stderr)
        sys.exit(130)
    print(f"added {len(run_ids)} runs, with ids from {min(run_ids)} to {max(run_ids)}")


def parse_options() -> argparse.Namespace:
    """Return the options of the command line. The database is not one of them; SQLTrack's configuration names it."""
    parser = argparse.ArgumentParser(description="Fill SQLTrack's database with made-up experiments.")
    parser.add_argument("--runs", type=int, default=300, help="number of runs (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=90, help="epochs of most runs (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: %(default)s)")
    parser.add_argument("--first-id", type=int, help="count ids from here, instead of using job numbers")
    options = parser.parse_args()
    if options.first_id is not None and not 1 <= options.first_id <= MAX_ID - options.runs:
        parser.error(f"--first-id must be at least 1, and leave room for the runs up to {MAX_ID}")
    if options.runs < 1 or not 1 <= options.epochs <= MAX_EPOCHS:
        parser.error(f"--runs must be at least 1, and --epochs from 1 to {MAX_EPOCHS}")
    return options


def generate_with_bar(client: sqltrack.Client, options: argparse.Namespace) -> list[int]:
    """Generate the data, with a progress bar on a terminal; return the ids of the runs."""
    console = Console(stderr=True)
    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("Runs", total=options.runs)
        return generate(
            client,
            runs=options.runs,
            epochs=options.epochs,
            seed=options.seed,
            first_id=options.first_id,
            progress=lambda done: bar.update(task, completed=done),
        )


def generate(
    client: sqltrack.Client,
    *,
    runs: int = 300,
    epochs: int = 90,
    seed: int = 0,
    now: datetime | None = None,
    first_id: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> list[int]:
    """Add made-up runs to a database that is set up.

    Many runs are inserted per transaction. If this is interrupted, each run in the database is complete, with its
    links.

    Args:
        client: client to use.
        runs: number of runs; with 60 or more, all kinds of runs are among them.
        epochs: number of epochs of most runs; fine-tuning is shorter.
        seed: random seed; the same seed and time give the same data.
        now: the time, with time zone, before which everything happens; default: the current time.
        first_id: count ids from here, or from the first free range after it; default: ids are numbers of jobs.
        progress: called after each transaction with the number of runs in the database.

    Returns:
        The ids of the runs, in the order in which the runs were created.
    """
    drafts = draft_runs(random.Random(seed), runs, epochs, now or datetime.now(timezone.utc), after=last_job(client))
    for run, run_id in zip(drafts, choose_ids(client, [run.job for run in drafts], first_id)):
        run.id = run_id
    experiment_ids = add_experiments(client)
    runs_per_transaction = max(1, ROWS_PER_TRANSACTION // epochs)
    for begin in range(0, len(drafts), runs_per_transaction):
        batch = drafts[begin : begin + runs_per_transaction]
        with client:
            for run in batch:
                insert_run(client, run, experiment_ids[run.experiment])
        if progress is not None:
            progress(begin + len(batch))
    return [run.id for run in drafts]


def last_job(client: sqltrack.Client) -> int:
    """Return the largest id that looks like the number of a job, or 0."""
    return first_value(client, "SELECT MAX(id) FROM runs WHERE id BETWEEN 500000 AND 999999999") or 0


def choose_ids(client: sqltrack.Client, jobs: list[int], first_id: int | None) -> list[int]:
    """Return ids for the runs that are not in use."""
    if first_id is None:
        is_taken = first_value(client, "SELECT COUNT(*) FROM runs WHERE id = 1")
        return jobs if is_taken else [1, *jobs[1:]]
    last = first_id + len(jobs) - 1
    largest = first_value(client, "SELECT MAX(id) FROM runs WHERE id BETWEEN %s AND %s", (first_id, last))
    while largest is not None:
        first_id, last = largest + 1, largest + len(jobs)
        largest = first_value(client, "SELECT MAX(id) FROM runs WHERE id BETWEEN %s AND %s", (first_id, last))
    return list(range(first_id, last + 1))


def add_experiments(client: sqltrack.Client) -> dict[str, int]:
    """Create, describe and link the experiments; return their ids."""
    with client:
        experiments = {name: sqltrack.Experiment(client, name=name) for name in TOPICS}
        for name, topic in TOPICS.items():
            experiments[name].set_comment(topic.comment).add_tags(*topic.tags)
        for name, kind, target in EXPERIMENT_LINKS:
            experiments[name].add_link(kind, experiments[target].id)
    return {name: experiment.id for name, experiment in experiments.items()}


def insert_run(client: sqltrack.Client, run: Draft, experiment_id: int) -> None:
    """Insert a run with its metrics and links."""
    times = (run.created, run.started, run.updated)
    tags = dict.fromkeys(run.tags, True) or None
    described = (run.comment, jsonb(tags), jsonb(run.args), jsonb(run.env), jsonb(run.extras))
    client.execute(INSERT_RUN, (run.id, experiment_id, run.status, *times, *described))
    sqltrack.run_add_metrics_many(client, run.id, measure(run), updated=None)
    for kind, target in run.links:
        client.execute(INSERT_LINK, (run.id, kind, target.id))


if __name__ == "__main__":
    main()
