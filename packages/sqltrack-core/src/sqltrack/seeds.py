"""Mean and standard deviation of a metric over runs that differ only in their random seeds."""

from __future__ import annotations

import contextlib
import math
import statistics
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal, NamedTuple

from sqltrack._quoting import placeholders
from sqltrack.client import Client
from sqltrack.engines.json import dumps
from sqltrack.engines.schema import EXTRAS, KEY, PENDING
from sqltrack.errors import NotFoundError, UnusableValueError
from sqltrack.queries import best_values, last_values

__all__ = ["SeedGroup", "SeedStatistics", "seed_statistics"]

# Number of ids in a statement.
_BATCH = 500

_NUMBERS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
# Integers below this size are exact as floats.
_EXACT = 2**53
# Types of metric columns that do not contain numbers.
_OTHER_TYPES = (bool, str, bytes, date, datetime, timedelta, dict)


class SeedGroup(NamedTuple):
    """Runs of an experiment with the same arguments, apart from the seeds.

    Attributes:
        experiment_id: id of the experiment.
        experiment: name of the experiment.
        args: the arguments, without the seeds.
        run_ids: ids of the runs that count, in order.
        mean: mean of the values of these runs, None if there are no such runs.
        stddev: standard deviation of the sample (n - 1), None for fewer than two runs.
        min: smallest value, None if there are no such runs.
        max: greatest value, None if there are no such runs.
        not_finite: ids of further runs, which do not count because their value is NaN or infinite.
        repeated: ids of runs with the same seeds as an earlier run; they count.
    """

    experiment_id: int
    experiment: str
    args: dict[str, Any]
    run_ids: list[int]
    mean: float | None
    stddev: float | None
    min: float | None
    max: float | None
    not_finite: list[int]
    repeated: list[int]

    @property
    def n(self) -> int:
        """Number of runs that count."""
        return len(self.run_ids)


class SeedStatistics(NamedTuple):
    """Groups of runs, and the runs that are in no group.

    Attributes:
        groups: the groups, best mean first, groups without a mean last.
        without_value: ids of runs that have no value of the metric.
        other_statuses: number of runs with other statuses, by status.
        unknown: names in `over` that none of the runs has as an argument.
    """

    groups: list[SeedGroup]
    without_value: list[int]
    other_statuses: dict[str, int]
    unknown: list[str]

    def settings(self, *, constant: bool = False) -> dict[str, dict[int, Any]]:
        """Return the arguments in which the groups differ: those that all groups have first, then by number of values.

        Args:
            constant: whether to return the arguments that are the same in all groups instead, default False.

        Returns:
            The values of each argument, by the position of the group; groups that lack the argument are left out. A
            nested argument is named by its path, such as "optimizer.lr".
        """
        leaves = [dict(_leaves(group.args)) for group in self.groups]
        columns = {
            path: {index: items[path] for index, items in enumerate(leaves) if path in items}
            for path in dict.fromkeys(path for items in leaves for path in items)
        }
        kinds = {path: len({_comparable(value) for value in values.values()}) for path, values in columns.items()}
        is_constant = {path: kinds[path] == 1 and len(values) == len(leaves) for path, values in columns.items()}
        chosen = [path for path in columns if is_constant[path] is constant]
        chosen.sort(key=lambda path: (-len(columns[path]), kinds[path], path))
        return {".".join(path): columns[path] for path in chosen}


class _Value(NamedTuple):
    """The value of a run, and the place where it was logged."""

    number: float
    place: tuple[int, float]


