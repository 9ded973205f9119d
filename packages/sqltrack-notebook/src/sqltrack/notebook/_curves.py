"""Read learning curves as data frames, and summarize them by groups of runs."""

from __future__ import annotations

import operator
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, Literal, SupportsIndex

import numpy as np
import pandas as pd

from sqltrack._student import student_quantile
from sqltrack.client import Client
from sqltrack.engines.schema import EXTRAS, KEY
from sqltrack.errors import NotFoundError, UnusableValueError
from sqltrack.notebook._runs import _with_extras
from sqltrack.pandas import query_dataframe
from sqltrack.queries import column_sql, merged_curves
from sqltrack.util import placeholders

__all__ = ["Band", "group_curves", "metric_curves"]

Band = Literal["std", "sem", "ci", "minmax"]

# If the curves share so few places that there are this many times more places than points, they are put into bins.
_SCATTERED = 1.5
_BINS = 1000


def metric_curves(
    client: Client,
    run_ids: Iterable[SupportsIndex],
    metrics: str | Sequence[str],
    *,
    x: str | tuple[Literal["metric"], str] = "step",
    smoothing: float = 0.0,
    join: bool = False,
) -> pd.DataFrame:
    """Return all points of learning curves as a data frame, in the order of `run_ids`.

    Values that are not finite, and texts, are left out.

    Args:
        client: client to use.
        run_ids: ids of the runs.
        metrics: name of a metric, or names.
        x: the x axis: "step" (default), "progress", "time" (seconds since the run's start, if its rows have times, see
            the parameter `time_column`), or the name of a metric. A metric called time is ("metric", "time").
        smoothing: weight of the past in an exponential moving average that is corrected for its start, from 0 (default,
            not smoothed) to less than 1.
        join: whether runs that are linked by "resumes" are one curve, default False. It has the id of the first of
            them in `run_ids`.

    Returns:
        A row for each point, with the columns run_id, metric, x, value and smooth, the smoothed value.

    Raises:
        NotFoundError: a run does not exist, there is no such metric, or rows have no time.
        UnusableValueError: (a ValueError) `run_ids` or `metrics` is empty, or `smoothing` is out of range.
    """
    ids = list(dict.fromkeys(map(operator.index, run_ids)))
    names = list(dict.fromkeys([metrics] if isinstance(metrics, str) else metrics))
    if not ids or not names:
        raise UnusableValueError(f"expected the ids of runs and the names of metrics, got {ids!r} and {names!r}")
    if not 0 <= smoothing < 1:
        raise UnusableValueError(f"smoothing must be at least 0 and less than 1, got {smoothing!r}")
    with client:
        starts = _read_starts(client, ids)
        columns = query_dataframe(client, "SELECT * FROM metrics WHERE 1 = 0")
        place = _x_name(client, columns, x)
        wanted = [*names, *([] if place in ("step", "progress") else [place])]
        rows = _read_rows(client, ids, wanted, list(map(str, columns)), join)
    for name in wanted:
        if name not in rows:
            raise NotFoundError(f"the runs have no metric {name!r}")
    positions = _positions(rows, place, starts, is_time=x == "time")
    parts = [_points(rows, positions, run_id, name, smoothing) for run_id in ids for name in names]
    frame: pd.DataFrame = pd.concat(parts, ignore_index=True)
    return frame


