"""Encode the arguments of calls as text, and decode them with the same values and types."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from typing import Any

from sqltrack._metric_values import Row
from sqltrack.engines._foreign import Spelled
from sqltrack.engines.json import Jsonb

__all__ = ["decode", "encode"]

# The form of values that JSON does not have: their kind, and their content.
_KIND, _CONTENT = "kind", "content"

# JSON allows longer integers, but Python reads at most 4,300 digits.
_LONGEST_INT = 2**64


_SIMPLE = frozenset({str, float, bool, type(None)})

_encode_json = json.JSONEncoder(separators=(",", ":")).encode


def encode(arguments: tuple[Any, ...]) -> str:
    """Return the arguments of a call as text.

    Args:
        arguments: checked values: those of metrics, rows of metrics, `Jsonb`, and lists and dicts of these.

    Raises:
        TypeError: a value has another type.
    """
    return _encode_json([_encode(argument) for argument in arguments])


def decode(text: str) -> tuple[Any, ...]:
    """Return the arguments that `encode` has turned into a text."""
    return tuple(json.loads(text, object_hook=_decode))


def _encode(value: Any) -> Any:
    typ = type(value)
    if typ is str or typ is float or typ is bool or value is None:
        return value
    if typ is int and -_LONGEST_INT < value < _LONGEST_INT:
        return value
    if typ is Row:
        return {_KIND: "row", _CONTENT: _row_content(value)}
    if typ is list:
        return [_encode(item) for item in value]
    for kind, (kind_type, content_of, _) in _KINDS.items():
        if typ is kind_type:
            return {_KIND: kind, _CONTENT: content_of(value)}
    if isinstance(value, Mapping):
        return _encode(dict(value))
    raise TypeError(f"a value of type {typ.__name__!r} cannot wait in an outbox")


def _decode(encoded: dict[str, Any]) -> Any:
    _, _, value_of = _KINDS[encoded[_KIND]]
    return value_of(encoded[_CONTENT])


def _row_content(row: Row) -> list[Any]:
    # The encoder accepts most values unchanged, and writes a tuple as a list.
    values = row.values if _SIMPLE.issuperset(row.types) else [_encode(value) for value in row.values]
    return [row.key, row.names, values, sorted(row.kept)]


def _row(content: list[Any]) -> Row:
    key, names, values, kept = content
    run_id, step, progress = key
    return Row((run_id, step, float(progress)), tuple(names), values, tuple(map(type, values)), frozenset(kept))


def _moment(content: str) -> datetime:
    return datetime.fromisoformat(content)


_KINDS: Mapping[str, tuple[type, Callable[[Any], Any], Callable[[Any], Any]]] = {
    "row": (Row, _row_content, _row),
    # Pairs, because the keys of an object could be mistaken for a kind.
    "dict": (dict, lambda value: [[name, _encode(item)] for name, item in value.items()], dict),
    "tuple": (tuple, lambda value: [_encode(item) for item in value], tuple),
    "json": (Jsonb, lambda value: _encode(value.obj), Jsonb),
    # With its own offset: near the ends of the calendar UTC is out of range, and extras show the offset.
    "datetime": (datetime, datetime.isoformat, _moment),
    "date": (date, date.isoformat, date.fromisoformat),
    "timedelta": (timedelta, lambda value: [value.days, value.seconds, value.microseconds], lambda c: timedelta(*c)),
    "bytes": (bytes, lambda value: base64.b64encode(value).decode("ascii"), base64.b64decode),
    "int": (int, hex, lambda content: int(content, 16)),
    "spelled": (Spelled, lambda value: value.text, Spelled),
}
