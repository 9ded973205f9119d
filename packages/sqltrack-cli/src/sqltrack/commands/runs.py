"""List runs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from sqltrack.client import Client
from sqltrack.commands._conditions import check_quoted_names, explain_condition
from sqltrack.commands._databases import read_only
from sqltrack.commands._lookup import find_experiment, metric_columns, near
from sqltrack.commands._points import read_extras
from sqltrack.commands._rows import batches, fetch, to_number
from sqltrack.commands._run_args import ALL_RUNS, Argument, ChosenRuns, read_argument, summarize_args
from sqltrack.commands._run_order import COLUMNS, argument_heads, metric_head, order_runs, read_column
from sqltrack.commands._times import runtime
from sqltrack.engines.schema import INT64
from sqltrack.errors import DatabaseError, NotFoundError
from sqltrack.queries import best_values
from sqltrack.util import placeholders

__all__ = ["Argument", "RunList", "list_runs"]

# Rows whose extras are looked at for names that the user may have meant.
_ROWS_FOR_ADVICE = 1_000

# What conditions see: the columns of runs, and those of experiments that do not have the same name.
_RUNS = """
    (
        SELECT
            runs.*, experiments.name AS experiment, experiments.comment AS experiment_comment,
            experiments.tags AS experiment_tags, experiments.extras AS experiment_extras
        FROM runs JOIN experiments ON experiments.id = runs.experiment_id
    ) AS runs
