"""Collect the facts about a process: those that are ready at once, and those that take longer."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqltrack._logging import get_logger

if TYPE_CHECKING:
    from sqltrack.capture._git import Repository

__all__ = ["Facts"]

# Seconds that the slower facts may take.
_LIMIT = 2.0

# Seconds for which changes of a repository are not looked for again, because many short runs follow each other.
_CHANGES_KEPT = 10.0

# Facts about the machine that are facts about Python.
_OF_PYTHON = frozenset({"python", "implementation"})

# By root, commit, and whether with the diff: when (monotonic) it was found, and the result.
_changes: dict[tuple[str, str | None, bool], tuple[float, dict[str, Any]]] = {}


class Facts:
    """The facts about a process.

    One thread collects them, others may read them at any time. What collecting needs is imported by that thread.

    Args:
        names: what to collect, see `sqltrack.capture.ALL`.
        config: configuration with the settings for masking.
        argv: the command line, default: that of this process.
        folder: where to look for a repository, default: that of the running script.
        is_foreign: whether the command runs outside of this Python, whose version does not matter then.

    Attributes:
        preferred: facts that replace those of the same names, because they come from the program itself.
    """

    def __init__(
        self,
        names: Collection[str],
        config: Mapping[str, Any],
        argv: Sequence[str] | None = None,
        folder: str | None = None,
        *,
        is_foreign: bool = False,
    ) -> None:
        self._names = names
        self._config = config
        self._argv = argv
        self._folder = folder
        self._repository: Repository | None = None
        self._is_foreign = is_foreign
        self._facts: dict[str, Any] = {}
        self.preferred: Mapping[str, Any] = {}

    def read(self) -> dict[str, Any]:
        """Return the facts so far."""
        return {name: value for name, value in {**self._facts, **self.preferred}.items() if value}

    def add(self, name: str, facts: Mapping[str, Any]) -> None:
        """Add facts to those of a name, or replace them."""
        # A new dict, because another thread may be reading the old one.
        self._facts = {**self._facts, name: {**self._facts.get(name, {}), **facts}}

    def collect_ready(self) -> None:
        """Collect the facts that need neither another program nor much time."""
        if "host" in self._names:
            from sqltrack.capture._job import describe_job

            self._attempt("host", self._describe_host)
            self._attempt("job", describe_job)
        if "command" in self._names:
            from sqltrack.capture._command import describe_command

            self._attempt("command", lambda: describe_command(self._config, self._argv))
        # Last, because it may hang with a file system.
        if "git" in self._names:
            self._attempt("git", self._read_git)

    def collect_slow(self) -> None:
        """Collect the other facts, within about two seconds."""
        deadline = time.monotonic() + _LIMIT
        if "packages" in self._names:
            from sqltrack.capture._packages import list_packages

            self._attempt("packages", list_packages)
        if "git" in self._names and self._repository is not None and self._repository.root is not None:
            root = self._repository.root
            self._attempt("git", lambda: self._read_changes(root, deadline))
        if "host" in self._names:
            from sqltrack.capture._host import describe_devices

            self._attempt("host", describe_devices)

    def _attempt(self, name: str, collect: Callable[[], Mapping[str, Any]]) -> None:
        try:
            facts = collect()
        # What is unknown is left out: no fact is worth a failed training.
        except Exception as error:
            get_logger("capture").info("cannot capture %s: %r", name, error)
            return
        if facts:
            self.add(name, facts)

    def _describe_host(self) -> dict[str, Any]:
        from sqltrack.capture._host import describe_host

        return {name: value for name, value in describe_host().items() if not (self._is_foreign and name in _OF_PYTHON)}

    def _read_git(self) -> dict[str, Any]:
        from sqltrack.capture._command import code_folder, current_folder
        from sqltrack.capture._git import find_repository, read_repository

        folders = [self._folder] if self._folder is not None else [code_folder(), current_folder()]
        for folder in folders:
            self._repository = None if folder is None else find_repository(os.path.abspath(folder))
            if self._repository is not None:
                return read_repository(self._repository)
        return {}

    def _read_changes(self, root: str, deadline: float) -> dict[str, Any]:
        from sqltrack.capture._git_program import read_changes, read_commit, read_diff

        known = self._facts.get("git", {})
        with_diff = "diff" in self._names
        key = (root, known.get("commit"), with_diff)
        at, found = _changes.get(key, (0.0, {}))
        if found and time.monotonic() - at < _CHANGES_KEPT:
            return found
        found = read_changes(root, deadline)
        if "commit" not in known:
            found.update(read_commit(root, deadline))
        if with_diff and found.get("dirty"):
            found.update(read_diff(root, deadline))
        _changes.clear()
        _changes[key] = (time.monotonic(), found)
        return found
