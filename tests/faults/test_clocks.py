"""Clocks that are set forward and back while a run is tracked."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

import sqltrack
from support.databases import statuses, steps
from support.processes import Script

pytestmark = pytest.mark.faults

# All code that reads the time of day gets it with the current shift; code that measures durations must not read it.
JUMPING_CLOCK = """
import datetime as datetime_module
import sqltrack._times

shift = datetime_module.timedelta()
real_time, real_now = time.time, datetime_module.datetime.now

class Jumping(datetime_module.datetime):
    @classmethod
    def now(cls, tz=None):
        return real_now(tz) + shift

time.time = lambda: real_time() + shift.total_seconds()
time.time_ns = lambda: int(time.time() * 1e9)
sqltrack._times.datetime = Jumping

run = Experiment(client, name="experiment").get_run()
reader = Client(config)
step, slowest, jumps = 0, 0.0, []
with run.track():
    for hours in HOURS:
        shift = datetime_module.timedelta(hours=hours)
        # Longer than time_updated may lag, and than an idle connection is kept.
        for pause in (0.01, 0.01, 0.6, 0.01, 0.7):
            start = time.monotonic()
            run.add_metrics({"loss": 1.0}, step=step)
            slowest = max(slowest, time.monotonic() - start)
            step += 1
            time.sleep(pause)
        run.add_metrics({"loss": 1.0}, step=step)
        step += 1
        updated = reader.execute("SELECT time_updated FROM runs").fetchone()[0]
        jumps.append([updated.isoformat(), Jumping.now(datetime_module.timezone.utc).isoformat()])
confirm(json.dumps({"confirmed": step, "slowest": slowest, "jumps": jumps}))
"""

HOURS = (0, 72, -72, 0, -0.5, 24 * 365, 0)


def test_a_clock_that_jumps_stalls_nothing(config: dict[str, Any], record: Callable[..., None]) -> None:
    """`time_updated` lags by at most a second plus the time that has passed, whatever the clock shows."""
    with Script(JUMPING_CLOCK.replace("HOURS", repr(HOURS)), {**config, "keepalive": 0.3}) as script:
        found = json.loads(script.succeed()[-1])
    missing = set(range(found["confirmed"])) - set(steps(config))
    confirmed, slowest = found["confirmed"], found["slowest"]
    record(faults=len(HOURS), confirmed=confirmed, missing=len(missing), errors=0, slowest=slowest)
    assert not missing
    for updated, now in found["jumps"]:
        # Minutes for a busy machine; the smallest jump is half an hour.
        lag = datetime.fromisoformat(now) - datetime.fromisoformat(updated)
        assert timedelta(0) <= lag < timedelta(minutes=5)
    assert statuses(config) == ["COMPLETED"]
    started, ended = sqltrack.Client(config).execute("SELECT time_started, time_updated FROM runs").fetchone()
    assert timedelta(0) < ended - started < timedelta(minutes=10)
