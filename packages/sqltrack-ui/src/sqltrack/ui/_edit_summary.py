"""Describe the plan of an edit for the page: how many runs get which value, and what else changes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqltrack.commands.edits import Change, Edit
from sqltrack.commands.rm import Deletion
from sqltrack.ui._edit_actions import CLIENT, Planned
from sqltrack.ui.queries import Database
from sqltrack.util import placeholders
from sqltrack.wording import pluralize

__all__ = ["as_program", "describe_deletion", "describe_edit", "pack_ids"]

# Groups of equal changes that are shown, and ids in each.
_GROUPS, _RANGES = 50, 20
# Names of experiments in a sentence.
_NAMES = 3


def describe_edit(planned: Planned) -> dict[str, Any]:
    """Return a plan as `Edits.plan` returns it."""
    assert isinstance(planned.plan, Edit)
    changes = planned.plan.changes
    groups: dict[str, list[Change]] = {}
    for change in changes:
        key = json.dumps([change.kind, change.field, change.old, change.new], default=str)
        groups.setdefault(key, []).append(change)
    shown = sorted(groups.values(), key=len, reverse=True)
    own = {change.id for change in changes if change.kind == planned.kind}
    return {
        "what": planned.what(len(own)),
        "changes": len(changes),
        "groups": [_group(equal) for equal in shown[:_GROUPS]],
        "more": len(shown[_GROUPS:]),
        "notes": [
            f"the experiment {change.new!r} is new" for change in changes if change.id is None and change.kind != "run"
        ],
        "python": planned.python,
    }


def describe_deletion(source: Database, planned: Planned, deletion: Deletion) -> dict[str, Any]:
    """Return the plan of a deletion as `Edits.plan` returns it."""
    rows, links = pluralize(deletion.metrics, "row") + " of metrics", pluralize(deletion.links, "link")
    verb = "goes" if (deletion.metrics, deletion.links) == (1, 0) else "go"
    notes = [f"{rows} and {links} {verb} with {'it' if len(deletion.runs) == 1 else 'them'}"]
    left = [] if deletion.experiment is not None else _emptied(source, deletion.runs)
    if left:
        names = ", ".join(map(repr, left[:_NAMES])) + (" and others" if len(left) > _NAMES else "")
        notes.append(f"{'the experiment' if len(left) == 1 else 'the experiments'} {names} will have no runs")
    notes.append("a deletion cannot be undone")
    changes = len(deletion.runs) + (deletion.experiment is not None)
    runs = [Change("run", id_, "run", None, None) for id_ in deletion.runs]
    return {
        "what": planned.what(len(deletion.runs)),
        "changes": changes,
        "groups": [_group(runs)] if runs else [],
        "more": 0,
        "notes": notes,
        "python": planned.python,
    }


def as_program(source: Database, python: str) -> str:
    """Return the code of a plan as a program for a database."""
    config = ", ".join(f"{name}={value!r}" for name, value in source.client.engine.target().items())
    return "import sqltrack\n" + python.replace(f"{CLIENT}\n", f"\nclient = sqltrack.Client({config})\n", 1)


def pack_ids(ids: Sequence[int]) -> str:
    """Return ids as ranges: "1-5, 9"; many ranges are cut."""
    ordered = sorted(ids)
    ranges: list[list[int]] = []
    for id_ in ordered:
        if ranges and id_ == ranges[-1][1] + 1:
            ranges[-1][1] = id_
        else:
            ranges.append([id_, id_])
    texts = [f"{first}" if first == last else f"{first}-{last}" for first, last in ranges[:_RANGES]]
    return ", ".join([*texts, *(["…"] if len(ranges) > _RANGES else [])])


def _group(changes: Sequence[Change]) -> dict[str, Any]:
    first = changes[0]
    ids = pack_ids([change.id for change in changes if change.id is not None])
    return {**first._asdict(), "id": None, "count": len(changes), "ids": ids}


def _emptied(source: Database, run_ids: Sequence[int]) -> list[str]:
    """Return the names of the experiments all of whose runs are among the given ones."""
    if not run_ids:
        return []
    among = placeholders(len(run_ids))
    sql = f"""
        SELECT experiments.name FROM runs JOIN experiments ON experiments.id = runs.experiment_id
        GROUP BY experiments.id, experiments.name
        HAVING SUM(CASE WHEN runs.id IN ({among}) THEN 0 ELSE 1 END) = 0
        ORDER BY experiments.name
    """
    return [row["name"] for row in source.fetch(sql, run_ids)]
