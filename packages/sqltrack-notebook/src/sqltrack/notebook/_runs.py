"""Compare runs of a database side by side."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, SupportsIndex

import pandas as pd

from sqltrack.capture._summary import compare_captures, split_extras, with_packages
from sqltrack.client import Client
from sqltrack.errors import NotFoundError, UnusableValueError
from sqltrack.notebook._comparison import format_comparison
from sqltrack.pandas import query_dataframe
from sqltrack.util import placeholders

__all__ = ["compare_runs", "leaves"]

# As stored in JSON.
_NUMBERS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


def compare_runs(
    client: Client,
    *run_ids: SupportsIndex,
    formatting: Mapping[Any, Callable[[Any], object] | None] | None = None,
    env: bool = True,
    **kwargs: Any,
) -> pd.DataFrame:
    """Return a data frame with runs side by side, a column for each; rows with differences come first.

    The rows are:

    - experiment, status, started, updated, runtime, comment and tags;
    - arguments, such as `args.lr`, or `args.optimizer.lr` if they are nested;
    - the last, smallest and greatest value of each metric, such as `loss (min)`;
    - extras, captured context, such as `capture.git.commit`, and environment variables, such as `env.USER`. Of captured
      packages, only those whose versions differ have a row.

    See `format_comparison` for the format.

    Args:
        client: client to use.
        run_ids: ids of the runs.
        formatting: functions by the names of these rows, see `format_dataframe`.
        env: whether to show environment variables, default True.
        kwargs: further arguments of `format_dataframe`.

    Raises:
        NotFoundError: a run does not exist.
        UnusableValueError: (a ValueError) `run_ids` is empty.
    """
    ids = list(dict.fromkeys(map(operator.index, run_ids)))
    if not ids:
        raise UnusableValueError("expected the ids of runs to compare, got none")
    with client:
        runs = _read_runs(client, ids)
        metrics = _read_metrics(client, ids)
    captures = _split_captures(client, runs)
    sections = ("args", "extras", "capture", "env") if env else ("args", "extras", "capture")
    items = {name: _unfolded(runs.pop(name), name) for name in ("args", "extras", "env")}
    items["capture"] = _unfolded(captures, "capture")
    parts = [runs, items["args"], metrics, *(items[name] for name in sections[1:])]
    return format_comparison(pd.concat(parts, axis=1), formatting, **kwargs)


def _read_runs(client: Client, ids: Sequence[int]) -> pd.DataFrame:
    """Return the runs in the order of `ids`, with the ids as index."""
    sql = f"""
        SELECT
            runs.id, experiments.name AS experiment, status, time_started AS started, time_updated AS updated,
            runs.comment, runs.tags, runs.args, runs.extras, runs.env
        FROM runs JOIN experiments ON experiments.id = runs.experiment_id
        WHERE runs.id IN ({placeholders(len(ids))})
    """
    runs = query_dataframe(client, sql, ids).set_index("id")
    for run_id in ids:
        if run_id not in runs.index:
            raise NotFoundError(f"there is no run {run_id!r}")
    runs.insert(4, "runtime", runs["updated"] - runs["started"])
    chosen: pd.DataFrame = runs.loc[ids]
    return chosen


def _split_captures(client: Client, runs: pd.DataFrame) -> pd.Series[Any]:
    """Return the captured contexts of runs, and remove them from their extras."""
    parts = [split_extras(extras) for extras in runs["extras"]]
    runs["extras"] = pd.Series([rest for rest, _ in parts], runs.index, dtype=object)
    captures = with_packages(client, [capture for _, capture in parts], lambda: client)
    return pd.Series(compare_captures(captures), runs.index, dtype=object)


def _read_metrics(client: Client, ids: Sequence[int]) -> pd.DataFrame:
    """Return the last, smallest and greatest values of metrics, with a row for each run."""
    sql = f"SELECT * FROM metrics WHERE run_id IN ({placeholders(len(ids))}) ORDER BY run_id, step, progress"
    rows = query_dataframe(client, sql, ids)
    if "extras" in rows:
        rows = _with_extras(rows, rows.pop("extras"))
    by_run = rows.drop(columns=["step", "progress"]).groupby("run_id")
    columns: dict[str, pd.Series[Any]] = {}
    for name in rows.columns.drop(["run_id", "step", "progress"]):
        logged = rows[name].notna()
        if not logged.any():
            continue
        columns[f"{name} (last)"] = by_run[name].last()
        numbers = pd.to_numeric(rows[name], errors="coerce")
        if numbers.notna().any() and not pd.api.types.is_bool_dtype(rows[name]):
            values = numbers.groupby(rows["run_id"])
            columns[f"{name} (min)"], columns[f"{name} (max)"] = values.min(), values.max()
    summaries: pd.DataFrame = pd.DataFrame(columns, index=pd.Index(ids, name="id"))
    return summaries


def _with_extras(rows: pd.DataFrame, extras: pd.Series[Any]) -> pd.DataFrame:
    """Return the rows with columns for the metrics in their extras."""
    found = {index: items for index, items in extras.items() if isinstance(items, dict)}
    for name in dict.fromkeys(name for items in found.values() for name in items):
        values = pd.Series({index: _number(items[name]) for index, items in found.items() if name in items})
        label = f"metrics.{name}" if name in ("run_id", "step", "progress") else name
        column = rows[label].combine_first(values) if label in rows else values
        rows = rows.assign(**{label: column.infer_objects().reindex(rows.index)})
    return rows


def _number(value: Any) -> Any:
    return _NUMBERS.get(value, value) if isinstance(value, str) else value


def _unfolded(column: pd.Series[Any], section: str) -> pd.DataFrame:
    """Convert a column of JSON objects to a column for each of their items."""
    items = [{name: item for name, item in leaves(value, section) if item is not None} for value in column]
    names = dict.fromkeys(name for item in items for name in item)
    columns = {name: pd.Series([item.get(name) for item in items], column.index) for name in names}
    frame: pd.DataFrame = pd.DataFrame(columns, index=column.index)
    return frame


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the items of a JSON object that are no objects themselves, each with its path, which contains dots."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from leaves(item, f"{path}.{name}" if path else str(name))
    elif path:
        yield path, value
