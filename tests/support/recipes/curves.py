"""Answers of the recipes that follow metrics over steps."""

from __future__ import annotations

import itertools
import math
from statistics import mean
from typing import Any

from support.recipes.expectations import expects
from support.recipes.tables import GRAD_NORMS, SWEEP, Row, Tables, deviation, grouped, is_number


@expects("How do I merge the curves of resumed runs?")
def _(tables: Tables) -> list[Row]:
    earlier = {from_id: to_id for from_id, kind, to_id in tables.links if kind == "resumes"}
    points: dict[tuple[int, int], Row] = {}
    for run_id in tables.runs:
        first = run_id
        while first in earlier:
            first = earlier[first]
        for row in tables.numbers(run_id, "train_loss"):
            points[first, row["step"]] = (first, row["step"], run_id, row["train_loss"])
    rows = sorted(points.values())
    assert any(row[0] != row[2] for row in rows)
    return rows


@expects("How do I smooth a curve with a moving average?")
def _(tables: Tables) -> list[Row]:
    rows = []
    for run_id in tables.runs:
        losses = [row for row in tables.numbers(run_id, "train_loss") if math.isfinite(row["train_loss"])]
        for number, row in enumerate(losses):
            window = [other["train_loss"] for other in losses[max(0, number - 2) : number + 1]]
            rows.append((run_id, row["step"], row["train_loss"], mean(window)))
    return rows


@expects("How do I smooth a curve as TensorBoard does?")
def _(tables: Tables) -> list[Row]:
    rows = []
    for run_id in (1, 2):
        smooth = None
        for row in tables.numbers(run_id, "train_loss"):
            loss = row["train_loss"]
            smooth = loss if smooth is None else 0.6 * smooth + 0.4 * loss
            rows.append((run_id, row["step"], loss, smooth))
    return rows


@expects("What was the best value so far?")
def _(tables: Tables) -> list[Row]:
    rows = []
    for run_id in tables.runs:
        numbers = tables.numbers(run_id, "val_top1")
        best = itertools.accumulate((row["val_top1"] for row in numbers), max)
        rows += [(run_id, row["step"], row["val_top1"], so_far) for row, so_far in zip(numbers, best)]
    return rows


@expects("What is the mean curve over seeds?")
def _(tables: Tables) -> list[Row]:
    groups = grouped(
        ((tables.arg(run_id, "model"), row["step"]), row["val_top1"])
        for run_id in tables.of(SWEEP)
        if tables.arg(run_id, "lr") == 0.1
        for row in tables.numbers(run_id, "val_top1")
    )
    return [(*key, len(values), mean(values), deviation(values)) for key, values in sorted(groups.items())]


@expects("How do I thin out a curve?")
def _(tables: Tables) -> list[Row]:
    rows = []
    for run_id in tables.runs:
        points = [row for row in tables.metrics.get(run_id, ()) if row["val_loss"] is not None]
        # The first point that reaches each fifth, or all points if there are fewer.
        chosen = {math.ceil(fifth * len(points) / 5) for fifth in range(1, 6)} - {0}
        rows += [(run_id, points[number - 1]["step"], points[number - 1]["val_loss"]) for number in sorted(chosen)]
    return rows


@expects("When did a run first reach a target?")
def _(tables: Tables) -> list[Row]:
    steps = grouped((run_id, row["step"]) for run_id, row in tables.rows() if (row["val_top1"] or 0) >= 0.7)
    return sorted(((run_id, min(reached)) for run_id, reached in steps.items()), key=lambda row: row[::-1])


@expects("What would early stopping have cost?")
def _(tables: Tables) -> list[Row]:
    expected = []
    for run_id in tables.runs:
        stop = _stop_step(tables.numbers(run_id, "val_loss"))
        rows = tables.numbers(run_id, "val_top1")
        if stop is not None and rows:
            before = [row["val_top1"] for row in rows if row["step"] <= stop]
            saved = 1 - len(before) / len(rows)
            expected.append((run_id, stop, max(before), max(row["val_top1"] for row in rows), saved))
    return expected


def _stop_step(rows: list[dict[str, Any]], patience: int = 2) -> int | None:
    best, best_number = math.inf, -1
    for number, row in enumerate(rows):
        if best_number < 0 or row["val_loss"] < best:
            best, best_number = row["val_loss"], number
        if number - best_number >= patience:
            return int(row["step"])
    return None


@expects("What is the area under the curve?")
def _(tables: Tables) -> list[Row]:
    expected = []
    for run_id in tables.runs:
        points = [(row["progress"], row["val_top1"]) for row in tables.numbers(run_id, "val_top1")]
        area = sum((x2 - x1) * (y1 + y2) / 2 for (x1, y1), (x2, y2) in itertools.pairwise(points))
        if len(points) > 1:
            expected.append((run_id, area / (points[-1][0] - points[0][0])))
    return sorted(expected, key=lambda row: (-row[1], row[0]))


@expects("How much do runs overfit?")
def _(tables: Tables) -> list[Row]:
    gaps = {}
    for run_id, row in tables.rows():
        if is_number(row["train_top1"]) and is_number(row["val_top1"]):
            gaps[run_id] = (run_id, row["step"], row["train_top1"] - row["val_top1"])
    return sorted(gaps.values(), key=lambda row: (-row[2], row[0]))


@expects("Where are metrics that have no column?")
def _(tables: Tables) -> list[Row]:
    return [row for row in GRAD_NORMS if is_number(row[2])]
