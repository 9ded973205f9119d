"""The known columns of the metrics table, and how missing ones are added."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from sqltrack.engines.metrics_table import Converter, MetricsTable
from sqltrack.engines.schema import EXTRAS, KEY
from sqltrack.errors import DatabaseUnavailableError, NotSetUpError

if TYPE_CHECKING:
    from sqltrack._sessions import Session

__all__ = ["OWN", "MetricColumns", "Places"]

# Seconds for which the table is not changed after other connections have kept it locked.
_GROWING_PAUSE = 10.0

# The same in a block that uses the table itself. After the block, the table is checked again.
_PAUSE_IN_BLOCK = 1.0

# Seconds for changing the table on another connection than the block's. All blocks together may occupy a pooler's
# connections.
_BESIDE_BLOCK = 5.0

# Columns that are not metrics.
OWN = frozenset({*KEY, EXTRAS})


class Places(NamedTuple):
    """Where metrics go in the current table, and the changes that would give more of them a column."""

    converters: dict[str, Converter | None]
    added: dict[str, str]
    widened: dict[str, str]


class MetricColumns:
    """The columns of a client's metrics table.

    Args:
        session: runs the statements.
        map_type: returns the SQL type of a column for values of a Python type; raises TypeError if none fits.

    Attributes:
        table: the metrics table of the engine.
        map_type: the same.
        known: SQL types by name, empty if unknown; replaced by another object whenever it changes.
        may_grow: whether the user may add columns, True if unknown.
        has_grown: whether columns were added since this was set to False.
        has_pending: whether metrics may be pending in another table until the column `extras` exists.
    """

    def __init__(self, session: Session, map_type: Callable[[type], str]) -> None:
        self.table: MetricsTable = session.engine.metrics_table
        self.map_type: Callable[[type], str] = map_type
        self.known: dict[str, str] = {}
        self.may_grow: bool = True
        self.has_grown: bool = False
        self.has_pending: bool = False
        self._session = session
        self._growing_again = -math.inf

    @property
    def may_grow_now(self) -> bool:
        """Whether to try to change the table now: other connections have not just kept it locked."""
        return time.monotonic() >= self._growing_again

    def forget(self) -> None:
        """Read the columns again when they are needed."""
        self.known = {}

    def require(self) -> Mapping[str, str]:
        """Return the columns; read them if they are unknown."""
        if not self.known:
            self.read()
        return self.known

    def read(self) -> None:
        """Read the columns.

        Raises:
            NotSetUpError: the table does not exist.
        """
        self._session.call(self._read)

    def places(self, types: Mapping[str, type], misfits: Collection[str]) -> Places:
        """Return where metrics go in the table as it is known.

        Args:
            types: types of the values, by metric.
            misfits: metrics that do not go to columns.
        """
        places = Places({}, {}, {})
        for name, typ in types.items():
            sql_type = self.known.get(name)
            if name in misfits or name in OWN:
                continue
            if sql_type is None:
                self.place_new(places, name, typ)
                continue
            try:
                places.converters[name] = self.table.converter(sql_type, typ)
            except TypeError:
                wider_type = self.table.wider_type(sql_type, typ)
                if wider_type is not None:
                    places.widened[name] = wider_type
        return places

    def place_new(self, places: Places, name: str, typ: type) -> None:
        """Mark a metric to be added, if it can be a column."""
        if not self.table.can_be_column(name, {**self.known, **places.added}):
            return
        try:
            # A metric whose first value is None will most likely be a number.
            places.added[name] = self.map_type(float if typ is type(None) else typ)
        except TypeError:
            return

    def grow_if_possible(self, added: Mapping[str, str], widened: Mapping[str, str]) -> float | None:
        """Change the table; return None if done or impossible, otherwise when (monotonic) to try again."""
        now = time.monotonic()
        if now < self._growing_again:
            return self._growing_again
        session, table = self._session, self.table
        if session.block is not None and table.grows_beside:
            if session.call(table.is_in_use):
                return now + _PAUSE_IN_BLOCK
            grown = self._grow_beside(added, widened)
        else:
            grown = self.grow(added, widened)
        if not grown:
            self.may_grow = session.call(table.may_grow)
            return self._growing_again
        self.may_grow = self.has_grown = True
        return None

    def grow(self, added: Mapping[str, str], widened: Mapping[str, str]) -> bool:
        """Change the table; return False, and pause further attempts, if other connections keep it locked."""
        grown = self._session.call(lambda connection: self._grow(connection, added, widened))
        if not grown:
            self.pause()
        return grown

    def pause(self) -> None:
        """Do not change the table for a while."""
        self._growing_again = time.monotonic() + _GROWING_PAUSE

    def _grow_beside(self, added: Mapping[str, str], widened: Mapping[str, str]) -> bool:
        """Change the table on another connection than the block's; there may be none left."""
        try:
            grown = self._session.call_outside(lambda connection: self._grow(connection, added, widened), _BESIDE_BLOCK)
        except DatabaseUnavailableError:
            grown = False
        if not grown:
            self.pause()
        return grown

    def _grow(self, connection: Any, added: Mapping[str, str], widened: Mapping[str, str]) -> bool:
        grown = self.table.grow(connection, added, widened)
        self._read(connection)
        return grown

    def _read(self, connection: Any) -> None:
        columns = self._session.engine.table_columns(connection, "metrics")
        if columns != self.known:
            self.known = columns
        if not columns:
            raise NotSetUpError("the database has no sqltrack tables")
