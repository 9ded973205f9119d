"""Outages of real servers and files cost a run with an outbox neither time nor values."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import sqltrack
from plugins.pgbouncer import PgBouncer
from sqltrack import Experiment, Run, run_functions
from sqltrack.commands import setup
from sqltrack.errors import AccessDeniedError, DatabaseError, DatabaseUnavailableError, NotSetUpError
from sqltrack.outbox import drop_outbox, find_outboxes, send_outboxes
from support.databases import connect_to_sqlite, steps
from support.faulty_files import compile_library
from support.frozen import frozen, frozen_server
from support.logging_threads import wait_until
from support.metrics import same
from support.outages import (
    OUTAGES,
    PASSWORD,
    OutageServer,
    TrainingLoop,
    expect_all_rows,
    full_disk,
    locked_file,
    outage_server,
    outbox_files,
    outbox_settings,
)
from support.processes import Ended, Script
from support.signals import stop_timer
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


# Seconds of an outage.
_SECONDS = 3.0

# The others are similar, and take longer.
_SHORT = [name for name in OUTAGES if name not in ("swallowing network", "read-only database")]


@pytest.mark.parametrize("outage", _SHORT)
def test_an_outage_costs_one_call_its_patience_and_no_value(
    server: OutageServer, pg_config: dict[str, Any], outage: str, caplog: pytest.LogCaptureFixture
) -> None:
    """One warning says where the calls wait, and another that they have arrived."""
    loop = TrainingLoop.begin(pg_config)
    with loop.run.track(), caplog.at_level(logging.WARNING):
        loop.log_during(OUTAGES[outage](server), _SECONDS)
    loop.expect_bounded(pg_config["patience"])
    expect_all_rows(server.direct_config(), loop)
    expect_two_warnings(caplog, pg_config)
    wait_until(lambda: outbox_files(pg_config) == [])


def expect_two_warnings(caplog: pytest.LogCaptureFixture, config: dict[str, Any]) -> str:
    """Check that the log only says that calls wait and that they have arrived; return why they had to wait."""

    def messages() -> list[str]:
        return [record.message for record in caplog.records if record.name == "sqltrack.outbox"]

    # The sender tells it just after the last call has arrived.
    wait_until(lambda: len(messages()) in (2, 4))
    told = messages()
    # On a busy machine, a later call may be an outage of its own.
    for first, last in zip(told[::2], told[1::2]):
        assert first.startswith(f"calls wait in {config['outbox_dir']}/")
        assert last == "the database is there again, and all calls have arrived"
    return told[0].partition(": ")[2]


# Files


def test_a_file_that_another_writer_locks_costs_one_call_its_patience(
    sqlite_config: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The warning names the time that the call has waited, not the waiting time of other calls."""
    config = {**sqlite_config, **outbox_settings(tmp_path)}
    loop = TrainingLoop.begin(config)
    with loop.run.track(), caplog.at_level(logging.WARNING):
        loop.log_during(locked_file(config), _SECONDS)
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
            loop.log_during(full_disk(config), _SECONDS)
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
# A call that waits for the end of the outage waits for ever.
confirm(slowest < client.config["patience"] + 1.5)
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
    client._session.close_idle()

def end_outage():
    begin_outage(0o600)
"""


def expect_all_steps(config: dict[str, Any], lines: list[str]) -> None:
    """Check that a script of `LOG` has succeeded, and that its steps are stored."""
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
    """Connections that were opened earlier can still write, so the next connection meets it."""
    config = {**sqlite_config, **outbox_settings(tmp_path)}
    with Script(PROTECT + LOG, config) as script:
        ended = script.finish()
    expect_all_steps(sqlite_config, ended.lines)
    assert "is read-only" in ended.errors
    assert outbox_files(config) == []


def test_damage_in_the_file_costs_no_value(sqlite_config: dict[str, Any], tmp_path: Path) -> None:
    config = {**sqlite_config, **outbox_settings(tmp_path)}
    loop = TrainingLoop.begin(config)
    with loop.run.track():
        loop.log_during(damaged_table(sqlite_config), 0.2)
    expect_all_rows(sqlite_config, loop)
    assert outbox_files(config) == []


@contextlib.contextmanager
def damaged_table(config: dict[str, Any]) -> Iterator[None]:
    """Overwrite the first page of the metrics in a SQLite file, and restore it."""
    with contextlib.closing(connect_to_sqlite(config)) as connection:
        # Other connections must read the page again.
        connection.execute("UPDATE runs SET comment = 'damaged'")
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'metrics'").fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    with open(config["dbpath"], "r+b", buffering=0) as file:
        original = os.pread(file.fileno(), size, (page - 1) * size)
        os.pwrite(file.fileno(), b"\xff" * size, (page - 1) * size)
        try:
            yield
        finally:
            os.pwrite(file.fileno(), original, (page - 1) * size)


# Errors of the server

TRIGGER = """
CREATE TABLE injected (state text);
CREATE FUNCTION inject() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE code text;
BEGIN
    SELECT state INTO code FROM injected;
    IF code IS NOT NULL THEN
        RAISE 'injected' USING ERRCODE = code;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER inject BEFORE INSERT ON metrics FOR EACH ROW EXECUTE FUNCTION inject();
