"""Keep account of the connections that clients open."""

from __future__ import annotations

from typing import Any

import pytest

import sqltrack

__all__ = ["record_connections"]


def record_connections(client: sqltrack.Client, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return a list that all connections opened by the client from now on are added to."""
    opened: list[Any] = []
    connect = client.engine.connect

    def recording() -> Any:
        opened.append(connect())
        return opened[-1]

    monkeypatch.setattr(client.engine, "connect", recording)
    return opened
