"""Write metrics: one row per point in time, and one column per metric, which is added when it is first logged."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqltrack._metric_columns import MetricColumns, Places
from sqltrack._metric_plans import Group, Plan, Plans
from sqltrack._metric_values import MetricsRow, Row, as_metrics, batch_rows, check_name, copied_rows, make_row
from sqltrack._metric_warnings import MetricWarnings
from sqltrack._oversights import Oversights
from sqltrack._times import Timestamp, as_time, utc_now
from sqltrack._waiting_metrics import WaitingMetrics
from sqltrack.engines.metrics_table import Fault, Upsert
from sqltrack.engines.schema import EXTRAS, KEY
from sqltrack.errors import DatabaseError, DatabaseUnavailableError, MissingRunError

if TYPE_CHECKING:
    from sqltrack._sessions import Session

__all__ = ["MetricsRow", "MetricsWriter"]

# Seconds by which the time_updated of a tracked run may lag behind its metrics.
_TOUCH_INTERVAL = 1.0

# Seconds that each of many rows adds to the time limit of a call that has one.
_PER_ROW = 0.001

# A row that is too big loses half of its columns each time, of at most 1,600.
_ATTEMPTS = tuple(range(1, 17))


class MetricsWriter:
    """Writes the metrics of a client's runs, and remembers the columns of the table.

    A metric is stored in the column of its name. If that is impossible, or the column cannot be added because other
    connections hold locks on the table, the metric goes into the JSON column `extras` instead.

    Args:
        session: runs the statements.
        map_type: returns the SQL type of a column for values of a Python type; raises TypeError if none fits.
        time_column: name of the metric for the time at which a row was logged, default: none.

    Attributes:
        samples: by the id of a run, a function that returns measurements since its last call, as metrics for the
            next row.
    """

    def __init__(self, session: Session, map_type: Callable[[type], str], time_column: str | None = None) -> None:
        self._session = session
        self._columns = MetricColumns(session, map_type)
        self._warnings = MetricWarnings(
            self._columns, None if session.outbox is None else session.outbox.warned_metrics
        )
        self._plans = Plans(self._columns, self._warnings)
        self._waiting = WaitingMetrics(session, self._columns, self._warnings)
        self._touched: dict[int, float] = {}
        self._oversights = Oversights(session, time_column)
        self._time_column = time_column
        self.samples: dict[int, Callable[[], Mapping[str, Any]]] = {}
        session.subscribe(after_commit=self._end_block, before_rollback=self._forget_block)

    def add(self, run_id: int, metrics: Mapping[str, Any], step: int, progress: float, updated: Timestamp) -> None:
        """Store metrics in the row of a point in time; other metrics in that row are kept.

        Args:
            run_id: id of the run.
            metrics: names and values.
            step: the row's step, an integer.
            progress: the row's progress.
            updated: value for the run's `time_updated`; "auto" is the current time, or up to a second ago if the run is
                tracked; None leaves it unchanged.

        Raises:
            UnusableValueError: (a ValueError) a name or value cannot be stored; nothing of the call is stored.
            MissingRunError: (a ValueError) the run does not exist.
        """
        if self._time_column is not None or self.samples:
            metrics = self._with_context(run_id, metrics)
        row = make_row(run_id, metrics, step, progress, self._plans.last_types)
        touched = self._touch_due(row.key[0]) if updated == "auto" else as_time(updated)
        self._session.submit(self._add, row, touched, updated == "auto")

    def add_many(self, run_id: int, rows: Iterable[Mapping[str, Any]], updated: Timestamp) -> None:
        """Store many rows of metrics, all or none.

        Args:
            run_id: id of the run.
            rows: one mapping for each row: metrics by name, and `step`, `progress` or both.
            updated: value for the run's `time_updated`.

        Raises:
            UnusableValueError: (a ValueError) a name or value cannot be stored; nothing of the call is stored.
            MissingRunError: (a ValueError) the run does not exist.
        """
        if self._time_column is not None:
            now = utc_now()
            rows = ({self._time_column: now, **as_metrics(row)} for row in rows)
        batch = list(batch_rows(run_id, rows))
        # All writers lock rows in the same order, to avoid deadlocks.
        batch.sort(key=lambda row: row.key)
        updated_at = as_time(updated)
        self._session.submit(self._add_many, run_id, batch, updated_at)

    def _with_context(self, run_id: int, metrics: Any) -> dict[str, Any]:
        """Return metrics with the time, and with measurements since the last row; names that they have are kept."""
        added: dict[str, Any] = {} if self._time_column is None else {self._time_column: utc_now()}
        sample = self.samples.get(run_id)
        if sample is not None:
            added.update(sample())
        return {**added, **as_metrics(metrics)}

    def _add(self, row: Row, touched: datetime | None, may_lag: bool) -> None:
        run_id = row.key[0]
        last = self._oversights.last.get(run_id)
        try:
            if last is None:
                self._oversights.look_at(row, self._columns.require)
            self._write(row, touched, may_lag)
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
        self._session.allow_more(len(batch) * _PER_ROW)
        try:
            if batch and run_id not in self._oversights.last:
                self._oversights.look_at(batch[0], self._columns.require)
            self.store(run_id, batch, updated_at)
        except DatabaseError as error:
            self._refuse_missing_run(run_id, error)
            raise
        if batch:
            if run_id not in self._oversights.last:
                self._oversights.look_again(run_id)
            self._oversights.compare_many(batch)

    def store(self, run_id: int, batch: Sequence[Row], updated_at: datetime | None) -> None:
        """Store rows of a run as part of other work, all or none, and set the run's `time_updated`.

        Args:
            run_id: id of the run.
            batch: the rows.
            updated_at: the time; None leaves it unchanged.
        """
        # Add all columns before the transaction, which would lock the table.
        groups = self._plans.bind_all(batch)
        with self._session.transaction():
            # In order, because later rows replace earlier ones of the same point in time.
            for group in groups:
                self._write_group(group)
            if updated_at is not None:
                sql = "UPDATE runs SET time_updated = %s WHERE id = %s"
                self._session.call(lambda connection: connection.execute(sql, (updated_at, run_id)))

    def fill(self, run_id: int, batch: Sequence[Row]) -> None:
        """Store those metrics of rows that have no value in the database yet, as part of other work.

        Args:
            run_id: id of the run.
            batch: the rows, whose columns exist.
        """
        missing = [row for row in map(self._without_present, batch) if row is not None]
        self.store(run_id, missing, None)

    def _without_present(self, row: Row) -> Row | None:
        """Return a row without the metrics that have a value in the database, None if no metrics are left."""
        sql = "SELECT * FROM metrics WHERE run_id = %s AND step = %s AND progress = %s"
        cursor = self._session.call(lambda connection: connection.execute(sql, row.key))
        found = cursor.fetchone()
        if found is None:
            return row
        stored = dict(zip((column[0] for column in cursor.description), found))
        extras = stored.get(EXTRAS) or {}
        left = [index for index, name in enumerate(row.names) if stored.get(name) is None and extras.get(name) is None]
        if not left:
            return None
        return row._replace(
            names=tuple(row.names[index] for index in left),
            values=tuple(row.values[index] for index in left),
            types=tuple(row.types[index] for index in left),
        )

    def require_columns(self, batch: Sequence[Row]) -> None:
        """Add the columns that rows need, where possible, as part of other work."""
        self._plans.bind_all(batch)

    def add_columns(self, types: Mapping[str, type]) -> None:
        """Add columns for metrics that have none and whose values are of these Python types, where possible.

        Args:
            types: types by the name of the metric, or of the column `extras` if it is needed.
        """
        self._session.perform(lambda: self._add_columns(types))

    def _add_columns(self, types: Mapping[str, type]) -> None:
        columns = self._columns
        columns.read()
        places = Places({}, {}, {})
        for name, typ in types.items():
            check_name(name)
            if name == EXTRAS and EXTRAS not in columns.known:
                places.added[EXTRAS] = columns.map_type(dict)
            elif name not in columns.known and name not in KEY:
                columns.place_new(places, name, typ)
        if places.added:
            columns.grow_if_possible(places.added, {})

    def add_copies(self, run_id: int, rows: Iterable[MetricsRow]) -> None:
        """Store rows that were read from a database, all or none; metrics that they do not name are kept.

        Do not call this in a `with` block of the client. The run's `time_updated` is left unchanged.

        Args:
            run_id: id of the run.
            rows: the rows, each with another step or progress.

        Raises:
            UnusableValueError: (a ValueError) a name or value cannot be stored.
            MissingRunError: (a ValueError) the run does not exist.
        """
        batch = list(copied_rows(run_id, rows))
        self._session.perform(lambda: self._add_copies(run_id, batch))

    def _add_copies(self, run_id: int, batch: Sequence[Row]) -> None:
        # Add all columns first, as in `store`.
        groups: dict[int, Group] = {}
        for part in self._plans.bind_all(batch):
            group = groups.setdefault(id(part.plan), Group(part.plan, [], []))
            group.rows.extend(part.rows)
            group.values.extend(part.values)
        with self._session.transaction():
            # Rows are not sorted here, so another process that copies to this run must wait.
            self._session.call(lambda connection: self._session.engine.lock_rows(connection, "runs", [run_id]))
            if not self._exists(run_id):
                raise MissingRunError(run_id, "it may have been deleted")
            for group in groups.values():
                self._write_group(group)

    @contextlib.contextmanager
    def bulk(self) -> Iterator[None]:
        """Keep connections open between the calls in the `with` block, as while a run is tracked."""
        with self._session.keeping_connections():
            yield

    def expect(self, run_id: int, status: str | None) -> None:
        """Prepare for the first metrics of a run that is being started.

        Args:
            run_id: id of the run.
            status: the run's status before, if any.
        """
        self._oversights.begin(run_id, status)

    def was_touched(self, run_id: int) -> None:
        """Remember that a run's `time_updated` was just set to the current time."""
        self._touched[run_id] = time.monotonic()

    def invalidate(self) -> None:
        """Forget the columns of the table, so that they are read again."""
        self._columns.forget()
        self._oversights.forget()

    def move_pending(self) -> None:
        """Move pending metrics, and those in `extras`, to their columns, unless other connections lock the table.

        This may take a second.
        """
        if self._columns.has_pending or self._waiting.wait_in_extras:
            self._session.submit(self._waiting.move)

    def _end_block(self, block: Hashable) -> None:
        """Add the columns that metrics of an ended block wait for, unless other connections lock the table."""
        self._waiting.end_block(block)
        if self._columns.may_grow_now:
            self._waiting.move()

    def _forget_block(self, block: Hashable) -> None:
        self._waiting.forget_block(block)
        self.invalidate()

    def _write(self, row: Row, touched: datetime | None = None, may_lag: bool = False) -> None:
        """Write a row, and retry while the database reports that the table has changed."""
        limit: int | None = None
        for attempt in _ATTEMPTS:
            plan, bound = self._plans.bind(row) if limit is None else self._plans.bind_anew(row, limit)
            try:
                if touched is None and plan.upsert.is_atomic:
                    self._session.call(plan.upsert.execute, (*row.key, *bound))
                else:
                    self._store_guarded(plan.upsert, (*row.key, *bound), touched, may_lag)
            except DatabaseError as error:
                fault = self._fault_of(error)
                if attempt == _ATTEMPTS[-1] or fault is None:
                    raise
                if fault is Fault.STALE:
                    self.invalidate()
                elif plan.stored:
                    limit = self._plans.lower_limit(plan)
                elif not self._make_room(row.key):
                    raise
            else:
                if plan.extras or self._columns.has_grown:
                    self._after_write([row], plan)
                return

    def _store_guarded(self, upsert: Upsert, values: Sequence[Any], touched: datetime | None, may_lag: bool) -> None:
        if touched is None:
            self._session.call_guarded(upsert.execute, values)
        elif may_lag and self._session.block is not None:
            # Each new version of the run's row stays until the block ends, and makes the next update slower.
            self._session.call_guarded(upsert.execute_and_touch_if_due, values, touched)
        else:
            self._session.call_guarded(upsert.execute_and_touch, values, touched)

    def _write_group(self, group: Group) -> None:
        """Write the rows of one plan with one call, or one by one if that fails for a reason that can be fixed."""
        try:
            self._session.call_guarded(group.plan.upsert.execute_many, group.values)
        except DatabaseError as error:
            fault = self._fault_of(error)
            if fault is None:
                raise
            if fault is Fault.STALE:
                self.invalidate()
            for row in group.rows:
                self._write(row)
        else:
            self._after_write(group.rows, group.plan)

    def _after_write(self, rows: Sequence[Row], plan: Plan) -> None:
        while plan.warnings:
            self._warnings.warn(*plan.warnings.pop())
        if plan.waiting:
            for row in rows:
                self._waiting.remember(row.key, {plan.names[index]: row.values[index] for index in plan.waiting})
        elif self._columns.has_grown:
            self._columns.has_grown = False
            if self._waiting.wait_in_extras:
                self._waiting.move()

    def _fault_of(self, error: DatabaseError) -> Fault | None:
        return self._columns.table.fault_of(error.__cause__) if error.__cause__ is not None else None

    def _make_room(self, key: tuple[int, int, float]) -> bool:
        """Make room for the extras of a full row; return whether there is any."""
        made: list[bool] = []
        self._session.call_guarded(lambda connection: made.append(self._columns.table.make_room(connection, key)))
        return any(made)

    def _touch_due(self, run_id: int) -> datetime | None:
        """Return the current time, None if the run is tracked and its time was set less than a second ago."""
        if not self._session.tracks(run_id):
            return utc_now()
        now = time.monotonic()
        if now - self._touched.get(run_id, -math.inf) < _TOUCH_INTERVAL:
            return None
        self._touched[run_id] = now
        return utc_now()

    def _refuse_missing_run(self, run_id: int, error: DatabaseError) -> None:
        """Raise MissingRunError if the run's absence caused an error."""
        if isinstance(error, DatabaseUnavailableError):
            # Asking would wait for the database once more.
            return
        try:
            exists = self._exists(run_id)
        except DatabaseError:
            # The caller's transaction has failed, so PostgreSQL refuses further queries in it.
            return
        if not exists:
            raise MissingRunError(run_id, "it may have been deleted")

    def _exists(self, run_id: int) -> bool:
        sql = "SELECT id FROM runs WHERE id = %s"
        return bool(self._session.call(lambda connection: connection.execute(sql, (run_id,)).fetchall()))
