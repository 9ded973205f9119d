"""Open the socket that a server listens on: a port of this machine, or a file of the user."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterator

from sqltrack.errors import ConfigError

__all__ = ["listen_on_path", "listen_on_port"]

_GREATEST_PORT = 65_535
# Seconds to wait for the answer of another server on a socket.
_ANSWER = 1.0


def listen_on_port(host: str, port: int) -> socket.socket:
    """Return a listening socket.

    Args:
        host: address or name of this machine.
        port: port, 0 for a free one.

    Raises:
        ConfigError: another program listens there, or the address is not of this machine.
    """
    if port > _GREATEST_PORT:
        raise ConfigError(f"port must be 0 to {_GREATEST_PORT}, got {port}")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        raise _explain(error, host, port) from error
    # Connections inherit it. Without it, each answer waits about 45 ms for the acknowledgment of its first part, and
    # asyncio sets it only for sockets that name their protocol.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _explain(error: OSError, host: str, port: int) -> ConfigError:
    if error.errno == errno.EADDRINUSE:
        return ConfigError(
            f"port {port} of {host} is in use, perhaps by another `sqltrack ui`",
            "choose another with --port, or leave it out to get a free one",
        )
    if error.errno == errno.EACCES:
        return ConfigError(f"this user may not listen on port {port}", "choose one above 1023 with --port")
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return ConfigError(
            f"{host!r} is not an address of this machine",
            "--host after `ui` is where the page listens; the database's --host and --port come before `ui`",
        )
    return ConfigError(f"cannot listen on {host!r}, port {port}: {error.strerror}")


@contextlib.contextmanager
def listen_on_path(path: str) -> Iterator[socket.socket]:
    """Return a listening Unix socket with mode 0600, and remove its file at the end.

    A file that a killed server has left is replaced.

    Args:
        path: path of the socket.

    Raises:
        ConfigError: another server listens there, the path names something else, or it cannot be created.
    """
    if not hasattr(socket, "AF_UNIX"):  # pragma: no cover - Windows
        raise ConfigError("this system has no Unix sockets", "use --port")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with listener:
        _remove_left_socket(path)
        # The mode must be right from the start.
        mask = os.umask(0o177)
        try:
            listener.bind(path)
        except OSError as error:
            raise ConfigError(f"cannot create the socket {path!r}: {error.strerror or error}") from error
        finally:
            os.umask(mask)
        created = os.lstat(path)
        listener.listen()
        try:
            yield listener
        finally:
            _remove_own_socket(path, created)


def _remove_left_socket(path: str) -> None:
    """Remove the socket of a server that was killed.

    Raises:
        ConfigError: its server is alive, or the path names something else.
    """
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigError(f"cannot create the socket {path!r}: {error.strerror}") from error
    if not stat.S_ISSOCK(status.st_mode):
        raise ConfigError(f"{path!r} exists, and is not a socket", "choose another path with --socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_ANSWER)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except OSError as error:
            raise ConfigError(f"cannot use the socket {path!r}: {error.strerror or error}") from error
    raise ConfigError(f"another server listens on {path!r}", "choose another path with --socket")


def _remove_own_socket(path: str, created: os.stat_result) -> None:
    """Remove a socket, unless another server has replaced it."""
    with contextlib.suppress(OSError):
        if os.path.samestat(os.lstat(path), created):
            os.unlink(path)