def group_curves(curves: pd.DataFrame, groups: Mapping[Any, Hashable], *, band: Band = "std") -> pd.DataFrame:
    """Return the mean of curves, with a band, for each group of runs.

    A curve counts at a place only if it has a point there. If the curves have few places in common, points are averaged
    in bins of equal width, as many as the longest curve has points, at most 1,000.

    Args:
        curves: a data frame as from `metric_curves`; the column smooth counts.
        groups: the group of each run, by its id; other runs are left out.
        band: "std" (default, standard deviation of the sample), "sem" (standard error of the mean), "ci" (95 %
            confidence interval by Student's t) or "minmax".

    Returns:
        A row for each group, metric and place, with the columns group, metric, x, mean, low, high and n, the number of
        curves. Without a second curve there, low and high are the mean.

    Raises:
        UnusableValueError: (a ValueError) `band` is not one of these.
    """
    if band not in _BANDS:
        raise UnusableValueError(f"band must be one of {', '.join(map(repr, _BANDS))}, got {band!r}")
    members: dict[Any, list[Any]] = {}
    for run_id, group in groups.items():
        members.setdefault(group, []).append(run_id)
    parts = [
        _summarize(part, band).assign(group=group, metric=metric)
        for group, run_ids in members.items()
        for metric, part in curves[curves["run_id"].isin(run_ids)].groupby("metric", sort=False)
    ]
    columns = ["group", "metric", "x", "mean", "low", "high", "n"]
    frame: pd.DataFrame = pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)
    return frame


def _read_starts(client: Client, ids: Sequence[int]) -> dict[int, Any]:
    sql = f"SELECT id, time_started FROM runs WHERE id IN ({placeholders(len(ids))})"
    runs = query_dataframe(client, sql, ids)
    starts = dict(zip(runs["id"].tolist(), runs["time_started"]))
    for run_id in ids:
        if run_id not in starts:
            raise NotFoundError(f"there is no run {run_id!r}")
    return starts


def _x_name(client: Client, columns: pd.DataFrame, x: str | tuple[str, str]) -> str:
    """Return the name of the column that is x."""
    if x != "time":
        return x if isinstance(x, str) else x[1]
    configured = client.config.get("time_column")
    names = [configured] if isinstance(configured, str) else []
    names += [str(name) for name, dtype in columns.dtypes.items() if pd.api.types.is_datetime64_any_dtype(dtype)]
    found = next((name for name in names if name in columns), None)
    if found is None:
        raise NotFoundError("rows have no time; set time_column before the next run to store one")
    return str(found)


def _read_rows(
    client: Client, ids: Sequence[int], names: Sequence[str], columns: Sequence[str], join: bool
) -> pd.DataFrame:
    """Return rows of metrics, with the run that each belongs to as run_id."""
    found = [name for name in dict.fromkeys((*names, EXTRAS)) if name in columns and name not in KEY]
    if join:
        rows = query_dataframe(client, *merged_curves(*found, run_ids=ids))
        rows = rows.rename(columns={"metrics.merged_id": "merged_id"} if "metrics.merged_id" in rows else {})
        rows["run_id"] = rows.pop("merged_id").map(_chain_names(client, ids))
    else:
        expressions = ", ".join(("run_id", "step", "progress", *map(column_sql, found)))
        sql = f"""
            SELECT {expressions} FROM metrics WHERE run_id IN ({placeholders(len(ids))})
            ORDER BY run_id, step, progress
        """
        rows = query_dataframe(client, sql, ids)
    return _with_extras(rows, rows.pop(EXTRAS)) if EXTRAS in rows else rows


def _chain_names(client: Client, ids: Sequence[int]) -> dict[int, int]:
    """Return the first of the runs in `ids` that each chain of resumed runs holds, by the first run of the chain."""
    earlier: dict[int, list[int]] = {}
    for run_id, resumed in client.execute("SELECT from_id, to_id FROM run_links WHERE kind = %s", ("resumes",)):
        earlier.setdefault(run_id, []).append(resumed)
    names: dict[int, int] = {}
    for run_id in ids:
        names.setdefault(_first_run(run_id, earlier), run_id)
    return names


def _first_run(run_id: int, earlier: Mapping[int, Sequence[int]]) -> int:
    """Return the run that a chain begins with; runs whose links form a circle are alone."""
    found, waiting = {run_id}, [run_id]
    while waiting:
        new = set(earlier.get(waiting.pop(), ())) - found
        found |= new
        waiting += new
    return min((other for other in found if other not in earlier), default=run_id)


