"""Code that interrupts SQLTrack in its own thread may log, read and set statuses at any moment."""

from __future__ import annotations

import contextlib
import gc
import random
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

import sqltrack
from sqltrack import Experiment, Run, _activity
from sqltrack.commands import setup
from sqltrack.errors import DatabaseLockedError, UnusableValueError
from support.databases import connect_to_postgres, connect_to_sqlite
from support.interruptions import count_moments, interrupt_at
from support.platforms import needs_posix
from support.signals import stop_timer

pytestmark = pytest.mark.one_engine

INSERT = "INSERT INTO experiments (name) VALUES (%s)"

# Moments of each call; the long form tries all.
_MOMENTS = 4


def with_block(run: Run) -> None:
    with run.client as connection:
        connection.execute("UPDATE runs SET comment = 'x' WHERE id = %s", (run.id,))
        run.add_metrics({"loss": 1.0}, step=1)


def with_cursor(run: Run) -> None:
    with run.client.cursor() as cursor:
        cursor.execute("UPDATE runs SET comment = 'x' WHERE id = %s", (run.id,))
        cursor.execute("SELECT * FROM runs")
        assert cursor.fetchall()


def with_commit(run: Run) -> None:
    with run.client:
        run.set_comment("x")
        run.client.commit()
        run.set_comment("y")
        run.client.rollback()


def with_failure(run: Run) -> None:
    with pytest.raises(ZeroDivisionError), run.client:
        run.set_comment("x")
        raise ZeroDivisionError


def with_nested_blocks(run: Run) -> None:
    with run.client:
        with_block(run)
        run.add_tags("a")


def with_track(run: Run) -> None:
    with run.track():
        run.add_metrics({"loss": 2.0}, step=2)


CALLS: dict[str, Callable[[Run], Any]] = {
    "add_metrics": lambda run: run.add_metrics({"loss": 0.5}, step=1),
    "add_metrics new": lambda run: run.add_metrics({f"new {time.perf_counter_ns()}": 0.5}, step=1),
    "add_metrics_many": lambda run: run.add_metrics_many([{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.25}]),
    "add_args": lambda run: run.add_args({"lr": 0.1}),
    "add_env": lambda run: run.add_env({"A": "b"}),
    "add_link": lambda run: run.add_link("resumes", run.id),
    "add_tags": lambda run: run.add_tags("a", "b"),
    "remove_args": lambda run: run.remove_args("lr"),
    "remove_link": lambda run: run.remove_link("resumes", run.id),
    "set_status": lambda run: run.set_status("PLANNED"),
    "set_updated": lambda run: run.set_updated(),
    "start and stop": lambda run: run.start().stop(),
    "track": with_track,
    "get_run": lambda run: Experiment(run.client, run.experiment_id).get_run(),
    "Experiment": lambda run: Experiment(run.client, name=f"new {time.perf_counter_ns()}").set_comment("x"),
    "set_name": lambda run: Experiment(run.client, name=f"new {time.perf_counter_ns()}").set_name(str(time.time_ns())),
    "execute": lambda run: run.client.execute("SELECT * FROM runs").fetchall(),
    "execute insert": lambda run: run.client.execute(INSERT, (str(time.perf_counter_ns()),)),
    "executemany": lambda run: run.client.executemany(INSERT, [(str(time.perf_counter_ns()),) for _ in range(3)]),
    "executescript": lambda run: run.client.executescript(
        "UPDATE runs SET comment = 'a'; UPDATE runs SET comment = ''"
    ),
    "setup": lambda run: setup(run.client),
    "with client": with_block,
    "client.cursor": with_cursor,
    "client.commit": with_commit,
    "with client that fails": with_failure,
    "with client in another": with_nested_blocks,
}


