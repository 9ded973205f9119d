"""Read what a report shows, by the queries of the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqltrack.ui import queries
from sqltrack.ui.queries import Database, QueryError
from sqltrack.ui.queries._columns import is_validation
from sqltrack.ui.queries._filters import parse_ids

__all__ = ["MOST_RUNS", "SECTIONS", "Content", "read_content"]

#: Runs in the table of a report, at most; those of a page of the query `runs`.
MOST_RUNS = 1_000
# Runs with curves, as many as the query `curves` answers for one metric.
_MOST_CURVES = 500
# Points of all curves, at most; about six bytes of the file each.
_MOST_POINTS = 160_000
_POINTS_PER_PIXEL = 4
_LEAST_PIXELS, _MOST_PIXELS = 10, 200
# Metrics with curves, if none is named, as on the page.
_METRICS = 4
_MOST_METRICS = 20
# Runs whose curves are drawn at first.
_SELECTED = 10
_COMPARED = 100
# Values of the comparison, at most: many runs with many differences would fill the file.
_MOST_CELLS = 10_000
_DRAWN = ("number", "bool")
#: Sections of the comparison, in order, and their titles. The environment is not among them, because a report leaves
#: the place where it was made.
SECTIONS = {"args": "Arguments", "metrics": "Metrics", "run": "Run", "extras": "Extras"}


class Content(NamedTuple):
    """What a report shows, as the queries answer it.

    Attributes:
        title: the title.
        name: name of the database.
        condition: the filter as text, "" for all runs.
        made: the time of the report in ISO 8601, by the database's clock.
        runs: answer of the query `runs`, with the sort that was asked for.
        selected: ids of the runs whose curves are drawn at first.
        metrics: names of the metrics with curves.
        curves: the curves.
        groups: curves of groups.
        group_rows: answer of the query `group_rows`, None without groups.
        without_curves: number of runs that are in the table only.
        comparison: answer of the query `compare`.
        view: how curves are drawn: x, log, join, group and band.
    """

    title: str
    name: str
    condition: str
    made: str
    runs: dict[str, Any]
    selected: list[int]
    metrics: list[str]
    curves: list[dict[str, Any]]
    groups: list[dict[str, Any]]
    group_rows: dict[str, Any] | None
    without_curves: int
    comparison: dict[str, Any]
    view: dict[str, Any]

    @property
    def has_all(self) -> bool:
        """Whether the table has all runs that meet the filter."""
        return bool(self.runs["total"] == len(self.runs["rows"]))


def read_content(source: Database, spec: Mapping[str, Any]) -> Content:
    """Return what a report shows.

    Args:
        source: the database.
        spec: dict with filter, columns and sort as for the query `runs`. Optional are title; metrics (names of those
            with curves); selected (ids of the runs whose curves are drawn at first); value (of a metric in the
            comparison, as for the query `compare`); x, join, group and band as for the query `curves`, where a group
            of None means "all_but_seed"; and log (dict with x and y).

    Raises:
        QueryError: the specification is not valid, or no run meets the filter.
        DatabaseError: the database is not available.
    """
    about = queries.about(source)
    runs = _runs(source, spec)
    ids = [row["id"] for row in runs["rows"]]
    if not ids:
        raise QueryError("no run passes the filter, so there is nothing to report", "unknown")
    selected = [run_id for run_id in parse_ids(spec.get("selected") or []) if run_id in set(ids)]
    selected = selected or ids[:_SELECTED]
    metrics = _metrics(source, spec, ids)
    view = {
        "x": spec.get("x") or "step",
        "log": spec.get("log") or {"x": False, "y": False},
        "join": bool(spec.get("join")),
        "group": spec.get("group") or "all_but_seed",
        "band": spec.get("band") or "std",
    }
    # The selected runs first, which have curves even if others have not.
    drawn = list(dict.fromkeys([*selected, *ids]))[:_MOST_CURVES]
    curves, groups = _curves(source, view, metrics, drawn)
    has_groups = any(group["n_runs"] > 1 for group in groups)
    return Content(
        title=str(spec.get("title") or _title(runs, about["name"])),
        name=str(about["name"]),
        condition=_condition(spec.get("filter") or {}),
        made=datetime.fromisoformat(str(about["time"])).isoformat(timespec="seconds"),
        runs=runs,
        selected=selected,
        metrics=metrics,
        curves=curves,
        groups=groups if has_groups else [],
        group_rows=_group_rows(source, view, runs, ids) if has_groups else None,
        without_curves=len(ids) - len(drawn),
        comparison=_comparison(source, spec, list(dict.fromkeys([*selected, *drawn]))),
        view=view,
    )


def _title(runs: Mapping[str, Any], name: str) -> str:
    experiments = {row["experiment"] for row in runs["rows"]}
    return experiments.pop() if len(experiments) == 1 else f"{runs['total']:,} runs of {name}"


def _condition(chosen: Mapping[str, Any]) -> str:
    """Return a filter as text."""
    parts = []
    # The id of an experiment says less than its name, which is in the table or in the title.
    facets = [facet for facet in chosen.get("facets") or [] if facet["column"] != ["experiment", "id"]]
    for facet in facets:
        name = ".".join(map(str, facet["column"]))
        values = ", ".join(map(str, facet["values"]))
        parts.append(f"{name} {'is not' if facet.get('exclude') else 'is'} {values}")
    if chosen.get("where"):
        parts.append(str(chosen["where"]).strip())
    if chosen.get("search"):
        parts.append(f"contains {chosen['search']!r}")
    if chosen.get("ids") is not None:
        parts.append(f"{len(chosen['ids']):,} runs chosen by hand")
    return " and ".join(parts)


def _runs(source: Database, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the table of runs; without an order in the specification, the best by its first metric come first."""
    asked = {"filter": spec.get("filter"), "columns": spec.get("columns"), "sort": spec.get("sort"), "offset": 0}
    if not asked["sort"]:
        columns = [item["column"] for item in queries.runs(source, {**asked, "limit": 1})["columns"]]
        best = next((column for column in columns if column[0] == "metric" and column[1] in ("max", "min")), None)
        asked["sort"] = best and [{"column": best, "descending": best[1] == "max"}]
    return {**queries.runs(source, {**asked, "limit": MOST_RUNS}), "sort": asked["sort"] or []}


