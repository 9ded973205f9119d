"""One run in full, and runs side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqltrack.capture._summary import captured_items, split_extras, with_packages
from sqltrack.commands._points import read_chunks
from sqltrack.commands.show import _describe
from sqltrack.engines.admin import Question
from sqltrack.engines.schema import CAPTURE, fits_int64
from sqltrack.statuses import UNFINISHED_STATES, find_state
from sqltrack.ui.queries._columns import Column, Expressions, heads, is_larger_better, is_smaller_better
from sqltrack.ui.queries._database import Database
from sqltrack.ui.queries._errors import QueryError
from sqltrack.ui.queries._filters import RUNS, parse_ids
from sqltrack.ui.queries._kinds import Kind, means, parse_kind, values_at
from sqltrack.ui.queries._runs import leaves
from sqltrack.ui.queries._snippets import as_python, as_sql
from sqltrack.ui.queries._values import as_json, as_key, from_json, kind_of
from sqltrack.util import placeholders

__all__ = ["compare", "run"]

_MISSING: dict[str, Any] = {"$missing": True}
# Runs that are compared, at most.
_COMPARED = 100
# Metrics in the query of a comparison, at most.
_METRIC_COLUMNS = 200
# Captured packages, which are many.
_PACKAGES = [CAPTURE, "packages"]


def run(source: Database, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything about a run.

    Args:
        source: the database.
        spec: dict with id.

    Returns:
        A dict. Its run has id, status, comment, tags, time_created, time_started, time_updated, time_ended and
        duration. Its experiment has id and name. The links are dicts with relation, id, kind, direction, label and
        status. The metrics are dicts with name, last, min, max, at_min, at_max, rows and kind. The ids previous and
        next belong to the same experiment, and siblings is its number of runs. Further keys are args, env, extras,
        rows, last_step, progress, version, sql and python.

    Raises:
        QueryError: the run does not exist.
        DatabaseError: the database is not available.
    """
    run_id = from_json(spec.get("id"))
    if not isinstance(run_id, int) or isinstance(run_id, bool):
        raise QueryError(f"id must be an integer, got {run_id!r}")
    version = source.version()
    (head,) = _heads(source, [run_id])
    described = _described(source, head, version)
    place = source.questions(_place_questions(run_id, described["experiment_id"]))
    (last,), (counted,) = place[0] or [{"step": None, "progress": None}], place[1]
    sql = as_sql(f"SELECT *\nFROM {RUNS}\nWHERE runs.id = %s", [run_id])
    metrics_sql = as_sql("SELECT *\nFROM metrics\nWHERE run_id = %s\nORDER BY step, progress", [run_id])
    return {
        "run": _run_fields(described),
        "experiment": {"id": described["experiment_id"], "name": described["experiment"]},
        **{name: as_json(described[name]) or {} for name in ("args", "env", "extras")},
        "links": _links(source, run_id, described["links"]),
        "metrics": [_summary(summary) for summary in described["metrics"]],
        "rows": counted["rows"],
        "last_step": as_json(last["step"]),
        "progress": as_json(last["progress"]),
        **{name: counted[name] for name in ("previous", "next", "siblings")},
        "version": version,
        "sql": f"{sql};\n\n{metrics_sql};",
        "python": as_python(source, metrics_sql, [f"run = sqltrack.Run(client, run_id={run_id})"]),
    }


