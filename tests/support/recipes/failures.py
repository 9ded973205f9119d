"""Answers of the recipes that look for failures."""

from __future__ import annotations

import itertools
import math

from support.recipes.expectations import expects
from support.recipes.tables import Row, Tables, day, grouped


@expects("Which runs diverged, and when?")
def _(tables: Tables) -> list[Row]:
    steps = grouped(
        (run_id, row["step"])
        for run_id, row in tables.rows()
        if row["train_loss"] is not None and not math.isfinite(row["train_loss"])
    )
    return [
        (run_id, min(found), tables.arg(run_id, "model"), float(tables.arg(run_id, "lr")))
        for run_id, found in steps.items()
    ]


@expects("How did runs end?")
def _(tables: Tables) -> list[Row]:
    groups = grouped((run["status"], run_id) for run_id, run in tables.runs.items())
    rows = [(status, len(ids), 100 * len(ids) / len(tables.runs)) for status, ids in groups.items()]
    return sorted(rows, key=lambda row: (-row[1], row[0]))


@expects("Which nodes fail?")
def _(tables: Tables) -> list[Row]:
    groups = grouped((run["env"]["HOSTNAME"], run["status"]) for run in tables.runs.values() if run["env"])
    failures = {"FAILED", "NODE_FAIL", "OUT_OF_MEMORY"}
    counts = {node: (len(found), sum(status in failures for status in found)) for node, found in groups.items()}
    rows = [(node, runs, failed, 100 * failed / runs) for node, (runs, failed) in counts.items() if runs >= 5]
    return sorted(rows, key=lambda row: (-row[3], row[0]))


@expects("Which runs have no metrics?")
def _(tables: Tables) -> list[Row]:
    return [
        (run_id, run["status"], run["comment"])
        for run_id, run in tables.runs.items()
        if run["status"] != "PLANNED" and not tables.metrics.get(run_id)
    ]


@expects("How large is the database, and how fast does it grow?")
def _(tables: Tables) -> list[Row]:
    months = grouped((day(tables.runs[run_id]["time_started"])[:7], 1) for run_id, _ in tables.rows())
    counts = [(month, len(found)) for month, found in sorted(months.items())]
    return [
        (month, count, total)
        for (month, count), total in zip(counts, itertools.accumulate(count for _, count in counts))
    ]