GRANT SELECT ON injected TO PUBLIC;
"""


def test_faults_of_the_server_cost_no_value_and_refusals_raise(server: OutageServer, pg_config: dict[str, Any]) -> None:
    """Faults are internal errors or damaged data, for example. Constraints and the user's triggers refuse."""
    faults = ["25P03", "40001", "53200", "55000", "55006", "57014", "58030", "XX000", "XX001", "XX002"]
    refusals = ["0A000", "22003", "23514", "54000", "P0001"]
    loop = TrainingLoop.begin(pg_config, pause=0)
    loop.log(1)
    server.execute(TRIGGER)
    with loop.run.track():
        for state in refusals:
            with injected(server, state), pytest.raises(DatabaseError, match="injected"):
                loop.log(1)
        for state in faults:
            with injected(server, state):
                loop.log(1)
                assert len(outbox_files(pg_config)) > 0, state
            assert loop.run.flush(30), state
    expect_all_rows(server.direct_config(), loop)


@contextlib.contextmanager
def injected(server: OutageServer, state: str) -> Iterator[None]:
    """Let the server refuse rows of metrics with this SQLSTATE."""
    server.execute(f"INSERT INTO injected VALUES ('{state}')")
    try:
        yield
    finally:
        server.execute("DELETE FROM injected")


@pytest.mark.parametrize("outages", ["sqlite locked file", "postgres locked table"], indirect=True)
def test_outages_in_close_succession_are_logged_as_one(outages: Outages, caplog: pytest.LogCaptureFixture) -> None:
    """After the second one, calls go through the file for a second, and arrive. A block ends that earlier."""
    outages.config["patience"] = 0.1
    loop = TrainingLoop.begin(outages.config, pause=0)
    with loop.run.track(), caplog.at_level(logging.WARNING):
        for _ in range(5):
            with outages.begin():
                loop.log(2)
            assert loop.run.flush(30)
        assert steps(outages.plain) == list(range(10))
        messages = [record.message.partition(" ")[0] for record in caplog.records]
        assert messages == ["calls", "the", "calls"]
        with loop.run.client:
            loop.log(1)
        deadline = time.monotonic() + 10
        # The sender says it after it has let the block begin.
        while len(caplog.records) < 4 and time.monotonic() < deadline:
            time.sleep(0.01)
        messages = [record.message.partition(" ")[0] for record in caplog.records]
        assert messages == ["calls", "the", "calls", "the"]
    expect_all_rows(outages.plain, loop)
    assert outbox_files(outages.config) == []


# Late statements


def write_during(run: Run) -> None:
    """Replace the values of a step and stop; the first call leaves its statement behind in the server."""
    run.add_metrics({"loss": 2.0}, step=0)
    run.add_metrics({"loss": 3.0}, step=0)
    run.client._session.outbox.hurry()  # type: ignore[union-attr]
    run.stop()


def expect_last_values(config: dict[str, Any], run: Run) -> None:
    """Check that the values of the last calls are stored, and stay."""
    sql = "SELECT status, loss FROM runs JOIN metrics ON run_id = id WHERE id = %s"
    for _ in range(2):
        assert sqltrack.Client(config).execute(sql, (run.id,)).fetchall() == [("COMPLETED", 3.0)]
        time.sleep(0.2)


def sessions(server: OutageServer) -> set[int]:
    """Return the pids of the processes that serve the user who tracks runs."""
    with server.as_superuser() as connection:
        rows = connection.execute(b"SELECT pid FROM pg_stat_activity WHERE usename = 'writer'")
        return {pid for (pid,) in rows}


