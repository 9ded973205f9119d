"""A server that can be away: a way to its Unix socket that others take and give back."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from typing import Any

__all__ = ["SocketLink", "linked_server"]


class SocketLink:
    """A link to a server's Unix socket, without which nobody finds the server.

    Args:
        folder: where the link is.
        config: a configuration for the server itself.

    Attributes:
        config: the same by way of the link.
    """

    def __init__(self, folder: str, config: dict[str, Any]) -> None:
        name = f".s.PGSQL.{config['port']}"
        self._socket = os.path.join(config["host"], name)
        self._link = os.path.join(folder, name)
        self.config = {**config, "host": folder}

    def connect(self) -> None:
        """Let the server be found."""
        os.symlink(self._socket, self._link)

    def cut(self) -> None:
        """Let nobody find the server."""
        os.unlink(self._link)

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Let nobody find the server in the `with` block."""
        self.cut()
        try:
            yield
        finally:
            self.connect()


@contextlib.contextmanager
def linked_server(config: dict[str, Any]) -> Iterator[SocketLink]:
    """Provide a link to the server of a configuration, which is there at first."""
    # Its path must be short.
    with tempfile.TemporaryDirectory(prefix="s-") as folder:
        link = SocketLink(folder, config)
        link.connect()
        yield link
