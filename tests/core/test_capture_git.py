"""Commit, branch and dirty flag are those that git shows, in repositories of all kinds, and never an error."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from sqltrack.capture import _command, _facts, capture
from sqltrack.capture._git import find_repository, read_repository, without_login
from sqltrack.capture._git_program import DIFF_LIMIT, read_changes, read_commit, read_diff

IDENTITY = ("-c", "user.name=Alice", "-c", "user.email=alice@example.org", "-c", "protocol.file.allow=always")


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *IDENTITY, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(autouse=True)
def _forget_changes() -> None:
    _facts._changes.clear()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with two commits on the branch main."""
    folder = tmp_path / "project"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    (folder / "train.py").write_text("print(1)\n")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "one")
    (folder / "sub").mkdir()
    (folder / "sub" / "model.py").write_text("x = 1\n")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "two")
    return folder


def captured(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(_command, "code_folder", lambda: str(folder))
    found: dict[str, Any] = capture("git").get("git", {})
    return found


def shown_by_git(folder: Path) -> dict[str, Any]:
    branch = git(folder, "branch", "--show-current")
    status = git(folder, "status", "--porcelain", "--untracked-files=no")
    return {
        "commit": git(folder, "rev-parse", "HEAD"),
        **({"branch": branch} if branch else {}),
        "root": git(folder, "rev-parse", "--show-toplevel"),
        "dirty": bool(status),
    }


def make(kind: str, repository: Path, tmp_path: Path) -> Path:
    """Return a folder of a repository of a kind."""
    if kind == "worktree":
        git(repository, "worktree", "add", "-q", "-b", "feature/new", str(tmp_path / "tree"))
        return tmp_path / "tree"
    if kind == "detached":
        git(repository, "checkout", "-q", "HEAD~1")
    elif kind == "subfolder":
        return repository / "sub"
    elif kind == "packed":
        git(repository, "pack-refs", "--all")
    elif kind == "shallow":
        git(tmp_path, "clone", "-q", "--depth", "1", repository.as_uri(), str(tmp_path / "shallow"))
        git(tmp_path / "shallow", "remote", "remove", "origin")
        return tmp_path / "shallow"
    elif kind == "submodule":
        outer = tmp_path / "outer"
        outer.mkdir()
        git(outer, "init", "-q")
        git(outer, "submodule", "--quiet", "add", str(repository), "inner")
        git(outer / "inner", "remote", "remove", "origin")
        return outer / "inner"
    return repository


KINDS = ["plain", "worktree", "detached", "subfolder", "packed", "shallow", "submodule"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dirty", [False, True], ids=["clean", "dirty"])
def test_commit_branch_and_dirty_flag_are_those_of_git(
    kind: str, dirty: bool, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make(kind, repository, tmp_path)
    (folder / "untracked.txt").write_text("x")
    if dirty:
        changed = next(folder.glob("*.py"))
        changed.write_text("changed = True\n")
    assert captured(folder, monkeypatch) == shown_by_git(folder)
    assert captured(folder, monkeypatch)["dirty"] == dirty


def test_a_staged_change_and_a_deleted_file_are_dirty(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (repository / "new.py").write_text("")
    git(repository, "add", "new.py")
    assert captured(repository, monkeypatch)["dirty"]
    git(repository, "reset", "-q", "--hard")
    _facts._changes.clear()
    (repository / "train.py").unlink()
    assert captured(repository, monkeypatch)["dirty"]


def test_a_repository_without_commits_has_a_branch_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(tmp_path, "init", "-q", "-b", "start")
    found = captured(tmp_path, monkeypatch)
    assert (found["branch"], "commit" in found) == ("start", False)


def test_a_bare_repository_has_no_changes(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(tmp_path, "clone", "-q", "--bare", str(repository), str(tmp_path / "bare.git"))
    git(tmp_path / "bare.git", "remote", "remove", "origin")
    commit = git(repository, "rev-parse", "HEAD")
    assert captured(tmp_path / "bare.git", monkeypatch) == {"commit": commit, "branch": "main"}


def test_no_repository_is_nothing_to_capture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert captured(tmp_path, monkeypatch) == {}


def test_without_the_git_program_only_the_dirty_flag_is_missing(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = shown_by_git(repository)
    del expected["dirty"]
    monkeypatch.setenv("PATH", str(tmp_path))
    assert captured(repository, monkeypatch) == expected


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
def test_a_folder_of_another_user_has_no_dirty_flag(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = shown_by_git(repository)
    del expected["dirty"]
    for path in [repository, *repository.rglob("*")]:
        os.chown(path, 12345, 12345)
    assert captured(repository, monkeypatch) == expected


@pytest.mark.parametrize("broken", ["HEAD", "config", "packed-refs"])
def test_a_pipe_in_place_of_a_file_delays_nothing(
    broken: str, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for a file system that does not answer."""
    path = repository / ".git" / broken
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    begin = time.monotonic()
    captured(repository, monkeypatch)
    assert time.monotonic() - begin < 5


def test_a_program_that_hangs_is_ended(tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "git"
    program.write_text("#!/bin/sh\nsleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    begin = time.monotonic()
    assert read_changes(str(repository), begin + 0.3) == {}
    assert time.monotonic() - begin < 3


def test_git_takes_no_locks_and_runs_no_programs_of_the_repository(repository: Path, tmp_path: Path) -> None:
    program, trace = tmp_path / "monitor", tmp_path / "was_called"
    program.write_text(f"#!/bin/sh\ntouch {trace}\n")
    program.chmod(0o755)
    for name in ("core.fsmonitor", "diff.external", "core.pager"):
        git(repository, "config", name, str(program))
    (repository / "train.py").write_text("print(2)\n")
    index = (repository / ".git" / "index").stat().st_mtime_ns
    (repository / ".git" / "index.lock").touch()
    deadline = time.monotonic() + 30
    assert read_changes(str(repository), deadline) == {"dirty": True}
    assert "+print(2)" in read_diff(str(repository), deadline)["diff"]
    assert (repository / ".git" / "index").stat().st_mtime_ns == index
    assert not trace.exists()


def test_a_large_diff_is_cut_at_a_line_and_marked(repository: Path) -> None:
    (repository / "data.bin").write_bytes(bytes(range(256)) * 1000)
    git(repository, "add", "data.bin")
    (repository / "train.py").write_text("".join(f"value_{number} = {number}\n" for number in range(400_000)))
    found = read_diff(str(repository), time.monotonic() + 60)
    assert found["diff_cut"] is True
    assert len(found["diff"].encode()) <= DIFF_LIMIT
    assert found["diff"].endswith("\n")
    assert "Binary files /dev/null and b/data.bin differ" in found["diff"]
    assert found["diff_files"] == ["data.bin", "train.py"]
    assert len(found["diff_hash"]) == 32


def test_a_diff_that_takes_too_long_is_marked(
    tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "git"
    program.write_text("#!/bin/sh\nprintf 'diff --git a/x b/x\\n+a = 1\\n+passw'\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert read_changes(str(repository), time.monotonic() + 10) == {"dirty": True}
    found = read_diff(str(repository), time.monotonic() + 0.5)
    assert found == {"diff": "diff --git a/x b/x\n+a = 1\n", "diff_cut": True}
    assert read_commit(str(repository), time.monotonic() + 0.2) == {}


def test_a_small_diff_is_complete(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (repository / "train.py").write_text("print(2)\n")
    monkeypatch.chdir(repository)
    monkeypatch.setattr(_command, "code_folder", lambda: None)
    found = capture("diff")["git"]
    assert "-print(1)\n+print(2)\n" in found["diff"]
    assert "diff_cut" not in found


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://github.com/team/project.git", "https://github.com/team/project.git"),
        ("https://alice:hunter22@example.org/p.git", "https://example.org/p.git"),
        ("https://ghp_abcdefghijklmnopqrst@github.com/p", "https://github.com/p"),
        ("https://alice:hun@ter22@example.org:8443/p", "https://example.org:8443/p"),
        ("https://alice:hun/ter@example.org/p", "https://example.org/p"),
        ("https://example.org/p?private_token=abc", "https://example.org/p"),
        ("ssh://git:hunter22@example.org:22/p", "ssh://git@example.org:22/p"),
        ("git@github.com:team/project.git", "git@github.com:team/project.git"),
        ("https://example.org/@team/p", "https://example.org/@team/p"),
        ("../project", "../project"),
    ],
)
def test_a_remote_is_stored_without_its_login(url: str, shown: str, repository: Path) -> None:
    git(repository, "remote", "add", "upstream", url)
    found = find_repository(str(repository))
    assert found is not None
    stored = read_repository(found)["remote"]
    assert stored == shown == without_login(url)
