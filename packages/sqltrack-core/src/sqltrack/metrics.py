"""Write metrics: one row per point in time, one column per metric, added when a metric is first logged."""

from __future__ import annotations

import contextlib
import itertools
import math
import time
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from sqltrack._logging import get_logger, has_ended
from sqltrack._metric_values import MetricsRow, Row, batch_row, check_name, copied_row, make_row
from sqltrack._oversights import Oversights
from sqltrack._times import Timestamp, as_time, utc_now
from sqltrack.engines._spelling import quote
from sqltrack.engines.metrics_table import (
    Converter,
    Fault,
    MetricsTable,
    MisfitError,
    MovedRow,
    RowConverter,
    Upsert,
)
from sqltrack.engines.schema import EXTRAS, KEY
from sqltrack.errors import DatabaseError, DatabaseUnavailableError, MissingRunError, NotSetUpError, SQLTrackError

if TYPE_CHECKING:
    from sqltrack._sessions import Session

__all__ = ["MetricsRow", "MetricsWriter"]

# Seconds by which a tracked run's time_updated may lag behind its metrics.
_TOUCH_INTERVAL = 1.0

# Seconds for which the table is left as it is after others did not let go of it.
_GROWING_PAUSE = 10.0

# The same in a block that uses the table itself. When the block has ended, the table is looked at anew.
_PAUSE_IN_BLOCK = 1.0

# Seconds that changing the table beside a block may take. All blocks together may hold the connections of a pooler.
_BESIDE_BLOCK = 5.0

# Rows that a transaction moves from the extras to columns.
_MOVED_AT_ONCE = 500

# A row that is too big loses half of its columns each time, of at most 1,600.
_MAX_ATTEMPTS = 16
_MAX_PLANS = 1000

# A call with so many metrics fills rows by itself. One with fewer meets a full row by chance, and all of it goes to the
# extras of that row alone.
_MANY = 200

# Values that are remembered until there are columns for them.
_MAX_WAITING = 100_000

# Names in a warning.
_MAX_NAMED = 3

# New metrics of a call among which a slip is looked for; more are a family, or a schema of its own.
_MAX_SLIPS = 10


# Columns that are no metrics.
_OWN = frozenset({*KEY, EXTRAS})


def _as_null(value: Any) -> None:
    """Convert the value of a metric that is not stored in its column."""


def _refuse(value: Any) -> None:
    """Convert a value whose type the column does not hold."""
    raise MisfitError


def _types_by_name(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[type]]:
    """Return the types of the values of each metric, in the order in which they come."""
    types: dict[str, dict[type, None]] = {}
    for values in rows:
        for name, value in values.items():
            types.setdefault(name, {})[type(value)] = None
    return {name: list(found) for name, found in types.items()}


def _moved_row(
    key: tuple[int, int, float],
    values: Mapping[str, Any],
    converters: Mapping[str, Mapping[type, Converter | None]],
) -> MovedRow:
    """Return those metrics of a row that fit their columns."""
    bound: dict[str, Any] = {}
    for name, value in values.items():
        if name in converters:
            convert = converters[name][type(value)]
            with contextlib.suppress(MisfitError):
                bound[name] = value if convert is None else convert(value)
    return MovedRow(key, bound, {name: values[name] for name in bound})


class _Plan(NamedTuple):
    """How metrics with certain names and types of values are stored.

    Attributes:
        names: names of the metrics.
        upsert: the statement.
        columns: the metrics that are columns, as indices into `names`, each with its converter.
        convert: converts all values at once, if all are columns.
        extras: the indices of the others.
        waiting: the indices of those of the extras that can be columns, once the table lets them be added.
        stored: how many metrics are stored in columns.
        warnings: names of metrics that stay among the extras, and why, until that was told.
        expires: time (monotonic) after which to look for something better, None for never.
    """

    names: tuple[str, ...]
    upsert: Upsert
    columns: tuple[tuple[int, Converter | None], ...]
    convert: RowConverter | None
    extras: tuple[int, ...]
    waiting: tuple[int, ...]
    stored: int
    warnings: list[tuple[Sequence[str], str]]
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


