"""The grid of a sweep: which combinations of arguments have a completed run, and how to plan the others."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sqltrack.statuses import ENDED_STATES, find_group, find_state
from sqltrack.ui.queries._arguments import Argument, Setting, settings_of
from sqltrack.ui.queries._database import Database
from sqltrack.ui.queries._errors import QueryError
from sqltrack.ui.queries._filters import Filter, parse_filter
from sqltrack.ui.queries._grid_axes import Layout, lay_out, places
from sqltrack.ui.queries._plans import plan_python
from sqltrack.ui.queries._runs import Row, ranked, read_rows, shown_sql
from sqltrack.ui.queries._snippets import as_python
from sqltrack.ui.queries._values import as_json, as_key

__all__ = ["grid"]

# Runs that are looked at, and cells that are listed and planned, at most.
_RUNS, _LISTED = 5_000, 500
_STATES = ("done", "open", "failed", "missing")
_PLANNED_STATES = ("missing", "failed")


class Cell(NamedTuple):
    """A combination of values of arguments.

    Attributes:
        values: the values, None for an argument that is not set.
        state: "done" if a run has completed; "open" if one has not ended, or has an unknown status; "failed" if all
            runs ended otherwise; "missing" without a run.
        runs: the runs.
    """

    values: tuple[Any, ...]
    state: str
    runs: list[Row]


def grid(source: Database, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the cells of a grid of arguments that have no completed run, and the Python that plans them.

    The grid has a cell for each combination of the values that the runs have. Seeds are arguments like others, so that
    there is a cell for each seed.

    Args:
        source: the database.
        spec: dict with filter; axes, columns of arguments (default: see below); and states, which cells to list and
            plan, default "missing" and "failed". By default, the axes are the arguments in which the runs differ.
            Arguments that follow from others, and those that some runs lack, are left out. As long as there are more
            than four cells for each run, so is the argument with most values.

    Returns:
        A dict. There are cells only if experiments, a number, is 1; then experiment is a dict with id and name, else
        None. The axes are dicts with column, label, values and is_seed. The followers are dicts with column, label,
        distinct, is_everywhere and leader: their values follow from those of the leader, an axis. Those in left_out are
        like followers without a leader; planned runs do not set them. Cells is a number, and counts has a number for
        each state, see `Cell`. At most 500 cells are listed, dicts with values, state and runs (dicts with id and
        status); wanted is the number of all cells in these states. The plan is Python that creates a run with the
        status PLANNED for each listed cell, None without any. Further keys are runs, total, version, sql and python.

    Raises:
        QueryError: the specification is not valid, the grid is too large, or the database refused the condition.
        DatabaseError: the database is not available.
    """
    chosen = parse_filter(spec.get("filter"))
    states, columns = _states(spec.get("states")), spec.get("axes")
    key = ("grid", chosen.key(), json.dumps(columns), states)
    answer, version = source.cached(key, lambda: _read_grid(source, chosen, columns, states))
    return {**answer, "version": version}


def _read_grid(source: Database, chosen: Filter, columns: Any, states: tuple[str, ...]) -> dict[str, Any]:
    ids, _ = ranked(source, chosen)
    rows = read_rows(source, list(ids[:_RUNS]), [], with_args=True)
    experiments = {row.experiment_id: row.experiment for row in rows}
    settings = settings_of(rows) if len(experiments) == 1 else []
    layout = lay_out(columns, settings)
    cells = list(_cells(layout.axes, rows)) if layout.axes else []
    counts = Counter(cell.state for cell in cells)
    wanted = [cell for cell in cells if cell.state in states]
    listed = wanted[:_LISTED]
    sql = shown_sql(source, chosen, (), [axis.column for axis in layout.axes], max(len(rows), 1), 0)
    experiment = next(iter(experiments.items())) if len(experiments) == 1 else None
    planned = _planned_args(layout, settings, listed)
    return {
        "experiments": len(experiments),
        "experiment": None if experiment is None else {"id": experiment[0], "name": experiment[1]},
        **_described_layout(layout),
        "cells": len(cells),
        "counts": {state: counts[state] for state in _STATES},
        "listed": [_listed(cell) for cell in listed],
        "wanted": len(wanted),
        "plan": plan_python(source, experiment, planned) if experiment and planned else None,
        "runs": len(rows),
        "total": len(ids),
        "sql": sql,
        "python": as_python(source, sql),
    }


