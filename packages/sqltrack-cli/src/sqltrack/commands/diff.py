"""Compare runs."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from sqltrack.capture._summary import compare_captures
from sqltrack.client import Client
from sqltrack.commands.run_ranges import RunRange
from sqltrack.commands.show import describe_runs
from sqltrack.engines.json import plain
from sqltrack.errors import UnusableValueError

__all__ = ["compare_descriptions", "compare_runs"]

_FIELDS = ("experiment", "status", "created", "started", "runtime", "comment")


def compare_runs(client: Client, runs: Iterable[int | RunRange], *, as_superuser: bool = False) -> list[dict[str, Any]]:
    """Return the values of runs side by side.

    Args:
        client: client to use.
        runs: ids of two or more runs, or ranges of ids.
        as_superuser: whether a superuser keeps all rights while reading, default False.

    Returns:
        Dicts with section ("run", "tags", "args", "metrics", "extras", "capture" or "env"), name, differs (whether the
        runs differ in it), and values, a dict by run id without the runs that lack the value. NaN equals NaN. A metric
        is compared by its last, smallest and greatest value. Of captured packages, only those whose versions differ are
        listed.

    Raises:
        NotFoundError: the run does not exist.
        UnusableValueError: (a ValueError) fewer than two runs are named.
    """
    described = describe_runs(client, runs, as_superuser=as_superuser)
    if len({run["id"] for run in described}) < 2:
        only = described[0]["id"] if described else "none"
        raise UnusableValueError(f"expected two or more runs to compare, got only {only}")
    return compare_descriptions(described)


def compare_descriptions(descriptions: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the same as `compare_runs` for runs that are already described, which may be one or none.

    Args:
        descriptions: the result of `sqltrack.commands.show.describe_runs`.
    """
    described = {run["id"]: run for run in descriptions}
    rows: list[dict[str, Any]] = []
    captures = compare_captures([run.get("capture", {}) for run in described.values()])
    for section in ("run", "tags", "args", "metrics", "extras", "capture", "env"):
        items = {run_id: _items(run, section) for run_id, run in described.items() if section != "capture"}
        if section == "capture":
            items = dict(zip(described, captures))
        for name in dict.fromkeys(name for values in items.values() for name in values):
            values = {run_id: items[run_id][name] for run_id in described if name in items[run_id]}
            rows.append(
                {"section": section, "name": name, "differs": _differ(values, len(described)), "values": values}
            )
    return rows


def _items(run: Mapping[str, Any], section: str) -> dict[str, Any]:
    if section == "run":
        return {name: run[name] for name in _FIELDS}
    if section == "metrics":
        return {
            f"{summary['metric']} ({kind})": summary[kind]
            for summary in run["metrics"]
            for kind in ("last", "min", "max")
            if summary[kind] is not None
        }
    items = run[section]
    return dict(items) if isinstance(items, dict) else {} if items is None else {"": items}


def _differ(values: Mapping[int, Any], number: int) -> bool:
    return len(values) < number or len({_comparable(value) for value in values.values()}) > 1


def _comparable(value: Any) -> Any:
    """Return an object that compares like the value, except that True differs from 1."""
    if isinstance(value, float) and math.isnan(value):
        return "float", "NaN"
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return "number", value
    if isinstance(value, (dict, list)):
        return "json", json.dumps(plain(value), sort_keys=True)
    return type(value).__name__, value
