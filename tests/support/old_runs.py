"""Runs whose last update was long ago."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import sqltrack

__all__ = ["DAY", "LONG_AGO", "NOW", "Start", "state"]

NOW = datetime.now(timezone.utc).replace(microsecond=0)
LONG_AGO = NOW - timedelta(days=30)
DAY = timedelta(days=1)
Start = Callable[..., sqltrack.Run]


def state(client: sqltrack.Client, run: sqltrack.Run) -> tuple[str, datetime]:
    row: tuple[str, datetime] = client.execute(
        "SELECT status, time_updated FROM runs WHERE id = %s", (run.id,)
    ).fetchone()
    return row