def _states(states: Any) -> tuple[str, ...]:
    if states is None:
        return _PLANNED_STATES
    if not isinstance(states, list) or not all(state in _STATES for state in states):
        raise QueryError(f"states must be a list of some of {', '.join(_STATES)}, got {states!r}")
    return tuple(states)


def _cells(axes: Sequence[Argument], rows: Sequence[Row]) -> Iterator[Cell]:
    by_key: dict[tuple[Any, ...], list[Row]] = {}
    for index, row in enumerate(rows):
        by_key.setdefault(tuple(axis.keys[index] for axis in axes), []).append(row)
    for values in itertools.product(*map(places, axes)):
        runs = sorted(by_key.get(tuple(map(as_key, values)), ()), key=lambda row: row.id)
        yield Cell(values, _state(row.status for row in runs), runs)


def _state(statuses: Iterable[str]) -> str:
    found = list(statuses)
    if any(find_group(status).name == "done" for status in found):
        return "done"
    if not found:
        return "missing"
    return "failed" if all(find_state(status) in ENDED_STATES for status in found) else "open"


def _planned_args(layout: Layout, settings: Sequence[Setting], cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """Return the arguments of a run for each cell: of the cell, those that follow, and those that all runs share."""
    if not cells:
        return []
    same = dict(settings[0])
    for setting in settings[1:]:
        same = {
            path: value for path, value in same.items() if path in setting and as_key(setting[path]) == as_key(value)
        }
    following = [
        (item.column.path[1:], leader.column, dict(zip(leader.keys, item.values))) for item, leader in layout.followers
    ]
    made = []
    for cell in cells:
        values = {axis.column: value for axis, value in zip(layout.axes, cell.values)}
        own = {column.path[1:]: value for column, value in values.items()}
        own.update((path, by_value[as_key(values[leader])]) for path, leader, by_value in following)
        # A value that all runs share may be null, but None in a cell means that the argument is not set.
        made.append(_nested({**same, **{path: value for path, value in own.items() if value is not None}}))
    return made


def _nested(setting: Setting) -> dict[str, Any]:
    """Return arguments as an object."""
    made: dict[str, Any] = {}
    for path, value in setting.items():
        inner = made
        for key in path[:-1]:
            # A run may have an empty object or a plain value where another has an object.
            child = inner.get(key)
            inner[key] = inner = child if isinstance(child, dict) and child else {}
        inner[path[-1]] = value
    return made


def _described_layout(layout: Layout) -> dict[str, Any]:
    axes = [
        {
            "column": list(axis.column.path),
            "label": axis.column.label,
            "values": [as_json(value) for value in places(axis)],
            "is_seed": axis.is_seed,
        }
        for axis in layout.axes
    ]
    followers = [{**_left_out(item), "leader": leader.column.label} for item, leader in layout.followers]
    return {"axes": axes, "followers": followers, "left_out": [_left_out(item) for item in layout.left_out]}


def _left_out(item: Argument) -> dict[str, Any]:
    return {
        "column": list(item.column.path),
        "label": item.column.label,
        "distinct": len(item.distinct),
        "is_everywhere": item.is_everywhere,
    }


def _listed(cell: Cell) -> dict[str, Any]:
    return {
        "values": [as_json(value) for value in cell.values],
        "state": cell.state,
        "runs": [{"id": row.id, "status": row.status} for row in cell.runs],
    }
