"""The metrics table of an engine: which values fit which columns, how columns are added, how rows are stored."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar, NamedTuple

from sqltrack._quoting import placeholders
from sqltrack.engines._lacking import lacking
from sqltrack.engines.json import Jsonb
from sqltrack.engines.schema import EXTRAS, KEY, fits_int64

__all__ = [
    "TOUCH_IF_DUE_SQL",
    "Converter",
    "Fault",
    "MetricsTable",
    "MisfitError",
    "MovedRow",
    "RowConverter",
    "Upsert",
    "check_int64",
    "check_time",
    "conflict_sql",
    "exact_float",
    "touch_if_due_values",
    "upsert_sql",
]

# Seconds by which the time may lag.
_TOUCH_INTERVAL = timedelta(seconds=1)

#: Sets a run's `time_updated` unless that lags by less than a second; for the values of `touch_if_due_values`.
TOUCH_IF_DUE_SQL: str = """
    UPDATE runs SET time_updated = %s
    WHERE id = %s AND (time_updated IS NULL OR NOT time_updated BETWEEN %s AND %s)
""".strip()

Converter = Callable[[Any], Any]
RowConverter = Callable[[Sequence[Any]], Sequence[Any]]


class MisfitError(Exception):
    """A value cannot be stored unaltered in a column whose type is the right one for others of its kind."""


class Fault(enum.Enum):
    """Why the database refused a statement that stores metrics."""

    STALE = enum.auto()
    """The table has changed: a column is missing, or has another type."""

    TOO_BIG = enum.auto()
    """The row has more values than fit into one."""


class MovedRow(NamedTuple):
    """Metrics of one row that move from the column `extras` to their own.

    Attributes:
        key: run id, step and progress.
        values: names, and the values to bind for the columns.
        extras: the same names, and the values that are among the extras.
    """

    key: tuple[int, int, float]
    values: Mapping[str, Any]
    extras: Mapping[str, Any]


class Upsert:
    """Stores rows that hold one set of metrics; prepared once, executed for every step.

    A class of your own must define `execute`.

    Attributes:
        is_atomic: whether an `execute` that fails changes nothing, and the open transaction can continue. The default
            is False: in a `with` block of the client a savepoint sees to that.
    """

    is_atomic: ClassVar[bool] = False

    def execute(self, connection: Any, values: Sequence[Any]) -> None:
        """Insert or update one row.

        Args:
            connection: the connection.
            values: run id, step, progress, the metrics in order, and the extras if there are any.
        """
        raise lacking(self, "execute", "store metrics")

    def execute_and_touch(self, connection: Any, values: Sequence[Any], updated: datetime) -> None:
        """Do the same, and then set the run's `time_updated`."""
        self.execute(connection, values)
        connection.execute("UPDATE runs SET time_updated = %s WHERE id = %s", (updated, values[0]))

    def execute_and_touch_if_due(self, connection: Any, values: Sequence[Any], updated: datetime) -> None:
        """Do the same, but leave the run's `time_updated` as it is if that is less than a second before `updated`."""
        self.execute(connection, values)
        connection.execute(TOUCH_IF_DUE_SQL, touch_if_due_values(values[0], updated))

    def execute_many(self, connection: Any, rows: Sequence[Sequence[Any]]) -> None:
        """Insert or update many rows."""
        for row in rows:
            self.execute(connection, row)


