"""Convert metrics to values of plain types, which all databases can store."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta, timezone
from functools import partial
from operator import itemgetter
from typing import Any, NamedTuple, cast

from sqltrack._logging import get_logger
from sqltrack._numbers import as_key, as_number, only_item
from sqltrack.engines._configs import named_values
from sqltrack.engines._foreign import UNKNOWN, Spelled, attempt, is_instance
from sqltrack.engines._spelling import quote, spell
from sqltrack.engines.json import Jsonb, is_storable_text, plain
from sqltrack.errors import UnusableValueError

__all__ = [
    "MetricsRow",
    "Row",
    "as_metrics",
    "batch_rows",
    "check_name",
    "copied_rows",
    "make_row",
    "needs_no_change",
    "normalise",
]

_PLAIN_TYPES = frozenset({bool, int, float, str, bytes, date, datetime, timedelta, dict, list, type(None)})

_CONTAINERS = frozenset({dict, list})

# Names of rows that were checked; most rows have the names of the row before.
_checked_names: set[tuple[str, ...]] = set()
_MAX_CHECKED = 1_000

# Warnings that this process has logged.
_warned: set[str] = set()


class Row(NamedTuple):
    """The metrics of one row.

    Attributes:
        key: run id, step and progress.
        names: names of the metrics.
        values: their values.
        types: types of the values.
        kept: names of metrics that stay in the column `extras` unless they have a column of their own.
    """

    key: tuple[int, int, float]
    names: tuple[str, ...]
    values: Sequence[Any]
    types: tuple[type, ...]
    kept: frozenset[str] = frozenset()

    def detached(self) -> Row:
        """Return the row with its own copies of dicts and lists.

        Raises:
            UnusableValueError: a name cannot be stored; later, the caller could not be told.
        """
        if self.names not in _checked_names:
            for name in self.names:
                check_name(name)
            if len(_checked_names) >= _MAX_CHECKED:
                _checked_names.clear()
            _checked_names.add(self.names)
        if not _CONTAINERS.intersection(self.types):
            return self
        return self._replace(values=tuple(plain(v) if type(v) in (dict, list) else v for v in self.values))


_NONE_KEPT: frozenset[str] = frozenset()

# Faster than the class itself, which has named arguments.
_new_row: Callable[[tuple[Any, ...]], Row] = partial(tuple.__new__, Row)


class MetricsRow(NamedTuple):
    """A row of metrics as read from a database.

    Attributes:
        step: the row's step.
        progress: the row's progress.
        metrics: names and values from columns.
        extras: names and values from the column `extras`, for other metrics.
    """

    step: int
    progress: float
    metrics: Mapping[str, Any]
    extras: Mapping[str, Any]


def make_row(run_id: int, metrics: Any, step: Any, progress: Any, known_types: tuple[type, ...] = ()) -> Row:
    """Return the row of a point in time.

    Args:
        run_id: id of the run.
        metrics: names and values.
        step: the row's step.
        progress: the row's progress.
        known_types: as in `normalise`.

    Raises:
        UnusableValueError: a name or value cannot be stored.
    """
    # First, because the step is wrong as well in add_metrics("loss", 0.5).
    if type(metrics) is not dict:
        metrics = as_metrics(metrics)
    return normalise(as_key(run_id, step, progress), metrics, known_types)


def as_metrics(metrics: Any) -> Mapping[str, Any]:
    """Return metrics as a mapping; they may be a row of a data frame, a named tuple or another object.

    Raises:
        UnusableValueError: the object does not have names and values.
    """
    if type(metrics) is dict or is_instance(metrics, Mapping):
        return cast("Mapping[str, Any]", metrics)
    named = attempt(_named, metrics)
    if not isinstance(named, dict):
        name = quote(metrics) if is_instance(metrics, str) else "'loss'"
        raise UnusableValueError(
            f"metrics must be a dict of names and values, got {quote(metrics)}",
            f"use: add_metrics({{{name}: 0.5}}, step=step)",
        )
    return named


def _named(metrics: Any) -> Any:
    for name in ("_asdict", "items"):
        method = getattr(type(metrics), name, None)
        if callable(method):
            return dict(method(metrics))
    items = named_values(metrics)
    return UNKNOWN if items is None else dict(items)


def normalise(key: tuple[int, int, float], metrics: Mapping[str, Any], known_types: tuple[type, ...] = ()) -> Row:
    """Return the metrics of one row, with values of plain types.

    Args:
        key: run id, step and progress.
        metrics: names and values.
        known_types: types of the values of an earlier row for which `needs_no_change` is true.

    Raises:
        UnusableValueError: a value cannot be stored.
    """
    return _as_row(key, tuple(metrics), tuple(metrics.values()), known_types)


def _as_row(
    key: tuple[int, int, float], names: tuple[str, ...], values: tuple[Any, ...], known_types: tuple[type, ...]
) -> Row:
    types = tuple(map(type, values))
    # A comparison by identity takes a tenth of the time of looking up each type.
    if types == known_types:
        types = known_types
    else:
        if not _PLAIN_TYPES.issuperset(types):
            values = tuple(map(_plain_or_text, values))
            types = tuple(map(type, values))
        if datetime in types:
            values = tuple(_in_zone(value) if type(value) is datetime else value for value in values)
            types = tuple(map(type, values))
    return _new_row((key, names, values, types, _NONE_KEPT))


def needs_no_change(types: tuple[type, ...]) -> bool:
    """Return whether values of these types are stored unchanged; datetimes are not, because they need a time zone."""
    return datetime not in types and _PLAIN_TYPES.issuperset(types)


class _Layout:
    """The positions of step, progress and metrics in rows with certain names.

    Args:
        keys: the names, in order.

    Attributes:
        keys: the same.
        names: the names of metrics.
        pick: selects the values of the metrics.
        step: index of the step, None if there is none.
        progress: index of the progress, None if there is none.
    """

    def __init__(self, keys: tuple[Any, ...]) -> None:
        self.keys = keys
        self.step = keys.index("step") if "step" in keys else None
        self.progress = keys.index("progress") if "progress" in keys else None
        indices = [index for index in range(len(keys)) if index not in (self.step, self.progress)]
        self.names = tuple(keys[index] for index in indices)
        # itemgetter returns a tuple only for two or more indices.
        self.pick: Callable[[tuple[Any, ...]], tuple[Any, ...]] = (
            itemgetter(*indices) if len(indices) > 1 else lambda values: tuple(values[index] for index in indices)
        )


def batch_rows(run_id: int, rows: Iterable[Mapping[str, Any]]) -> Iterator[Row]:
    """Yield rows from mappings that contain step, progress or both next to their metrics.

    Raises:
        UnusableValueError: a row has neither, or a name or value that cannot be stored.
    """
    layout = _Layout(())
    known_types: tuple[type, ...] = ()
    for given in rows:
        row = given if type(given) is dict else dict(as_metrics(given))
        keys = tuple(row)
        # Most rows have the same names as the last one, in the same order.
        if keys != layout.keys:
            layout = _Layout(keys)
        if layout.step is None and layout.progress is None:
            raise UnusableValueError(f"each row needs 'step' or 'progress' next to its metrics, got {quote(given)}")
        values = tuple(row.values())
        step = 0 if layout.step is None else values[layout.step]
        progress = 0.0 if layout.progress is None else values[layout.progress]
        key, metrics = as_key(run_id, step, progress), layout.pick(values)
        if tuple(map(type, metrics)) == known_types:
            yield _new_row((key, layout.names, metrics, known_types, _NONE_KEPT))
            continue
        normal = _as_row(key, layout.names, metrics, ())
        known_types = normal.types if needs_no_change(normal.types) else ()
        yield normal


def copied_rows(run_id: int, rows: Iterable[MetricsRow]) -> Iterator[Row]:
    """Yield rows that were read from a database."""
    known_types: tuple[type, ...] = ()
    for row in rows:
        metrics = {**row.extras, **row.metrics} if row.extras else row.metrics
        normal = normalise((run_id, row.step, row.progress), metrics, known_types)
        if normal.types is not known_types:
            known_types = normal.types if needs_no_change(normal.types) else ()
        yield normal._replace(kept=frozenset(row.extras)) if row.extras else normal


def check_name(name: Any) -> None:
    """Check the name of a metric.

    Raises:
        UnusableValueError: a metric cannot have this name.
    """
    if not is_instance(name, str) or not name:
        raise UnusableValueError(f"the name of a metric must be a non-empty str, got {quote(name)}")
    if "\0" in name or not is_storable_text(name):
        raise UnusableValueError(f"the name of a metric must not hold NUL or lone surrogates, got {quote(name)}")


def _plain_or_text(value: Any) -> Any:
    found = attempt(_plain_value, value)
    return Spelled(spell(value)) if found is UNKNOWN else found


def _plain_value(value: Any) -> Any:
    """Return a metric's value as an instance of a plain type, or as Spelled if none can hold it."""
    if type(value) in _PLAIN_TYPES:
        return value
    if isinstance(value, Jsonb):
        return plain(value.obj)
    # NaT is a datetime, too, but does not equal itself.
    if isinstance(value, datetime) and value == value:
        value = _in_zone(value)
    item = only_item(value)
    if item is not value:
        return plain(item) if type(item) is list else item if isinstance(item, Spelled) else _plain_value(item)
    if isinstance(value, enum.Enum):
        return _plain_value(value.value)
    for read in (_read_base, as_number, _read_bytes):
        found = read(value)
        if found is not UNKNOWN:
            return found
    form = plain(value)
    return Spelled(form) if isinstance(form, str) else form


