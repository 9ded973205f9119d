"""The file of a process' outbox: its calls, its tables for queries, and its lock."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqltrack._inherited import keep_forever
from sqltrack._logging import get_logger
from sqltrack._outbox._journal import (
    EXPERIMENTS,
    MEMORY,
    REFUSED_SUFFIX,
    SENT_SUFFIX,
    SIDE_FILES,
    Call,
    Journal,
    Times,
    about_file,
    create_journal,
    lock_path,
)
from sqltrack._outbox._mirror import Mirror
from sqltrack._outbox._places import OutboxLock, lock_within, make_folder
from sqltrack._outbox._sender import Sender, Sent
from sqltrack._outbox._settings import OutboxSettings

if TYPE_CHECKING:
    from sqltrack.client import Client

__all__ = ["OutboxFile", "remove_outdated", "send_refused_to"]

# Number of calls that are read at once to update the tables of the file.
_SHOWN_AT_ONCE = 500

# Number of calls that are moved at once from memory to a file.
_TAKEN_AT_ONCE = 1_000

# Seconds to wait for another process that sends the file of refused calls.
_PATIENCE = 10.0


class OutboxFile:
    """A file of this process, or its replacement in memory.

    Args:
        journal: its calls.
        lock: its lock, None if it needs none.
        keep: seconds for which the file is kept after all of it was sent.

    Attributes:
        journal: the same.
        sender: the last sender, None before the first batch.
        reported: number of calls that the last line about the end of the process has named.
    """

    def __init__(self, journal: Journal, lock: OutboxLock | None, keep: float) -> None:
        self.journal: Journal = journal
        self.sender: Sender | None = None
        self.reported: int = 0
        self._mirror: Mirror | None = None
        # The position of the last call in the tables.
        self._shown = 0
        self._lock = lock
        self._keep = keep
        self._refuse = send_refused_to(journal)
        # The position of the last call that was sent from a damaged file, which is not changed.
        self._sent_until = 0

    @classmethod
    def create(
        cls, settings: OutboxSettings, target: Mapping[str, Any], times: Times, experiment_ids: Mapping[int, int]
    ) -> OutboxFile:
        """Return a new file; see `sqltrack._outbox._journal.about_file`.

        Raises:
            OutboxError, ConfigError: it cannot be created.
        """
        folder = make_folder(settings.folder, is_default=settings.is_default_folder)
        remove_outdated(folder, settings.keep)
        journal, lock = create_journal(folder, about_file(target, times, experiment_ids), keeps=settings.keep > 0)
        return cls(journal, lock, settings.keep)

    @classmethod
    def in_memory(cls, target: Mapping[str, Any], times: Times, experiment_ids: Mapping[int, int]) -> OutboxFile:
        """Return a replacement for a file, while none can be written."""
        return cls(Journal(MEMORY, about_file(target, times, experiment_ids)), None, 0)

    @property
    def is_in_memory(self) -> bool:
        """Whether the calls are in memory only."""
        return self._lock is None

    @property
    def is_empty(self) -> bool:
        """Whether no readable call waits."""
        if self.journal.damage is None and self.journal.is_empty:
            return True
        return self.journal.damage is not None and not self.journal.read(1, self._sent_until)

    def append(self, owner: str, name: str, text: str) -> None:
        """Store a call; see `Journal.append`.

        Raises:
            OutboxError: it cannot be stored.
        """
        self.journal.append(owner, name, text)

    def note_experiments(self, ids: Mapping[int, int]) -> None:
        """Store the ids of experiments in the database, by the ids that calls in the file may have.

        Raises:
            OutboxError: they cannot be stored.
        """
        self.journal.note(EXPERIMENTS, ids)
        # The next one reads the note.
        self.sender = None

    def take_over(self, other: OutboxFile) -> None:
        """Store all calls of another file.

        Raises:
            OutboxError: they cannot be stored.
        """
        last = 0
        while calls := other.journal.read(_TAKEN_AT_ONCE, last):
            self.journal.take_over(calls)
            last = calls[-1].seq

    def show(self, experiments: Mapping[int, int], deadline: float) -> None:
        """Apply new calls to the tables of the file, so that they can be queried.

        Args:
            experiments: ids of the experiments of runs, where known.
            deadline: when (monotonic) to leave the rest for the next time.
        """
        if self.is_in_memory:
            return
        if self._mirror is None:
            self._mirror = Mirror(self.journal.path)
        while time.monotonic() < deadline and (calls := self.journal.read(_SHOWN_AT_ONCE, self._shown)):
            self._mirror.perform(calls, experiments)
            self._shown = calls[-1].seq

    def send_batch(self, client: Client) -> Sent:
        """Send the first calls with a client; see `Sender.send_batch`."""
        if self.sender is None or self.sender.client is not client:
            self.sender = Sender(client, self.journal, self._refuse)
        place, sent = self.sender.send_batch(self._sent_until)
        if self.journal.damage is not None:
            self._sent_until = place
            return sent
        left = self.journal.read(1)
        if not left or left[0].seq <= place:
            # After all calls were removed, positions start again.
            self._shown = 0
        return sent

    def end(self) -> str | None:
        """Delete the empty file, or keep it for the configured time.

        Returns:
            Why it is kept forever, because a part of it cannot be read; None if it is not.
        """
        if self._mirror is not None:
            self._mirror.close()
        if self.journal.damage is not None:
            self.journal.close()
        elif self._keep > 0 and not self.is_in_memory:
            self.journal.set_aside()
        else:
            self.journal.remove()
        if self._lock is not None:
            self._lock.release(remove=self.journal.damage is None)
        return self.journal.damage

    def keep_inherited(self) -> None:
        """Leave the file to the parent of this forked process."""
        keep_forever(self.journal._connection)


def remove_outdated(folder: str, keep: float) -> None:
    """Remove the files in a folder that were sent completely, more than `keep` seconds ago."""
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            if entry.name.endswith(SENT_SUFFIX) and time.time() - entry.stat(follow_symlinks=False).st_mtime > keep:
                for suffix in ("", *SIDE_FILES):
                    with contextlib.suppress(OSError):
                        os.unlink(entry.path + suffix)


def send_refused_to(journal: Journal) -> Callable[[Sequence[Call], str], None]:
    """Return a function that stores calls which the database refuses permanently in a file of their own."""
    path = journal.path.removesuffix(REFUSED_SUFFIX) + REFUSED_SUFFIX
    named: set[str] = set()

    def refuse(calls: Sequence[Call], reason: str) -> None:
        if journal.path == MEMORY:
            get_logger("outbox").error("the database refuses %d calls of %s: %s", len(calls), calls[0].owner, reason)
            return
        # A process that sends this file at the moment may be about to delete it.
        lock = lock_within(lock_path(path), _PATIENCE)
        try:
            refused = Journal(path, journal.about_of_refused())
            try:
                refused.take_over(calls, reason)
            finally:
                refused.close()
        finally:
            lock.release(remove=True)
        owner = calls[0].owner
        if owner not in named:
            named.add(owner)
            get_logger("outbox").error(
                "the database refuses calls of %s (%s), which stay in %s; to try again: sqltrack outbox send %s",
                owner.replace("s ", " "),
                reason,
                path,
                path,
            )

    return refuse
