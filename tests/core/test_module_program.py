"""`python -m sqltrack` runs the program, or says what to install."""

from __future__ import annotations

import subprocess
import sys

import pytest

# As if only core were installed: its folder comes first.
WITHOUT_PROGRAM = """
import runpy, sys
import sqltrack
sqltrack.__path__ = [sqltrack.__path__[-1], *sqltrack.__path__]
sys.argv[1:] = ["runs"]
runpy.run_module("sqltrack", run_name="__main__")
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True)


def test_it_is_the_program() -> None:
    pytest.importorskip("sqltrack.cli")
    shown = run("-m", "sqltrack", "--version")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.startswith("sqltrack ")
    assert run("-m", "sqltrack", "nonsense").stderr.startswith("sqltrack: ")


def test_without_the_program_it_says_what_to_install() -> None:
    shown = run("-c", WITHOUT_PROGRAM)
    assert (shown.returncode, shown.stdout) == (1, "")
    needed = "the sqltrack program requires 'sqltrack-cli'; install it with: pip install sqltrack-cli"
    assert shown.stderr == f"sqltrack: {needed}\n"
