"""A database of made-up runs, the real server, and pages of it in a real browser."""

from __future__ import annotations

import contextlib
import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urljoin

import pytest

import sqltrack
from sqltrack.commands import setup
from support.browser import running_browser
from support.processes import running

EXAMPLES = Path(__file__).parents[3] / "examples"
PROGRAM = Path(sys.executable).with_name("sqltrack")
OpenPage = Callable[..., AbstractContextManager[Any]]


class Demo(NamedTuple):
    """A database of made-up runs.

    Attributes:
        path: its file.
        client: a client of it.
        runs: ids of the runs, which count from 1.
    """

    path: Path
    client: sqltrack.Client
    runs: list[int]


@pytest.fixture(scope="session")
def fill_database() -> Callable[..., Demo]:
    """A function that fills a new SQLite database with made-up runs: 120, or as many as asked for."""

    def fill(path: Path, runs: int = 120, epochs: int = 40) -> Demo:
        client = sqltrack.Client({"engine": "sqlite", "dbpath": str(path), "outbox": "off", "capture": "off"})
        setup(client)
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(EXAMPLES)
            generate = importlib.import_module("generate_experiment_data").generate
        return Demo(path, client, generate(client, runs=runs, epochs=epochs, first_id=1) if runs else [])

    return fill


@pytest.fixture(scope="session")
def demo(fill_database: Callable[..., Demo], tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """A database that tests only read."""
    return fill_database(tmp_path_factory.mktemp("demo") / "demo.db")


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., AbstractContextManager[str]]:
    """A function that runs `sqltrack ui` on an SQLite file, with further options, and yields the printed address."""

    @contextlib.contextmanager
    def run_server(path: Path, *options: str) -> Iterator[str]:
        environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path_factory.mktemp("state"))}
        command = [PROGRAM, "--dbpath", path, "ui", "--no-open", *options]
        with running(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            assert address.startswith("http://"), f"expected an address, got {address!r}"
            yield address

    return run_server


@pytest.fixture(scope="session")
def demo_address(demo: Demo, serve: Callable[..., AbstractContextManager[str]]) -> Iterator[str]:
    """Address of a server of that database, with the token."""
    with serve(demo.path) as address:
        yield address


# Not for the session: playwright cannot run twice in a process, and other modules start it as well.
@pytest.fixture(scope="module")
def open_browser() -> Iterator[OpenPage]:
    """A function that opens pages in a browser, see `support.browser`."""
    with running_browser() as opener:
        yield opener


@pytest.fixture
def open_page(open_browser: OpenPage, demo_address: str) -> OpenPage:
    """A function that opens a view of the demo: `with open_page("curves?sel=1-3", width=390) as page:`.

    The test fails at the end for each console error, uncaught exception, or request to another server. The option
    `address` names another server.
    """

    @contextlib.contextmanager
    def open_view(path: str = "", *, address: str = demo_address, **options: Any) -> Iterator[Any]:
        with open_browser(address, **options) as page:
            if path:
                page.goto(urljoin(address, path))
            yield page

    return open_view
