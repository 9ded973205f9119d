"""An index of all runs in memory: experiments, statuses, tags and arguments, as codes, to count values quickly."""

from __future__ import annotations

import copy
import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from itertools import compress
from typing import Any

from sqltrack.commands._rows import to_number
from sqltrack.engines.schema import INT64
from sqltrack.ui.queries._columns import JSON_COLUMNS, Column
from sqltrack.ui.queries._database import Database
from sqltrack.ui.queries._filters import Facet
from sqltrack.ui.queries._runs import leaves, read_rows
from sqltrack.ui.queries._values import as_key, kind_of, leaf

__all__ = ["Codes", "Index", "read_codes", "read_index"]

# Values of a column in the index, which has codes of one byte.
_MANY = 200
# Tags and arguments in the index.
_COLUMNS = 200
_CHUNK = 5_000
# If all arguments take longer to read than this many seconds, they are read that rarely, and in between only those of
# new and updated runs. Calls write the time of a run at most once a second.
_SLOW, _REBUILD = 0.5, 300.0
_OVERLAP = timedelta(seconds=5)

STATUS = Column(("run", "status"))
EXPERIMENT = Column(("experiment", "name"))


class Codes:
    """The values of a column, as codes.

    Args:
        limit: maximum number of values, default: any.

    Attributes:
        values: the values by code; code 0 is None, for runs without a value.
        codes: the code of each run; empty if there are too many values.
        kinds: kinds of the values, see `kind_of`.
        count: number of runs with a value.
        is_full: whether there are too many values.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.values: list[Any] = [None]
        self.codes: bytearray | array[int] = array("L") if limit is None else bytearray()
        self.kinds: set[str] = set()
        self.count = 0
        self.is_full = False
        self._limit = limit
        self._known: dict[Any, int] = {}
        self._last_kind: Any = None
        self._last: Any = None
        self._last_code = 0

    def put(self, position: int, value: Any) -> None:
        """Set the value of a run; positions ascend, and those left out have no value."""
        self.count += 1
        if self.is_full:
            return
        # Most runs have the value of the run before, or one that is known. This is called millions of times.
        kind = value.__class__
        if kind is not self._last_kind or value != self._last:
            exact = (kind, value) if kind in _HASHABLE else as_key(value)
            code = self._known.get(exact)
            if code is None:
                code = self._known[exact] = self._code(value)
                if self.is_full:
                    return
            self._last_kind, self._last, self._last_code = kind, value, code
        if len(self.codes) != position:
            self.pad(position)
        self.codes.append(self._last_code)

    def replace(self, position: int, value: Any) -> None:
        """Set the value of a run that may have one, None for none; columns with too many values do not change."""
        if self.is_full:
            return
        self.count += (value is not None) - (self.codes[position] != 0)
        code = 0 if value is None else self._code(value)
        if not self.is_full:
            self.codes[position] = code

    def copy(self) -> Codes:
        """Return a copy to change."""
        new = copy.copy(self)
        new.values, new.codes, new.kinds, new._known = self.values[:], self.codes[:], set(self.kinds), dict(self._known)
        return new

    def pad(self, size: int) -> None:
        """Extend the codes to a number of runs."""
        missing = size - len(self.codes)
        if missing > 0 and not self.is_full:
            self.codes.extend(bytes(missing) if isinstance(self.codes, bytearray) else [0] * missing)

    def mask(self, facet: Facet) -> bytes:
        """Return a byte for each run, 1 if the facet admits it."""
        keys = facet.keys
        admitted = [(as_key(value) in keys) is not facet.exclude for value in self.values]
        if isinstance(self.codes, bytearray):
            return bytes(self.codes.translate(bytes(admitted).ljust(256, b"\0")))
        return bytes(admitted[code] for code in self.codes)

    def counts(self, mask: bytes | None) -> list[tuple[Any, int]]:
        """Return values and their numbers among the runs of a mask, the most frequent first."""
        counted = Counter(self.codes if mask is None else compress(self.codes, mask))
        return [(self.values[code], number) for code, number in counted.most_common()]

    def _code(self, value: Any) -> int:
        value = to_number(value)
        key = as_key(value)
        code = self._known.get(key)
        if code is None:
            code = self._known[key] = len(self.values)
            self.values.append(value)
            self.kinds.add(kind_of(value) or "json")
        if self._limit is not None and code > self._limit:
            self.is_full = True
            self.codes, self.values, self._known = bytearray(), [None], {}
        return code


_HASHABLE = frozenset({str, int, float, bool})


class Index:
    """All runs.

    Attributes:
        ids: their ids, in order.
        columns: the values of experiments, statuses, tags and arguments.
        built: time on the monotonic clock when all arguments were read.
        seconds: time that this took.
        updated: time of the latest update of a run.
    """

    def __init__(self) -> None:
        self.ids = array("q")
        self.built = 0.0
        self.seconds = 0.0
        self.updated: Any = None
        self.columns: dict[Column, Codes] = {EXPERIMENT: Codes(_MANY), STATUS: Codes(_MANY)}
        self._top: dict[str, Codes] = {}

    def add(self, run_id: int, experiment: str, status: str, tags: Any, updated: Any) -> None:
        """Add a run without its arguments."""
        position = len(self.ids)
        self.ids.append(run_id)
        self.columns[EXPERIMENT].put(position, experiment)
        self.columns[STATUS].put(position, status)
        for tag in tags if isinstance(tags, Mapping) else ():
            self._codes(("tag", tag)).put(position, True)
        if updated is not None and (self.updated is None or updated > self.updated):
            self.updated = updated

    def add_args(self, position: int, args: Any) -> None:
        """Add the arguments of a run, in the order of the runs."""
        for name, value in args.items() if isinstance(args, Mapping) else ():
            if value.__class__ in _HASHABLE:
                # Without the path, which takes longer to make than to store the value.
                codes = self._top.get(name)
                if codes is None:
                    codes = self._top[name] = self._codes(("args", name))
                codes.put(position, value)
                continue
            for path, item in leaves({name: value}):
                if item is not None:
                    self._codes(("args", *path)).put(position, item)

    def replace_args(self, position: int, args: Any) -> None:
        """Replace the arguments of a run."""
        found = {("args", *path): value for path, value in leaves(args)}
        for column, codes in self.of("args").items():
            codes.pad(position + 1)
            codes.replace(position, found.pop(column.path, None))
        for path, value in found.items():
            if value is not None:
                codes = self._codes(path)
                codes.pad(len(self.ids))
                codes.replace(position, value)

    def finish(self) -> None:
        """Call this after the last run."""
        for codes in self.columns.values():
            codes.pad(len(self.ids))

    def of(self, group: str) -> dict[Column, Codes]:
        """Return the columns of a group."""
        return {column: codes for column, codes in self.columns.items() if column.group == group}

    def mask_of(self, ids: Iterable[int]) -> bytes:
        """Return a byte for each run, 1 for those with the given ids."""
        return bytes(map(frozenset(ids).__contains__, self.ids))

    def _codes(self, path: tuple[str, ...]) -> Codes:
        column = Column(path)
        codes = self.columns.get(column)
        if codes is None:
            # Of more columns, only the numbers are counted.
            codes = self.columns[column] = Codes(_MANY if len(self.columns) < _COLUMNS else 0)
        return codes


def read_index(source: Database) -> tuple[Index, str]:
    """Return the index of all runs, and the version of the data."""
    return source.cached(("index",), lambda: _read_index(source))


def read_codes(source: Database, index: Index, version: str, column: Column) -> Codes:
    """Return the values of any column in the runs of an index."""
    codes = index.columns.get(column)
    if codes is not None and not codes.is_full:
        return codes
    return source.cached(("codes", column), lambda: _read_codes(source, index, column), version)[0]


def _read_index(source: Database) -> Index:
    known: Index | None = source.cache.latest(("index",))
    if known is not None and known.seconds > _SLOW and time.monotonic() - known.built < _REBUILD:
        index = _refreshed(source, known)
        if index is not None:
            return index
    begin = time.monotonic()
    index = Index()

    def take(run_id: int, experiment: str, status: str, tags: Any, updated: Any, args: Any) -> None:
        index.add(run_id, experiment, status, tags, updated)
        index.add_args(len(index.ids) - 1, args)

    _stream(source, f"SELECT {_COLUMNS_SQL}, runs.args FROM {_RUNS_SQL}", take)
    index.finish()
    index.built = time.monotonic()
    index.seconds = index.built - begin
    return index


def _refreshed(source: Database, known: Index) -> Index | None:
    """Return an index that takes unchanged arguments from an earlier one, None if runs were deleted.

    Arguments of runs are read again if the runs were updated since. Other changes of arguments are noticed when the
    index is built anew.
    """
    index = Index()
    _stream(source, f"SELECT {_COLUMNS_SQL} FROM {_RUNS_SQL}", index.add)
    if index.ids[: len(known.ids)] != known.ids:
        return None
    index.built, index.seconds = known.built, known.seconds
    index.columns.update((column, codes.copy()) for column, codes in known.of("args").items())
    index.finish()
    places = {run_id: position for position, run_id in enumerate(index.ids)}
    since = None if known.updated is None else known.updated - _OVERLAP
    newest = known.ids[-1] if known.ids else INT64[0]
    changed = "id > %s" if since is None else "(id > %s OR time_updated > %s)"
    parameters = (newest,) if since is None else (newest, since)
    last = INT64[0]
    while True:
        sql = f"SELECT id, args FROM runs WHERE {changed} AND id > %s ORDER BY id LIMIT %s"
        rows = source.fetch_tuples(sql, (*parameters, last, _CHUNK))
        for run_id, args in rows:
            if run_id in places:
                index.replace_args(places[run_id], args)
        if len(rows) < _CHUNK:
            return index
        last = rows[-1][0]


_COLUMNS_SQL = "runs.id, experiments.name, runs.status, runs.tags, runs.time_updated"
_RUNS_SQL = "runs JOIN experiments ON experiments.id = runs.experiment_id"


def _read_codes(source: Database, index: Index, column: Column) -> Codes:
    values: dict[int, Any] = {}
    if column.group in JSON_COLUMNS:

        def take(run_id: int, items: Any) -> None:
            values[run_id] = leaf(items, column.path[1:])

        _stream(source, f"SELECT runs.id, runs.{column.group} FROM runs", take)
    else:
        values = {row.id: row.values[0] for row in read_rows(source, index.ids, [column])}
    codes = Codes()
    for position, run_id in enumerate(index.ids):
        value = values.get(run_id)
        if value is not None:
            codes.put(position, value)
    codes.pad(len(index.ids))
    return codes


def _stream(source: Database, select: str, take: Callable[..., None]) -> None:
    """Call a function with the values of each run, whose id comes first, in order of the ids.

    It executes many short statements: SQLite cannot write checkpoints during a long one.
    """
    sql = f"{select} WHERE runs.id > %s ORDER BY runs.id LIMIT %s"
    last = INT64[0]
    while True:
        rows = source.fetch_tuples(sql, (last, _CHUNK))
        for row in rows:
            take(*row)
        if len(rows) < _CHUNK:
            return
        last = rows[-1][0]


def selected_values(facets: Sequence[Facet], column: Column) -> frozenset[Any]:
    """Return the keys of the values of a column that a filter names."""
    return frozenset(key for facet in facets if facet.column == column for key in facet.keys)
