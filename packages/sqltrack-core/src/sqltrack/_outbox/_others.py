"""The outboxes of other processes on this host: send those of dead processes, and wait until calls were sent."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from sqltrack._logging import get_logger
from sqltrack._outbox._places import folders_in_use, is_of_this_host, state_of
from sqltrack.errors import OutboxError

if TYPE_CHECKING:
    from sqltrack._outbox._journal import Journal

__all__ = ["OtherOutboxes"]

T = TypeVar("T")

# Seconds between two looks at the files, at first and at most.
_PAUSE, _LONGEST_PAUSE = 0.01, 1.0


class OtherOutboxes:
    """The outboxes that other processes of the same user have for a database, such as children of this process.

    Args:
        config: the configuration for sending.
        target: parameters that name the database.
    """

    def __init__(self, config: Mapping[str, Any], target: Mapping[str, Any]) -> None:
        self._config = dict(config)
        self._target = target
        # Files that were sent. Damaged ones are kept.
        self._sent: set[str] = set()

    def send_all_dead(self) -> None:
        """Send the files of dead processes, also of other hosts where possible, in a thread."""
        if any(self._paths()):
            self._start(None)

    def send_dead(self, seconds: float | None) -> bool:
        """Send the files of dead processes of this host in a thread.

        Args:
            seconds: time to wait for the thread, None for no limit.

        Returns:
            Whether none is left.
        """
        from sqltrack._outbox._journal import lock_path

        paths = [path for path in self._paths_here() if state_of(lock_path(path)) == "dead" and self._is_ours(path)]
        thread = self._start(paths) if paths else None
        if thread is not None:
            thread.join(seconds)
        return all(path in self._sent or not os.path.exists(path) for path in paths)

    def flush(self, owner: str, deadline: float | None) -> bool:
        """Wait until the calls about `owner` that processes of this host have made so far were sent.

        Args:
            owner: the subject of the calls, such as "runs 7".
            deadline: when (monotonic) to give up, None for never.

        Returns:
            Whether they were.
        """
        waiting = {path: ends[1] for path in self._paths_here() if (ends := self._ends(path, owner)) is not None}
        pause = _PAUSE
        while waiting := {path: last for path, last in waiting.items() if self._waits(path, owner, last)}:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return False
            self.send_dead(left)
            time.sleep(pause if left is None else min(pause, left))
            pause = min(pause * 2, _LONGEST_PAUSE)
        return True

    def _paths(self) -> Iterator[str]:
        for folder in folders_in_use(self._config):
            with contextlib.suppress(OSError):
                for name in os.listdir(folder):
                    if name.endswith(".db"):
                        yield os.path.join(folder, name)

    def _paths_here(self) -> Iterator[str]:
        return (path for path in self._paths() if path not in self._sent and is_of_this_host(path))

    def _waits(self, path: str, owner: str, last: int) -> bool:
        """Return whether a file contains calls about `owner` up to the position `last`."""
        ends = None if path in self._sent else self._ends(path, owner)
        return ends is not None and ends[0] <= last

    def _ends(self, path: str, owner: str) -> tuple[int, int] | None:
        """Return the positions of the first and the last call about `owner` in a file, None if there are none."""
        return self._look(path, lambda journal: journal.ends_of(owner))

    def _is_ours(self, path: str) -> bool:
        """Return whether a file is for this database."""
        return self._look(path, lambda journal: True) is True

    def _look(self, path: str, look: Callable[[Journal], T | None]) -> T | None:
        """Return `look(journal)` for a file for this database, None for others and for unusable ones."""
        from sqltrack._outbox._journal import Journal

        try:
            with contextlib.closing(Journal(path)) as journal:
                return look(journal) if journal.about().get("target") == self._target else None
        except OutboxError:
            # It may be gone, because another process has just sent it.
            return None

    def _start(self, paths: list[str] | None) -> threading.Thread | None:
        thread = threading.Thread(target=self._send, args=(paths,), name="sqltrack-outbox-others", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            # The interpreter is exiting, or the system has no thread left.
            return None
        return thread

    def _send(self, paths: list[str] | None) -> None:
        from sqltrack.client import Client
        from sqltrack.outbox import send_outboxes

        try:
            client = Client(self._config)
            # One by one, because another process may send any of them at the same time.
            for chosen in [None] if paths is None else [[path] for path in paths]:
                with contextlib.suppress(OutboxError):
                    for sent in send_outboxes(client, chosen):
                        if sent.skipped is None:
                            self._sent.add(sent.path)
                            told = "%d calls of an earlier process were sent: %s"
                            get_logger("outbox").info(told, sent.calls, sent.path)
        except Exception as error:
            get_logger("outbox").info("outboxes of earlier processes were not sent: %s", error)
