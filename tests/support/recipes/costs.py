"""Answers of the recipes about time and costs."""

from __future__ import annotations

from datetime import datetime, timezone
from statistics import mean
from typing import Any

from support.recipes.expectations import expects
from support.recipes.tables import Row, Tables, day, grouped, hours


def _ended(tables: Tables) -> dict[int, dict[str, Any]]:
    """Return the runs that have started and have logged something since."""
    return {key: run for key, run in tables.runs.items() if run["time_started"] and run["time_updated"]}


@expects("Which runs are slowest?")
def _(tables: Tables) -> list[Row]:
    rows = [
        (key, run["status"], run["args"]["model"], round(60 * hours(run), 2)) for key, run in _ended(tables).items()
    ]
    return sorted(rows, key=lambda row: (-row[3], row[0]))[:10]


@expects("How fast is training?")
def _(tables: Tables) -> list[Row]:
    rates = grouped(
        (tables.arg(run_id, "model"), 50000 / (row["train_end"] - row["train_start"]).total_seconds())
        for run_id, row in tables.rows()
        if row["train_end"] is not None
    )
    rows = [(model, len(values), mean(values)) for model, values in rates.items()]
    return sorted(rows, key=lambda row: -row[2])


@expects("How fast is training? 2")
def _(tables: Tables) -> list[Row]:
    return [
        (run_id, len(tables.metrics[run_id]) / (3600 * hours(run)))
        for run_id, run in _ended(tables).items()
        if tables.metrics.get(run_id)
    ]


def _gpu_hours(run: dict[str, Any]) -> float:
    return hours(run) * float(run["env"].get("SLURM_GPUS_ON_NODE", 1))


@expects("How many GPU hours did each experiment use?")
def _(tables: Tables) -> list[Row]:
    groups = grouped((tables.name(run_id), _gpu_hours(run)) for run_id, run in _ended(tables).items())
    rows = [(name, len(values), sum(values)) for name, values in groups.items()]
    return sorted(rows, key=lambda row: -row[2])


@expects("How many GPU hours did each user use per week?")
def _(tables: Tables) -> list[Row]:
    groups = grouped(
        ((run["time_started"].isocalendar()[:2], run["env"]["USER"]), run) for run in _ended(tables).values()
    )
    return sorted(
        (min(day(run["time_started"]) for run in runs), user, sum(map(_gpu_hours, runs)))
        for (_, user), runs in groups.items()
    )


@expects("How long did runs take to reach a target?")
def _(tables: Tables) -> list[Row]:
    rows = []
    for run_id, run in tables.runs.items():
        reached = [row["val_end"] for row in tables.metrics.get(run_id, ()) if (row["val_top1"] or 0) >= 0.7]
        if reached:
            minutes = (min(reached) - run["time_started"]).total_seconds() / 60
            rows.append((run_id, run["args"]["model"], round(minutes, 2)))
    return sorted(rows, key=lambda row: (row[2], row[0]))


@expects("How long did runs wait in the queue?")
def _(tables: Tables) -> list[Row]:
    groups = grouped(
        (run["env"].get("SLURM_JOB_PARTITION", "(no job)"), 60 * hours(run, "time_created", "time_started"))
        for run in tables.runs.values()
        if run["time_started"]
    )
    rows = [(name, len(waits), mean(waits), max(waits)) for name, waits in groups.items()]
    return sorted(rows, key=lambda row: -row[3])


@expects("How many runs were active at once?")
def _(tables: Tables) -> list[Row]:
    runs = _ended(tables).values()
    moments = [moment for run in runs for moment in (run["time_started"], run["time_updated"])]
    counts = grouped(
        (day(moment), sum(run["time_started"] <= moment < run["time_updated"] for run in runs)) for moment in moments
    )
    rows = [(name, max(found)) for name, found in counts.items()]
    return sorted(rows, key=lambda row: (-row[1], row[0]))


@expects("When will a run be done?")
def _(tables: Tables) -> list[Row]:
    rows = []
    for run_id, run in tables.runs.items():
        if run["status"] == "RUNNING" and tables.metrics.get(run_id):
            progress = tables.metrics[run_id][-1]["progress"]
            rows.append((run_id, progress, round(hours(run) / progress - hours(run), 3)))
    return sorted(rows, key=lambda row: (row[2], row[0]))


@expects("How many runs are there per day?")
def _(tables: Tables) -> list[Row]:
    begin = datetime(2025, 2, 10, tzinfo=timezone.utc)
    groups = grouped(
        (day(run["time_created"]), run["status"]) for run in tables.runs.values() if run["time_created"] >= begin
    )
    return [(name, len(found), found.count("COMPLETED")) for name, found in sorted(groups.items())]
