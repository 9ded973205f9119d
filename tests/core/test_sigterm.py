"""Functions that are called on SIGTERM cooperate with the signal handlers of other packages."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sqltrack import Run, sigterm
from sqltrack.errors import DatabaseError, DatabaseUnavailableError
from support.databases import statuses, steps
from support.platforms import needs_sigterm
from support.signals import let_statements_signal

pytestmark = needs_sigterm


class Calls(list[str]):
    """The names of the called functions, in order."""

    def function(self, name: str) -> Callable[[], None]:
        return lambda: self.append(name)

    def handler(self, name: str) -> Callable[[int, Any], None]:
        return lambda number, frame: self.append(f"{name} {number}")


@pytest.fixture
def calls() -> Calls:
    return Calls()


@pytest.fixture
def _handlers() -> Iterator[None]:
    """Start without a handler, and restore the previous handler without functions at the end."""
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    for key in "abc":
        sigterm.deregister(key)
    signal.signal(signal.SIGTERM, before)


def terminate() -> None:
    signal.raise_signal(signal.SIGTERM)


def assert_terminates() -> None:
    with pytest.raises(SystemExit) as info:
        terminate()
    assert info.value.code == 143


def in_thread(function: Callable[[], Any]) -> None:
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()


@pytest.mark.usefixtures("_handlers")
def test_functions_are_called_in_the_order_of_their_registration(calls: Calls) -> None:
    """A key that is registered again keeps its place, and unknown keys do no harm."""
    for key in "bac":
        sigterm.register(key, calls.function(key))
    sigterm.register("a", calls.function("another a"))
    sigterm.deregister("c")
    sigterm.deregister("not registered")
    assert_terminates()
    assert calls == ["b", "another a"]


@pytest.mark.usefixtures("_handlers")
def test_the_previous_handler_is_called_afterwards_and_decides(calls: Calls) -> None:
    """The previous handler is called after the functions, and decides whether the process ends."""
    signal.signal(signal.SIGTERM, calls.handler("previous"))
    sigterm.register("a", calls.function("a"))
    terminate()
    assert calls == ["a", "previous 15"]
    terminate()
    assert calls == ["a", "previous 15"] * 2


@pytest.mark.usefixtures("_handlers")
def test_exceptions_of_the_previous_handler_are_passed_on(calls: Calls) -> None:
    def previous(number: int, frame: Any) -> None:
        raise ZeroDivisionError

    signal.signal(signal.SIGTERM, previous)
    sigterm.register("a", calls.function("a"))
    with pytest.raises(ZeroDivisionError):
        terminate()
    with pytest.raises(ZeroDivisionError):
        terminate()
    assert calls == ["a", "a"]


@pytest.mark.usefixtures("_handlers")
def test_a_function_that_fails_does_not_stop_the_others(calls: Calls, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise ZeroDivisionError("no luck")

    sigterm.register("a", fail)
    sigterm.register("b", calls.function("b"))
    assert_terminates()
    assert calls == ["b"]
    assert [(record.name, record.levelno) for record in caplog.records] == [("sqltrack.sigterm", logging.ERROR)]
    assert "'a'" in caplog.text
    assert "no luck" in caplog.text


@pytest.mark.usefixtures("_handlers")
def test_a_process_that_ignores_the_signal_keeps_ignoring_it(calls: Calls) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sigterm.register("a", calls.function("a"))
    terminate()
    assert calls == []
    sigterm.deregister("a")
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN


@pytest.mark.usefixtures("_handlers")
def test_another_thread_only_records_the_function(calls: Calls) -> None:
    """Only the main thread installs the handler, which then calls the functions of all threads."""
    in_thread(lambda: sigterm.register("a", calls.function("a")))
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    sigterm.register("b", calls.function("b"))
    assert_terminates()
    assert calls == ["a", "b"]
    in_thread(lambda: sigterm.deregister("a"))
    assert_terminates()
    assert calls == ["a", "b", "b"]


@pytest.mark.usefixtures("_handlers")
def test_the_last_function_takes_the_handler_along(calls: Calls) -> None:
    previous = calls.handler("previous")
    for handler in (signal.SIG_DFL, previous):
        signal.signal(signal.SIGTERM, handler)
        sigterm.register("a", calls.function("a"))
        sigterm.register("b", calls.function("b"))
        sigterm.deregister("b")
        assert signal.getsignal(signal.SIGTERM) is not handler
        sigterm.deregister("a")
        assert signal.getsignal(signal.SIGTERM) is handler
    sigterm.deregister("a")
    assert signal.getsignal(signal.SIGTERM) is previous


@pytest.mark.usefixtures("_handlers")
def test_a_handler_left_behind_by_another_thread_ends_the_process(calls: Calls) -> None:
    """Only the main thread can restore the previous handler; until then, ours stands in for it."""
    sigterm.register("a", calls.function("a"))
    in_thread(lambda: sigterm.deregister("a"))
    assert_terminates()
    assert calls == []


@pytest.mark.usefixtures("_handlers")
def test_a_handler_over_ours_that_calls_ours_does_not_loop(calls: Calls) -> None:
    """For example if a package keeps and calls the handler that it finds, as we do."""
    sigterm.register("a", calls.function("a"))
    ours = signal.getsignal(signal.SIGTERM)
    assert callable(ours)

    def theirs(number: int, frame: Any) -> None:
        calls.append("theirs")
        ours(number, frame)

    signal.signal(signal.SIGTERM, theirs)
    assert_terminates()
    assert calls == ["theirs", "a"]
    calls.clear()
    # Now each has the other below its own.
    sigterm.register("b", calls.function("b"))
    assert_terminates()
    assert sorted(calls) == ["a", "b", "theirs"]


@pytest.mark.usefixtures("_handlers")
def test_a_handler_over_ours_stays_when_the_last_function_goes(calls: Calls) -> None:
    sigterm.register("a", calls.function("a"))
    theirs = calls.handler("theirs")
    signal.signal(signal.SIGTERM, theirs)
    sigterm.deregister("a")
    assert signal.getsignal(signal.SIGTERM) is theirs
    terminate()
    assert calls == ["theirs 15"]


@pytest.mark.usefixtures("_handlers")
def test_the_exit_is_known_until_the_last_function_goes(calls: Calls) -> None:
    sigterm.register("a", calls.function("a"))
    assert sigterm.begun_exit() is None
    with pytest.raises(SystemExit) as info:
        terminate()
    assert sigterm.begun_exit() is info.value
    sigterm.deregister("a")
    assert sigterm.begun_exit() is None


@pytest.mark.usefixtures("_handlers")
def test_a_second_signal_during_the_first_calls_nothing_twice(calls: Calls) -> None:
    """Batch systems send several signals."""

    def interrupted() -> None:
        calls.append("a")
        terminate()

    sigterm.register("a", interrupted)
    sigterm.register("b", calls.function("b"))
    assert_terminates()
    assert calls == ["a", "b"]


@pytest.mark.usefixtures("_handlers")
def test_a_run_that_is_stopped_leaves_no_handler_behind(run: Run) -> None:
    with run.track():
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    run.start()
    run.start()
    run.stop()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.usefixtures("_handlers")
def test_a_program_that_survives_the_signal_has_lost_its_transaction(
    run: Run, config: dict[str, Any], calls: Calls
) -> None:
    """The signal rolls back an open transaction, and later calls of it raise an error that says so."""
    client = run.client
    signal.signal(signal.SIGTERM, calls.handler("previous"))
    sql = "INSERT INTO experiments (name) VALUES ('rolled back')"
    with run.track(terminated="TIMEOUT"):
        with client:
            client.execute(sql)
            terminate()
            for call in (lambda: client.execute(sql), client.commit, lambda: run.add_metrics({"loss": 1.0})):
                with pytest.raises(DatabaseUnavailableError, match="rolled back because .* told to terminate"):
                    call()
        run.add_metrics({"loss": 2.0}, step=1)
    assert calls == ["previous 15"]
    assert steps(config) == [1]
    assert statuses(config) == ["TIMEOUT"]
    assert client.execute("SELECT count(*) FROM experiments WHERE name = 'rolled back'").fetchone() == (0,)


@pytest.mark.engines("sqlite")
@pytest.mark.usefixtures("_handlers")
def test_a_program_that_survives_the_signal_learns_the_fate_of_its_statement(
    run: Run, config: dict[str, Any], calls: Calls
) -> None:
    signal.signal(signal.SIGTERM, calls.handler("previous"))
    with run.track(), run.client as connection:
        let_statements_signal(connection, signal.SIGTERM)
        with pytest.raises(DatabaseError, match="ROLLBACK"):
            run.client.execute("UPDATE runs SET comment = strike(), tags = sqltrack_merge_json(tags, '{}')")
    run.add_metrics({"loss": 1.0})
    assert calls == ["previous 15"]
    assert statuses(config) == ["CANCELLED"]
    assert steps(config) == [0]
