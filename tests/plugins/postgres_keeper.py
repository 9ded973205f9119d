"""Run a command, end it when the process that needs it has gone, and remove its data.

This file is run as a script, by `python -I -S`, and imports only the standard library.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

STOP_SECONDS = 15.0


class Account(NamedTuple):
    """The user and group of a process."""

    uid: int
    gid: int


def remove_folder(folder: Path) -> None:
    """Remove a folder, even while ending processes still write to it."""
    deadline = time.monotonic() + STOP_SECONDS
    while folder.exists() and time.monotonic() < deadline:
        shutil.rmtree(folder, ignore_errors=True)
        if folder.exists():
            time.sleep(0.05)


def _keep(owner: int, folder: Path, account: Account | None, command: Sequence[str]) -> int:
    """Run a command until it ends or its owner has gone; then end it and remove the folder."""
    user, group = account or (None, None)
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        cwd="/",
        user=user,
        group=group,
        extra_groups=None if account is None else [],
    )
    is_abandoned, has_ended = threading.Event(), threading.Event()

    def watch() -> None:
        while not _has_gone(owner, wait_seconds=0.5):
            pass
        is_abandoned.set()
        child.send_signal(signal.SIGQUIT)
        if not has_ended.wait(STOP_SECONDS):
            child.kill()

    threading.Thread(target=watch, daemon=True).start()
    status = child.wait()
    has_ended.set()
    if is_abandoned.is_set() or _has_gone(owner, wait_seconds=0):
        remove_folder(folder)
    return status


def _has_gone(owner: int, wait_seconds: float) -> bool:
    """Return whether the owner has gone: our input closes, or we get another parent.

    The input shows it at once. The parent is checked as well, because a forked child of the owner keeps the input open.
    """
    readable, _, _ = select.select([sys.stdin], [], [], wait_seconds)
    return bool(readable) or os.getppid() != owner


def _main(arguments: Sequence[str]) -> int:
    owner, folder, account, *command = arguments
    uid, _, gid = account.partition(":")
    return _keep(int(owner), Path(folder), Account(int(uid), int(gid)) if account else None, command)


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