def compare(source: Database, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of runs side by side, first those that differ.

    Environment variables and captured packages are only listed if they differ; captured process ids, diffs and outputs
    are left out.

    Args:
        source: the database.
        spec: dict with runs (ids of at most 100 runs), all (whether to list values that are the same, too), and value,
            which value of a metric counts: "best" (default: max or min, as the name suggests), "max", "min", "last",
            "mean", or `["at", METRIC, "max"]` (or "min"), the value at the step where that metric is best.

    Returns:
        A dict with runs (dicts with id, experiment and status), rows (dicts with section, path, label, values in the
        order of the runs, `{"$missing": true}` for a run without the value, and differs), version, sql and python. The
        path of a metric is its name and which value it is, such as `["loss", "min"]`; its row also has better, "max",
        "min" or None if the name does not tell.

    Raises:
        QueryError: a run does not exist, or value is not valid.
        DatabaseError: the database is not available.
    """
    ids = parse_ids(spec.get("runs") or [])[:_COMPARED]
    kind = parse_kind(spec.get("value"))
    version = source.version()
    described = [
        {**_described(source, head, version), "values": _values(source, head, version, kind)}
        for head in _heads(source, ids)
    ]
    rows = list(_compared(described))
    shown = [row for row in rows if row["differs"] or (spec.get("all") and _is_listed(row))]
    shown.sort(key=lambda row: not row["differs"])
    sql = _compared_sql(source, ids, [row["path"] for row in shown if row["section"] == "metrics"])
    return {
        "runs": [{"id": item["id"], "experiment": item["experiment"], "status": item["status"]} for item in described],
        "rows": shown,
        "version": version,
        "sql": sql,
        "python": as_python(source, sql, ["print(frame.set_index('id').T)"]),
    }


def _compared_sql(source: Database, ids: Sequence[int], paths: Sequence[Sequence[str]]) -> str:
    """Return the query for the runs with values of metrics, given name and kind of each."""
    expressions = Expressions(source.admin(), source.places())
    columns = [Column(("metric", *kind, name)) for name, *kind in paths[:_METRIC_COLUMNS]]
    values = [f"{expressions.write(column).shown} AS {head}" for column, head in zip(columns, heads(columns))]
    listed = ",\n    ".join(["runs.*", *values])
    sql = f"SELECT\n    {listed}\nFROM {RUNS}\nWHERE runs.id IN ({placeholders(len(ids))})\nORDER BY runs.id"
    return as_sql(sql, ids)


def _heads(source: Database, ids: Sequence[int]) -> list[dict[str, Any]]:
    """Return id, status and time of runs, in order.

    Raises:
        QueryError: a run does not exist.
    """
    storable = [run_id for run_id in ids if fits_int64(run_id)]
    sql = f"SELECT id, status, time_updated FROM runs WHERE id IN ({placeholders(len(storable))})"
    found = {row["id"]: row for row in source.fetch(sql, storable)}
    for run_id in ids:
        if run_id not in found:
            raise QueryError(f"there is no run {run_id}", "unknown")
    return [found[run_id] for run_id in ids]


def _described(source: Database, head: Mapping[str, Any], version: str) -> dict[str, Any]:
    """Return the description of a run with its metrics, see `sqltrack.commands.show.describe_run`.

    The captured context with its packages is a part of the extras, as in the database.
    """
    signature = source.run_version(version, head["status"], head["time_updated"])

    def read() -> dict[str, Any]:
        described = source.ask(lambda connection: _describe(source.client, connection, head["id"]))
        captured = [described.pop("capture")] if "capture" in described else []
        for capture in with_packages(source.client, captured, source.reading):
            described["extras"] = {**(described["extras"] or {}), CAPTURE: capture}
        return described

    return source.cached(("run", head["id"]), read, signature)[0]


def _run_fields(described: Mapping[str, Any]) -> dict[str, Any]:
    has_ended = find_state(described["status"]) not in UNFINISHED_STATES
    tags = described["tags"]
    return {
        **{name: described[name] for name in ("id", "status", "comment")},
        "tags": list(tags) if isinstance(tags, Mapping) else [],
        **{f"time_{name}": as_json(described[name]) for name in ("created", "started", "updated")},
        "time_ended": as_json(described["updated"]) if has_ended else None,
        "duration": as_json(described["runtime"]),
    }


def _place_questions(run_id: int, experiment_id: int) -> list[Question]:
    """Return the queries for the last point of a run, and for its place among the others."""
    last = "SELECT step, progress FROM metrics WHERE run_id = %s ORDER BY step DESC, progress DESC LIMIT 1"
    counted = """
        SELECT
            (SELECT COUNT(*) FROM metrics WHERE run_id = %s) AS rows,
            (SELECT MAX(id) FROM runs WHERE experiment_id = %s AND id < %s) AS previous,
            (SELECT MIN(id) FROM runs WHERE experiment_id = %s AND id > %s) AS next,
            (SELECT COUNT(*) FROM runs WHERE experiment_id = %s) AS siblings
    """
    parameters = (run_id, experiment_id, run_id, experiment_id, run_id, experiment_id)
    return [Question(last, (run_id,)), Question(counted, parameters)]


def _links(source: Database, run_id: int, links: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    ends = [(link["to_id"], "to") if link["from_id"] == run_id else (link["from_id"], "from") for link in links]
    ids = list(dict.fromkeys(end for end, _ in ends))
    sql = f"SELECT runs.id, runs.experiment, runs.status FROM {RUNS} WHERE runs.id IN ({placeholders(len(ids))})"
    known = {row["id"]: row for row in source.fetch(sql, ids)} if ids else {}
    return [
        {
            "relation": link["kind"],
            "id": end,
            "kind": "run",
            "direction": direction,
            "label": f"{known[end]['experiment']} #{end}",
            "status": known[end]["status"],
        }
        for link, (end, direction) in zip(links, ends)
        if end in known
    ]


def _summary(summary: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": summary["metric"],
        **{name: as_json(summary[name]) for name in ("last", "min", "max")},
        "at_min": as_json(summary["min_step"]),
        "at_max": as_json(summary["max_step"]),
        "rows": summary["values"],
        "kind": kind_of(summary["last"]) or "number",
    }


def _compared(described: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the rows of the comparison, in the order of the sections."""
    for section, items_of in _SECTIONS.items():
        items = [items_of(item) for item in described]
        for path in dict.fromkeys(path for values in items for path in values):
            present = [values[path] for values in items if path in values]
            differs = len(present) < len(items) or len(set(map(as_key, present))) > 1
            yield {
                "section": section,
                "path": list(path),
                "label": _label(section, path),
                "values": [as_json(values[path]) if path in values else _MISSING for values in items],
                "differs": differs,
                **({"better": _better(path[0])} if section == "metrics" else {}),
            }


def _label(section: str, path: Sequence[str]) -> str:
    if section == "metrics" and path[1] == "at":
        return Column(("metric", *path[1:], path[0])).label
    return ".".join(path)


def _better(metric: str) -> str | None:
    """Return which value of a metric is better, "max" or "min", None if its name does not tell."""
    if is_smaller_better(metric):
        return "min"
    return "max" if is_larger_better(metric) else None


def _is_listed(row: Mapping[str, Any]) -> bool:
    """Return whether a row is listed although the runs do not differ in it."""
    return row["section"] != "env" and not (row["section"] == "extras" and row["path"][:2] == _PACKAGES)


def _own(described: Mapping[str, Any]) -> dict[tuple[str, ...], Any]:
    fields = _run_fields(described)
    names = ("status", "comment", "tags", "time_created", "time_started", "duration")
    return {("experiment",): described["experiment"], **{(name,): fields[name] for name in names}}


def _values(source: Database, head: Mapping[str, Any], version: str, kind: Kind) -> dict[tuple[str, ...], Any]:
    """Return the values of a run's metrics of a kind, by name and kind.

    Metrics that are not numbers have no best value; their last one is shown.
    """
    if kind.how not in ("mean", "at"):
        summaries = _described(source, head, version)["metrics"]
        return dict(_summarized(summary, kind) for summary in summaries if kind_of(summary["last"]) != "time")

    def read() -> dict[tuple[str, ...], Any]:
        with source.reading() as connection:
            chunks = read_chunks(source.client, connection, head["id"], source.places(version))
            found = means(chunks) if kind.how == "mean" else values_at(chunks, kind)
        names = source.places().sort(found)
        return {(name, *filter(None, kind)): found[name] for name in names if kind_of(found[name]) != "time"}

    signature = source.run_version(version, head["status"], head["time_updated"])
    return source.cached(("values", head["id"], kind), read, signature)[0]


def _summarized(summary: Mapping[str, Any], kind: Kind) -> tuple[tuple[str, ...], Any]:
    name = summary["metric"]
    how = kind.column(name).path[1]
    how = "last" if summary[how] is None else how
    return (name, how), summary[how]


def _measured(described: Mapping[str, Any]) -> dict[tuple[str, ...], Any]:
    values: dict[tuple[str, ...], Any] = described["values"]
    return values


def _items(name: str) -> Any:
    return lambda described: dict(leaves(described[name]))


def _extras(described: Mapping[str, Any]) -> dict[tuple[str, ...], Any]:
    extras, capture = split_extras(described["extras"])
    captured = {(CAPTURE, *path): value for path, value in captured_items(capture)}
    return {**dict(leaves(extras)), **captured}


_SECTIONS: dict[str, Any] = {
    "run": _own,
    "args": _items("args"),
    "metrics": _measured,
    "extras": _extras,
    "env": _items("env"),
}
