"""Write metrics: one row per point in time, one column per metric, added when a metric is first logged."""

from __future__ import annotations

import itertools
import math
import operator
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from sqltrack._logging import get_logger
from sqltrack._times import Timestamp, as_time, utc_now
from sqltrack.engines.json import Jsonb, is_storable_text, plain
from sqltrack.engines.metrics import EXTRAS, KEY, Converter, MetricsTable, MisfitError, RowConverter, Upsert
from sqltrack.errors import DatabaseError, MissingRunError, NotSetUpError, SQLTrackError, UnusableValueError

if TYPE_CHECKING:
    from sqltrack.client import Client

__all__ = ["MetricsWriter"]

# Seconds by which a tracked run's time_updated may lag behind its metrics.
_TOUCH_INTERVAL = 1.0

# Seconds for which the table is left as it is after others did not let go of it.
_GROWING_PAUSE = 10.0

# A row that is too big loses half of its columns each time, of at most 1,600.
_MAX_ATTEMPTS = 16
_MAX_PLANS = 1000

_PLAIN_TYPES = frozenset({bool, int, float, str, bytes, date, datetime, timedelta, dict, list, type(None)})


class _Row(NamedTuple):
    """One call's metrics: run id, step and progress, then names, values and their types."""

    key: tuple[int, int, float]
    names: tuple[str, ...]
    values: Sequence[Any]
    types: tuple[type, ...]


class _Plan(NamedTuple):
    """How metrics with certain names and types of values are stored.

    Attributes:
        names: names of the metrics.
        upsert: the statement.
        columns: the metrics that are columns, as indices into `names`, each with its converter.
        convert: converts all values at once, if all are columns.
        extras: the indices of the others.
        expires: time (monotonic) after which to look for something better, None for never.
    """

    names: tuple[str, ...]
    upsert: Upsert
    columns: tuple[tuple[int, Converter | None], ...]
    convert: RowConverter | None
    extras: tuple[int, ...]
    expires: float | None

    def bind(self, values: Sequence[Any], table: MetricsTable) -> Sequence[Any]:
        """Return the values to bind.

        Raises:
            _MisfitsError: values that cannot be stored unaltered in their columns.
        """
        try:
            if self.convert is not None:
                return self.convert(values)
            bound = [values[index] if convert is None else convert(values[index]) for index, convert in self.columns]
        except MisfitError:
            raise _MisfitsError(frozenset(self._misfits(values))) from None
        if self.extras:
            bound.append(table.extras_value({self.names[index]: values[index] for index in self.extras}))
        return bound

    def _misfits(self, values: Sequence[Any]) -> Iterator[str]:
        for index, convert in self.columns:
            try:
                if convert is not None:
                    convert(values[index])
            except MisfitError:
                yield self.names[index]


class _MisfitsError(Exception):
    """Metrics of one call whose values do not fit their columns."""

    def __init__(self, names: frozenset[str]) -> None:
        super().__init__(names)
        self.names = names


class _Places(NamedTuple):
    """Where metrics go as the table is, and what would have to change for more of them to be columns."""

    converters: dict[str, Converter | None]
    added: dict[str, str]
    widened: dict[str, str]