def test_nothing_is_sent_before_the_statement_that_was_left_behind_has_gone(
    server: OutageServer, pg_config: dict[str, Any]
) -> None:
    """It waits in the socket of a stopped process, and would be executed when that continues."""
    run = TrainingLoop.begin(pg_config).run.start()
    run.add_metrics({"loss": 1.0}, step=0)
    with frozen(*sessions(server)):
        write_during(run)
        assert not run.flush(1.0)
    assert run.flush(30)
    expect_last_values(server.direct_config(), run)


def test_a_lost_connection_is_replaced_while_a_statement_that_was_left_behind_is_being_ended(
    server: OutageServer, pg_config: dict[str, Any]
) -> None:
    """As after a restart of the server: the sender must not ask on its dead connection again and again."""
    run = TrainingLoop.begin(pg_config).run.start()
    run.add_metrics({"loss": 1.0}, step=0)
    left = sessions(server)
    with frozen(*left):
        write_during(run)
        wait_until(lambda: sessions(server) > left)
        server.execute(*(f"SELECT pg_terminate_backend({pid})" for pid in sessions(server) - left))
        assert not run.flush(0.5)
    assert run.flush(30)
    expect_last_values(server.direct_config(), run)


def test_a_statement_that_was_left_behind_is_not_forgotten_with_the_connection_that_asks(
    server: OutageServer, pg_config: dict[str, Any]
) -> None:
    client = sqltrack.Client({**pg_config, "outbox": "off"})
    engine = client.engine
    with contextlib.closing(engine.connect()) as left, contextlib.closing(engine.connect()) as asking:
        left.autocommit = asking.autocommit = True
        engine._abandoned.note(left.info.backend_pid)  # type: ignore[attr-defined]
        server.execute(f"SELECT pg_terminate_backend({asking.info.backend_pid})")
        with pytest.raises(engine.driver_error):
            engine.ends_abandoned(asking, [engine])
        assert client._session.ask(lambda connection: engine.ends_abandoned(connection, [engine]))
        with pytest.raises(engine.driver_error):
            left.execute("SELECT 1")


def test_a_statement_that_waits_for_a_lock_is_ended_before_later_ones_are_sent(
    server: OutageServer, pg_config: dict[str, Any]
) -> None:
    run = TrainingLoop.begin(pg_config).run.start()
    run.add_metrics({"loss": 1.0}, step=0)
    with OUTAGES["locked table"](server):
        write_during(run)
        sql = b"SELECT pid FROM pg_stat_activity WHERE usename = 'writer' AND query ~ '^INSERT' AND state = 'active'"
        with server.as_superuser() as connection:
            wait_until(lambda: len(connection.execute(sql).fetchall()) <= 1)
    assert run.flush(30)
    expect_last_values(server.direct_config(), run)


@pytest.mark.pooler
@pytest.mark.parametrize("_", range(3))
def test_a_statement_that_was_left_behind_by_a_pooler_is_waited_for(
    server: OutageServer, tmp_path: Path, _: int
) -> None:
    direct = server.direct_config()
    with PgBouncer(direct) as pooler:
        address = {"host": pooler.host, "port": pooler.port, "user": "postgres", "password": None}
        run = TrainingLoop.begin(server.config(**outbox_settings(tmp_path), **address)).run.start()
        run.add_metrics({"loss": 1.0}, step=0)
        with frozen_server(server.server):
            write_during(run)
        assert run.flush(60)
        expect_last_values(direct, run)


# Ends of processes

BEGIN = """
run = Experiment(client, name="experiment").get_run()
confirm(run.id)

def log(steps):
    for step in steps:
        run.add_metrics({"loss": float(step)}, step=step)

def wait_for_outage():
    confirm("ready")
    sys.stdin.readline()
"""

STOP = f"""
{BEGIN}
run.start()
log(range(3))
wait_for_outage()
log(range(3, 6))
run.stop()
confirm("last line")
"""

HURRIED_STOP = STOP.replace("run.stop()", "client._session.outbox.hurry(); run.stop()")

LOOP = f"""
{BEGIN}
with run.track():
    log(range(3))
    wait_for_outage()
    log(range(3, 6))
    confirm("logged")
    sleep_on()
"""

MET = f"""
import atexit
{BEGIN}
signal.signal(signal.SIGALRM, lambda *args: None)
signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
# At the end of the interpreter, the signal would kill the process.
atexit.register(signal.setitimer, signal.ITIMER_REAL, 0)

def signal_self():
    # A signal of the test may come after the call, on a busy machine.
    confirm("signalled")
    os.kill(os.getpid(), signal.NUMBER)

with run.track():
    log(range(6))
    wait_for_outage()
    threading.Timer(0.3, signal_self).start()
    log(range(6, 10**9))
"""

