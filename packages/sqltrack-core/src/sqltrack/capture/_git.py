"""Read commit, branch and remote from the files of a git repository, without the git program."""

from __future__ import annotations

import os
import re
from typing import Any, NamedTuple

from sqltrack.capture._files import read_text

__all__ = ["Repository", "find_repository", "read_repository", "without_login"]

_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_BRANCH = "refs/heads/"
# Symbolic references that are followed at most.
_MAX_LINKS = 5


class Repository(NamedTuple):
    """The folders of a git repository.

    Attributes:
        folder: the folder with HEAD, which each worktree has for itself.
        common: the folder with references and configuration, shared by all worktrees.
        root: the folder of the files under version control, None in a bare repository.
    """

    folder: str
    common: str
    root: str | None


def find_repository(start: str) -> Repository | None:
    """Return the repository that a folder belongs to, None without one.

    Args:
        start: absolute path of the folder.
    """
    given = os.environ.get("GIT_DIR")
    if given:
        root = os.environ.get("GIT_WORK_TREE") or start
        return _open(os.path.join(start, given), os.path.join(start, root))
    folder = start
    while True:
        found = _at(folder)
        if found is not None:
            return found
        parent = os.path.dirname(folder)
        if parent == folder:
            return None
        folder = parent


def _at(folder: str) -> Repository | None:
    """Return the repository whose root or bare folder this is."""
    link = os.path.join(folder, ".git")
    # A folder of a repository, and a file in worktrees and submodules.
    text = read_text(link, 4096)
    if text is not None:
        path = text.removeprefix("gitdir:").strip()
        return _open(os.path.join(folder, path), folder) if text.startswith("gitdir:") else None
    found = _open(link, folder)
    if found is None and os.path.isdir(os.path.join(folder, "objects")):
        found = _open(folder, None)
    return found


def _open(folder: str, root: str | None) -> Repository | None:
    # Without these, git sees no repository either.
    if not os.path.isfile(os.path.join(folder, "HEAD")):
        return None
    shared = read_text(os.path.join(folder, "commondir"), 4096)
    common = folder if shared is None else os.path.join(folder, shared.strip())
    if not os.path.isdir(os.path.join(common, "objects")):
        return None
    return Repository(os.path.normpath(folder), os.path.normpath(common), root)


def read_repository(repository: Repository) -> dict[str, Any]:
    """Return `commit`, `branch`, `remote` and `root` of a repository; those that it does not have are left out.

    The commit is missing before the first one, and the branch while HEAD is detached.
    """
    commit, branch = _read_head(repository)
    remote = _read_remote(repository, branch)
    found = {"commit": commit, "branch": branch, "remote": remote, "root": repository.root}
    return {name: value for name, value in found.items() if value is not None}


def _read_head(repository: Repository) -> tuple[str | None, str | None]:
    text = (read_text(os.path.join(repository.folder, "HEAD"), 4096) or "").strip()
    name, branch = text, None
    for _ in range(_MAX_LINKS):
        if not name.startswith("ref:"):
            break
        reference = name[4:].strip()
        # Git stores references in another form, and leaves this in place of one.
        if reference == "refs/heads/.invalid":
            return None, None
        if branch is None and reference.startswith(_BRANCH):
            branch = reference.removeprefix(_BRANCH)
        name = _read_reference(repository, reference) or ""
    return (name if _COMMIT.fullmatch(name) else None), branch


def _read_reference(repository: Repository, reference: str) -> str | None:
    """Return what a reference points to: a commit, or another reference."""
    if ".." in reference.split("/"):
        return None
    for folder in (repository.folder, repository.common):
        text = read_text(os.path.join(folder, reference), 4096)
        if text is not None:
            return text.strip()
    packed = read_text(os.path.join(repository.common, "packed-refs"))
    match = re.search(rf"^([0-9a-f]{{40,64}}) {re.escape(reference)}$", packed or "", re.MULTILINE)
    return None if match is None else match[1]


def _read_remote(repository: Repository, branch: str | None) -> str | None:
    """Return the address of the branch's remote, or else of origin or the first one, without logins."""
    urls: dict[str, str] = {}
    followed: str | None = None
    section = ""
    for line in (read_text(os.path.join(repository.common, "config")) or "").splitlines():
        head = re.match(r'\s*\[(\w[\w.-]*)(?:\s+"((?:[^"\\]|\\.)*)")?\s*\]', line)
        if head is not None:
            section = head[1].lower()
            name = re.sub(r"\\(.)", r"\1", head[2] or "")
            continue
        item = re.match(r"\s*(\w+)\s*=\s*(.*?)\s*$", line)
        if item is None:
            continue
        value = re.sub(r"\s+[#;].*", "", item[2]).strip('"')
        if section == "remote" and item[1].lower() == "url":
            urls.setdefault(name, value)
        elif section == "branch" and name == branch and item[1].lower() == "remote":
            followed = value
    for chosen in (followed, "origin", *urls):
        if chosen in urls:
            return without_login(urls[chosen])
    return None


def without_login(url: str) -> str:
    """Return the address of a remote without user, password and query; the login of SSH without its password."""
    from sqltrack._masking import masked_text

    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)(://|::)(.*)", url, re.DOTALL)
    if match is None:
        # Such as git@github.com:team/project.git, or a path.
        return masked_text(url)
    scheme, mark, rest = match.groups()
    if mark == "::":
        return f"{scheme}::{without_login(rest)}"
    # The last @ before the path: a password may contain others.
    login, at, place = rest.partition("/")[0].rpartition("@")
    path = rest[len(login) + len(at) + len(place) :]
    if "@" in path and ":" in place:
        # A password with a slash, which should have been escaped.
        login, (place, slash, path) = "", path.rpartition("@")[2].partition("/")
        path = slash + path
    user = login.partition(":")[0]
    kept = f"{user}@" if scheme.lower().endswith("ssh") and user else ""
    return masked_text(f"{scheme}://{kept}{place}{re.split('[?#]', path)[0]}")
