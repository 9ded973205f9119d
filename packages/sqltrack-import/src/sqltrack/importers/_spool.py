"""Sort the values of a run into rows, in memory or, for long runs, in a temporary file."""

from __future__ import annotations

import dataclasses
import math
import pickle
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import itemgetter
from types import TracebackType
from typing import Any

from sqltrack.engines.json import is_storable_text, plain
from sqltrack.engines.schema import INT64
from sqltrack.metrics import MetricsRow

__all__ = ["LeftOut", "Metric", "Spool"]

# Values that are kept in memory, of about 150 bytes each.
_IN_MEMORY = 250_000
# Rows and values that are stored in one transaction.
_ROWS, _VALUES = 10_000, 100_000
# Different places that a report names for each kind of data that is left out.
_PLACES = 20
# Messages about a run that are kept.
_MESSAGES = 20

# The range of steps.
_FIRST, _LAST = INT64[0], INT64[-1]

Point = tuple[int, float, int, Any]

_TABLE = "CREATE TABLE points (step INTEGER, part REAL, metric INTEGER, value)"
_INSERT = "INSERT INTO points VALUES (?, ?, ?, ?)"
_SELECT = "SELECT step, part, metric, value FROM points ORDER BY "


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """Data of a run that is not imported.

    Attributes:
        what: kind of the data, in the plural.
        count: number of items.
        where: some of the places where it is.
    """

    what: str
    count: int
    where: tuple[str, ...]


class Metric:
    """The values of a metric in a run.

    Args:
        number: number of the metric in the run.

    Attributes:
        number: the same.
        count: number of values.
        first: their first step.
        last: their last step.
        types: types of the values.
    """

    __slots__ = ("count", "first", "last", "number", "types")

    def __init__(self, number: int) -> None:
        self.number = number
        self.count = 0
        self.first, self.last = _LAST, _FIRST
        self.types: set[type] = set()

    def column_type(self) -> type | None:
        """Return the type of a column that holds all values, None if no column does."""
        if self.types <= {int, float}:
            return float if float in self.types else int
        return next(iter(self.types)) if len(self.types) == 1 else None


