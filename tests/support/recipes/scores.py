"""Answers of the recipes that look for the best runs."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from statistics import correlation, mean, median
from typing import Any

from support.recipes.expectations import expects
from support.recipes.tables import BASELINES, SWEEP, Row, Tables, deviation, grouped, is_number


@expects("Which run is best?")
def _(tables: Tables) -> list[Row]:
    rows = [(run_id, row["step"], row["val_top1"]) for run_id, row in tables.rows() if is_number(row["val_top1"])]
    rows.sort(key=lambda row: (-row[2], *row))
    return [(*row, tables.arg(row[0], "model"), tables.arg(row[0], "lr")) for row in rows[:3]]


@expects("Which epoch of each run is best?")
def _(tables: Tables) -> list[Row]:
    expected = []
    for run_id in tables.runs:
        rows = tables.numbers(run_id, "val_loss")
        if rows:
            row = min(rows, key=lambda row: (row["val_loss"], row["step"]))
            tests = [row["test_top1"] for row in tables.numbers(run_id, "test_top1")]
            expected.append((run_id, row["step"], row["val_loss"], row["val_top1"], tests[-1] if tests else None))
    return expected


@expects("What is the last value of each run?")
def _(tables: Tables) -> list[Row]:
    values = grouped((run_id, row) for run_id, row in tables.rows() if row["val_top1"] is not None)
    return [(run_id, rows[-1]["step"], rows[-1]["val_top1"]) for run_id, rows in values.items()]


@expects("How do runs rank, with ties?")
def _(tables: Tables) -> list[Row]:
    percents = {
        run_id: float(Decimal(f"{100 * top1:.15g}").quantize(Decimal("0.1"), ROUND_HALF_UP))
        for run_id, top1 in tables.best().items()
        if tables.runs[run_id]["status"] == "COMPLETED"
    }
    rows = [
        (1 + sum(other > percent for other in percents.values()), run_id, percent, tables.name(run_id))
        for run_id, percent in percents.items()
    ]
    assert len({row[0] for row in rows}) < len(rows)
    return sorted(rows)[:10]


@expects("Which two runs of each model are best?")
def _(tables: Tables) -> list[Row]:
    groups = grouped((tables.arg(run_id, "model"), (-top1, run_id)) for run_id, top1 in tables.best().items())
    return [
        (model, place, run_id, -top1)
        for model in sorted(groups)
        for place, (top1, run_id) in enumerate(sorted(groups[model])[:2], start=1)
    ]


@expects("What are mean and standard deviation over seeds?")
def _(tables: Tables) -> list[Row]:
    best = tables.best()
    completed = [run_id for run_id in tables.of(SWEEP) if tables.runs[run_id]["status"] == "COMPLETED"]
    groups = grouped(((tables.arg(key, "model"), tables.arg(key, "lr")), best[key]) for key in completed if key in best)
    rows = [(*key, len(values), mean(values), deviation(values)) for key, values in groups.items()]
    return sorted(rows, key=lambda row: -row[3])


@expects("What are the median and the 90th percentile?")
def _(tables: Tables) -> list[Row]:
    groups = grouped(
        (tables.arg(run_id, "model"), top1)
        for run_id, top1 in tables.best().items()
        if tables.runs[run_id]["status"] == "COMPLETED"
    )
    return [(model, len(values), median(values), _percentile(values, 90)) for model, values in sorted(groups.items())]


def _percentile(values: list[float], percent: int) -> float:
    return next(
        value for value in sorted(values) if sum(other <= value for other in values) * 100 >= percent * len(values)
    )


@expects("What is the mean of the best three runs?")
def _(tables: Tables) -> list[Row]:
    groups = grouped(
        ((tables.arg(run_id, "model"), tables.arg(run_id, "schedule")), top1) for run_id, top1 in tables.best().items()
    )
    rows = [(*key, mean(sorted(values)[-3:])) for key, values in groups.items() if len(values) >= 3]
    return sorted(rows, key=lambda row: -row[2])


@expects("How do I get a column for each seed?")
def _(tables: Tables) -> list[Row]:
    best = tables.best()
    chosen = [
        run_id for run_id in tables.of(BASELINES) if run_id in best and tables.arg(run_id, "schedule") == "cosine"
    ]
    scores = grouped(((tables.arg(run_id, "model"), tables.arg(run_id, "seed")), best[run_id]) for run_id in chosen)
    models = sorted({model for model, _ in scores})
    return [(model, *(max(scores.get((model, seed), [None])) for seed in range(3))) for model in models]


@expects("How do two experiments compare?")
def _(tables: Tables) -> list[Row]:
    best = tables.best()

    def means(experiment: str) -> dict[Any, float]:
        chosen = [run_id for run_id in tables.of(experiment) if run_id in best]
        groups = grouped(((tables.arg(key, "model"), float(tables.arg(key, "lr"))), best[key]) for key in chosen)
        return {key: mean(values) for key, values in groups.items()}

    baseline, sweep = means(BASELINES), means(SWEEP)
    both = sorted(baseline.keys() & sweep.keys())
    return [(*key, baseline[key], sweep[key], sweep[key] - baseline[key]) for key in both]


@expects("Which runs are on the Pareto front?")
def _(tables: Tables) -> list[Row]:
    best = tables.best()
    # By memory: each run on the front is better than all runs that need the same or less.
    front: list[Row] = []
    extras = {run_id: tables.runs[run_id]["extras"] or {} for run_id in best}
    candidates = [(extras[run_id]["peak_memory_mb"], -top1, run_id) for run_id, top1 in best.items() if extras[run_id]]
    for memory, top1, run_id in sorted(candidates):
        if not front or -top1 > front[-1][3]:
            front.append((run_id, tables.arg(run_id, "model"), float(memory), -top1))
    return front


@expects("Does an argument matter?")
def _(tables: Tables) -> list[Row]:
    best = tables.best()
    groups = grouped(
        (tables.arg(run_id, "model"), (tables.arg(run_id, "lr"), best[run_id]))
        for run_id in tables.of(SWEEP)
        if run_id in best
    )
    rows = []
    for model, points in sorted(groups.items()):
        ranks = [[1 + sum(other < value for other in values) for value in values] for values in zip(*points)]
        rows.append((model, len(points), correlation(*ranks)))
    return rows
