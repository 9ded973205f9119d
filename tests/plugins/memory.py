"""Keep the temporary files of tests in memory, where making and removing them takes a fraction of the time."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path

__all__ = ["MEMORY", "find_memory", "use_memory"]

MEMORY = Path("/dev/shm")  # noqa: S108
# A session of four processes takes less than 2 GB; the rest is for the programs that it runs.
_ROOM_BYTES = 4 * 1024**3


def use_memory() -> None:
    """Let this process and those that it starts keep temporary files in memory, unless TMPDIR names a folder."""
    folder = find_memory()
    if folder is not None and not os.environ.get("TMPDIR"):
        os.environ["TMPDIR"] = tempfile.tempdir = str(folder)


def find_memory(folder: Path = MEMORY, memory_info: Path = Path("/proc/meminfo")) -> Path | None:
    """Return a folder that lies in memory, has room and may hold programs, None if there is none.

    Args:
        folder: the folder to look at.
        memory_info: the file that says how much memory is available.
    """
    try:
        may_hold_programs = not os.statvfs(folder).f_flag & os.ST_NOEXEC
        kilobytes = re.findall(r"(?m)^MemAvailable: +(\d+) kB", memory_info.read_text(encoding="ascii"))
        room = min(shutil.disk_usage(folder).free, 1024 * int(kilobytes[0]))
    except (AttributeError, IndexError, OSError):
        # There is no such folder, or Python does not tell what it is like.
        return None
    return folder if may_hold_programs and room >= _ROOM_BYTES and os.access(folder, os.W_OK) else None
