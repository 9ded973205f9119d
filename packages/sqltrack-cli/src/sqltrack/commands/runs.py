"""List runs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sqltrack.client import Client
from sqltrack.commands._conditions import check_quoted_names, enclose, explain_condition
from sqltrack.commands._databases import read_only
from sqltrack.commands._lookup import experiment_question, find_experiment, near
from sqltrack.commands._points import (
    ExtraValues,
    Places,
    as_places,
    extras_question,
    extras_rows,
    find_places,
    places_questions,
    read_extras,
)
from sqltrack.commands._rows import BATCH, ask, batches, dicts, to_number
from sqltrack.commands._run_args import (
    ALL_RUNS,
    Argument,
    ChosenRuns,
    args_question,
    argument_question,
    argument_value,
    read_args,
    summarize_args,
)
from sqltrack.commands._run_order import (
    COLUMNS,
    argument_heads,
    column_question,
    column_value,
    metric_head,
    order_runs,
)
from sqltrack.commands._times import runtime
from sqltrack.engines.admin import Question, admin_of
from sqltrack.engines.schema import INT64
from sqltrack.errors import DatabaseError, NotFoundError
from sqltrack.queries import best_values
from sqltrack.util import placeholders

__all__ = ["Argument", "RunList", "list_runs"]

# Number of rows in whose extras to look for similar names.
_ROWS_FOR_ADVICE = 1_000

# The columns for conditions: those of runs, and those of experiments under names that do not collide.
_RUNS = """
    (
        SELECT
            runs.*, experiments.name AS experiment, experiments.comment AS experiment_comment,
            experiments.tags AS experiment_tags, experiments.extras AS experiment_extras
        FROM runs JOIN experiments ON experiments.id = runs.experiment_id
    ) AS runs
"""
_COLUMNS = """
    id, experiment, status, time_created, time_started, time_updated,
    (SELECT MAX(metrics.step) FROM metrics WHERE metrics.run_id = runs.id) AS step, tags, comment, args
"""
# The arguments of more runs are read as a stream, which needs more round trips but less memory.
_ARGS_AT_ONCE = 20_000


class RunList(NamedTuple):
    """Listed runs, and facts about all chosen runs, independent of the limit.

    Attributes:
        runs: dicts with id, experiment, status, created, started, updated, runtime (None before the start), step (the
            last), best and best_step (None without a value), tags, comment and args.
        number: number of runs without the limit.
        metric: name of the metric of the best values, None without one.
        sorted_by: name of the argument that the runs are sorted by, None without one.
        args: the arguments of all chosen runs, first those that differ; empty unless requested.
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
    """Return runs: the best first, or sorted by a column, or by default the newest first.

    Runs with equal values are sorted newest first. NaN and missing values always come last.

    Args:
        client: client to use.
        experiment: name or id of an experiment, default: all.
        where: a condition in SQL on the columns of runs, and experiment (its name), experiment_comment,
            experiment_tags and experiment_extras.
        best: name of a metric, to find its best value in each run.
        maximize: whether the greatest value is the best (default), or the smallest.
        sort: column to sort by, the smallest value first: id, experiment, status, created, started, updated, runtime
            (or duration), step, tags, comment, the metric of `best`, "at step", or an argument. An argument with
            the name of a column is `args.NAME`, and such a metric is `metrics.NAME`.
        reverse: whether to reverse the order, default False.
        limit: maximum number of runs, 0 for all.
        with_args: whether to compare the arguments of all chosen runs, default False.
        as_superuser: whether a superuser keeps all rights while reading, default False.
        progress: called now and then with the number of runs done.

    Raises:
        NotFoundError: the experiment, metric or column does not exist.
        DatabaseError: the database refused the condition, or would read the name of an argument or metric as a text.
    """
    order = _Order(best, maximize, sort, reverse)
    if where is not None:
        check_quoted_names(client, where, as_superuser=as_superuser)
    chosen = _choose(experiment, None if where is None else enclose(where, client.engine.dialect))
    try:
        with read_only(client, as_superuser=as_superuser, own_sql=where is None) as connection:
            listing = _Listing(client, connection, chosen, order)
            return listing.read(experiment, limit, with_args, progress)
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
    """The best value of a metric in a run, with its step and progress."""

    value: Any
    step: int
    progress: float


