"""Shared by the tests of core: a SQLite database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack.commands import setup


@pytest.fixture
def sqlite_config(tmp_path: Path, outbox_off: dict[str, str]) -> dict[str, Any]:
    """Configuration for a SQLite database after setup."""
    config = {"engine": "sqlite", "dbpath": str(tmp_path / "sqltrack.db"), **outbox_off}
    setup(sqltrack.Client(config))
    return config
