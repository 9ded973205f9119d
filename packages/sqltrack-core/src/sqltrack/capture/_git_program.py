"""Ask the git program for what the files of a repository do not tell: changes of the files under version control."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import selectors
import subprocess
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqltrack._masking import masked_text

__all__ = ["DIFF_LIMIT", "read_changes", "read_commit", "read_diff"]

#: Bytes of a diff that are stored at most.
DIFF_LIMIT = 256 * 2**10

# Bytes that are read beyond the limit, so that a credential at the end is recognized before it is cut.
_MARGIN = 16 * 2**10

# Files of a cut diff that are named at most.
_MAX_FILES = 1_000

# Without locks, programs that the repository names, and questions.
_OPTIONS = ("--no-optional-locks", "--no-pager", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null")
_VARIABLES = {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", "GIT_PAGER": "cat"}

# Programs that did not end in time, kept so that nothing waits for them.
_abandoned: list[subprocess.Popen[bytes]] = []


class _Output(NamedTuple):
    """The output of git.

    Attributes:
        text: the output, up to a limit or until there was no more time.
        is_cut: whether there may be more.
    """

    text: bytes
    is_cut: bool


def read_changes(root: str, deadline: float) -> dict[str, Any]:
    """Return `dirty`, whether files under version control were changed since the commit.

    Args:
        root: folder of the files.
        deadline: time (monotonic) at which to give up.

    Returns:
        An empty dict if git is not installed, refuses to look at this folder or takes too long.
    """
    found = _run_git(root, ("status", "--porcelain", "--untracked-files=no"), 1, deadline)
    if found is None or (found.is_cut and not found.text):
        return {}
    return {"dirty": bool(found.text)}


def read_commit(root: str, deadline: float) -> dict[str, Any]:
    """Return `commit` and `branch`, for repositories whose references are in a form that only git reads.

    Args:
        root: folder of the files.
        deadline: time (monotonic) at which to give up.
    """
    found: dict[str, Any] = {}
    commit = _run_git(root, ("rev-parse", "--verify", "--quiet", "HEAD"), 256, deadline)
    branch = _run_git(root, ("symbolic-ref", "--quiet", "--short", "HEAD"), 4096, deadline)
    for name, output in (("commit", commit), ("branch", branch)):
        if output is not None and not output.is_cut and output.text.strip():
            found[name] = output.text.decode("utf-8", "replace").strip()
    return found


def read_diff(root: str, deadline: float) -> dict[str, Any]:
    """Return `diff`, the masked changes of files under version control since the commit.

    Binary files are only named. A diff above `DIFF_LIMIT`, or one that takes too long, is cut at a line: `diff_cut` is
    true then, `diff_files` lists the changed files, and `diff_hash` tells two such states apart.

    Args:
        root: folder of the files.
        deadline: time (monotonic) at which to give up.
    """
    arguments = ("diff", "HEAD", "--no-ext-diff", "--no-textconv", "--no-color", "--submodule=short")
    found = _run_git(root, arguments, DIFF_LIMIT + _MARGIN, deadline)
    if found is None:
        return {}
    # A line that was read in part may hold half of a credential.
    text = found.text[: found.text.rfind(b"\n") + 1] if found.is_cut else found.text
    masked = masked_text(text.decode("utf-8", "replace")).encode()
    if not found.is_cut and len(masked) <= DIFF_LIMIT:
        return {"diff": masked.decode()}
    kept = masked if len(masked) <= DIFF_LIMIT else masked[: masked.rfind(b"\n", 0, DIFF_LIMIT) + 1]
    return {"diff": kept.decode(), "diff_cut": True, **_describe_files(root, deadline)}


def _describe_files(root: str, deadline: float) -> dict[str, Any]:
    """Return the names of changed files, and a hash of what git knows about their contents."""
    found = _run_git(root, ("diff", "HEAD", "--name-only", "-z"), 2**20, deadline)
    if found is None:
        return {}
    # A name that was read in part is left out.
    paths = [path for path in found.text[: found.text.rfind(b"\0") + 1].split(b"\0") if path]
    if not paths:
        return {}
    names = [masked_text(path.decode("utf-8", "replace")) for path in paths]
    state = hashlib.sha256()
    for name in paths:
        with contextlib.suppress(OSError, ValueError):
            status = os.stat(os.path.join(os.fsencode(root), name))
            state.update(name + f" {status.st_size} {status.st_mtime_ns}\n".encode())
    return {"diff_files": names[:_MAX_FILES], "diff_hash": state.hexdigest()[:32]}


def _run_git(root: str, arguments: Sequence[str], limit: int, deadline: float) -> _Output | None:
    """Return the output of git, which is cut at the deadline (monotonic); None if git fails."""
    environment = {name: value for name, value in os.environ.items() if not re.match("GIT_(TRACE|EXTERNAL)", name)}
    try:
        process = subprocess.Popen(  # noqa: S603
            ["git", *_OPTIONS, *arguments],  # noqa: S607
            cwd=root,
            env={**environment, **_VARIABLES},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    except (OSError, ValueError):
        return None
    try:
        return _read(process, limit, deadline)
    finally:
        _end(process)


def _read(process: subprocess.Popen[bytes], limit: int, deadline: float) -> _Output | None:
    assert process.stdout is not None
    text = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while selector.select(max(deadline - time.monotonic(), 0)):
            part = os.read(process.stdout.fileno(), 2**16)
            text += part
            if len(text) > limit:
                return _Output(text[:limit], True)
            if not part:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    return _Output(text, False) if process.wait(max(deadline - time.monotonic(), 0.01)) == 0 else None
                return None
    return _Output(text, True)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End git; one that waits for a file system cannot be ended, and is left alone."""
    assert process.stdout is not None
    process.stdout.close()
    if process.poll() is None:
        process.kill()
        try:
            process.wait(0.1)
        except subprocess.TimeoutExpired:
            _abandoned.append(process)
