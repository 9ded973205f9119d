"""GitHub workflows are well-formed, have no more rights than they need, and run everything that they should."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))

PYTHONS = {"3.10", "3.11", "3.12", "3.13", "3.14"}
POSTGRES = {"13", "14", "15", "16", "17", "18"}
SESSIONS = {
    "lint",
    "types",
    "build",
    "docs",
    "guides",
    "installs",
    "page",
    "dash",
    "minimal",
    "minimum",
    "latest",
    "pooler",
    "faults",
    "postgres",
    "tests",
    "integrations",
}


def load(path: Path) -> dict[str, Any]:
    # All values are texts: by YAML's own rules the key `on` would be True, and 3.10 a number.
    workflow: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)  # noqa: S506
    return workflow


def jobs(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = load(path)["jobs"]
    return found


def steps(path: Path) -> Iterator[dict[str, Any]]:
    for job in jobs(path).values():
        yield from job.get("steps", [])


def sessions_that_run(path: Path) -> set[str]:
    """Return the nox sessions that the jobs of a workflow run, including those that a matrix names."""
    found: set[str] = set()
    for job in jobs(path).values():
        for step in job.get("steps", []):
            for session in re.findall(r'nox -s "?([\w$]+)', step.get("run", "")):
                found.update(job["strategy"]["matrix"]["session"] if session == "$SESSION" else [session])
    return found


def sessions_of_noxfile() -> set[str]:
    tree = ast.parse((ROOT / "noxfile.py").read_text(encoding="utf-8"))
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    return {f.name for f in functions if any("nox.session" in ast.unparse(d) for d in f.decorator_list)}


def test_there_are_workflows() -> None:
    assert [path.name for path in WORKFLOWS] == ["release.yml", "tests.yml"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: str(path.name))
def test_a_workflow_is_one_by_the_schema(path: Path) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: str(path.name))
def test_actions_are_pinned_and_keep_no_credentials(path: Path) -> None:
    for step in steps(path):
        assert re.search(r"@(v\d+|release/v\d+)$", step.get("uses", "@v0")), step
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] == "false"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: str(path.name))
def test_scripts_take_nothing_from_outside_as_text(path: Path) -> None:
    """The name of a branch, for example, would be executed; values in the environment are not."""
    assert [step["run"] for step in steps(path) if "${{" in step.get("run", "")] == []


def test_only_publishing_jobs_may_do_more_than_read() -> None:
    for path in WORKFLOWS:
        assert load(path)["permissions"] == {"contents": "read"}
        rights = {name: job["permissions"] for name, job in jobs(path).items() if "permissions" in job}
        assert rights == ({"publish": {"id-token": "write"}} if path.name == "release.yml" else {})


def test_nothing_is_published_before_the_tests_have_passed() -> None:
    found = jobs(ROOT / ".github/workflows/release.yml")
    assert found["publish"]["needs"] == ["tests", "build"]
    assert found["tests"]["uses"] == "./.github/workflows/tests.yml"
    assert "workflow_call" in load(ROOT / ".github/workflows/tests.yml")["on"]


def test_releases_are_built_without_a_cache() -> None:
    assert all("cache" not in step.get("with", {}) for step in steps(ROOT / ".github/workflows/release.yml"))


def test_each_python_and_each_postgres_is_in_a_pair() -> None:
    pairs = jobs(ROOT / ".github/workflows/tests.yml")["postgres"]["strategy"]["matrix"]["include"]
    assert {pair["python"] for pair in pairs} == PYTHONS
    assert {pair["postgres"] for pair in pairs} == POSTGRES


def test_the_workflow_runs_all_sessions_that_it_should() -> None:
    assert sessions_that_run(ROOT / ".github/workflows/tests.yml") == SESSIONS


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: str(path.name))
def test_the_sessions_of_a_workflow_exist(path: Path) -> None:
    assert sessions_that_run(path)
    assert sessions_that_run(path) - sessions_of_noxfile() == set()


def test_only_the_newest_packages_may_fail() -> None:
    found = jobs(ROOT / ".github/workflows/tests.yml")
    assert [name for name, job in found.items() if job.get("continue-on-error") == "true"] == ["latest"]


def test_faults_are_for_the_night() -> None:
    workflow = load(ROOT / ".github/workflows/tests.yml")
    assert workflow["on"]["schedule"]
    assert "github.event_name == 'schedule'" in workflow["jobs"]["faults"]["if"]
