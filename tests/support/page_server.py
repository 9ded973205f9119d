"""The server of the page, as users start it, for tests."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from support.processes import running

__all__ = ["base_of", "serving"]


@contextlib.contextmanager
def serving(database: str | Path, state_folder: Path, *options: str, port: int = 0) -> Iterator[str]:
    """Run `sqltrack ui` on an SQLite database, and yield the address that it prints.

    Args:
        database: path of the database.
        state_folder: folder for saved views.
        options: further options of the command.
        port: port to listen on, default: a free one.
    """
    arguments = ["--dbpath", str(database), "ui", "--no-open", "--port", str(port), *options]
    code = f"import sys; from sqltrack.cli import main; sys.exit(main({arguments!r}))"
    environment: Mapping[str, Any] = {**os.environ, "XDG_STATE_HOME": str(state_folder)}
    command = [sys.executable, "-c", code]
    with running(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address.startswith("http://"), f"the server printed {address!r}"
        yield address


def base_of(address: str) -> str:
    """Return an address without the token."""
    scheme, place, path, _, _ = urlsplit(address)
    return urlunsplit((scheme, place, path, "", ""))