class MetricsTable:
    """The metrics table as a database sees it.

    A class of your own must define the methods that raise NotImplementedError here; the others are defaults.

    Attributes:
        grows_beside: whether columns are added over a connection of their own, and not by the transaction that
            needs them.
    """

    grows_beside: ClassVar[bool] = False

    def can_be_column(self, name: str, columns: Mapping[str, str]) -> bool:
        """Return whether a metric can be a column in addition to `columns`."""
        raise lacking(self, "can_be_column", "find a place for new metrics")

    def converter(self, sql_type: str, typ: type) -> Converter | None:
        """Return what turns values of the plain Python type `typ` into those for a column, None if nothing need.

        The converter raises MisfitError for a value that the column would alter.

        Raises:
            TypeError: the column would alter or refuse such values.
        """
        raise lacking(self, "converter", "store metrics unaltered")

    def row_converter(self, converters: Sequence[Converter | None]) -> RowConverter:
        """Return what does the work of `converters` on a sequence of values, one for each."""
        if not any(converters):
            return _as_they_are
        return lambda values: [
            value if convert is None else convert(value) for convert, value in zip(converters, values)
        ]

    def wider_type(self, sql_type: str, typ: type) -> str | None:
        """Return the type with which a column also holds values of `typ`; None, the default, if there is none."""
        return None

    def extras_value(self, values: Mapping[str, Any]) -> Any:
        """Return the value to bind for the column `extras`."""
        return Jsonb(values)

    def grow(self, connection: Any, added: Mapping[str, str], widened: Mapping[str, str]) -> bool:
        """Add and widen columns, given by name and SQL type, as many as there is room for.

        Returns:
            False if the table stayed locked for about a second, or if the user has no right to change it, so that
            nothing was done.
        """
        raise lacking(self, "grow", "add columns for new metrics")

    def may_grow(self, connection: Any) -> bool:
        """Return whether the user has the right to add columns; only asked after `grow` has returned False."""
        return True

    def move_to_columns(self, connection: Any, names: Sequence[str], rows: Sequence[MovedRow]) -> None:
        """Move metrics of rows from `extras` to their columns, where they are still as given.

        Only called where `grows_beside`, or where `grow` may return False.

        Args:
            connection: the connection.
            names: the metrics.
            rows: rows with these metrics, in the order of their keys.
        """
        raise lacking(self, "move_to_columns", "move metrics to columns that were added later")

    def make_room(self, connection: Any, key: tuple[int, int, float]) -> bool:
        """Make room for `extras` in a row that is full of metrics, by moving some of them there.

        Args:
            connection: the connection.
            key: run id, step and progress.

        Returns:
            Whether there is more room now. The default is False, for databases without such a limit.
        """
        return False

    def is_in_use(self, connection: Any) -> bool:
        """Return whether the open transaction of a connection itself keeps the table from growing.

        Only asked where `grows_beside`.
        """
        return False

    def upsert(self, names: Sequence[str], *, extras: bool, pending: bool, has_extras: bool = False) -> Upsert:
        """Return the statement that stores the metrics `names`.

        Args:
            names: columns.
            extras: whether there are values for the column `extras`, too.
            pending: whether such values wait in a table of their own until there is that column, where `names` are
                removed from what waits for the row; never if `grow` always returns True.
            has_extras: whether there is the column `extras`. Then `names` are removed from what a row has there,
                because the new values take the place of those.
        """
        raise lacking(self, "upsert", "store metrics")

    def fault_of(self, error: BaseException) -> Fault | None:
        """Return what a driver's error says about a statement of an `Upsert`, None if it says neither."""
        raise lacking(self, "fault_of", "try again after a statement that failed")


def _as_they_are(values: Sequence[Any]) -> Sequence[Any]:
    return values


def exact_float(value: int) -> float:
    """Return an integer of 64 bits as a float.

    Raises:
        MisfitError: there is no float of exactly this value; or the integer is greater, so that no column of integers
            could have held it, and would look rounded as a float.
    """
    number = float(check_int64(value))
    if number != value:
        raise MisfitError
    return number


def check_int64(value: int) -> int:
    """Return an integer that fits into 64 bits.

    Raises:
        MisfitError: it does not, or is not an integer.
    """
    if not fits_int64(value):
        raise MisfitError
    return value


def check_time(value: datetime) -> datetime:
    """Return a datetime that is a datetime in any time zone.

    Raises:
        MisfitError: it is not: in some of them its year is before 1 or after 9999.
    """
    if not 1 < value.year < 9999:
        raise MisfitError
    return value


def touch_if_due_values(run_id: int, updated: datetime) -> tuple[Any, ...]:
    """Return the values for `TOUCH_IF_DUE_SQL`."""
    return updated, run_id, updated - _TOUCH_INTERVAL, updated


def upsert_sql(
    columns: Sequence[str], placeholder: str, merged_extras: str | None, kept_extras: str | None = None
) -> str:
    """Return the statement that inserts or updates a row of metrics.

    Args:
        columns: quoted names of the metrics' columns.
        placeholder: how the driver marks the place of a parameter.
        merged_extras: expression for the extras of the row and those to be added, None if there are none to be.
        kept_extras: expression for the extras that the row keeps if none are added, None if those are all.
    """
    inserted = [*KEY, *columns, *([] if merged_extras is None else [EXTRAS])]
    return (
        f"INSERT INTO metrics ({', '.join(inserted)}) VALUES ({placeholders(len(inserted), placeholder)}) "
        f"{conflict_sql(columns, merged_extras, kept_extras)}"
    )


def conflict_sql(columns: Sequence[str], merged_extras: str | None, kept_extras: str | None = None) -> str:
    """Return what an INSERT does with a row that exists, the end of `upsert_sql`, which has the same arguments."""
    updates = [f"{column} = excluded.{column}" for column in columns]
    if merged_extras is not None:
        updates.append(f"{EXTRAS} = {merged_extras}")
    elif kept_extras is not None:
        updates.append(f"{EXTRAS} = {kept_extras}")
    action = f"UPDATE SET {', '.join(updates)}" if updates else "NOTHING"
    return f"ON CONFLICT ({', '.join(KEY)}) DO {action}"
