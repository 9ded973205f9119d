"""Metrics as they are given, made of plain values that the databases know."""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

from sqltrack._times import as_time
from sqltrack.engines.json import Jsonb, is_complex, is_storable_text, plain
from sqltrack.errors import UnusableValueError

__all__ = ["MetricsRow", "Row", "as_progress", "as_step", "batch_row", "check_name", "copied_row", "normalise"]

_PLAIN_TYPES = frozenset({bool, int, float, str, bytes, date, datetime, timedelta, dict, list, type(None)})


class Row(NamedTuple):
    """One row's metrics.

    Attributes:
        key: run id, step and progress.
        names: names of the metrics.
        values: their values.
        types: the types of those.
        kept: names of metrics that stay in the column `extras` unless there is a column of their own.
    """

    key: tuple[int, int, float]
    names: tuple[str, ...]
    values: Sequence[Any]
    types: tuple[type, ...]
    kept: frozenset[str] = frozenset()

    def detached(self) -> Row:
        """Return the row with containers of its own.

        Raises:
            UnusableValueError: a name cannot be stored, of which nobody could hear later.
        """
        for name in self.names:
            check_name(name)
        return self._replace(values=tuple(plain(v) if type(v) in (dict, list) else v for v in self.values))


class MetricsRow(NamedTuple):
    """A row of metrics as it was read from a database.

    Attributes:
        step: the row's step.
        progress: the row's progress.
        metrics: names and values.
        extras: those that were in the column `extras`, none of them among `metrics`.
    """

    step: int
    progress: float
    metrics: Mapping[str, Any]
    extras: Mapping[str, Any]


def normalise(key: tuple[int, int, float], metrics: Mapping[str, Any]) -> Row:
    """Return the metrics of one row with values of plain types.

    Raises:
        UnusableValueError: a value cannot be stored.
    """
    names = tuple(metrics)
    values: Sequence[Any] = tuple(metrics.values())
    types = tuple(map(type, values))
    if not _PLAIN_TYPES.issuperset(types):
        values = tuple(_plain_value(name, value) for name, value in metrics.items())
        types = tuple(map(type, values))
    if datetime in types:
        for value in values:
            if isinstance(value, datetime):
                as_time(value)
    return Row(key, names, values, types)


def batch_row(run_id: int, row: Mapping[str, Any]) -> Row:
    """Return a row that holds its step, progress or both beside its metrics.

    Raises:
        UnusableValueError: it holds neither, or something that cannot be stored.
    """
    metrics = dict(row)
    if "step" not in metrics and "progress" not in metrics:
        raise UnusableValueError(f"each row needs 'step' or 'progress' beside its metrics, got {row!r}")
    step, progress = metrics.pop("step", 0), metrics.pop("progress", 0.0)
    return normalise((run_id, as_step(step), as_progress(progress)), metrics)


def copied_row(run_id: int, row: MetricsRow) -> Row:
    """Return a row that was read from a database."""
    normal = normalise((run_id, row.step, row.progress), {**row.extras, **row.metrics})
    return normal._replace(kept=frozenset(row.extras)) if row.extras else normal


def check_name(name: Any) -> None:
    """Make sure that a metric may have a name.

    Raises:
        UnusableValueError: it may not.
    """
    if not isinstance(name, str) or not name:
        raise UnusableValueError(f"the name of a metric must be a str that is not empty, got {name!r}")
    if "\0" in name or not is_storable_text(name):
        raise UnusableValueError(f"the name of a metric must not hold NUL or lone surrogates, got {name!r}")


def _plain_value(name: str, value: Any) -> Any:
    """Return a metric's value as an instance of a plain type.

    numpy and torch scalars and their 0-d arrays are numbers, recognised by `.item()` without importing either.
    """
    if type(value) in _PLAIN_TYPES:
        return value
    if isinstance(value, Jsonb):
        return plain(value.obj)
    item = getattr(value, "item", None)
    if item is not None:
        value = _item(name, value)
    decimal = sys.modules.get("decimal")
    if decimal is not None and isinstance(value, decimal.Decimal):
        return float(value) if value != value or float(value) == value else value
    for typ in (int, float, str, bytes, datetime, date, timedelta, list):
        if isinstance(value, typ):
            return value if type(value) in _PLAIN_TYPES else _as_base(typ, value)
    if isinstance(value, (Mapping, tuple)):
        return dict(value) if isinstance(value, Mapping) else list(value)
    raise UnusableValueError(f"metric {name!r} has a value of type {type(value).__name__!r}, expected a number")


def _as_base(typ: type, value: Any) -> Any:
    """Return an instance of a subclass of a plain type (IntEnum, numpy.float64, pandas.Timestamp) as that type."""
    if typ is str:
        # Enumerations whose members are texts have names for str().
        return str.__str__(value)
    if typ is datetime:
        return datetime.combine(value.date(), value.time(), value.tzinfo)
    if typ is date:
        return date(value.year, value.month, value.day)
    if typ is timedelta:
        return timedelta(value.days, value.seconds, value.microseconds)
    return typ(value)


def _item(name: str, value: Any) -> Any:
    try:
        number = value.item()
        if type(number) in _PLAIN_TYPES:
            return number
        if is_complex(number):
            raise TypeError(type(number))
        # A longdouble has no Python counterpart and returns itself.
        return float(number)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UnusableValueError(f"metric {name!r} must be one number, got {value!r}") from error


def as_step(step: Any) -> int:
    """Return a step as an int.

    Raises:
        UnusableValueError: it is no integer.
    """
    try:
        return step if type(step) is int else operator.index(step)
    except TypeError:
        if isinstance(step, float) and step.is_integer():
            return int(step)
        raise UnusableValueError(f"step must be an integer, got {step!r}") from None


def as_progress(progress: Any) -> float:
    """Return a progress as a float.

    Raises:
        UnusableValueError: it is no number.
    """
    try:
        number = float(progress)
    except (TypeError, ValueError):
        number = math.nan
    if math.isnan(number):
        raise UnusableValueError(f"progress must be a number, got {progress!r}")
    return number