def seed_statistics(
    client: Client,
    metric: str,
    *,
    over: str | Iterable[str] = "seed",
    experiment: int | str | None = None,
    value: Literal["best", "last"] = "best",
    maximize: bool = True,
    statuses: Collection[str] | None = ("COMPLETED",),
) -> SeedStatistics:
    """Return mean and standard deviation of a metric over runs that differ only in their seeds.

    Runs of different experiments are never in one group. Equal numbers are the same, so 1 is 1.0, but not true. The
    order of names does not matter. An argument that is null differs from one that is missing. Runs without arguments
    form a group as well.

    Args:
        client: client to use.
        metric: name of the metric, which must be numeric.
        over: names of the arguments that may differ, default "seed"; "data.seed" is the argument `seed` in `data`.
        experiment: id or name of the only experiment to look at, default: all.
        value: the value of a run that counts: "best" (default), without NaN, or "last", which may be NaN.
        maximize: whether the greatest value is the best (default), or the smallest.
        statuses: only runs with these statuses, default: "COMPLETED"; None for all.

    Raises:
        NotFoundError: the experiment does not exist, or no run has the metric.
        UnusableValueError: (a ValueError) the metric is not numeric, or `value` or `statuses` is not one of the above.
        NotSetUpError: the database has no tables.
    """
    names = [over] if isinstance(over, str) else list(over)
    if value not in ("best", "last"):
        raise UnusableValueError(f"value must be 'best' or 'last', got {value!r}")
    if isinstance(statuses, str):
        raise UnusableValueError(f"statuses must be a collection of texts, got the text {statuses!r}")
    with client:
        experiment_id = None if experiment is None else _find_experiment(client, experiment)
        # First, because this fails if the database has no tables.
        runs, others = _read_runs(client, experiment_id, statuses)
        column, tables = _find_metric(client, metric)
        values: dict[int, _Value] = {}
        ids = list(runs)
        for begin in range(0, len(ids), _BATCH):
            values |= _read_values(client, ids[begin : begin + _BATCH], metric, column, tables, value, maximize)
    groups: dict[Hashable, list[int]] = {}
    for run_id in values:
        key = (runs[run_id].experiment_id, _comparable(_without(runs[run_id].args, names)))
        groups.setdefault(key, []).append(run_id)
    found = [_summarize([runs[run_id] for run_id in sorted(group)], values, names) for group in groups.values()]
    return SeedStatistics(
        sorted(found, key=lambda group: _rank(group, maximize)),
        [run_id for run_id in runs if run_id not in values],
        others,
        [name for name in names if runs and not any(_has(run.args, name) for run in runs.values())],
    )


class _Run(NamedTuple):
    id: int
    experiment_id: int
    experiment: str
    args: dict[str, Any]


def _find_experiment(client: Client, experiment: int | str) -> int:
    column = "name" if isinstance(experiment, str) else "id"
    row = client.execute(f"SELECT id FROM experiments WHERE {column} = %s", (experiment,)).fetchone()
    if row is None:
        raise NotFoundError(f"there is no experiment {experiment!r}")
    return int(row[0])


def _find_metric(client: Client, metric: str) -> tuple[bool, list[str]]:
    """Return whether a metric is a column, and the tables in which extras may hold its values.

    Raises:
        UnusableValueError: the column does not hold numbers.
        NotFoundError: no run has the metric.
    """
    engine = client.engine
    with client as connection:
        tables = {name: engine.table_columns(connection, name) for name in ("metrics", PENDING)}
    with_extras = [name for name, columns in tables.items() if EXTRAS in columns]
    sql_type = tables["metrics"].get(metric) if metric not in (*KEY, EXTRAS) else None
    if sql_type is None:
        if not any(_extras(client, metric, table) for table in with_extras):
            raise NotFoundError(f"there is no metric {metric!r}")
        return False, with_extras
    if sql_type.upper() in _other_types(client):
        raise UnusableValueError(f"the values of metric {metric!r} are {sql_type}, expected numbers")
    return True, with_extras


def _other_types(client: Client) -> set[str]:
    """Return the SQL types of columns that do not hold numbers, in upper case."""
    types = set()
    for kind in _OTHER_TYPES:
        # An engine may lack a type for some of them.
        with contextlib.suppress(TypeError):
            types.add(client.engine.map_type(client, kind).upper())
    return types


