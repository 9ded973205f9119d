"""Public names of `sqltrack.outbox` and its command, used as programs use them; only type checkers read this."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from typing_extensions import assert_type

from sqltrack import Client, Run
from sqltrack.commands.outbox import LeftOutboxes, apply_drop, find_path, look_at_others, plan_drop, target_text
from sqltrack.outbox import (
    OutboxInfo,
    SentOutbox,
    drop_outbox,
    find_outboxes,
    outbox_folders,
    read_outbox,
    send_outboxes,
)


def look(client: Client, folder: Path) -> None:
    folders = outbox_folders(client.config)
    assert_type(folders, list[str])
    found = find_outboxes(*folders, folder)
    assert_type(found, list[OutboxInfo])
    info = read_outbox(found[0].path)
    state: Literal["alive", "dead", "unknown", "refused", "sent", "unusable"] = info.state
    assert_type(info.target, Mapping[str, Any])
    assert_type((info.calls, info.runs, info.size, info.pid), tuple[int, int, int, int | None])
    assert_type((info.first, info.last), tuple[datetime | None, datetime | None])
    assert_type(info.reason_to_leave(force=True), str | None)
    print(state, info.host, info.damage, info.reason, target_text(info))


def send(client: Client, run: Run, folder: Path) -> None:
    assert_type(run.flush(), bool)
    assert_type(run.flush(timeout=60), bool)
    sent = send_outboxes(client, [folder / "a.db", "b.db"], force=True, progress=print)
    assert_type(sent, list[SentOutbox])
    assert_type(sent[0].refused_path, str)
    assert_type(drop_outbox(folder / "a.db", force=True), OutboxInfo)
    send_outboxes(client)


def drop(client: Client) -> None:
    planned = plan_drop([find_path("a.db", ["outbox"])], force=True)
    assert_type(apply_drop(planned, force=True), list[OutboxInfo])
    left = look_at_others(client)
    assert_type(left, LeftOutboxes)
    assert_type(left.others, dict[str, int])
