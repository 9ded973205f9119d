"""Find the outboxes that processes have left behind, and send them.

An outbox is a file of calls that could not reach the database. Each process sends its own. A process that is killed, or
ends during an outage, leaves its file behind. The next run of the same user sends it, and so do `send_outboxes` and
`sqltrack outbox send`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from sqltrack._outbox._journal import REFUSED_SUFFIX, SENT_SUFFIX, Journal, lock_path, remove_remains
from sqltrack._outbox._places import OutboxLock, check_file, check_folder, folders_in_use, read_holder, state_of
from sqltrack.engines.admin import admin_of
from sqltrack.errors import ConflictError, DatabaseUnavailableError, OutboxError

if TYPE_CHECKING:
    from sqltrack._outbox._sender import Sender, Sent
    from sqltrack.client import Client

__all__ = [
    "OutboxInfo",
    "SentOutbox",
    "drop_outbox",
    "find_outboxes",
    "outbox_folders",
    "read_outbox",
    "send_outboxes",
]

# Why a file was skipped that has just disappeared.
_ELSEWHERE = "another process has sent it"

# Why a file was skipped whose notes cannot be read.
_UNKNOWN_TARGET = "it is damaged and does not name its database; if it is for this one, use force"

State = Literal["alive", "dead", "unknown", "refused", "sent", "unusable"]


class OutboxInfo(NamedTuple):
    """The state and contents of an outbox.

    Attributes:
        path: path of its file.
        state: "alive", its process is still running; "dead", its process has ended, so you can send it; "unknown", its
            process is on another host and cannot be checked; "refused", it holds calls that the database has refused;
            "sent", all of it was sent, and it is kept for the time in the setting `outbox_keep`; "unusable", it is not
            safe to use, see `damage`.
        target: parameters that name the database; empty if they cannot be read.
        host: host of its process, None if unknown.
        pid: id of its process, None if unknown.
        calls: number of calls that wait.
        runs: number of runs that these calls are about.
        first: time of the first call, None if there are no calls.
        last: time of the last call, None if there are no calls.
        size: size on disk in bytes.
        damage: SQLite's message about a part that cannot be read, or the reason why the file is unusable; None if all
            of it can be read.
        reason: why the database has refused the first call, None if it has not.
    """

    path: str
    state: State
    target: Mapping[str, Any]
    host: str | None
    pid: int | None
    calls: int
    runs: int
    first: datetime | None
    last: datetime | None
    size: int
    damage: str | None
    reason: str | None

    def reason_to_leave(self, *, force: bool = False) -> str | None:
        """Return why you must not send or drop the outbox, None if you may.

        Args:
            force: whether the user confirms that a process which cannot be checked is dead.
        """
        if self.state == "unusable":
            return self.damage
        if self.state == "alive":
            return f"its process is alive (host {self.host}, pid {self.pid}) and will send it"
        if self.state == "unknown" and not force:
            return f"its process may be alive on host {self.host}; if it is not, use force"
        return None


class SentOutbox(NamedTuple):
    """The result of sending an outbox.

    Attributes:
        path: path of its file.
        calls: number of calls that were sent.
        refused: number of calls that the database refuses permanently; they are in the file `refused_path`.
        outdated: number of sent calls whose changes were only partly made, because the run has been started again or
            rewound since.
        is_removed: whether the file was removed, because nothing is left in it.
        skipped: why the file was skipped, None if it was not.
        damage: SQLite's message about a part that cannot be read, None if all can be read.
    """

    path: str
    calls: int
    refused: int
    outdated: int
    is_removed: bool
    skipped: str | None
    damage: str | None

    @property
    def refused_path(self) -> str:
        """Path of the file with the calls that the database has refused."""
        return self.path.removesuffix(REFUSED_SUFFIX) + REFUSED_SUFFIX


def outbox_folders(config: Mapping[str, Any]) -> list[str]:
    """Return the paths of the folders that may contain outboxes, the usual one first.

    If the usual folder could not be used at some time, there is a second one: a private folder for temporary files.

    Args:
        config: a configuration; see the setting `outbox_dir`.

    Raises:
        ConfigError: (a ValueError) `outbox_dir` is not a path.
    """
    return folders_in_use(config)


def find_outboxes(*folders: str | Path) -> list[OutboxInfo]:
    """Return the outboxes in folders, those with the oldest calls first.

    Args:
        folders: paths of the folders, see `outbox_folders`; folders that do not exist are ignored.

    Raises:
        ConfigError: (a ValueError) a folder is a link, belongs to another user, or is writable for others.
    """
    found = []
    for path in _paths(folders):
        try:
            found.append(read_outbox(path))
        except OutboxError as error:
            # If the file is gone, another process has just sent it.
            if os.path.lexists(path):
                found.append(_unusable(path, error))
    return sorted(found, key=_age_order)


def _paths(folders: Iterable[str | Path]) -> Iterator[str]:
    for folder in [os.fspath(path) for path in folders]:
        check_folder(folder)
        try:
            names = os.listdir(folder)
        except OSError:
            continue
        for name in names:
            if name.endswith((".db", f".db{REFUSED_SUFFIX}", f".db{SENT_SUFFIX}")):
                yield os.path.join(folder, name)


def _age_order(info: OutboxInfo) -> tuple[float, str]:
    return (math.inf if info.first is None else info.first.timestamp(), info.path)


def read_outbox(path: str | Path) -> OutboxInfo:
    """Return the state and contents of an outbox.

    Args:
        path: path of its file.

    Raises:
        OutboxError: it does not exist, or is not safe to use.
    """
    path = os.path.abspath(os.fspath(path))
    journal = Journal(path)
    try:
        about = journal.about()
        contents = journal.contents()
        first = journal.read(1)
        holder = read_holder(lock_path(path))
        return OutboxInfo(
            path,
            _state(path),
            about.get("target", {}),
            None if holder is None else holder.host,
            None if holder is None else holder.pid,
            *contents,
            journal.size,
            journal.damage,
            first[0].reason if first else None,
        )
    finally:
        journal.close()


def _state(path: str) -> State:
    if path.endswith(REFUSED_SUFFIX):
        return "refused"
    return "sent" if path.endswith(SENT_SUFFIX) else state_of(lock_path(path))


def _unusable(path: str, error: OutboxError) -> OutboxInfo:
    size = os.lstat(path).st_size
    return OutboxInfo(path, "unusable", {}, None, None, 0, 0, None, None, size, error.message, None)


def send_outboxes(
    client: Client,
    paths: Iterable[str | Path] | None = None,
    *,
    force: bool = False,
    progress: Callable[[SentOutbox], object] | None = None,
) -> list[SentOutbox]:
    """Send outboxes to the database of a client, and remove those that are empty afterwards.

    Several processes may do this at once: each file is sent by one of them. Sending a file twice changes nothing.

    Args:
        client: client of the database.
        paths: paths of files; default: all in the client's folders that are for this database and whose process is
            known to be dead.
        force: whether to also send files of another database, damaged files that do not name theirs, and files whose
            process may be on another host, where it cannot be checked.
        progress: called with the result for each file.

    Returns:
        The results, one for each file.

    Raises:
        OutboxError: a file in `paths` does not exist or is not safe to use; nothing was sent.
        DatabaseError: the database does not exist or is away; unsent calls stay in the files.
    """
    from sqltrack.client import Client

    if paths is None:
        folders = outbox_folders(client.config)
        for folder in folders:
            remove_remains(folder)
        found = find_outboxes(*folders)
        target = client.engine.target()
        chosen = [info.path for info in found if info.state == "dead" and info.target == target]
    else:
        chosen = [os.path.abspath(os.fspath(path)) for path in paths]
        for path in chosen:
            check_file(path)
    sender = Client({**client.config, "outbox": "off"})
    sent: list[SentOutbox] = []
    if not chosen:
        return sent
    if not sender.engine.exists():
        raise admin_of(sender.engine).missing()
    # If the database is away now, fail at once. If it goes away later, wait.
    with sender:
        pass
    sender._session.track(0)
    try:
        for path in chosen:
            sent.append(_send(sender, path, force=force))
            if progress is not None:
                progress(sent[-1])
        return sent
    finally:
        sender._session.untrack(0)


def drop_outbox(path: str | Path, *, force: bool = False) -> OutboxInfo:
    """Delete an outbox with all calls that wait in it.

    Args:
        path: path of its file.
        force: whether to delete it even if its process may be alive on another host.

    Returns:
        The state and contents that it had.

    Raises:
        OutboxError: it does not exist, or is not safe to use.
        ConflictError: (a ValueError) its process is alive, or may be.
    """
    info = read_outbox(path)
    lock = _take(info, force=force)
    if isinstance(lock, str):
        raise ConflictError(f"outbox {info.path!r} was not dropped: {lock}")
    journal = Journal(info.path)
    journal.remove()
    lock.release(remove=True)
    return info


def _send(client: Client, path: str, *, force: bool) -> SentOutbox:
    try:
        info = read_outbox(path)
        if info.target != client.engine.target() and not force:
            return _skipped(info, "it is for another database" if info.target else _UNKNOWN_TARGET)
        lock = _take(info, force=force)
        if isinstance(lock, str):
            return _skipped(info, lock)
        return _send_locked(client, info, lock)
    except OutboxError as error:
        # An unusable file must not hold up the others.
        why = error.message if os.path.lexists(path) else _ELSEWHERE
        return SentOutbox(path, 0, 0, 0, False, why, None)


def _send_locked(client: Client, info: OutboxInfo, lock: OutboxLock) -> SentOutbox:
    from sqltrack._outbox._file import send_refused_to
    from sqltrack._outbox._sender import Sender, Sent

    is_removed = False
    try:
        # Another process may have sent it before this one got the lock.
        if not os.path.exists(info.path):
            is_removed = True
            return _skipped(info, _ELSEWHERE)
        journal = Journal(info.path, keeps=info.state == "sent")
        try:
            journal.check()
            sender = Sender(client, journal, None if info.state == "refused" else send_refused_to(journal))
            sent, last = Sent(), 0
            while True:
                place, more = _send_batch(sender, last)
                sent = sent.plus(more)
                if place == last:
                    break
                last = place
            damage = journal.damage or info.damage
            is_removed = damage is None and journal.is_empty and info.state != "sent"
            if is_removed:
                journal.remove()
        finally:
            journal.close()
        return SentOutbox(info.path, *sent, is_removed, None, damage)
    finally:
        lock.release(remove=is_removed or info.state == "sent")


def _send_batch(sender: Sender, after: int) -> tuple[int, Sent]:
    """Return the result of `Sender.send_batch`; if the database is only slow, try again with smaller batches."""
    client, engine = sender.client, sender.client.engine
    while True:
        try:
            return sender.send_batch(after)
        except DatabaseUnavailableError:
            if not sender.is_slow:
                raise
            # The server may still execute statements of the last batch, and hold its locks.
            client._session.ask(lambda connection: engine.ends_abandoned(connection, [engine]))


def _skipped(info: OutboxInfo, why: str) -> SentOutbox:
    return SentOutbox(info.path, 0, 0, 0, False, why, info.damage)


def _take(info: OutboxInfo, *, force: bool) -> OutboxLock | str:
    """Return the lock of an outbox, or the reason why it is not available."""
    reason = info.reason_to_leave(force=force)
    if reason is not None:
        return reason
    try:
        return OutboxLock(lock_path(info.path))
    except BlockingIOError:
        return "another process sends it"
    except OSError as error:
        raise OutboxError(f"outbox {info.path!r} cannot be locked: {error.strerror}") from error
