"""Read the records of TensorBoard's event files (TFRecord): length, its checksum, data, its checksum."""

from __future__ import annotations

import functools
import os
import struct
from collections.abc import Iterator
from pathlib import Path

from sqltrack.commands.importing._files import open_file

__all__ = ["RecordError", "TornRecordError", "framed", "read_records"]

_HEADER = struct.Struct("<QI")
_CHECKSUM = struct.Struct("<I")
# The polynomial of CRC-32C (RFC 3720, appendix B.4), reversed.
_POLYNOMIAL = 0x82F63B78
# Lengths repeat, and so do their checksums.
_MAX_HEADERS = 10_000


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
    table = _table()
    crc = 0xFFFFFFFF
    # Two bytes at a time take half as long.
    for pair in struct.unpack_from(f"<{len(data) // 2}H", data):
        crc = table[(crc ^ pair) & 0xFFFF] ^ (crc >> 16)
    if len(data) % 2:
        # The upper half of the table's index is the byte that follows.
        crc = _byte_table()[(crc ^ data[-1]) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def _masked(crc: int) -> int:
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


@functools.cache
def _byte_table() -> tuple[int, ...]:
    return tuple(functools.reduce(lambda crc, _: _shifted(crc), range(8), byte) for byte in range(256))


@functools.cache
def _table() -> tuple[int, ...]:
    """Return the remainders of all pairs of bytes."""
    one = _byte_table()
    return tuple(one[one[pair & 0xFF] & 0xFF ^ (pair >> 8)] ^ (one[pair & 0xFF] >> 8) for pair in range(1 << 16))


def _shifted(crc: int) -> int:
    return (crc >> 1) ^ _POLYNOMIAL if crc & 1 else crc >> 1
