"""Find a PgBouncer for the tests, and handle a machine without one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from plugins.pgbouncer import NoPoolerError, find_pgbouncer

TESTS = str(Path(__file__).parents[1])


def test_the_program_that_was_asked_for_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "my pgbouncer"
    program.touch(mode=0o755)
    monkeypatch.setenv("SQLTRACK_TEST_PGBOUNCER", str(program))
    assert find_pgbouncer() == program


def test_a_program_that_does_not_exist_is_not_replaced_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SQLTRACK_TEST_PGBOUNCER", str(tmp_path / "nothing"))
    with pytest.raises(NoPoolerError, match="install the package pgbouncer"):
        find_pgbouncer()


MARKED = """
import pytest

@pytest.mark.pooler
def test_of_poolers(): pass

@pytest.mark.parametrize("value", [1, pytest.param(2, marks=pytest.mark.not_pooled({arguments}))])
def test_of_others(value): pass
"""


@pytest.fixture
def collect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., subprocess.CompletedProcess[str]]:
    """A function that collects marked tests in a session with only the plugin."""
    program = tmp_path / "pgbouncer"
    # It never starts.
    program.touch(mode=0o755)
    monkeypatch.setenv("SQLTRACK_TEST_PGBOUNCER", str(program))

    def collect(*options: str, arguments: str = "'it does'") -> subprocess.CompletedProcess[str]:
        (tmp_path / "test_marked.py").write_text(MARKED.format(arguments=arguments), encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-p", "plugins.postgres", "--collect-only", "-q", *options]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([TESTS, *filter(None, sys.path)]),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        }
        return subprocess.run([*command, str(tmp_path)], env=environment, capture_output=True, text=True)

    return collect


def collected(process: subprocess.CompletedProcess[str]) -> list[str]:
    return [line.rpartition("::")[2] for line in process.stdout.splitlines() if "::" in line]


def test_a_session_that_asks_for_a_pooler_fails_without_one(
    collect: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    (tmp_path / "pgbouncer").unlink()
    process = collect("--pooler")
    assert process.returncode == pytest.ExitCode.USAGE_ERROR
    assert "no PgBouncer was found" in process.stderr


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], ["test_of_others[1]", "test_of_others[2]"]),
        (["-m", "pooler"], ["test_of_poolers"]),
        (["-m", "not pooler"], ["test_of_others[1]", "test_of_others[2]"]),
        (["--pooler"], ["test_of_poolers", "test_of_others[1]"]),
    ],
    ids=["nothing", "poolers", "no poolers", "behind one"],
)
def test_tests_of_the_pooler_run_only_when_they_are_asked_for(
    collect: Callable[..., subprocess.CompletedProcess[str]], options: list[str], expected: list[str]
) -> None:
    """Behind a pooler, tests marked `not_pooled` are deselected."""
    assert collected(collect(*options)) == expected


@pytest.mark.parametrize("arguments", ["", "''", "reason='it does'", "'it does', 'and more'"])
def test_what_is_not_pooled_needs_a_reason(
    collect: Callable[..., subprocess.CompletedProcess[str]], arguments: str
) -> None:
    process = collect(arguments=arguments)
    assert process.returncode == pytest.ExitCode.USAGE_ERROR
    assert "test_marked.py::test_of_others[2]: the mark not_pooled needs a reason" in process.stderr
