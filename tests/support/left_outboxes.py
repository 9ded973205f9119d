"""Outboxes of processes that were killed while the database was away."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack._outbox import _outbox
from sqltrack._outbox._journal import lock_path

__all__ = ["leave_outbox", "of_another_host"]


@contextlib.contextmanager
def leave_outbox(config: dict[str, Any], folder: Path) -> Iterator[sqltrack.Client]:
    """Return a client whose calls stay in a new file; after the `with` block the file looks as if its process were
    dead.

    Args:
        config: configuration of the database, in which runs are created.
        folder: folder of the file, accessible only to its owner.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_outbox.Outbox, "_ensure_thread", lambda self: False)
        patch.setattr(_outbox.Outbox, "send_left_behind", lambda self: None)
        client = sqltrack.Client({**config, "outbox": "always", "outbox_dir": str(folder), "patience": 30})
        outbox = client._session.outbox
        assert outbox is not None
        try:
            yield client
        finally:
            _outbox._outboxes.clear()
            for file in outbox._files:
                file.journal.close()
                assert file._lock is not None
                file._lock.release(remove=False)


def of_another_host(path: Path) -> None:
    """Make an outbox look as if a process of another host had left it, about which nothing is known here."""
    Path(lock_path(str(path))).write_text(json.dumps({"host": "node17", "boot": "x", "pid": 7, "started": "1"}))
