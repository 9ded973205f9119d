"""The program, as users start it, and databases to try it on."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack.cli import main

EXAMPLES = Path(__file__).parents[2] / "examples"
PROGRAM = Path(sys.executable).with_name("sqltrack")


@pytest.fixture
def program() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the program in a process of its own."""

    def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run([str(PROGRAM), *arguments], capture_output=True, text=True, **options)

    return run


def connection(config: dict[str, Any]) -> list[str]:
    """Return the options that name the database of a configuration."""
    return [word for name, value in config.items() for word in (f"--{name}", str(value)) if value is not None]


@pytest.fixture
def options(config: dict[str, Any]) -> list[str]:
    """The options that name a database that is set up, on each engine."""
    return connection(config)


@pytest.fixture
def generated(client: sqltrack.Client, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Ids of made-up runs in that database."""
    monkeypatch.syspath_prepend(EXAMPLES)
    run_ids: list[int] = importlib.import_module("generate_experiment_data").generate(client, runs=70, epochs=6)
    return run_ids


@pytest.fixture
def one_line_error(capsys: pytest.CaptureFixture[str]) -> Callable[[list[str]], tuple[int, str]]:
    """Run a command that prints nothing but one line on stderr; return exit status and line."""

    def run(arguments: list[str]) -> tuple[int, str]:
        try:
            status = main(arguments)
        except SystemExit as error:
            status = int(str(error.code))
        output = capsys.readouterr()
        assert (output.out, output.err.count("\n")) == ("", 1)
        return status, output.err

    return run
