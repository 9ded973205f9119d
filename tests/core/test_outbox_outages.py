"""Outages of real servers and files cost a run with an outbox neither time nor values."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack.commands import setup
from support.faulty_files import compile_library
from support.metrics import same
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
from support.unprivileged import UNPRIVILEGED, needs_permissions

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux can freeze servers and silence networks")


@pytest.fixture(scope="module")
def small_server(server_binaries: Path) -> Iterator[OutageServer]:
    with outage_server(server_binaries) as server:
        yield server


@pytest.fixture
def server(small_server: OutageServer) -> OutageServer:
    """A server with an empty database."""
    small_server.fresh_database()
    return small_server


@pytest.fixture
def pg_config(server: OutageServer, tmp_path: Path) -> dict[str, Any]:
    return server.config(**outbox_settings(tmp_path))


# Others are like these, and take longer.
_SHORT = [name for name in OUTAGES if name not in ("swallowing network", "read-only database")]


@pytest.mark.parametrize("outage", _SHORT)
def test_an_outage_costs_one_call_its_patience_and_no_value(
    server: OutageServer, pg_config: dict[str, Any], outage: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A warning says where the calls wait, and another that they have arrived."""
    loop = TrainingLoop.begin(pg_config)
    with loop.run.track(), caplog.at_level(logging.WARNING):
        loop.log_during(OUTAGES[outage](server), 3.0 if outage == "stopped server" else 1.0)
    loop.expect_bounded(pg_config["patience"])
    expect_all_rows(server.direct_config(), loop)
    assert outbox_files(pg_config) == []
    expect_two_warnings(caplog, pg_config)


def expect_two_warnings(caplog: pytest.LogCaptureFixture, config: dict[str, Any]) -> str:
    """The log says that calls wait and that they have arrived, and nothing else; return why they had to wait."""
    first, last = [record.message for record in caplog.records if record.name == "sqltrack.outbox"]
    where, _, reason = first.partition(": ")
    assert where.startswith(f"calls wait in {config['outbox_dir']}/")
    assert last == "the database is there again, and all calls have arrived"
    return reason


# Files


def test_a_file_that_another_writer_locks_costs_one_call_its_patience(
    sqlite_config: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The warning names the time that the call has waited, not the one that others wait."""
    config = {**sqlite_config, **outbox_settings(tmp_path)}
    loop = TrainingLoop.begin(config)
    with loop.run.track(), caplog.at_level(logging.WARNING):
        loop.log_during(locked_file(config), 1.0)
    loop.expect_bounded(config["patience"])
    expect_all_rows(sqlite_config, loop)
    assert expect_two_warnings(caplog, config).endswith("has been writing for longer than 0.5 s")


def test_a_full_disk_below_the_file_costs_no_value(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    with mounted(folder, "2m"):
        plain = {"engine": "sqlite", "dbpath": str(folder / "sqltrack.db")}
        setup(sqltrack.Client(plain))
        config = {**plain, **outbox_settings(tmp_path)}
        loop = TrainingLoop.begin(config)
        with loop.run.track(), caplog.at_level(logging.WARNING):
            loop.log_during(full_disk(config), 1.0)
        loop.expect_bounded(config["patience"])
        expect_all_rows(plain, loop)
    assert "the disk is full" in expect_two_warnings(caplog, config)


LOG = """
def log(number):
    global step, slowest
    for _ in range(number):
        begin = time.monotonic()
        run.add_metrics({"loss": float("nan") if step % 3 == 2 else step / 7}, step=step)
        slowest = max(slowest, time.monotonic() - begin)
        step += 1
        time.sleep(0.05)

step, slowest = 0, 0.0
run = Experiment(client, name="experiment").get_run()
with run.track():
    log(3)
    begin_outage()
    log(15)
    end_outage()
    log(3)
    confirm(run.flush(30))
confirm(slowest < client.config["patience"] + 0.5)
confirm(client.execute("SELECT status FROM runs").fetchone()[0])
"""

FAIL = """
def begin_outage():
    os.environ["FAULTY_CALLS"] = "write,sync,truncate"

def end_outage():
    del os.environ["FAULTY_CALLS"]
"""

PROTECT = f"""
{UNPRIVILEGED}

def begin_outage(mode=0o400):
    for suffix in ("", "-wal", "-shm"):
        if os.path.exists(config["dbpath"] + suffix):
            os.chmod(config["dbpath"] + suffix, mode)

def end_outage():
    begin_outage(0o600)
"""


def expect_all_steps(config: dict[str, Any], lines: list[str]) -> None:
    """A script of `LOG` has ended well, and its steps are there."""
    assert lines == ["True", "True", "COMPLETED"]
    rows = sqltrack.Client(config).execute("SELECT step, loss FROM metrics ORDER BY step").fetchall()
    assert [step for step, _ in rows] == list(range(21))
    assert all(same(loss, math.nan if step % 3 == 2 else step / 7) for step, loss in rows)


def test_a_disk_that_fails_below_the_file_costs_no_value(tmp_path: Path) -> None:
    folder = tmp_path / "faulty"
    folder.mkdir()
    plain = {"engine": "sqlite", "dbpath": str(folder / "sqltrack.db")}
    setup(sqltrack.Client(plain))
    config = {**plain, **outbox_settings(tmp_path)}
    variables = [f"LD_PRELOAD={compile_library(tmp_path)}", "FAULTY_FILES=/faulty/"]
    with Script(FAIL + LOG, config, prefix=["env", *variables]) as script:
        ended = script.finish()
    expect_all_steps(plain, ended.lines)
    assert "disk I/O error" in ended.errors
    assert outbox_files(config) == []


@needs_permissions
def test_a_file_that_becomes_read_only_costs_no_value(sqlite_config: dict[str, Any], tmp_path: Path) -> None:
    """Connections that were opened before can write, so the next one meets it."""
    config = {**sqlite_config, **outbox_settings(tmp_path), "keepalive": 0.01}
    with Script(PROTECT + LOG, config) as script:
        ended = script.finish()
    expect_all_steps(sqlite_config, ended.lines)
    assert "can only be read" in ended.errors
    assert outbox_files(config) == []
