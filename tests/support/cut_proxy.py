"""A proxy to a server whose network can be cut: by silence, by resets, or without TCP noticing."""

from __future__ import annotations

import contextlib
import ctypes
import socket
import struct
import threading
from types import TracebackType

from support.listening_proxy import ListeningProxy

__all__ = ["CutProxy"]

# From Linux' asm-generic/socket.h and linux/bpf_common.h; Python has no names for these constants.
_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27
_RETURN_CONSTANT = 0x06

_RESET_AT_CLOSE = struct.pack("ii", 1, 0)


class CutProxy(ListeningProxy):
    """Listens on a port of this machine and forwards to a server's Unix socket; a context manager.

    `silence` drops each packet in the kernel before anything acknowledges it, including requests for new connections.
    It needs Linux, but no privileges. `swallow` drops data, too, but TCP still acknowledges it, as behind some
    firewalls and VPNs.

    `lose_answers` breaks connections when the server answers a statement, before the answer has arrived.

    Args:
        path: path of the Unix socket.

    Attributes:
        lost: number of lost answers.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.lost = 0
        self._to_lose = (b"", 0)
        self._clients: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._swallowing: set[socket.socket] = set()
        self._swallows_new = False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        self.reset()

    def silence(self) -> None:
        """Drop everything, on open and new connections."""
        drop_all = ctypes.create_string_buffer(struct.pack("HBBI", _RETURN_CONSTANT, 0, 0, 0))
        program = struct.pack("HP", 1, ctypes.addressof(drop_all))
        with self._lock:
            for open_socket in (self._listener, *self._clients):
                open_socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
            self._swallowing |= self._clients

    def heal(self) -> None:
        """Let new connections through again; open ones stay silent, as after a failover."""
        self._listener.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)

    def swallow(self, *, new: bool = True) -> None:
        """Accept and discard all data on open connections, in both directions; `new`: also on new ones."""
        with self._lock:
            self._swallowing |= self._clients
            self._swallows_new = new

    def reset(self) -> None:
        """Break all open connections."""
        with self._lock:
            for client in self._clients:
                with contextlib.suppress(OSError):
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
                    client.shutdown(socket.SHUT_RD)

    def lose_answers(self, tag: bytes, number: int) -> None:
        """Lose the next answers that end with the tag of a command that the server has executed, such as COMMIT."""
        self._to_lose = (tag, number)

    def send(self, message: bytes) -> None:
        """Send data to all clients, as if it came from the server."""
        with self._lock:
            for client in self._clients:
                client.sendall(message)

    def _serve(self, client: socket.socket) -> None:
        with self._lock:
            self._clients.add(client)
            if self._swallows_new:
                self._swallowing.add(client)
        with client, socket.socket(socket.AF_UNIX) as server, contextlib.suppress(OSError):
            server.connect(self._path)
            thread = threading.Thread(target=self._pass_on, args=(server, client, client), daemon=True)
            thread.start()
            self._pass_on(client, server, client)
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
        with self._lock:
            self._clients.discard(client)
            self._swallowing.discard(client)

    def _pass_on(self, source: socket.socket, target: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                tag, number = self._to_lose
                if number and source is not client and tag + b"\0" in data:
                    self._to_lose = (tag, number - 1)
                    self.lost += 1
                    client.shutdown(socket.SHUT_RDWR)
                    return
                if client not in self._swallowing:
                    target.sendall(data)
        if client not in self._swallowing:
            with contextlib.suppress(OSError):
                target.shutdown(socket.SHUT_WR)
