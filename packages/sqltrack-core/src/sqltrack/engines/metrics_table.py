"""The interface for the metrics table: which values fit a column, how to add columns and store rows."""

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

# How much `time_updated` may lag.
_TOUCH_INTERVAL = timedelta(seconds=1)

#: Set a run's `time_updated` unless it lags by less than a second; takes the values of `touch_if_due_values`.
TOUCH_IF_DUE_SQL: str = """
    UPDATE runs SET time_updated = %s
    WHERE id = %s AND (time_updated IS NULL OR NOT time_updated BETWEEN %s AND %s)
""".strip()

Converter = Callable[[Any], Any]
RowConverter = Callable[[Sequence[Any]], Sequence[Any]]


class MisfitError(Exception):
    """A column would alter this value, although it suits other values of the type."""


class Fault(enum.Enum):
    """Why the database refused a statement that stores metrics."""

    STALE = enum.auto()
    """The table has changed: a column is missing or has another type."""

    TOO_BIG = enum.auto()
    """The row has more values than fit into a row."""


class MovedRow(NamedTuple):
    """Metrics of one row that move from `extras` to columns of their own.

    Attributes:
        key: run id, step and progress.
        values: values to bind for the columns, by name.
        extras: values in `extras`, by the same names.
    """

    key: tuple[int, int, float]
    values: Mapping[str, Any]
    extras: Mapping[str, Any]


class Upsert:
    """The statement that stores rows with one set of metrics, made once and executed for every step.

    Subclasses must define `execute`.

    Attributes:
        is_atomic: whether a failed `execute` changes nothing and leaves the transaction usable. Default False: in a
            `with` block of the client, each `execute` then needs a savepoint.
    """

    is_atomic: ClassVar[bool] = False

    def execute(self, connection: Any, values: Sequence[Any]) -> None:
        """Insert or update one row.

        Args:
            connection: the connection.
            values: run id, step, progress, the metrics in order, and the extras, if any.
        """
        raise lacking(self, "execute", "store metrics")

    def execute_and_touch(self, connection: Any, values: Sequence[Any], updated: datetime) -> None:
        """Insert or update one row, then set the run's `time_updated`."""
        self.execute(connection, values)
        connection.execute("UPDATE runs SET time_updated = %s WHERE id = %s", (updated, values[0]))

    def execute_and_touch_if_due(self, connection: Any, values: Sequence[Any], updated: datetime) -> None:
        """Insert or update one row, then set the run's `time_updated` unless it lags by less than a second."""
        self.execute(connection, values)
        connection.execute(TOUCH_IF_DUE_SQL, touch_if_due_values(values[0], updated))

    def execute_many(self, connection: Any, rows: Sequence[Sequence[Any]]) -> None:
        """Insert or update many rows."""
        for row in rows:
            self.execute(connection, row)


