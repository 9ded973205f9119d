"""Servers of the page: the application in this process, and the program; and requests to them as browsers send them."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, quote, urlsplit

import sqltrack
from sqltrack.ui._app import build_app
from sqltrack.ui._security import Access
from sqltrack.ui._server import Server
from support.processes import running

__all__ = ["PROGRAM", "TOKEN", "Answer", "PageServer", "serving", "serving_here", "talk", "wait_for"]

PROGRAM = Path(sys.executable).with_name("sqltrack")
TOKEN = "a-token-of-the-tests"  # noqa: S105
_PATIENCE = 30.0


class Answer(NamedTuple):
    """An answer of the server; `headers` has names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class PageServer:
    """A running server.

    Args:
        address: the address with the token, as it was printed.
        connect: opens a connection, default: to host and port of the address.
    """

    def __init__(self, address: str, connect: Callable[[], socket.socket] | None = None) -> None:
        parts = urlsplit(address)
        self.address = address
        self.host, self.port = parts.hostname or "", parts.port or 0
        (self.token,) = parse_qs(parts.query)["token"]
        self._connect = connect or (lambda: socket.create_connection((self.host, self.port), _PATIENCE))
        self._cookie = ""

    @property
    def cookie(self) -> str:
        """The cookie that the server gives for the token."""
        if not self._cookie:
            answer = self.request("GET", f"/?token={self.token}", cookie=None)
            self._cookie = answer.headers["set-cookie"].partition(";")[0]
        return self._cookie

    def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        cookie: str | None = "valid",
    ) -> Answer:
        """Send a request, and return the answer.

        Args:
            method: method of HTTP.
            path: path and query, sent as it is.
            headers: headers, which replace Host.
            body: bytes, or an object that is sent as JSON.
            cookie: the text of the cookie, "valid" (default) for that of the server, None for none.
        """
        sent = {"Host": f"{self.host}:{self.port}", **(headers or {})}
        if cookie is not None:
            sent["Cookie"] = self.cookie if cookie == "valid" else cookie
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection = http.client.HTTPConnection("unused", timeout=_PATIENCE)
        with contextlib.closing(connection):
            connection.sock = self._connect()
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in sent.items():
                connection.putheader(name, value)
            if content is not None:
                connection.putheader("Content-Length", str(len(content)))
            connection.endheaders(content)
            response = connection.getresponse()
            named = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, named, response.read())

    def ask(self, name: str, spec: Mapping[str, Any] | None = None) -> Answer:
        """Send a call of the page, and return the answer."""
        return self.request("GET", f"/api/{name}?spec={quote(json.dumps(spec or {}))}")

    def post(self, path: str, body: Any) -> Answer:
        """Send a request to write, with the headers that the page sends."""
        return self.request("POST", path, body=body, headers={"X-SQLTrack": "1"})


def talk(server: PageServer, data: bytes) -> bytes:
    """Send bytes over a connection of their own, and return all that the server sends until it closes."""
    with socket.create_connection((server.host, server.port), _PATIENCE) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(data)
        parts = bytearray()
        with contextlib.suppress(ConnectionResetError):
            while part := connection.recv(65_536):
                parts += part
        return bytes(parts)


@contextlib.contextmanager
def serving_here(client: sqltrack.Client, *, edit: bool = False) -> Iterator[PageServer]:
    """Run the application in a thread of this process."""
    listener = socket.create_server(("127.0.0.1", 0))
    application = build_app(client, Access("app", token=TOKEN, edit=edit))
    server = Server(application.app, lambda: None)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield PageServer(f"http://127.0.0.1:{listener.getsockname()[1]}/?token={TOKEN}")
    finally:
        server.should_exit = server.force_exit = True
        thread.join(_PATIENCE)
        application.close()
        assert not thread.is_alive()


@contextlib.contextmanager
def serving(options: list[str], *arguments: str, **process: Any) -> Iterator[tuple[PageServer, subprocess.Popen[Any]]]:
    """Run the program `sqltrack ui` with the options of a database, and yield the server and its process."""
    command = [str(PROGRAM), *options, "ui", "--no-open", *arguments]
    with running(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **process) as started:
        assert started.stdout is not None
        assert started.stderr is not None
        line = started.stdout.readline()
        if not line.startswith("http"):
            raise AssertionError(f"expected an address, got {line!r}: {started.stderr.read()}")
        yield PageServer(line.strip()), started


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)
