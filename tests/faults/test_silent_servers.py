"""Servers that freeze, and networks that discard acknowledged data, at random moments."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import sqltrack
from plugins.postgres_server import PostgresServer
from sqltrack import Experiment, Run
from sqltrack.engines.postgres import PostgresEngine
from support.cut_proxy import CutProxy
from support.frozen import frozen_server
from support.logging_threads import LoggingThread, expect_nothing_missing

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(sys.platform != "linux", reason="it needs /proc to find the server's processes"),
]

_TIMES = 10


def quick_run(config: dict[str, Any], **settings: Any) -> Run:
    """A run whose client soon notices that its server is silent, and waits for long."""
    client = sqltrack.Client({**config, "connect_timeout": 2, "reconnect": 120, **settings})
    assert isinstance(client.engine, PostgresEngine)
    client.engine.answer_limit = 1.0
    client.engine.probe_interval = 0.3
    return Experiment(client, name="experiment").get_run()


@pytest.fixture
def proxy(own_server: PostgresServer) -> Iterator[CutProxy]:
    """A proxy to the server that can be cut."""
    with CutProxy(f"{own_server.socket_dir}/.s.PGSQL.{own_server.port}") as proxy:
        yield proxy


def test_a_server_that_freezes_again_and_again_costs_a_tracked_run_nothing(
    own_server: PostgresServer, own_config: dict[str, Any], record: Callable[..., None], rng: random.Random
) -> None:
    """Whether the silence is shorter or longer than the client's limit."""
    run = quick_run(own_config)
    with run.track(), LoggingThread(run) as thread:
        for _ in range(_TIMES):
            thread.wait_for_more(rng.randrange(1, 100))
            with frozen_server(own_server):
                time.sleep(rng.uniform(0.1, 6))
        thread.wait_for_more()
    expect_nothing_missing(own_config, run, thread, record, faults=_TIMES)


def test_connections_that_are_swallowed_again_and_again_cost_a_tracked_run_nothing(
    own_config: dict[str, Any], proxy: CutProxy, record: Callable[..., None], rng: random.Random
) -> None:
    """New connections work at once, as after a firewall has forgotten the open ones."""
    run = quick_run(own_config, host="127.0.0.1", port=proxy.port)
    with run.track(), LoggingThread(run) as thread:
        for _ in range(_TIMES):
            thread.wait_for_more(rng.randrange(1, 100))
            proxy.swallow(new=False)
        thread.wait_for_more()
    expect_nothing_missing(own_config, run, thread, record, faults=_TIMES)
