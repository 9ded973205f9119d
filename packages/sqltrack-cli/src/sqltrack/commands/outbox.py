"""Find and drop the outboxes that a command line names."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sqltrack.client import Client
from sqltrack.errors import ConflictError
from sqltrack.outbox import OutboxInfo, drop_outbox, find_outboxes, outbox_folders, read_outbox

__all__ = ["LeftOutboxes", "apply_drop", "find_path", "look_at_others", "plan_drop", "target_text"]


class LeftOutboxes(NamedTuple):
    """The outboxes in the folders of a client that `sqltrack.outbox.send_outboxes` sends only if they are named.

    Attributes:
        others: number of outboxes for other databases, by the text of `target_text`.
        alive: outboxes for this database whose process is alive and sends them.
        unknown: outboxes for this database whose process may be alive on another host.
        refused: outboxes for this database with calls that it refused.
        unreadable: outboxes that cannot be read, or whose database cannot be found out.
    """

    others: dict[str, int]
    alive: list[OutboxInfo]
    unknown: list[OutboxInfo]
    refused: list[OutboxInfo]
    unreadable: list[OutboxInfo]


def find_path(name: str, folders: Sequence[str]) -> str:
    """Return the path of an outbox, given its path or its name in an outbox folder.

    Args:
        name: the path or name.
        folders: paths of the outbox folders.
    """
    inside = [os.path.join(folder, name) for folder in folders if os.path.basename(name) == name]
    return next(filter(os.path.lexists, inside), os.path.abspath(name))


def target_text(info: OutboxInfo) -> str | None:
    """Return the database of an outbox as a text, such as "sqlite dbpath=/data/runs.db"; None if unknown."""
    if not info.target:
        return None
    parameters = (f"{name}={value}" for name, value in info.target.items() if name != "engine")
    return " ".join([str(info.target.get("engine")), *parameters])


def look_at_others(client: Client) -> LeftOutboxes:
    """Return the outboxes in the folders of a client that are sent only if they are named."""
    target = client.engine.target()
    found = [info for info in find_outboxes(*outbox_folders(client.config)) if info.state != "sent"]
    here: dict[str, list[OutboxInfo]] = {"alive": [], "unknown": [], "refused": []}
    for info in found:
        if info.target == target and info.state in here:
            here[info.state].append(info)
    texts = (target_text(info) for info in found if info.target != target)
    return LeftOutboxes(
        others=dict(Counter(text for text in texts if text is not None)),
        unreadable=[info for info in found if not info.target],
        **here,
    )


def plan_drop(paths: Iterable[str], *, force: bool = False) -> list[OutboxInfo]:
    """Return the outboxes at paths, after checking that they may be dropped.

    Args:
        paths: paths of the files.
        force: whether to also drop outboxes whose process may be alive on another host.

    Raises:
        OutboxError: an outbox does not exist, or is not safe to use.
        ConflictError: (a ValueError) the process of an outbox is or may be alive.
    """
    infos = [read_outbox(path) for path in dict.fromkeys(paths)]
    for info in infos:
        reason = info.reason_to_leave(force=force)
        if reason is not None:
            raise ConflictError(f"outbox {info.path!r} cannot be dropped: {reason}")
    return infos


def apply_drop(infos: Sequence[OutboxInfo], *, force: bool = False) -> list[OutboxInfo]:
    """Delete outboxes with all their calls, and return their state at that moment.

    Args:
        infos: the result of `plan_drop`.
        force: see `plan_drop`.

    Raises:
        OutboxError: an outbox no longer exists.
        ConflictError: (a ValueError) another process is sending an outbox, or has added calls since.
    """
    dropped = []
    for info in infos:
        now = read_outbox(info.path)
        if (now.calls, now.last) != (info.calls, info.last):
            raise ConflictError(f"outbox {info.path!r} has changed in the meantime", "look again")
        dropped.append(drop_outbox(info.path, force=force))
    return dropped
