"""Mean and band of groups of curves."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from sqltrack.ui.queries._errors import QueryError
from sqltrack.ui.queries._thinning import bounds, thinned
from sqltrack.ui.queries._values import as_json, as_key

__all__ = ["Line", "summarize_groups"]

# If the curves share so few places that there are this many times more places than points, they are put into bins.
_SCATTERED = 1.5
_KEPT = 4


class Line(NamedTuple):
    """The points of a curve, in arrays, because there may be many."""

    x: array[Any]
    y: array[float]


def summarize_groups(members: Iterable[tuple[Any, str, Line | None]], pixels: int, band: str) -> list[dict[str, Any]]:
    """Return mean, band and number of curves at each place, for each group and metric.

    Curves count at a place only if they have a point there. If they have few places in common, points are averaged in
    bins as wide as a point of the longest curve, or as a pixel.

    Args:
        members: value of the group, metric and points of each curve.
        pixels: width of the chart.
        band: "std" (standard deviation of the sample), "sem" (standard error of the mean) or "minmax".

    Raises:
        QueryError: `band` is not one of these.
    """
    if band not in _BANDS:
        raise QueryError(f"band must be 'std', 'sem' or 'minmax', got {band!r}")
    groups: dict[Any, tuple[Any, str, list[Line]]] = {}
    for value, metric, line in members:
        if line is not None and line.x:
            groups.setdefault((as_key(value), metric), (value, metric, []))[2].append(line)
    return [_summarize(value, metric, lines, pixels, band) for value, metric, lines in groups.values()]


def _summarize(value: Any, metric: str, lines: Sequence[Line], pixels: int, band: str) -> dict[str, Any]:
    xs, columns = _columns(lines, pixels)
    means = [sum(column) / len(column) for column in columns]
    kept: Sequence[int] = range(len(xs))
    if len(xs) > _KEPT * pixels:
        kept = thinned(means, bounds(xs, range(len(xs)), pixels, log=False))
    edges = [_BANDS[band](columns[index], means[index]) for index in kept]
    return {
        "value": as_json(value),
        "metric": metric,
        "n_runs": len(lines),
        "x": [xs[index] for index in kept],
        "mean": [means[index] for index in kept],
        "low": [low for low, _ in edges],
        "high": [high for _, high in edges],
        "n": [len(columns[index]) for index in kept],
    }


def _columns(lines: Sequence[Line], pixels: int) -> tuple[Sequence[float], Sequence[Sequence[float]]]:
    """Return places in order, and at each of them the values of the curves that have a point there."""
    if all(line.x == lines[0].x for line in lines) and len(set(lines[0].x)) == len(lines[0].x):
        # Most runs are logged at the same steps.
        return lines[0].x, list(zip(*(line.y for line in lines)))
    places: dict[float, list[float]] = {}
    for line in lines:
        for x, y in dict(zip(line.x, line.y)).items():
            places.setdefault(x, []).append(y)
    longest = max(len(line.x) for line in lines)
    if len(places) > _SCATTERED * longest:
        places = _binned(lines, min(places), max(places), min(longest, pixels))
    xs = sorted(places)
    return xs, [places[x] for x in xs]


def _binned(lines: Sequence[Line], low: float, high: float, number: int) -> dict[float, list[float]]:
    """Return the means of the curves in bins of equal width, by the middle of the bin."""
    width = (high - low) / number
    binned: dict[float, list[float]] = {}
    for line in lines:
        bins: dict[int, list[float]] = {}
        for x, y in zip(line.x, line.y):
            bins.setdefault(min(int((x - low) / width), number - 1), []).append(y)
        for place, ys in bins.items():
            binned.setdefault(low + (place + 0.5) * width, []).append(sum(ys) / len(ys))
    return binned


def _deviation(values: Sequence[float], mean: float) -> float:
    if len(values) < 2:
        return 0.0
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


def _std(values: Sequence[float], mean: float) -> tuple[float, float]:
    deviation = _deviation(values, mean)
    return mean - deviation, mean + deviation


def _sem(values: Sequence[float], mean: float) -> tuple[float, float]:
    error = _deviation(values, mean) / math.sqrt(len(values))
    return mean - error, mean + error


def _minmax(values: Sequence[float], mean: float) -> tuple[float, float]:
    return min(values), max(values)


_BANDS: dict[str, Callable[[Sequence[float], float], tuple[float, float]]] = {
    "std": _std,
    "sem": _sem,
    "minmax": _minmax,
}
