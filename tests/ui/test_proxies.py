"""The page works unchanged behind jupyter-server-proxy, with a prefix that the server does not know."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import httpx
import pytest

import sqltrack
from sqltrack.commands.setup import set_up_quietly
from support.processes import running
from support.ui_server import PageServer, serving_here, wait_for

PREFIX = "/user/ann@example/"

# The entry for the launcher of JupyterLab, as in docs/ui-server.md.
SETTINGS = {
    "ServerApp": {"base_url": PREFIX, "port": 0, "port_retries": 0, "open_browser": False, "allow_root": True},
    "IdentityProvider": {"token": "jupyter"},
}


@pytest.fixture
def page_server(tmp_path: Path) -> Iterator[PageServer]:
    client = sqltrack.Client({"engine": "sqlite", "dbpath": str(tmp_path / "sqltrack.db")})
    set_up_quietly(client)
    sqltrack.Experiment(client, name="a").get_run().add_metrics({"loss": 1.0}, step=1)
    with serving_here(client) as server:
        yield server


@pytest.fixture
def jupyter(tmp_path: Path) -> Iterator[httpx.Client]:
    """A browser session in a Jupyter server with jupyter-server-proxy."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    SETTINGS["ServerApp"]["port"] = port
    config = tmp_path / "jupyter_server_config.json"
    config.write_text(json.dumps(SETTINGS), encoding="utf-8")
    log = tmp_path / "jupyter.log"
    # Only the extension under test.
    command = [sys.executable, "-m", "jupyter_server", f"--config={config}"]
    environment = {**os.environ, "JUPYTER_PLATFORM_DIRS": "1", "JUPYTER_CONFIG_DIR": str(tmp_path)}
    with open(log, "wb") as output, running(command, stdout=output, stderr=output, env=environment):
        address = f"http://127.0.0.1:{port}{PREFIX}"
        wait_for(lambda: _answers(port))
        with httpx.Client(base_url=address, trust_env=False, timeout=20) as session:
            assert session.get("api/status?token=jupyter").status_code == 200, log.read_text()
            yield session


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    time.sleep(0.1)
    return False


def test_the_page_works_behind_jupyter_server_proxy(page_server: PageServer, jupyter: httpx.Client) -> None:
    root = str(jupyter.base_url.join(f"proxy/{page_server.port}/"))
    assert jupyter.get(root).status_code in (401, 403)
    first = jupyter.get(f"{root}?token={page_server.token}")
    assert first.status_code == 303
    assert urljoin(str(first.url), first.headers["location"]) == root
    for path in ("", "curves", "run/1"):
        page = jupyter.get(root + path)
        assert page.status_code == 200
        (base,) = re.findall(r'<base href="([^"]+)">', page.text)
        at = urljoin(str(page.url), base)
        assert at == root
        # What the page loads, relative to its base.
        for name in re.findall(r'(?:src|href)="(static/[^"]+)"', page.text):
            assert jupyter.get(urljoin(at, name)).status_code == 200
    assert jupyter.get(f"{root}api/runs").json()["total"] == 1
    origin = "{0.scheme}://{0.netloc}".format(urlsplit(root))
    saved = jupyter.post(f"{root}api/states", json={"a": 1}, headers={"X-SQLTrack": "1", "Origin": origin})
    assert saved.status_code == 200
    assert jupyter.get(f"{root}api/states?id={saved.json()['id']}").json() == {"state": {"a": 1}}
    foreign = jupyter.post(f"{root}api/states", json={}, headers={"X-SQLTrack": "1", "Origin": "http://evil.example"})
    assert foreign.status_code in (403, 404)
