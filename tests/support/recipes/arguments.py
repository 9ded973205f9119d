"""Answers of the recipes about arguments, tags and links."""

from __future__ import annotations

import itertools
import json
from statistics import mean

from support.recipes.expectations import expectations, expects
from support.recipes.tables import SWEEP, Row, Tables, day, grouped


@expects("Which runs have these arguments?")
def _(tables: Tables) -> list[Row]:
    return [
        (run_id, run["args"]["model"], run["args"]["augmentation"].get("flip", {}).get("p"))
        for run_id, run in tables.runs.items()
        if run["args"]["optimizer"] == "sgd"
        and 0.03 <= run["args"]["lr"] <= 0.3
        and run["args"]["amp"] is True
        and "randaugment" not in run["args"]["augmentation"]
        and "pretrained" not in run["args"]
    ]


@expects("Which arguments vary?")
def _(tables: Tables) -> list[Row]:
    names = ("model", "lr", "optimizer", "schedule", "seed", "augmentation", "weight_decay")
    values = grouped(
        ((tables.name(run_id), name), json.dumps(run["args"][name], sort_keys=True))
        for run_id, run in tables.runs.items()
        for name in names
    )
    return sorted((*key, len(set(found))) for key, found in values.items() if len(set(found)) > 1)


def _all_varied(tables: Tables) -> list[Row]:
    values = grouped(
        (name, json.dumps(value, sort_keys=True)) for run in tables.runs.values() for name, value in run["args"].items()
    )
    return sorted((name, len(set(found))) for name, found in values.items() if len(set(found)) > 1)


expectations["Which arguments vary? 2"] = _all_varied
expectations["Which arguments vary? 3"] = _all_varied


@expects("Which cells of a grid are missing?")
def _(tables: Tables) -> list[Row]:
    return [("convnext_tiny", 0.3), ("vit_small", 0.01)]


@expects("Which seeds are still missing?")
def _(tables: Tables) -> list[Row]:
    statuses = grouped(
        ((tables.arg(run_id, "model"), tables.arg(run_id, "lr")), tables.runs[run_id]["status"])
        for run_id in tables.of(SWEEP)
    )
    missing = {key: 3 - found.count("COMPLETED") for key, found in statuses.items()}
    return [(*key, count) for key, count in sorted(missing.items()) if count > 0]


@expects("Which runs are duplicates?")
def _(tables: Tables) -> list[Row]:
    groups = grouped(
        ((run["experiment_id"], json.dumps(run["args"], sort_keys=True)), run_id) for run_id, run in tables.runs.items()
    )
    rows = [(key[0], len(ids), min(ids), max(ids)) for key, ids in groups.items() if len(ids) > 1]
    return sorted(rows, key=lambda row: row[2])


@expects("Which runs have a tag?")
def _(tables: Tables) -> list[Row]:
    return [
        (run_id, tables.name(run_id))
        for run_id, run in tables.runs.items()
        if "paper" in (run["tags"] or ()) and "paper" in (tables.experiments[run["experiment_id"]]["tags"] or ())
    ]


@expects("How much did fine-tuning gain?")
def _(tables: Tables) -> list[Row]:
    best = tables.best()
    return sorted(
        (to_id, from_id, best[to_id], best[from_id])
        for from_id, kind, to_id in tables.links
        if kind == "fine_tunes" and {from_id, to_id} <= best.keys()
    )


@expects("Which runs does a run build on?")
def _(tables: Tables) -> list[Row]:
    targets = grouped((from_id, to_id) for from_id, _, to_id in tables.links)
    rows = set()
    for run_id in tables.runs:
        generation = {run_id}
        for depth in itertools.count(1):
            generation = {to_id for from_id in generation for to_id in targets.get(from_id, ())}
            if not generation:
                break
            rows |= {(run_id, ancestor, depth) for ancestor in generation}
    assert max(depth for *_, depth in rows) >= 2
    return sorted(rows, key=lambda row: (row[0], row[2], row[1]))


@expects("How good was each commit?")
def _(tables: Tables) -> list[Row]:
    best = tables.best()
    groups = grouped(
        (tables.runs[run_id]["env"]["GIT_COMMIT"][:8], run_id) for run_id in best if tables.runs[run_id]["env"]
    )
    return [
        (revision, len(ids), mean(best[key] for key in ids), max(best[key] for key in ids), _first_day(tables, ids))
        for revision, ids in sorted(groups.items())
    ]


def _first_day(tables: Tables, run_ids: list[int]) -> str:
    return min(day(tables.runs[run_id]["time_started"]) for run_id in run_ids)
