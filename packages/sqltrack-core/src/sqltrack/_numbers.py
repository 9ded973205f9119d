"""Check and convert the numbers that callers give: ids and steps of 64 bits, and progress."""

from __future__ import annotations

import enum
import math
import sys
from typing import Any

from sqltrack.engines._foreign import UNKNOWN, Spelled, attempt, exact_number, native
from sqltrack.engines._spelling import quote
from sqltrack.engines.schema import INT64, fits_int64
from sqltrack.errors import UnusableValueError

__all__ = ["as_int64", "as_key", "as_number", "as_progress", "as_step", "only_item"]

_MIN_INT64, _MAX_INT64 = INT64.start, INT64.stop - 1


def only_item(value: Any) -> Any:
    """Return a value as one of Python's own types; for another package's array of one item, return that item."""
    item = native(value)
    if item is not value:
        while type(item) is list and len(item) == 1:
            item = native(item[0])
    return item


def as_number(value: Any) -> Any:
    """Return a number as an int or float, or a Decimal or Spelled if neither can hold it; UNKNOWN for other values.

    This covers numbers of Python and other packages, arrays and tensors of one number, and members of an enumeration of
    numbers.
    """
    return attempt(_as_number, value)


def _as_number(value: Any) -> Any:
    value = only_item(value)
    if isinstance(value, enum.Enum) and not isinstance(value, int):
        return _as_number(value.value)
    if type(value) in (int, float, bool) or isinstance(value, Spelled):
        return value
    for read in (_read_decimal, _read_rational, exact_number, _read_item):
        number = read(value)
        if number is not UNKNOWN:
            return number
    return UNKNOWN


def as_int64(value: Any, name: str, advice: str | None = None) -> int:
    """Return an integer of any type as an int.

    Args:
        value: the integer; floats and other numbers are accepted if they have no fraction.
        name: name of the argument, for the error message.
        advice: advice for the case that it is not an integer.

    Raises:
        UnusableValueError: it is not an integer, or needs more than 64 bits.
    """
    if type(value) is int and _MIN_INT64 <= value <= _MAX_INT64:
        return value
    number = as_number(value)
    if isinstance(number, float) or _is_decimal(number):
        whole = attempt(int, number)
        number = whole if whole == number else UNKNOWN
    if not isinstance(number, int):
        raise UnusableValueError(f"{name} must be an integer, got {quote(value)}", advice)
    if not fits_int64(number):
        raise UnusableValueError(f"{name} must be an integer of at most 64 bits, got {quote(value)}")
    return int(number)


def as_key(run_id: Any, step: Any, progress: Any) -> tuple[int, int, float]:
    """Return the key of a row of metrics, as Python numbers.

    Raises:
        UnusableValueError: one of the numbers is not usable.
    """
    # A fast path for nearly all calls: three function calls take longer.
    is_plain = type(run_id) is type(step) is int and type(progress) is float and progress == progress
    if is_plain and _MIN_INT64 <= run_id <= _MAX_INT64 and _MIN_INT64 <= step <= _MAX_INT64:
        return run_id, step, progress
    return as_int64(run_id, "run_id"), as_step(step), as_progress(progress)


def as_step(step: Any) -> int:
    """Return a step as an int; None, which frameworks pass, is 0.

    Raises:
        UnusableValueError: it is not an integer of 64 bits.
    """
    return 0 if step is None else as_int64(step, "step", "a fraction goes to progress=…, a name into the dict")


def as_progress(progress: Any) -> float:
    """Return a progress as a float; None is 0. A fraction, such as 1/3, becomes the nearest float.

    Raises:
        UnusableValueError: it is not a number, or no float is close enough.
    """
    if type(progress) is float and progress == progress:
        return progress
    number = 0 if progress is None else UNKNOWN if attempt(_is_text, progress) is True else as_number(progress)
    if number is UNKNOWN or number != number:
        raise UnusableValueError(f"progress must be a number, got {quote(progress)}")
    nearest = attempt(_nearest_float, number)
    if nearest is UNKNOWN:
        raise UnusableValueError(f"progress must be a number, got {quote(progress)}: no float represents it")
    return float(nearest)


def _is_text(value: Any) -> bool:
    return isinstance(value, (str, bytes, bytearray))


def _nearest_float(number: Any) -> Any:
    """Return the nearest float; UNKNOWN if it differs by more than the rounding of a fraction."""
    if isinstance(number, float):
        return number
    if isinstance(number, Spelled):
        from fractions import Fraction

        # Raises for times and complex numbers, which are spelled differently.
        number = Fraction(number.text)
    nearest = float(number)
    is_whole = isinstance(number, int) or number % 1 == 0
    if math.isinf(nearest) or (nearest == 0) != (number == 0) or (is_whole and nearest != number):
        return UNKNOWN
    return nearest


def _is_decimal(value: Any) -> bool:
    # If the module was not imported, there are no such numbers.
    decimal: Any = sys.modules.get("decimal")
    return decimal is not None and isinstance(value, decimal.Decimal)


def _read_decimal(value: Any) -> Any:
    if not _is_decimal(value):
        return UNKNOWN
    if value.is_nan():
        return math.nan
    number = float(value)
    return number if number == value else value


def _read_rational(value: Any) -> Any:
    from numbers import Rational

    if not isinstance(value, Rational) or isinstance(value, int):
        return UNKNOWN
    if value.denominator == 1:
        return int(value.numerator)
    number = exact_number(value)
    return Spelled(str(value)) if number is UNKNOWN else number


def _read_item(value: Any) -> Any:
    """Read tensors of packages that have numpy's method item(), but nothing else of numpy's interface."""
    item = getattr(type(value), "item", None)
    if not callable(item):
        return UNKNOWN
    # There may be more than one number, or the method may do something else.
    number = attempt(lambda obj: native(item(obj)), value)
    return number if isinstance(number, (int, float, Spelled)) else exact_number(number)
