"""Run the page's server until it is interrupted."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from sqltrack.client import Client
from sqltrack.ui._app import Application, build_app
from sqltrack.ui._browser import open_in_browser
from sqltrack.ui._listening import listen_on_path, listen_on_port
from sqltrack.ui._security import Access

__all__ = ["Server", "run_server"]

# Port in the printed address of a socket. The user chooses it when forwarding the socket.
_FORWARDED_PORT = 8080
# Seconds to wait for statements to be cancelled at the end.
_CLOSING = 1.0
# Connections at the same time; more are told to come back later.
_CONNECTIONS = 200
# End at once after each of these. Batch systems send the second, and a lost terminal the third.
_ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name))


def run_server(
    client: Client,
    *,
    port: int,
    host: str,
    socket_path: str | os.PathLike[str] | None,
    edit: bool,
    open_browser: bool,
    token: str | None,
    announce: Callable[[str], object],
) -> None:
    """Serve the page until a signal ends it; see `sqltrack.ui.serve` for the arguments and errors."""
    with contextlib.ExitStack() as stack:
        if socket_path is None:
            listener = stack.enter_context(listen_on_port(host, port))
            name = str(listener.getsockname()[1])
            place = f"http://{_name_for_users(host)}:{name}"
        else:
            path = os.path.abspath(socket_path)
            listener = stack.enter_context(listen_on_path(path))
            name = hashlib.sha256(path.encode("utf-8", "surrogateescape")).hexdigest()[:8]
            place = f"http://localhost:{_FORWARDED_PORT}"
        access = Access(name, token=token, hosts=[host], edit=edit)
        address = f"{place}/?token={access.token}"

        def begin() -> None:
            announce(address)
            if open_browser:
                stack.enter_context(open_in_browser(address))

        application = build_app(client, access)
        try:
            Server(application.app, begin).run([listener])
        finally:
            _close(application)


def _close(application: Application) -> None:
    """Cancel statements and close connections, without waiting for a server that does not answer."""
    thread = threading.Thread(target=application.close, name="sqltrack-ui-close", daemon=True)
    thread.start()
    thread.join(_CLOSING)


class Server(uvicorn.Server):
    """A server that ends at once, and leaves the signals of the process as they were.

    Args:
        app: the application.
        begin: called once when the server listens.
    """

    def __init__(self, app: ASGIApp, begin: Callable[[], object]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                loop="asyncio",
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="warning",
                access_log=False,
                proxy_headers=False,
                server_header=False,
                limit_concurrency=_CONNECTIONS,
            )
        )
        self._begin = begin

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until the end. Requests that are cancelled then are not reported as errors."""
        logger = logging.getLogger("uvicorn.error")

        def is_of_interest(record: logging.LogRecord) -> bool:
            return not self.should_exit

        logger.addFilter(is_of_interest)
        try:
            super().run(sockets)
        finally:
            logger.removeFilter(is_of_interest)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._begin()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals during the block. Unlike uvicorn's, it does not raise them again at the end."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        # A program started with `nohup`, or in the background, keeps ignoring what it was told to ignore.
        numbers = [number for number in _ENDING if signal.getsignal(number) is not signal.SIG_IGN]
        previous: dict[int, Any] = {number: signal.signal(number, self.handle_exit) for number in numbers}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End without waiting for requests."""
        self.should_exit = True
        self.force_exit = True


def _name_for_users(host: str) -> str:
    """Return the name of this machine in an address."""
    if host in ("0.0.0.0", "::"):  # noqa: S104 - only compared
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host
