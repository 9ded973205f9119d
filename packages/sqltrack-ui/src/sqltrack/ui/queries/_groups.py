"""Group runs by a column, or by all arguments except seeds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from sqltrack.ui.queries._columns import Column, parse_column
from sqltrack.ui.queries._database import Database
from sqltrack.ui.queries._runs import leaves, read_rows
from sqltrack.ui.queries._values import as_key

__all__ = ["group_values", "is_seed"]

_SEED = re.compile(r"(?:^|[_.-])(?:seed|seeds|random_state|rng)$|^seed[_-]?\d*$", re.IGNORECASE)


def is_seed(path: Sequence[str]) -> bool:
    """Return whether an argument is a random seed, judging by its name."""
    return _SEED.search(path[-1]) is not None


def group_values(source: Database, group: Any, ids: Sequence[int]) -> dict[int, Any]:
    """Return the value that names the group of each run.

    Args:
        source: the database.
        group: a column, or "all_but_seed" for runs whose arguments differ only in seeds.
        ids: ids of the runs.
    """
    if group != "all_but_seed":
        column = parse_column(group)
        rows = {row.id: row.values[0] for row in read_rows(source, ids, [column])}
        return {run_id: rows.get(run_id) for run_id in ids}
    rows = {row.id: row for row in read_rows(source, ids, [Column(("run", "id"))], with_args=True)}
    settings = {
        run_id: {path: value for path, value in leaves(row.args) if not is_seed(path)} for run_id, row in rows.items()
    }
    names = dict.fromkeys(path for setting in settings.values() for path in setting)
    differing = [path for path in names if len({as_key(setting.get(path)) for setting in settings.values()}) > 1]
    experiments = len({row.experiment_id for row in rows.values()}) > 1
    named = {}
    for run_id in ids:
        parts = [rows[run_id].experiment] if experiments and run_id in rows else []
        setting = settings.get(run_id, {})
        parts += [f"{'.'.join(path)}={setting[path]}" for path in differing if path in setting]
        named[run_id] = ", ".join(parts) or "all"
    return named
