"""The program sets databases up, and fails with one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import sqltrack


def program(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("sqltrack")), *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def test_setup_prints_a_line_for_each_script(empty_config: dict[str, Any], tmp_path: Path) -> None:
    script = tmp_path / "v001.sql"
    script.write_text("ALTER TABLE metrics ADD COLUMN loss FLOAT")
    config = tmp_path / "my.conf"
    config.write_text("".join(f"{name} = {value}\n" for name, value in empty_config.items()))
    done = program("setup", "--config-path", str(config), str(script))
    assert (done.returncode, done.stdout, done.stderr) == (0, "(NEW) base.sql\n(NEW) v001.sql\n", "")
    assert sqltrack.Client(empty_config).execute("SELECT loss FROM metrics").fetchall() == []


def test_errors_are_one_line() -> None:
    done = program("setup", "--engine", "nonsense")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "sqltrack: unknown engine 'nonsense', expected 'postgres' or 'sqlite'\n"
    assert program("setup", "--dbpath", "x", "--engine", "sqlite", "no.sql").stderr.count("\n") == 1
    assert program().returncode == 2
