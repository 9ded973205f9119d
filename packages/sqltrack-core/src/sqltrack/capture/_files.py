"""Read small files of a repository or the system, without waiting for pipes and without errors."""

from __future__ import annotations

import os
import stat

__all__ = ["read_text"]

# Bytes of a file that are read at most. A file of packed references with 100,000 lines has less.
_LIMIT = 16 * 2**20


def read_text(path: str, limit: int = _LIMIT) -> str | None:
    """Return the text of a regular file, None if it cannot be read.

    Args:
        path: path of the file.
        limit: bytes to read at most.
    """
    try:
        # Opening a pipe that nothing writes to would wait for ever.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except (OSError, ValueError):
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(limit).decode("utf-8", "replace")
    except OSError:
        return None
    finally:
        os.close(descriptor)
