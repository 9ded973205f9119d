"""Curves of runs: read, joined, smoothed, thinned to pixels, and grouped."""

from __future__ import annotations

import itertools
import math
import sys
from array import array
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import compress
from typing import Any, NamedTuple

from sqltrack.commands._points import Places, read_chunks
from sqltrack.commands.metrics import _chains
from sqltrack.engines.admin import RunRows
from sqltrack.queries import column_sql, merged_curves
from sqltrack.ui.queries._bands import Frame, Line, Member, summarize_groups
from sqltrack.ui.queries._columns import Expressions
from sqltrack.ui.queries._database import Database
from sqltrack.ui.queries._errors import QueryError
from sqltrack.ui.queries._filters import parse_ids
from sqltrack.ui.queries._groups import Grouping, group_values, parse_group
from sqltrack.ui.queries._rows import as_rows, count_rows, read_rows_of_runs
from sqltrack.ui.queries._snippets import as_python, as_sql
from sqltrack.ui.queries._states import Head, describe_states, read_heads
from sqltrack.ui.queries._thinning import bounds, is_ascending, smoothed, thinned, window
from sqltrack.ui.queries._values import as_json
from sqltrack.util import placeholders

__all__ = ["curves"]

# Curves in an answer, at most.
_MOST = 500
# A curve with this many points in a pixel, the four that are kept, is sent whole.
_KEPT = 4
_SPECIAL = {math.inf: "Infinity", -math.inf: "-Infinity"}


class Options(NamedTuple):
    """How to draw curves.

    Attributes:
        metrics: names of the metrics.
        x: "step", "progress", "time" or the name of a metric in a tuple.
        low: begin of the range of x, None for all.
        high: end of the range.
        pixels: width of the chart.
        smoothing: weight of the past in the moving average, 0 for none.
        log_x: whether the x axis is logarithmic.
        join: whether runs that resume others are joined with them.
    """

    metrics: tuple[str, ...]
    x: str | tuple[str]
    low: float | None
    high: float | None
    pixels: int
    smoothing: float
    log_x: bool
    join: bool


class Mark(NamedTuple):
    """Values that cannot be drawn.

    Attributes:
        x: the first of them.
        value: "NaN", "Infinity" or "-Infinity".
        number: their number.
    """

    x: float
    value: str
    number: int


class Curve(NamedTuple):
    """A curve.

    Attributes:
        metric: name of the metric.
        x: x of the points to draw.
        y: their values.
        smooth: their smoothed values, None without smoothing.
        marks: values that cannot be drawn.
        rows: number of values.
        exact: whether all values in the range are there.
        last: x and value of the last one, None without values.
        line: all finite points, smoothed if that is requested, for groups.
    """

    metric: str
    x: list[float]
    y: list[float]
    smooth: list[float] | None
    marks: list[Mark]
    rows: int
    exact: bool
    last: tuple[float, Any] | None
    line: Line | None


