"""200 processes that are killed at any moment of an outage, and the senders of their outboxes."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from support.outbox_kills import count_missing, kill_in_outage, send_all

pytestmark = pytest.mark.faults

_KILLS = 200


@pytest.mark.parametrize("is_sent_each_time", [True, False], ids=["sent each time", "sent at the end"])
def test_processes_killed_in_outages_lose_no_confirmed_row(
    config: dict[str, Any],
    tmp_path: Path,
    record: Callable[..., None],
    rng: random.Random,
    is_sent_each_time: bool,
) -> None:
    """Their outboxes are sent by the next process, which has an outage as well, or by another one at the end."""
    folder = tmp_path / "outbox"
    killed = []
    slowest = 0.0
    for number in range(_KILLS // 2):
        killed.append(kill_in_outage(config, folder, rng, returns=number % 2 == 1))
        if is_sent_each_time:
            begin = time.monotonic()
            send_all(config, folder)
            slowest = max(slowest, time.monotonic() - begin)
            assert count_missing(config, killed[-1]) == 0
    send_all(config, folder)
    missing = sum(count_missing(config, confirmed) for confirmed in killed)
    record(faults=len(killed), confirmed=sum(confirmed.rows for confirmed in killed), missing=missing, slowest=slowest)
    assert missing == 0
    client = sqltrack.Client(config)
    assert client.execute("SELECT count(*) FROM runs").fetchone() == (len(killed),)
