"""Write files completely or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["creating", "replacing"]


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Return the path of a file to write in the `with` block, which then replaces `path`.

    If the block ends with an exception, including Ctrl-C, `path` stays unchanged. A device or pipe is written directly.

    Raises:
        OSError: the file cannot be written.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(21, "it is a folder, expected the path of a file", str(path))
    if target.exists() and not target.is_file():
        yield target
        return
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        # Create it now, so that an error about the folder comes before any work.
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
    """Return the path of a file to write in the `with` block, which is then renamed to `path`.

    If the block ends with an exception, including Ctrl-C, nothing remains.

    Raises:
        FileExistsError: `path` exists at the end of the block; it stays unchanged.
        OSError: the file cannot be written.
    """
    target = Path(path)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        # Create it now for the same reason.
        part.touch()
        yield part
        try:
            os.link(part, target)
        except FileExistsError:
            raise
        except OSError:
            # Some file systems have no links.
            with target.open("xb") as file:
                file.write(part.read_bytes())
    finally:
        with suppress(OSError):
            part.unlink()