"""
_COLUMNS = "id, experiment, status, time_created, time_started, time_updated, tags, comment, args"


class RunList(NamedTuple):
    """Runs, and facts about all runs that were chosen, whatever the limit.

    Attributes:
        runs: dicts with id, experiment, status, created, started, updated, runtime (None before the start), step (the
            last), best and best_step (None without a value), tags, comment and args.
        number: number of runs without the limit.
        metric: name of the metric whose best values were found, None without one.
        sorted_by: name of the argument that the runs are sorted by, None without one.
        args: the arguments of all chosen runs, first those in which they differ; empty unless they were asked for.
        widths: length of the longest id, experiment, status, tags and comment of all chosen runs, 0 if all are empty.
    """

    runs: list[dict[str, Any]]
    number: int
    metric: str | None
    sorted_by: str | None
    args: list[Argument]
    widths: dict[str, int]


def list_runs(
    client: Client,
    experiment: str | None = None,
    *,
    where: str | None = None,
    best: str | None = None,
    maximize: bool = True,
    sort: str | None = None,
    reverse: bool = False,
    limit: int = 20,
    with_args: bool = False,
    as_superuser: bool = False,
    progress: Callable[[int], object] | None = None,
) -> RunList:
    """Return runs: the best first, or in the order of a column, or else the newest first.

    Runs of the same value are listed newest first. NaN and missing values are last in any order.

    Args:
        client: client to use.
        experiment: name or id of an experiment, default: all.
        where: a condition in SQL that sees the columns of runs, and experiment (the name), experiment_comment,
            experiment_tags and experiment_extras.
        best: name of a metric whose best value is to be found.
        maximize: whether the greatest value is the best (default), or the smallest.
        sort: column to sort by, the smallest value first: id, experiment, status, created, started, updated, runtime
            (or duration), step, tags, comment, the metric of `best`, "at step", or an argument. An argument that is
            called like a column is `args.NAME`, and a metric `metrics.NAME`.
        reverse: whether the order is reversed, default False.
        limit: greatest number of runs, 0 for all.
        with_args: whether the arguments of all chosen runs are compared, default False.
        as_superuser: whether a superuser reads with all rights, default False.
        progress: called with the number of runs that have been read, now and then.

    Raises:
        NotFoundError: there is no such experiment, metric or column.
        DatabaseError: the database refused the condition, or would take the name of an argument or metric for a text.
    """
    order = _Order(best, maximize, sort, reverse)
    if where is not None:
        check_quoted_names(client, where, as_superuser=as_superuser)
    try:
        with read_only(client, as_superuser=as_superuser, own_sql=where is None) as connection:
            chosen = _choose(connection, experiment, where)
            return _Listing(client, connection, chosen, order).read(limit, with_args, progress)
    except DatabaseError as error:
        if where is None or type(error) is not DatabaseError:
            raise
        raise DatabaseError(error.message, explain_condition(client, where, as_superuser=as_superuser)) from error


class _Order(NamedTuple):
    """How runs are sorted; see `list_runs`."""

    best: str | None
    maximize: bool
    sort: str | None
    reverse: bool


class _Best(NamedTuple):
    """The best value of a metric in a run, and where it is."""

    value: Any
    step: int
    progress: float


def _choose(connection: Any, experiment: str | None, where: str | None) -> ChosenRuns:
    if experiment is None and where is None:
        return ALL_RUNS
    # With placeholders in the statement per cent signs are doubled, so there is one in any case.
    conditions, parameters = ["id >= %s"], [INT64[0]]
    if experiment is not None:
        conditions, parameters = ["experiment_id = %s"], [find_experiment(connection, experiment)]
    if where is not None:
        # A comment may end the condition.
        conditions.append(f"({where.replace('%', '%%')}\n)")
    return ChosenRuns(f"{_RUNS} WHERE {' AND '.join(conditions)}", parameters, False)


class _Listing:
    """Chosen runs, while they are being read."""

    def __init__(self, client: Client, connection: Any, chosen: ChosenRuns, order: _Order) -> None:
        self._client = client
        self._connection = connection
        self._chosen = chosen
        self._order = order
        self._metric = None if order.best is None else _find_metric(client, connection, order.best)
        # The best values of all chosen runs, if they are sorted by these.
        self._best: dict[int, _Best] | None = None
        self._sorted_by: str | None = None

    def read(self, limit: int, with_args: bool, progress: Callable[[int], object] | None) -> RunList:
        widths = _measure(self._connection, self._chosen)
        number = widths.pop("number")
        run_ids = self._sort(limit)
        records: list[dict[str, Any]] = []
        for batch in batches(run_ids):
            found = _records(self._connection, batch)
            _add_steps(self._connection, found)
            self._add_best(found)
            records += [found[run_id] for run_id in batch]
            if progress is not None:
                progress(len(records))
        args = summarize_args(self._connection, self._chosen) if with_args else []
        return RunList(records, number, self._metric, self._sorted_by, args, widths)

    def _sort(self, limit: int) -> list[int]:
        """Return the ids of the runs to show."""
        best, maximize, sort, reverse = self._order
        if sort is None and best is None:
            return _newest(self._connection, self._chosen, limit, reverse=reverse)
        run_ids = _newest(self._connection, self._chosen, 0)
        if sort is None:
            values = {run_id: found.value for run_id, found in self._find_best(run_ids).items()}
            ordered = order_runs(run_ids, values, reverse=maximize is not reverse)
        else:
            ordered = order_runs(run_ids, self._read_column(sort, run_ids), reverse=reverse)
        return ordered[: limit or None]

    def _read_column(self, sort: str, run_ids: Sequence[int]) -> dict[int, Any]:
        """Return the values of the column that the runs are sorted by."""
        if self._metric is not None and sort in (metric_head(self._metric), "at step"):
            found = self._find_best(run_ids).items()
            return {run_id: best.step if sort == "at step" else best.value for run_id, best in found}
        if sort == "at step":
            raise NotFoundError(f"there is no column {sort!r} to sort by", "it is the step of --best METRIC")
        if sort in COLUMNS:
            return read_column(self._connection, self._chosen, _RUNS, sort)
        for name in _argument_names(sort):
            values = read_argument(self._client, self._connection, self._chosen, name)
            if values:
                self._sorted_by = name
                return values
        self._require_argument(sort)
        return {}

    def _require_argument(self, sort: str) -> None:
        """Make sure that there is an argument, if of no chosen run.

        Raises:
            NotFoundError: there is none.
        """
        args = [argument.name for argument in summarize_args(self._connection, ALL_RUNS)]
        if not set(_argument_names(sort)).isdisjoint(args):
            return
        if _is_metric(self._client, self._connection, sort):
            advice = f"to sort by the best value of the metric: --best {sort}"
        else:
            heads = [*COLUMNS, *argument_heads(args, self._metric).values()]
            if self._metric is not None:
                heads.append(metric_head(self._metric))
            advice = near(sort.removeprefix("args."), heads)
        raise NotFoundError(f"there is no column {sort!r} to sort by", advice)

    def _find_best(self, run_ids: Sequence[int]) -> dict[int, _Best]:
        """Return the best values of all chosen runs."""
        if self._best is None:
            self._best = {}
            for batch in [None] if self._chosen.are_all else batches(run_ids):
                self._best.update(self._read_best(batch))
        return self._best

    def _read_best(self, run_ids: Sequence[int] | None) -> dict[int, _Best]:
        assert self._metric is not None
        return _read_best(self._client, self._connection, run_ids, self._metric, self._order.maximize)

    def _add_best(self, records: dict[int, dict[str, Any]]) -> None:
        if self._metric is None:
            return
        found = self._read_best(list(records)) if self._best is None else self._best
        for run_id in records.keys() & found.keys():
            records[run_id].update(best=found[run_id].value, best_step=found[run_id].step)


def _argument_names(head: str) -> Iterator[str]:
    """Yield the names that an argument may have whose column is called so."""
    yield head
    while head.startswith("args."):
        head = head.removeprefix("args.")
        yield head


def _measure(connection: Any, chosen: ChosenRuns) -> dict[str, int]:
    """Return the number of runs, and the length of the longest value in columns that hold text."""
    tags = "CAST(tags AS TEXT)"
    sql = f"""
        SELECT
            COUNT(*) AS number, MAX(LENGTH(CAST(id AS TEXT))) AS id, MAX(LENGTH(experiment)) AS experiment,
            MAX(LENGTH(status)) AS status, MAX(LENGTH(comment)) AS comment,
            MAX(CASE WHEN {tags} IN ('{{}}', 'null') THEN 0 ELSE LENGTH({tags}) END) AS tags
        FROM {_RUNS if chosen.are_all else chosen.sql}
    """
    (row,) = fetch(connection, sql, chosen.parameters)
    return {name: value or 0 for name, value in row.items()}


def _find_metric(client: Client, connection: Any, name: str) -> str:
    """Return the metric of a name, which may be the heading of its column.

    Raises:
        NotFoundError: there is none, as a column or among the extras.
    """
    for metric in (name, name.removeprefix("metrics.")):
        if _is_metric(client, connection, metric):
            return metric
    known = dict.fromkeys(metric_columns(client, connection))
    for row in itertools.islice(read_extras(client, connection), _ROWS_FOR_ADVICE):
        known.update(dict.fromkeys(row.values))
    raise NotFoundError(f"there is no metric {name!r}", near(name, known))


def _is_metric(client: Client, connection: Any, name: str) -> bool:
    return name in metric_columns(client, connection) or any(read_extras(client, connection, name=name))


def _newest(connection: Any, chosen: ChosenRuns, limit: int, *, reverse: bool = False) -> list[int]:
    """Return the ids of the newest of the chosen runs, or of the oldest."""
    direction = "ASC" if reverse else "DESC"
    sql = f"SELECT id FROM {chosen.sql} ORDER BY time_created {direction}, id {direction} LIMIT %s"
    return [row["id"] for row in fetch(connection, sql, (*chosen.parameters, limit or INT64[-1]))]


def _records(connection: Any, run_ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Return what the table runs holds of a batch of runs, by id."""
    records = {}
    sql = f"SELECT {_COLUMNS} FROM {_RUNS} WHERE id IN ({placeholders(len(run_ids))})"
    for row in fetch(connection, sql, run_ids):
        created, started, updated = (row.pop(f"time_{name}") for name in ("created", "started", "updated"))
        times = {"created": created, "started": started, "updated": updated, "runtime": runtime(started, updated)}
        records[row["id"]] = {**row, **times, "step": None, "best": None, "best_step": None}
    return records


