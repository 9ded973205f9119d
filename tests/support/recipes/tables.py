"""The database of the recipes as plain Python, with functions to count in it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from statistics import stdev
from typing import Any

import sqltrack

__all__ = [
    "BASELINES",
    "GRAD_NORMS",
    "SWEEP",
    "Row",
    "Tables",
    "day",
    "deviation",
    "grouped",
    "hours",
    "is_number",
    "nan_if_text",
]

BASELINES, SWEEP = "Image classification baselines", "Learning-rate sweep"
# Run, step and value of a metric that has no column.
GRAD_NORMS = ((1, 0, 0.5), (1, 1, 0.25), (2, 0, math.nan))
Row = tuple[Any, ...]


class Tables:
    """The content of the database, as plain Python.

    Attributes:
        experiments: the experiments by id.
        runs: the runs by id, in order.
        metrics: the rows of metrics by id of their run, in order.
        links: (from_id, kind, to_id) of the runs' links.
    """

    def __init__(self, client: sqltrack.Client) -> None:
        self.experiments = {row["id"]: row for row in _records(client, "SELECT * FROM experiments ORDER BY id")}
        self.runs = {row["id"]: row for row in _records(client, "SELECT * FROM runs ORDER BY id")}
        self.metrics: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for row in _records(client, "SELECT * FROM metrics ORDER BY run_id, step, progress"):
            self.metrics[row["run_id"]].append(row)
        self.links = [tuple(row.values()) for row in _records(client, "SELECT from_id, kind, to_id FROM run_links")]

    def rows(self) -> Iterator[tuple[int, dict[str, Any]]]:
        for run_id in sorted(self.metrics):
            for row in self.metrics[run_id]:
                yield run_id, row

    def numbers(self, run_id: int, name: str) -> list[dict[str, Any]]:
        """Return a run's rows in which a metric is a number."""
        return [row for row in self.metrics.get(run_id, ()) if is_number(row[name])]

    def best(self) -> dict[int, float]:
        """Return the best accuracy of each run that has one."""
        found = {run_id: [row["val_top1"] for row in self.numbers(run_id, "val_top1")] for run_id in self.runs}
        return {run_id: max(values) for run_id, values in found.items() if values}

    def arg(self, run_id: int, name: str) -> Any:
        return self.runs[run_id]["args"].get(name)

    def of(self, experiment: str) -> list[int]:
        """Return the ids of an experiment's runs."""
        (wanted,) = [key for key, row in self.experiments.items() if row["name"] == experiment]
        return [run_id for run_id, run in self.runs.items() if run["experiment_id"] == wanted]

    def name(self, run_id: int) -> str:
        return str(self.experiments[self.runs[run_id]["experiment_id"]]["name"])


def _records(client: sqltrack.Client, query: str) -> list[dict[str, Any]]:
    cursor = client.execute(query)
    names = [column[0] for column in cursor.description]
    return [{name: nan_if_text(value) for name, value in zip(names, row)} for row in cursor.fetchall()]


def nan_if_text(value: Any) -> Any:
    return math.nan if value == "NaN" else value


def is_number(value: Any) -> bool:
    return value is not None and value == value


def grouped(items: Iterable[tuple[Any, Any]]) -> dict[Any, list[Any]]:
    groups = defaultdict(list)
    for key, value in items:
        groups[key].append(value)
    return dict(groups)


def deviation(values: list[float]) -> float | None:
    return stdev(values) if len(values) > 1 else None


def hours(run: dict[str, Any], begin: str = "time_started", end: str = "time_updated") -> float:
    return (run[end] - run[begin]).total_seconds() / 3600


def day(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).date().isoformat()
