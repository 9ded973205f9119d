"""The file of a process' outbox: its calls, what can be looked at, and the lock that protects it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqltrack._connections import keep_forever
from sqltrack._logging import get_logger
from sqltrack._outbox._journal import REFUSED_SUFFIX, Call, Journal, create_journal
from sqltrack._outbox._mirror import Mirror
from sqltrack._outbox._places import OutboxLock, make_folder
from sqltrack._outbox._sender import Sender, Sent
from sqltrack._outbox._settings import OutboxSettings

if TYPE_CHECKING:
    from sqltrack.client import Client

__all__ = ["OutboxFile", "send_refused_to"]


class OutboxFile:
    """A file of this process.

    Args:
        journal: its calls.
        mirror: its tables.
        lock: its lock.

    Attributes:
        journal, mirror: the same.
    """

    def __init__(self, journal: Journal, mirror: Mirror, lock: OutboxLock) -> None:
        self.journal = journal
        self.mirror = mirror
        self._lock = lock

    @classmethod
    def create(cls, settings: OutboxSettings, target: Mapping[str, Any]) -> OutboxFile:
        """Return a new file.

        Raises:
            OutboxError, ConfigError: it cannot be created.
        """
        folder = make_folder(settings.folder, is_default=settings.is_default_folder)
        journal, lock = create_journal(folder, {"target": dict(target)})
        return cls(journal, Mirror(journal.path), lock)

    @property
    def is_empty(self) -> bool:
        """Whether no call waits."""
        return self.journal.is_empty

    def send_batch(self, client: Client) -> tuple[int, Sent]:
        """Send the first calls; see `Sender.send_batch`."""
        return Sender(client, self.journal, send_refused_to(self.journal)).send_batch()

    def end(self) -> None:
        """Delete the file."""
        self.mirror.close()
        self.journal.remove()
        self._lock.release(remove=True)

    def keep_inherited(self) -> None:
        """Leave the file to the parent of this process, which was forked."""
        keep_forever(self.journal._connection)


def send_refused_to(journal: Journal) -> Any:
    """Return a function that stores calls, which the database refuses for good, in a file of their own."""

    def refuse(call: Call, reason: str) -> None:
        path = journal.path.removesuffix(REFUSED_SUFFIX) + REFUSED_SUFFIX
        refused = Journal(path, journal.about())
        try:
            refused.take_over(call, reason)
        finally:
            refused.close()
        get_logger("outbox").error(
            "the database refuses %s of %s (%s), which stays in %s; see: sqltrack outbox",
            call.name,
            call.owner,
            reason,
            path,
        )

    return refuse