BRIEF_MET = MET.replace(
    "with run.track", "outbox = client._session.outbox; outbox._at_end = outbox._left_to_wait = 0.5\nwith run.track"
)

DAEMON = f"""
{BEGIN}
run.start()
log(range(6))
wait_for_outage()
client._session.outbox.hurry()
threads = [threading.Thread(target=log, args=(range(10 * number, 10 ** 9),), daemon=True) for number in (1, 2)]
for thread in threads:
    thread.start()
time.sleep(0.5)
confirm("last line")
"""

EXIT = f"""
{BEGIN}
run.start()
log(range(3))
wait_for_outage()
log(range(3, 6))
confirm("last line")
os._exit(0)
"""

WORKER = f"""
{BEGIN}
run.start()
log(range(2))
wait_for_outage()
log(range(2, 4))
child = os.fork()
if not child:
    log([4, 5])
    os._exit(0)
confirm(os.waitpid(child, 0)[1])
client._session.outbox.hurry()
run.stop()
confirm("last line")
"""


class Outages(NamedTuple):
    """A database after setup, and its outages.

    Attributes:
        config: configuration of a client with an outbox.
        plain: configuration of a client that reads the database.
        begin: begins an outage, which ends with its `with` block.
    """

    config: dict[str, Any]
    plain: dict[str, Any]
    begin: Callable[[], contextlib.AbstractContextManager[None]]


@pytest.fixture(params=["sqlite locked file", "postgres silent network"])
def outages(request: pytest.FixtureRequest, tmp_path: Path) -> Outages:
    """Outages that the operating system does not end by itself."""
    engine, _, name = request.param.partition(" ")
    if engine not in request.config.getoption("--engines"):
        pytest.skip("another engine is tested")
    if engine == "sqlite":
        config = request.getfixturevalue("sqlite_config")
        return Outages({**config, **outbox_settings(tmp_path)}, config, lambda: locked_file(config))
    server = request.getfixturevalue("server")
    return Outages(server.config(**outbox_settings(tmp_path)), server.direct_config(), lambda: OUTAGES[name](server))


def send(outages: Outages, run_id: str, status: str, paths: Sequence[str] = ()) -> None:
    """Send the outboxes that a process has left, and check that there are six steps and this status."""
    sender = sqltrack.Client({**outages.plain, "outbox_dir": outages.config["outbox_dir"]})
    # Through a link to the database with another name.
    assert all(sent.is_removed for sent in send_outboxes(sender, paths or dead_outboxes(outages), force=True))
    sql = "SELECT step, loss FROM metrics WHERE run_id = %s ORDER BY step"
    assert sender.execute(sql, (int(run_id),)).fetchall()[:6] == [(step, float(step)) for step in range(6)]
    assert sender.execute("SELECT status FROM runs WHERE id = %s", (int(run_id),)).fetchone() == (status,)
    assert outbox_files(outages.config) == []


def dead_outboxes(outages: Outages) -> list[str]:
    """Return the paths of the files of dead processes, and check that there are some."""
    found = find_outboxes(outages.config["outbox_dir"])
    assert {info.state for info in found} == {"dead"}
    return [info.path for info in found]


def begin(script: Script) -> str:
    """Wait until a script is ready for the outage; return the id of its run."""
    run_id = script.read_line()
    assert script.read_line() == "ready"
    return run_id


def test_an_outage_costs_no_more_while_a_timer_sends_signals(outages: Outages) -> None:
    """Calls that signals interrupt more often than they look at the clock end in time, and the handlers run."""
    count = 0

    def handle(*args: object) -> None:
        nonlocal count
        count += 1

    loop = TrainingLoop.begin(outages.config)
    # Without it, a failure would never end.
    rescue = threading.Timer(5, signal.setitimer, (signal.ITIMER_REAL, 0))
    rescue.start()
    outer = signal.signal(signal.SIGALRM, handle)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
        loop.log_during(outages.begin(), _SECONDS)
    finally:
        stop_timer(outer)
        rescue.cancel()
    loop.expect_bounded(outages.config["patience"])
    assert count > 20
    expect_all_rows(outages.plain, loop)


