"""A proxy to a server that counts round trips and can delay each of them."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

from support.listening_proxy import ListeningProxy

__all__ = ["CountingProxy"]


class CountingProxy(ListeningProxy):
    """Listens on a port of this machine and forwards to a server's Unix socket; a context manager.

    A round trip begins when a client sends something after the server has answered, however much it sends.

    Args:
        path: path of the Unix socket.
        delay: seconds that a round trip takes in addition, default 0.

    Attributes:
        round_trips: number of round trips after the server was ready, on the most recent connection.
        connections: number of connections.
    """

    def __init__(self, path: str, delay: float = 0.0) -> None:
        super().__init__(path)
        self.round_trips = 0
        self.connections = 0
        self._delay = delay

    def _serve(self, client: socket.socket) -> None:
        state = _State()
        with client, socket.socket(socket.AF_UNIX) as server, contextlib.suppress(OSError):
            server.connect(self._path)
            self.connections += 1
            self.round_trips = 0
            answers = threading.Thread(target=self._answer, args=(server, client, state), daemon=True)
            answers.start()
            while data := client.recv(65536):
                # A message of type X ends the connection and has no answer.
                if state.is_ready and state.has_answered and data[:1] != b"X":
                    self.round_trips += 1
                    time.sleep(self._delay)
                state.has_answered = False
                server.sendall(data)
            server.shutdown(socket.SHUT_RDWR)
            answers.join()

    def _answer(self, server: socket.socket, client: socket.socket, state: _State) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                state.has_answered = True
                # ReadyForQuery (PostgreSQL manual, 55.7): the connection is open, outside a transaction.
                state.is_ready = state.is_ready or data.endswith(b"Z\x00\x00\x00\x05I")
                client.sendall(data)


class _State:
    """The state of a connection."""

    def __init__(self) -> None:
        self.is_ready = False
        self.has_answered = False
