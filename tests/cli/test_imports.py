"""A command imports only the modules and packages that it needs."""

from __future__ import annotations

import json
import pkgutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import NamedTuple

import pytest

import sqltrack
import sqltrack.cli
import sqltrack.cli._commands as command_modules
from sqltrack.cli._commands import COMMANDS, PROVIDERS
from sqltrack.commands.setup import set_up_quietly

# Runs command lines, each in a fork of a process that has imported the program, and prints the further imports.
SURVEY = """
import sys
before = set(sys.modules)
import contextlib, io, json, os
from sqltrack.cli import main
for arguments in json.loads(sys.argv[1]):
    process = os.fork()
    if not process:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            try:
                status = main(arguments)
            except SystemExit as ended:
                status = ended.code
        print(json.dumps([status, sorted(sys.modules.keys() - before)]), flush=True)
        os._exit(0)
    os.waitpid(process, 0)
"""

# Packages that no command needs before it connects to PostgreSQL, shows a table, or reads the version.
SLOW = (
    "psycopg",
    "pandas",
    "polars",
    "docopt",
    "rich",
    "shtab",
    "plotille",
    "starlette",
    "uvicorn",
    "importlib.metadata",
)

# Commands that share code with another command.
SHARED = {"show": {"diff"}, "diff": {"show"}, "gc": {"rm"}, "export": {"sql"}}


class Survey(NamedTuple):
    """The imports of a command line, and its exit status."""

    status: int
    modules: list[str]

    def commands(self, package: str) -> set[str]:
        """Return the commands that have an imported module with their name in a package."""
        names = (name.replace("-", "_") for name in COMMANDS)
        return {name for name in names if f"{package}.{name}" in self.modules}

    def slow(self) -> list[str]:
        return [name for name in SLOW if name in self.modules]


def surveys(lines: Sequence[Sequence[str]]) -> list[Survey]:
    done = subprocess.run(
        [sys.executable, "-c", SURVEY, json.dumps(lines)], capture_output=True, text=True, check=True, timeout=120
    )
    found = [Survey(*json.loads(line)) for line in done.stdout.splitlines()]
    assert len(found) == len(lines)
    return found


def test_every_command_has_a_module_and_every_module_a_line() -> None:
    modules = {module.name.replace("_", "-") for module in pkgutil.iter_modules(command_modules.__path__)}
    assert modules == set(COMMANDS) - set(PROVIDERS)
    assert {point.name for point in entry_points(group="sqltrack.commands")} == set(PROVIDERS)


def test_a_command_imports_no_other_command() -> None:
    for name, found in zip(COMMANDS, surveys([[name, "--help"] for name in COMMANDS])):
        own = name.replace("-", "_")
        assert found.status == 0
        assert found.commands("sqltrack.cli._commands") == {own} - set(PROVIDERS)
        # Core's module is imported with the package.
        others = found.commands("sqltrack.commands") - {own, "setup"}
        assert others <= SHARED.get(name, set()), name
        # The first reports the installed versions, the others are found by entry points.
        expected = ["importlib.metadata"] if name == "doctor" or name in PROVIDERS else []
        assert found.slow() == expected, name


def test_what_no_command_does_imports_none() -> None:
    lines = [["--help"], ["--version"], ["lss"], ["--limt"], []]
    for line, found in zip(lines, surveys(lines)):
        assert found.status == (2 if line in (["lss"], ["--limt"]) else 0)
        assert not found.commands("sqltrack.cli._commands"), line
        assert found.slow() == (["importlib.metadata"] if line == ["--version"] else []), line


@pytest.mark.parametrize("table", [False, True], ids=["json", "table"])
def test_what_reads_sqlite_imports_no_other_driver_and_rich_for_a_table_alone(tmp_path: Path, table: bool) -> None:
    options = ["--dbpath", str(tmp_path / "x.db")]
    client = sqltrack.Client(engine="sqlite", dbpath=options[1])
    set_up_quietly(client)
    experiments = [sqltrack.Experiment(client, name="digits") for _ in range(2)]
    for experiment in experiments:
        experiment.get_run().add_metrics({"loss": 0.5}, step=1)
    lines = [["ls"], ["runs"], ["show", "1"], ["diff", "1", "2"], ["metrics", "1"], ["sql", "SELECT 1"]]
    format_ = ["--format", "table" if table else "json"]
    for line, found in zip(lines, surveys([[*line, *options, *format_] for line in lines])):
        assert found.status == 0
        assert found.slow() == (["rich"] if table else []), line
    (edited,) = surveys([["comment", "1", "text", *options, "--yes", "--json"]])
    assert (edited.status, edited.slow()) == (0, [])


def test_a_mistyped_command_says_which_there_is_though_none_is_imported(capsys: pytest.CaptureFixture[str]) -> None:
    for name in COMMANDS:
        with pytest.raises(SystemExit):
            sqltrack.cli.main([f"{name}x"])
        assert f"use: sqltrack {name};" in capsys.readouterr().err