def _choose(experiment: str | None, condition: str | None) -> ChosenRuns:
    if experiment is None and condition is None:
        return ALL_RUNS
    # Percent signs are doubled only in statements with placeholders, so always use at least one.
    conditions, parameters = ["id >= %s"], list[Any]([INT64[0]])
    if experiment is not None:
        sql, parameters = experiment_question(experiment)[0], list(experiment_question(experiment)[1])
        conditions = [f"experiment_id = ({sql})"]
    if condition is not None:
        conditions.append(condition)
    return ChosenRuns(f"{_RUNS} WHERE {' AND '.join(conditions)}", parameters, False)


class _Listing:
    """Reads chosen runs in few steps, because each step is a network round trip."""

    def __init__(self, client: Client, connection: Any, chosen: ChosenRuns, order: _Order) -> None:
        self._client = client
        self._connection = connection
        self._admin = admin_of(client.engine, connection)
        self._chosen = chosen
        self._order = order
        self._places = Places({}, [])
        self._metric: str | None = None
        # The best values of all chosen runs, if these decide the order.
        self._best: dict[int, _Best] | None = None
        self._sorted_by: str | None = None

    def read(
        self, experiment: str | None, limit: int, with_args: bool, progress: Callable[[int], object] | None
    ) -> RunList:
        best, _, sort, reverse = self._order
        is_newest = sort is None and best is None
        questions = {"measure": _measure_question(self._chosen), **_first_questions(experiment)}
        if is_newest and 0 < limit <= BATCH:
            questions["records"] = _newest_records_question(self._chosen, limit, reverse=reverse)
        else:
            newest = limit if is_newest else 0
            questions["ids"] = _newest_question(self._chosen, newest, reverse=reverse and is_newest)
        questions.update(self._sort_questions(sort))
        places = [] if best is None else places_questions(self._client)
        questions.update({f"places {number}": question for number, question in enumerate(places)})
        facts = [] if best is None else self._facts_questions(best)
        questions.update({f"facts {name}": question for name, question in facts})
        answers = self._ask(questions, are_last="records" in questions and not with_args)
        if "experiment" in answers and answers["experiment"].fetchone()[0] is None:
            find_experiment(self._connection, str(experiment))
        (widths,) = dicts(answers["measure"])
        widths = {name: value or 0 for name, value in widths.items()}
        number = widths.pop("number")
        if "records" in answers:
            records = [_record(row) for row in dicts(answers["records"])]
            return self._listed(records, number, widths, self._read_args(number) if with_args else ())
        run_ids = [run_id for (run_id,) in answers["ids"].fetchall()]
        for name, _ in facts:
            self._admin.take_facts(name, answers[f"facts {name}"])
        if best is not None:
            columns = [dict(answers[f"places {index}"].fetchall()) for index in range(len(places))]
            self._places = as_places(self._client, self._connection, columns)
            self._find_metric(best, run_ids, is_sorted_by_it=sort in self._heads_of_best(best))
        shown = self._sort(run_ids, answers)[: limit or None]
        records, args = self._read_records(shown, number if with_args else 0, progress)
        return self._listed(records, number, widths, args)

    def _ask(self, questions: Mapping[str, Question], *, are_last: bool = False) -> dict[str, Any]:
        """Return cursors with the answers to questions, in one step."""
        answers = ask(self._client, self._connection, list(questions.values()), are_last=are_last)
        return dict(zip(questions, answers))

    def _listed(
        self, records: list[dict[str, Any]], number: int, widths: dict[str, int], args: Iterable[Any]
    ) -> RunList:
        return RunList(records, number, self._metric, self._sorted_by, summarize_args(args), widths)

    def _read_args(self, number: int) -> Iterable[Any]:
        """Return the arguments of all chosen runs."""
        if number > _ARGS_AT_ONCE:
            return read_args(self._connection, self._chosen)
        answers = self._ask({"args": args_question(self._chosen)}, are_last=True)
        return (args for (args,) in answers["args"])

    def _read_records(
        self, run_ids: Sequence[int], number: int, progress: Callable[[int], object] | None
    ) -> tuple[list[dict[str, Any]], Iterable[Any]]:
        """Return the runs with the given ids in order, and the arguments of all chosen runs."""
        records: list[dict[str, Any]] = []
        args: Iterable[Any] = ()
        for batch in batches(run_ids):
            questions = {"records": _records_question(batch)}
            if self._metric is not None and self._best is None:
                questions.update(self._best_questions([batch]))
            is_last = len(records) + len(batch) == len(run_ids)
            takes_args = is_last and 0 < number <= _ARGS_AT_ONCE
            if takes_args:
                questions["args"] = args_question(self._chosen)
            answers = self._ask(questions, are_last=is_last and (takes_args or not number))
            found = {row["id"]: _record(row) for row in dicts(answers["records"])}
            best = self._read_best(answers) if self._best is None else self._best
            for run_id in found.keys() & best.keys():
                found[run_id].update(best=best[run_id].value, best_step=best[run_id].step)
            records += [found[run_id] for run_id in batch if run_id in found]
            if takes_args:
                args = (item for (item,) in answers["args"])
            if progress is not None:
                progress(len(records))
        return records, read_args(self._connection, self._chosen) if number > _ARGS_AT_ONCE else args

    # Order

    def _sort_questions(self, sort: str | None) -> dict[str, Question]:
        """Return the queries for the values of the sort column."""
        if sort is None or sort == "at step":
            return {}
        if sort in COLUMNS:
            return {"column": column_question(self._chosen, _RUNS, sort)}
        names = _argument_names(sort)
        return {f"argument {name}": argument_question(self._client, self._chosen, name) for name in names}

    def _sort(self, run_ids: Sequence[int], answers: Mapping[str, Any]) -> Sequence[int]:
        """Return the ids of the runs in order."""
        best, maximize, sort, reverse = self._order
        if sort is not None:
            return order_runs(run_ids, self._column(sort, answers), reverse=reverse)
        if best is None:
            return run_ids
        values = {run_id: found.value for run_id, found in (self._best or {}).items()}
        return order_runs(run_ids, values, reverse=maximize is not reverse)

    def _column(self, sort: str, answers: Mapping[str, Any]) -> dict[int, Any]:
        """Return the values of the sort column."""
        if self._metric is not None and sort in (metric_head(self._metric), "at step"):
            found = (self._best or {}).items()
            return {run_id: best.step if sort == "at step" else best.value for run_id, best in found}
        if sort == "at step":
            raise NotFoundError(f"there is no column {sort!r} to sort by", "it is the step of --best METRIC")
        if sort in COLUMNS:
            return {row["id"]: column_value(row) for row in dicts(answers["column"])}
        for name in _argument_names(sort):
            values = {run_id: argument_value(text) for run_id, text in answers[f"argument {name}"].fetchall()}
            if values:
                self._sorted_by = name
                return values
        self._require_argument(sort)
        return {}

    def _require_argument(self, sort: str) -> None:
        """Check that an argument exists in any run, if no chosen run has it.

        Raises:
            NotFoundError: no run has it.
        """
        args = [argument.name for argument in summarize_args(read_args(self._connection, ALL_RUNS))]
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

    # Best values

    def _facts_questions(self, best: str) -> list[tuple[str, Question]]:
        """Return the possible names of the metric, each with the query for the facts about it."""
        questions = [(name, self._admin.facts_question(name)) for name in _metric_names(best)]
        return [(name, question) for name, question in questions if question is not None]

    def _heads_of_best(self, best: str) -> set[str | None]:
        """Return the names of sort columns that are possible with the best values of a metric."""
        return {None, "at step", *map(metric_head, _metric_names(best))}

    def _find_metric(self, best: str, run_ids: Sequence[int], *, is_sorted_by_it: bool) -> None:
        """Find the metric for a name, which may be a heading of a column, and read its best values if necessary.

        Raises:
            NotFoundError: the metric does not exist, neither as a column nor in the extras.
        """
        names = [name for name in _metric_names(best) if name in self._places.columns]
        if names:
            self._metric = names[0]
            if is_sorted_by_it:
                groups = [None] if self._chosen.are_all else list(batches(run_ids))
                self._best = self._read_best(self._ask(self._best_questions(groups)))
            return
        questions = {
            f"extras {name} {table}": extras_question(table, name=name)
            for name in _metric_names(best)
            for table in self._places.extras
        }
        answers = self._ask(questions)
        chosen = set(run_ids)
        for name in _metric_names(best):
            rows = [
                row for table in self._places.extras for row in extras_rows(answers[f"extras {name} {table}"], name)
            ]
            if rows:
                self._metric = name
                self._best = {}
                for row in rows:
                    if row.key[0] in chosen:
                        self._take_best(self._best, row, name)
                return
        known = dict.fromkeys(self._places.columns)
        for row in itertools.islice(read_extras(self._client, self._connection), _ROWS_FOR_ADVICE):
            known.update(dict.fromkeys(row.values))
        raise NotFoundError(f"there is no metric {best!r}", near(best, known))

    def _best_questions(self, groups: Sequence[Sequence[int] | None]) -> dict[str, Question]:
        """Return the queries for the best values in columns and extras, of groups of runs, or of all runs for None."""
        assert self._metric is not None
        questions = {}
        for number, run_ids in enumerate(groups):
            if self._metric in self._places.columns:
                query = best_values(self._metric, maximize=self._order.maximize, run_ids=run_ids)
                questions[f"best {number}"] = Question(*query)
            for table in self._places.extras:
                questions[f"best extras {number} {table}"] = extras_question(table, run_ids, name=self._metric)
        return questions

    def _read_best(self, answers: Mapping[str, Any]) -> dict[int, _Best]:
        """Return the best values by run id, from the answers to `_best_questions`."""
        best: dict[int, _Best] = {}
        for name, cursor in answers.items():
            if name.startswith("best extras "):
                assert self._metric is not None
                for row in extras_rows(cursor, self._metric):
                    self._take_best(best, row, self._metric)
            elif name.startswith("best "):
                best.update({run_id: _Best(to_number(value), step, at) for run_id, step, at, value in cursor})
        return best

    def _take_best(self, best: dict[int, _Best], row: ExtraValues, metric: str) -> None:
        """Update the best values with the value of a metric in a row of extras."""
        run_id, step, progress = row.key
        found = _Best(to_number(row.values[metric]), step, progress)
        if _is_number(found.value) and _is_better(found, best.get(run_id), self._order.maximize):
            best[run_id] = found


