"""Temporary files are kept in memory if there is enough."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import namedtuple
from pathlib import Path

import pytest

from plugins import memory
from plugins.memory import find_memory, use_memory

# Of the file systems that Python reports on Linux.
pytestmark = pytest.mark.skipif(not hasattr(os, "ST_NOEXEC"), reason="this platform has no folder in memory")

GB = 1024**3

Usage = namedtuple("Usage", ["free"])


@pytest.fixture
def memory_info(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that reports 8 GB of available memory, on a machine whose folders have as much space."""
    path = tmp_path / "meminfo"
    path.write_text(f"MemTotal:       99 kB\nMemAvailable:   {8 * GB // 1024} kB\n", encoding="ascii")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(8 * GB))
    return path


def test_a_folder_with_room_is_used(tmp_path: Path, memory_info: Path) -> None:
    assert find_memory(tmp_path, memory_info) == tmp_path


def test_a_folder_that_does_not_exist_is_not_used(tmp_path: Path, memory_info: Path) -> None:
    assert find_memory(tmp_path / "shm", memory_info) is None


def test_a_folder_with_little_room_is_not_used(
    tmp_path: Path, memory_info: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Containers have 64 MB by default."""
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(64 * 1024**2))
    assert find_memory(tmp_path, memory_info) is None


@pytest.mark.parametrize("text", ["MemAvailable:   100000 kB\n", "MemTotal:    99000000 kB\n", ""])
def test_a_machine_with_little_memory_uses_its_disk(tmp_path: Path, memory_info: Path, text: str) -> None:
    memory_info.write_text(text, encoding="ascii")
    assert find_memory(tmp_path, memory_info) is None


def test_a_folder_that_may_not_hold_programs_is_not_used(
    tmp_path: Path, memory_info: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = namedtuple("Flags", ["f_flag"])(os.ST_NOEXEC)
    monkeypatch.setattr(os, "statvfs", lambda folder: flags)
    assert find_memory(tmp_path, memory_info) is None


@pytest.mark.parametrize(("named", "expected"), [("", "shm"), ("mine", "mine")])
def test_a_folder_that_was_named_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str, expected: str
) -> None:
    monkeypatch.setattr(memory, "find_memory", lambda: tmp_path / "shm")
    monkeypatch.setattr(tempfile, "tempdir", "mine")
    monkeypatch.setenv("TMPDIR", named)
    use_memory()
    assert Path(tempfile.gettempdir()).name == expected
    assert Path(os.environ["TMPDIR"]).name == expected
