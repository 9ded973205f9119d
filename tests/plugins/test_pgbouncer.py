"""How the tests find a PgBouncer, and what they do without one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from plugins.pgbouncer import NoPoolerError, find_pgbouncer

ROOT = Path(__file__).parents[2]


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


def test_a_session_that_asks_for_a_pooler_fails_without_one(tmp_path: Path) -> None:
    environment = {**os.environ, "SQLTRACK_TEST_PGBOUNCER": str(tmp_path / "nothing")}
    command = [sys.executable, "-m", "pytest", "--engines", "postgres", "--pooler", "tests/core/test_json.py"]
    process = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert process.returncode == pytest.ExitCode.USAGE_ERROR
    assert "no PgBouncer was found" in process.stderr


@pytest.mark.parametrize(
    ("options", "expected"),
    [([], "deselected"), (["-m", "pooler"], "test_pooler.py"), (["-m", "not pooler"], "deselected")],
)
def test_tests_of_the_pooler_run_only_when_they_are_asked_for(options: list[str], expected: str) -> None:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", *options, "tests/core/test_pooler.py"]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert expected in process.stdout.splitlines()[0] + process.stdout.splitlines()[-1]


MARKED = """
import pytest

@pytest.mark.parametrize("value", [1, pytest.param(2, marks=pytest.mark.not_pooled({arguments}))])
def test_something(value): pass
"""


def collect_marked(folder: Path, arguments: str) -> subprocess.CompletedProcess[str]:
    """Collect, for a session behind a pooler, a test whose second parameter is marked."""
    (folder / "test_marked.py").write_text(MARKED.format(arguments=arguments), encoding="utf-8")
    # It is not started.
    (folder / "pgbouncer").touch(mode=0o755)
    command = [sys.executable, "-m", "pytest", "-p", "conftest", "--pooler", "--collect-only", "-q", str(folder)]
    python_path = os.pathsep.join([str(ROOT / "tests"), *filter(None, sys.path)])
    environment = {**os.environ, "PYTHONPATH": python_path, "SQLTRACK_TEST_PGBOUNCER": str(folder / "pgbouncer")}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_a_parameter_that_is_not_pooled_is_left_out_behind_a_pooler(tmp_path: Path) -> None:
    output = collect_marked(tmp_path, "'it does'").stdout
    assert "test_something[1]" in output
    assert "1/2 tests collected (1 deselected)" in output


def test_a_test_that_is_not_pooled_needs_a_reason(tmp_path: Path) -> None:
    process = collect_marked(tmp_path, "")
    assert process.returncode == pytest.ExitCode.USAGE_ERROR
    assert "test_marked.py::test_something[2]: the mark not_pooled needs a reason" in process.stderr