def _first_questions(experiment: str | None) -> dict[str, Question]:
    return {} if experiment is None else {"experiment": experiment_question(experiment)}


def _metric_names(name: str) -> list[str]:
    """Return the possible names of a metric for the heading of its column."""
    return list(dict.fromkeys((name, name.removeprefix("metrics."))))


def _argument_names(head: str) -> Iterator[str]:
    """Yield the possible names of an argument for the heading of its column."""
    yield head
    while head.startswith("args."):
        head = head.removeprefix("args.")
        yield head


def _measure_question(chosen: ChosenRuns) -> Question:
    """Return the query for the number of runs, and for the longest value in each column of text."""
    tags = "CAST(tags AS TEXT)"
    sql = f"""
        SELECT
            COUNT(*) AS number, MAX(LENGTH(CAST(id AS TEXT))) AS id, MAX(LENGTH(experiment)) AS experiment,
            MAX(LENGTH(status)) AS status, MAX(LENGTH(comment)) AS comment,
            MAX(CASE WHEN {tags} IN ('{{}}', 'null') THEN 0 ELSE LENGTH({tags}) END) AS tags
        FROM {_RUNS if chosen.are_all else chosen.sql}
    """
    return Question(sql, chosen.parameters)


def _is_metric(client: Client, connection: Any, name: str) -> bool:
    places = find_places(client, connection)
    return name in places.columns or any(read_extras(client, connection, name=name, tables=places.extras))