def _read_runs(
    client: Client, experiment_id: int | None, statuses: Collection[str] | None
) -> tuple[dict[int, _Run], dict[str, int]]:
    """Return the chosen runs by id, and the number of other runs by status."""
    wanted: list[tuple[str, Sequence[Any]]] = []
    if experiment_id is not None:
        wanted.append(("experiment_id = %s", (experiment_id,)))
    counted = client.execute(f"SELECT status, COUNT(*) FROM runs {_where(wanted)} GROUP BY status", _bound(wanted))
    numbers = dict(counted.fetchall())
    if statuses is not None:
        chosen = [status for status in numbers if status in statuses]
        wanted.append((f"status IN ({placeholders(len(chosen))})" if chosen else "FALSE", chosen))
    sql = f"""
        SELECT runs.id, experiment_id, experiments.name, args
        FROM runs JOIN experiments ON experiments.id = experiment_id
        {_where(wanted)}
        ORDER BY runs.id
    """
    runs = {}
    for run_id, owner, name, args in client.execute(sql, _bound(wanted)):
        runs[run_id] = _Run(run_id, owner, name, args if isinstance(args, dict) else {} if args is None else {"": args})
    others = {status: number for status, number in numbers.items() if statuses is not None and status not in statuses}
    return runs, others


def _where(conditions: Sequence[tuple[str, Sequence[Any]]]) -> str:
    return f"WHERE {' AND '.join(text for text, _ in conditions)}" if conditions else ""


def _bound(conditions: Sequence[tuple[str, Sequence[Any]]]) -> tuple[Any, ...]:
    return tuple(parameter for _, parameters in conditions for parameter in parameters)


def _read_values(
    client: Client,
    run_ids: Sequence[int],
    metric: str,
    column: bool,
    tables: Sequence[str],
    value: str,
    maximize: bool,
) -> dict[int, _Value]:
    """Return the values of a batch of runs; NaN for runs that have nothing else."""
    candidates: list[tuple[int, _Value]] = []
    if column:
        rows = []
        if value == "best":
            rows = client.execute(*best_values(metric, maximize=maximize, run_ids=run_ids)).fetchall()
        # Runs without a best value may have logged NaN.
        others = sorted(set(run_ids) - {row[0] for row in rows})
        if others:
            rows += client.execute(*last_values(metric, run_ids=others)).fetchall()
        candidates += [(row[0], _Value(_to_float(row[3]), (row[1], row[2]))) for row in rows]
    for table in tables:
        for run_id, step, progress, logged in _extras(client, metric, table, run_ids):
            if isinstance(logged, str) and logged not in _NUMBERS:
                continue
            if not isinstance(logged, (bool, dict, list)) and logged is not None:
                candidates.append((run_id, _Value(_to_float(logged), (step, progress))))
    values: dict[int, _Value] = {}
    for run_id, candidate in candidates:
        known = values.get(run_id)
        if known is None or _goes_before(candidate, known, value, maximize):
            values[run_id] = candidate
    return values


def _extras(client: Client, metric: str, table: str, run_ids: Sequence[int] | None = None) -> list[tuple[Any, ...]]:
    """Return run id, step, progress and value of a metric in the extras of a table; without `run_ids`, of one run."""
    # A coarse filter: the name may also match elsewhere in the text.
    pattern = "%" + dumps(metric).replace("!", "!!").replace("%", "!%").replace("_", "!_") + "%"
    condition = "TRUE" if run_ids is None else f"run_id IN ({placeholders(len(run_ids))})"
    sql = f"""
        SELECT run_id, step, progress, {EXTRAS} FROM {table}
        WHERE CAST({EXTRAS} AS TEXT) LIKE %s ESCAPE '!' AND {condition}
    """
    rows = client.execute(sql, (pattern, *(run_ids or ())))
    found = ((*key, items[metric]) for *key, items in rows if isinstance(items, dict) and metric in items)
    return list(found) if run_ids is not None else [row for row, _ in zip(found, range(1))]


