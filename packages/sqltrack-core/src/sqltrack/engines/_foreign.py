"""Convert values of other packages, such as numpy, to Python types, without importing these packages."""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from typing import Any

from sqltrack.errors import NaiveDatetimeError

__all__ = ["UNKNOWN", "Spelled", "attempt", "exact_number", "is_complex", "is_instance", "literal_value", "native"]


class Spelled:
    """A value that no Python type represents exactly, as text.

    Attributes:
        text: the text.
    """

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text: str = text

    def __repr__(self) -> str:
        return f"Spelled({self.text!r})"


#: Stands for a result that could not be determined.
UNKNOWN: Any = object()

# The default comparison, by identity.
_IDENTITY: Any = object.__eq__

# Units of numpy's times: those stored as days, those without a fixed length, and those below microseconds.
_DAYS = frozenset({"Y", "M", "W", "D"})
_VAGUE = frozenset({"Y", "M", "generic"})
_FINE = frozenset({"ns", "ps", "fs", "as"})

# Names of the units.
_UNITS = {
    "Y": "years",
    "M": "months",
    "W": "weeks",
    "D": "days",
    "h": "hours",
    "m": "minutes",
    "s": "seconds",
    "ms": "milliseconds",
    "us": "microseconds",
    "ns": "nanoseconds",
    "ps": "picoseconds",
    "fs": "femtoseconds",
    "as": "attoseconds",
}


def native(obj: Any) -> Any:
    """Convert an object to a Python type; return it unchanged if that is not possible.

    Missing values (`pandas.NA`, NaT, masked numbers) become None. Scalars of numpy and packages with the same interface
    become bool, int, float, complex, str or bytes, and their arrays lists. A `datetime64` becomes a date or a datetime
    in UTC, a `timedelta64` a timedelta. Numbers and times that these types would round become a `Spelled`.
    """
    for read in (_read_missing, _read_time, _read_array, _read_wrapper):
        value = attempt(read, obj)
        if value is not UNKNOWN:
            return value
    return obj


def literal_value(obj: Any) -> Any:
    """Convert a value to a type for which all engines have a literal, for example subclasses and numpy's scalars.

    Raises:
        NaiveDatetimeError: a datetime has no time zone.
        TypeError: its type has no literal.
    """
    value = native(obj)
    if value is None or isinstance(value, bool):
        return value
    for typ, plain in _PLAIN:
        if isinstance(value, typ):
            return plain(value)
    if isinstance(value, datetime) and value.utcoffset() is None:
        raise NaiveDatetimeError(value)
    if not any(typ.__name__ in _SPELLED for typ in type(value).__mro__):
        raise TypeError(f"no SQL literal for a value of type {type(obj).__name__!r}")
    return value


# This includes members of an Enum that are also of such a type, such as IntEnum.
_PLAIN: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (int, int),
    (float, float),
    (str, str.__str__),
    ((bytes, bytearray, memoryview), bytes),
)
# By the names of the types, to avoid importing them.
_SPELLED = frozenset({"datetime", "date", "time", "timedelta", "Decimal", "UUID", "Jsonb"})


def attempt(function: Callable[[Any], Any], obj: Any) -> Any:
    """Return `function(obj)`, UNKNOWN if it raises: objects of other packages may raise anything."""
    try:
        return function(obj)
    except (RecursionError, MemoryError):
        raise
    except Exception:
        return UNKNOWN


def is_instance(obj: Any, types: type | tuple[type, ...]) -> bool:
    """Like `isinstance`, but False for an object that raises when asked for its class."""
    # Check the real type first, so that exceptions of signal handlers are caught only for objects that fake a class.
    return issubclass(type(obj), types) or attempt(lambda obj: isinstance(obj, types), obj) is True


def exact_number(obj: Any) -> Any:
    """Return the int or float that is equal to an object, UNKNOWN if there is none."""
    for method, convert in (("__index__", operator.index), ("__float__", float)):
        if hasattr(type(obj), method) and not is_complex(obj):
            number = attempt(convert, obj)
            if number is not UNKNOWN and attempt(lambda other: _is_same(other, number), obj) is True:  # noqa: B023
                return number
    return UNKNOWN


def _is_same(obj: Any, number: Any) -> bool:
    # Without its own comparison, trust the object's conversion.
    return type(obj).__eq__ is _IDENTITY or number != number or bool(obj == number)


def is_complex(number: Any) -> bool:
    """Return whether a number is complex; float() may silently drop its imaginary part."""
    from numbers import Complex, Real

    return isinstance(number, Complex) and not isinstance(number, Real)


def _read_missing(obj: Any) -> Any:
    # Without the imported package, there are no objects of it.
    pandas: Any = sys.modules.get("pandas")
    if pandas is not None and (obj is getattr(pandas, "NA", UNKNOWN) or obj is getattr(pandas, "NaT", UNKNOWN)):
        return None
    return UNKNOWN


