"""A tracked script that SIGTERM or SIGINT ends has its status set and its rows stored."""

from __future__ import annotations

import contextlib
import json
import signal
import sqlite3
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

import sqltrack
from sqltrack import Experiment, Run
from support.databases import statuses, steps
from support.platforms import needs_sigterm
from support.processes import Ended, Script

pytestmark = [needs_sigterm, pytest.mark.one_engine]

# A terminated process must have ended after this many seconds.
_SOON = 6.0

# The same if another connection holds a lock all the time: two seconds of attempts, and more for a busy machine.
_LATER = 12.0

LOG = """
    step = 0
    while True:
        run.add_metrics({"loss": 1.0}, step=step)
        confirm(step)
        step += 1
"""

CREATE_RUN = """
run = Experiment(client, name="experiment").get_run()
"""


def signalled(text: str, config: dict[str, Any], number: signal.Signals = signal.SIGTERM, lines: int = 10) -> Ended:
    """Run a script that gets a signal after it has confirmed some lines."""
    with Script(text, config) as script:
        for _ in range(lines):
            script.read_line()
        script.send_signal(number)
        return script.finish()


def assert_all_confirmed(ended: Ended, config: dict[str, Any]) -> None:
    """Assert that the rows of all confirmed steps are stored, and at most one more."""
    confirmed = list(range(len(ended.lines)))
    assert ended.lines == [str(step) for step in confirmed]
    assert steps(config) in (confirmed, [*confirmed, len(confirmed)])


@pytest.mark.parametrize(
    ("begin", "status"),
    [
        ("with run.track():", "CANCELLED"),
        ("with run.track(terminated='TIMEOUT', exception='E'):", "TIMEOUT"),
        ("if run.start():", "CANCELLED"),
        ("if run.start(terminated='TIMEOUT'):", "TIMEOUT"),
    ],
)
def test_sigterm_ends_a_tracked_script_with_status_and_rows(config: dict[str, Any], begin: str, status: str) -> None:
    """A script that SIGTERM ends has its final status, exits with 143 and loses no confirmed row."""
    ended = signalled(CREATE_RUN + begin + LOG, config)
    assert (ended.status, ended.errors) == (143, "")
    assert ended.seconds < _SOON
    assert statuses(config) == [status]
    assert_all_confirmed(ended, config)


OWN_HANDLER = """
told = threading.Event()
signal.signal(signal.SIGTERM, lambda number, frame: told.set())
run = Experiment(client, name="experiment").get_run()
with run.track():
    step = 0
    while not told.is_set():
        run.add_metrics({"loss": 1.0}, step=step)
        confirm(step)
        step += 1
    run.add_metrics({"loss": 1.0}, step=step)
    confirm(step)
sys.exit(7)
"""


def test_a_script_with_a_handler_of_its_own_ends_as_it_wishes(config: dict[str, Any]) -> None:
    """The script can still log after its own handler, and has the status of a terminated run."""
    ended = signalled(OWN_HANDLER, config)
    assert (ended.status, ended.errors) == (7, "")
    assert statuses(config) == ["CANCELLED"]
    assert_all_confirmed(ended, config)


TRACK_TWO = """
first = Experiment(client, name="experiment").get_run()
second = Experiment(Client(config), name="experiment").get_run()
with first.track(), second.track(terminated="TIMEOUT"):
    confirm("ready")
    sleep_on()
"""


def test_sigterm_sets_the_status_of_all_tracked_runs(config: dict[str, Any]) -> None:
    ended = signalled(TRACK_TWO, config, lines=1)
    assert (ended.status, ended.errors) == (143, "")
    assert statuses(config) == ["CANCELLED", "TIMEOUT"]


LOG_IN_THREADS = """
run = Experiment(client, name="experiment").get_run()

def log():
    while True:
        run.add_metrics({"loss": 1.0}, step=2)

with run.track():
    for _ in range(3):
        threading.Thread(target=log, daemon=True).start()
    run.add_metrics({"loss": 1.0}, step=1)
    confirm("ready")
    sleep_on()
"""


