"""Find the names in a saved view that the database no longer has: of runs, experiments, metrics and other columns."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqltrack.commands._rows import batches
from sqltrack.errors import StatementTimeoutError
from sqltrack.ui.queries._catalog import columns as known_columns
from sqltrack.ui.queries._columns import JSON_COLUMNS, Column, Expressions, parse_column
from sqltrack.ui.queries._database import Database
from sqltrack.ui.queries._errors import QueryError
from sqltrack.ui.queries._filters import parse_filter, parse_ids
from sqltrack.ui.queries._index import read_index
from sqltrack.ui.queries._runs import ranked
from sqltrack.util import placeholders

__all__ = ["gone"]

# Parts of a state that hold no columns, although they may look like some.
_OTHER_PARTS = frozenset({"metrics", "values", "sql", "where", "search", "widths"})
_EXPERIMENT = (("experiment", "name"), ("experiment", "id"))
_MOST_NAMES = 5_000
# How similar another name must be to be the new name of a metric.
_SIMILAR = 0.7


def gone(source: Database, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the names in the state of a view that the database does not have.

    Metrics and columns are looked for in all parts of the state, so that this works for every view.

    Args:
        source: the database.
        spec: dict with state, the state of a view.

    Returns:
        A dict with runs (ids), experiments (names or ids in facets), metrics (dicts with name and similar, a name that
        the metric may have now, or None), columns (dicts with column and label, without metrics), where (the
        database's message about the condition, None if it works) and version.
    """
    state = spec.get("state")
    if not isinstance(state, Mapping):
        raise QueryError(f"state must be an object, got {state!r}")
    version = source.version()
    columns = list(dict.fromkeys(_columns(state)))
    metrics = [*_texts(state.get("metrics")), *(name for column in columns for name in _metrics(column))]
    return {
        "runs": _gone_runs(source, state),
        "experiments": _gone_experiments(source, state),
        "metrics": _gone_metrics(source, list(dict.fromkeys(metrics))),
        "columns": [{"column": list(path), "label": Column(path).label} for path in _gone_columns(source, columns)],
        "where": _refusal(source, state),
        "version": version,
    }


def _columns(value: Any) -> Iterator[tuple[str, ...]]:
    """Yield the columns in a part of a state; an axis such as ["metric", "loss"] is one, too."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            if name not in _OTHER_PARTS:
                yield from _columns(item)
    elif isinstance(value, list):
        path = tuple(value)
        if path and all(isinstance(item, str) for item in path):
            if _is_axis(path) or _is_column(path):
                yield path
            return
        for item in value:
            yield from _columns(item)


def _is_axis(path: tuple[str, ...]) -> bool:
    """Return whether a list is an axis, or the kind of value at the best step of a metric."""
    return (len(path) == 2 and path[0] == "metric") or (
        len(path) == 3 and path[0] == "at" and path[2] in ("max", "min")
    )


def _is_column(path: tuple[str, ...]) -> bool:
    try:
        parse_column(path)
    except QueryError:
        return False
    return True


def _metrics(path: tuple[str, ...]) -> Sequence[str]:
    """Return the metrics that a column shows."""
    if path[0] == "at":
        return path[1:2]
    if path[0] != "metric":
        return ()
    return (path[2], path[4]) if path[1] == "at" and len(path) == 5 else path[-1:]


def _texts(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _part(state: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = state.get(name)
    return value if isinstance(value, Mapping) else {}


def _gone_runs(source: Database, state: Mapping[str, Any]) -> list[int]:
    lists = (state.get("selected"), state.get("hidden"), _part(state, "filter").get("ids"))
    ids = list(dict.fromkeys(id_ for listed in lists if isinstance(listed, list) for id_ in parse_ids(listed)))
    return _missing(source, "SELECT id AS value FROM runs WHERE id", ids)


def _gone_experiments(source: Database, state: Mapping[str, Any]) -> list[Any]:
    facets = _part(state, "filter").get("facets")
    found: list[Any] = []
    for facet in facets if isinstance(facets, list) else []:
        path = tuple(facet.get("column") or ()) if isinstance(facet, Mapping) else ()
        if path in _EXPERIMENT:
            kind = str if path[1] == "name" else int
            values = [value for value in facet.get("values") or [] if isinstance(value, kind)]
            found += _missing(source, f"SELECT {path[1]} AS value FROM experiments WHERE {path[1]}", values)
    return found


def _missing(source: Database, sql: str, values: Sequence[Any]) -> list[Any]:
    """Return the values that a query which ends with a column does not find."""
    known: set[Any] = set()
    for batch in batches(values):
        known.update(row["value"] for row in source.fetch(f"{sql} IN ({placeholders(len(batch))})", batch))
    return [value for value in values if value not in known]


def _gone_metrics(source: Database, names: Iterable[str]) -> list[dict[str, Any]]:
    known = source.places().columns
    missing = [name for name in names if name not in known and not _is_in_extras(source, name)]
    if not missing:
        return []
    listed = known_columns(source, {"kinds": ["metric"], "limit": _MOST_NAMES})["columns"]
    others = dict.fromkeys([*known, *(item["column"][-1] for item in listed)])
    return [{"name": name, "similar": _similar(name, others)} for name in missing]


def _is_in_extras(source: Database, name: str) -> bool:
    return any(
        _has_rows(
            source, f"SELECT 1 FROM {table} WHERE {source.admin().json_value_sql('extras', name, str)} IS NOT NULL"
        )
        for table in source.places().extras
    )


def _similar(name: str, others: Iterable[str]) -> str | None:
    """Return a name that a metric may have now: the shortest that contains its words, or one that looks alike."""
    words = _words(name)
    longer = sorted((other for other in others if words and words <= _words(other)), key=len)
    return next(iter([*longer, *difflib.get_close_matches(name, list(others), 1, _SIMILAR)]), None)


def _words(name: str) -> set[str]:
    return set(re.findall(r"[^\W_]+", name.casefold()))


def _gone_columns(source: Database, columns: Iterable[tuple[str, ...]]) -> list[tuple[str, ...]]:
    named = [path for path in columns if path[0] in ("tag", *JSON_COLUMNS)]
    if not named:
        return []
    index, _ = read_index(source)
    known = {column.path for group in ("tag", "args") for column in index.of(group)}
    return [path for path in named if path not in known and not _is_in_runs(source, Column(path))]


def _is_in_runs(source: Database, column: Column) -> bool:
    expressions = Expressions(source.admin(), source.places())
    has_value = (
        expressions.has_tag(column.path[1]) if column.group == "tag" else f"{expressions.kind(column)} IS NOT NULL"
    )
    # These expressions are for statements with parameters.
    return _has_rows(source, f"SELECT 1 FROM runs WHERE {has_value}", is_escaped=True)


def _has_rows(source: Database, sql: str, *, is_escaped: bool = False) -> bool:
    """Return whether a query has rows; if that takes too long, assume that it has."""
    statement = sql if is_escaped else sql.replace("%", "%%")
    try:
        return bool(source.fetch(f"{statement} LIMIT %s", (1,)))
    except StatementTimeoutError:
        return True


def _refusal(source: Database, state: Mapping[str, Any]) -> str | None:
    chosen = parse_filter(state.get("filter"))
    if chosen.where is None:
        return None
    try:
        ranked(source, chosen)
    except QueryError as error:
        if error.kind != "where":
            raise
        return str(error)
    except StatementTimeoutError:
        pass
    return None
