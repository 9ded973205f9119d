"""Release all distributions as one version: `nox -s release -- VERSION`, see CONTRIBUTING.md.

All work is done in a worktree beside the user's files, which the last step brings over. So whatever goes wrong before
leaves nothing behind, and the next attempt clears away what a killed one has left.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import tomlkit
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

_WORKTREE = "release-worktree"
_HEADING = re.compile(r"^## (.+)$", re.MULTILINE)
_DATED = re.compile(r"(\S+) \(\d{4}-\d\d-\d\d\)")
_OPEN = re.compile(r"(\S+) \(unreleased\)|Unreleased")
_ENTRY = re.compile(r"^\s*- ", re.MULTILINE)
_NOTHING_NEW = "Nothing new here: all distributions are released together."


class ReleaseError(Exception):
    """a release is not possible now"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Release as the command line says, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("version", help="the new version, such as 0.2.0")
    parser.add_argument("--dry-run", action="store_true", help="build, check and show what would change")
    parser.add_argument("--open-next", action="store_true", help="commit empty sections for what comes next, too")
    options = parser.parse_args(arguments)
    try:
        root = Path(_git(Path.cwd(), "rev-parse", "--show-toplevel"))
        release(root, options.version, dry_run=options.dry_run, open_next=options.open_next)
    except ReleaseError as error:
        print(f"no release: {error}", file=sys.stderr)
        return 1
    return 0


def release(root: Path, version: str, *, dry_run: bool = False, open_next: bool = False) -> None:
    """Set the version, date the changelogs, build, check, commit and tag; nothing is pushed.

    Args:
        root: the repository, a clean working tree.
        version: the new version, in the form that PEP 440 calls normalized.
        dry_run: whether to stop before anything changes, after showing what would.
        open_next: whether to commit new, empty sections of the changelogs after the release.

    Raises:
        ReleaseError: the version, the tree or the changelogs are not fit for it, or a file is not fit for PyPI.
    """
    check_version(root, version)
    check_tree(root)
    check_changelogs(root)
    with _worktree(root) as folder:
        prepare(folder, version)
        _git(folder, "commit", "--quiet", "--all", "--message", f"Release {version}")
        commit = _git(folder, "rev-parse", "HEAD")
        files = build_all(folder, folder / "dist")
        _check_files(files)
        for file in files:
            print(hashlib.sha256(file.read_bytes()).hexdigest(), file.name)
        if dry_run:
            print(_git(folder, "show", commit))
            return
        if open_next:
            _open_sections(folder)
            _git(folder, "commit", "--quiet", "--all", "--message", "Open the next sections of the changelogs")
        _bring_over(root, folder, version, commit)
    print(f"released {version}; to publish it: git push --follow-tags")


def check_version(root: Path, version: str) -> None:
    """Refuse a version that is none, or not newer than what was released.

    Raises:
        ReleaseError: it is one of these.
    """
    try:
        new = Version(version)
    except InvalidVersion:
        raise ReleaseError(f"a version must be one of PEP 440, such as '0.2.0', got {version!r}") from None
    if str(new) != version or new.local is not None or new.is_devrelease:
        raise ReleaseError(f"a version must be a normalized public one, such as {new.base_version!r}, got {version!r}")
    tag = f"v{version}"
    if tag in _git(root, "tag", "--no-merged", "HEAD").split():
        raise ReleaseError(
            f"tag {tag!r} is not on this branch, so a release was interrupted; "
            f"finish it with: git merge --ff-only {tag}, or undo it with: git tag --delete {tag}"
        )
    released = _released_versions(root)
    if released and new <= max(released):
        raise ReleaseError(f"version {version!r} must be newer than {str(max(released))!r}, which was released")
    present = max(Version(_load(path)["project"]["version"]) for path in _projects(root))
    if new < present:
        raise ReleaseError(f"version {version!r} must not be older than {str(present)!r}, which stands in the projects")


def check_tree(root: Path) -> None:
    """Refuse a working tree in which anything is changed or new.

    Raises:
        ReleaseError: something is.
    """
    changes = _git(root, "status", "--porcelain")
    if changes:
        raise ReleaseError(f"the working tree must be clean, commit or remove:\n{changes}")
    if not _git(root, "branch", "--show-current"):
        raise ReleaseError("no branch is checked out that could hold the release, use: git switch BRANCH")


def check_changelogs(root: Path) -> None:
    """Refuse changelogs none of which has entries for what is not released yet.

    Raises:
        ReleaseError: there are no entries.
    """
    if not any(_has_entries(_changelog(path).read_text(encoding="utf-8")) for path in _projects(root)):
        raise ReleaseError("no changelog has entries in a section 'Unreleased', so there is nothing to release")


def prepare(root: Path, version: str) -> None:
    """Set the version of all distributions and of what they need of each other, and date their changelogs."""
    projects = _projects(root)
    names = {canonicalize_name(_load(path)["project"]["name"]) for path in projects}
    today = datetime.datetime.now(datetime.timezone.utc).date()
    for path in projects:
        document = _load(path)
        project = document["project"]
        project["version"] = version
        others = names - {canonicalize_name(project["name"])}
        for requirements in (project.get("dependencies", []), *project.get("optional-dependencies", {}).values()):
            _raise_bounds(requirements, others, version)
        _write(path, tomlkit.dumps(document))
        changelog = _changelog(path)
        _write(changelog, date_changelog(changelog.read_text(encoding="utf-8"), f"{version} ({today})"))


