"""Files that are there as a whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["creating", "replacing"]


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Return the path of a file to write in the `with` block, which then takes the place of `path`.

    If the block ends by an exception, Ctrl-C included, what was at `path` stays as it was. A device or pipe is written
    to directly.

    Raises:
        OSError: the file cannot be written.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(21, "it is a folder, expected the name of a file", str(path))
    if target.exists() and not target.is_file():
        yield target
        return
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        # Made here, so that an error names a folder that does not exist, or may not be written to, before all work.
        part.touch()
        yield part
        if target.exists():
            shutil.copymode(target, part)
        os.replace(part, target)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise


@contextmanager
def creating(path: str | Path) -> Iterator[Path]:
    """Return the path of a file to write in the `with` block, which is then called `path`.

    If the block ends by an exception, Ctrl-C included, nothing of it remains.

    Raises:
        FileExistsError: something of that name exists at the end of the block; it stays as it was.
        OSError: the file cannot be written.
    """
    target = Path(path)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        # Made here for the same reason.
        part.touch()
        yield part
        try:
            os.link(part, target)
        except FileExistsError:
            raise
        except OSError:
            # Not all file systems have links.
            with target.open("xb") as file:
                file.write(part.read_bytes())
    finally:
        with suppress(OSError):
            part.unlink()