def _newest_question(chosen: ChosenRuns, limit: int, *, reverse: bool) -> Question:
    """Return the query for the ids of the newest of the chosen runs, or of the oldest."""
    sql = f"SELECT id FROM {chosen.sql} ORDER BY {_newest_first(reverse)} LIMIT %s"
    return Question(sql, (*chosen.parameters, limit or INT64[-1]))


def _newest_first(reverse: bool) -> str:
    direction = "ASC" if reverse else "DESC"
    return f"time_created {direction}, id {direction}"


def _newest_records_question(chosen: ChosenRuns, limit: int, *, reverse: bool) -> Question:
    """Return the query for the rows of the newest or oldest runs, in order."""
    ids, parameters = _newest_question(chosen, limit, reverse=reverse)
    sql = f"SELECT {_COLUMNS} FROM {_RUNS} WHERE id IN ({ids}) ORDER BY {_newest_first(reverse)}"
    return Question(sql, parameters)


def _records_question(run_ids: Sequence[int]) -> Question:
    """Return the query for the rows of a batch of runs."""
    return Question(f"SELECT {_COLUMNS} FROM {_RUNS} WHERE id IN ({placeholders(len(run_ids))})", tuple(run_ids))


def _record(row: dict[str, Any]) -> dict[str, Any]:
    """Return a run of the result, given a row of the answer to `_records_question`."""
    created, started, updated = (row.pop(f"time_{name}") for name in ("created", "started", "updated"))
    step = row.pop("step")
    times = {"created": created, "started": started, "updated": updated, "runtime": runtime(started, updated)}
    return {**row, **times, "step": step, "best": None, "best_step": None}


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and value == value


def _is_better(new: _Best, known: _Best | None, maximize: bool) -> bool:
    """Return whether a value is better than the known one; of equal values, the earlier is better."""
    if known is None:
        return True
    if not _is_number(known.value) or new.value == known.value:
        return _is_number(known.value) and new[1:] < known[1:]
    return bool(new.value > known.value) is maximize
