"""Read the records of TensorBoard's event files (TFRecord): length, its checksum, data, its checksum."""

from __future__ import annotations

import functools
import itertools
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, TypeVar

from sqltrack.importers._files import open_file

__all__ = ["FRAME", "RecordError", "TornRecordError", "framed", "read_records"]

_HEADER = struct.Struct("<QI")
_CHECKSUM = struct.Struct("<I")
#: Bytes of a record in addition to its data.
FRAME = _HEADER.size + _CHECKSUM.size
# The polynomial of CRC-32C (RFC 3720, appendix B.4), reversed.
_POLYNOMIAL = 0x82F63B78
_ONES = 0xFFFFFFFF
# Records of scalars are shorter; the tables for one length take 1 KiB.
_SHORT = 128
# Lengths repeat, and so do their checksums.
_MAX_HEADERS = 10_000
# Records and bytes that are checked together. The first ones are few, because some callers need only these.
_FEW, _RECORDS, _SIZE = 32, 4_096, 1 << 20
# Records of one length for which that is faster than one by one.
_MANY = 16


T = TypeVar("T")

# A record before its checksum is compared: where it begins in the file, its data, and the checksum in the file.
_Record = tuple[int, bytes, int]


class RecordError(ValueError):
    """A record is damaged."""


class TornRecordError(RecordError):
    """A file ends within a record, because its process was killed or is still writing."""


def read_records(path: Path, skip: Callable[[RecordError, int], None] | None = None) -> Iterator[bytes]:
    """Return the data of the records of a file.

    Args:
        path: the file.
        skip: called for a record whose data has a wrong checksum, with an error and the size of the record in bytes;
            default: raise the error.

    Raises:
        RecordError: a checksum is wrong, or the file ends within a record; all records before it were returned.
    """
    with open_file(path) as file:
        records = _unchecked_records(file, path)
        error: RecordError | None = None
        number = _FEW
        while error is None:
            chunk, error = _take_chunk(records, number)
            if not chunk:
                break
            for (position, data, found), crc in zip(chunk, _checksums([data for _, data, _ in chunk])):
                if _masked(crc) == found:
                    yield data
                    continue
                damage = RecordError(f"{str(path)!r}, offset {position}: a record has a wrong checksum")
                if skip is None:
                    raise damage
                skip(damage, FRAME + len(data))
            number = _RECORDS
        if error is not None:
            raise error


def _unchecked_records(file: BinaryIO, path: Path) -> Iterator[_Record]:
    headers: dict[bytes, int] = {}
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
        yield position, rest[:length], _CHECKSUM.unpack_from(rest, length)[0]
        position += _HEADER.size + length + _CHECKSUM.size


def _take_chunk(records: Iterator[_Record], number: int) -> tuple[list[_Record], RecordError | None]:
    """Return up to so many of the next records, none at the end of the file, and the error that ends them, if any."""
    chunk: list[_Record] = []
    size = 0
    try:
        for record in records:
            chunk.append(record)
            size += len(record[1])
            if len(chunk) == number or size >= _SIZE:
                break
    except RecordError as error:
        return chunk, error
    return chunk, None


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
    crc = _ONES
    for byte in data:
        crc = _BYTES[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ _ONES


def _checksums(items: Sequence[bytes]) -> list[int]:
    """Return the CRC-32C of each item."""
    sums = [0] * len(items)
    numbers: dict[int, list[int]] = {}
    for number, data in enumerate(items):
        numbers.setdefault(len(data), []).append(number)
    for length, group in numbers.items():
        same = [items[number] for number in group]
        is_fast = length < _SHORT and len(group) >= _MANY
        for number, crc in zip(group, _checksums_of_length(same, length) if is_fast else map(checksum, same)):
            sums[number] = crc
    return sums


def _checksums_of_length(items: Sequence[bytes], length: int) -> Iterator[int]:
    """Return the CRC-32C of items that all have the same length.

    A checksum is the sum of the contributions of all bytes, which depend on their distance from the end. So the bytes
    at one distance are looked up for all items at once, separately for each of the four bytes of their contributions.
    """
    data = b"".join(items)
    sums = [0] * _CHECKSUM.size
    for position in range(length):
        column = data[position::length]
        for place, table in enumerate(_CONTRIBUTIONS[length - 1 - position]):
            sums[place] ^= int.from_bytes(column.translate(table), "little")
    joined = bytearray(len(items) * _CHECKSUM.size)
    for place, total in enumerate(sums):
        joined[place :: _CHECKSUM.size] = total.to_bytes(len(items), "little")
    start = _EMPTY[length] ^ _ONES
    return (crc ^ start for (crc,) in _CHECKSUM.iter_unpack(joined))


def _masked(crc: int) -> int:
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & _ONES


def _shifted(crc: int) -> int:
    return (crc >> 1) ^ _POLYNOMIAL if crc & 1 else crc >> 1


def _followed_by_zero(crc: int) -> int:
    return (crc >> 8) ^ _BYTES[crc & 0xFF]


def _repeated(first: T, function: Callable[[T], T]) -> list[T]:
    """Return the values for all lengths of short data, each made from the one before."""
    return list(itertools.accumulate(range(_SHORT - 1), lambda value, _: function(value), initial=first))


def _places(crcs: Sequence[int]) -> list[bytes]:
    """Return the first bytes of all checksums, then their second bytes, and so on."""
    return [bytes(crc >> 8 * place & 0xFF for crc in crcs) for place in range(_CHECKSUM.size)]


# Remainders of the checksum's polynomial for all bytes, for all bytes before so many others, and for no bytes.
_BYTES = [functools.reduce(lambda crc, _: _shifted(crc), range(8), byte) for byte in range(256)]
_CONTRIBUTIONS = [_places(crcs) for crcs in _repeated(_BYTES, lambda crcs: [_followed_by_zero(crc) for crc in crcs])]
_EMPTY = _repeated(_ONES, _followed_by_zero)
