"""Plan how to store metrics with certain names and types of values: in which columns, and which in extras."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sqltrack._metric_columns import OWN, MetricColumns
from sqltrack._metric_values import Row, check_name, needs_no_change
from sqltrack._metric_warnings import MetricWarnings
from sqltrack.engines.metrics_table import Converter, MetricsTable, MisfitError, RowConverter, Upsert
from sqltrack.engines.schema import EXTRAS

__all__ = ["Group", "Plan", "Plans"]

_MAX_PLANS = 1000

# How often rows are bound again because the table has changed since the first of them was bound.
_MAX_PASSES = 4

# A call with at least so many metrics may always fill a row. If a smaller call meets a full row, that is exceptional,
# and all its metrics go to the extras of that row alone.
_MANY = 200


class Plan(NamedTuple):
    """How to store metrics with certain names and types of values.

    Attributes:
        names: names of the metrics.
        upsert: the statement.
        columns: the metrics that go to columns, as indices into `names`, each with its converter.
        convert: converts all values at once, if all go to columns.
        extras: the indices of the others.
        waiting: the indices of those in extras that can go to columns, once these can be added.
        stored: number of metrics that go to columns.
        warnings: names of metrics that go to extras, and why, until the warning was logged.
        expires: time (monotonic) after which to plan again, None for never.
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
            _MisfitsError: some values cannot be stored unchanged in their columns.
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


class Group(NamedTuple):
    """Rows that are stored with one plan.

    Attributes:
        plan: the plan.
        rows: the rows.
        values: for each row, its key and the values to bind.
    """

    plan: Plan
    rows: list[Row]
    values: list[tuple[Any, ...]]


class _Last:
    """The last row, to compare the next one with.

    Args:
        names: names of its metrics.
        types: types of their values.
        known: the known columns at that time.
        plan: its plan.
        convert: the plan's converter.
    """

    __slots__ = ("convert", "known", "names", "plan", "types")

    def __init__(
        self,
        names: tuple[str, ...],
        types: tuple[type, ...],
        known: Mapping[str, str],
        plan: Plan,
        convert: RowConverter,
    ) -> None:
        self.names = names
        self.types = types
        self.known = known
        self.plan = plan
        self.convert = convert


