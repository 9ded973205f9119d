"""Shared by the tests of the examples: an environment that names the test's database, and a way to run scripts."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.variables import database_variables

EXAMPLES = Path(__file__).parents[2] / "examples"

RunExample = Callable[..., str]


@pytest.fixture
def variables(config: dict[str, Any]) -> dict[str, str]:
    """An environment in which SQLTrack uses the test's database, and `python` is the one that runs the tests."""
    settings = database_variables(config)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, **settings, "PATH": path}


@pytest.fixture
def run_example(variables: dict[str, str]) -> RunExample:
    """Return a function that runs an example, which must succeed, and returns its output."""

    def run_example(name: str, *arguments: str, **environment: str) -> str:
        command = [sys.executable, str(EXAMPLES / name), *arguments]
        done = subprocess.run(command, env={**variables, **environment}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run_example
