"""Read the records of W&B's files, which have the format of LevelDB's log.

A file consists of blocks of 32 KiB. A record that does not fit is split. Each part has a checksum, its length, and a
type that tells whether it is the whole record, or its first, middle or last part
(https://github.com/google/leveldb/blob/main/doc/log_format.md).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from sqltrack.importers._files import open_file
from sqltrack.importers._foreign import SourceError

__all__ = ["read_log"]

_BLOCK = 32 * 1024
_FILE_HEADER = struct.Struct("<4sHB")
_MAGIC = (b":W&B", 0xBEE1)
_HEADER = struct.Struct("<IHB")
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
# Stands for parts that cannot be read.
_DAMAGED = 0

Report = Callable[[str], None]


def read_log(path: Path, note: Report, damage: Report) -> Iterator[tuple[int, bytes]]:
    """Return the records of a file, each with its offset. After damage, continue with the next record or block.

    Args:
        path: the file.
        note: called with a message if the end is missing.
        damage: called with a message for each damaged part.

    Raises:
        SourceError: it is not a file of W&B.
    """
    parts: list[bytes] = []
    begin = 0
    with open_file(path) as file:
        if _FILE_HEADER.size > len(header := file.read(_FILE_HEADER.size)):
            raise SourceError(f"{str(path)!r}, offset 0: not a file of W&B")
        if _FILE_HEADER.unpack(header)[:2] != _MAGIC:
            raise SourceError(f"{str(path)!r}, offset 0: not a file of W&B")
        block, start = header + file.read(_BLOCK - len(header)), 0
        position = len(header)
        while block:
            for offset, kind, data in _read_parts(block, position, start, str(path), note, damage):
                if kind == _DAMAGED:
                    parts = []
                    continue
                if kind in (_FULL, _FIRST):
                    parts, begin = [], offset
                elif not parts:
                    # Its first part was damaged.
                    continue
                parts.append(data)
                if kind in (_FULL, _LAST):
                    yield begin, b"".join(parts)
                    parts = []
            start += len(block)
            block, position = file.read(_BLOCK), 0
    if parts:
        note(f"{str(path)!r}, offset {begin}: the last record is incomplete")


def _read_parts(
    block: bytes, position: int, start: int, path: str, note: Report, damage: Report
) -> Iterator[tuple[int, int, bytes]]:
    """Return the parts of records in a block: offset, type and data."""
    is_sound = True
    while position + _HEADER.size <= len(block):
        crc, length, kind = _HEADER.unpack_from(block, position)
        end = position + _HEADER.size + length
        if kind == length == crc == 0:
            # The rest of the block is reserved space.
            return
        if end > len(block):
            report = note if len(block) < _BLOCK else damage
            if is_sound:
                report(f"{path!r}, offset {start + position}: a record is incomplete")
            yield start + position, _DAMAGED, b""
            return
        data = block[position + _HEADER.size : end]
        if not _FULL <= kind <= _LAST or zlib.crc32(data, zlib.crc32(bytes([kind]))) != crc:
            yield start + position, _DAMAGED, b""
            if not is_sound:
                # The length of the record before was wrong, too.
                return
            damage(f"{path!r}, offset {start + position}: a record has a wrong checksum")
            is_sound, position = False, end
            continue
        yield start + position, kind, data
        is_sound, position = True, end