def _metrics(source: Database, spec: Mapping[str, Any], ids: Sequence[int]) -> list[str]:
    """Return the metrics with curves: those of the specification, or the first that most runs have."""
    named = spec.get("metrics") or []
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
        raise QueryError(f"metrics must be a list of names, got {named!r}")
    known = queries.metrics(source, {"runs": list(ids[:_MOST_CURVES])})["metrics"]
    missing = [name for name in named if name not in {metric["name"] for metric in known}]
    if missing:
        raise QueryError(f"none of the runs has the metric {missing[0]!r}", "unknown")
    if named:
        return list(dict.fromkeys(named))[:_MOST_METRICS]
    drawn = [metric for metric in known if metric["kind"] in _DRAWN]
    most = max((metric["runs"] for metric in drawn), default=0)
    common = [metric["name"] for metric in drawn if 2 * metric["runs"] >= most]
    return sorted(common, key=lambda name: not is_validation(name))[:_METRICS]


def _curves(
    source: Database, view: Mapping[str, Any], metrics: Sequence[str], ids: Sequence[int]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the curves of runs and of groups; the fewer there are, the more points has each."""
    points = _MOST_POINTS // max(len(metrics) * len(ids), 1)
    pixels = min(max(points // _POINTS_PER_PIXEL, _LEAST_PIXELS), _MOST_PIXELS)
    shared = {name: view[name] for name in ("x", "join", "group", "band")}
    spec = {**shared, "runs": list(ids), "pixels": pixels, "log_x": bool(view["log"].get("x"))}
    answers = [queries.curves(source, {**spec, "metrics": [metric]}) for metric in metrics]
    curves = [curve for answer in answers for curve in answer["curves"]]
    return curves, [group for answer in answers for group in answer["groups"]]


def _group_rows(
    source: Database, view: Mapping[str, Any], runs: Mapping[str, Any], ids: Sequence[int]
) -> dict[str, Any]:
    """Return the table of groups with the metrics of the table of runs, the best mean of the first one first."""
    shown = [item["column"] for item in runs["columns"] if item["column"][0] == "metric" and item["kind"] == "number"]
    sort = [{"column": column, "descending": column[1] != "min"} for column in shown[:1]]
    spec = {"filter": {"ids": list(ids)}, "group": view["group"], "columns": shown, "sort": sort}
    return queries.group_rows(source, {**spec, "offset": 0, "limit": MOST_RUNS})


def _comparison(source: Database, spec: Mapping[str, Any], ids: Sequence[int]) -> dict[str, Any]:
    """Return how runs differ: as many of them as have room."""
    compared = list(ids[:_COMPARED])
    while True:
        answer = queries.compare(source, {"runs": compared, "all": False, "value": spec.get("value")})
        rows = [row for section in SECTIONS for row in answer["rows"] if row["section"] == section]
        if len(compared) <= 2 or len(rows) * len(compared) <= _MOST_CELLS:
            return {"runs": answer["runs"], "rows": rows}
        compared = compared[: max(2, min(len(compared) - 1, _MOST_CELLS // len(rows)))]
