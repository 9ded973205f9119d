"""The columns of the metrics table, as far as they are known, and how missing ones are added."""

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

# Seconds for which the table is left as it is after others did not let go of it.
_GROWING_PAUSE = 10.0

# The same in a block that uses the table itself. When the block has ended, the table is looked at anew.
_PAUSE_IN_BLOCK = 1.0

# Seconds that changing the table beside a block may take. All blocks together may hold the connections of a pooler.
_BESIDE_BLOCK = 5.0

# Columns that are no metrics.
OWN = frozenset({*KEY, EXTRAS})


class Places(NamedTuple):
    """Where metrics go as the table is, and what would have to change for more of them to be columns."""

    converters: dict[str, Converter | None]
    added: dict[str, str]
    widened: dict[str, str]


class MetricColumns:
    """The columns of a client's metrics table.

    Args:
        session: does the work.
        map_type: returns the SQL type of a column for values of a Python type; raises TypeError if none fits.

    Attributes:
        table: the metrics table of the engine.
        map_type: the same.
        known: SQL types by name, empty while nothing is known; another object once they have changed.
        may_grow: whether the user may add columns, as far as is known.
        has_grown: whether columns were added since this was set to False.
        has_pending: whether metrics may wait in another table until there is the column `extras`.
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
        """Whether the table may be changed now: others have not just refused to let go of it."""
        return time.monotonic() >= self._growing_again

    def forget(self) -> None:
        """Read the columns anew when they are needed."""
        self.known = {}

    def require(self) -> Mapping[str, str]:
        """Return the columns, which are read if they are not known."""
        if not self.known:
            self.read()
        return self.known

    def read(self) -> None:
        """Read the columns.

        Raises:
            NotSetUpError: there are none.
        """
        self._session.call(self._read)

    def places(self, types: Mapping[str, type], misfits: Collection[str]) -> Places:
        """Return where metrics go as the table is known to be.

        Args:
            types: types of the values, by metric.
            misfits: metrics that are not stored in columns.
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
        """Let a metric be added if it can be a column."""
        if not self.table.can_be_column(name, {**self.known, **places.added}):
            return
        try:
            # A metric that begins with None will most likely be a number.
            places.added[name] = self.map_type(float if typ is type(None) else typ)
        except TypeError:
            return

    def grow_if_possible(self, added: Mapping[str, str], widened: Mapping[str, str]) -> float | None:
        """Change the table; return None if that is settled, else when (monotonic) to try again."""
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
        """Change the table; return False, and leave it alone for a while, if others do not let go of it."""
        grown = self._session.call(lambda connection: self._grow(connection, added, widened))
        if not grown:
            self.pause()
        return grown

    def pause(self) -> None:
        """Leave the table as it is for a while."""
        self._growing_again = time.monotonic() + _GROWING_PAUSE

    def _grow_beside(self, added: Mapping[str, str], widened: Mapping[str, str]) -> bool:
        """Change the table on a connection beside that of the block, for which there may be none."""
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
