"""A database that went away is waited for once: not by each part of a call, nor by each call."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

import sqltrack
from sqltrack import Experiment, Run
from sqltrack.errors import DatabaseUnavailableError
from support.connections import count_connections
from support.databases import steps
from support.logging_threads import wait_until

_RECONNECT = 1.0


class Outage:
    """A database that cannot be reached by new connections of a client, while its kept ones are closed.

    Attributes:
        attempts: the times (monotonic) at which the client has tried to connect in vain.
    """

    def __init__(self, client: sqltrack.Client, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
        self.attempts: list[float] = []
        self._config = config
        self._client = client
        self._connect = client.engine.connect
        self._monkeypatch = monkeypatch

    def begin(self) -> None:
        wait_until(lambda: count_connections(self._config) == 0)
        self._monkeypatch.setattr(self._client.engine, "connect", self._refuse)

    def end(self) -> None:
        self._monkeypatch.setattr(self._client.engine, "connect", self._connect)

    def _refuse(self) -> Any:
        self.attempts.append(time.monotonic())
        raise DatabaseUnavailableError("the database cannot be reached")


@pytest.fixture
def tracked(config: dict[str, Any]) -> Run:
    run = Experiment(sqltrack.Client(config, keepalive=0.05, reconnect=_RECONNECT), name="experiment").get_run()
    run.start().add_metrics({"loss": 1.0}, step=0)
    return run


@pytest.fixture
def outage(tracked: Run, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Outage:
    return Outage(tracked.client, config, monkeypatch)


_CALLS: dict[str, Callable[[Run], object]] = {
    "add_metrics": lambda run: run.add_metrics({"loss": 1.0}, step=1),
    "a new metric": lambda run: run.add_metrics({"new": 1.0}, step=1),
    "add_metrics_many": lambda run: run.add_metrics_many([{"loss": 1.0, "step": 1}]),
    "set_status": lambda run: run.set_status("TESTING"),
    "execute": lambda run: run.client.execute("SELECT 1"),
}


@pytest.mark.parametrize("call", _CALLS.values(), ids=_CALLS)
def test_a_call_waits_once_for_a_database_that_went_away(
    tracked: Run, outage: Outage, call: Callable[[Run], object]
) -> None:
    """What would make its error clearer is not worth another wait."""
    outage.begin()
    with pytest.raises(DatabaseUnavailableError):
        call(tracked)
    # The last pause may end a moment later.
    assert outage.attempts[-1] - outage.attempts[0] < 1.7 * _RECONNECT
    outage.end()
    tracked.stop()


def test_a_missing_run_is_still_recognised(client: sqltrack.Client) -> None:
    run = Experiment(client, name="experiment").get_run()
    client.execute("DELETE FROM runs")
    with pytest.raises(ValueError, match="there is no run"):
        run.add_metrics({"loss": 1.0})
    with pytest.raises(ValueError, match="there is no run"):
        run.add_metrics_many([{"loss": 1.0, "step": 1}])
    assert steps(client.config) == []
