"""Databases for data frames."""

from __future__ import annotations

from pathlib import Path

import pytest

import sqltrack


@pytest.fixture
def sqlite_client(tmp_path: Path) -> sqltrack.Client:
    """Client of a SQLite database, for values that only SQLite stores."""
    return sqltrack.Client(engine="sqlite", dbpath=str(tmp_path / "odd.db"))