class Plans:
    """The plans of a client, which are made when they are needed. Making one may add columns.

    Args:
        columns: the columns of the metrics table.
        warnings: logs warnings, and remembers them.

    Attributes:
        last_types: types of the values of the last row, for `normalise`.
    """

    def __init__(self, columns: MetricColumns, warnings: MetricWarnings) -> None:
        self._columns = columns
        self._warnings = warnings
        self._plans: dict[tuple[Any, ...], Plan] = {}
        self._last: _Last | None = None
        self.last_types: tuple[type, ...] = ()
        # The columns for which the plans were made.
        self._known = columns.known
        self._row_limits: dict[tuple[str, ...], int] = {}

    def bind(self, row: Row) -> tuple[Plan, Sequence[Any]]:
        """Return the plan for a row, and the values to bind."""
        last = self._last
        if last is None or last.known is not self._columns.known:
            return self.bind_anew(row)
        _, names, values, types, kept = row
        # Most rows are like the last one, and comparing the names is faster than looking them up.
        if types != last.types or names != last.names or kept:
            return self.bind_anew(row)
        try:
            return last.plan, last.convert(values)
        except MisfitError:
            return self.bind_anew(row)

    def bind_all(self, rows: Sequence[Row]) -> list[Group]:
        """Return many rows in groups of one plan, in order, after adding the columns for all of them."""
        self._columns.require()
        groups: list[Group] = []
        for _ in range(_MAX_PASSES):
            known = self._columns.known
            groups = self._groups(rows)
            # A column that was added or widened for one row may also be used by others.
            if known is self._columns.known:
                break
        return groups

    def _groups(self, rows: Sequence[Row]) -> list[Group]:
        groups: list[Group] = []
        plan: Plan | None = None
        for row in rows:
            found, bound = self.bind(row)
            if found is not plan:
                plan = found
                groups.append(Group(plan, [], []))
                add_row, add_values = groups[-1].rows.append, groups[-1].values.append
            add_row(row)
            add_values((*row.key, *bound))
        return groups

    def bind_anew(self, row: Row, limit: int | None = None) -> tuple[Plan, Sequence[Any]]:
        """Do the work of `bind` for a row unlike the last one, or with a limit for metrics in columns."""
        misfits: frozenset[str] = frozenset()
        while True:
            plan = self._plan(row, misfits, limit)
            try:
                bound = plan.bind(row.values, self._columns.table)
            except _MisfitsError as found:
                misfits |= found.names
            else:
                if plan.convert is not None and plan.expires is None:
                    self._remember(row, plan, plan.convert)
                return plan, bound

    def _remember(self, row: Row, plan: Plan, convert: RowConverter) -> None:
        """Expect more rows like this one, whose metrics all go to columns."""
        self._last = _Last(row.names, row.types, self._known, plan, convert)
        self.last_types = row.types if needs_no_change(row.types) else ()

    def lower_limit(self, plan: Plan) -> int:
        """Return how many metrics of a row that is too big may go to columns."""
        if len(plan.names) < _MANY:
            return 0
        # Calls with these metrics will fill other rows as well.
        self._last = None
        limit = self._row_limits[plan.names] = plan.stored // 2
        return limit

    def _plan(self, row: Row, misfits: frozenset[str], limit: int | None) -> Plan:
        if limit is None and self._row_limits:
            limit = self._row_limits.get(row.names)
        self._forget_outdated()
        key = (row.names, row.types, misfits, row.kept, limit)
        plan = self._plans.get(key)
        if plan is None or (plan.expires is not None and time.monotonic() >= plan.expires):
            plan = self._make_plan(dict(zip(row.names, row.types)), misfits, row.kept, limit)
            self._forget_outdated()
            if len(self._plans) >= _MAX_PLANS:
                self._plans.clear()
            self._plans[key] = plan
        return plan

    def _forget_outdated(self) -> None:
        if self._known is not self._columns.known:
            self._plans.clear()
            self._known = self._columns.known

    def _make_plan(
        self, types: Mapping[str, type], misfits: frozenset[str], kept: frozenset[str], limit: int | None
    ) -> Plan:
        for name in types:
            check_name(name)
        columns = self._columns
        columns.read()
        kept = frozenset(name for name in kept if name not in columns.known)
        misfits |= kept
        converters, later, expires = self._converters(types, misfits)
        names = tuple(types)
        bound = [(i, converters[name]) for i, name in enumerate(names) if name in converters][:limit]
        stored = len(bound)
        in_columns = {index for index, _ in bound}
        extras = tuple(index for index in range(len(names)) if index not in in_columns)
        # A metric that goes to extras also clears its column, whose value would be read instead.
        bound += [(i, _as_null) for i in extras if names[i] in columns.known and names[i] not in OWN]
        warnings: list[tuple[Sequence[str], str]] = []
        if extras:
            told = {names[index]: types[names[index]] for index in extras if names[index] not in kept}
            warnings = self._warnings.find_reasons(told, later, misfits)
            if EXTRAS not in columns.known:
                expires = columns.grow_if_possible({EXTRAS: columns.map_type(dict)}, {})
        has_extras = EXTRAS in columns.known
        # Metrics that go to columns then also replace pending ones.
        pending = (bool(extras) or columns.has_pending) and not has_extras
        if pending and not columns.has_pending:
            columns.has_pending = True
            self._plans.clear()
            self._last = None
        upsert = columns.table.upsert(
            [names[index] for index, _ in bound], extras=bool(extras), pending=pending, has_extras=has_extras
        )
        convert = None if extras else columns.table.row_converter([convert for _, convert in bound])
        waiting = tuple(index for index in extras if names[index] in later) if columns.may_grow else ()
        return Plan(names, upsert, tuple(bound), convert, extras, waiting, stored, warnings, expires)

    def _converters(
        self, types: Mapping[str, type], misfits: frozenset[str]
    ) -> tuple[Mapping[str, Converter | None], frozenset[str], float | None]:
        """Return the converters of the metrics that go to columns, after adding missing columns.

        Returns:
            The converters by name; the metrics that can have columns later; and when (monotonic) to try again to add
            these, None for never.
        """
        columns = self._columns
        places = columns.places(types, misfits)
        if not (places.added or places.widened):
            return places.converters, frozenset(), None
        others = [name for name in columns.known if name not in types and name not in OWN]
        expires = columns.grow_if_possible(places.added, places.widened)
        self._warnings.warn_of_slips(places.added, others)
        places = columns.places(types, misfits)
        later = frozenset() if expires is None else frozenset({*places.added, *places.widened})
        return places.converters, later, expires


def _as_null(value: Any) -> None:
    """Convert the value of a metric that is not stored in its column."""
