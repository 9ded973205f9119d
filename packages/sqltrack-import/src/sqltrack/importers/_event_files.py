"""Read the records of TensorBoard's event files (TFRecord): length, its checksum, data, its checksum."""

from __future__ import annotations

import functools
import itertools
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from sqltrack.importers._files import open_file

__all__ = ["RecordError", "TornRecordError", "framed", "read_records"]

_HEADER = struct.Struct("<QI")
_CHECKSUM = struct.Struct("<I")
# The polynomial of CRC-32C (RFC 3720, appendix B.4), reversed.
_POLYNOMIAL = 0x82F63B78
_ONES = 0xFFFFFFFF
# Records of scalars are shorter; the tables for one length take 2 KiB.
_SHORT = 128
# Lengths repeat, and so do their checksums.
_MAX_HEADERS = 10_000


T = TypeVar("T")


class RecordError(ValueError):
    """A record is damaged."""


class TornRecordError(RecordError):
    """A file ends within a record, because its process was killed or is still writing."""


def read_records(path: Path) -> Iterator[bytes]:
    """Return the data of the records of a file.

    Raises:
        RecordError: a checksum is wrong, or the file ends within a record; all records before it were returned.
    """
    headers: dict[bytes, int] = {}
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        position = 0
        while header := file.read(_HEADER.size):
            length = headers.get(header)
            if length is None:
                length = _read_length(header, path, position)
                if len(headers) < _MAX_HEADERS:
                    headers[header] = length
            # The file may have grown in the meantime; an absurd length must not take all memory.
            if position + length > size:
                size = os.fstat(file.fileno()).st_size
            rest = file.read(length + _CHECKSUM.size) if position + length <= size else b""
            if len(rest) < length + _CHECKSUM.size:
                raise TornRecordError(f"{str(path)!r}, offset {position}: the last record is incomplete")
            data = rest[:length]
            if _masked(checksum(data)) != _CHECKSUM.unpack_from(rest, length)[0]:
                raise RecordError(f"{str(path)!r}, offset {position}: a record has a wrong checksum")
            yield data
            position += _HEADER.size + length + _CHECKSUM.size


def _read_length(header: bytes, path: Path, position: int) -> int:
    if len(header) < _HEADER.size:
        raise TornRecordError(f"{str(path)!r}, offset {position}: the last record is incomplete")
    length, found = _HEADER.unpack(header)
    if _masked(checksum(header[:8])) != found:
        raise RecordError(f"{str(path)!r}, offset {position}: not a record of an event file")
    return int(length)


def framed(data: bytes) -> bytes:
    """Return the record of data, as event files contain it."""
    length = struct.pack("<Q", len(data))
    sums = [_CHECKSUM.pack(_masked(checksum(content))) for content in (length, data)]
    return length + sums[0] + data + sums[1]


def checksum(data: bytes) -> int:
    """Return the CRC-32C of data."""
    length = len(data)
    if length >= _SHORT:
        return _long_checksum(data)
    # A checksum is the sum of the contributions of all bytes, which depend on their distance from the end.
    crc = _EMPTY[length]
    for contributions, byte in zip(_CONTRIBUTIONS, data[::-1]):
        crc ^= contributions[byte]
    return crc ^ _ONES


def _long_checksum(data: bytes) -> int:
    crc = _ONES
    for byte in data:
        crc = _BYTES[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ _ONES


def _masked(crc: int) -> int:
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & _ONES


def _shifted(crc: int) -> int:
    return (crc >> 1) ^ _POLYNOMIAL if crc & 1 else crc >> 1


def _followed_by_zero(crc: int) -> int:
    return (crc >> 8) ^ _BYTES[crc & 0xFF]


def _repeated(first: T, function: Callable[[T], T]) -> list[T]:
    """Return the values for all lengths of short data, each made from the one before."""
    return list(itertools.accumulate(range(_SHORT - 1), lambda value, _: function(value), initial=first))


# Remainders of the checksum's polynomial for all bytes, for all bytes before so many others, and for no bytes.
_BYTES = [functools.reduce(lambda crc, _: _shifted(crc), range(8), byte) for byte in range(256)]
_CONTRIBUTIONS = _repeated(_BYTES, lambda crcs: [_followed_by_zero(crc) for crc in crcs])
_EMPTY = _repeated(_ONES, _followed_by_zero)