def _to_float(value: Any) -> float:
    """Return a number from the database as a float: infinite if it is too large, NaN if it is other text."""
    try:
        return float(_NUMBERS.get(value, value) if isinstance(value, str) else value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
    except ValueError:
        # Other programs may have stored any value in a column of SQLite.
        return math.nan


def _goes_before(new: _Value, known: _Value, value: str, maximize: bool) -> bool:
    if value == "last":
        return new.place > known.place
    if math.isnan(new.number) or math.isnan(known.number):
        return math.isnan(known.number)
    return new.number > known.number if maximize else new.number < known.number


def _summarize(runs: Sequence[_Run], values: Mapping[int, _Value], over: Sequence[str]) -> SeedGroup:
    numbers = {run.id: values[run.id].number for run in runs if math.isfinite(values[run.id].number)}
    counted = list(numbers.values())
    seeds: set[Hashable] = set()
    repeated = []
    for run in runs:
        present = [name for name in over if _has(run.args, name)]
        if run.id in numbers and present:
            seed = tuple((name, _comparable(_get(run.args, name))) for name in present)
            repeated += [run.id] if seed in seeds else []
            seeds.add(seed)
    first = runs[0]
    return SeedGroup(
        first.experiment_id,
        first.experiment,
        _without(first.args, over),
        list(numbers),
        # Both compute exactly and round at the end, whatever the size of the numbers.
        float(statistics.mean(counted)) if counted else None,
        statistics.stdev(counted) if len(counted) > 1 else None,
        min(counted, default=None),
        max(counted, default=None),
        [run.id for run in runs if run.id not in numbers],
        repeated,
    )


def _rank(group: SeedGroup, maximize: bool) -> tuple[bool, float, int]:
    mean = group.mean or 0.0
    return group.mean is None, -mean if maximize else mean, (group.run_ids or group.not_finite)[0]


_MISSING = object()


def _get(args: Any, name: str) -> Any:
    """Return an argument, which may be nested, or `_MISSING`."""
    if not isinstance(args, dict):
        return _MISSING
    if name in args:
        return args[name]
    for outer, inner in _splits(name):
        found = _get(args.get(outer), inner)
        if found is not _MISSING:
            return found
    return _MISSING


def _has(args: Any, name: str) -> bool:
    return _get(args, name) is not _MISSING


def _without(args: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    for name in names:
        args = _without_one(args, name)
    return args


def _without_one(args: dict[str, Any], name: str) -> dict[str, Any]:
    if name in args:
        return {key: value for key, value in args.items() if key != name}
    for outer, inner in _splits(name):
        if _has(args.get(outer), inner):
            return {**args, outer: _without_one(args[outer], inner)}
    return args


def _splits(name: str) -> Iterator[tuple[str, str]]:
    """Return the ways to split a path in two; names may contain dots themselves."""
    parts = name.split(".")
    for index in range(1, len(parts)):
        yield ".".join(parts[:index]), ".".join(parts[index:])


def _leaves(args: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Return the arguments that contain no others, with their paths."""
    if isinstance(args, dict) and (args or not path):
        for name, value in args.items():
            yield from _leaves(value, (*path, name))
    else:
        yield path, args


def _comparable(value: Any) -> Hashable:
    """Return a key that is equal for values that are the same: true is not 1, but 1 is 1.0."""
    # Most values are of these types, and can be compared directly.
    if isinstance(value, str) or value is None or (type(value) in (int, float) and abs(value) < _EXACT):
        return value  # type: ignore[no-any-return]
    if isinstance(value, dict):
        return "object", frozenset([(name, _comparable(item)) for name, item in value.items()])
    if isinstance(value, list):
        return "array", tuple([_comparable(item) for item in value])
    if isinstance(value, bool):
        return "boolean", value
    # From the text: a database may return an integer for 1e300.
    return "number", Decimal(value if isinstance(value, int) else repr(value))
