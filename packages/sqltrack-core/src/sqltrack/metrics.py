"""Write metrics: one row per point in time, one column per metric, added when a metric is first logged."""

from __future__ import annotations

import math
import operator
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from sqltrack._times import Timestamp, as_time, utc_now
from sqltrack.engines.engine import MetricsUpsert
from sqltrack.errors import DatabaseError, MissingRunError, NotSetUpError, UnusableValueError

if TYPE_CHECKING:
    from sqltrack.client import Client

__all__ = ["MetricsWriter"]

# Columns of the table that are no metrics.
_RESERVED = frozenset({"run_id", "step", "progress"})

# Seconds by which a tracked run's time_updated may lag behind its metrics.
_TOUCH_INTERVAL = 1.0

_PLAIN_TYPES = frozenset({bool, int, float, str, bytes, date, datetime, timedelta, dict, list, type(None)})


class _Plan(NamedTuple):
    """How metrics with certain names and types of values are stored."""

    upsert: MetricsUpsert
    converters: Sequence[Callable[[Any], Any] | None]

    def convert(self, values: Sequence[Any]) -> list[Any]:
        return [value if convert is None else convert(value) for convert, value in zip(self.converters, values)]


class MetricsWriter:
    """Writes the metrics of a client's runs, and remembers what it has learned about the table.

    Args:
        client: client to use.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._columns: dict[str, str] = {}
        self._plans: dict[tuple[tuple[str, ...], tuple[type, ...]], _Plan] = {}
        self._touched: dict[int, float] = {}

    def add(self, run_id: int, metrics: Mapping[str, Any], step: int, progress: float, updated: Timestamp) -> None:
        """Store metrics in the row of a point in time; metrics in that row that are not named stay.

        Args:
            run_id: id of the run.
            metrics: names and values.
            step: the row's step, an integer.
            progress: the row's progress.
            updated: what to set the run's `time_updated` to; "auto" is now, or up to a second ago if the run is
                tracked; None leaves it alone.

        Raises:
            UnusableValueError: (a ValueError) a name or value cannot be stored; nothing of the call is.
            MissingRunError: (a ValueError) the run does not exist.
        """
        plan, values = self._plan(metrics)
        row = [run_id, _as_step(step), _as_progress(progress), *values]
        touched = self._touch_due(run_id) if updated == "auto" else as_time(updated)

        def upsert(connection: Any) -> None:
            if touched is None:
                plan.upsert.execute(connection, row)
            else:
                plan.upsert.execute_and_touch(connection, row, touched)

        try:
            self._client.call(upsert)
        except DatabaseError:
            self._forget_touch(run_id)
            self._refuse_missing_run(run_id)
            raise

    def forget(self) -> None:
        """Look at the table anew, because changes to it may have been rolled back."""
        self._columns.clear()
        self._plans.clear()

    def _plan(self, metrics: Mapping[str, Any]) -> tuple[_Plan, list[Any]]:
        """Return how to store metrics, and their values in the form in which they are bound."""
        names = tuple(metrics)
        values: Sequence[Any] = list(metrics.values())
        plan = self._plans.get((names, tuple(map(type, values))))
        if plan is None:
            values = [_plain_value(name, value) for name, value in metrics.items()]
            key = (names, tuple(map(type, values)))
            plan = self._plans.get(key)
            if plan is None:
                plan = self._plans[key] = self._make_plan(dict(zip(*key)))
        return plan, plan.convert(values)

    def _make_plan(self, types: Mapping[str, type]) -> _Plan:
        for name in types:
            _check_name(name)
        self._client.call(lambda connection: self._ensure_columns(connection, types))
        converters = [self._converter(name, typ) for name, typ in types.items()]
        return _Plan(self._client.engine.prepare_upsert(list(types)), converters)

    def _ensure_columns(self, connection: Any, types: Mapping[str, type]) -> None:
        engine = self._client.engine
        if not self._columns or not types.keys() <= self._columns.keys():
            self._columns = engine.table_columns(connection, "metrics")
        if not self._columns:
            raise NotSetUpError(f"the database has no sqltrack tables; {NotSetUpError.ADVICE}")
        missing = {
            # A metric that begins with None will most likely be a number.
            name: engine.map_type(self._client, float if typ is type(None) else typ)
            for name, typ in types.items()
            if name not in self._columns
        }
        if missing:
            engine.add_metric_columns(connection, missing)
            self._columns = engine.table_columns(connection, "metrics")

    def _converter(self, name: str, typ: type) -> Callable[[Any], Any] | None:
        sql_type = self._columns.get(name)
        if sql_type is None:
            other = next(column for column in self._columns if column.lower() == name.lower())
            raise UnusableValueError(f"metric {name!r} differs only by case from {other!r}, which is a column already")
        try:
            return self._client.engine.metric_converter(sql_type, typ)
        except TypeError:
            raise UnusableValueError(
                f"metric {name!r} is a column of type {sql_type}, which cannot hold a value of type {typ.__name__!r}"
            ) from None

    def _touch_due(self, run_id: int) -> datetime | None:
        """Return the time to touch a run with, None if it is tracked and was touched less than a second ago."""
        if not self._client.tracks(run_id):
            return utc_now()
        now = time.monotonic()
        if now - self._touched.get(run_id, -math.inf) < _TOUCH_INTERVAL:
            return None
        self._touched[run_id] = now
        return utc_now()

    def _forget_touch(self, run_id: int) -> None:
        self._touched.pop(run_id, None)

    def _refuse_missing_run(self, run_id: int) -> None:
        if self._client.in_block:
            # The transaction has failed, PostgreSQL answers no further question in it.
            return
        rows = self._client.execute("SELECT id FROM runs WHERE id = %s", (run_id,)).fetchall()
        if not rows:
            raise MissingRunError(run_id, "it may have been deleted")


def _check_name(name: Any) -> None:
    if not isinstance(name, str) or not name:
        raise UnusableValueError(f"the name of a metric must be a str that is not empty, got {name!r}")
    if "\0" in name or not _is_unicode(name):
        raise UnusableValueError(f"the name of a metric must not hold NUL or lone surrogates, got {name!r}")
    if name in _RESERVED:
        raise UnusableValueError(f"a metric cannot be called {name!r}, which is a column of its own")


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _plain_value(name: str, value: Any) -> Any:
    """Return a metric's value as an instance of a plain type.

    numpy and torch scalars and their 0-d arrays are numbers, recognised by `.item()` without importing either.
    """
    if type(value) in _PLAIN_TYPES:
        return value
    item = getattr(value, "item", None)
    if item is not None:
        value = _item(name, value)
    for typ in (int, float, str, bytes, datetime, date, timedelta, list):
        if isinstance(value, typ):
            return value if type(value) in _PLAIN_TYPES else _as_base(typ, value)
    if isinstance(value, (Mapping, tuple)):
        return dict(value) if isinstance(value, Mapping) else list(value)
    raise UnusableValueError(f"metric {name!r} has a value of type {type(value).__name__!r}, expected a number")


def _as_base(typ: type, value: Any) -> Any:
    """Return an instance of a subclass of a plain type (IntEnum, numpy.float64, pandas.Timestamp) as that type."""
    if typ is datetime:
        return datetime.combine(value.date(), value.time(), value.tzinfo)
    if typ is date:
        return date(value.year, value.month, value.day)
    if typ is timedelta:
        return timedelta(value.days, value.seconds, value.microseconds)
    return typ(value)


def _item(name: str, value: Any) -> Any:
    try:
        number = value.item()
        # A longdouble has no Python counterpart and returns itself.
        return number if type(number) in _PLAIN_TYPES else float(number)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UnusableValueError(f"metric {name!r} must be one number, got {value!r}") from error


def _as_step(step: Any) -> int:
    try:
        return step if type(step) is int else operator.index(step)
    except TypeError:
        if isinstance(step, float) and step.is_integer():
            return int(step)
        raise UnusableValueError(f"step must be an integer, got {step!r}") from None


def _as_progress(progress: Any) -> float:
    try:
        number = float(progress)
    except (TypeError, ValueError):
        number = math.nan
    if math.isnan(number):
        raise UnusableValueError(f"progress must be a number, got {progress!r}")
    return number