class MetricsWriter:
    """Writes the metrics of a client's runs, and remembers what it has learned about the table.

    A metric is stored in the column of its name. Where that is impossible, or others do not let go of the table for the
    column to be added, it goes under its name into the JSON column `extras` instead.

    Args:
        client: client to use.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._table = client.engine.metrics_table
        self._columns: dict[str, str] = {}
        self._plans: dict[tuple[Any, ...], _Plan] = {}
        self._row_limits: dict[tuple[str, ...], int] = {}
        self._growing_again = -math.inf
        self._has_pending = False
        self._warned: set[str] = set()
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
        row = _normalise((run_id, _as_step(step), _as_progress(progress)), metrics)
        touched = self._touch_due(run_id) if updated == "auto" else as_time(updated)
        try:
            self._write(row, touched)
        except DatabaseError:
            self._touched.pop(run_id, None)
            self._refuse_missing_run(run_id)
            raise

    def add_many(self, run_id: int, rows: Iterable[Mapping[str, Any]], updated: Timestamp) -> None:
        """Store metrics of many points in time, all or none.

        Args:
            run_id: id of the run.
            rows: metrics, each with `step`, `progress` or both beside them.
            updated: what to set the run's `time_updated` to.

        Raises:
            UnusableValueError: (a ValueError) a name or value cannot be stored; nothing of the call is.
            MissingRunError: (a ValueError) the run does not exist.
        """
        batch = [_batch_row(run_id, row) for row in rows]
        # In one order for all writers, or two with the same rows could wait for each other.
        batch.sort(key=lambda row: row.key)
        updated_at = as_time(updated)
        try:
            with self._client:
                # All columns first: once the transaction has written, it is itself in the way of further ones.
                plans = [self._bind(row)[0] for row in batch]
                for _, group in itertools.groupby(zip(plans, batch), key=lambda pair: id(pair[0])):
                    self._write_group([row for _, row in group])
                if updated_at is not None:
                    self._client.execute("UPDATE runs SET time_updated = %s WHERE id = %s", (updated_at, run_id))
        except DatabaseError:
            self._refuse_missing_run(run_id)
            raise

    def forget(self) -> None:
        """Look at the table anew, because it is not as it was."""
        self._columns.clear()
        self._plans.clear()

    def settle(self) -> None:
        """Move metrics that wait in another table to where they belong, if others let go of the table now."""
        if not self._has_pending or self._client.in_block:
            return
        try:
            grown = self._client.call_beside(lambda connection: self._grow(connection, {EXTRAS: "JSONB"}, {}))
        except SQLTrackError as error:
            get_logger("metrics").warning("metrics wait in another table: %s", error)
        else:
            self._has_pending = not grown

    # -- rows -----------------------------------------------------------------------------------------------------

    def _write(self, row: _Row, touched: datetime | None) -> None:
        """Write a row, again and again while the database says that the table is not as was known."""
        for attempt in itertools.count(1):
            plan, bound = self._bind(row)
            values = (*row.key, *bound)
            try:
                if touched is None:
                    self._call(lambda connection: plan.upsert.execute(connection, values))  # noqa: B023
                else:
                    self._call(lambda connection: plan.upsert.execute_and_touch(connection, values, touched))  # noqa: B023
                return
            except DatabaseError as error:
                if attempt == _MAX_ATTEMPTS or not self._learn(error, plan):
                    raise

    def _write_group(self, rows: Sequence[_Row]) -> None:
        """Write rows of one plan with one call, or one by one if that fails for a reason that can be helped."""
        plan = self._bind(rows[0])[0]
        bound = [(*row.key, *self._bind(row)[1]) for row in rows]
        try:
            self._call(lambda connection: plan.upsert.execute_many(connection, bound))
        except DatabaseError as error:
            if not self._learn(error, plan):
                raise
            for row in rows:
                self._write(row, None)

    def _call(self, function: Callable[[Any], None]) -> None:
        client = self._client
        if not client.in_block:
            client.call(function)
            return

        def guarded(connection: Any) -> None:
            # What can be helped must not fail the caller's transaction.
            with client.engine.savepoint(connection):
                function(connection)

        client.call(guarded)

    def _learn(self, error: DatabaseError, plan: _Plan) -> bool:
        """Learn from a failed statement; return whether it is worth another try."""
        fault = self._table.fault_of(error.__cause__) if error.__cause__ is not None else None
        if fault == "too big":
            self._row_limits[plan.names] = len(plan.columns) // 2
            self._plans.clear()
            return bool(plan.columns)
        if fault == "stale":
            self.forget()
            return True
        return False

    def _bind(self, row: _Row) -> tuple[_Plan, Sequence[Any]]:
        """Return how to store a row, and what to bind."""
        misfits: frozenset[str] = frozenset()
        while True:
            plan = self._plan(row, misfits)
            try:
                return plan, plan.bind(row.values, self._table)
            except _MisfitsError as found:
                misfits |= found.names

    # -- plans ----------------------------------------------------------------------------------------------------

    def _plan(self, row: _Row, misfits: frozenset[str]) -> _Plan:
        key = (row.names, row.types, misfits)
        plan = self._plans.get(key)
        if plan is None or (plan.expires is not None and time.monotonic() >= plan.expires):
            if len(self._plans) >= _MAX_PLANS:
                self._plans.clear()
            plan = self._plans[key] = self._make_plan(dict(zip(row.names, row.types)), misfits)
        return plan

    def _make_plan(self, types: Mapping[str, type], misfits: frozenset[str]) -> _Plan:
        for name in types:
            _check_name(name)
        self._client.call(self._look)
        places = self._places(types, misfits)
        expires = None
        if places.added or places.widened:
            expires = self._grow_if_possible(places.added, places.widened)
            places = self._places(types, misfits)
        names = tuple(types)
        limit = self._row_limits.get(names, len(names))
        columns = [(i, places.converters[name]) for i, name in enumerate(names) if name in places.converters][:limit]
        in_columns = {index for index, _ in columns}
        extras = tuple(index for index in range(len(names)) if index not in in_columns)
        pending = False
        if extras:
            if expires is None:
                self._warn(names[index] for index in extras)
            if EXTRAS not in self._columns:
                expires = self._grow_if_possible({EXTRAS: "JSONB"}, {})
            pending = EXTRAS not in self._columns
            self._has_pending |= pending
        upsert = self._table.upsert([names[index] for index, _ in columns], extras=bool(extras), pending=pending)
        convert = None if extras else self._table.row_converter([convert for _, convert in columns])
        return _Plan(names, upsert, tuple(columns), convert, extras, expires)

    def _look(self, connection: Any) -> None:
        columns = self._client.engine.table_columns(connection, "metrics")
        if columns != self._columns:
            self._plans.clear()
            self._columns = columns
        if not columns:
            raise NotSetUpError(f"the database has no sqltrack tables; {NotSetUpError.ADVICE}")

    def _places(self, types: Mapping[str, type], misfits: frozenset[str]) -> _Places:
        """Return where metrics go as the table is known to be."""
        places = _Places({}, {}, {})
        for name, typ in types.items():
            sql_type = self._columns.get(name)
            if name in misfits or name in KEY or name == EXTRAS:
                continue
            if sql_type is None:
                self._place_new(places, name, typ)
                continue
            try:
                places.converters[name] = self._table.converter(sql_type, typ)
            except TypeError:
                wider_type = self._table.wider_type(sql_type, typ)
                if wider_type is not None:
                    places.widened[name] = wider_type
        return places

    def _place_new(self, places: _Places, name: str, typ: type) -> None:
        if not self._table.can_be_column(name, {**self._columns, **places.added}):
            return
        try:
            # A metric that begins with None will most likely be a number.
            places.added[name] = self._client.engine.map_type(self._client, float if typ is type(None) else typ)
        except TypeError:
            return

    def _grow_if_possible(self, added: Mapping[str, str], widened: Mapping[str, str]) -> float | None:
        """Change the table; return None if that is settled, else when (monotonic) to try again."""
        now = time.monotonic()
        if now < self._growing_again:
            return self._growing_again
        client, table = self._client, self._table
        if client.in_block and table.grows_beside:
            in_use: list[bool] = []
            client.call(lambda connection: in_use.append(table.is_in_use(connection)))
            if in_use[0]:
                return now
            grown = client.call_beside(lambda connection: self._grow(connection, added, widened))
        else:
            grown = client.call(lambda connection: self._grow(connection, added, widened))
        if not grown:
            self._growing_again = time.monotonic() + _GROWING_PAUSE
            return self._growing_again
        return None

    def _grow(self, connection: Any, added: Mapping[str, str], widened: Mapping[str, str]) -> bool:
        grown = self._table.grow(connection, added, widened)
        self._look(connection)
        return grown

    def _warn(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self._warned:
                self._warned.add(name)
                get_logger("metrics").warning(
                    "metric %r is stored in the column metrics.extras, because its name, its type or the size of the "
                    "table keeps it from a column of its own",
                    name,
                )

    # -- runs -----------------------------------------------------------------------------------------------------

    def _touch_due(self, run_id: int) -> datetime | None:
        """Return the time to touch a run with, None if it is tracked and was touched less than a second ago."""
        if not self._client.tracks(run_id):
            return utc_now()
        now = time.monotonic()
        if now - self._touched.get(run_id, -math.inf) < _TOUCH_INTERVAL:
            return None
        self._touched[run_id] = now
        return utc_now()

    def _refuse_missing_run(self, run_id: int) -> None:
        if self._client.in_block:
            # The transaction has failed, PostgreSQL answers no further question in it.
            return
        rows = self._client.execute("SELECT id FROM runs WHERE id = %s", (run_id,)).fetchall()
        if not rows:
            raise MissingRunError(run_id, "it may have been deleted")


def _normalise(key: tuple[int, int, float], metrics: Mapping[str, Any]) -> _Row:
    """Return the metrics of one call with values of plain types."""
    names = tuple(metrics)
    values: Sequence[Any] = tuple(metrics.values())
    types = tuple(map(type, values))
    if not _PLAIN_TYPES.issuperset(types):
        values = tuple(_plain_value(name, value) for name, value in metrics.items())
        types = tuple(map(type, values))
    if datetime in types:
        for value in values:
            if isinstance(value, datetime):
                as_time(value)
    return _Row(key, names, values, types)


def _batch_row(run_id: int, row: Mapping[str, Any]) -> _Row:
    metrics = dict(row)
    if "step" not in metrics and "progress" not in metrics:
        raise UnusableValueError(f"each row needs 'step' or 'progress' beside its metrics, got {row!r}")
    step, progress = metrics.pop("step", 0), metrics.pop("progress", 0.0)
    return _normalise((run_id, _as_step(step), _as_progress(progress)), metrics)


def _check_name(name: Any) -> None:
    if not isinstance(name, str) or not name:
        raise UnusableValueError(f"the name of a metric must be a str that is not empty, got {name!r}")
    if "\0" in name or not is_storable_text(name):
        raise UnusableValueError(f"the name of a metric must not hold NUL or lone surrogates, got {name!r}")


def _plain_value(name: str, value: Any) -> Any:
    """Return a metric's value as an instance of a plain type.

    numpy and torch scalars and their 0-d arrays are numbers, recognised by `.item()` without importing either.
    """
    if type(value) in _PLAIN_TYPES:
        return value
    if isinstance(value, Jsonb):
        return plain(value.obj)
    item = getattr(value, "item", None)
    if item is not None:
        value = _item(name, value)
    decimal = sys.modules.get("decimal")
    if decimal is not None and isinstance(value, decimal.Decimal):
        return float(value) if value != value or float(value) == value else value
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
