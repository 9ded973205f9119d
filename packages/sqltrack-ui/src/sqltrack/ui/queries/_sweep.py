"""A sweep: arguments of runs against a metric, what correlates, and the best configuration."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqltrack.engines.schema import CAPTURE
from sqltrack.ui.queries._arguments import Argument, Setting, differing_arguments, settings_of
from sqltrack.ui.queries._columns import Column, best_column, is_smaller_better, parse_column
from sqltrack.ui.queries._command_lines import command_line
from sqltrack.ui.queries._database import Database
from sqltrack.ui.queries._errors import QueryError
from sqltrack.ui.queries._filters import Filter, parse_filter
from sqltrack.ui.queries._groups import is_seed
from sqltrack.ui.queries._ranks import Correlation, as_finite, rank_correlation
from sqltrack.ui.queries._runs import Row, ranked, read_number, read_rows, sampled_metrics, shown_sql
from sqltrack.ui.queries._snippets import as_python
from sqltrack.ui.queries._values import as_json, as_key

__all__ = ["sweep"]

# Runs of a sweep, at most: the newest.
_RUNS = 2_000
# Arguments to choose from, axes that are chosen at first, and values of an argument that have places on an axis.
_ARGUMENTS, _AXES, _PLACES = 100, 7, 40
# A logarithmic axis is better if the largest value is this many times the smallest one.
_DECADES = 30.0
# Texts have no correlation: as axes they count as much as numbers with this one.
_TEXT_WEIGHT = 0.3
_COMMAND = Column(("extras", CAPTURE, "command"))


def sweep(source: Database, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return runs with the arguments in which they differ and one metric, to see which arguments are good.

    Args:
        source: the database.
        spec: dict with filter; metric, the column of a metric such as `["metric", "at", "val_loss", "min", "val_acc"]`
            (default: the best value of the metric that most runs have); and limit, default and at most 2,000. Of more
            runs, the newest are shown.

    Returns:
        A dict. Its metric is a dict with column, label and better, "max" or "min"; it is None if the runs have no
        metrics. The arguments are dicts with column, label, kind ("number", "bool" or "text"), distinct (number of
        values), values (None for numbers, and if there are too many for an axis), is_seed, is_log (whether a
        logarithmic axis suits), rho and n (Spearman's rank correlation with the metric, and its number of runs), and
        is_clear (whether chance alone seldom gives such a correlation). The axes are the columns of the arguments to
        show first. The runs are dicts with id, experiment, status, value and values, which are in the order of the
        arguments. The best configurations are dicts with of ("run" or "seeds"), run, value, args and command, see
        `command_line`; for seeds also with mean, stddev, n and runs. Further keys are total, shown, experiments
        (numbers of runs and experiments), version, sql and python.

    Raises:
        QueryError: the specification is not valid, or the database refused the condition.
        DatabaseError: the database is not available.
    """
    chosen = parse_filter(spec.get("filter"))
    limit, column = read_number(spec, "limit", _RUNS, _RUNS, least=1), _parse_metric(spec.get("metric"))
    key = ("sweep", chosen.key(), column, limit)
    answer, version = source.cached(key, lambda: _read_sweep(source, chosen, column, limit))
    return {**answer, "version": version}


def _read_sweep(source: Database, chosen: Filter, column: Column | None, limit: int) -> dict[str, Any]:
    ids, _ = ranked(source, chosen)
    shown = list(ids[:limit])
    metric = _first_metric(source, shown) if column is None else column
    rows = read_rows(source, shown, [] if metric is None else [metric], with_args=True)
    values = [row.values[0] if row.values else None for row in rows]
    settings = settings_of(rows)
    arguments = differing_arguments(settings)[:_ARGUMENTS]
    correlations = [rank_correlation(zip(argument.values, values)) for argument in arguments]
    columns = [*([] if metric is None else [metric]), *(argument.column for argument in arguments)]
    sql = shown_sql(source, chosen, (), columns, limit, 0)
    return {
        "metric": None if metric is None else _described_metric(metric),
        "arguments": [_described(*pair) for pair in zip(arguments, correlations)],
        "axes": [list(argument.column.path) for argument in _first_axes(arguments, correlations)],
        "runs": [_run(row, [argument.values[index] for argument in arguments]) for index, row in enumerate(rows)],
        "best": [] if metric is None else _best(source, rows, settings, metric),
        "total": len(ids),
        "shown": len(rows),
        "experiments": len({row.experiment_id for row in rows}),
        "sql": sql,
        "python": as_python(source, sql, _correlation_lines(metric, arguments)),
    }


def _parse_metric(column: Any) -> Column | None:
    if column is None:
        return None
    found = parse_column(column)
    if found.group != "metric":
        raise QueryError(f"metric must be the column of a metric, got {column!r}")
    return found


def _first_metric(source: Database, ids: Sequence[int]) -> Column | None:
    """Return the best value of a metric that most runs have; of these, a metric of validation comes first."""
    names = sampled_metrics(source, ids)
    return best_column(names[0]) if names else None


