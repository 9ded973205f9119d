"""The columns to choose from, and the metrics of runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import compress
from typing import Any, NamedTuple

from sqltrack.commands._points import logged_metrics
from sqltrack.commands._rows import batches
from sqltrack.engines.schema import EXTRAS
from sqltrack.ui.queries._columns import Column, Expressions, best_column
from sqltrack.ui.queries._database import Database
from sqltrack.ui.queries._errors import QueryError
from sqltrack.ui.queries._filters import Filter, parse_filter, parse_ids
from sqltrack.ui.queries._index import Codes, read_index
from sqltrack.ui.queries._rows import batches_by_rows, count_rows
from sqltrack.ui.queries._runs import leaves, ranked
from sqltrack.ui.queries._values import kind_of
from sqltrack.util import placeholders

__all__ = ["columns", "metrics"]

# Newest runs in whose environment and extras to look for names, and rows for metrics in `extras`.
_SAMPLE, _ROWS = 1_000, 1_000
# Rows whose metrics are counted at once, unless a run has more.
_COUNTED_ROWS = 1_000_000
_RUN = ("id", "status", "comment", "tags", "time_created", "time_started", "time_updated", "time_ended", "duration")


class _Known(NamedTuple):
    """A column to choose from, with the kind of its values, and the number of runs that have it if that is known."""

    column: Column
    kind: str
    runs: int | None


def columns(source: Database, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns to choose from.

    A metric appears with its best value, guessed from its name, and with its last value; the other forms can be asked
    for all the same. Names of the environment and extras are those of the newest 1,000 runs.

    Args:
        source: the database.
        spec: dict with search (words in the label or in the JSON text, ignoring case), kinds (groups of columns such
            as "args" and "metric", or "best" for the best values of metrics without their last ones; default: all),
            filter (tags and arguments that none of these runs has are left out), limit (default 200) and offset.

    Returns:
        A dict with columns (dicts with column, label, kind, and count if known), total and version.
    """
    search = spec.get("search") or ""
    kinds = spec.get("kinds")
    limit, offset = spec.get("limit"), spec.get("offset") or 0
    limit = 200 if limit is None else limit
    if not isinstance(search, str) or not all(isinstance(number, int) and number >= 0 for number in (limit, offset)):
        raise QueryError("search must be a text, and limit and offset integers of at least 0")
    if kinds is not None and not isinstance(kinds, list):
        raise QueryError(f"kinds must be a list, got {kinds!r}")
    chosen = parse_filter(spec.get("filter"))
    known, version = source.cached(("catalog", chosen.key()), lambda: _known_columns(source, chosen))
    found = known if kinds is None else [item for item in known if _is_of_kind(item.column, kinds)]
    if search:
        words = search.casefold().split()
        found = [item for item in found if _matches(item.column, words)]
    return {
        "columns": [_as_json(item) for item in found[offset : offset + limit]],
        "total": len(found),
        "version": version,
    }


