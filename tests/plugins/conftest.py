"""Shared by the tests of the plugins."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _ask_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the variables that configure the session, so that each test sets its own."""
    for name in ("DSN", "POSTGRES", "POSTGRES_BIN", "CACHE"):
        monkeypatch.delenv(f"SQLTRACK_TEST_{name}", raising=False)
