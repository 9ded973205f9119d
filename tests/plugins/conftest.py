"""What the tests of the plugins have in common."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _ask_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away what the session is asked for, so that each test asks for its own."""
    for name in ("DSN", "POSTGRES", "POSTGRES_BIN", "CACHE"):
        monkeypatch.delenv(f"SQLTRACK_TEST_{name}", raising=False)
