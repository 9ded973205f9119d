"""Long outages of real servers and files, in which a run with an outbox loses neither time nor values."""

from __future__ import annotations

import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack.commands import setup
from sqltrack.outbox import find_outboxes, send_outboxes
from support.frozen import frozen_server
from support.outages import (
    OUTAGES,
    OutageServer,
    TrainingLoop,
    expect_all_rows,
    full_disk,
    locked_file,
    outage_server,
    outbox_files,
    outbox_settings,
)
from support.processes import Script
from support.small_file_systems import mounted

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux can freeze servers and silence networks"),
]

# Seconds of an outage; a stopped server stays away for longer.
_SECONDS = 60.0
_STOPPED = 120.0

# Number of calls of an outage that may take longer.
_SHARE = 0.99
# Seconds of a call that does not wait for the outage.
_FAST = 0.05

_TIMES = 20


@pytest.fixture(scope="module")
def small_server(server_binaries: Path) -> Iterator[OutageServer]:
    with outage_server(server_binaries) as server:
        yield server


@pytest.fixture
def server(small_server: OutageServer) -> OutageServer:
    """A server with an empty database."""
    small_server.fresh_database()
    return small_server


@pytest.mark.parametrize("outage", OUTAGES)
def test_a_long_outage_costs_one_call_its_patience_and_no_value(
    server: OutageServer, tmp_path: Path, outage: str, record: Callable[..., None]
) -> None:
    config = server.config(**outbox_settings(tmp_path, patience=1.0))
    loop = TrainingLoop.begin(config)
    with loop.run.track():
        loop.log_during(OUTAGES[outage](server), _STOPPED if outage == "stopped server" else _SECONDS)
    expect_all_rows(server.direct_config(), loop)
    assert outbox_files(config) == []
    record(faults=1, confirmed=loop.steps, missing=0, errors=0, slowest=max(loop.seconds))
    loop.expect_bounded(config["patience"], _SHARE, _FAST)


@pytest.mark.parametrize("outage", [locked_file, full_disk], ids=["locked file", "full disk"])
def test_a_long_outage_of_a_file_costs_one_call_its_patience_and_no_value(
    tmp_path: Path, outage: Callable[..., Any], record: Callable[..., None]
) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    with mounted(folder, "2m"):
        plain = {"engine": "sqlite", "dbpath": str(folder / "sqltrack.db")}
        setup(sqltrack.Client(plain))
        config = {**plain, **outbox_settings(tmp_path, patience=1.0)}
        loop = TrainingLoop.begin(config)
        with loop.run.track():
            loop.log_during(outage(config), _SECONDS)
        expect_all_rows(plain, loop)
    assert outbox_files(config) == []
    record(faults=1, confirmed=loop.steps, missing=0, errors=0, slowest=max(loop.seconds))
    loop.expect_bounded(config["patience"], _SHARE, _FAST)


def test_outages_again_and_again_cost_no_value(
    server: OutageServer, tmp_path: Path, record: Callable[..., None], rng: random.Random
) -> None:
    """Of any kind, shorter and longer than the patience, and at any moment of sending."""
    config = server.config(**outbox_settings(tmp_path))
    loop = TrainingLoop.begin(config, pause=0.01)
    with loop.run.track():
        for _ in range(_TIMES):
            loop.log(rng.randrange(1, 40))
            with OUTAGES[rng.choice(sorted(OUTAGES))](server):
                loop.seconds += loop.log(rng.randrange(1, 100))
        assert loop.run.flush(120)
    expect_all_rows(server.direct_config(), loop)
    assert outbox_files(config) == []
    record(faults=_TIMES, confirmed=loop.steps, missing=0, errors=0, slowest=max(loop.seconds))


def test_late_statements_of_a_frozen_server_never_win(
    server: OutageServer, tmp_path: Path, record: Callable[..., None], rng: random.Random
) -> None:
    """Each freeze leaves a statement behind, which the server may execute before, while or after calls are sent."""
    config = server.config(**outbox_settings(tmp_path))
    run = TrainingLoop.begin(config).run.start()
    for step in range(_TIMES):
        run.add_metrics({"loss": 0.0}, step=step)
        with frozen_server(server.server):
            run.add_metrics({"loss": 1.0}, step=step)
            run.add_metrics({"loss": 2.0}, step=step)
            time.sleep(rng.uniform(0, 2))
        assert run.flush(60)
    run.stop()
    time.sleep(1)
    losses = sqltrack.Client(server.direct_config()).execute("SELECT loss FROM metrics").fetchall()
    record(faults=_TIMES, confirmed=_TIMES, missing=sum(loss != 2.0 for (loss,) in losses), errors=0)
    assert losses == [(2.0,)] * _TIMES


_SCRIPT = """
run = Experiment(client, name="experiment").get_run()
confirm(run.id)
with run.track():
    for step in range(10 ** 9):
        run.add_metrics({"loss": float(step)}, step=step)
        confirm(f"step {step}")
        time.sleep(0.005)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_process_that_ends_in_an_outage_leaves_all_confirmed_calls(
    server: OutageServer, tmp_path: Path, number: signal.Signals, record: Callable[..., None], rng: random.Random
) -> None:
    """Before, during and after the call that meets the outage."""
    confirmed = missing = 0
    slowest = 0.0
    for _ in range(_TIMES):
        config = server.config(**outbox_settings(tmp_path, patience=0.2))
        with Script(_SCRIPT, config) as script:
            run_id = int(script.read_line())
            for _ in range(5):
                script.read_line()
            with OUTAGES[rng.choice(["stopped server", "silent network", "frozen server"])](server):
                time.sleep(rng.uniform(0, 0.5))
                script.send_signal(number)
                ended = script.finish()
        steps = [int(line.partition(" ")[2]) for line in ended.lines if line.startswith("step ")]
        client = sqltrack.Client(config)
        found = [info.path for info in find_outboxes(config["outbox_dir"])]
        assert all(sent.is_removed for sent in send_outboxes(client, found))
        rows = client.execute("SELECT step FROM metrics WHERE run_id = %s", (run_id,)).fetchall()
        missing += len(set(steps) - {step for (step,) in rows})
        confirmed += len(steps)
        if number == signal.SIGTERM:
            slowest = max(slowest, ended.seconds)
            assert ended.status == 143
            assert client.execute("SELECT status FROM runs WHERE id = %s", (run_id,)).fetchone() == ("CANCELLED",)
    record(faults=_TIMES, confirmed=confirmed, missing=missing, errors=0, slowest=slowest)
    assert missing == 0
    assert slowest < 2.0
