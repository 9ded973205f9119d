"""Metrics that wait for columns, because other connections keep the table locked, and are moved there later."""

from __future__ import annotations

import contextlib
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqltrack._metric_columns import OWN, MetricColumns
from sqltrack._metric_warnings import MetricWarnings
from sqltrack.engines.metrics_table import Converter, MisfitError, MovedRow
from sqltrack.engines.schema import EXTRAS
from sqltrack.errors import DatabaseError, DatabaseUnavailableError, SQLTrackError

if TYPE_CHECKING:
    from sqltrack._sessions import Session

__all__ = ["WaitingMetrics"]

# Number of rows that a transaction moves from extras to columns.
_MOVED_AT_ONCE = 500

# Number of values that are remembered until they have columns.
_MAX_WAITING = 100_000

_Key = tuple[int, int, float]


class _Waiting:
    """Metrics that are in the extras of their rows only until they have columns.

    Attributes:
        rows: names and values, by run id, step and progress.
    """

    def __init__(self) -> None:
        self.rows: dict[_Key, dict[str, Any]] = {}
        self._number = 0

    def add(self, key: _Key, values: Mapping[str, Any]) -> bool:
        """Remember metrics of a row; return False if there are too many."""
        if self._number + len(values) > _MAX_WAITING:
            return False
        self._number += len(values)
        self.rows.setdefault(key, {}).update(values)
        return True


class WaitingMetrics:
    """The metrics of a client that wait for columns in `extras`, or in the pending table for the column `extras`.

    Metrics that an open block has stored are kept apart: if it rolls back, they are gone.

    Args:
        session: runs the statements.
        columns: the columns of the metrics table.
        warnings: logs warnings, and remembers them.
    """

    def __init__(self, session: Session, columns: MetricColumns, warnings: MetricWarnings) -> None:
        self._session = session
        self._columns = columns
        self._warnings = warnings
        self._waiting = _Waiting()
        self._waiting_in_blocks: dict[Hashable, _Waiting] = {}

    @property
    def wait_in_extras(self) -> bool:
        """Whether metrics in `extras` wait for columns, apart from those of open blocks."""
        return bool(self._waiting.rows)

    def remember(self, key: _Key, values: Mapping[str, Any]) -> None:
        """Remember metrics of a row that were stored in `extras`, and can have columns later."""
        block = self._session.block
        waiting = self._waiting if block is None else self._waiting_in_blocks.setdefault(block, _Waiting())
        self._remember(waiting, key, values)

    def move(self) -> None:
        """Move the metrics to their columns, unless other connections keep the table locked."""
        if self._session.block is not None:
            return
        if self._columns.has_pending:
            self._move_from_pending_table()
        if self._waiting.rows and not self._columns.has_pending:
            self._move_to_columns()

    def end_block(self, block: Hashable) -> None:
        """Add the metrics of a committed block to those that wait."""
        in_block = self._waiting_in_blocks.pop(block, None)
        if in_block is not None:
            for key, values in in_block.rows.items():
                self._remember(self._waiting, key, values)

    def forget_block(self, block: Hashable) -> None:
        """Forget the metrics of a block that rolls back."""
        self._waiting_in_blocks.pop(block, None)

    def _remember(self, waiting: _Waiting, key: _Key, values: Mapping[str, Any]) -> None:
        if not waiting.add(key, values):
            self._warnings.warn(values, "too many values wait for a column (sqltrack tidy moves them)")

    def _move_from_pending_table(self) -> None:
        columns = self._columns
        try:
            grown = columns.grow({EXTRAS: columns.map_type(dict)}, {})
        except SQLTrackError as error:
            grown = False
            columns.pause()
            self._warnings.warn_of_pending(error, "in another table")
        columns.has_pending = not grown

    def _move_to_columns(self) -> None:
        """Add columns for the metrics that wait, and move them there, unless the table must not be changed now."""
        waiting, self._waiting = self._waiting, _Waiting()
        self._columns.has_grown = False
        try:
            is_moved = self._move_rows(waiting.rows)
        except SQLTrackError as error:
            is_moved = False
            self._warnings.warn_of_pending(error, "in the column metrics.extras")
        if not is_moved:
            for key, values in waiting.rows.items():
                self._waiting.add(key, {**values, **self._waiting.rows.get(key, {})})

    def _move_rows(self, rows: Mapping[_Key, Mapping[str, Any]]) -> bool:
        columns = self._columns
        columns.read()
        types = _types_by_name(rows.values())
        places = columns.places({name: self._common_type(name, found) for name, found in types.items()}, ())
        others = [name for name in columns.known if name not in types and name not in OWN]
        if (places.added or places.widened) and columns.grow_if_possible(places.added, places.widened) is not None:
            return False
        self._warnings.warn_of_slips(places.added, others)
        converters = {
            name: {typ: self._converter_or_misfit(sql_type, typ) for typ in types[name]}
            for name, sql_type in columns.known.items()
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
        """Return the type for which a metric's column is made, or widened, to hold most of its values.

        The result is the column that the metric would have if the table had not been locked for any of the values.
        """
        common = next((typ for typ in types if typ is not type(None)), type(None))
        sql_type = self._columns.known.get(name)
        if sql_type is None:
            sql_type = self._columns.map_type(float if common is type(None) else common)
        for typ in types:
            wider_type = self._columns.table.wider_type(sql_type, typ)
            if wider_type is not None:
                common, sql_type = typ, wider_type
        return common

    def _converter_or_misfit(self, sql_type: str, typ: type) -> Converter | None:
        try:
            return self._columns.table.converter(sql_type, typ)
        except TypeError:
            return _refuse

    def _move_group(self, names: Sequence[str], rows: Sequence[MovedRow]) -> None:
        """Move metrics of rows to columns; those that the database refuses stay in extras.

        Raises:
            DatabaseUnavailableError: the database is away.
        """
        try:
            self._session.call(lambda connection: self._columns.table.move_to_columns(connection, names, rows))
        except DatabaseUnavailableError:
            raise
        except DatabaseError as error:
            if len(names) == 1:
                self._warnings.warn(names, f"they cannot be moved to columns: {error}")
                return
            for name in names:
                self._move_group([name], rows)


def _refuse(value: Any) -> None:
    """Refuse a value whose type the column cannot hold."""
    raise MisfitError


def _types_by_name(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[type]]:
    """Return the types of the values of each metric, in order of appearance."""
    types: dict[str, dict[type, None]] = {}
    for values in rows:
        for name, value in values.items():
            types.setdefault(name, {})[type(value)] = None
    return {name: list(found) for name, found in types.items()}


def _moved_row(
    key: _Key, values: Mapping[str, Any], converters: Mapping[str, Mapping[type, Converter | None]]
) -> MovedRow:
    """Return the metrics of a row that fit their columns."""
    bound: dict[str, Any] = {}
    for name, value in values.items():
        if name in converters:
            convert = converters[name][type(value)]
            with contextlib.suppress(MisfitError):
                bound[name] = value if convert is None else convert(value)
    return MovedRow(key, bound, {name: values[name] for name in bound})
