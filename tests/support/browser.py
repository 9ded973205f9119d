"""A real browser for tests of HTML, without a network, or with that of one local server."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urljoin

import pytest

__all__ = ["find_browser", "running_browser", "sort_by"]

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# Milliseconds. Several browsers may share two cores.
TIMEOUT = 30_000
LOCAL = ("file:", "data:", "blob:", "about:")


def find_browser() -> str:
    """Return the program named by SQLTRACK_TEST_BROWSER, or the first browser on PATH.

    Without a browser the test is skipped, or fails if CI is set.
    """
    named = os.environ.get("SQLTRACK_TEST_BROWSER")
    found = shutil.which(named) if named else next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        _give_up(f"no browser: {named or ', '.join(BROWSERS)} not found; SQLTRACK_TEST_BROWSER may name one")
    return found


def _give_up(reason: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@contextlib.contextmanager
def running_browser() -> Iterator[Callable[..., AbstractContextManager[Any]]]:
    """Start a browser and yield a function that opens pages in it.

    The function is a context manager and yields a playwright page. It takes the path of an HTML file, or the address of
    a page of a local server, and the options `dark` (the color scheme), `width` and `height` of the window, and
    `problems`, a list that collects the errors of the page. Without a list the test fails at the end for each console
    error, uncaught exception and request to the network. All requests to other servers are refused.
    """
    program = find_browser()
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _give_up("no playwright; install it with: pip install playwright")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)

        @contextlib.contextmanager
        def open_page(
            place: Path | str,
            *,
            dark: bool = False,
            width: int = 1280,
            height: int = 800,
            problems: list[str] | None = None,
        ) -> Iterator[Any]:
            noted: list[str] = [] if problems is None else problems
            address = place if isinstance(place, str) else place.resolve().as_uri()
            context = browser.new_context(
                color_scheme="dark" if dark else "light",
                viewport={"width": width, "height": height},
                offline=not isinstance(place, str),
            )
            allowed = (*LOCAL, urljoin(address, "/")) if isinstance(place, str) else LOCAL
            context.route("**/*", lambda route: _only(allowed, route, noted))
            page = context.new_page()
            page.set_default_timeout(TIMEOUT)
            page.on("console", lambda message: noted.append(message.text) if message.type == "error" else None)
            page.on("pageerror", lambda error: noted.append(str(error)))
            try:
                page.goto(address)
                yield page
            finally:
                context.close()
            if problems is None:
                assert not noted, noted

        try:
            yield open_page
        finally:
            browser.close()


def _only(allowed: tuple[str, ...], route: Any, noted: list[str]) -> None:
    url = route.request.url
    if url.startswith(allowed):
        route.continue_()
    else:
        noted.append(f"request to {url}")
        route.abort()


def sort_by(header: Any, direction: str = "ascending") -> None:
    """Click on the arrows of a column's header, and wait for the table, which is sorted after the click."""
    header.locator(".dt-column-order").click()
    header.and_(header.page.locator(f"[aria-sort={direction}]")).wait_for()