def _in_zone(value: datetime) -> Any:
    """Return a datetime with a time zone, by default UTC, which numpy means; return Spelled if its own zone fails."""
    offset = attempt(lambda moment: moment.utcoffset(), value)
    if offset is UNKNOWN:
        return Spelled(str(value.replace(tzinfo=None)))
    if offset is not None:
        return value
    if "naive" not in _warned:
        _warned.add("naive")
        get_logger("metrics").warning(
            "a metric is a datetime without a time zone, which is stored as UTC, got %s; "
            "to store local time, use value.astimezone()",
            value,
        )
    return value.replace(tzinfo=timezone.utc)


def _read_base(value: Any) -> Any:
    for typ, convert in _BASES:
        if isinstance(value, typ):
            # The value may only pretend to have the type, or be out of range: pandas knows the year 10,000.
            return attempt(convert, value)
    return UNKNOWN


def _read_bytes(value: Any) -> Any:
    return bytes(value) if isinstance(value, (bytearray, memoryview)) else UNKNOWN


def _as_datetime(value: datetime) -> datetime:
    return datetime.combine(value.date(), value.time(), value.tzinfo)


# Converters of subclasses (IntEnum, numpy.float64, pandas.Timestamp) to their base class, which bypass overridden
# methods.
_BASES: Sequence[tuple[type, Callable[[Any], Any]]] = (
    (int, int.__int__),
    (float, float.__float__),
    (str, str.__str__),
    (bytes, lambda value: bytes(bytearray(value))),
    (datetime, _as_datetime),
    (date, lambda value: date(value.year, value.month, value.day)),
    (timedelta, lambda value: timedelta(value.days, value.seconds, value.microseconds)),
)
