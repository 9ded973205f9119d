"""Fixtures of the tests of core: a SQLite database, and a server that wants passwords."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import sqltrack
from sqltrack.commands import setup

if TYPE_CHECKING:
    from plugins.secure_server import SecureServer


@pytest.fixture
def sqlite_config(tmp_path: Path) -> dict[str, Any]:
    """Configuration for a SQLite database that is set up."""
    config = {"engine": "sqlite", "dbpath": str(tmp_path / "sqltrack.db")}
    setup(sqltrack.Client(config))
    return config


@pytest.fixture(scope="module")
def secure(server_binaries: Path) -> Iterator[SecureServer]:
    """A server that wants passwords, by SCRAM, and has a certificate."""
    # Not above: some of the tests run where its packages are not installed.
    from plugins.secure_server import secure_server

    with secure_server(server_binaries) as server:
        yield server