class Handler:
    """Acts at some moment as handlers do, and remembers what the database must then contain.

    It may interrupt itself, but only twice: signals repeat, and on a busy machine might do so without end.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.count = 0
        self._running = 0
        self._last: set[int] = set()

    def __call__(self, *_: object) -> None:
        if self._running == 3:
            return
        if not self._running:
            self._last.clear()
        self._running += 1
        self.count += 1
        number = self.count
        # If calls interrupt each other, either may set the status last.
        self._last.add(number)
        values = {"handled": [number]}
        self.run.add_metrics(values, step=1000 + number)
        # The values are stored as they were, even if the caller changes them later.
        values["handled"].append(-1)
        self.run.add_metrics_many([{"step": 2000 + number, "loss": 0.5}])
        self.run.set_status(f"HANDLED {number}").add_tags(f"handled {number}")
        assert self.run.client.execute("SELECT count(*) FROM runs").fetchone()[0] > 0
        with self.run.client.cursor() as cursor:
            cursor.execute("SELECT id FROM runs WHERE id = %s", (self.run.id,))
            assert cursor.fetchone() == (self.run.id,)
        self._running -= 1

    def check(self) -> None:
        """Check the logged values, if that moment was reached; calls are not always the same."""
        if not self.count:
            return
        client, run_id = self.run.client, self.run.id
        rows = client.execute("SELECT step FROM metrics WHERE run_id = %s", (run_id,)).fetchall()
        logged = {1000 + i for i in range(1, self.count + 1)} | {2000 + i for i in range(1, self.count + 1)}
        assert {step for (step,) in rows} == logged
        status, tags = client.execute("SELECT status, tags FROM runs WHERE id = %s", (run_id,)).fetchone()
        assert status in {f"HANDLED {i}" for i in self._last}
        assert tags == {f"handled {i}": True for i in range(1, self.count + 1)}
        handled = client.execute(
            "SELECT handled FROM metrics WHERE run_id = %s AND step = %s", (run_id, 1000 + self.count)
        )
        assert handled.fetchone() == ([self.count],)


@pytest.fixture
def handler(experiment: Experiment) -> Handler:
    """It writes to its own run."""
    return Handler(experiment.get_run())


@pytest.fixture(params=[False, True], ids=["untracked", "tracked"])
def tracked(request: pytest.FixtureRequest, client: sqltrack.Client) -> Iterator[bool]:
    """Whether the client keeps connections."""
    if request.param:
        client._session.track(-1)
    yield request.param
    client._session.untrack(-1)


def interrupt_each(moments: Iterable[int], call: Callable[[], Any], handler: Handler) -> None:
    for moment in moments:
        interrupt_at(moment, call, handler)
        handler.check()


@pytest.mark.unmeasured
@pytest.mark.usefixtures("tracked")
def test_code_may_interrupt_a_call_at_any_moment(experiment: Experiment) -> None:
    """Neither side waits, fails or loses anything, between any two lines of Python."""
    for name, call in CALLS.items():
        run, handler = experiment.get_run(), Handler(experiment.get_run())
        moments = count_moments(lambda call=call, run=run: call(run))  # type: ignore[misc]
        chosen = random.sample(range(moments), min(_MOMENTS, moments))
        print(name, chosen)
        interrupt_each(chosen, lambda call=call, run=run: call(run), handler)  # type: ignore[misc]


@pytest.mark.faults
@pytest.mark.usefixtures("tracked")
@pytest.mark.parametrize("name", CALLS)
def test_code_may_interrupt_a_call_at_every_moment(name: str, run: Run, handler: Handler) -> None:
    moments = count_moments(lambda: CALLS[name](run))
    interrupt_each(range(moments), lambda: CALLS[name](run), handler)


@contextlib.contextmanager
def locked(config: dict[str, Any], seconds: float) -> Iterator[None]:
    """Let another connection hold a lock on the existing runs for a while."""
    with contextlib.closing(CONNECT[config["engine"]](config)) as connection, ThreadPoolExecutor() as pool:
        connection.execute("BEGIN")
        connection.execute("UPDATE runs SET comment = ''")
        ended = pool.submit(lambda: (time.sleep(seconds), connection.execute("COMMIT")))
        yield
        ended.result()


CONNECT = {"sqlite": connect_to_sqlite, "postgres": connect_to_postgres}
WAITING = ["add_metrics", "add_metrics_many", "add_args", "set_status", "with client", "client.cursor", "executescript"]


@pytest.fixture
def _alarm(handler: Handler) -> Iterator[None]:
    before = signal.signal(signal.SIGALRM, handler)
    _activity._handlers.forget()
    yield
    stop_timer(before)


@needs_posix
@pytest.mark.usefixtures("_alarm")
@pytest.mark.parametrize("name", WAITING)
def test_a_handler_may_interrupt_a_call_that_waits_for_others(
    name: str, run: Run, handler: Handler, config: dict[str, Any]
) -> None:
    # A start that does not set `time_updated`, so that the first metrics change the run, too.
    with run.track(updated=None), locked(config, 0.25):
        signal.setitimer(signal.ITIMER_REAL, 0.1, 0.05)
        CALLS[name](run)
        signal.setitimer(signal.ITIMER_REAL, 0)
    assert handler.count
    handler.check()


@needs_posix
@pytest.mark.engines("postgres")
@pytest.mark.usefixtures("_alarm")
def test_a_handler_may_interrupt_a_statement_of_the_users_own(run: Run, handler: Handler) -> None:
    """Even a statement that is executed directly on the connection."""
    sql = "SELECT pg_sleep(0.25)"
    signal.setitimer(signal.ITIMER_REAL, 0.1, 0.05)
    run.client.execute(sql)
    with run.client as connection:
        connection.execute(sql)
        run.client.execute(sql)
    with run.client.cursor() as cursor:
        cursor.execute(sql)
        for _ in cursor.stream("SELECT generate_series(1, 3), pg_sleep(0.05)"):
            run.add_metrics({"streamed": 1.0}, step=1)
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert handler.count > 4
    handler.check()


@needs_posix
@pytest.mark.engines("postgres")
@pytest.mark.usefixtures("_alarm")
def test_a_handler_may_interrupt_a_pipeline(run: Run, handler: Handler) -> None:
    signal.setitimer(signal.ITIMER_REAL, 0.05, 0.1)
    deadline = time.monotonic() + 0.5
    while time.monotonic() < deadline:
        with run.client as connection, connection.pipeline():
            connection.execute("UPDATE runs SET comment = 'x' WHERE id = %s", (run.id,))
            run.add_metrics({"loss": 0.5}, step=1)
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert handler.count
    handler.check()


class Late:
    """Logs when it is finalized."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.itself = self

    def __del__(self) -> None:
        self.handler()


