"""Write metrics: one row per point in time, one column per metric, added when a metric is first logged."""

from __future__ import annotations

import contextlib
import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from sqltrack._logging import get_logger
from sqltrack._metric_values import MetricsRow, Row, batch_row, check_name, copied_row, make_row
from sqltrack._times import Timestamp, as_time, utc_now
from sqltrack.engines.metrics_table import Converter, Fault, MetricsTable, MisfitError, RowConverter, Upsert
from sqltrack.engines.schema import EXTRAS, KEY
from sqltrack.errors import DatabaseError, MissingRunError, NotSetUpError, SQLTrackError

if TYPE_CHECKING:
    from sqltrack._sessions import Session

__all__ = ["MetricsRow", "MetricsWriter"]

# Seconds by which a tracked run's time_updated may lag behind its metrics.
_TOUCH_INTERVAL = 1.0

# Seconds for which the table is left as it is after others did not let go of it.
_GROWING_PAUSE = 10.0

# A row that is too big loses half of its columns each time, of at most 1,600.
_MAX_ATTEMPTS = 16
_MAX_PLANS = 1000


# Columns that are no metrics.
_OWN = frozenset({*KEY, EXTRAS})


def _as_null(value: Any) -> None:
    """Convert the value of a metric that is not stored in its column."""


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
        session: does the work.
        map_type: returns the SQL type of a column for values of a Python type; raises TypeError if none fits.
    """

    def __init__(self, session: Session, map_type: Callable[[type], str]) -> None:
        self._session = session
        self._map_type = map_type
        self._engine = session.engine
        self._table = session.engine.metrics_table
        self._columns: dict[str, str] = {}
        self._plans: dict[tuple[Any, ...], _Plan] = {}
        self._row_limits: dict[tuple[str, ...], int] = {}
        self._growing_again = -math.inf
        self._has_pending = False
        self._has_warned_of_pending = False
        self._warned: set[str] = set()
        self._touched: dict[int, float] = {}
        session.subscribe(after_commit=self._move_pending_soon, before_rollback=self.invalidate)

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
        row = make_row(run_id, metrics, step, progress)
        run_id = row.key[0]
        touched = self._touch_due(run_id) if updated == "auto" else as_time(updated)
        self._session.submit(self._add, row, touched)

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
        batch = [batch_row(run_id, row) for row in rows]
        # In one order for all writers, or two with the same rows could wait for each other.
        batch.sort(key=lambda row: row.key)
        updated_at = as_time(updated)
        self._session.submit(self._add_many, run_id, batch, updated_at)

    def _add(self, row: Row, touched: datetime | None) -> None:
        run_id = row.key[0]
        try:
            self._write(row, touched)
        except DatabaseError:
            self._touched.pop(run_id, None)
            self._refuse_missing_run(run_id)
            raise

    def _add_many(self, run_id: int, batch: Sequence[Row], updated_at: datetime | None) -> None:
        try:
            with self._session.transaction():
                # All columns first: once the transaction has written, it is itself in the way of further ones.
                plans = [self._bind(row)[0] for row in batch]
                for _, group in itertools.groupby(zip(plans, batch), key=lambda pair: id(pair[0])):
                    self._write_group([row for _, row in group])
                if updated_at is not None:
                    sql = "UPDATE runs SET time_updated = %s WHERE id = %s"
                    self._session.call(lambda connection: connection.execute(sql, (updated_at, run_id)))
        except DatabaseError:
            self._refuse_missing_run(run_id)
            raise

    def add_columns(self, types: Mapping[str, type]) -> None:
        """Add the columns that are missing for metrics with values of these Python types, as far as that is possible.

        Args:
            types: names of metrics, and of the column `extras` if it is needed, with their types.
        """
        self._session.perform(lambda: self._add_columns(types))

    def _add_columns(self, types: Mapping[str, type]) -> None:
        self._session.call(self._read_columns)
        places = _Places({}, {}, {})
        for name, typ in types.items():
            check_name(name)
            if name == EXTRAS and EXTRAS not in self._columns:
                places.added[EXTRAS] = self._map_type(dict)
            elif name not in self._columns and name not in KEY:
                self._place_new(places, name, typ)
        if places.added:
            self._grow_if_possible(places.added, {})

    def add_copies(self, run_id: int, rows: Iterable[MetricsRow]) -> None:
        """Store rows that were read from a database, all or none; what they do not name stays.

        This must not be called inside of a `with` block of the client. The run's `time_updated` is left alone.

        Args:
            run_id: id of the run.
            rows: the rows, no two of the same step and progress.

        Raises:
            UnusableValueError: (a ValueError) a name or value cannot be stored.
            MissingRunError: (a ValueError) the run does not exist.
        """
        batch = [copied_row(run_id, row) for row in rows]
        self._session.perform(lambda: self._add_copies(run_id, batch))

    def _add_copies(self, run_id: int, batch: Sequence[Row]) -> None:
        # All columns first, and outside of the transaction, which would be in the way of further ones.
        plans = [self._bind(row)[0] for row in batch]
        groups: dict[int, list[Row]] = {}
        for plan, row in zip(plans, batch):
            groups.setdefault(id(plan), []).append(row)
        with self._session.transaction():
            # Rows are not stored in one order for all, so whoever does the same for this run must wait.
            self._session.call(lambda connection: self._engine.lock_rows(connection, "runs", [run_id]))
            if not self._exists(run_id):
                raise MissingRunError(run_id, "it may have been deleted")
            for group in groups.values():
                self._write_group(group)

    @contextlib.contextmanager
    def bulk(self) -> Iterator[None]:
        """Keep connections for all calls in the `with` block, as while a run is tracked."""
        with self._session.keeping_connections():
            yield

    def invalidate(self) -> None:
        """Look at the table anew, because it is not as it was."""
        self._columns.clear()
        self._plans.clear()

    def move_pending(self) -> None:
        """Move metrics that wait in another table to where they belong, if others let go of the table now.

        That may take a second.
        """
        if self._has_pending:
            self._session.submit(self._move_pending)

    def _move_pending(self) -> None:
        if not self._has_pending or self._session.in_block:
            return
        try:
            extras = {EXTRAS: self._map_type(dict)}
            grown = self._session.call_outside(lambda connection: self._grow(connection, extras, {}))
        except SQLTrackError as error:
            grown = False
            self._warn_of_pending(error)
        self._has_pending = not grown
        if not grown:
            self._growing_again = time.monotonic() + _GROWING_PAUSE

    def _move_pending_soon(self) -> None:
        """Do the same unless others did not let go of the table a moment ago."""
        if time.monotonic() >= self._growing_again:
            self._move_pending()

    def _write(self, row: Row, touched: datetime | None) -> None:
        """Write a row, again and again while the database says that the table is not as was known."""
        for attempt in itertools.count(1):  # pragma: no branch - it counts without end
            plan, bound = self._bind(row)
            values = (*row.key, *bound)
            try:
                if touched is None:
                    store = partial(plan.upsert.execute, values=values)
                else:
                    store = partial(plan.upsert.execute_and_touch, values=values, updated=touched)
                self._session.call_guarded(store)
                return
            except DatabaseError as error:
                if attempt == _MAX_ATTEMPTS or not self._learn(error, plan):
                    raise

    def _write_group(self, rows: Sequence[Row]) -> None:
        """Write rows of one plan with one call, or one by one if that fails for a reason that can be helped."""
        plan = self._bind(rows[0])[0]
        bound = [(*row.key, *self._bind(row)[1]) for row in rows]
        try:
            self._session.call_guarded(lambda connection: plan.upsert.execute_many(connection, bound))
        except DatabaseError as error:
            if not self._learn(error, plan):
                raise
            for row in rows:
                self._write(row, None)

    def _learn(self, error: DatabaseError, plan: _Plan) -> bool:
        """Learn from a failed statement; return whether it is worth another try."""
        fault = self._table.fault_of(error.__cause__) if error.__cause__ is not None else None
        if fault is Fault.TOO_BIG:
            self._row_limits[plan.names] = len(plan.columns) // 2
            self._plans.clear()
            return bool(plan.columns)
        if fault is Fault.STALE:
            self.invalidate()
            return True
        return False

    def _bind(self, row: Row) -> tuple[_Plan, Sequence[Any]]:
        """Return how to store a row, and what to bind."""
        misfits: frozenset[str] = frozenset()
        while True:
            plan = self._plan(row, misfits)
            try:
                return plan, plan.bind(row.values, self._table)
            except _MisfitsError as found:
                misfits |= found.names

    def _plan(self, row: Row, misfits: frozenset[str]) -> _Plan:
        key = (row.names, row.types, misfits, row.kept)
        plan = self._plans.get(key)
        if plan is None or (plan.expires is not None and time.monotonic() >= plan.expires):
            if len(self._plans) >= _MAX_PLANS:
                self._plans.clear()
            plan = self._plans[key] = self._make_plan(dict(zip(row.names, row.types)), misfits, row.kept)
        return plan

    def _make_plan(self, types: Mapping[str, type], misfits: frozenset[str], kept: frozenset[str]) -> _Plan:
        for name in types:
            check_name(name)
        self._session.call(self._read_columns)
        kept = frozenset(name for name in kept if name not in self._columns)
        misfits |= kept
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
        # What goes to the extras takes the place of a value that the column has, which would be read in its stead.
        columns += [(i, _as_null) for i in extras if names[i] in self._columns and names[i] not in _OWN]
        pending = False
        if extras:
            if expires is None:
                self._warn(names[index] for index in extras if names[index] not in kept)
            if EXTRAS not in self._columns:
                expires = self._grow_if_possible({EXTRAS: self._map_type(dict)}, {})
            pending = EXTRAS not in self._columns
            self._has_pending |= pending
        upsert = self._table.upsert([names[index] for index, _ in columns], extras=bool(extras), pending=pending)
        convert = None if extras else self._table.row_converter([convert for _, convert in columns])
        return _Plan(names, upsert, tuple(columns), convert, extras, expires)

    def _read_columns(self, connection: Any) -> None:
        columns = self._engine.table_columns(connection, "metrics")
        if columns != self._columns:
            self._plans.clear()
            self._columns = columns
        if not columns:
            raise NotSetUpError("the database has no sqltrack tables")

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
            places.added[name] = self._map_type(float if typ is type(None) else typ)
        except TypeError:
            return

    def _grow_if_possible(self, added: Mapping[str, str], widened: Mapping[str, str]) -> float | None:
        """Change the table; return None if that is settled, else when (monotonic) to try again."""
        now = time.monotonic()
        if now < self._growing_again:
            return self._growing_again
        session, table = self._session, self._table
        if session.in_block and table.grows_beside:
            if session.call(table.is_in_use):
                return now
            grown = session.call_outside(lambda connection: self._grow(connection, added, widened))
        else:
            grown = session.call(lambda connection: self._grow(connection, added, widened))
        if not grown:
            self._growing_again = time.monotonic() + _GROWING_PAUSE
            return self._growing_again
        return None

    def _grow(self, connection: Any, added: Mapping[str, str], widened: Mapping[str, str]) -> bool:
        grown = self._table.grow(connection, added, widened)
        self._read_columns(connection)
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

    def _warn_of_pending(self, error: SQLTrackError) -> None:
        if not self._has_warned_of_pending:
            self._has_warned_of_pending = True
            get_logger("metrics").warning("metrics wait in another table: %s", error)

    def _touch_due(self, run_id: int) -> datetime | None:
        """Return the time to touch a run with, None if it is tracked and was touched less than a second ago."""
        if not self._session.tracks(run_id):
            return utc_now()
        now = time.monotonic()
        if now - self._touched.get(run_id, -math.inf) < _TOUCH_INTERVAL:
            return None
        self._touched[run_id] = now
        return utc_now()

    def _refuse_missing_run(self, run_id: int) -> None:
        try:
            exists = self._exists(run_id)
        except DatabaseError:
            # The caller's transaction has failed, PostgreSQL answers no further question in it.
            return
        if not exists:
            raise MissingRunError(run_id, "it may have been deleted")

    def _exists(self, run_id: int) -> bool:
        sql = "SELECT id FROM runs WHERE id = %s"
        return bool(self._session.call(lambda connection: connection.execute(sql, (run_id,)).fetchall()))