def _positions(rows: pd.DataFrame, place: str, starts: Mapping[int, Any], *, is_time: bool) -> pd.Series[Any]:
    """Return x of each row, NaN without."""
    if place == "step":
        return rows["step"]
    values = rows[place]
    if not is_time:
        return _floats(values)
    of_runs = rows["run_id"].map(starts)
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        seconds: pd.Series[Any] = (values - of_runs).dt.total_seconds()
        return seconds
    epoch = pd.Timestamp(0, tz="UTC")
    since: pd.Series[Any] = _floats(values) - (of_runs - epoch).dt.total_seconds()
    return since


def _points(rows: pd.DataFrame, positions: pd.Series[Any], run_id: int, name: str, smoothing: float) -> pd.DataFrame:
    values = _floats(rows[name])
    chosen = (rows["run_id"] == run_id) & np.isfinite(values) & np.isfinite(positions)
    kept = values[chosen]
    # With adjust, pandas corrects the average for its start.
    smooth = kept.ewm(alpha=1.0 - smoothing, adjust=True).mean() if smoothing > 0 else kept
    columns = {"run_id": run_id, "metric": name, "x": positions[chosen], "value": kept, "smooth": smooth}
    frame: pd.DataFrame = pd.DataFrame(columns)
    return frame


def _floats(values: pd.Series[Any]) -> pd.Series[Any]:
    """Return numbers and truth values as floats, and NaN for other values."""
    if pd.api.types.is_bool_dtype(values.dtype) or pd.api.types.is_numeric_dtype(values.dtype):
        numbers = values.astype("Float64").to_numpy(dtype="float64", na_value=np.nan)
    else:
        is_number = [isinstance(value, (int, float)) for value in values]
        numbers = np.array([float(value) if known else np.nan for value, known in zip(values, is_number)], dtype=float)
    floats: pd.Series[Any] = pd.Series(numbers, index=values.index)
    return floats


def _summarize(part: pd.DataFrame, band: Band) -> pd.DataFrame:
    """Return mean, low, high and n at each place."""
    # Where a curve has several points at one place, the last counts.
    points = part.drop_duplicates(["run_id", "x"], keep="last")
    longest = int(part.groupby("run_id").size().max())
    if points["x"].nunique() > _SCATTERED * longest:
        points = _binned(part, min(longest, _BINS))
    at = points.groupby("x")["smooth"]
    mean, n = at.mean(), at.count()
    low, high = _BANDS[band](at, mean, n)
    frame: pd.DataFrame = pd.DataFrame({"mean": mean, "low": low, "high": high, "n": n}).reset_index()
    return frame


def _binned(part: pd.DataFrame, number: int) -> pd.DataFrame:
    """Return the mean of each curve in bins of equal width, at the middle of the bin."""
    low, high = part["x"].min(), part["x"].max()
    width = (high - low) / number
    place = np.minimum(((part["x"] - low) / width).astype("int64"), number - 1)
    middles = low + (place + 0.5) * width
    means: pd.DataFrame = part.assign(x=middles).groupby(["run_id", "x"], as_index=False)["smooth"].mean()
    return means


def _std(at: Any, mean: Any, n: Any) -> tuple[Any, Any]:
    deviation = at.std().fillna(0.0)
    return mean - deviation, mean + deviation


def _sem(at: Any, mean: Any, n: Any) -> tuple[Any, Any]:
    error = at.sem().fillna(0.0)
    return mean - error, mean + error


def _ci(at: Any, mean: Any, n: Any) -> tuple[Any, Any]:
    quantiles = n.map(lambda count: student_quantile(count - 1) if count > 1 else 0.0)
    half = at.sem().fillna(0.0) * quantiles
    return mean - half, mean + half


def _minmax(at: Any, mean: Any, n: Any) -> tuple[Any, Any]:
    return at.min(), at.max()


_BANDS: dict[str, Callable[[Any, Any, Any], tuple[Any, Any]]] = {
    "std": _std,
    "sem": _sem,
    "ci": _ci,
    "minmax": _minmax,
}
