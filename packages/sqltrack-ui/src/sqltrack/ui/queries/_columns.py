"""Columns of the table of runs: their ids, labels and SQL."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from sqltrack.commands._points import Places
from sqltrack.engines._first_rows import is_number_sql
from sqltrack.engines.admin import Admin
from sqltrack.engines.schema import EXTRAS
from sqltrack.engines.sqltext import Dialect
from sqltrack.queries import column_sql
from sqltrack.statuses import UNFINISHED_STATES
from sqltrack.ui.queries._errors import QueryError
from sqltrack.util import quote_identifier

__all__ = [
    "JSON_COLUMNS",
    "Column",
    "Expression",
    "Expressions",
    "best_column",
    "heads",
    "is_larger_better",
    "is_smaller_better",
    "is_validation",
    "parse_column",
]

#: The columns of runs that hold values by name.
JSON_COLUMNS = ("args", "extras", "env")
_RUN_FIELDS = {
    "id": "number",
    "status": "text",
    "comment": "text",
    "tags": "json",
    "time_created": "time",
    "time_started": "time",
    "time_updated": "time",
    "time_ended": "time",
    "duration": "number",
    "steps": "number",
}
_EXPERIMENT_FIELDS = {"name": "text", "id": "number"}
_KINDS_OF_BEST = ("max", "min", "last", "mean")

# Parts of names of metrics that are better if they are smaller.
_SMALLER = re.compile(
    r"(?:^|[^a-z])(?:loss|losses|err|error|errors|cost|rmse|mse|mae|mape|perplexity|ppl|nll|bpc|wer|cer|fid|kl|"
    r"divergence|distance|regret|latency|time|seconds|bits|brier|ece)(?:$|[^a-z])|loss$|error$"
)

# Parts of names of metrics that are better if they are larger.
_LARGER = re.compile(
    r"acc|top-?_?\d|auc|f1|iou|dice|bleu|rouge|score|reward|return|precision|recall|map|psnr|ssim|r2", re.IGNORECASE
)
_VALIDATION = re.compile(r"(?:^|[^a-z])(?:val|valid|validation|test|eval|dev)(?:$|[^a-z])")


class Column(NamedTuple):
    """A column of the table of runs.

    Attributes:
        path: its JSON array, such as `("args", "lr")`, see the module `sqltrack.ui.queries`.
    """

    path: tuple[str, ...]

    @property
    def group(self) -> str:
        """First item: "run", "experiment", "args", "env", "extras", "tag" or "metric"."""
        return self.path[0]

    @property
    def id(self) -> str:
        """The JSON text of the array."""
        return json.dumps(self.path, ensure_ascii=False, separators=(",", ":"))

    @property
    def label(self) -> str:
        """Text for a heading."""
        if self.group == "run":
            return self.path[1].removeprefix("time_")
        if self.group == "experiment":
            return "experiment" if self.path[1] == "name" else "experiment id"
        if self.group == "tag":
            return f"#{self.path[1]}"
        if self.group == "metric":
            return (
                f"{self.path[4]} at {self.path[3]} {self.path[2]}"
                if self.path[1] == "at"
                else f"{self.path[1]} {self.path[2]}"
            )
        return ".".join(self.path[1:] if self.group == "args" else self.path)

    @property
    def kind(self) -> str | None:
        """The kind of its values, "number", "text", "bool", "time" or "json"; None if it depends on the runs."""
        if self.group == "run":
            return _RUN_FIELDS[self.path[1]]
        if self.group == "experiment":
            return _EXPERIMENT_FIELDS[self.path[1]]
        return "bool" if self.group == "tag" else None


def parse_column(value: Any) -> Column:
    """Return the column for a JSON array.

    Raises:
        QueryError: it does not name a column.
    """
    if not isinstance(value, (list, tuple)) or not value or not all(isinstance(item, str) for item in value):
        raise QueryError(f"a column must be a list of texts, got {value!r}")
    column = Column(tuple(value))
    if not _is_known(column.path):
        raise QueryError(f"there is no column {list(value)!r}", "unknown")
    if any("\0" in item for item in value):
        raise QueryError("a column must not contain NUL")
    return column


def _is_known(path: tuple[str, ...]) -> bool:
    group, *rest = path
    if group == "run":
        return len(rest) == 1 and rest[0] in _RUN_FIELDS
    if group == "experiment":
        return len(rest) == 1 and rest[0] in _EXPERIMENT_FIELDS
    if group == "tag":
        return len(rest) == 1
    if group == "metric":
        if rest[:1] == ["at"]:
            return len(rest) == 4 and rest[2] in ("max", "min")
        return len(rest) == 2 and rest[0] in _KINDS_OF_BEST
    return group in JSON_COLUMNS and len(rest) >= 1


def is_smaller_better(metric: str) -> bool:
    """Guess from the name of a metric whether a smaller value is better."""
    return _SMALLER.search(metric.lower()) is not None


def is_larger_better(metric: str) -> bool:
    """Guess from the name of a metric whether a larger value is better; of many names, nothing is known."""
    return not is_smaller_better(metric) and _LARGER.search(metric) is not None


def is_validation(metric: str) -> bool:
    """Guess from the name of a metric whether it was measured on data that were not trained on."""
    return _VALIDATION.search(metric.lower()) is not None


def best_column(metric: str) -> Column:
    """Return the column of the best value of a metric."""
    return Column(("metric", "min" if is_smaller_better(metric) else "max", metric))


class Expression(NamedTuple):
    """SQL for the value of a column in a row of `runs`, for statements with parameters.

    Attributes:
        number: the value if it is a number, time or boolean, possibly `'NaN'`; None for columns without numbers.
        text: the value if it is a text, None for columns without texts.
        shown: the value to show.
        is_time: whether `number` is a time.
    """

    number: str | None
    text: str | None
    shown: str
    is_time: bool = False


class Expressions:
    """Writes expressions for columns.

    Args:
        admin: operations of the engine.
        places: the columns that hold metrics.
    """

    def __init__(self, admin: Admin, places: Places) -> None:
        self._admin = admin
        self._places = places

    @property
    def dialect(self) -> Dialect:
        """The syntax of quotes and comments in the database's SQL."""
        return self._admin.engine.dialect

    def write(self, column: Column) -> Expression:
        """Return the expression for a column."""
        if column.group == "run":
            return self._run(column.path[1])
        if column.group == "experiment":
            name = "runs.experiment" if column.path[1] == "name" else "runs.experiment_id"
            return Expression(None, name, name) if column.path[1] == "name" else Expression(name, None, name)
        if column.group == "tag":
            sql = f"CASE WHEN {self.has_tag(column.path[1])} THEN 1 ELSE 0 END"
            return Expression(sql, None, sql)
        if column.group == "metric":
            return self._metric(column)
        value = self._admin.json_path_sql(f"runs.{column.group}", column.path[1:])
        return Expression(_escape(value.number), _escape(value.text), _escape(value.value))

    def has_tag(self, tag: str) -> str:
        """Return the condition that a run has a tag."""
        return f"{_escape(self._admin.json_path_sql('runs.tags', [tag]).value)} IS NOT NULL"

    def kind(self, column: Column) -> str:
        """Return the expression for the kind of a value of args, env or extras."""
        return _escape(self._admin.json_path_sql(f"runs.{column.group}", column.path[1:]).kind)

    def _run(self, field: str) -> Expression:
        if field in ("status", "comment"):
            return Expression(None, f"runs.{field}", f"runs.{field}")
        if field == "tags":
            return Expression(None, "CAST(runs.tags AS TEXT)", "runs.tags")
        if field == "time_ended":
            sql = f"CASE WHEN UPPER(runs.status) NOT IN ({_UNFINISHED}) THEN runs.time_updated END"
            return Expression(sql, None, sql, is_time=True)
        if field == "duration":
            sql = _escape(self._admin.seconds_between_sql("runs.time_started", "runs.time_updated"))
            return Expression(sql, None, sql)
        if field == "steps":
            sql = "(SELECT MAX(metrics.step) FROM metrics WHERE metrics.run_id = runs.id)"
            return Expression(sql, None, sql)
        return Expression(f"runs.{field}", None, f"runs.{field}", is_time=field.startswith("time_"))

    def _metric(self, column: Column) -> Expression:
        _, how, *names = column.path
        name = names[-1]
        value, kind = self.metric_value(name), self.metric_kind(name)
        if value is None or (kind != "number" and how == "mean"):
            return Expression(None, None, "NULL")
        if how == "at":
            by = self.metric_value(names[0]) if self.metric_kind(names[0]) == "number" else None
            direction = "DESC" if names[1] == "max" else "ASC"
            condition, order = ("1 = 0", "") if by is None else (is_number_sql(by), f"{by} {direction}, ")
            sql = _first_sql(value, condition, f"{order}metrics.step, metrics.progress")
        elif how == "last" or kind not in ("number", "time"):
            sql = _first_sql(value, f"{value} IS NOT NULL", "metrics.step DESC, metrics.progress DESC")
        else:
            function = _AGGREGATES[how]
            condition = is_number_sql(value) if kind == "number" else f"{value} IS NOT NULL"
            sql = f"(SELECT {function}({value}) FROM metrics WHERE metrics.run_id = runs.id AND {condition})"
        if kind in ("number", "bool", "time"):
            return Expression(sql, None, sql, is_time=kind == "time")
        return Expression(None, sql, sql)

    def aggregate(self, column: Column) -> str | None:
        """Return the aggregate over the rows of a run that gives the value of a column, None if none does."""
        _, how, *names = column.path
        value = self.metric_value(names[-1])
        if how not in _AGGREGATES or value is None or self.metric_kind(names[-1]) != "number":
            return None
        return f"{_AGGREGATES[how]}(CASE WHEN {is_number_sql(value)} THEN {value} END)"

    def metric_kind(self, name: str) -> Literal["number", "bool", "time", "text", "json"]:
        """Return the kind of a metric's values; values in `extras` count if they are numbers."""
        return _metric_kind(self._places.columns.get(name, ""))

    def metric_value(self, name: str) -> str | None:
        """Return the expression for a metric's value in a row of `metrics`, None if no run has the metric."""
        column = column_sql(name) if name in self._places.columns else None
        kind = self.metric_kind(name)
        if kind == "bool" and column is not None:
            return f"CAST({column} AS INTEGER)"
        if kind == "json" and column is not None:
            return f"CAST({column} AS TEXT)"
        if kind != "number" or "metrics" not in self._places.extras:
            return column
        number = _escape(self._admin.json_path_sql(f"metrics.{EXTRAS}", [name]).number)
        return number if column is None else f"COALESCE({column}, {number})"


