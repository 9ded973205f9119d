"""Import experiments and runs from MLflow into SQLTrack; run it again to import new ones.

    python import_mlflow.py sqlite:///mlflow.db

Pass any tracking URI that MLflow accepts: a database, a server, a folder `mlruns`. The runs go to the database that
SQLTrack's configuration names. Requires: pip install mlflow, and whatever your tracking URI needs.
"""

from __future__ import annotations

import argparse
import ast
import math
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import Any

from _foreign import ForeignRun, Point, report, store_runs

import sqltrack
from sqltrack.commands import setup

STATUSES = {"FINISHED": "COMPLETED", "KILLED": "CANCELLED", "SCHEDULED": "PLANNED"}
# MLflow's own tags.
NAME, NOTE, PARENT = "mlflow.runName", "mlflow.note.content", "mlflow.parentRunId"


def main() -> None:
    from mlflow import MlflowClient

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tracking_uri", help="MLflow's tracking URI")
    parser.add_argument("--experiment", action="append", help="name of an experiment, may be repeated (default: all)")
    options = parser.parse_args()
    client = sqltrack.Client()
    setup(client)
    report(store_runs(client, read_runs(MlflowClient(options.tracking_uri), options.experiment)))


def read_runs(mlflow: Any, names: list[str] | None) -> Iterator[ForeignRun]:
    """Return the runs of the named experiments, or of all, oldest first and without deleted ones."""
    for experiment in pages(mlflow.search_experiments, order_by=["creation_time ASC"]):
        if names is None or experiment.name in names:
            ids, order = [experiment.experiment_id], ["attributes.start_time ASC"]
            for run in pages(mlflow.search_runs, experiment_ids=ids, order_by=order):
                yield read_run(mlflow, experiment.name, run)


def pages(search: Callable[..., Any], **arguments: Any) -> Iterator[Any]:
    """Return all results of a search that returns a page at a time."""
    token = None
    while True:
        page = search(page_token=token, **arguments)
        yield from page
        token = page.token
        if not token:
            return


def read_run(mlflow: Any, experiment: str, run: Any) -> ForeignRun:
    info, tags = run.info, dict(run.data.tags)
    own = {name: value for name, value in tags.items() if not name.startswith("mlflow.")}
    times = [info.end_time] if info.end_time else [metric.timestamp for metric in run.data._metric_objs]
    parent = tags.get(PARENT)
    return ForeignRun(
        origin=f"mlflow:{info.run_id}",
        experiment=experiment,
        status=STATUSES.get(info.status, info.status),
        created=as_time(info.start_time),
        updated=as_time(max(times, default=info.start_time)),
        args={name: parameter(text) for name, text in run.data.params.items()},
        points=lambda: read_points(mlflow, run),
        comment=tags.get(NOTE) or tags.get(NAME),
        tags=tuple(name if value.lower() in ("", "true") else f"{name}={value}" for name, value in own.items()),
        extras={"mlflow": {"artifact_uri": info.artifact_uri, "tags": tags}},
        parent=None if parent is None else f"mlflow:{parent}",
    )


def read_points(mlflow: Any, run: Any) -> Iterator[Point]:
    for name in run.data.metrics:
        history = mlflow.get_metric_history(run.info.run_id, name)
        for metric in sorted(history, key=lambda metric: metric.timestamp):
            yield Point(name, metric.step, unlimited(metric.value))


def unlimited(value: float) -> float:
    """Return infinity for the largest float, which MLflow's databases store instead."""
    return math.copysign(math.inf, value) if abs(value) == sys.float_info.max else value


def parameter(text: str) -> Any:
    """Return the number, bool, None, list, tuple or dict that Python prints as this text, else the text.

    MLflow stores parameters as texts. A commit such as "12345e7" stays text, because Python would print 123450000000.0.
    """
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
    return value if not isinstance(value, (str, bytes)) and repr(value) == text else text


def as_time(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, timezone.utc)


if __name__ == "__main__":
    main()