@pytest.mark.parametrize("name", ["add_metrics", "add_metrics new", "with client", "executemany"])
def test_a_finalizer_may_interrupt_a_call(name: str, run: Run, handler: Handler) -> None:
    """The garbage collector runs at any moment."""
    moments = count_moments(lambda: CALLS[name](run))

    def collect() -> None:
        Late(handler)
        gc.collect()

    for moment in random.sample(range(moments), 4):
        interrupt_at(moment, lambda: CALLS[name](run), collect)
        handler.check()


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_handlers_may_interrupt_handlers(share: float, run: Run, handler: Handler) -> None:
    moment = int(share * count_moments(Handler(Experiment(run.client, run.experiment_id).get_run())))
    inner = Handler(run)
    interrupt_at(20, lambda: run.client.execute("SELECT 1"), lambda: interrupt_at(moment, handler, inner))
    handler.check()
    inner.check()


def log_twice(run: Run, choose: Callable[[range], Iterable[int]]) -> None:
    """Let two handlers interrupt a call; the second acts at chosen moments of those that remain."""

    def call() -> None:
        run.add_metrics({"loss": 0.5}, step=1)

    call()
    moment, log = count_moments(call) // 2, partial(run.set_status, "FIRST")
    for later in choose(range(moment + 1, count_moments(call, {moment: log}))):
        run.set_status("BEFORE")
        is_late = count_moments(call, {moment: log, later: partial(run.set_status, "SECOND")}) <= later
        (status,) = run.client.execute("SELECT status FROM runs WHERE id = %s", (run.id,)).fetchone()
        assert is_late or status == "SECOND", f"interrupted before lines {moment} and {later}"


def test_waiting_calls_are_stored_in_order(run: Run) -> None:
    """This includes calls that are made while waiting calls are being stored."""
    log_twice(run, lambda moments: random.sample(moments, 40))


@pytest.mark.faults
def test_waiting_calls_are_stored_in_order_at_every_moment(run: Run) -> None:
    log_twice(run, lambda moments: moments)


def test_rows_that_a_generator_yields_while_they_are_stored_may_be_logged(run: Run) -> None:
    """A generator of rows may log and read while the database stores them."""

    def names() -> Iterator[tuple[str]]:
        for number in range(3):
            run.add_metrics({"loss": number}, step=number)
            (count,) = run.client.execute("SELECT count(*) FROM experiments").fetchone()
            yield (f"{number} {count}",)

    run.client.executemany(INSERT, names())
    assert run.client.execute("SELECT count(*) FROM metrics").fetchone() == (3,)
    assert run.client.execute("SELECT count(*) FROM experiments").fetchone() == (4,)


def test_calls_that_cannot_be_stored_later_are_logged(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    """The interrupted call is not affected."""

    def log() -> None:
        sqltrack.run_add_metrics(run.client, 12345, {"loss": 0.5})

    with run.client as connection, connection.cursor() as cursor:
        cursor.executemany(INSERT, ((str(log()),) for _ in range(1)))
    assert "its changes are lost" in caplog.text
    assert "12345" in caplog.text


@pytest.mark.no_outbox
def test_a_call_that_cannot_wait_names_the_holder_of_the_lock(run: Run) -> None:
    """A new run needs an id at once, and SQLite gives one only to the interrupted transaction."""

    def names() -> Iterator[tuple[str]]:
        if run.client.config["engine"] == "sqlite":
            with pytest.raises(DatabaseLockedError, match="of this thread that was interrupted"):
                Run(run.client, run.experiment_id)
        else:
            Run(run.client, run.experiment_id)
        yield ("new",)

    with run.client:
        run.set_comment("locked")
        run.client.executemany(INSERT, names())


def test_a_bad_value_is_an_error_of_the_handler(run: Run) -> None:
    def log() -> None:
        with pytest.raises(UnusableValueError):
            run.add_metrics({"": 0.5})

    run.client.executemany(INSERT, ((str(log()),) for _ in range(1)))


@needs_posix
@pytest.mark.usefixtures("_alarm")
def test_changes_by_a_handler_between_two_statements_outlive_the_block(run: Run, handler: Handler) -> None:
    with pytest.raises(ZeroDivisionError), run.client:
        run.set_comment("lost")
        signal.raise_signal(signal.SIGALRM)
        Late(handler)
        gc.collect()
        raise ZeroDivisionError
    assert handler.count == 2
    handler.check()
    assert run.client.execute("SELECT comment FROM runs WHERE id = %s", (run.id,)).fetchone() == (None,)
