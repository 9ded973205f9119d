"""A release is one nox command, and git undoes a failed one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import pytest

from support.modules import load_noxfile

ROOT = Path(__file__).parents[2]
NAMES = sorted(path.parent.name for path in ROOT.glob("packages/*/pyproject.toml"))
HEAD = "# Changelog\n\nThe format follows …\n\n"
ENTRIES = "\n### Added\n\n- Something.\n\n"
OLD = "## 0.1.0 (2020-01-01)\n\n- Everything.\n"
NEXT = "99.0.0rc1"

# Number of requirements that name another distribution.
SIBLINGS = {
    "sqltrack": 10,
    "sqltrack-args": 0,
    "sqltrack-cli": 1,
    "sqltrack-core": 6,
    "sqltrack-import": 2,
    "sqltrack-integrations": 2,
    "sqltrack-notebook": 1,
    "sqltrack-ui": 2,
}


class Repository:
    """A repository with the packages of this one, in which a release can do no harm."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(ROOT / "packages", folder / "packages", ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
        for file in ("noxfile.py", ".gitignore"):
            shutil.copy(ROOT / file, folder)
        for name in NAMES:
            self.write_changelog(name, HEAD + (f"## Unreleased\n{ENTRIES}" if name == "sqltrack-core" else "") + OLD)
        self.git("init", "--quiet", "--initial-branch=main")
        for setting in ("user.name=Alice", "user.email=alice@example.org", "commit.gpgSign=false", "tag.gpgSign=false"):
            self.git("config", *setting.split("="))
        self.commit()

    def git(self, *arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=self.folder, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def commit(self) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "change something")

    def release(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run_sessions(["release"], *arguments)

    def run_sessions(self, sessions: list[str], *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run sessions in the environment of the tests, which has the tools that they would install."""
        command = [sys.executable, "-m", "nox", "--no-venv", "--no-install", "-s", *sessions, "--", *arguments]
        programs = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])
        environment = {**os.environ, "PATH": programs, "SOURCE_DATE_EPOCH": "1000000000"}
        return subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True)

    def state(self) -> list[str]:
        """Return everything that a release changes, apart from files that git ignores."""
        return [self.git("rev-parse", "HEAD"), self.git("tag"), self.git("status", "--porcelain")]

    def changelog(self, name: str) -> Path:
        return self.folder / "packages" / name / "CHANGELOG.md"

    def write_changelog(self, name: str, text: str) -> None:
        self.changelog(name).write_text(text, encoding="utf-8")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repository")


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A repository after a release; tests must not change it."""
    repository = Repository(tmp_path_factory.mktemp("released") / "repository")
    done = repository.release(NEXT)
    assert done.returncode == 0, done.stderr
    return repository


@pytest.mark.installs
def test_a_release_is_a_commit_with_a_tag(released: Repository) -> None:
    assert released.git("log", "--format=%s").splitlines() == [f"release: version {NEXT}", "change something"]
    assert released.git("rev-parse", f"v{NEXT}^{{commit}}", "HEAD").splitlines() == 2 * [released.state()[0]]
    assert released.git("cat-file", "-t", f"v{NEXT}") == "tag"
    assert released.git("status", "--porcelain") == ""


@pytest.mark.installs
@pytest.mark.parametrize("name", NAMES)
def test_a_release_sets_the_version_and_what_a_distribution_needs_of_the_others(
    released: Repository, name: str
) -> None:
    path = f"packages/{name}/pyproject.toml"
    before, after = (released.git("show", f"{commit}:{path}") for commit in ("HEAD~1", "HEAD"))
    assert after.count(NEXT) == 1 + SIBLINGS[name]
    # Nothing else has changed.
    assert after.replace(NEXT, present_version()) == before


@pytest.mark.installs
@pytest.mark.parametrize("name", NAMES)
def test_a_release_dates_the_changelogs(released: Repository, name: str) -> None:
    date = datetime.fromtimestamp(int(released.git("log", "-1", "--format=%ct")), timezone.utc).date()
    nothing = "\nNothing new here: all distributions are released together.\n\n"
    section = f"## {NEXT} ({date})\n{ENTRIES if name == 'sqltrack-core' else nothing}"
    assert released.changelog(name).read_text(encoding="utf-8") == HEAD + section + OLD


@pytest.mark.installs
def test_a_release_builds_all_distributions(released: Repository) -> None:
    stems = {name.replace("-", "_") + f"-{NEXT}" for name in NAMES}
    files = list((released.folder / "dist").iterdir())
    assert {file.name for file in files} == {s + end for s in stems for end in (".tar.gz", "-py3-none-any.whl")}
    # The date is the same as in every other build, whatever time the environment names.
    dates = {info.date_time for f in files if f.suffix == ".whl" for info in zipfile.ZipFile(f).infolist()}
    assert dates == {(2020, 2, 2, 0, 0, 0)}


@pytest.mark.installs
def test_a_version_that_is_not_newer_is_refused(repository: Repository) -> None:
    assert_refused(repository, "0.1.4", "Version `0.1.4` is not higher than the original version")


@pytest.mark.installs
def test_a_version_that_was_released_is_refused(repository: Repository) -> None:
    repository.git("tag", "v" + present_version())
    assert_refused(repository, None, f"version '{present_version()}' was released before")


@pytest.mark.installs
def test_a_tree_with_changes_or_new_files_is_refused(repository: Repository) -> None:
    (repository.folder / "packages" / "sqltrack-core" / "new.py").touch()
    assert_refused(repository, NEXT, "the working tree must be clean")


@pytest.mark.installs
def test_an_argument_that_is_no_version_is_refused(repository: Repository) -> None:
    assert_refused(repository, "--help", "expected one version, such as 0.3.0, or one of major, minor, patch, got")


@pytest.mark.installs
def test_sessions_refuse_arguments_that_they_do_not_know(repository: Repository) -> None:
    """Before any check, and before the results of earlier benchmarks are removed."""
    results = repository.folder / "benchmarks" / "results"
    results.mkdir(parents=True)
    done = repository.run_sessions(["lint", "bench"], "--help")
    assert done.stderr.count("expected ") == 2
    assert "Running" in done.stderr
    assert "ruff" not in done.stderr
    assert results.exists()


@pytest.mark.parametrize("arguments", [[], [NEXT], ["0.3.0"], ["major"], ["minor"], ["patch"]], ids=" ".join)
def test_a_version_a_bump_or_nothing_is_a_release(
    is_release: Callable[[list[str]], bool], arguments: list[str]
) -> None:
    assert is_release(arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        ["-h"],
        ["latest"],
        ["v99.0.0"],
        ["99.00.0"],
        ["99.0.0+local"],
        ["minor,rc"],
        ["minor", "minor"],
        ["minor", NEXT],
        [NEXT, "--force"],
        ["--", NEXT],
        [f" {NEXT}"],
        [""],
    ],
    ids=repr,
)
def test_anything_else_is_not(is_release: Callable[[list[str]], bool], arguments: list[str]) -> None:
    """A version must be valid on PyPI and written as PyPI writes it, because the tag and the changelogs repeat it."""
    assert not is_release(arguments)


@pytest.fixture(scope="module")
def is_release() -> Callable[[list[str]], bool]:
    function: Callable[[list[str]], bool] = load_noxfile()._is_release
    return function


@pytest.mark.installs
def test_changelogs_without_an_open_section_are_refused(repository: Repository) -> None:
    repository.write_changelog("sqltrack-core", HEAD + OLD)
    repository.commit()
    assert_refused(repository, NEXT, "there is nothing to release")


def assert_refused(repository: Repository, version: str | None, message: str) -> None:
    before = repository.state()
    done = repository.release(*([] if version is None else [version]))
    assert done.returncode != 0
    assert message in done.stdout + done.stderr
    assert repository.state() == before


@pytest.mark.installs
def test_git_undoes_a_release_whose_files_are_refused(repository: Repository) -> None:
    """Without an argument the current version is released, as for the first release."""
    (repository.folder / "packages" / "sqltrack-args" / "README.md").write_text("")
    repository.commit()
    before = repository.state()
    done = repository.release()
    assert done.returncode != 0
    assert "twine" in done.stderr
    assert f"+## {present_version()} (" in repository.git("diff")
    repository.git("restore", ".")
    assert repository.state() == before


def present_version() -> str:
    text = (ROOT / "packages" / "sqltrack-core" / "pyproject.toml").read_text(encoding="utf-8")
    (version,) = re.findall(r'^version = "(.+)"$', text, re.M)
    return str(version)


@pytest.mark.parametrize("name", NAMES)
def test_an_open_section_has_entries(name: str) -> None:
    """A release dates it as it is."""
    text = (ROOT / "packages" / name / "CHANGELOG.md").read_text(encoding="utf-8")
    sections = re.findall(r"^## Unreleased\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    assert [section for section in sections if "\n- " not in section] == []
    assert len(sections) <= 1
