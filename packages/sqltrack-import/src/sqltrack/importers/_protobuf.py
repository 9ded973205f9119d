"""Read the wire format of protocol buffers (https://protobuf.dev/programming-guides/encoding/), without a schema."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

__all__ = ["Fields", "as_float", "as_signed", "parse_fields", "read_fields", "text_of"]

# Values by the number of their field. A number is an int, all other values are bytes.
Fields = dict[int, list[Any]]

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def read_fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Return the fields of a message: number and value. A varint is an int, other values are bytes.

    Raises:
        ValueError: the message is damaged.
    """
    position, end = 0, len(data)
    while position < end:
        key, position = _read_varint(data, position)
        number, wire_type = key >> 3, key & 7
        if wire_type == _VARINT:
            value: Any
            value, position = _read_varint(data, position)
            yield number, value
            continue
        if wire_type == _BYTES:
            length, position = _read_varint(data, position)
        elif wire_type == _FIXED32:
            length = 4
        elif wire_type == _FIXED64:
            length = 8
        else:
            raise ValueError(f"a message has a field of unknown type {wire_type}")
        if position + length > end:
            raise ValueError("a message ends within a field")
        yield number, data[position : position + length]
        position += length


def parse_fields(data: bytes) -> Fields:
    """Return the values of a message by the number of their field.

    Raises:
        ValueError: the message is damaged.
    """
    fields: Fields = {}
    for number, value in read_fields(data):
        fields.setdefault(number, []).append(value)
    return fields


def text_of(fields: Fields, number: int) -> str:
    """Return the last text of a field, empty if there is none."""
    values = fields.get(number)
    return values[-1].decode("utf-8", "backslashreplace") if values and isinstance(values[-1], bytes) else ""


def as_signed(value: int) -> int:
    """Return the signed integer of 64 bits for a varint."""
    return value - (1 << 64) if value >= 1 << 63 else value


def as_float(value: bytes) -> float:
    """Return the float of 32 or 64 bits.

    Raises:
        ValueError: the value has another length.
    """
    if len(value) not in (4, 8):
        raise ValueError(f"a message has a float of {len(value)} bytes")
    number: float = struct.unpack("<f" if len(value) == 4 else "<d", value)[0]
    return number


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    try:
        while True:
            byte = data[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & 0xFFFF_FFFF_FFFF_FFFF, position
            shift += 7
            if shift > 63:
                raise ValueError("a message has a number of more than 64 bits")
    except IndexError:
        raise ValueError("a message ends within a number") from None
