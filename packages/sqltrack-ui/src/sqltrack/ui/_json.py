"""Convert answers to strict JSON, and read the JSON of requests."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, NoReturn
from uuid import UUID

from sqltrack.ui._errors import RequestError

__all__ = ["NUMBER", "encode", "read_object", "read_text"]

# JavaScript's numbers are exact up to here.
_EXACT = 2**53

#: The key of a number that JavaScript cannot represent.
NUMBER = "$number"
_NAMES = {math.inf: "Infinity", -math.inf: "-Infinity"}


def encode(value: Any) -> bytes:
    """Return a value as JSON, in UTF-8.

    Numbers that JavaScript cannot represent are objects: `{"$number": "NaN"}`, or the digits of an integer. Times are
    in ISO 8601, durations in seconds, and mappings and dataclasses are objects.
    """
    # With escapes, because text may contain halves of surrogate pairs.
    return json.dumps(_plain(value), allow_nan=False, separators=(",", ":")).encode("ascii")


def read_object(text: str | bytes) -> dict[str, Any]:
    """Return the object that a request contains.

    Raises:
        RequestError: the text is not strict JSON, or not an object.
    """
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise RequestError("the request is not JSON") from None
    if not isinstance(value, dict):
        raise RequestError(f"expected an object, got {type(value).__name__}")
    return value


def read_text(values: Mapping[str, Any], name: str) -> str:
    """Return a text of the object that a request contains.

    Raises:
        RequestError: it is missing, or something else.
    """
    value = values.get(name)
    if not isinstance(value, str):
        raise RequestError(f"{name} must be text, got {value!r}")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _plain(value: Any) -> Any:
    """Return a value made of the types of JSON."""
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return value
    if kind is float:
        return value if math.isfinite(value) else _number(_NAMES.get(value, "NaN"))
    if kind is int:
        return value if -_EXACT <= value <= _EXACT else _number(str(value))
    if kind is list or kind is tuple:
        # Curves are long lists of numbers.
        kinds = set(map(type, value))
        if kinds == {float} and all(map(math.isfinite, value)):
            return value
        if kinds == {int} and min(value) >= -_EXACT and max(value) <= _EXACT:
            return value
        return [_plain(item) for item in value]
    if kind is dict:
        return {str(name): _plain(item) for name, item in value.items()}
    return _plain_object(value)


def _plain_object(value: Any) -> Any:
    """Return an object of another type as a value made of the types of JSON."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return _plain(dict(value))
    if isinstance(value, (list, tuple, set, frozenset)):
        return _plain(list(value))
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, Decimal):
        return (
            _plain(int(value) if value == value.to_integral_value() else float(value))
            if value.is_finite()
            else (_plain(float(value)))
        )
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).hex()
    if isinstance(value, (int, float, str)):
        base = next(kind for kind in (int, float, str) if isinstance(value, kind))
        return _plain(base(value))
    if isinstance(value, UUID):
        return str(value)
    return str(value)


def _number(text: str) -> dict[str, str]:
    return {NUMBER: text}
