"""How the tests find a PgBouncer, and what they do without one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.not_pooled import NOT_POOLED
from support.pgbouncer import NoPoolerError, find_pgbouncer

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


def test_what_is_left_out_behind_a_pooler_exists() -> None:
    tests = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").glob("*/test_*.py"))
    for name in NOT_POOLED:
        assert f"def {name.partition('[')[0]}(" in tests, name
