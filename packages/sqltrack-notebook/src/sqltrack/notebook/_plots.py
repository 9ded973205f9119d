"""Plot learning curves with matplotlib."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, SupportsIndex

import pandas as pd

from sqltrack.client import Client
from sqltrack.errors import MissingPackageError, NotFoundError, UnusableValueError
from sqltrack.notebook._curves import Band, group_curves, metric_curves
from sqltrack.notebook._runs import leaves
from sqltrack.pandas import query_dataframe
from sqltrack.util import placeholders

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_metrics"]

# Okabe and Ito's colors, darker until their contrast to white is at least 3: the same as in the page.
_COLORS = ("#0072b2", "#d55e00", "#00876a", "#b3508c", "#a87200", "#3a8fcb", "#4d4d4d", "#7a4fc4")
_DASHES: tuple[Any, ...] = ("-", (0, (7, 3)), (0, (2, 2)), (0, (9, 3, 2, 3)))
_BAND_OPACITY = 0.16
_RAW_OPACITY = 0.22
_X_LABELS = {"time": "time since start (s)"}
_CENTIMETERS_PER_INCH = 2.54
_ASPECT = 0.68
_LARGEST_LEGEND = 12


def plot_metrics(
    client: Client,
    run_ids: Iterable[SupportsIndex],
    metrics: str | Sequence[str],
    *,
    group_by: str | Sequence[str] | Mapping[Any, Any] | None = None,
    over: str | Sequence[str] | None = None,
    band: Band = "std",
    x: str | tuple[Literal["metric"], str] = "step",
    smoothing: float = 0.0,
    join: bool = False,
    log_x: bool = False,
    log_y: bool = False,
    width: float = 15.0,
    height: float | None = None,
) -> Figure:
    """Plot the learning curves of runs, or the means of groups of runs with their bands.

    Requires matplotlib, which the extra `plot` of sqltrack-notebook installs. In a notebook, the figure is shown if it
    is the last value of a cell. Change it with matplotlib, and save it with `figure.savefig("loss.pdf")`.

    Args:
        client: client to use.
        run_ids: ids of the runs.
        metrics: name of a metric, or names; each is drawn in axes of its own, one below the other.
        group_by: draw the mean of each group: name of the argument, or names of the arguments, whose values make a
            group ("optimizer.lr" is the argument `lr` in `optimizer`), or the name of each run's group by its id.
        over: draw the mean of runs whose arguments differ only in these, such as "seed"; not together with `group_by`.
        band: "std" (default, standard deviation), "sem" (standard error), "ci" (95 % confidence interval) or "minmax".
        x: the x axis, see `metric_curves`.
        smoothing: weight of the past in a moving average, see `metric_curves`; the raw curve is drawn faintly.
        join: whether runs that are linked by "resumes" are one curve, default False.
        log_x: whether the x axis is logarithmic, default False.
        log_y: whether the y axis is logarithmic, default False.
        width: width of the figure in centimeters, default 15.
        height: height of the figure in centimeters, default: 68 % of the width for each metric.

    Returns:
        The figure, with axes for each metric in their order.

    Raises:
        MissingPackageError: (an ImportError) matplotlib is not installed.
        NotFoundError: a run or a metric does not exist, or rows have no time.
        UnusableValueError: (a ValueError) `run_ids` or `metrics` is empty, or an option has another value.
    """
    ids = list(dict.fromkeys(map(operator.index, run_ids)))
    names = [metrics] if isinstance(metrics, str) else list(dict.fromkeys(metrics))
    curves = metric_curves(client, ids, names, x=x, smoothing=smoothing, join=join)
    groups = _name_groups(client, ids, group_by, over)
    size = (width / _CENTIMETERS_PER_INCH, (height or _ASPECT * width * len(names)) / _CENTIMETERS_PER_INCH)
    figure, all_axes = _new_figure(len(names), size)
    summaries = None if groups is None else group_curves(curves, groups, band=band)
    for name, axes in zip(names, all_axes):
        if summaries is None:
            _draw_runs(axes, curves[curves["metric"] == name], ids, is_smoothed=smoothing > 0)
        else:
            _draw_groups(axes, summaries[summaries["metric"] == name])
        axes.set(xlabel=_x_label(x), ylabel=name)
        axes.set_xscale("log" if log_x else "linear")
        axes.set_yscale("log" if log_y else "linear")
        axes.grid(alpha=0.3)
        if 0 < len(axes.get_legend_handles_labels()[1]) <= _LARGEST_LEGEND:
            axes.legend()
    return figure


def _new_figure(rows: int, size: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    try:
        import matplotlib as mpl
        from matplotlib import pyplot as plt
    except ImportError as error:
        raise MissingPackageError("plot_metrics", "matplotlib", "'sqltrack-notebook[plot]'") from error
    figure, all_axes = plt.subplots(rows, 1, figsize=size, squeeze=False, layout="constrained")
    if "inline" in mpl.get_backend():
        # Jupyter would show it a second time at the end of the cell.
        plt.close(figure)
    return figure, list(all_axes[:, 0])


def _x_label(x: str | tuple[str, str]) -> str:
    return _X_LABELS.get(x, x) if isinstance(x, str) else x[1]


def _draw_runs(axes: Axes, curves: pd.DataFrame, ids: Sequence[int], *, is_smoothed: bool) -> None:
    for (run_id, curve), style in zip(_in_order(curves, "run_id", ids), _styles()):
        if is_smoothed:
            axes.plot(curve["x"], curve["value"], color=style["color"], alpha=_RAW_OPACITY, linewidth=0.8)
        axes.plot(curve["x"], curve["smooth"], label=f"run {run_id}", **style)


def _draw_groups(axes: Axes, groups: pd.DataFrame) -> None:
    for (name, group), style in zip(_in_order(groups, "group", dict.fromkeys(groups["group"])), _styles()):
        axes.fill_between(
            group["x"], group["low"], group["high"], color=style["color"], alpha=_BAND_OPACITY, linewidth=0
        )
        axes.plot(group["x"], group["mean"], label=f"{name} (n = {group['n'].max()})", **style)


def _in_order(frame: pd.DataFrame, column: str, values: Iterable[Any]) -> Iterator[tuple[Any, pd.DataFrame]]:
    for value in values:
        part: pd.DataFrame = frame[frame[column] == value]
        if len(part):
            yield value, part


def _styles() -> Iterator[dict[str, Any]]:
    while True:
        for dash in _DASHES:
            for color in _COLORS:
                yield {"color": color, "linestyle": dash}


def _name_groups(
    client: Client,
    ids: Sequence[int],
    group_by: str | Sequence[str] | Mapping[Any, Any] | None,
    over: str | Sequence[str] | None,
) -> dict[int, Any] | None:
    """Return the name of each run's group, None if runs are drawn alone."""
    if group_by is not None and over is not None:
        raise UnusableValueError("expected group_by or over, got both")
    if isinstance(group_by, Mapping):
        return dict(group_by)
    if group_by is None and over is None:
        return None
    arguments = _read_arguments(client, ids)
    known = list(dict.fromkeys(name for settings in arguments.values() for name in settings))
    chosen = _as_names(group_by if over is None else over)
    for name in chosen:
        if name not in known:
            raise NotFoundError(f"none of the runs has the argument {name!r}")
    if over is not None:
        others = [name for name in known if name not in chosen]
        chosen = [name for name in others if len({str(items.get(name)) for items in arguments.values()}) > 1]
    return {run_id: _label(arguments[run_id], chosen) for run_id in ids}


def _as_names(names: str | Sequence[str] | None) -> list[str]:
    return [names] if isinstance(names, str) else list(names or ())


def _label(settings: Mapping[str, Any], names: Sequence[str]) -> str:
    return ", ".join(f"{name}={settings[name]}" for name in names if name in settings) or "all runs"


def _read_arguments(client: Client, ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Return the arguments of runs, nested ones by their paths with dots."""
    rows = query_dataframe(client, f"SELECT id, args FROM runs WHERE id IN ({placeholders(len(ids))})", ids)
    found = {run_id: dict(leaves(args)) for run_id, args in zip(rows["id"].tolist(), rows["args"])}
    return {run_id: found[run_id] for run_id in ids}