def _better(metric: Column) -> str:
    how = metric.path[1]
    if how in ("max", "min"):
        return how
    return "min" if is_smaller_better(metric.path[-1]) else "max"


def _described_metric(metric: Column) -> dict[str, Any]:
    return {"column": list(metric.path), "label": metric.label, "better": _better(metric)}


def _described(argument: Argument, correlation: Correlation) -> dict[str, Any]:
    has_places = argument.kind == "number" or len(argument.distinct) <= _PLACES
    return {
        "column": list(argument.column.path),
        "label": argument.column.label,
        "kind": argument.kind,
        "distinct": len(argument.distinct),
        "values": [as_json(value) for value in argument.distinct] if has_places and argument.kind != "number" else None,
        "is_seed": argument.is_seed,
        "is_log": argument.kind == "number" and _spans_decades(argument.distinct),
        "rho": correlation.rho,
        "n": correlation.n,
        "is_clear": correlation.is_clear,
    }


def _spans_decades(values: Sequence[Any]) -> bool:
    finite = [number for number in map(as_finite, values) if number is not None]
    return len(finite) > 2 and min(finite) > 0 and max(finite) / min(finite) >= _DECADES


def _first_axes(arguments: Sequence[Argument], correlations: Sequence[Correlation]) -> list[Argument]:
    """Return arguments for the first look: no seeds, no texts with many values, and what correlates."""

    def weight(index: int) -> float:
        rho = correlations[index].rho
        return _TEXT_WEIGHT if rho is None and len(arguments[index].distinct) > 1 else abs(rho or 0.0)

    usable = [
        index
        for index, argument in enumerate(arguments)
        if not argument.is_seed and (argument.kind == "number" or len(argument.distinct) <= _PLACES)
    ]
    chosen = sorted(usable, key=lambda index: -weight(index))[:_AXES]
    return [arguments[index] for index in sorted(chosen)]


def _run(row: Row, values: Sequence[Any]) -> dict[str, Any]:
    return {
        "id": row.id,
        "experiment": row.experiment,
        "status": row.status,
        "value": as_json(row.values[0]) if row.values else None,
        "values": [as_json(value) for value in values],
    }


def _correlation_lines(metric: Column | None, arguments: Sequence[Argument]) -> list[str]:
    """Return the lines of Python that compute the correlations of the arguments that are numbers."""
    # The frame begins with the id, the experiment and the status of each run, then the metric.
    places = [index for index, argument in enumerate(arguments, 4) if argument.kind == "number"]
    if metric is None or not places:
        return []
    return [
        "",
        f"numbers = frame.iloc[:, {[3, *places]}].astype(float)",
        'print(numbers.corr(method="spearman").iloc[1:, 0])',
    ]


# The best configuration


class _Configuration(NamedTuple):
    """Runs of an experiment with the same arguments, apart from the seeds.

    Attributes:
        rows: the runs.
        values: their values of the metric, all finite.
    """

    rows: list[Row]
    values: list[float]


def _best(source: Database, rows: Sequence[Row], settings: Sequence[Setting], metric: Column) -> list[dict[str, Any]]:
    """Return the best run, and the configuration with the best mean over seeds if any has several runs."""
    sign = 1.0 if _better(metric) == "max" else -1.0
    groups: dict[Any, _Configuration] = {}
    for row, setting in zip(rows, settings):
        value = as_finite(row.values[0])
        if value is not None:
            group = groups.setdefault(_configuration_key(row, setting), _Configuration([], []))
            group.rows.append(row)
            group.values.append(value)
    if not groups:
        return []

    def best_row(group: _Configuration) -> tuple[float, Row]:
        return max(zip(group.values, group.rows), key=lambda item: (sign * item[0], -item[1].id))

    value, row = max(map(best_row, groups.values()), key=lambda item: (sign * item[0], -item[1].id))
    found = [{"of": "run", **_configuration(source, row, value)}]
    repeated = [group for group in groups.values() if len(group.values) > 1]
    if repeated:
        group = max(repeated, key=lambda item: sign * statistics.fmean(item.values))
        value, row = best_row(group)
        found.append(
            {
                "of": "seeds",
                **_configuration(source, row, value),
                "mean": statistics.fmean(group.values),
                "stddev": statistics.stdev(group.values),
                "n": len(group.values),
                "runs": sorted(row.id for row in group.rows),
            }
        )
    return found


def _configuration_key(row: Row, setting: Setting) -> tuple[Any, ...]:
    parts = sorted((path, as_key(value)) for path, value in setting.items() if not is_seed(path))
    return row.experiment_id, tuple(parts)


def _configuration(source: Database, row: Row, value: float) -> dict[str, Any]:
    captured = read_rows(source, [row.id], [_COMMAND])
    command = captured[0].values[0] if captured else None
    return {"run": row.id, "value": value, "args": as_json(row.args or {}), "command": command_line(command, row.args)}