def test_sigterm_ends_a_script_whose_threads_keep_logging(config: dict[str, Any]) -> None:
    ended = signalled(LOG_IN_THREADS, config, lines=1)
    assert ended.status == 143
    assert ended.seconds < _LATER
    assert statuses(config) == ["CANCELLED"]


@pytest.mark.unmeasured
@pytest.mark.parametrize("begin", ["with run.track():", "with run.track(interrupt='STOPPED', exception='E'):"])
def test_an_interrupt_ends_a_tracked_script_with_status_and_rows(config: dict[str, Any], begin: str) -> None:
    """A script that Ctrl-C ends has its final status and loses no confirmed row."""
    ended = signalled(CREATE_RUN + begin + LOG, config, signal.SIGINT)
    assert ended.status == -signal.SIGINT
    assert "KeyboardInterrupt" in ended.errors
    assert statuses(config) == ["STOPPED" if "STOPPED" in begin else "CANCELLED"]
    assert_all_confirmed(ended, config)


# Inside transactions

OPEN_TRANSACTION = """
run = Experiment(client, name="experiment").get_run()
with run.track():
    run.add_metrics({"loss": 1.0}, step=0)
    with client:
        client.execute("INSERT INTO experiments (name) VALUES ('rolled back')")
        run.add_metrics({"loss": 1.0}, step=1)
        confirm("ready")
        WORK
"""

SLEEP = "sleep_on()"
EXECUTE = """
        step = 2
        while True:
            client.execute("INSERT INTO experiments (name) VALUES (%s)", (str(step),))
            run.add_metrics({"loss": 1.0}, step=step)
            step += 1
"""
CATCH_ALL = """
        while True:
            try:
                client.execute("SELECT 1")
            except Exception:
                pass
"""


@pytest.mark.parametrize("work", [SLEEP, EXECUTE, CATCH_ALL], ids=["sleep", "execute", "catch all"])
def test_sigterm_rolls_an_open_transaction_back(config: dict[str, Any], work: str) -> None:
    ended = signalled(OPEN_TRANSACTION.replace("WORK", work), config, lines=1)
    assert ended.status == 143, ended.errors
    assert ended.seconds < _SOON
    assert statuses(config) == ["CANCELLED"]
    assert steps(config) == [0]
    names = sqltrack.Client(config).execute("SELECT name FROM experiments").fetchall()
    assert names == [("experiment",)]


# Locks of others

WAIT_FOR_LOCK = """
run = Run(client, run_id=RUN)
with run.track():
    confirm("ready")
    sys.stdin.readline()
    confirm("locked")
    run.set_comment("never")
"""