class Spool:
    """Takes the content of a run in any order, and returns rows by step and progress.

    If a metric has several values at one step, the first has progress 0, the second 1, and so on. A fraction of a step
    is added to the progress. Only a part of a long run is in memory. Use it in a `with` block.

    Args:
        progress: called from time to time with the number of values of a long run.

    Attributes:
        metrics: numbers and steps of the added values, by the name of the metric.
        values: number of values.
        left_out: data that is not imported.
        notes: messages for the user.
        damages: messages about damaged parts.
    """

    def __init__(self, progress: Callable[[int], None] | None = None) -> None:
        self.metrics: dict[str, Metric] = {}
        self.values = 0
        self.notes: list[str] = []
        self.damages: list[str] = []
        self._left_out: dict[str, tuple[int, dict[str, None]]] = {}
        self._progress = progress
        self._points: list[Point] = []
        self._file: sqlite3.Connection | None = None
        self._is_sorted = True
        self._last = (_FIRST, 0.0)

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    # What readers call

    def add(self, name: str, step: float, value: Any) -> None:
        """Take one value of a metric; see `Sink.add`."""
        if value is None:
            return
        metric = self.metrics.get(name) or self._new_metric(name)
        if metric is None:
            return
        part = 0.0
        if type(step) is not int:
            try:
                step, part = _split(step)
            except (ValueError, OverflowError, TypeError):
                self.leave_out("values without a step", name)
                return
        if not _FIRST <= step <= _LAST:
            self.leave_out("values whose steps are not 64-bit integers", name)
            return
        if self._is_sorted:
            self._is_sorted, self._last = (step, part) >= self._last, (step, part)
        metric.count += 1
        metric.types.add(type(value))
        if step < metric.first:
            metric.first = step
        if step > metric.last:
            metric.last = step
        self.values += 1
        self._points.append((step, part, metric.number, value))
        if len(self._points) >= _IN_MEMORY:
            self._write()

    def leave_out(self, what: str, where: str, count: int = 1) -> None:
        """Count data that is not imported; see `Sink.leave_out`."""
        number, places = self._left_out.get(what, (0, {}))
        if len(places) < _PLACES:
            places[where] = None
        self._left_out[what] = (number + count, places)

    def note(self, message: str) -> None:
        """Report something that the user may want to know; see `Sink.note`."""
        if len(self.notes) < _MESSAGES:
            self.notes.append(message)

    def damage(self, message: str) -> None:
        """Report damage; see `Sink.damage`."""
        if len(self.damages) < _MESSAGES:
            self.damages.append(message)

    # What the import calls

    @property
    def left_out(self) -> list[LeftOut]:
        """Data that is not imported."""
        return [LeftOut(what, count, tuple(places)) for what, (count, places) in self._left_out.items()]

    def rows(self) -> Iterator[list[MetricsRow]]:
        """Return the rows in chunks. A row may come again, in a later chunk, with other metrics."""
        names = list(self.metrics)
        rows: dict[tuple[int, float], dict[str, Any]] = {}
        values, position = 0, None
        repeats: dict[int, int] = {}
        for step, part, number, value in self._sorted():
            if position != (step, part):
                position, repeats = (step, part), {}
            repeat = repeats.get(number, 0)
            repeats[number] = repeat + 1
            key = (step, part + repeat)
            row = rows.get(key)
            if row is None:
                if len(rows) >= _ROWS or values >= _VALUES:
                    yield [MetricsRow(*at, metrics, {}) for at, metrics in rows.items()]
                    rows, values = {}, 0
                row = rows[key] = {}
            row[names[number]] = value
            values += 1
        if rows:
            yield [MetricsRow(*at, metrics, {}) for at, metrics in rows.items()]

    def _new_metric(self, name: str) -> Metric | None:
        if not name or "\0" in name or not is_storable_text(name):
            self.leave_out("values of metrics whose names cannot be stored", repr(name))
            return None
        metric = self.metrics[name] = Metric(len(self.metrics))
        return metric

    def _sorted(self) -> Iterable[Sequence[Any]]:
        if self._file is None:
            if not self._is_sorted:
                self._points.sort(key=itemgetter(0, 1))
            return self._points
        self._write()
        order = "rowid" if self._is_sorted else "step, part, rowid"
        return map(_decoded, self._file.execute(_SELECT + order))

    def _write(self) -> None:
        """Move the values in memory to the temporary file."""
        if self._file is None:
            # Without a name, SQLite deletes the file when it is closed or the process ends.
            self._file = sqlite3.connect("", isolation_level=None)
            self._file.execute(_TABLE)
        self._file.execute("BEGIN")
        self._file.executemany(_INSERT, map(_encoded, self._points))
        self._file.execute("COMMIT")
        self._points = []
        if self._progress is not None:
            self._progress(self.values)


def _split(step: float) -> tuple[int, float]:
    whole = math.floor(step)
    return whole, float(step - whole)


def _encoded(point: Point) -> Point:
    """Return a point for SQLite: NaN, which SQLite would turn into NULL, as NULL, and other objects as bytes."""
    step, part, number, value = point
    kind = type(value)
    if kind is float:
        return point if value == value else (step, part, number, None)
    if (kind is int and _FIRST <= value <= _LAST) or (kind is str and is_storable_text(value)):
        return point
    # Times and other values of tables keep their types. Only this process reads the file.
    return (step, part, number, pickle.dumps(plain(value) if kind in (dict, list) else value))


def _decoded(point: Sequence[Any]) -> Sequence[Any]:
    value = point[3]
    if value is None:
        return (*point[:3], math.nan)
    return (*point[:3], pickle.loads(value)) if type(value) is bytes else point  # noqa: S301
