"""Freeze the processes of a PostgreSQL server, as if the machine had no memory or a broken disk, and thaw them."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from plugins.postgres_server import PostgresServer

__all__ = ["frozen", "frozen_server"]


@contextlib.contextmanager
def frozen_server(server: PostgresServer) -> Iterator[None]:
    """Freeze all processes of a server for the `with` block; the kernel still accepts connections for it."""
    # Each process of a server leads its own group. The first process could start others.
    with frozen(server.pid), frozen(*_children(server.pid)):
        yield


@contextlib.contextmanager
def frozen(*pids: int) -> Iterator[None]:
    """Freeze these processes for the `with` block."""
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