@contextlib.contextmanager
def locked_run(config: dict[str, Any], run_id: int) -> Iterator[None]:
    """Hold a lock that keeps other connections from changing a run."""
    if config["engine"] == "sqlite":
        with contextlib.closing(sqlite3.connect(config["dbpath"], isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield
            return
    parameters = {name: value for name, value in config.items() if name not in ("engine", "outbox")}
    with psycopg.connect(**parameters) as connection:
        connection.execute("SELECT id FROM runs WHERE id = %s FOR UPDATE", (run_id,))
        yield


@pytest.mark.no_outbox
def test_sigterm_ends_a_script_that_waits_for_a_lock(config: dict[str, Any], run: Run) -> None:
    """A status that cannot be set in time is logged as an error, and does not keep the script alive."""
    with Script(WAIT_FOR_LOCK.replace("RUN", str(run.id), 1), config) as script:
        assert script.read_line() == "ready"
        with locked_run(config, run.id):
            script.send_line()
            assert script.read_line() == "locked"
            script.send_signal(signal.SIGTERM)
            ended = script.finish()
    assert ended.status == 143
    assert ended.seconds < _LATER
    assert "lock" in ended.errors
    assert statuses(config) == ["RUNNING"]


# At any moment

END_IN_FINALIZER = """
class Finalized:
    def __del__(self):
        signal.raise_signal(signal.SIGTERM)
        confirm("not reached, because the exit is raised here")

run = Experiment(client, name="experiment").get_run()
with run.track():
    run.add_metrics({"loss": 1.0})
    Finalized()
    confirm("dropped by Python")
    sleep_on()
"""


def test_an_exit_that_python_drops_is_made_up_for(config: dict[str, Any]) -> None:
    """Python discards exceptions of finalizers, and a signal may arrive in one."""
    with Script(END_IN_FINALIZER, config) as script:
        ended = script.finish()
    assert (ended.status, ended.lines, ended.errors) == (143, ["dropped by Python"], "")
    assert statuses(config) == ["CANCELLED"]
    assert steps(config) == [0]


DROP_WHILE_ENDING = """
class Failing:
    def __del__(self):
        1 / 0

run = Experiment(client, name="experiment").get_run()
with run.track():
    try:
        signal.raise_signal(signal.SIGTERM)
    except SystemExit:
        Failing()
        raise
"""


def test_what_python_drops_otherwise_is_reported_as_before(config: dict[str, Any]) -> None:
    with Script(DROP_WHILE_ENDING, config) as script:
        ended = script.finish()
    assert ended.status == 143
    assert ended.errors.count("ZeroDivisionError") == 1
    assert "SystemExit" not in ended.errors


# Forks a process for each trial, after the imports, and reports how it ended. The moments are up to 60 ms after the
# first confirmed step.
TRIALS = """
import psycopg, random, sqlite3

def log(confirmations):
    run = Experiment(Client(config), name="experiment").get_run()
    with run.track():
        os.write(confirmations, b"%d\\n" % run.id)
        step = 0
        while True:
            run.add_metrics({"loss": 1.0}, step=step)
            os.write(confirmations, b"%d\\n" % step)
            step += 1

def wait(child):
    deadline = time.monotonic() + 20
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.001)

for _ in range(TRIALS):
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        log(writing)
    os.close(writing)
    with os.fdopen(reading, "rb", 0) as confirmations:
        run_id, first = confirmations.readline(), confirmations.readline()
        time.sleep(random.uniform(0, 0.06))
        os.kill(child, signal.SIGTERM)
        start = time.monotonic()
        status = wait(child)
        seconds = time.monotonic() - start
        lines = [first, *confirmations.readlines()]
    confirm(json.dumps([int(run_id), [int(line) for line in lines], status, seconds]))
"""


@pytest.mark.unmeasured
@pytest.mark.parametrize("number", [20, pytest.param(100, marks=pytest.mark.faults)])
def test_sigterm_at_any_moment_ends_a_script_with_status_and_rows(config: dict[str, Any], number: int) -> None:
    """Whenever SIGTERM arrives, the script exits with 143 and its status, and loses no confirmed row."""
    Experiment(sqltrack.Client(config), name="experiment")
    with contextlib.ExitStack() as stack:
        scripts = [stack.enter_context(Script(TRIALS.replace("TRIALS", f"{number // 4}"), config)) for _ in range(4)]
        trials = [json.loads(line) for script in scripts for line in script.succeed()]
    assert [status for _, _, status, _ in trials] == [143] * number
    assert max(seconds for _, _, _, seconds in trials) < _SOON
    assert statuses(config) == ["CANCELLED"] * number
    stored: dict[int, list[int]] = {}
    for run_id, step in sqltrack.Client(config).execute("SELECT run_id, step FROM metrics ORDER BY run_id, step"):
        stored.setdefault(run_id, []).append(step)
    for run_id, confirmed, _, _ in trials:
        assert confirmed == list(range(len(confirmed)))
        assert stored[run_id] in (confirmed, [*confirmed, len(confirmed)])
