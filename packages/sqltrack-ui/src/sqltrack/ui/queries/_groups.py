"""Group runs by columns, or by all arguments except some, such as seeds."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqltrack.commands._rows import to_number
from sqltrack.ui.queries._columns import Column, parse_column
from sqltrack.ui.queries._database import Database
from sqltrack.ui.queries._errors import QueryError
from sqltrack.ui.queries._filters import parse_filter
from sqltrack.ui.queries._runs import Row, leaves, ranked, read_rows
from sqltrack.ui.queries._values import as_key

__all__ = ["Grouping", "distinct_names", "find_parts", "group_choices", "group_values", "is_seed", "parse_group"]

# Runs whose arguments are compared to find those that differ, and columns to group by, at most.
_SAMPLE, _COLUMNS = 1_000, 20
_SEED = re.compile(r"(?:^|[_.-])(?:seed|seeds|random_state|rng)$|^seed[_-]?\d*$", re.IGNORECASE)
_EXPERIMENT = Column(("experiment", "name"))


class Grouping(NamedTuple):
    """What the runs of a group have in common.

    Attributes:
        columns: columns with equal values; empty if all arguments count.
        ignored: paths of arguments that do not count; None for those that are seeds by their name.
    """

    columns: tuple[Column, ...] = ()
    ignored: tuple[tuple[str, ...], ...] | None = None

    def counts(self, path: Sequence[str]) -> bool:
        """Return whether an argument counts if all arguments do, except those that are ignored."""
        if self.ignored is None:
            return not is_seed(path)
        return not any(tuple(path[: len(ignored)]) == ignored for ignored in self.ignored)


def is_seed(path: Sequence[str]) -> bool:
    """Return whether an argument is a random seed, judging by its name."""
    return _SEED.search(path[-1]) is not None


def parse_group(value: Any) -> Grouping:
    """Return the grouping for its JSON.

    Args:
        value: a column, a list of columns, "all_but_seed", or `{"all_but": [["seed"], ["data", "seed"]]}` with the
            paths of the arguments to ignore.

    Raises:
        QueryError: it is not valid.
    """
    if value == "all_but_seed":
        return Grouping()
    if isinstance(value, Mapping):
        return Grouping(ignored=_parse_paths(value.get("all_but")))
    if isinstance(value, list) and value and all(isinstance(item, list) for item in value):
        if len(value) > _COLUMNS:
            raise QueryError(f"group must have at most {_COLUMNS} columns, got {len(value)}")
        return Grouping(tuple(dict.fromkeys(map(parse_column, value))))
    return Grouping((parse_column(value),))


def _parse_paths(paths: Any) -> tuple[tuple[str, ...], ...]:
    is_list = isinstance(paths, list) and all(isinstance(path, list) and path for path in paths)
    if not is_list or not all(isinstance(key, str) for path in paths for key in path):
        raise QueryError(f"all_but must be a list of paths of arguments, got {paths!r}")
    return tuple(map(tuple, paths))


def group_values(source: Database, grouping: Grouping, ids: Sequence[int]) -> dict[int, Any]:
    """Return the value that names the group of each run.

    It is the value of a single column. For several columns, or for all arguments, it is a dict with the value of each;
    of the arguments, only those in which the runs differ are in it, and the experiment if there are several.

    Args:
        source: the database.
        grouping: what the runs of a group have in common.
        ids: ids of the runs.
    """
    if not grouping.columns:
        return _settings(read_rows(source, ids, [], with_args=True), grouping, ids)
    rows = {row.id: row.values for row in read_rows(source, ids, grouping.columns)}
    nothing = [None] * len(grouping.columns)
    if len(grouping.columns) == 1:
        return {run_id: rows.get(run_id, nothing)[0] for run_id in ids}
    names = distinct_names(grouping.columns)
    return {run_id: dict(zip(names, rows.get(run_id, nothing))) for run_id in ids}


def _settings(rows: Sequence[Row], grouping: Grouping, ids: Sequence[int]) -> dict[int, Any]:
    """Return the arguments that count of each run. As in `sqltrack seeds`, null differs from a missing argument."""
    parts = _parts(rows, grouping)
    names = dict(zip((part.path for part in parts), distinct_names(parts)))
    found: dict[int, Any] = {}
    for row in rows:
        items = {("args", *path): to_number(value) for path, value in leaves(row.args)}
        items[_EXPERIMENT.path] = row.experiment
        found[row.id] = {name: items[path] for path, name in names.items() if path in items}
    return {run_id: found.get(run_id, {}) for run_id in ids}


def find_parts(source: Database, grouping: Grouping, ids: Sequence[int]) -> list[Column]:
    """Return the columns whose values name the groups of runs."""
    if grouping.columns:
        return list(grouping.columns)
    return _parts(read_rows(source, ids, [], with_args=True), grouping)


def _parts(rows: Sequence[Row], grouping: Grouping) -> list[Column]:
    several = [_EXPERIMENT] if len({row.experiment_id for row in rows}) > 1 else []
    return [*several, *(Column(("args", *path)) for path in _differing(rows, grouping))]


def _differing(rows: Sequence[Row], grouping: Grouping) -> dict[tuple[str, ...], int]:
    """Return the arguments that count and in which runs differ, with the number of different values."""
    values: dict[tuple[str, ...], set[Any]] = {}
    counts: dict[tuple[str, ...], int] = {}
    for row in rows:
        for path, value in leaves(row.args):
            values.setdefault(path, set()).add(as_key(value))
            counts[path] = counts.get(path, 0) + 1
    # A missing value is a value of its own.
    numbers = {path: len(found) + (counts[path] < len(rows)) for path, found in values.items()}
    return {path: number for path, number in numbers.items() if number > 1 and grouping.counts(path)}


def distinct_names(columns: Sequence[Column]) -> list[str]:
    """Return short names for columns, and the JSON text of those that would share one."""
    labels = [column.label for column in columns]
    return [column.label if labels.count(column.label) == 1 else column.id for column in columns]


def group_choices(source: Database, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments in which runs differ, to group by them or to ignore them.

    Args:
        source: the database.
        spec: dict with filter; the first 1,000 runs that meet it count.

    Returns:
        A dict with arguments (dicts with path, label, values, the number of different values, and seed,
        whether it is a random seed by its name), runs (how many were compared) and version.
    """
    ids, version = ranked(source, parse_filter(spec.get("filter")))
    rows = read_rows(source, list(ids[:_SAMPLE]), [], with_args=True)
    found = [
        {"path": list(path), "label": ".".join(path), "values": number, "seed": is_seed(path)}
        for path, number in _differing(rows, Grouping(ignored=())).items()
    ]
    return {"arguments": found, "runs": len(rows), "version": version}
