"""What an engine knows of the metrics table: which values fit which columns, how columns come about, how rows go in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from datetime import datetime

__all__ = [
    "EXTRAS",
    "KEY",
    "Converter",
    "MetricsTable",
    "MisfitError",
    "RowConverter",
    "Upsert",
    "check_int64",
    "exact_float",
    "upsert_sql",
]

# The column for metrics that cannot be columns, and those that say which row it is.
EXTRAS = "extras"
KEY = ("run_id", "step", "progress")

Converter = Callable[[Any], Any]
RowConverter = Callable[[Sequence[Any]], Sequence[Any]]


class MisfitError(Exception):
    """A value cannot be stored unaltered in a column whose type is the right one for others of its kind."""


class Upsert(ABC):
    """Stores rows that hold one set of metrics; prepared once, executed for every step."""

    @abstractmethod
    def execute(self, connection: Any, values: Sequence[Any]) -> None:
        """Insert or update one row; `values` are run id, step, progress, the metrics in order, and the extras."""

    @abstractmethod
    def execute_and_touch(self, connection: Any, values: Sequence[Any], updated: datetime) -> None:
        """Do the same, and then set the run's `time_updated`."""

    @abstractmethod
    def execute_many(self, connection: Any, rows: Sequence[Sequence[Any]]) -> None:
        """Insert or update many rows."""


class MetricsTable(ABC):
    """The metrics table as a database sees it.

    Attributes:
        grows_beside: whether columns are added over a connection of their own, and not by the transaction that
            needs them.
        pending_table: name of the table in which extras wait while `metrics` cannot get the column, None if there is
            no such table.
        extras_keep_floats: whether a float in `extras` is still told from an integer if it is very large.
    """

    grows_beside: ClassVar[bool]
    pending_table: ClassVar[str | None] = None
    extras_keep_floats: ClassVar[bool] = True

    @abstractmethod
    def can_be_column(self, name: str, columns: Mapping[str, str]) -> bool:
        """Return whether a metric can be a column beside those that there are."""

    @abstractmethod
    def converter(self, sql_type: str, typ: type) -> Converter | None:
        """Return what turns values of the plain Python type `typ` into those for a column, None if nothing need.

        The converter raises MisfitError for a value that the column would alter.

        Raises:
            TypeError: the column would alter or refuse such values.
        """

    def row_converter(self, converters: Sequence[Converter | None]) -> RowConverter:
        """Return what does the work of `converters` on a sequence of values, one for each."""
        if not any(converters):
            return _as_they_are
        return lambda values: [
            value if convert is None else convert(value) for convert, value in zip(converters, values)
        ]

    @abstractmethod
    def wider_type(self, sql_type: str, typ: type) -> str | None:
        """Return the type with which a column also holds values of `typ`, None if there is none."""

    @abstractmethod
    def extras_value(self, values: Mapping[str, Any]) -> Any:
        """Return what to bind for the column `extras`."""

    @abstractmethod
    def grow(self, connection: Any, added: Mapping[str, str], widened: Mapping[str, str]) -> bool:
        """Add and widen columns, given by name and SQL type, as many as there is room for.

        Returns:
            False if others did not let go of the table for about a second, or if the user has no right to change it,
            so that nothing was done.
        """

    @abstractmethod
    def rename(self, connection: Any, name: str, new_name: str) -> bool:
        """Rename a column, without making others wait for long.

        Returns:
            False if others did not let go of the table for some time, so that nothing was done.
        """

    @abstractmethod
    def drop_empty(self, connection: Any, name: str) -> bool:
        """Drop a column unless it holds values, without making others wait for long.

        Returns:
            False if it holds values, or if others did not let go of the table for some time.
        """

    def move_pending(self, connection: Any, limit: int) -> int:
        """Move up to `limit` rows that wait in `pending_table`, if there is one, to `extras`, and return how many."""
        raise NotImplementedError

    @abstractmethod
    def is_in_use(self, connection: Any) -> bool:
        """Return whether the open transaction of a connection itself stands in the way of growing the table."""

    @abstractmethod
    def upsert(self, names: Sequence[str], *, extras: bool, pending: bool) -> Upsert:
        """Return the statement that stores the metrics `names`.

        Args:
            names: columns.
            extras: whether there are values for the column `extras`, too.
            pending: whether those wait in a table of their own until there is that column.
        """

    @abstractmethod
    def fault_of(self, error: BaseException) -> str | None:
        """Return what a driver's error says about a statement of ours: "stale" if the table is not as it was,
        "too big" if the row is, None if neither.
        """


def _as_they_are(values: Sequence[Any]) -> Sequence[Any]:
    return values


def exact_float(value: int) -> float:
    """Return an integer as a float.

    Raises:
        MisfitError: there is none of exactly this value.
    """
    try:
        number = float(value)
    except OverflowError:
        raise MisfitError from None
    if number != value:
        raise MisfitError
    return number


def check_int64(value: int) -> int:
    """Return an integer that fits into 64 bits.

    Raises:
        MisfitError: it does not.
    """
    if not -(2**63) <= value < 2**63:
        raise MisfitError
    return value


def upsert_sql(columns: Sequence[str], placeholder: str, merged_extras: str | None) -> str:
    """Return the statement that inserts or updates a row of metrics.

    Args:
        columns: quoted names of the metrics' columns.
        placeholder: how the driver marks the place of a parameter.
        merged_extras: expression for the extras of the row and those to be added, None if there are none to be.
    """
    updates = [f"{column} = excluded.{column}" for column in columns]
    columns = [*KEY, *columns]
    if merged_extras is not None:
        columns.append(EXTRAS)
        updates.append(f"{EXTRAS} = {merged_extras}")
    action = f"UPDATE SET {', '.join(updates)}" if updates else "NOTHING"
    return (
        f"INSERT INTO metrics ({', '.join(columns)}) VALUES ({', '.join([placeholder] * len(columns))}) "
        f"ON CONFLICT ({', '.join(KEY)}) DO {action}"
    )