def date_changelog(text: str, heading: str) -> str:
    """Return a changelog with its open section under a new heading; without one a section says that nothing is new."""
    first = _HEADING.search(text)
    if first is not None and _OPEN.fullmatch(first.group(1)):
        head, tail = text[: first.start()], text[first.end() :]
        section, separator, rest = tail.partition("\n## ")
        section = section if _ENTRY.search(section) else f"\n\n{_NOTHING_NEW}\n"
        return f"{head}## {heading}{section}{separator}{rest}"
    return _insert_section(text, f"## {heading}\n\n{_NOTHING_NEW}\n")


def build_all(root: Path, folder: Path) -> list[Path]:
    """Build all distributions into a folder, byte for byte the same whenever and wherever a commit is built.

    Args:
        root: the repository.
        folder: where the files go; what it holds is removed.

    Returns:
        The files.

    Raises:
        ReleaseError: a distribution cannot be built.
    """
    shutil.rmtree(folder, ignore_errors=True)
    environment = {**os.environ, "SOURCE_DATE_EPOCH": _git(root, "log", "-1", "--format=%ct")}
    for path in _projects(root):
        # Without isolation, so that the build backend is the one that was chosen, and not the newest.
        command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(path.parent)]
        _run(command, f"{path.parent.name} cannot be built", env=environment)
    return sorted(path for path in folder.iterdir() if path.suffix in (".whl", ".gz"))


def _has_entries(text: str) -> bool:
    first = _HEADING.search(text)
    if first is None or not _OPEN.fullmatch(first.group(1)):
        return False
    return _ENTRY.search(text[first.end() :].partition("\n## ")[0]) is not None


def _open_sections(root: Path) -> None:
    for path in _projects(root):
        changelog = _changelog(path)
        _write(changelog, _insert_section(changelog.read_text(encoding="utf-8"), "## Unreleased\n"))


def _insert_section(text: str, section: str) -> str:
    """Return a changelog with a section before all others."""
    first = _HEADING.search(text)
    if first is None:
        return f"{text.rstrip()}\n\n{section}"
    return f"{text[: first.start()]}{section}\n{text[first.start() :]}"


def _raise_bounds(requirements: list[str], names: set[Any], version: str) -> None:
    """Let requirements ask for this version of the distributions with these names."""
    for index, text in enumerate(requirements):
        requirement = Requirement(text)
        if canonicalize_name(requirement.name) in names:
            requirement.specifier = SpecifierSet(f">={version}")
            requirements[index] = str(requirement)


def _released_versions(root: Path) -> list[Version]:
    """Return the versions that tags and changelogs know."""
    texts = [tag.removeprefix("v") for tag in _git(root, "tag", "--list", "v*").split()]
    for path in _projects(root):
        headings = _HEADING.findall(_changelog(path).read_text(encoding="utf-8"))
        texts += [dated.group(1) for heading in headings if (dated := _DATED.fullmatch(heading))]
    versions = []
    for text in texts:
        # Tags and headings may say other things, too.
        with contextlib.suppress(InvalidVersion):
            versions.append(Version(text))
    return versions


def _check_files(files: Sequence[Path]) -> None:
    command = [sys.executable, "-m", "twine", "check", "--strict", *map(str, files)]
    _run(command, "PyPI would refuse the files")


@contextlib.contextmanager
def _worktree(root: Path) -> Iterator[Path]:
    """Check the present commit out beside the user's files, for as long as the `with` block lasts."""
    folder = Path(_git(root, "rev-parse", "--absolute-git-dir")) / _WORKTREE
    _remove_worktree(root, folder)
    _git(root, "worktree", "add", "--quiet", "--detach", str(folder))
    try:
        yield folder
    finally:
        _remove_worktree(root, folder)


def _remove_worktree(root: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    _git(root, "worktree", "prune")


def _bring_over(root: Path, folder: Path, version: str, commit: str) -> None:
    """Move what was made in the worktree to the user's branch and files."""
    shutil.rmtree(root / "dist", ignore_errors=True)
    shutil.move(folder / "dist", root / "dist")
    last = _git(folder, "rev-parse", "HEAD")
    # The tag first: a tag without its branch is seen by the next attempt, a release without its tag by nobody.
    _git(root, "tag", "--annotate", "--message", f"Release {version}", f"v{version}", commit)
    _git(root, "merge", "--quiet", "--ff-only", last)


def _projects(root: Path) -> list[Path]:
    return sorted(root.glob("packages/*/pyproject.toml"))


def _changelog(project: Path) -> Path:
    return project.with_name("CHANGELOG.md")


def _load(path: Path) -> Any:
    return tomlkit.parse(path.read_text(encoding="utf-8"))


def _write(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)


def _git(folder: Path, *arguments: str) -> str:
    """Run git in a folder and return what it says."""
    return _run(["git", *arguments], f"git {arguments[0]} failed", cwd=folder).strip()


def _run(command: list[str], problem: str, **options: Any) -> str:
    done: subprocess.CompletedProcess[str] = subprocess.run(
        command, capture_output=True, text=True, encoding="utf-8", **options
    )
    if done.returncode != 0:
        raise ReleaseError(f"{problem}:\n{done.stdout}{done.stderr}".rstrip())
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