def _add_steps(connection: Any, records: dict[int, dict[str, Any]]) -> None:
    sql = (
        f"SELECT run_id, MAX(step) AS step FROM metrics WHERE run_id IN ({placeholders(len(records))}) GROUP BY run_id"
    )
    for row in fetch(connection, sql, list(records)):
        records[row["run_id"]]["step"] = row["step"]


def _read_best(
    client: Client, connection: Any, run_ids: Sequence[int] | None, metric: str, maximize: bool
) -> dict[int, _Best]:
    """Return the best values of runs, by default of all, in columns and extras."""
    best: dict[int, _Best] = {}
    if metric in metric_columns(client, connection):
        query = best_values(metric, maximize=maximize, run_ids=run_ids)
        # Without parameters a placeholder is not looked for.
        for run_id, step, progress, value in connection.execute(*(query if query.parameters else query[:1])):
            best[run_id] = _Best(to_number(value), step, progress)
    for row in read_extras(client, connection, run_ids, name=metric):
        run_id, step, progress = row.key
        found = _Best(to_number(row.values[metric]), step, progress)
        if _is_number(found.value) and _is_better(found, best.get(run_id), maximize):
            best[run_id] = found
    return best


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and value == value


def _is_better(new: _Best, known: _Best | None, maximize: bool) -> bool:
    """Return whether a value with its step and progress goes before the one that is known; of equal ones the first."""
    if known is None:
        return True
    if not _is_number(known.value) or new.value == known.value:
        return _is_number(known.value) and new[1:] < known[1:]
    return bool(new.value > known.value) is maximize
