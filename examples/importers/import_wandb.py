"""Import the runs of a Weights & Biases project into SQLTrack; run it again to import new ones.

    python import_wandb.py alice/digits

This downloads them through W&B's public API, with the account that `wandb login` has stored. The runs go to the
database that SQLTrack's configuration names. Requires: pip install wandb
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from _foreign import ForeignRun, Point, number, report, store_runs, utc

import sqltrack
from sqltrack.commands import setup

STATUSES = {"FINISHED": "COMPLETED", "CRASHED": "FAILED", "KILLED": "CANCELLED", "PENDING": "PLANNED"}


def main() -> None:
    import wandb

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", help="entity and project, such as alice/digits")
    parser.add_argument("--experiment", help="name of the experiment (default: the name of the project)")
    options = parser.parse_args()
    client = sqltrack.Client()
    setup(client)
    experiment = options.experiment or options.project.rpartition("/")[2]
    report(store_runs(client, (read_run(run, experiment) for run in wandb.Api().runs(options.project))))


def read_run(run: Any, experiment: str) -> ForeignRun:
    summary = run.summary_metrics
    state = run.state.upper()
    return ForeignRun(
        origin=f"wandb:{'/'.join(run.path)}",
        experiment=experiment,
        status=STATUSES.get(state, state),
        created=utc(run.created_at),
        updated=utc(run.heartbeat_at or run.created_at),
        args={name: value for name, value in run.config.items() if not name.startswith("_")},
        points=lambda: read_points(run),
        comment=run.notes or run.name,
        tags=tuple(run.tags),
        extras={
            "wandb": {
                "name": run.name,
                "url": run.url,
                "group": run.group,
                "job_type": run.job_type,
                "summary": {name: value for name, value in summary.items() if not name.startswith("_")},
            }
        },
    )


def read_points(run: Any) -> Iterator[Point]:
    """Return the metrics of all steps, without W&B's own, whose names begin with an underscore."""
    for row in run.scan_history():
        for name, value in row.items():
            if value is not None and not name.startswith("_"):
                yield Point(name, row["_step"], number(value))


if __name__ == "__main__":
    main()