def curves(source: Database, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the curves of runs, thinned to the pixels of a chart.

    Each pixel keeps its first, smallest, greatest and last value, each at its own place, so no spike is lost.

    Args:
        source: the database.
        spec: dict with runs (ids) and metrics (names). Optional keys are x ("step" by default, "progress", "time" or
            `["metric", name]`), range (a pair in units of x), pixels (default 800), smoothing (at least 0, less than
            1) and log_x. With join, a run counts as one with those that it resumes. A group is a column, a list of
            columns, "all_but_seed" (runs whose arguments differ in seeds at most) or `{"all_but": [paths]}`. The band
            is "std" (default), "sem", "ci" (95 % confidence interval of the mean) or "minmax".

    Returns:
        A dict with curves, groups, truncated (ids of runs that are left out), runs (the states of the others, see
        `changes`), version, sql and python. Groups are dicts with value, metric, band, x, mean, low, high and n (the
        number of runs at each x). They also have n_runs and members (runs with values), without (runs without any),
        left_out (the number of NaN and infinite values), joined, resumed (runs that resume another one of the group,
        without join), ends (the smallest and the largest last x) and bin.

    Raises:
        QueryError: the specification is not valid, or rows have no time.
        DatabaseError: the database is not available.
    """
    options = _parse(spec)
    named = parse_ids(spec.get("runs") or [])
    most = max(_MOST // max(len(options.metrics), 1), 1)
    version = source.version()
    # Before the curves, so that changes in between are noticed.
    heads = read_heads(source, named[:most])
    states = describe_states(source, heads, version)
    chains = _find_chains(source, list(heads), options.join)
    group = spec.get("group")
    lines = _cached_curves(source, heads, chains, options, version, with_lines=group is not None)
    answer = [_as_json(run_id, chains[run_id], curve) for run_id, found in lines.items() for curve in found]
    groups: list[dict[str, Any]] = []
    if group is not None:
        groups = _groups(source, parse_group(group), chains, lines, options, spec.get("band") or "std")
    sql = _shown_sql(source, list(itertools.chain.from_iterable(chains.values())), options)
    return {
        "curves": answer,
        "groups": groups,
        "truncated": list(named[most:]),
        "runs": states,
        "version": version,
        "sql": sql,
        "python": as_python(source, sql),
    }


def _groups(
    source: Database,
    grouping: Grouping,
    chains: Mapping[int, Sequence[int]],
    lines: Mapping[int, Sequence[Curve]],
    options: Options,
    band: str,
) -> list[dict[str, Any]]:
    """Return mean and band of the curves of each group."""
    values = group_values(source, grouping, list(chains))
    members = []
    for run_id, chain in chains.items():
        found = {curve.metric: curve for curve in lines[run_id]}
        for metric in options.metrics:
            curve = found.get(metric)
            line = None if curve is None else curve.line
            left_out = 0 if curve is None or line is None else curve.rows - len(line.x)
            members.append(Member(run_id, values[run_id], metric, line, left_out, len(chain)))
    groups = summarize_groups(members, Frame(options.pixels, options.low, options.high), band)
    links = [] if options.join else _resumptions(source, list(chains))
    for group in groups:
        present = set(group["members"])
        group["resumed"] = sorted({run_id for run_id, other in links if {run_id, other} <= present})
    return groups


def _resumptions(source: Database, ids: Sequence[int]) -> list[tuple[int, int]]:
    """Return the runs that resume another one of the given runs, with that one."""
    among = placeholders(len(ids))
    sql = f"SELECT from_id, to_id FROM run_links WHERE kind = 'resumes' AND from_id IN ({among}) AND to_id IN ({among})"
    return [(row["from_id"], row["to_id"]) for row in source.fetch(sql, (*ids, *ids))]


def _find_chains(source: Database, ids: Sequence[int], join: bool) -> dict[int, list[int]]:
    if not join:
        return {run_id: [run_id] for run_id in ids}
    return source.ask(lambda connection: _chains(connection, ids))


def _cached_curves(
    source: Database,
    heads: Mapping[int, Head],
    chains: Mapping[int, Sequence[int]],
    options: Options,
    version: str,
    *,
    with_lines: bool,
) -> dict[int, list[Curve]]:
    """Return the curves of runs; those of runs that have ended are kept while other runs are written."""
    versions: dict[int, str] = {}
    for run_id, chain in chains.items():
        head = heads[run_id]
        is_alone = len(chain) == 1
        versions[run_id] = source.run_version(version, head.status, head.updated) if is_alone else version
    keys = {run_id: ("curves", run_id, options, with_lines) for run_id in versions}
    found = {run_id: source.cache.peek(keys[run_id], versions[run_id]) for run_id in versions}
    missing = {run_id: versions[run_id] for run_id, curves in found.items() if curves is None}
    for run_id, points in _cached_points(source, missing, heads, options, version):
        drawn = [_draw(name, line, options, with_lines) for name, line in points.items() if line.y]
        found[run_id] = drawn
        source.cache.keep(keys[run_id], drawn, versions[run_id])
    return {run_id: curves or [] for run_id, curves in found.items()}


def _cached_points(
    source: Database, versions: Mapping[int, str], heads: Mapping[int, Head], options: Options, version: str
) -> Iterator[tuple[int, dict[str, Line]]]:
    """Yield runs with all points of their metrics, from the cache if they are there, as after a zoom."""
    places = source.places(version)
    extra = _x_metric(source, options, places)
    names = list(dict.fromkeys([*options.metrics, *([] if extra is None else [extra])]))
    unread: dict[int, str] = {}
    for run_id, of_run in versions.items():
        key = ("points", run_id, options.x, options.join)
        known = {name: source.cache.peek((*key, name), of_run) for name in options.metrics}
        if None in known.values():
            unread[run_id] = of_run
        else:
            yield run_id, known
    for run_id, rows in _read_rows(source, unread, places, names, options):
        reader = _Points(rows, heads[run_id], options, extra)
        points = {name: reader.of(name) for name in options.metrics}
        for name, line in points.items():
            source.cache.keep(("points", run_id, options.x, options.join, name), line, unread[run_id])
        yield run_id, points


def _read_rows(
    source: Database, versions: Mapping[int, str], places: Places, names: Sequence[str], options: Options
) -> Iterator[tuple[int, RunRows]]:
    """Yield runs with the rows of their metrics."""
    if not options.join:
        counts = count_rows(source, versions)
        yield from read_rows_of_runs(source, counts, places, names, with_progress=options.x == "progress")
        return
    for run_id in versions:
        with source.reading() as connection:
            rows = as_rows(read_chunks(source.client, connection, run_id, places, names, merged=True), names)
        yield run_id, rows


class _Points:
    """The points of a run."""

    def __init__(self, rows: RunRows, head: Head, options: Options, extra: str | None) -> None:
        self._values = rows.values
        of_extra = () if extra is None else rows.values.get(extra) or [None] * len(rows.steps)
        self._xs: Sequence[Any]
        if extra is None:
            self._xs = _finite(rows.progress) if options.x == "progress" else rows.steps
        elif options.x == "time":
            self._xs = [_seconds_since(head.started, value) for value in of_extra]
        else:
            self._xs = _finite([value if _is_number(value) else None for value in of_extra])

    def of(self, name: str) -> Line:
        """Return x and the value of each point with a number."""
        xs, ys = self._xs, self._values.get(name) or [None] * len(self._xs)
        values = _as_array("d", ys)
        if values is None:
            are_numbers = list(map(_is_number, ys))
            xs, values = list(compress(xs, are_numbers)), array("d", compress(ys, are_numbers))
        if not isinstance(xs, array) and None in xs:
            have_x = [x is not None for x in xs]
            xs, values = list(compress(xs, have_x)), array("d", compress(values, have_x))
        return Line(_as_array("q", xs) or array("d", xs), values)


def _as_array(typecode: str, values: Sequence[Any]) -> array[Any] | None:
    """Return values as an array, None if they are not all of its type. A look at each would take most of the time."""
    try:
        return array(typecode, values)
    except (TypeError, OverflowError):
        return None


def _is_number(value: Any) -> bool:
    """Return whether a value is a number that a float can hold; integers in extras may be larger."""
    return isinstance(value, float) or (isinstance(value, int) and abs(value) <= sys.float_info.max)


def _finite(xs: Sequence[Any]) -> Sequence[Any]:
    """Return x with None where it is infinite, which no axis shows."""
    if all(x is None or math.isfinite(x) for x in xs):
        return xs
    return [x if x is not None and math.isfinite(x) else None for x in xs]


def _seconds_since(started: datetime | None, value: Any) -> float | None:
    """Return the seconds since a run's start, given a time or the seconds since 1970."""
    if started is None:
        return None
    if isinstance(value, datetime):
        return (value - started).total_seconds()
    return float(value) - started.timestamp() if _is_number(value) and math.isfinite(value) else None


def _draw(metric: str, points: Line, options: Options, with_line: bool) -> Curve:
    xs, ys = points.x, points.y
    last = (xs[-1], ys[-1])
    rows = len(ys)
    specials: list[tuple[float, float]] = []
    if not _are_finite(ys):
        specials = [(x, y) for x, y in zip(xs, ys) if not math.isfinite(y)]
        are_finite = list(map(math.isfinite, ys))
        xs, ys = array(xs.typecode, compress(xs, are_finite)), array("d", compress(ys, are_finite))
    smooth = smoothed(ys, options.smoothing) if options.smoothing > 0 else None
    line = Line(xs, ys if smooth is None else array("d", smooth)) if with_line else None
    chosen = range(len(xs))
    # Rows are read by step.
    is_by_step = options.x == "step"
    if options.low is not None and options.high is not None:
        specials = [(x, y) for x, y in specials if options.low <= x <= options.high]
        is_sorted = is_by_step or is_ascending(xs)
        chosen = (window if is_sorted else _between)(xs, options.low, options.high)
    kept: Sequence[int] = chosen
    exact = len(chosen) <= _KEPT * options.pixels
    if not exact:
        kept = thinned(ys, bounds(xs, chosen, options.pixels, log=options.log_x, is_sorted=is_by_step))
    return Curve(
        metric,
        [xs[index] for index in kept],
        [ys[index] for index in kept],
        None if smooth is None else [smooth[index] for index in kept],
        list(_marks(specials, options.pixels)),
        rows,
        exact,
        last,
        line,
    )


def _are_finite(values: Sequence[float]) -> bool:
    # The sum takes a tenth of the time of a look at each, and may be infinite although all are finite.
    return math.isfinite(sum(values)) or all(map(math.isfinite, values))


def _between(xs: Sequence[float], low: float, high: float) -> range:
    """Return the indices of the points in a range, and of all that lie between them."""
    inside = [index for index, x in enumerate(xs) if low <= x <= high]
    return range(inside[0], inside[-1] + 1) if inside else range(0)


def _marks(specials: Sequence[tuple[float, float]], pixels: int) -> Iterator[Mark]:
    """Yield marks for values that cannot be drawn, one for each kind and pixel."""
    if not specials:
        return
    low, high = min(x for x, _ in specials), max(x for x, _ in specials)
    # Of halves, because the difference may be larger than any float.
    width = (high / 2 - low / 2) / pixels or 1.0
    counts: dict[tuple[int, str], tuple[float, int]] = {}
    for x, y in specials:
        place = (int((x / 2 - low / 2) / width), _SPECIAL.get(y, "NaN"))
        first, count = counts.get(place, (x, 0))
        counts[place] = first, count + 1
    for (_, value), (x, count) in counts.items():
        yield Mark(x, value, count)


def _as_json(run_id: int, chain: Sequence[int], curve: Curve) -> dict[str, Any]:
    return {
        "run": run_id,
        "runs": list(chain),
        "metric": curve.metric,
        "x": curve.x,
        "y": curve.y,
        "smooth": curve.smooth,
        "marks": [{"x": as_json(mark.x), "value": mark.value, "count": mark.number} for mark in curve.marks],
        "rows": curve.rows,
        "exact": curve.exact,
        "last": None if curve.last is None else {"x": as_json(curve.last[0]), "y": as_json(curve.last[1])},
    }


def _shown_sql(source: Database, ids: Sequence[int], options: Options) -> str:
    places = source.places()
    extra = _x_metric(source, options, places)
    names = list(dict.fromkeys([*([] if extra is None else [extra]), *options.metrics]))
    if options.join and ids:
        merged = merged_curves(*(name for name in names if name in places.columns), run_ids=ids)
        return as_sql(*merged)
    expressions = Expressions(source.admin(), places)
    values = [(name, expressions.metric_value(name)) for name in names]
    columns = ["run_id", "step", "progress"]
    columns += [f"{value} AS {column_sql(name).removeprefix('metrics.')}" for name, value in values if value]
    conditions = " OR ".join(f"{value} IS NOT NULL" for _, value in values if value) or "1 = 0"
    sql = (
        f"SELECT {', '.join(columns)}\nFROM metrics\n"
        f"WHERE run_id IN ({placeholders(len(ids))}) AND ({conditions})\nORDER BY run_id, step, progress LIMIT %s"
    )
    return as_sql(sql, (*ids, 10_000_000))


def _x_metric(source: Database, options: Options, places: Places) -> str | None:
    """Return the name of the metric that is x, None for step and progress.

    Raises:
        QueryError: no metric holds times.
    """
    if isinstance(options.x, tuple):
        return options.x[0]
    if options.x != "time":
        return None
    expressions = Expressions(source.admin(), places)
    name = source.client.config.get("time_column")
    names = [name] if isinstance(name, str) else []
    names += [column for column in places.columns if expressions.metric_kind(column) == "time"]
    found = next((name for name in names if name in places.columns), None)
    if found is None:
        raise QueryError("rows have no time; set time_column before the next run to store one", "unknown")
    return found


def _parse(spec: Mapping[str, Any]) -> Options:
    metrics = spec.get("metrics") or []
    if not isinstance(metrics, list) or not all(isinstance(name, str) for name in metrics):
        raise QueryError(f"metrics must be a list of names, got {metrics!r}")
    x = spec.get("x") or "step"
    is_metric = isinstance(x, list) and len(x) == 2 and x[0] == "metric" and isinstance(x[1], str)
    if not is_metric and x not in ("step", "progress", "time"):
        raise QueryError(f"x must be 'step', 'progress', 'time' or ['metric', NAME], got {x!r}")
    low, high = _parse_range(spec.get("range"))
    pixels, smoothing = spec.get("pixels"), spec.get("smoothing") or 0.0
    pixels = 800 if pixels is None else pixels
    if not isinstance(pixels, int) or not 1 <= pixels <= 10_000:
        raise QueryError(f"pixels must be an integer from 1 to 10,000, got {pixels!r}")
    if not _is_number(smoothing) or not 0 <= smoothing < 1:
        raise QueryError(f"smoothing must be at least 0 and less than 1, got {smoothing!r}")
    return Options(
        tuple(dict.fromkeys(metrics)),
        (x[1],) if is_metric else x,
        low,
        high,
        pixels,
        float(smoothing),
        bool(spec.get("log_x")),
        bool(spec.get("join")),
    )


def _parse_range(value: Any) -> tuple[float | None, float | None]:
    if value is None:
        return None, None
    is_pair = isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))
    if not is_pair or not value[0] <= value[1]:
        raise QueryError(f"range must be a pair of numbers, the smaller first, got {value!r}")
    return float(value[0]), float(value[1])