def _read_time(obj: Any) -> Any:
    numpy: Any = sys.modules.get("numpy")
    if numpy is not None and isinstance(obj, numpy.datetime64):
        return None if numpy.isnat(obj) else _read_datetime64(numpy, obj)
    if numpy is not None and isinstance(obj, numpy.timedelta64):
        return None if numpy.isnat(obj) else _read_timedelta64(numpy, obj)
    # pandas' subclasses of datetime and timedelta also have nanoseconds.
    if isinstance(obj, datetime) and getattr(obj, "nanosecond", 0) != 0:
        return Spelled(str(obj))
    if isinstance(obj, timedelta) and hasattr(type(obj), "nanoseconds"):
        plain = timedelta(obj.days, obj.seconds, obj.microseconds)
        return plain if getattr(obj, "nanoseconds", 0) == 0 else Spelled(str(obj))
    return UNKNOWN


def _read_datetime64(numpy: Any, obj: Any) -> Any:
    counted = _count_beyond_numpy(numpy, obj)
    if counted is not None:
        return Spelled(f"{counted} since 1970")
    if numpy.datetime_data(obj.dtype)[0] in _DAYS:
        day = obj.item()
        return day if isinstance(day, date) else Spelled(str(obj))
    moment = _whole_microseconds(numpy, obj, "datetime64[us]").item()
    if not isinstance(moment, datetime):
        # The same format as for datetimes; numpy's are in UTC.
        return Spelled(f"{str(obj).replace('T', ' ')}+00:00")
    return moment.replace(tzinfo=timezone.utc)


def _read_timedelta64(numpy: Any, obj: Any) -> Any:
    counted = _count_beyond_numpy(numpy, obj)
    if counted is not None:
        return Spelled(counted)
    if numpy.datetime_data(obj.dtype)[0] in _VAGUE:
        return Spelled(str(obj))
    duration = _whole_microseconds(numpy, obj, "timedelta64[us]").item()
    return duration if isinstance(duration, timedelta) else Spelled(str(obj))


def _count_beyond_numpy(numpy: Any, obj: Any) -> str | None:
    """Return a time as a number of units if numpy would overflow 64 bits when it converts it, else None."""
    unit, step = numpy.datetime_data(obj.dtype)
    number = int(obj.astype("int64")) * step
    # numpy converts units of a day and longer by a shifted number of days, which overflows earlier.
    limit = 2**60 if unit in _DAYS else 2**63
    return f"{number} {_UNITS.get(unit, unit)}" if abs(number) >= limit else None


def _whole_microseconds(numpy: Any, obj: Any, dtype: str) -> Any:
    """Convert a time with a smaller unit to microseconds if that is exact, else return it unchanged.

    In the second case, item() returns an integer for a smaller unit, or for a time beyond the range of Python's types.
    """
    if numpy.datetime_data(obj.dtype)[0] not in _FINE:
        return obj
    rounded = obj.astype(dtype)
    return rounded if rounded == obj else obj


def _read_array(obj: Any) -> Any:
    """Convert scalars and arrays that have a `dtype` and a method for conversion to Python objects.

    Look these up in the class, because objects that create attributes on access, such as mocks, have them all.
    """
    typ = type(obj)
    if not hasattr(typ, "dtype"):
        return UNKNOWN
    if _is_numpy_with_times(obj):
        return _read_times(obj)
    to_list: Callable[[Any], Any] | None = getattr(typ, "tolist", None) or getattr(typ, "to_list", None)
    if to_list is None:
        return UNKNOWN
    value = to_list(obj)
    return value if type(value) is not typ else _read_unusual_scalar(obj)


def _is_numpy_with_times(obj: Any) -> bool:
    """Return whether an object is a numpy array or record with times, which tolist() may convert to integers."""
    numpy: Any = sys.modules.get("numpy")
    return numpy is not None and isinstance(obj, (numpy.ndarray, numpy.void)) and _has_times(obj.dtype)


def _has_times(dtype: Any) -> bool:
    return dtype.base.kind in "mM" or any(_has_times(dtype[name]) for name in dtype.names or ())


def _read_times(obj: Any) -> Any:
    if obj.ndim:
        return [native(item) for item in obj]
    names = obj.dtype.names
    return native(obj[()]) if names is None else [native(obj[name]) for name in names]


def _read_unusual_scalar(obj: Any) -> Any:
    """Convert a scalar without a counterpart in Python, such as longdouble or bfloat16."""
    if is_complex(obj):
        return complex(obj) if complex(obj) == obj else Spelled(str(obj))
    number = exact_number(obj)
    if number is not UNKNOWN:
        return number
    return Spelled(str(obj)) if hasattr(type(obj), "__float__") else UNKNOWN


def _read_wrapper(obj: Any) -> Any:
    """Unwrap objects that hold a value: psycopg's Json and Jsonb, Arrow scalars and arrays, TensorFlow tensors."""
    psycopg_json: Any = sys.modules.get("psycopg.types.json")
    if psycopg_json is not None and isinstance(obj, (psycopg_json.Json, psycopg_json.Jsonb)):
        return obj.obj
    for name in ("as_py", "to_pylist", "numpy"):
        method: Callable[[Any], Any] | None = getattr(type(obj), name, None)
        if callable(method):
            value = method(obj)
            return native(value) if type(value) is not type(obj) else UNKNOWN
    return UNKNOWN
