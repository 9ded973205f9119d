"""A library that makes system calls fail for the files of a folder, as on some file systems."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

__all__ = ["compile_library"]

_SOURCE = Path(__file__).with_name("faulty_file_system.c")


def compile_library(folder: Path) -> str:
    """Compile the library into a folder and return its path; skip the test if that is impossible."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("making system calls fail needs Linux and a C compiler")
    path = str(folder / "faulty.so")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", path, str(_SOURCE), "-ldl"], check=True)
    return path
