"""The commands on the page about the outbox print the output that it shows, without a server."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from support.pages import DOCS, read_blocks
from support.typed_pages import type_blocks

pytestmark = pytest.mark.guides


@pytest.mark.engines("postgres", reason="it needs a server that can be away")
def test_a_training_whose_server_is_away_ends_well(engine_name: str, tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        names = {"postgres.example.org": "127.0.0.1", "5432": str(closed.getsockname()[1])}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        blocks = read_blocks(DOCS / "outbox.md")
        assert type_blocks(blocks, engine_name, names=names, HOME=str(tmp_path), PATH=path, COLUMNS="200") == ""