def test_a_run_that_stops_in_an_outage_ends_in_time(server: OutageServer, pg_config: dict[str, Any]) -> None:
    """The script ends within five seconds of its last call, and says how many calls are left and how to send them."""
    outages = Outages(pg_config, server.direct_config(), lambda: OUTAGES["silent network"](server))
    with Script(STOP, outages.config) as script:
        run_id = begin(script)
        with outages.begin():
            start = time.monotonic()
            script.send_line()
            ended = script.finish()
            seconds = time.monotonic() - start
    assert (ended.status, ended.lines[-1]) == (0, "last line")
    # With time for a busy machine to end a process.
    assert seconds < 5 + 2
    assert ended.errors.count("calls wait in") == 2
    assert ended.errors.rstrip().endswith("until they are sent by: sqltrack outbox send")
    send(outages, run_id, "COMPLETED")


@pytest.mark.parametrize(
    ("number", "status", "final"),
    [
        (signal.SIGTERM, 143, "CANCELLED"),
        # It waits for five seconds, as at other ends.
        pytest.param(signal.SIGINT, -signal.SIGINT, "CANCELLED", marks=pytest.mark.faults),
    ],
)
def test_a_signal_in_an_outage_ends_the_process_in_time(
    outages: Outages, number: signal.Signals, status: int, final: str
) -> None:
    # On Ctrl-C a run waits as at any other end, which another test measures.
    text = (
        LOOP if number == signal.SIGTERM else LOOP.replace("sleep_on()", "client._session.outbox.hurry(); sleep_on()")
    )
    with Script(text, outages.config) as script:
        run_id = begin(script)
        with outages.begin():
            script.send_line()
            assert script.read_line() == "logged"
            script.send_signal(number)
            ended = script.finish()
    assert ended.status == status
    if number == signal.SIGTERM:
        assert ended.seconds < 2
    send(outages, run_id, final)


def signal_in_meeting_call(outages: Outages, text: str, number: signal.Signals) -> tuple[str, Ended]:
    """Let a script signal itself in the call that meets the outage; return the id of its run, and how it ended."""
    with Script(text.replace("NUMBER", number.name), outages.config) as script:
        run_id = begin(script)
        with outages.begin():
            script.send_line()
            assert script.read_line() == "signalled"
            return run_id, script.finish()


def test_a_signal_in_the_call_that_meets_the_outage_ends_the_process_in_time(outages: Outages) -> None:
    """Even if that call would wait for much longer, and a timer interrupts it again and again."""
    outages.config["patience"] = 20
    run_id, ended = signal_in_meeting_call(outages, MET, signal.SIGTERM)
    assert (ended.status, ended.seconds < 2.5) == (143, True)
    send(outages, run_id, "CANCELLED")


def test_a_call_that_sets_the_final_status_waits_as_part_of_the_end(outages: Outages) -> None:
    """Ctrl-C comes in the call that meets the outage, so that the end of the run meets it again."""
    outages.config["patience"] = 0.8
    run_id, ended = signal_in_meeting_call(outages, BRIEF_MET, signal.SIGINT)
    assert (ended.status, ended.seconds < 2.2) == (-signal.SIGINT, True)
    send(outages, run_id, "CANCELLED")


def test_sending_does_not_give_a_terminated_process_more_time(outages: Outages) -> None:
    run = TrainingLoop.begin(outages.config).run.start()
    outbox = run.client._session.outbox
    assert outbox is not None
    with outages.begin():
        run.add_metrics({"loss": 2.0}, step=2)
        outbox.hurry()
    assert run.flush(30)
    assert outbox._left_to_wait <= 0.5
    run.stop()


@pytest.mark.parametrize(("text", "status"), [(EXIT, "RUNNING"), (WORKER, "COMPLETED")], ids=["exit", "worker"])
def test_no_call_is_lost_that_a_process_makes_before_it_ends_without_a_word(
    outages: Outages, text: str, status: str
) -> None:
    """For example with `os._exit`, even in a child that was forked during the outage."""
    with Script(text, outages.config) as script:
        run_id = begin(script)
        with outages.begin():
            script.send_line()
            ended = script.finish()
    assert (ended.status, ended.lines[-1]) == (0, "last line"), ended.errors
    send(outages, run_id, status)


