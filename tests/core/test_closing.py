"""One thread closes the idle connections of all clients of a process, and ends with the last of them."""

from __future__ import annotations

import _thread
import contextlib
import signal
import sys
import threading
import time
from typing import Any

import pytest

import sqltrack
from sqltrack import Experiment, _closing
from support.connections import count_connections
from support.databases import steps
from support.logging_threads import wait_until
from support.processes import Script
from support.signals import stop_timer

needs_fork = pytest.mark.skipif(sys.platform == "win32", reason="this platform has no fork")


@pytest.fixture(autouse=True)
def watcher(monkeypatch: pytest.MonkeyPatch) -> _closing._Watcher:
    """A thread that no earlier test has started."""
    watcher = _closing._Watcher()
    monkeypatch.setattr(_closing, "_watcher", watcher)
    return watcher


def count_threads() -> int:
    """Return the number of threads that run Python; `threading` does not know all of them."""
    return len(sys._current_frames())


class Idle:
    """Has something to close `seconds` after each check, `times` times."""

    def __init__(self, times: int, seconds: float = 0.0) -> None:
        self.times = times
        self.seconds = seconds

    def close_idle(self) -> float | None:
        self.times -= 1
        return self.seconds if self.times > 0 else None


def test_many_clients_share_one_thread(config: dict[str, Any]) -> None:
    """This holds for any number of clients, and while all of them keep a connection."""
    count = 60 if config["engine"] == "sqlite" else 20
    before = count_threads()
    runs = [Experiment(sqltrack.Client(config), name="experiment").get_run() for _ in range(count)]
    for step, run in enumerate(runs):
        run.start().add_metrics({"loss": 1.0}, step=step)
    assert count_threads() <= before + 1
    for run in runs:
        run.stop()
    assert count_threads() <= before + 1
    assert steps(config) == list(range(count))


def test_the_thread_ends_when_nothing_is_kept_and_comes_back(
    config: dict[str, Any], watcher: _closing._Watcher
) -> None:
    run = Experiment(sqltrack.Client(config, keepalive=0.1), name="experiment").get_run()
    with run.track():
        for step in range(2):
            run.add_metrics({"loss": 1.0}, step=step)
            assert not watcher._tokens
            wait_until(lambda: bool(watcher._tokens))
            # The server notices a little later.
            wait_until(lambda: count_connections(config) == 0)
    assert steps(config) == [0, 1]


def test_connections_of_clients_with_different_patience_are_closed_in_time(config: dict[str, Any]) -> None:
    """A connection that is due soon does not wait for one that is due later."""
    patient = Experiment(sqltrack.Client(config, keepalive=600), name="experiment").get_run()
    hasty = Experiment(sqltrack.Client(config, keepalive=0.1), name="experiment").get_run()
    with patient.track():
        patient.add_metrics({"loss": 1.0}, step=0)
        with hasty.track():
            hasty.add_metrics({"loss": 1.0}, step=0)
            wait_until(lambda: not hasty.client._session._keeper._parked)
        assert patient.client._session._keeper._parked


def test_where_no_thread_can_be_started_connections_are_not_kept(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the end of the interpreter Python 3.12 starts none. Connections are kept again once a thread can start."""

    def refuse(*args: Any) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    client, watcher = sqltrack.Client(config), _closing._Watcher()
    monkeypatch.setattr(_closing, "_watcher", watcher)
    with monkeypatch.context() as patch:
        patch.setattr(_thread, "start_new_thread", refuse)
        run = Experiment(client, name="experiment").get_run().start()
        for step in range(3):
            run.add_metrics({"loss": 1.0}, step=step)
            # A server takes a moment to notice.
            wait_until(lambda: count_connections(config) == 0)
    assert not watcher._watched
    run.add_metrics({"loss": 1.0}, step=3)
    assert run.client._session._keeper._parked
    run.stop()
    assert steps(config) == [0, 1, 2, 3]


def test_functions_that_are_called_at_the_end_of_the_interpreter_may_log(config: dict[str, Any]) -> None:
    text = """
import atexit
run = Experiment(client, name="experiment").get_run()

@atexit.register
def log():
    for step in range(3):
        run.add_metrics({"loss": 1.0}, step=step)
    run.stop()
    confirm("logged")

run.start()
"""
    with Script(text, config) as script:
        assert script.succeed() == ["logged"]
    assert steps(config) == [0, 1, 2]


@needs_fork
def test_a_forked_child_has_a_thread_of_its_own(config: dict[str, Any]) -> None:
    text = """
def log(client, step):
    run.add_metrics({"loss": 1.0}, step=step)
    while client._session._keeper._parked:
        time.sleep(0.01)

client = Client({**config, "keepalive": 0.1})
run = Experiment(client, name="experiment").get_run()
with run.track():
    run.add_metrics({"loss": 1.0}, step=0)
    child = os.fork()
    log(client, 1 if child else 2)
    if child == 0:
        os._exit(0)
    confirm(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    with Script(text, config) as script:
        assert script.succeed() == ["0"]
    assert steps(config) == [0, 1, 2]


def test_a_fork_waits_until_nothing_is_half_closed(watcher: _closing._Watcher) -> None:
    entered, end = threading.Event(), threading.Event()

    class Slow:
        def close_idle(self) -> float | None:
            entered.set()
            end.wait(10)
            return None

    slow = Slow()
    assert watcher.watch(slow)
    assert entered.wait(10)
    stopping = threading.Thread(target=watcher.stop)
    stopping.start()
    stopping.join(0.1)
    assert stopping.is_alive()
    end.set()
    stopping.join(10)
    assert not stopping.is_alive()


def test_an_engine_that_cannot_close_a_connection_does_not_keep_others_open(
    watcher: _closing._Watcher, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing:
        def close_idle(self) -> float | None:
            raise OSError("no")

    failing, idle = Failing(), Idle(times=2)
    watcher.watch(failing)
    watcher.watch(idle)
    wait_until(lambda: idle.times == 0)
    assert "closing an idle connection failed: no" in caplog.text


def test_an_object_is_not_kept_alive(watcher: _closing._Watcher) -> None:
    idle = Idle(times=1000, seconds=600)
    watcher.watch(idle)
    del idle
    wait_until(lambda: bool(watcher._tokens))


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this platform has no timers that send signals")
def test_signal_handlers_may_do_the_same_at_any_moment(watcher: _closing._Watcher) -> None:
    """Neither the handlers nor the interrupted code wait for each other, and the thread starts when it is needed."""
    kept = [Idle(times=1) for _ in range(2)]
    is_caught = False

    def handle(*args: Any) -> None:
        watcher.watch(kept[0])
        # An exception from a handler at the wrong moment costs at most one extra thread.
        if is_caught:
            raise KeyboardInterrupt

    previous = signal.signal(signal.SIGALRM, handle)
    try:
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline:
            with contextlib.suppress(KeyboardInterrupt):
                is_caught = True
                signal.setitimer(signal.ITIMER_REAL, 0.0002)
                # The exception is lost if the signal interrupts a finalizer.
                while time.monotonic() < deadline:
                    watcher.watch(kept[1])
                # The signal may come behind the block.
                is_caught = False
    finally:
        stop_timer(previous)
    last = Idle(times=1)
    assert watcher.watch(last)
    wait_until(lambda: not watcher._watched and bool(watcher._tokens))
    assert last.times == 0
