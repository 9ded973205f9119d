"""Convert Python values to JSON that all databases accept.

PostgreSQL's JSONB does not allow NaN, infinities, NUL characters and lone surrogates (RFC 8259, PostgreSQL manual
8.14), so both engines store them as text.
"""

from __future__ import annotations

import enum
import math
from collections import UserString
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from sqltrack.engines._configs import named_values
from sqltrack.engines._foreign import UNKNOWN, Spelled, attempt, native
from sqltrack.engines._spelling import spell
from sqltrack.errors import UnusableValueError

__all__ = ["MAX_DEPTH", "MAX_INT", "Jsonb", "dumps", "escape_text", "is_storable_text", "jsonb", "plain"]

#: Levels of containers. Python can parse much deeper JSON only if its stack is nearly empty.
MAX_DEPTH: int = 200

#: Greater integers become hexadecimal text: Python refuses to parse numbers of more than 4,300 digits.
MAX_INT: int = 10**4000

# Longer ranges become their repr.
_MAX_RANGE = 10_000


class Jsonb:
    """Wraps a Python object to store it as JSON; every engine can bind it."""

    __slots__ = ("obj",)

    def __init__(self, obj: Any) -> None:
        self.obj: Any = obj

    def __repr__(self) -> str:
        return f"Jsonb({self.obj!r})"

    def detached(self) -> Jsonb:
        """Return a copy that shares no containers."""
        return Jsonb(plain(self.obj))


def jsonb(obj: Any) -> Jsonb | None:
    """Return `Jsonb(obj)`, or None if `obj` is None."""
    return None if obj is None else Jsonb(obj)


def dumps(obj: Any) -> str:
    """Return `obj` as JSON text.

    - Mappings and other objects with names and values (see `sqltrack.engines._configs`) become objects.
    - Sequences, sets and arrays become arrays. Members of an Enum become their value.
    - Scalars of numpy and torch become numbers. Missing values, such as `pandas.NA`, become null.
    - NaN and infinities become the strings "NaN", "Infinity" and "-Infinity".
    - Functions become their names, and all other objects their str without memory addresses.
    - NUL and lone surrogates are escaped with a backslash.
    - Keys become strings. If two keys have the same text, one that is not a str gets its type appended: "1 (int)".

    Raises:
        UnusableValueError: the object is nested too deeply for the stack.
    """
    import json

    try:
        return json.dumps(plain(obj), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except RecursionError:
        raise UnusableValueError("a value is nested too deeply for the stack") from None


def plain(obj: Any) -> Any:
    """Return `obj` converted to dict, list, str, int, float, bool and None; see `dumps`."""
    return _plain(obj, ())


def is_storable_text(text: str) -> bool:
    """Return whether a text can be encoded as UTF-8, that is, has no lone surrogates."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def escape_text(text: str) -> str:
    r"""Return `text` with NUL as `\x00` and lone surrogates as `\udcXX`."""
    text = text.replace("\0", "\\x00")
    return text if is_storable_text(text) else text.encode("utf-8", "backslashreplace").decode("utf-8")


def _plain(obj: Any, parents: tuple[int, ...]) -> Any:
    """Convert `obj` for `plain`; `parents` are the ids of the containers around it.

    Uses only one stack frame per level, because the stack limits the depth.
    """
    scalar = attempt(_plain_scalar, obj)
    if scalar is not UNKNOWN:
        return scalar
    if id(obj) in parents:
        return f"<{type(obj).__name__} that contains itself>"
    if len(parents) >= MAX_DEPTH:
        return f"<{type(obj).__name__} below {MAX_DEPTH} levels>"
    parents = (*parents, id(obj))
    content = _content(obj)
    if isinstance(content, dict):
        return {name: _plain(value, parents) for name, value in content.items()}
    if isinstance(content, list):
        items = [_plain(item, parents) for item in content]
        return _in_order(items) if isinstance(obj, AbstractSet) else items
    return escape_text(spell(obj)) if content is UNKNOWN else _plain(content, parents)


def _plain_scalar(obj: Any) -> Any:
    """Convert a scalar; return UNKNOWN for a value that may contain others."""
    if obj is None or isinstance(obj, bool):
        return obj
    # Use the value of a subclass, whatever its own methods return.
    if isinstance(obj, (str, int, float)) and not isinstance(obj, enum.Enum):
        # A mock may claim to be an instance of these types.
        return attempt(_plain_base, obj)
    if isinstance(obj, (bytes, bytearray)):
        return str(bytes(obj))
    if isinstance(obj, Spelled):
        return escape_text(obj.text)
    return UNKNOWN


def _plain_base(obj: Any) -> Any:
    if isinstance(obj, str):
        return escape_text(str.__str__(obj))
    if isinstance(obj, int):
        number = int.__int__(obj)
        return number if -MAX_INT < number < MAX_INT else hex(number)
    return _plain_float(float.__float__(obj))


def _plain_float(value: float) -> float | str:
    if math.isfinite(value):
        return value
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _content(obj: Any) -> Any:
    """Return the content of an object as a dict, a list or another object; UNKNOWN without content."""
    content = attempt(_read_content, obj)
    if content is not UNKNOWN:
        return content
    value = native(obj)
    return UNKNOWN if value is obj else value


def _read_content(obj: Any) -> Any:
    if isinstance(obj, enum.Enum):
        return obj.value
    if isinstance(obj, Jsonb):
        return obj.obj
    if isinstance(obj, memoryview):
        return bytes(obj)
    items = named_values(obj)
    if items is not None:
        return _named(list(items))
    return list(obj) if _is_sequence(obj) or isinstance(obj, AbstractSet) else UNKNOWN


def _is_sequence(obj: Any) -> bool:
    # The items of a UserString are of its own type.
    if not isinstance(obj, Sequence) or isinstance(obj, UserString):
        return False
    return not isinstance(obj, range) or len(obj) <= _MAX_RANGE


def _named(items: Sequence[tuple[Any, Any]]) -> dict[str, Any]:
    """Return items by the JSON names of their keys, made unique."""
    taken = {key for key, _ in items if type(key) is str and key == escape_text(key)}
    named: dict[str, Any] = {}
    for key, value in items:
        name = _plain_key(key)
        while name in taken and not (type(key) is str and key == name):
            name = f"{name} ({type(key).__name__})"
        taken.add(name)
        named[name] = value
    return named


def _plain_key(key: Any) -> str:
    name = plain(key)
    if isinstance(name, str):
        return name
    # The keys True, None and 1 become "true", "null" and "1", as in JSON.
    return escape_text(spell(key)) if isinstance(name, (list, dict)) else dumps(name)


def _in_order(items: Iterable[Any]) -> list[Any]:
    """Sort the items of a set, so that equal sets are stored alike."""
    items = list(items)
    types = set(map(type, items))
    return sorted(items) if types <= {int, float} or types == {str} else sorted(items, key=dumps)
