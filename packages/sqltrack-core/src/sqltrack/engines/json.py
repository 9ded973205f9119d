"""Turn the Python values that a configuration can hold into JSON that both databases accept.

PostgreSQL's JSONB knows no NaN, no infinities, no NUL character and no lone surrogates (RFC 8259, PostgreSQL
manual 8.14), so they are spelled out as text here, for both engines alike.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable, Sequence
from typing import Any

from sqltrack.engines._configs import named_values

__all__ = ["Jsonb", "dumps", "escape_text", "is_complex", "is_storable_text", "jsonb", "plain"]


class Jsonb:
    """Wraps a Python object that is to be stored as JSON; every engine knows how to bind it."""

    __slots__ = ("obj",)

    def __init__(self, obj: Any) -> None:
        self.obj: Any = obj

    def __repr__(self) -> str:
        return f"Jsonb({self.obj!r})"

    def detached(self) -> Jsonb:
        """Return the same with containers of its own."""
        return Jsonb(plain(self.obj))


def jsonb(obj: Any) -> Jsonb | None:
    """Return `Jsonb(obj)`, or None if `obj` is None."""
    return None if obj is None else Jsonb(obj)


def dumps(obj: Any) -> str:
    """Return `obj` as JSON text; what has no JSON form becomes its str.

    What holds names and values (see `sqltrack.engines._configs`) becomes an object, sequences and sets arrays,
    enumeration members their value, numpy and torch scalars numbers and their arrays arrays. NaN and the infinities
    become the strings "NaN", "Infinity" and "-Infinity". NUL and lone surrogates are escaped with a backslash.
    """
    import json

    return json.dumps(plain(obj), ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def plain(obj: Any) -> Any:
    """Return `obj` made of dict, list, str, int, float, bool and None; see `dumps`."""
    return _plain(obj, ())


def is_storable_text(text: str) -> bool:
    """Return whether a text has a form in UTF-8, which lone surrogates have not."""
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
    """Do the work of `plain`; `parents` are the ids of the containers around `obj`."""
    if obj is None or isinstance(obj, bool):
        return obj
    if isinstance(obj, enum.Enum):
        return _plain(obj.value, parents)
    if isinstance(obj, str):
        return escape_text(str(obj))
    if isinstance(obj, int):
        return int(obj)
    if isinstance(obj, float):
        return _plain_float(float(obj))
    if isinstance(obj, (bytes, bytearray, memoryview)):
        return str(bytes(obj))
    if id(obj) in parents:
        return f"<{type(obj).__name__} that contains itself>"
    return _plain_container(obj, (*parents, id(obj)))


def _plain_float(value: float) -> float | str:
    if math.isfinite(value):
        return value
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _plain_container(obj: Any, parents: tuple[int, ...]) -> Any:
    items = named_values(obj)
    if items is not None:
        return {_plain_key(key): _plain(value, parents) for key, value in items}
    if isinstance(obj, Sequence):
        return [_plain(item, parents) for item in obj]
    if isinstance(obj, (set, frozenset)):
        return [_plain(item, parents) for item in _in_order(obj)]
    # numpy and torch without importing them: scalars and arrays both turn into Python objects by tolist().
    if callable(getattr(obj, "tolist", None)) and hasattr(obj, "dtype"):
        value = obj.tolist()
        return _plain(value if type(value) is not type(obj) else _as_number(obj), parents)
    return escape_text(str(obj))


def _plain_key(key: Any) -> str:
    name = plain(key)
    if isinstance(name, str):
        return name
    # The keys True, None and 1 are spelled as JSON spells them.
    return escape_text(str(key)) if isinstance(name, (list, dict)) else dumps(name)


def _in_order(items: Iterable[Any]) -> list[Any]:
    """Sets have no order of their own: sort, so that equal sets are stored alike."""
    items = list(items)
    try:
        return sorted(items)
    except TypeError:
        return sorted(items, key=repr)


def is_complex(number: Any) -> bool:
    """Return whether a number is complex, of which float() would leave only a part without an error."""
    from numbers import Complex, Real

    return isinstance(number, Complex) and not isinstance(number, Real)


def _as_number(obj: Any) -> Any:
    """Some numpy scalars (longdouble) have no Python counterpart and return themselves from tolist()."""
    try:
        return complex(obj) if is_complex(obj) else float(obj)
    except (TypeError, ValueError):
        return str(obj)
