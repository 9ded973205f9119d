"""The program, as users start it, as fixtures for the tests of its commands."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sqltrack.cli import main
from support.processes import Program

__all__ = ["PROGRAM", "connection", "one_line_error", "options", "parquet", "program"]

PROGRAM = Path(sys.executable).with_name("sqltrack")


@pytest.fixture
def program() -> Program:
    """Run the program in a separate process."""

    def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run([str(PROGRAM), *arguments], capture_output=True, text=True, **options)

    return run


def connection(config: dict[str, Any]) -> list[str]:
    """Return the options for the database of a configuration."""
    return [word for name, value in config.items() for word in (f"--{name}", str(value)) if value is not None]


@pytest.fixture
def options(config: dict[str, Any]) -> list[str]:
    """Options for a database after setup, on each engine."""
    return connection(config)


@pytest.fixture
def parquet() -> Any:
    """pyarrow.parquet, to read the files of the program."""
    return pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def one_line_error(capsys: pytest.CaptureFixture[str]) -> Callable[[list[str]], tuple[int, str]]:
    """Run a command that prints only one line on stderr; return the exit status and the line."""

    def run(arguments: list[str]) -> tuple[int, str]:
        try:
            status = main(arguments)
        except SystemExit as error:
            status = int(str(error.code))
        output = capsys.readouterr()
        assert (output.out, output.err.count("\n")) == ("", 1)
        return status, output.err

    return run
