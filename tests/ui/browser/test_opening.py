"""A real browser reaches the page: by the private file, by links of other sites, and through proxies and sockets."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest

from sqltrack.ui._browser import open_in_browser

from .conftest import Demo, OpenPage

Serve = Callable[..., AbstractContextManager[str]]

# Refused requests are errors in the console.
REFUSED = "Failed to load resource: the server responded with a status of 401 (Unauthorized)"


def shows_runs(page: Any) -> bool:
    """Wait until the page shows runs, and return whether its address has lost the token."""
    page.locator(".ag-row").first.wait_for()
    return "token" not in page.url


@pytest.mark.page
def test_the_private_file_leads_to_the_page(
    open_browser: OpenPage, demo_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is another site than the server, so a browser keeps the strict cookie back at first."""
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    problems: list[str] = []
    with (
        open_in_browser(demo_address),
        open_browser(urljoin(demo_address, "/"), problems=problems) as page,
    ):
        assert page.get_by_text("which contains the token").is_visible()
        page.goto(opened[0])
        assert shows_runs(page)
    assert problems == [REFUSED]


@pytest.mark.page
def test_a_link_on_another_site_leads_to_the_page(open_browser: OpenPage, demo_address: str, tmp_path: Path) -> None:
    other = tmp_path / "notes.html"
    other.write_text(f'<a href="{urljoin(demo_address, "run/1")}">run 1</a>', encoding="utf-8")
    problems: list[str] = []
    with open_browser(demo_address, problems=problems) as page:
        assert shows_runs(page)
        page.goto(other.as_uri())
        page.get_by_text("run 1").click()
        page.wait_for_url("**/run/1")
        page.get_by_role("heading").first.wait_for()
        page.get_by_text("contains the token").wait_for(state="detached")
    # The first request came without the cookie.
    assert problems in ([], [REFUSED])


@pytest.mark.page
def test_a_page_says_that_the_server_knows_it_no_more(open_browser: OpenPage, demo_address: str) -> None:
    """A server that was started again on the same port has a new token."""
    problems: list[str] = []
    with open_browser(demo_address, problems=problems) as page:
        assert shows_runs(page)
        page.context.clear_cookies()
        page.get_by_text("does not know this browser").wait_for()
        page.locator(".dot.unknown").wait_for()
        assert page.locator(".ag-row").count()
    assert set(problems) == {REFUSED}


@pytest.mark.page
def test_a_forwarded_socket_shows_the_page(open_browser: OpenPage, serve: Serve, demo: Demo, tmp_path: Path) -> None:
    path = tmp_path / "page.sock"
    with (
        serve(demo.path, "--socket", str(path)) as address,
        forwarded(path) as port,
        open_browser(address.replace(":8080", f":{port}")) as page,
    ):
        assert shows_runs(page)


@contextlib.contextmanager
def forwarded(path: Path) -> Iterator[int]:
    """Forward a port to a Unix socket, as `ssh -L` does, and yield the port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def forward(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def connect(client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server:
            server.connect(str(path))
            back = threading.Thread(target=forward, args=(server, client), daemon=True)
            back.start()
            forward(client, server)
            back.join()

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=connect, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
