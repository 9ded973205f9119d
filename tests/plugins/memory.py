"""Keep the temporary files of tests in memory, where creating and removing them is much faster."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path

__all__ = ["MEMORY", "find_memory", "use_memory"]

MEMORY = Path("/dev/shm")  # noqa: S108
# A session of four processes uses less than 2 GB; the rest is for the programs that it runs.
_ROOM_BYTES = 4 * 1024**3


def use_memory() -> None:
    """Keep temporary files of this process and its children in memory, unless TMPDIR names a folder."""
    folder = find_memory()
    if folder is not None and not os.environ.get("TMPDIR"):
        os.environ["TMPDIR"] = tempfile.tempdir = str(folder)


def find_memory(folder: Path = MEMORY, memory_info: Path = Path("/proc/meminfo")) -> Path | None:
    """Return a folder in memory that has enough space and allows programs, or None.

    Args:
        folder: the folder to check.
        memory_info: the file that contains the amount of available memory.
    """
    try:
        may_hold_programs = not os.statvfs(folder).f_flag & os.ST_NOEXEC
        kilobytes = re.findall(r"(?m)^MemAvailable: +(\d+) kB", memory_info.read_text(encoding="ascii"))
        room = min(shutil.disk_usage(folder).free, 1024 * int(kilobytes[0]))
    except (AttributeError, IndexError, OSError):
        # The folder is missing, or Python cannot examine it.
        return None
    return folder if may_hold_programs and room >= _ROOM_BYTES and os.access(folder, os.W_OK) else None