def metrics(source: Database, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metrics that runs have values of.

    Args:
        source: the database.
        spec: dict with runs (ids), or with filter for the first 100 runs that meet it.

    Returns:
        A dict with metrics (dicts with name, kind of its values, and runs, the number of runs that have it), the most
        frequent first, and version.
    """
    if spec.get("runs") is None:
        ids: Sequence[int] = ranked(source, parse_filter(spec.get("filter")))[0][:100]
    else:
        ids = parse_ids(spec["runs"])
    version = source.version()
    counts: dict[str, int] = {}
    for names in _logged(source, ids, version).values():
        for name in names:
            counts[name] = counts.get(name, 0) + 1
    order = {name: index for index, name in enumerate(source.places().sort(counts))}
    names = sorted(counts, key=lambda name: (-counts[name], order[name]))
    kind = Expressions(source.admin(), source.places()).metric_kind
    found = [{"name": name, "runs": counts[name], "kind": kind(name)} for name in names]
    return {"metrics": found, "version": version}


def _logged(source: Database, ids: Sequence[int], version: str) -> dict[int, list[str]]:
    """Return the metrics of each run; those of runs that did not change for a while come from the cache."""
    sql = f"SELECT id, status, time_updated FROM runs WHERE id IN ({placeholders(len(ids))})"
    versions = {
        row["id"]: source.run_version(version, row["status"], row["time_updated"]) for row in source.fetch(sql, ids)
    }
    logged = {run_id: source.cache.peek(("logged", run_id), of_run) for run_id, of_run in versions.items()}
    missing = {run_id: versions[run_id] for run_id, names in logged.items() if names is None}
    # A run without rows may have some that wait for a column.
    counts = {run_id: max(number, 1) for run_id, number in count_rows(source, missing).items()}
    for batch in batches_by_rows(counts, _COUNTED_ROWS):
        found = source.ask(partial(_read_logged, source, batch))
        logged.update(found)
        for run_id, names in found.items():
            source.cache.keep(("logged", run_id), names, versions[run_id])
    return {run_id: names or [] for run_id, names in logged.items()}


def _read_logged(source: Database, ids: Sequence[int], connection: Any) -> dict[int, list[str]]:
    return logged_metrics(source.client, connection, ids, source.places())


def _known_columns(source: Database, chosen: Filter) -> list[_Known]:
    """Return all columns, without tags and arguments that no chosen run has."""
    known = list(_all_columns(source))
    if chosen == Filter():
        return known
    index, _ = read_index(source)
    mask = index.mask_of(ranked(source, chosen)[0])
    counts = {column: _count(codes, mask) for group in ("tag", "args") for column, codes in index.of(group).items()}
    counted = [item._replace(runs=counts.get(item.column, item.runs)) for item in known]
    return [item for item in counted if item.runs != 0]


def _count(codes: Codes, mask: bytes) -> int | None:
    """Return the number of runs of a mask with a value, None if it is not known."""
    return None if codes.is_full else sum(map(bool, compress(codes.codes, mask)))


def _all_columns(source: Database) -> Iterator[_Known]:
    """Yield all columns."""
    for field in _RUN:
        column = Column(("run", field))
        yield _Known(column, column.kind or "text", None)
    for field in ("name", "id"):
        column = Column(("experiment", field))
        yield _Known(column, column.kind or "text", None)
    index, _ = read_index(source)
    for group in ("tag", "args"):
        for column, codes in sorted(index.of(group).items(), key=lambda item: -item[1].count):
            yield _Known(column, codes.kinds.copy().pop() if len(codes.kinds) == 1 else "text", codes.count)
    yield from _metric_columns(source)
    for group in ("extras", "env"):
        yield from _sampled(source, group)


def _metric_columns(source: Database) -> Iterator[_Known]:
    places = source.places()
    expressions = Expressions(source.admin(), places)
    for name in [*places.columns, *_metrics_in_extras(source)]:
        kind = expressions.metric_kind(name)
        if kind == "number":
            yield _Known(best_column(name), kind, None)
        yield _Known(Column(("metric", "last", name)), kind, None)


def _metrics_in_extras(source: Database) -> list[str]:
    places = source.places()
    found: dict[str, None] = {}
    for table in places.extras:
        sql = f"SELECT extras FROM {table} WHERE extras IS NOT NULL LIMIT %s"
        for row in source.fetch(sql, (_ROWS,)):
            found.update(dict.fromkeys(row[EXTRAS] if isinstance(row[EXTRAS], Mapping) else ()))
    return [name for name in found if name not in places.columns]


def _sampled(source: Database, group: str) -> Iterator[_Known]:
    """Yield the columns of the environment or extras of the newest runs."""
    counts: dict[tuple[str, ...], int] = {}
    kinds: dict[tuple[str, ...], set[str]] = {}
    ids = ranked(source, parse_filter(None))[0][:_SAMPLE]
    for batch in batches(ids):
        for row in source.fetch(f"SELECT {group} AS items FROM runs WHERE id IN ({placeholders(len(batch))})", batch):
            for path, value in leaves(row["items"]):
                counts[path] = counts.get(path, 0) + 1
                kinds.setdefault(path, set()).add(kind_of(value) or "text")
    for path in sorted(counts, key=lambda path: (-counts[path], path)):
        kind = kinds[path].pop() if len(kinds[path]) == 1 else "text"
        yield _Known(Column((group, *path)), kind, None)


def _is_of_kind(column: Column, kinds: Sequence[str]) -> bool:
    is_best = column.group == "metric" and column.path[1] in ("max", "min")
    return column.group in kinds or (is_best and "best" in kinds)


def _matches(column: Column, words: Sequence[str]) -> bool:
    text = f"{column.label} {column.id}".casefold()
    return all(word in text for word in words)


def _as_json(known: _Known) -> dict[str, Any]:
    column = {"column": list(known.column.path), "label": known.column.label, "kind": known.kind}
    return column if known.runs is None else {**column, "count": known.runs}
