"""Small file systems in memory, for tests of full disks."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

__all__ = ["find_private_mounts", "mounted", "resize"]


def find_private_mounts() -> list[str] | None:
    """Return a command that runs another one where it may mount file systems that only it sees, or None.

    It needs the right to create namespaces, which root has outside of containers, and all users have on many systems.
    """
    unshare = shutil.which("unshare")
    if sys.platform != "linux" or unshare is None:
        return None
    as_root = [] if os.geteuid() == 0 else ["--map-root-user"]
    command = [unshare, "--mount", *as_root]
    probe = [*command, "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", "/mnt"]
    return command if subprocess.run(probe, capture_output=True).returncode == 0 else None


@contextlib.contextmanager
def mounted(folder: Path, size: str) -> Iterator[None]:
    """Mount a file system of that size at a folder, for all processes; skip the test without permission."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("mounting a small file system is not allowed here: only root may")
    result = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True)
    if result.returncode != 0:
        pytest.skip(f"mounting a small file system is not allowed here: {result.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def resize(folder: Path, size: str) -> None:
    """Give a mounted file system another size."""
    subprocess.run(["mount", "-o", f"remount,size={size}", folder], check=True)