class _Waiting:
    """Metrics that are among the extras of their rows only until there are columns for them.

    Attributes:
        rows: names and values, by run id, step and progress.
    """

    def __init__(self) -> None:
        self.rows: dict[tuple[int, int, float], dict[str, Any]] = {}
        self._number = 0

    def add(self, key: tuple[int, int, float], values: Mapping[str, Any]) -> bool:
        """Remember metrics of a row; return False if there are too many."""
        if self._number + len(values) > _MAX_WAITING:
            return False
        self._number += len(values)
        self.rows.setdefault(key, {}).update(values)
        return True


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
        self._may_grow = True
        self._has_grown = False
        self._has_pending = False
        self._has_warned_of_pending = False
        self._waiting = _Waiting()
        self._waiting_in_blocks: dict[Hashable, _Waiting] = {}
        self._warned: set[str] = set()
        self._touched: dict[int, float] = {}
        self._oversights = Oversights(session)
        session.subscribe(after_commit=self._end_block, before_rollback=self._forget_block)

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
        last = self._oversights.last.get(run_id)
        try:
            if last is None:
                self._oversights.look_at(row, self._known_columns)
            self._write(row, touched)
        except DatabaseError as error:
            self._touched.pop(run_id, None)
            self._refuse_missing_run(run_id, error)
            raise
        if last is None:
            self._oversights.look_again(run_id)
        elif last.key == row.key:
            self._oversights.compare(row, last)
            return
        elif row.key[1] < last.key[1]:
            self._oversights.went_back(row, last)
        self._oversights.last[run_id] = row

    def _add_many(self, run_id: int, batch: Sequence[Row], updated_at: datetime | None) -> None:
        try:
            if batch and run_id not in self._oversights.last:
                self._oversights.look_at(batch[0], self._known_columns)
            with self._session.transaction():
                # All columns first: once the transaction has written, it is itself in the way of further ones.
                plans = [self._bind(row)[0] for row in batch]
                for _, group in itertools.groupby(zip(plans, batch), key=lambda pair: id(pair[0])):
                    self._write_group([row for _, row in group])
                if updated_at is not None:
                    sql = "UPDATE runs SET time_updated = %s WHERE id = %s"
                    self._session.call(lambda connection: connection.execute(sql, (updated_at, run_id)))
        except DatabaseError as error:
            self._refuse_missing_run(run_id, error)
            raise
        if batch:
            if run_id not in self._oversights.last:
                self._oversights.look_again(run_id)
            self._oversights.compare_many(batch)

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

    def expect(self, run_id: int, status: str | None) -> None:
        """Expect the first metrics of a run that is being started.

        Args:
            run_id: id of the run.
            status: the run's status before, None if it had none.
        """
        self._oversights.begin(run_id, status)

    def was_touched(self, run_id: int) -> None:
        """Remember that a run's `time_updated` has just been set to now."""
        self._touched[run_id] = time.monotonic()

    def invalidate(self) -> None:
        """Look at the table anew, because it is not as it was."""
        self._columns.clear()
        self._plans.clear()
        self._oversights.forget()

    def move_pending(self) -> None:
        """Move metrics that wait for columns or in another table to where they belong, if others let go of the table.

        That may take a second.
        """
        if self._has_pending or self._waiting.rows:
            self._session.submit(self._move_pending)

    def _move_pending(self) -> None:
        if self._session.block is not None:
            return
        if self._has_pending:
            self._move_from_pending_table()
        if self._waiting.rows and not self._has_pending:
            self._move_to_columns()

    def _move_from_pending_table(self) -> None:
        try:
            extras = {EXTRAS: self._map_type(dict)}
            grown = self._session.call(lambda connection: self._grow(connection, extras, {}))
        except SQLTrackError as error:
            grown = False
            self._warn_of_pending(error, "in another table")
        self._has_pending = not grown
        if not grown:
            self._growing_again = time.monotonic() + _GROWING_PAUSE

    def _move_to_columns(self) -> None:
        """Add the columns that metrics wait for, and move them there, unless the table has to stay as it is for now."""
        waiting, self._waiting = self._waiting, _Waiting()
        self._has_grown = False
        try:
            is_moved = self._move_waiting(waiting.rows)
        except SQLTrackError as error:
            is_moved = False
            self._warn_of_pending(error, "in the column metrics.extras")
        if not is_moved:
            for key, values in waiting.rows.items():
                self._waiting.add(key, {**values, **self._waiting.rows.get(key, {})})

    def _move_waiting(self, rows: Mapping[tuple[int, int, float], Mapping[str, Any]]) -> bool:
        self._session.call(self._read_columns)
        types = _types_by_name(rows.values())
        places = self._places({name: self._common_type(name, found) for name, found in types.items()}, frozenset())
        known = [name for name in self._columns if name not in types and name not in _OWN]
        if (places.added or places.widened) and self._grow_if_possible(places.added, places.widened) is not None:
            return False
        self._warn_of_slips(places.added, known)
        converters = {
            name: {typ: self._converter_or_misfit(sql_type, typ) for typ in types[name]}
            for name, sql_type in self._columns.items()
            if name in types
        }
        groups: dict[tuple[str, ...], list[MovedRow]] = {}
        for key, values in sorted(rows.items(), key=lambda row: row[0]):
            moved = _moved_row(key, values, converters)
            groups.setdefault(tuple(moved.values), []).append(moved)
        for names, group in groups.items():
            for begin in range(0, len(group) if names else 0, _MOVED_AT_ONCE):
                self._move_group(names, group[begin : begin + _MOVED_AT_ONCE])
        return True

    def _common_type(self, name: str, types: Sequence[type]) -> type:
        """Return for which of the types a metric's column is made, or widened, to hold the most of its values.

        It is the column that the metric would have if each value had found the table free.
        """
        common = next((typ for typ in types if typ is not type(None)), type(None))
        sql_type = self._columns.get(name)
        if sql_type is None:
            sql_type = self._map_type(float if common is type(None) else common)
        for typ in types:
            wider_type = self._table.wider_type(sql_type, typ)
            if wider_type is not None:
                common, sql_type = typ, wider_type
        return common

    def _converter_or_misfit(self, sql_type: str, typ: type) -> Converter | None:
        try:
            return self._table.converter(sql_type, typ)
        except TypeError:
            return _refuse

    def _move_group(self, names: Sequence[str], rows: Sequence[MovedRow]) -> None:
        """Move metrics of rows; those that the database refuses stay among the extras, and the others are moved.

        Raises:
            DatabaseUnavailableError: the database is not there.
        """
        try:
            self._session.call(lambda connection: self._table.move_to_columns(connection, names, rows))
        except DatabaseUnavailableError:
            raise
        except DatabaseError as error:
            if len(names) == 1:
                self._warn(names, f"they cannot be moved to columns: {error}")
                return
            for name in names:
                self._move_group([name], rows)

    def _end_block(self, block: Hashable) -> None:
        """Let metrics of a block that has ended get their columns, unless others did not let go of the table."""
        in_block = self._waiting_in_blocks.pop(block, None)
        if in_block is not None:
            for key, values in in_block.rows.items():
                self._remember(self._waiting, key, values)
        if time.monotonic() >= self._growing_again:
            self._move_pending()

    def _forget_block(self, block: Hashable) -> None:
        self._waiting_in_blocks.pop(block, None)
        self.invalidate()

    def _wait_for_columns(self, row: Row, plan: _Plan) -> None:
        """Remember the metrics of a row that can be columns, but are not yet."""
        block = self._session.block
        waiting = self._waiting if block is None else self._waiting_in_blocks.setdefault(block, _Waiting())
        self._remember(waiting, row.key, {plan.names[index]: row.values[index] for index in plan.waiting})

    def _remember(self, waiting: _Waiting, key: tuple[int, int, float], values: Mapping[str, Any]) -> None:
        if not waiting.add(key, values):
            self._warn(values, "too many values wait for a column (sqltrack tidy moves them)")

    def _write(self, row: Row, touched: datetime | None) -> None:
        """Write a row, again and again while the database says that the table is not as was known."""
        limit: int | None = None
        for attempt in itertools.count(1):  # pragma: no branch - it counts without end
            plan, bound = self._bind(row, limit)
            values = (*row.key, *bound)
            try:
                if touched is None:
                    store = partial(plan.upsert.execute, values=values)
                else:
                    store = partial(plan.upsert.execute_and_touch, values=values, updated=touched)
                self._session.call_guarded(store)
            except DatabaseError as error:
                fault = self._fault_of(error)
                if attempt == _MAX_ATTEMPTS or fault is None:
                    raise
                if fault is Fault.STALE:
                    self.invalidate()
                elif plan.stored:
                    limit = self._lower_limit(plan)
                elif not self._make_room(row.key):
                    raise
            else:
                if plan.extras or self._has_grown:
                    self._after_write([row], plan)
                return

    def _write_group(self, rows: Sequence[Row]) -> None:
        """Write rows of one plan with one call, or one by one if that fails for a reason that can be helped."""
        plan = self._bind(rows[0])[0]
        bound = [(*row.key, *self._bind(row)[1]) for row in rows]
        try:
            self._session.call_guarded(lambda connection: plan.upsert.execute_many(connection, bound))
        except DatabaseError as error:
            fault = self._fault_of(error)
            if fault is None:
                raise
            if fault is Fault.STALE:
                self.invalidate()
            for row in rows:
                self._write(row, None)
        else:
            self._after_write(rows, plan)

    def _after_write(self, rows: Sequence[Row], plan: _Plan) -> None:
        while plan.warnings:
            self._warn(*plan.warnings.pop())
        if plan.waiting:
            for row in rows:
                self._wait_for_columns(row, plan)
        elif self._has_grown:
            self._has_grown = False
            if self._waiting.rows:
                self._move_pending()

    def _fault_of(self, error: DatabaseError) -> Fault | None:
        return self._table.fault_of(error.__cause__) if error.__cause__ is not None else None

    def _lower_limit(self, plan: _Plan) -> int:
        """Return how many metrics of a call to store in columns of a row that is too big."""
        if len(plan.names) < _MANY:
            return 0
        # This call will fill other rows as well.
        limit = self._row_limits[plan.names] = plan.stored // 2
        return limit

    def _make_room(self, key: tuple[int, int, float]) -> bool:
        """Make room for the extras of a row that is full; return whether there is more of it."""
        made: list[bool] = []
        self._session.call_guarded(lambda connection: made.append(self._table.make_room(connection, key)))
        return any(made)

    def _bind(self, row: Row, limit: int | None = None) -> tuple[_Plan, Sequence[Any]]:
        """Return how to store a row, with at most so many metrics in columns, and what to bind."""
        misfits: frozenset[str] = frozenset()
        while True:
            plan = self._plan(row, misfits, limit)
            try:
                return plan, plan.bind(row.values, self._table)
            except _MisfitsError as found:
                misfits |= found.names

    def _plan(self, row: Row, misfits: frozenset[str], limit: int | None) -> _Plan:
        if limit is None and self._row_limits:
            limit = self._row_limits.get(row.names)
        key = (row.names, row.types, misfits, row.kept, limit)
        plan = self._plans.get(key)
        if plan is None or (plan.expires is not None and time.monotonic() >= plan.expires):
            if len(self._plans) >= _MAX_PLANS:
                self._plans.clear()
            plan = self._make_plan(dict(zip(row.names, row.types)), misfits, row.kept, limit)
            self._plans[key] = plan
        return plan

    def _make_plan(
        self, types: Mapping[str, type], misfits: frozenset[str], kept: frozenset[str], limit: int | None
    ) -> _Plan:
        for name in types:
            check_name(name)
        self._session.call(self._read_columns)
        kept = frozenset(name for name in kept if name not in self._columns)
        misfits |= kept
        places = self._places(types, misfits)
        expires = None
        if places.added or places.widened:
            known = [name for name in self._columns if name not in types and name not in _OWN]
            expires = self._grow_if_possible(places.added, places.widened)
            self._warn_of_slips(places.added, known)
            places = self._places(types, misfits)
        names = tuple(types)
        columns = [(i, places.converters[name]) for i, name in enumerate(names) if name in places.converters][:limit]
        stored = len(columns)
        in_columns = {index for index, _ in columns}
        extras = tuple(index for index in range(len(names)) if index not in in_columns)
        # What goes to the extras takes the place of a value that the column has, which would be read in its stead.
        columns += [(i, _as_null) for i in extras if names[i] in self._columns and names[i] not in _OWN]
        waiting: tuple[int, ...] = ()
        warnings: list[tuple[Sequence[str], str]] = []
        pending = False
        if extras:
            later = {*places.added, *places.widened} if expires is not None else set()
            waiting = tuple(index for index in extras if names[index] in later)
            told = {names[index]: types[names[index]] for index in extras if names[index] not in kept}
            warnings = self._warnings(told, later, misfits)
            if EXTRAS not in self._columns:
                expires = self._grow_if_possible({EXTRAS: self._map_type(dict)}, {})
            pending = EXTRAS not in self._columns
            self._has_pending |= pending
        upsert = self._table.upsert(
            [names[index] for index, _ in columns],
            extras=bool(extras),
            pending=pending,
            has_extras=EXTRAS in self._columns,
        )
        convert = None if extras else self._table.row_converter([convert for _, convert in columns])
        waiting = waiting if self._may_grow else ()
        return _Plan(names, upsert, tuple(columns), convert, extras, waiting, stored, warnings, expires)

    def _known_columns(self) -> Mapping[str, str]:
        if not self._columns:
            self._session.call(self._read_columns)
        return self._columns

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
        if session.block is not None and table.grows_beside:
            if session.call(table.is_in_use):
                return now + _PAUSE_IN_BLOCK
            grown = self._grow_beside(added, widened)
        else:
            grown = session.call(lambda connection: self._grow(connection, added, widened))
        if not grown:
            self._growing_again = time.monotonic() + _GROWING_PAUSE
            self._may_grow = session.call(table.may_grow)
            return self._growing_again
        self._may_grow = self._has_grown = True
        return None

    def _grow_beside(self, added: Mapping[str, str], widened: Mapping[str, str]) -> bool:
        """Change the table on a connection beside that of the block, for which there may be none."""
        try:
            return self._session.call_outside(lambda connection: self._grow(connection, added, widened), _BESIDE_BLOCK)
        except DatabaseUnavailableError:
            return False

    def _grow(self, connection: Any, added: Mapping[str, str], widened: Mapping[str, str]) -> bool:
        grown = self._table.grow(connection, added, widened)
        self._read_columns(connection)
        return grown

    def _warnings(
        self, types: Mapping[str, type], later: Collection[str], misfits: Collection[str]
    ) -> list[tuple[Sequence[str], str]]:
        """Return of which metrics to warn, and why: all that stay among the extras, but those that become columns."""
        if has_ended():
            return []
        from sqltrack._extras_reasons import reason_for_extras

        names_by_reason: dict[str, list[str]] = {}
        for name, typ in types.items():
            if name not in later and name not in self._warned:
                reason = reason_for_extras(
                    name,
                    typ,
                    columns=self._columns,
                    table=self._table,
                    map_type=self._map_type,
                    is_misfit=name in misfits,
                )
                names_by_reason.setdefault(reason, []).append(name)
        warnings: list[tuple[Sequence[str], str]] = [(names, reason) for reason, names in names_by_reason.items()]
        if not self._may_grow:
            denied = [name for name in types if name in later]
            warnings.append((denied, "this user may not add columns (sqltrack tidy, executed by the owner, does)"))
        return warnings

    def _warn_of_slips(self, added: Iterable[str], known: Sequence[str]) -> None:
        """Warn of new columns whose names look like slips of others that are not logged with them."""
        new = [name for name in added if name in self._columns and name != EXTRAS]
        if not new or not known or len(new) > _MAX_SLIPS or has_ended():
            return
        from sqltrack._similar_names import similar_name

        for name in new:
            meant = similar_name(name, known)
            if meant is not None:
                import shlex

                get_logger("metrics").warning(
                    "new metric %s, similar to %s; if it is a typo: sqltrack rename-metric %s %s --merge",
                    *(quote(name), quote(meant), shlex.quote(name), shlex.quote(meant)),
                )

    def _warn(self, names: Iterable[str], why: str) -> None:
        """Warn of metrics, once for each name."""
        new = [name for name in names if name not in self._warned]
        self._warned.update(new)
        if not new:
            return
        named = ", ".join(map(quote, new[:_MAX_NAMED]))
        if len(new) > _MAX_NAMED:
            named = f"{named} and {len(new) - _MAX_NAMED:,} more"
        subject = f"metrics {named} are" if len(new) > 1 else f"metric {named} is"
        get_logger("metrics").warning("%s stored in the column metrics.extras: %s", subject, why)

    def _warn_of_pending(self, error: SQLTrackError, where: str) -> None:
        if not self._has_warned_of_pending:
            self._has_warned_of_pending = True
            get_logger("metrics").warning("metrics wait %s: %s", where, error)

    def _touch_due(self, run_id: int) -> datetime | None:
        """Return the time to touch a run with, None if it is tracked and was touched less than a second ago."""
        if not self._session.tracks(run_id):
            return utc_now()
        now = time.monotonic()
        if now - self._touched.get(run_id, -math.inf) < _TOUCH_INTERVAL:
            return None
        self._touched[run_id] = now
        return utc_now()

    def _refuse_missing_run(self, run_id: int, error: DatabaseError) -> None:
        """Raise MissingRunError if that is what an error means."""
        if isinstance(error, DatabaseUnavailableError):
            # To ask would mean to wait for the database once more.
            return
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