def test_calls_in_memory_move_to_a_temporary_folder_at_the_end_of_the_process(outages: Outages, tmp_path: Path) -> None:
    """Here the folder is no longer safe to use. The last line names the file and the command that sends it."""
    folder, temporary = Path(outages.config["outbox_dir"]), tmp_path / "temporary"
    temporary.mkdir()
    with Script(HURRIED_STOP, outages.config, prefix=["env", f"TMPDIR={temporary}"]) as script:
        run_id = begin(script)
        with outages.begin():
            folder.mkdir()
            folder.chmod(0o777)
            script.send_line()
            ended = script.finish()
    assert (ended.status, ended.lines[-1]) == (0, "last line"), ended.errors
    assert "calls are only in memory" in ended.errors
    (path,) = temporary.glob("sqltrack-outbox-*/*.db")
    assert ended.errors.rstrip().endswith(f"until they are sent by: sqltrack outbox send {path}")
    folder.rmdir()
    send(outages, run_id, "COMPLETED", [str(path)])
    assert list(path.parent.iterdir()) == []


def test_threads_that_keep_logging_do_not_stop_the_interpreter_from_ending(outages: Outages) -> None:
    with Script(DAEMON, outages.config) as script:
        begin(script)
        with outages.begin():
            script.send_line()
            ended = script.finish()
    assert (ended.status, ended.lines[-1]) == (0, "last line"), ended.errors
    assert ended.seconds < 6
    (path,) = dead_outboxes(outages)
    assert drop_outbox(path).calls > 0


# Errors


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"password": "wrong"}, AccessDeniedError),
        ({"user": "nobody"}, AccessDeniedError),
        ({"host": "no-such-host.invalid"}, DatabaseUnavailableError),
        ({"dbname": "missing"}, DatabaseUnavailableError),
        ({"schema": "missing"}, NotSetUpError),
    ],
    ids=["password", "role", "host", "database", "tables"],
)
def test_a_mistake_before_the_first_contact_is_an_error_at_once_and_leaves_no_file(
    server: OutageServer, tmp_path: Path, wrong: dict[str, Any], error: type[Exception]
) -> None:
    """This holds for any first call."""
    client = sqltrack.Client(server.config(**outbox_settings(tmp_path), **wrong))
    calls: list[Callable[[], object]] = [
        lambda: Experiment(client, name="experiment"),
        lambda: run_functions.run_add_metrics(client, 1, {"loss": 1.0}, step=1),
        lambda: run_functions.run_set_status(client, 1, "RUNNING"),
    ]
    for call in calls:
        start = time.monotonic()
        with pytest.raises(error):
            call()
        assert time.monotonic() - start < 3
    assert outbox_files(client.config) == []


def test_a_block_raises_in_an_outage_and_says_why(outages: Outages) -> None:
    run = TrainingLoop.begin(outages.config).run.start()
    run.add_metrics({"loss": 1.0}, step=1)
    with outages.begin():
        run.add_metrics({"loss": 2.0}, step=2)
        with pytest.raises(DatabaseUnavailableError, match="a 'with client:' block cannot begin"), run.client:
            pytest.fail("the block began")
    assert run.flush(30)
    with run.client:
        run.add_metrics({"loss": 3.0}, step=3)
    run.stop()
    assert steps(outages.plain) == [1, 2, 3]


def test_a_block_that_loses_its_connection_names_itself_and_reads_raise(server: OutageServer, tmp_path: Path) -> None:
    """The transaction is lost, and later calls of the block must not be stored without the earlier ones."""
    address = {"host": str(server.server.socket_dir), "port": server.server.port, "reconnect": 0}
    config = server.config(**outbox_settings(tmp_path), **address)
    run = TrainingLoop.begin(config).run.start()
    server.server.kill()
    with pytest.raises(DatabaseUnavailableError, match="cannot connect"):
        run.client.execute("SELECT 1")
    server.server.start()
    with pytest.raises(DatabaseUnavailableError, match="the connection of a 'with client:' block is lost"), run.client:
        run.add_metrics({"loss": 1.0}, step=1)
        server.end_sessions()
        run.add_metrics({"loss": 2.0}, step=2)
    assert outbox_files(config) == []
    run.stop()
    assert steps(server.direct_config()) == []


def test_no_password_is_in_the_file(outages: Outages) -> None:
    run = TrainingLoop.begin(outages.config).run.start()
    with outages.begin():
        run.add_metrics({"loss": 2.0}, step=2)
        run.add_env({"API_TOKEN": "t0ken"})
        folder = Path(outages.config["outbox_dir"])
        contents = b"".join(path.read_bytes() for path in folder.iterdir())
        assert b"add_metrics" in contents
        assert not any(secret in contents for secret in (PASSWORD.encode(), b"t0ken"))
        assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
        assert folder.stat().st_mode & 0o777 == 0o700
    assert run.flush(30)
    run.stop()
