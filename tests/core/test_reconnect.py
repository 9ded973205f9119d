"""A database that is away is waited for once: not by each part of a call, nor by each call."""

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

pytestmark = [pytest.mark.no_outbox, pytest.mark.not_pooled("it ends the server's sessions, which a pooler replaces")]

_RECONNECT = 1.0

# Seconds after which an end counts as waiting for `reconnect` seconds; it may wait for one second.
_BOUND = 15.0


class Outage:
    """A database that refuses a client's new connections, while its kept ones are closed.

    Attributes:
        attempts: the times (monotonic) of the client's failed attempts to connect.
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
    """A clearer error is not worth another wait."""
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


def test_later_calls_do_not_wait_again(tracked: Run, outage: Outage) -> None:
    """A script that catches the error and continues must not spend its time on a database that is away."""
    outage.begin()
    with pytest.raises(DatabaseUnavailableError):
        tracked.add_metrics({"loss": 1.0}, step=1)
    begin = len(outage.attempts)
    for step in range(2, 5):
        with pytest.raises(DatabaseUnavailableError):
            tracked.add_metrics({"loss": 1.0}, step=step)
    # One attempt for each, so that they notice when the database is back.
    assert len(outage.attempts) - begin == 3
    outage.end()
    tracked.add_metrics({"loss": 1.0}, step=5)
    assert steps(tracked.client.config) == [0, 5]
    tracked.stop()


def test_a_second_outage_is_waited_for_like_the_first(tracked: Run, outage: Outage) -> None:
    for step in (1, 2):
        outage.begin()
        with pytest.raises(DatabaseUnavailableError):
            tracked.add_metrics({"loss": 1.0}, step=step)
        assert outage.attempts[-1] - outage.attempts[0] > 0.4 * _RECONNECT
        outage.end()
        tracked.add_metrics({"loss": 1.0}, step=step)
        outage.attempts.clear()
    assert steps(tracked.client.config) == [0, 1, 2]
    tracked.stop()


def test_a_training_that_succeeded_ends_without_its_database(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The error is only logged: an exception would tell the batch system that the training has failed."""
    monkeypatch.setattr("sqltrack.run._PATIENCE_AT_END", 1.0)
    client = sqltrack.Client(config, keepalive=0.05, reconnect=20)
    outage = Outage(client, config, monkeypatch)
    with Experiment(client, name="experiment").get_run().track():
        outage.begin()
        begin = time.monotonic()
    assert time.monotonic() - begin < _BOUND
    assert "ended as COMPLETED, which could not be stored" in caplog.text


def test_the_end_of_a_run_does_not_wait_again(tracked: Run, outage: Outage) -> None:
    """Its calls have already waited for the database."""
    outage.begin()
    with pytest.raises(DatabaseUnavailableError):
        tracked.add_metrics({"loss": 1.0}, step=1)
    begin = len(outage.attempts)
    with pytest.raises(DatabaseUnavailableError):
        tracked.stop()
    assert len(outage.attempts) - begin == 1