class MetricsTable:
    """SQL and types of the table `metrics`.

    Subclasses must define the methods that raise NotImplementedError here; the others have defaults.

    Attributes:
        grows_beside: whether columns are added over a separate connection, not in the transaction that needs them.
    """

    grows_beside: ClassVar[bool] = False

    def can_be_column(self, name: str, columns: Mapping[str, str]) -> bool:
        """Return whether a metric can get a column in addition to `columns`."""
        raise lacking(self, "can_be_column", "find a place for new metrics")

    def converter(self, sql_type: str, typ: type) -> Converter | None:
        """Return the function that converts values of the Python type `typ` for a column, None if it takes them as is.

        The function raises MisfitError for a value that the column would alter.

        Raises:
            TypeError: the column would alter or refuse such values.
        """
        raise lacking(self, "converter", "store metrics unaltered")

    def row_converter(self, converters: Sequence[Converter | None]) -> RowConverter:
        """Return a function that applies `converters` to a sequence of values, one to each."""
        if not any(converters):
            return _as_they_are
        return lambda values: [
            value if convert is None else convert(value) for convert, value in zip(converters, values)
        ]

    def wider_type(self, sql_type: str, typ: type) -> str | None:
        """Return the SQL type to which to widen a column so that it holds values of `typ`, too; default: None."""
        return None

    def extras_value(self, values: Mapping[str, Any]) -> Any:
        """Return the value to bind for the column `extras`."""
        return Jsonb(values)

    def grow(self, connection: Any, added: Mapping[str, str], widened: Mapping[str, str]) -> bool:
        """Add and widen columns, given by name and SQL type, up to the limit on columns.

        Returns:
            False if nothing was done: the table stayed locked for about a second, the user may not alter it, or the
            server refuses that for now.
        """
        raise lacking(self, "grow", "add columns for new metrics")

    def may_grow(self, connection: Any) -> bool:
        """Return whether the user may add columns; only called after `grow` returned False."""
        return True

    def move_to_columns(self, connection: Any, names: Sequence[str], rows: Sequence[MovedRow]) -> None:
        """Move metrics from `extras` to their columns, in rows whose extras are still as given.

        Only called if `grows_beside`, or if `grow` may return False.

        Args:
            connection: the connection.
            names: names of the metrics.
            rows: rows with these metrics, in the order of their keys.
        """
        raise lacking(self, "move_to_columns", "move metrics to columns that were added later")

    def make_room(self, connection: Any, key: tuple[int, int, float]) -> bool:
        """Make room in a full row by moving some of its metrics to `extras`.

        Args:
            connection: the connection.
            key: run id, step and progress.

        Returns:
            Whether the row has more room now; default False, for databases without such a limit.
        """
        return False

    def is_in_use(self, connection: Any) -> bool:
        """Return whether the open transaction of a connection holds a lock that keeps columns from being added.

        Only called if `grows_beside`.
        """
        return False

    def upsert(self, names: Sequence[str], *, extras: bool, pending: bool, has_extras: bool = False) -> Upsert:
        """Return the statement that stores the metrics `names`.

        Args:
            names: names of the columns.
            extras: whether there are values for `extras`, too.
            pending: whether extras go to `metrics_pending`, because `metrics` has no column for them yet. The
                statement then removes `names` from the row's pending extras. Never True if `grow` always returns True.
            has_extras: whether `metrics` has the column `extras`. The statement then removes `names` from the row's
                extras, because the new values replace them.
        """
        raise lacking(self, "upsert", "store metrics")

    def fault_of(self, error: BaseException) -> Fault | None:
        """Return the fault that a driver's error about an `Upsert` stands for, None for other errors."""
        raise lacking(self, "fault_of", "try again after a statement that failed")


def _as_they_are(values: Sequence[Any]) -> Sequence[Any]:
    return values


def exact_float(value: int) -> float:
    """Return a 64-bit integer as a float.

    Raises:
        MisfitError: no float has exactly this value, or the integer does not fit into 64 bits.
    """
    number = float(check_int64(value))
    if number != value:
        raise MisfitError
    return number


def check_int64(value: int) -> int:
    """Return `value` if it is an integer that fits into 64 bits.

    Raises:
        MisfitError: it does not, or is not an integer.
    """
    if not fits_int64(value):
        raise MisfitError
    return value


def check_time(value: datetime) -> datetime:
    """Return `value` if Python can represent it in any time zone.

    Raises:
        MisfitError: in some time zone its year would be below 1 or above 9999.
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
        placeholder: the driver's placeholder for a parameter.
        merged_extras: expression for the row's extras with the new ones merged in, None without new extras.
        kept_extras: expression for the extras that the row keeps without new ones, None if it keeps all.
    """
    inserted = [*KEY, *columns, *([] if merged_extras is None else [EXTRAS])]
    return (
        f"INSERT INTO metrics ({', '.join(inserted)}) VALUES ({placeholders(len(inserted), placeholder)}) "
        f"{conflict_sql(columns, merged_extras, kept_extras)}"
    )


def conflict_sql(columns: Sequence[str], merged_extras: str | None, kept_extras: str | None = None) -> str:
    """Return the ON CONFLICT clause of `upsert_sql`; the arguments are the same."""
    updates = [f"{column} = excluded.{column}" for column in columns]
    if merged_extras is not None:
        updates.append(f"{EXTRAS} = {merged_extras}")
    elif kept_extras is not None:
        updates.append(f"{EXTRAS} = {kept_extras}")
    action = f"UPDATE SET {', '.join(updates)}" if updates else "NOTHING"
    return f"ON CONFLICT ({', '.join(KEY)}) DO {action}"
