"""A release is one command, and one that fails or is killed can be mended."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import tomlkit

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tools" / "release.py"

NAMES = sorted(path.parent.name for path in ROOT.glob("packages/*/pyproject.toml"))
HEAD = "# Changelog\n\nThe format follows …\n\n"
PRESENT, NEXT = "0.3.0", "0.4.0rc1"

# How many requirements name another distribution of the same release.
SIBLINGS = {"sqltrack": 4, "sqltrack-args": 0, "sqltrack-cli": 1, "sqltrack-core": 3, "sqltrack-notebook": 1}

# Sections of changelogs before a release: with entries, without, and none at all.
SECTIONS = {
    "sqltrack-core": "## Unreleased\n\n### Added\n\n- Something.\n\n",
    "sqltrack-args": "## 0.4.0 (unreleased)\n\n### Fixed\n\n- Something else.\n\n",
    "sqltrack-cli": "## Unreleased\n\n",
}
OLD = "## 0.3.0 (2020-01-01)\n\n### Added\n\n- Everything.\n"


class Repository:
    """A repository with the packages of this one, in which a release can do no harm."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(ROOT / "packages", folder / "packages", ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
        shutil.copy(ROOT / ".gitignore", folder)
        for project in folder.glob("packages/*/pyproject.toml"):
            text = project.read_text(encoding="utf-8")
            text = re.sub(r'^version = ".*"$', f'version = "{PRESENT}"', text, count=1, flags=re.MULTILINE)
            project.write_text(text, encoding="utf-8", newline="\n")
            changelog = HEAD + SECTIONS.get(project.parent.name, "") + OLD
            project.with_name("CHANGELOG.md").write_text(changelog, encoding="utf-8", newline="\n")
        self.git("init", "--quiet", "--initial-branch=main")
        for setting in ("user.name=Somebody", "user.email=somebody@example.org", "core.autocrlf=false"):
            self.git("config", *setting.split("="))
        self.git("config", "commit.gpgSign", "false")
        self.git("config", "tag.gpgSign", "false")
        self.commit()

    def git(self, *arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=self.folder, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def commit(self) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "Change something")

    def release(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(SCRIPT), *arguments]
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, encoding="utf-8")

    def state(self) -> tuple[str, ...]:
        """Return all that a release changes, apart from what git ignores."""
        return tuple(
            self.git(*command.split()) for command in ("rev-parse HEAD", "tag", "status --porcelain", "stash list")
        )

    def changelog(self, name: str) -> str:
        return (self.folder / "packages" / name / "CHANGELOG.md").read_text(encoding="utf-8")

    def project(self, name: str) -> dict[str, Any]:
        return load_project(self.folder / "packages" / name)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repository")


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A repository after a release; not to be changed."""
    repository = Repository(tmp_path_factory.mktemp("released") / "repository")
    done = repository.release(NEXT, "--open-next")
    assert done.returncode == 0, done.stderr
    return repository


def load_project(folder: Path) -> dict[str, Any]:
    project: dict[str, Any] = tomlkit.parse((folder / "pyproject.toml").read_text(encoding="utf-8")).unwrap()["project"]
    return project


def digests_by_name(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}


def requirements(project: dict[str, Any]) -> list[str]:
    extras = project.get("optional-dependencies", {}).values()
    return [requirement for group in (project["dependencies"], *extras) for requirement in group]


def test_a_release_is_a_commit_and_a_tag_on_the_branch(released: Repository) -> None:
    assert released.git("log", "--format=%s", "main").splitlines() == [
        "Open the next sections of the changelogs",
        f"Release {NEXT}",
        "Change something",
    ]
    assert released.git("rev-parse", f"v{NEXT}^{{commit}}") == released.git("rev-parse", "main~1")
    assert released.git("cat-file", "-t", f"v{NEXT}") == "tag"
    assert released.git("status", "--porcelain") == ""
    assert len(released.git("worktree", "list").splitlines()) == 1


@pytest.mark.parametrize("name", NAMES)
def test_a_release_sets_the_version_and_what_siblings_need(released: Repository, name: str) -> None:
    """They are tested together only, so they are installed together."""
    project, present = released.project(name), load_project(ROOT / "packages" / name)
    assert project["version"] == NEXT
    siblings = [text for text in requirements(project) if re.match(r"sqltrack\b", text)]
    # What extras of a distribution take from each other are its own.
    siblings = [text for text in siblings if re.split(r"[\[>]", text)[0] != name]
    assert all(text.endswith(f">={NEXT}") for text in siblings)
    assert len(siblings) == SIBLINGS[name]
    others = [text for text in requirements(project) if not text.startswith("sqltrack")]
    assert others == [text for text in requirements(present) if not text.startswith("sqltrack")]


def test_only_versions_and_bounds_of_projects_change(released: Repository) -> None:
    lines = released.git("diff", "--unified=0", "main~2", "main", "--", "packages/*/pyproject.toml").splitlines()
    added = [line[1:] for line in lines if line.startswith("+") and not line.startswith("+++")]
    assert len(added) > len(NAMES)
    assert all(NEXT in line for line in added)


@pytest.mark.parametrize("name", NAMES)
def test_a_release_dates_the_changelogs(released: Repository, name: str) -> None:
    today = datetime.fromtimestamp(int(released.git("log", "-1", "--format=%ct", f"v{NEXT}")), timezone.utc).date()
    entries = {
        "sqltrack-core": "### Added\n\n- Something.",
        "sqltrack-args": "### Fixed\n\n- Something else.",
    }.get(name, "Nothing new here: all distributions are released together.")
    section = f"## {NEXT} ({today})\n\n{entries}\n\n"
    assert released.changelog(name) == f"{HEAD}## Unreleased\n\n{section}{OLD}"


def test_a_release_builds_all_distributions(released: Repository) -> None:
    stems = {name.replace("-", "_") + f"-{NEXT}" for name in NAMES}
    assert {file.name for file in (released.folder / "dist").iterdir()} == {
        name for stem in stems for name in (f"{stem}.tar.gz", f"{stem}-py3-none-any.whl")
    }
    for wheel in (released.folder / "dist").glob("*.whl"):
        metadata = next(name for name in zipfile.ZipFile(wheel).namelist() if name.endswith("/METADATA"))
        assert f"\nVersion: {NEXT}\n" in zipfile.ZipFile(wheel).read(metadata).decode().replace("\r\n", "\n")


def test_builds_in_other_folders_at_other_times_are_the_same(released: Repository, tmp_path: Path) -> None:
    """What is published from a tag can be compared with what its release has built."""
    subprocess.run(["git", "clone", "--quiet", str(released.folder), tmp_path / "elsewhere"], check=True)
    subprocess.run(["git", "checkout", "--quiet", f"v{NEXT}"], cwd=tmp_path / "elsewhere", check=True)
    for path in (tmp_path / "elsewhere" / "packages").rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
        if path.is_file():
            path.chmod(0o600)
    code = "import pathlib, release; release.build_all(pathlib.Path.cwd(), pathlib.Path('files'))"
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parent), "TZ": "Asia/Tokyo", "SOURCE_DATE_EPOCH": "1"}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path / "elsewhere", env=environment, check=True)
    assert digests_by_name(tmp_path / "elsewhere" / "files") == digests_by_name(released.folder / "dist")


def test_a_dry_run_shows_the_changes_and_makes_none(repository: Repository) -> None:
    before = repository.state()
    done = repository.release(NEXT, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert f'+version = "{NEXT}"' in done.stdout
    assert f"sqltrack_core-{NEXT}-py3-none-any.whl" in done.stdout
    assert repository.state() == before
    assert not (repository.folder / "dist").exists()


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("0.3.0", "version '0.3.0' must be newer than '0.3.0', which was released"),
        ("0.2.9", "version '0.2.9' must be newer than '0.3.0'"),
        ("0.3.0rc1", "must be newer"),
        ("next", "a version must be one of PEP 440, such as '0.2.0', got 'next'"),
        ("v0.4.0", "a version must be a normalized public one, such as '0.4.0', got 'v0.4.0'"),
        ("0.4.0-rc1", "a version must be a normalized public one"),
        ("0.4.0+local", "a version must be a normalized public one"),
        ("0.4.0.dev1", "a version must be a normalized public one"),
    ],
)
def test_a_wrong_version_is_refused(repository: Repository, version: str, message: str) -> None:
    assert_refused(repository, version, message)


def test_a_version_that_only_a_tag_knows_is_refused(repository: Repository) -> None:
    repository.git("tag", "v0.5.0")
    repository.git("tag", "vacation")
    assert_refused(repository, "0.4.0", "must be newer than '0.5.0'")


def test_a_version_older_than_that_of_the_projects_is_refused(repository: Repository) -> None:
    project = repository.folder / "packages" / "sqltrack" / "pyproject.toml"
    project.write_text(project.read_text(encoding="utf-8").replace(f'"{PRESENT}"', '"0.9.0"', 1), encoding="utf-8")
    repository.commit()
    assert_refused(repository, "0.4.0", "must not be older than '0.9.0', which stands in the projects")


def test_the_version_of_the_projects_can_be_released_if_it_was_not_yet(repository: Repository) -> None:
    """As it is before the first release."""
    for name in NAMES:
        changelog = repository.folder / "packages" / name / "CHANGELOG.md"
        changelog.write_text(f"{HEAD}## {PRESENT} (unreleased)\n\n- Everything.\n", encoding="utf-8", newline="\n")
    repository.commit()
    done = repository.release(PRESENT, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert f"-## {PRESENT} (unreleased)" in done.stdout


@pytest.mark.parametrize(
    "path", ["packages/sqltrack-core/src/sqltrack/client.py", "packages/sqltrack-core/src/sqltrack/new.py"]
)
def test_a_tree_with_changes_or_new_files_is_refused(repository: Repository, path: str) -> None:
    with (repository.folder / path).open("a") as file:
        file.write("# changed\n")
    assert_refused(repository, NEXT, "the working tree must be clean, commit or remove:")


def test_a_release_needs_a_branch(repository: Repository) -> None:
    repository.git("checkout", "--quiet", "--detach")
    assert_refused(repository, NEXT, "no branch is checked out that could hold the release")


def test_changelogs_without_entries_are_refused(repository: Repository) -> None:
    for name in NAMES:
        text = HEAD + ("## Unreleased\n\n### Added\n\n" if name == "sqltrack-core" else "") + OLD
        (repository.folder / "packages" / name / "CHANGELOG.md").write_text(text, encoding="utf-8", newline="\n")
    repository.commit()
    assert_refused(repository, NEXT, "no changelog has entries")


def test_files_that_pypi_would_refuse_are_refused(repository: Repository) -> None:
    (repository.folder / "packages" / "sqltrack-args" / "README.md").write_text("")
    repository.commit()
    assert_refused(repository, NEXT, "PyPI would refuse the files")


def test_a_package_that_cannot_be_built_is_refused(repository: Repository) -> None:
    project = repository.folder / "packages" / "sqltrack-cli" / "pyproject.toml"
    text = project.read_text(encoding="utf-8").replace("hatchling.build", "hatchling.no_such_module")
    project.write_text(text, encoding="utf-8")
    repository.commit()
    assert_refused(repository, NEXT, "sqltrack-cli cannot be built")


@pytest.mark.skipif(sys.platform == "win32", reason="kills by signals, and hooks of git that are shell scripts")
def test_after_a_kill_before_the_end_nothing_has_changed(repository: Repository) -> None:
    before = repository.state()
    kill_in_hook(repository, "post-commit", ":")
    assert repository.state() == before
    done = repository.release(NEXT)
    assert done.returncode == 0, done.stderr
    assert repository.git("log", "-1", "--format=%s") == f"Release {NEXT}"
    assert len(repository.git("worktree", "list").splitlines()) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="kills by signals, and hooks of git that are shell scripts")
@pytest.mark.parametrize("mend", [f"merge --ff-only v{NEXT}", f"tag --delete v{NEXT}"])
def test_after_a_kill_between_tag_and_branch_the_next_attempt_says_what_to_do(
    repository: Repository, mend: str
) -> None:
    before = repository.state()
    kill_in_hook(repository, "reference-transaction", f'[ "$1" = committed ] && grep -q refs/tags/v{NEXT} || exit 0')
    assert repository.state() == (before[0], f"v{NEXT}", *before[2:])
    done = repository.release(NEXT)
    assert done.returncode == 1
    assert f"finish it with: git merge --ff-only v{NEXT}, or undo it with: git tag --delete v{NEXT}" in done.stderr
    repository.git(*mend.split())
    if mend.startswith("merge"):
        assert repository.git("rev-parse", "HEAD") == repository.git("rev-parse", f"v{NEXT}^{{commit}}")
        assert repository.git("status", "--porcelain") == ""
    else:
        assert repository.state() == before


def assert_refused(repository: Repository, version: str, message: str) -> None:
    before = repository.state()
    done = repository.release(version)
    assert done.returncode == 1
    assert done.stderr.startswith("no release: ")
    assert message in done.stderr
    assert repository.state() == before
    assert len(repository.git("worktree", "list").splitlines()) == 1


def kill_in_hook(repository: Repository, hook: str, condition: str) -> None:
    """Begin a release and kill it, with all that it has started, in a hook of git."""
    marker = repository.folder.parent / "reached"
    script = repository.folder / ".git" / "hooks" / hook
    script.parent.mkdir(exist_ok=True)
    script.write_text(f"#!/bin/sh\n{condition}\ntouch '{marker}'\nwhile :; do sleep 0.1; done\n")
    script.chmod(0o755)
    process = subprocess.Popen([sys.executable, str(SCRIPT), NEXT], cwd=repository.folder, start_new_session=True)
    wait_until(lambda: marker.exists() or process.poll() is not None)
    assert marker.exists()
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    script.unlink()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
