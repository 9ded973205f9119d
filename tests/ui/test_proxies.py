"""The page works unchanged behind jupyter-server-proxy, with a prefix that the server does not know."""

from __future__ import annotations

import contextlib
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
from support.pages import ROOT, read_blocks
from support.processes import running
from support.ui_server import serving_here, wait_for

PAGE = ROOT / "docs" / "ui-server.md"
PREFIX = "/user/ann@example/"
PROGRAMS = Path(sys.executable).parent
JUPYTER_TOKEN = "jupyter"  # noqa: S105
PAGE_TOKEN = "token-of-the-page"  # noqa: S105

SETTINGS = """
c.ServerApp.base_url = {prefix!r}
c.ServerApp.port = {port}
c.ServerApp.port_retries = 0
c.ServerApp.open_browser = False
c.ServerApp.allow_root = True
c.IdentityProvider.token = {token!r}
"""


@pytest.fixture
def client(tmp_path: Path) -> sqltrack.Client:
    """Client of the configured database, a SQLite file with one run."""
    (tmp_path / "sqltrack.conf").write_text("engine = sqlite\n", encoding="utf-8")
    client = sqltrack.Client()
    set_up_quietly(client)
    sqltrack.Experiment(client, name="a").get_run().add_metrics({"loss": 1.0}, step=1)
    return client


@pytest.fixture
def jupyter(tmp_path: Path, client: sqltrack.Client) -> Iterator[httpx.Client]:
    """A browser session in a Jupyter server with jupyter-server-proxy, configured as docs/ui-server.md says."""
    token = tmp_path / ".sqltrack-token"
    token.write_text(PAGE_TOKEN, encoding="utf-8")
    token.chmod(0o600)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (documented,) = [block.code for block in read_blocks(PAGE, "python") if "ServerProxy" in block.code]
    config = tmp_path / "jupyter_server_config.py"
    settings = SETTINGS.format(prefix=PREFIX, port=port, token=JUPYTER_TOKEN)
    config.write_text(settings + documented, encoding="utf-8")
    log = tmp_path / "jupyter.log"
    command = [sys.executable, "-m", "jupyter_server", f"--config={config}"]
    environment = {**os.environ, "JUPYTER_PLATFORM_DIRS": "1", "JUPYTER_CONFIG_DIR": str(tmp_path)}
    environment["PATH"] = os.pathsep.join([str(PROGRAMS), environment["PATH"]])
    with open(log, "wb") as output, running(command, stdout=output, stderr=output, env=environment) as process:
        wait_for(lambda: _answers(port))
        with httpx.Client(base_url=f"http://127.0.0.1:{port}{PREFIX}", trust_env=False, timeout=20) as session:
            assert session.get(f"api/status?token={JUPYTER_TOKEN}").status_code == 200, log.read_text()
            yield session
        # It ends the servers that it has started.
        process.terminate()
        process.wait(20)


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    time.sleep(0.1)
    return False


def test_the_page_works_behind_jupyter_server_proxy(client: sqltrack.Client, jupyter: httpx.Client) -> None:
    with serving_here(client) as server:
        root = str(jupyter.base_url.join(f"proxy/{server.port}/"))
        assert jupyter.get(root).status_code in (401, 403)
        _check_page(jupyter, root, server.token)
    # From the launcher, over a Unix socket.
    _check_page(jupyter, str(jupyter.base_url.join("sqltrack/")), PAGE_TOKEN)


def _check_page(jupyter: httpx.Client, root: str, token: str) -> None:
    """Check that everything works below an address."""
    first = jupyter.get(f"{root}?token={token}")
    assert first.status_code == 303
    assert urljoin(str(first.url), first.headers["location"]) == root
    for path in ("", "curves", "run/1"):
        page = jupyter.get(root + path)
        assert page.status_code == 200
        (base,) = re.findall(r'<base href="([^"]+)">', page.text)
        at = urljoin(str(page.url), base)
        assert at == root
    # The files of the page are named relative to its base.
    for name in re.findall(r'(?:src|href)="(static/[^"]+)"', page.text):
        assert jupyter.get(urljoin(at, name)).status_code == 200
    assert jupyter.get(f"{root}api/runs").json()["total"] == 1
    origin = "{0.scheme}://{0.netloc}".format(urlsplit(root))
    saved = jupyter.post(f"{root}api/states", json={"a": 1}, headers={"X-SQLTrack": "1", "Origin": origin})
    assert saved.status_code == 200
    assert jupyter.get(f"{root}api/states?id={saved.json()['id']}").json() == {"state": {"a": 1}}
    headers = {"X-SQLTrack": "1", "Origin": "http://evil.example"}
    # Several times: the proxy must not find the connection closed while it still writes.
    refused = {jupyter.post(f"{root}api/states", json={}, headers=headers).status_code for _ in range(10)}
    assert refused <= {403, 404}
