"""A stand-in for a pooler that refuses startup options: it forwards only connections without them."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
from collections.abc import Iterator

__all__ = ["refusing_proxy"]

_SSL_REQUEST, _GSS_REQUEST = 80877103, 80877104


@contextlib.contextmanager
def refusing_proxy(port: int) -> Iterator[int]:
    """Listen on a port in front of a server on another port of this machine; return the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_accept, args=(listener, port), daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def _accept(listener: socket.socket, port: int) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_serve, args=(client, port), daemon=True).start()


def _serve(client: socket.socket, port: int) -> None:
    with client, contextlib.suppress(OSError):
        packet = _read_startup(client)
        if b"\0options\0" in packet:
            fields = b"SFATAL\0C08P01\0Munsupported startup parameter: options\0\0"
            client.sendall(b"E" + struct.pack("!i", len(fields) + 4) + fields)
            return
        with socket.create_connection(("127.0.0.1", port)) as server:
            server.sendall(packet)
            _relay(client, server)


def _read_startup(client: socket.socket) -> bytes:
    """Return the startup packet, after declining encryption."""
    while True:
        head = client.recv(8, socket.MSG_WAITALL)
        length, code = struct.unpack("!ii", head)
        if code not in (_SSL_REQUEST, _GSS_REQUEST):
            return head + client.recv(length - 8, socket.MSG_WAITALL)
        client.sendall(b"N")


def _relay(client: socket.socket, server: socket.socket) -> None:
    while True:
        for source in select.select([client, server], [], [])[0]:
            data = source.recv(65536)
            if not data:
                return
            (server if source is client else client).sendall(data)
