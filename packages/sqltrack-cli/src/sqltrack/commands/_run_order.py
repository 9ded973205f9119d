"""Sort runs by any column of their table, with missing values last."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqltrack.commands._run_args import ChosenRuns
from sqltrack.commands._times import runtime
from sqltrack.engines.admin import Question
from sqltrack.engines.json import plain

__all__ = ["COLUMNS", "argument_heads", "column_question", "column_value", "metric_head", "order_runs"]

# Names of columns, in the table or only for sorting, and the SQL of those that a row of runs holds.
_SQL = {
    "id": "id",
    "experiment": "experiment",
    "status": "status",
    "created": "time_created",
    "started": "time_started",
    "updated": "time_updated",
    "tags": "tags",
    "comment": "comment",
}
COLUMNS = (*_SQL, "runtime", "duration", "step", "at step")


def metric_head(metric: str) -> str:
    """Return the heading for the column of a metric, distinct from the other columns."""
    return f"metrics.{metric}" if metric in COLUMNS else metric


def argument_heads(names: Sequence[str], metric: str | None = None) -> dict[str, str]:
    """Return the headings for the columns of arguments, distinct from the other columns and that of a metric."""
    taken = {*COLUMNS, *([] if metric is None else [metric_head(metric)])}
    heads: dict[str, str] = {}
    for name in names:
        head = name
        while head in taken or (head != name and head in names):
            head = f"args.{head}"
        heads[name] = head
    return heads


def column_question(chosen: ChosenRuns, runs_sql: str, name: str) -> Question:
    """Return the query for the values of a column by run id; `column_value` takes a row of its answer.

    Args:
        chosen: the runs.
        runs_sql: an item of a FROM clause with runs and the names of their experiments.
        name: a name from `COLUMNS`, except "at step".
    """
    if name == "step":
        sql = f"SELECT run_id AS id, MAX(step) AS value FROM metrics WHERE {chosen.among('run_id')} GROUP BY run_id"
    elif name in ("runtime", "duration"):
        sql = f"SELECT id, time_started, time_updated FROM {runs_sql} WHERE {chosen.among('id')}"
    else:
        sql = f"SELECT id, {_SQL[name]} AS value FROM {runs_sql} WHERE {chosen.among('id')}"
    return Question(sql, chosen.among_parameters)


def column_value(row: Mapping[str, Any]) -> Any:
    """Return the value to sort a run by."""
    return row["value"] if "value" in row else runtime(row["time_started"], row["time_updated"])


def order_runs(run_ids: Sequence[int], values: Mapping[int, Any], *, reverse: bool) -> list[int]:
    """Return the ids of runs sorted by values: numbers, texts, other values, and last NaN and missing values.

    Args:
        run_ids: the runs; runs with equal values keep this order.
        values: the values by run id.
        reverse: whether the greatest value comes first; missing values stay last.
    """
    present = [run_id for run_id in run_ids if not _is_missing(values.get(run_id))]
    known = set(present)
    ordered = sorted(present, key=lambda run_id: _sort_key(values[run_id]), reverse=reverse)
    return ordered + [run_id for run_id in run_ids if run_id not in known]


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _sort_key(value: Any) -> tuple[int, Any, str]:
    if isinstance(value, (int, float, Decimal, datetime, timedelta)):
        return 0, value, ""
    if isinstance(value, str):
        return 1, value.casefold(), value
    return 2, json.dumps(plain(value), sort_keys=True), ""