_AGGREGATES = {"max": "MAX", "min": "MIN", "mean": "AVG"}
_UNFINISHED = ", ".join(f"'{status}'" for status in UNFINISHED_STATES)


def _metric_kind(sql_type: str) -> Literal["number", "bool", "time", "text", "json"]:
    sql_type = sql_type.upper()
    if sql_type.startswith("BOOL"):
        return "bool"
    if sql_type.startswith(("TIMESTAMP", "DATE")):
        return "time"
    if sql_type.startswith(("TEXT", "BYTEA", "BLOB", "INTERVAL", "CHAR", "VARCHAR")):
        return "text"
    return "json" if sql_type.startswith("JSON") else "number"


def _first_sql(value: str, condition: str, order: str) -> str:
    return f"(SELECT {value} FROM metrics WHERE metrics.run_id = runs.id AND {condition} ORDER BY {order} LIMIT 1)"


def _escape(sql: str) -> str:
    """Return SQL for a statement with parameters."""
    return sql.replace("%", "%%")


def heads(columns: Sequence[Column]) -> list[str]:
    """Return quoted and distinct names for columns in a statement."""
    taken: set[str] = set()
    names = []
    for column in columns:
        name = label = column.label
        number = 1
        while name.lower() in taken:
            number += 1
            name = f"{label} ({number})"
        taken.add(name.lower())
        names.append(_escape(quote_identifier(name)))
    return names
