"""Mean and band of groups of curves."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sqltrack.ui.queries._errors import QueryError
from sqltrack.ui.queries._statistics import BANDS, spread_of
from sqltrack.ui.queries._thinning import bounds, is_ascending, thinned, window
from sqltrack.ui.queries._values import as_json, as_key, sort_key

__all__ = ["Frame", "Line", "Member", "summarize_groups"]

# If the curves share so few places that there are this many times more places than points, they are put into bins.
_SCATTERED = 1.5
_BINS = 1_000
_KEPT = 4


class Line(NamedTuple):
    """The points of a curve, in arrays, because there may be many."""

    x: array[Any]
    y: array[float]


class Member(NamedTuple):
    """A run with its curve of a metric, as a member of a group.

    Attributes:
        run: id of the run.
        group: value of the group.
        metric: name of the metric.
        line: the finite points, None if the run has no value of the metric.
        left_out: number of values that are NaN or infinite.
        joined: number of runs that are joined in the curve.
    """

    run: int
    group: Any
    metric: str
    line: Line | None
    left_out: int = 0
    joined: int = 1


class Frame(NamedTuple):
    """What a chart shows of the x axis.

    Attributes:
        pixels: its width.
        low: begin of the range, None for all.
        high: end of the range.
    """

    pixels: int
    low: float | None = None
    high: float | None = None


def summarize_groups(members: Iterable[Member], frame: Frame, band: str) -> list[dict[str, Any]]:
    """Return mean, band and number of curves at each place, for each group and metric, sorted by the groups' values.

    A curve counts at a place only if it has a point there, and only once: with its last one, if several rows share a
    step. If the curves have few places in common, their points are averaged in bins as wide as the distance between
    points of the longest curve, or as a thousandth of the axis. The whole curves decide on the bins, not the frame.

    Args:
        members: the runs with their curves.
        frame: what the chart shows.
        band: "std" (standard deviation of the sample), "sem" (standard error of the mean), "ci" (95 % confidence
            interval of the mean by Student's t) or "minmax". A single curve has a band without width.

    Raises:
        QueryError: `band` is not one of these.
    """
    if band not in BANDS:
        raise QueryError(f"band must be one of {', '.join(map(repr, BANDS))}, got {band!r}")
    groups: dict[Any, list[Member]] = {}
    for member in members:
        groups.setdefault((as_key(member.group), member.metric), []).append(member)
    whole = [group for group in groups.values() if any(map(_has_points, group))]
    whole.sort(key=lambda group: sort_key(group[0].group))
    return [_summarize(group, frame, band) for group in whole]


def _has_points(member: Member) -> bool:
    return member.line is not None and len(member.line.x) > 0


def _summarize(group: Sequence[Member], frame: Frame, band: str) -> dict[str, Any]:
    present = [member for member in group if _has_points(member)]
    lines = [member.line for member in present if member.line is not None]
    xs, columns, width = _columns(lines)
    spreads = {index: spread_of(columns[index]) for index in _kept(xs, columns, frame)}
    edges = [spread.edges(band) for spread in spreads.values()]
    ends = [max(line.x) for line in lines]
    return {
        "value": as_json(group[0].group),
        "metric": group[0].metric,
        "band": band,
        "n_runs": len(present),
        "members": [member.run for member in present],
        "without": [member.run for member in group if not _has_points(member)],
        "left_out": sum(member.left_out for member in group),
        "joined": sum(member.joined > 1 for member in present),
        "ends": [min(ends), max(ends)],
        "bin": width,
        "x": [xs[index] for index in spreads],
        "mean": [spread.mean for spread in spreads.values()],
        "low": [low for low, _ in edges],
        "high": [high for _, high in edges],
        "n": [spread.n for spread in spreads.values()],
    }


def _kept(xs: Sequence[float], columns: Sequence[Sequence[float]], frame: Frame) -> Sequence[int]:
    """Return the indices of the places to draw."""
    chosen = range(len(xs)) if frame.low is None or frame.high is None else window(xs, frame.low, frame.high)
    if len(chosen) <= _KEPT * frame.pixels:
        return chosen
    means = [sum(column) / len(column) for column in columns]
    return thinned(means, bounds(xs, chosen, frame.pixels, log=False, is_sorted=True))


def _columns(lines: Sequence[Line]) -> tuple[Sequence[float], Sequence[Sequence[float]], float | None]:
    """Return places in order, at each of them the values of the curves that have a point there, and the width of bins.

    The width is None without bins.
    """
    first = lines[0].x
    if all(line.x == first for line in lines) and len(set(first)) == len(first) and is_ascending(first):
        # Most runs are logged at the same steps.
        return first, list(zip(*(line.y for line in lines))), None
    places: dict[float, list[float]] = {}
    for line in lines:
        for x, y in dict(zip(line.x, line.y)).items():
            places.setdefault(x, []).append(y)
    longest = max(len(line.x) for line in lines)
    width = None
    if len(places) > _SCATTERED * longest:
        low, high, number = min(places), max(places), min(longest, _BINS)
        width = 2 * ((high / 2 - low / 2) / number)
        places = _binned(lines, low, high, number)
    xs = sorted(places)
    return xs, [places[x] for x in xs], width


def _binned(lines: Sequence[Line], low: float, high: float, number: int) -> dict[float, list[float]]:
    """Return the means of the curves in bins of equal width, by the middle of the bin."""
    # Of halves, because the difference may be larger than any float.
    width = (high / 2 - low / 2) / number
    binned: dict[float, list[float]] = {}
    for line in lines:
        bins: dict[int, list[float]] = {}
        for x, y in zip(line.x, line.y):
            bins.setdefault(min(int((x / 2 - low / 2) / width), number - 1), []).append(y)
        for place, ys in bins.items():
            binned.setdefault(2 * (low / 2 + (place + 0.5) * width), []).append(sum(ys) / len(ys))
    return binned
