"""A program that catches Ctrl-C, or an exception from another signal handler, can continue to track."""

from __future__ import annotations

import contextlib
import gc
import random
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

import sqltrack
from sqltrack import Experiment, Run
from sqltrack._activity import activity
from sqltrack.errors import SQLTrackError
from support.databases import connect_to_postgres, connect_to_sqlite
from support.interruptions import count_moments, interrupt_at

CONNECT = {"sqlite": connect_to_sqlite, "postgres": connect_to_postgres}

# A connection that is not known yet, or no longer, is closed by garbage collection.
pytestmark = [
    pytest.mark.one_engine,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

# Moments of each call; the long form tries all.
_MOMENTS = 6

_ROWS = [{"step": 1, "loss": 0.5}, {"step": 2, "acc": 0.25}]


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    """Collect garbage here, and not in a test where warnings are errors."""
    yield
    gc.collect()


def in_block(run: Run) -> None:
    with run.client as connection:
        connection.execute("UPDATE runs SET comment = 'x'")
        run.add_metrics({"loss": 1.0}, step=1)


def in_blocks(run: Run) -> None:
    with run.client:
        run.add_metrics({"loss": 1.0}, step=1)
        with run.client, run.client.cursor() as cursor:
            cursor.execute("UPDATE runs SET comment = 'x'")


def in_cursor_block(run: Run) -> None:
    with run.client.cursor() as cursor:
        cursor.execute("UPDATE runs SET comment = 'x'")


def in_generator(run: Run) -> None:
    def log() -> Iterable[int]:
        with run.client:
            run.add_metrics({"loss": 1.0}, step=1)
            yield 1

    assert list(log()) == [1]


CALLS: dict[str, Callable[[Run], Any]] = {
    "add_metrics": lambda run: run.add_metrics({"loss": 0.5}, step=1),
    "add_metrics_many": lambda run: run.add_metrics_many(_ROWS),
    "set_status": lambda run: run.set_status("WAITING"),
    "execute": lambda run: run.client.execute("UPDATE runs SET comment = 'x'"),
    "executemany": lambda run: run.client.executemany("UPDATE runs SET comment = %s", [("x",), ("y",)]),
    "get_run": lambda run: Experiment(run.client, run.experiment_id).get_run(),
    "with client": in_block,
    "with client in another": in_blocks,
    "client.cursor": in_cursor_block,
    "with client in a generator": in_generator,
}


class TakesTooLongError(Exception):
    """Raised by a handler of SIGALRM. SQLTrack and drivers may catch it as if a value had raised it."""


# The result of an interrupted call.
RAISED: dict[type[BaseException], tuple[type[BaseException], ...]] = {
    KeyboardInterrupt: (KeyboardInterrupt,),
    TakesTooLongError: (TakesTooLongError, SQLTrackError),
}


def check(run: Run, config: dict[str, Any], name: str, moments: Iterable[int], error: type[BaseException]) -> None:
    def interrupt() -> None:
        raise error

    with contextlib.closing(CONNECT[config["engine"]](config)) as other:
        for step, moment in enumerate(moments, start=1000):
            try:
                interrupt_at(moment, lambda: CALLS[name](run), interrupt)
            except RAISED[error]:
                # While the exception still exists, with the frames in which it was raised.
                run.add_metrics({"loss": 2.0}, step=step)
            else:
                run.add_metrics({"loss": 2.0}, step=step)
            rows = other.execute(f"SELECT loss FROM metrics WHERE run_id = {run.id} AND step = {step}").fetchall()
            other.rollback()
            assert [loss for (loss,) in rows] == [2.0], f"interrupted before line {moment}"
            assert not activity.waiting, f"something of {name} waits, interrupted before line {moment}"


@pytest.fixture(params=[False, True], ids=["untracked", "tracked"])
def run(request: pytest.FixtureRequest, config: dict[str, Any]) -> Run:
    """A run of a client that does not wait long for locks that are never released."""
    client = sqltrack.Client({**config, **({"busy_timeout": 2} if config["engine"] == "sqlite" else {})})
    sqltrack.commands.setup(client)
    run = Experiment(client, name="caught").get_run().add_metrics({"loss": 0.5, "acc": 0.5}, step=0)
    return run.start() if request.param else run


@pytest.mark.unmeasured
@pytest.mark.parametrize("error", [KeyboardInterrupt, TakesTooLongError])
def test_metrics_after_a_caught_interrupt_are_stored(
    run: Run, config: dict[str, Any], error: type[BaseException]
) -> None:
    for name in CALLS:
        if name in ("executemany", "add_metrics_many") and error is TakesTooLongError:
            # psycopg's pipelines do not support this.
            continue
        moments = range(count_moments(lambda name=name: CALLS[name](run)))  # type: ignore[misc]
        check(run, config, name, random.sample(moments, _MOMENTS), error)


@pytest.mark.faults
@pytest.mark.parametrize("name", CALLS)
def test_metrics_after_every_caught_interrupt_are_stored(run: Run, config: dict[str, Any], name: str) -> None:
    check(run, config, name, range(count_moments(lambda: CALLS[name](run))), KeyboardInterrupt)


def test_waiting_calls_are_stored_even_if_that_was_interrupted(run: Run) -> None:
    """The state in which the exception leaves a thread does not last."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    def call() -> None:
        run.add_metrics({"loss": 0.5}, step=1)

    call()
    log = {count_moments(call) // 2: lambda: run.set_status("LOGGED")}
    moments = range(*log, count_moments(call, log))
    for moment in random.sample(moments[1:], 30):
        with contextlib.suppress(KeyboardInterrupt):
            count_moments(call, {**log, moment: interrupt})
        run.set_status("AFTER")
        (status,) = run.client.execute("SELECT status FROM runs WHERE id = %s", (run.id,)).fetchone()
        assert (status, len(activity.waiting)) == ("AFTER", 0), f"interrupted before lines {[*log, moment]}"


def test_a_limit_that_an_interruption_has_left_behind_does_not_count(run: Run) -> None:
    """Later calls wait as long as usual."""
    activity.deadline = time.monotonic() - 1
    assert activity.call_within(60, activity.present_deadline) is not None
    run.set_comment("x")
    assert activity.deadline is None
