"""What an engine is: everything that differs between the databases, and nothing else."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from sqltrack.errors import ConfigError, SQLTrackError, UnusableValueError

if TYPE_CHECKING:
    from datetime import datetime

    from sqltrack.client import Client
    from sqltrack.engines.sqltext import Dialect

__all__ = ["Engine", "MetricsUpsert", "exact_float", "number_setting", "upsert_metrics_sql"]


def number_setting(config: Mapping[str, Any], name: str, default: float) -> float:
    """Return the setting `name` of a configuration as a number that is not negative.

    Raises:
        ConfigError: it is something else.
    """
    value = config.get(name, default)
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if not number >= 0:
        raise ConfigError(f"{name} must be a number of seconds that is not negative, got {value!r}")
    return number


class MetricsUpsert(ABC):
    """Stores rows that hold one set of metrics; prepared once, executed for every step."""

    @abstractmethod
    def execute(self, connection: Any, values: Sequence[Any]) -> None:
        """Insert or update one row; `values` are run id, step, progress, and the metrics in order."""

    @abstractmethod
    def execute_and_touch(self, connection: Any, values: Sequence[Any], updated: datetime) -> None:
        """Do the same, and then set the run's `time_updated`."""


def exact_float(value: int) -> float:
    """Return an integer as a float.

    Raises:
        UnusableValueError: there is none of exactly this value.
    """
    number = float(value)
    if number != value:
        raise UnusableValueError(f"integer {value!r} cannot be stored exactly in a column of floating point numbers")
    return number


def upsert_metrics_sql(columns: Sequence[str], placeholder: str) -> str:
    """Return the statement that inserts or updates a row of metrics.

    Args:
        columns: quoted names of the metrics' columns.
        placeholder: how the driver marks the place of a parameter.
    """
    listed = ", ".join(["run_id", "step", "progress", *columns])
    placeholders = ", ".join([placeholder] * (len(columns) + 3))
    updates = ", ".join(f"{column} = excluded.{column}" for column in columns)
    action = f"UPDATE SET {updates}" if updates else "NOTHING"
    return f"INSERT INTO metrics ({listed}) VALUES ({placeholders}) ON CONFLICT (run_id, step, progress) DO {action}"


class Engine(ABC):
    """A database that SQLTrack can store experiments in.

    An engine opens connections and says how its database spells what SQLTrack needs. It holds nothing but its
    configuration; connections belong to the client.

    Attributes:
        name: what `engine` in the configuration calls it.
        driver_error: base class of the errors that the database driver raises.
        dialect: how the database quotes and comments.
        schema: the database schema in which names are looked up, None for the database's default.
    """

    name: ClassVar[str]
    driver_error: ClassVar[type[Exception]]
    dialect: ClassVar[Dialect]
    schema: str | None = None

    @abstractmethod
    def connect(self) -> Any:
        """Open a connection to the database.

        Returns:
            The driver's connection, in a mode in which changes wait for `commit()`.

        Raises:
            DatabaseUnavailableError: the database cannot be reached or opened.
        """

    @abstractmethod
    def data_dir(self) -> str:
        """Return the path of the folder that holds the SQL scripts of this engine."""

    @abstractmethod
    def map_type(self, client: Client | None, typ: type) -> str:
        """Return the SQL type of a column for values of the Python type `typ`.

        Raises:
            TypeError: no SQL type fits.
        """

    @abstractmethod
    def driver_version(self, connection: Any) -> str:
        """Return name and version of the database behind a connection, such as "PostgreSQL 17.10"."""

    @abstractmethod
    def set_autocommit(self, connection: Any, enabled: bool) -> None:
        """Choose whether every statement commits by itself or changes wait for `commit()`."""

    @abstractmethod
    def is_usable(self, connection: Any) -> bool:
        """Return whether an idle connection works, as far as one can tell without asking the server."""

    @abstractmethod
    def execute_within(self, connection: Any, seconds: float, sql: str, parameters: Sequence[Any]) -> Any:
        """Execute one statement, waiting at most `seconds` for locks of others, and return the cursor."""

    @abstractmethod
    def abort(self, connection: Any) -> None:
        """Roll back and close a connection that may be in the middle of a statement; never raises."""

    @abstractmethod
    def translate_error(self, error: Exception) -> SQLTrackError:
        """Return the error that says what the driver's `error` means to users, and what to do about it."""

    @abstractmethod
    def execute_script(self, connection: Any, script: str) -> Any:
        """Execute the statements of a script in turn and return the last cursor."""

    @abstractmethod
    def lock_schema(self, connection: Any) -> None:
        """Begin to change the schema: wait until nobody else does, create the configured schema if it is missing."""

    @abstractmethod
    def table_columns(self, connection: Any, table: str) -> dict[str, str]:
        """Return names and SQL types of a table's columns in order, empty if there is no such table."""

    @abstractmethod
    def merge_json_sql(self, column: str) -> str:
        """Return an expression: the JSON `column` with the top-level keys of the Jsonb object %s added or replaced."""

    @abstractmethod
    def remove_keys_sql(self, column: str) -> str:
        """Return an expression: the JSON `column` without the top-level keys in the Jsonb list %s."""

    @abstractmethod
    def add_metric_columns(self, connection: Any, columns: Mapping[str, str]) -> None:
        """Add columns, given as name and SQL type, to the metrics table; those that exist already are left alone."""

    @abstractmethod
    def prepare_upsert(self, names: Sequence[str]) -> MetricsUpsert:
        """Return the statement that stores the metrics `names`."""

    @abstractmethod
    def metric_converter(self, sql_type: str, typ: type) -> Callable[[Any], Any] | None:
        """Return what turns metrics of the plain Python type `typ` into values for a column, None if nothing need.

        Raises:
            TypeError: the column would alter such values.
        """
