"""Read the files of a folder that may come from others: follow no link out of it, and open nothing but files."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from sqltrack.importers._foreign import BrokenRun, SourceError

__all__ = ["Folder", "hash_of", "may_exist", "open_file", "parse_json", "read_text", "unreadable", "version_of"]

# Size of a file that is read as a whole, in bytes.
_WHOLE = 1 << 30


class Folder:
    """A folder with the files of a source.

    Args:
        path: the folder.

    Attributes:
        path: the same.
        closed: folders that could not be read, as runs that are broken.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.closed: list[BrokenRun] = []

    def files(self) -> Iterator[Path]:
        """Return all regular files, in order; links are ignored, and folders that cannot be read are noted."""
        return self._walk(self.path, lambda error: self.closed.append(unreadable(error.filename, error)))

    def files_of_run(self, below: Path) -> Iterator[Path]:
        """Return the regular files below a folder that belongs to a run, in order, none if it does not exist.

        Raises:
            OSError: a folder cannot be read.
        """
        return self._walk(below, _raise)

    def _walk(self, top: Path, fail: Callable[[OSError], None]) -> Iterator[Path]:
        for folder, folders, names in os.walk(top, onerror=fail):
            folders.sort()
            for name in sorted(names):
                path = Path(folder, name)
                if _is_regular(path):
                    yield path

    def folders(self, below: Path | None = None) -> list[Path]:
        """Return the folders in a folder, in order; links are ignored."""
        found = sorted((below or self.path).iterdir())
        return [path for path in found if path.is_dir() and not path.is_symlink()]

    def name_of(self, path: Path) -> str:
        """Return the name of a file or folder: its path below this folder."""
        name = path.relative_to(self.path).as_posix()
        return self.path.resolve().name if name == "." else name


def _raise(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def unreadable(place: str | Path, error: OSError) -> BrokenRun:
    """Return what a source reports for a run, or a folder of runs, that cannot be read."""
    return BrokenRun(str(place), f"{error.filename!r} cannot be read: {error.strerror}")


def may_exist(path: Path) -> bool:
    """Return whether a file exists, also True if its folder cannot be read; then reading the file tells why."""
    try:
        return path.exists()
    except OSError:
        return True


def _is_regular(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        # It was deleted in the meantime.
        return False


def open_file(path: Path) -> BinaryIO:
    """Open a regular file to read.

    Raises:
        SourceError: it is something else: a link, a pipe or a device.
        OSError: it cannot be read.
    """
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags)
    except OSError:
        if path.is_symlink():
            raise SourceError(f"{str(path)!r} is a link, which is not followed") from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise SourceError(f"{str(path)!r} is not a regular file")
    return os.fdopen(descriptor, "rb")


def read_text(path: Path) -> str:
    """Return the content of a small text file.

    Raises:
        SourceError: it is too large, not UTF-8 or not a regular file.
        OSError: it cannot be read.
    """
    with open_file(path) as file:
        content = file.read(_WHOLE + 1)
    if len(content) > _WHOLE:
        raise SourceError(f"{str(path)!r} has more than {_WHOLE} bytes")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SourceError(f"{str(path)!r}, offset {error.start}: not UTF-8") from None


def parse_json(path: Path) -> Any:
    """Return the content of a JSON file.

    Raises:
        SourceError: it is not JSON; the message names the offset.
        OSError: it cannot be read.
    """
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise SourceError(f"{str(path)!r}, offset {error.pos}: {error.msg}") from None


def version_of(paths: Iterable[Path]) -> str:
    """Return a text that changes when the content of files changes, or when there are other files."""
    parts = []
    for path in paths:
        try:
            status = path.lstat()
        except OSError:
            # It was deleted in the meantime.
            continue
        parts.append(f"{status.st_size}@{status.st_mtime_ns}")
    return " ".join(parts) if len(parts) < 4 else f"{len(parts)} files: {hash_of(parts)}"


def hash_of(parts: Iterable[str]) -> str:
    """Return a short text that is different for different texts."""
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:32]
