"""Code that interrupts SQLTrack in its own thread may log, read and set statuses at any moment."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sqltrack import Experiment, Run
from sqltrack.commands import setup
from support.interruptions import count_moments, interrupt_at

INSERT = "INSERT INTO experiments (name) VALUES (%s)"

# Of each call; the long form tries all.
_MOMENTS = 12


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
}


class Handler:
    """Does at some moment what handlers do, and remembers what must be in the database then."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.count = 0

    def __call__(self, *_: object) -> None:
        self.count += 1
        values = {"handled": [self.count]}
        self.run.add_metrics(values, step=1000 + self.count)
        # What the caller changes later is stored as it was.
        values["handled"].append(-1)
        self.run.add_metrics_many([{"step": 2000 + self.count, "loss": 0.5}])
        self.run.set_status(f"HANDLED {self.count}").add_tags(f"handled {self.count}")
        assert self.run.client.execute("SELECT count(*) FROM runs").fetchone()[0] > 0
        with self.run.client.cursor() as cursor:
            cursor.execute("SELECT id FROM runs WHERE id = %s", (self.run.id,))
            assert cursor.fetchone() == (self.run.id,)

    def check(self) -> None:
        client, run_id = self.run.client, self.run.id
        rows = client.execute("SELECT step FROM metrics WHERE run_id = %s", (run_id,)).fetchall()
        logged = {1000 + i for i in range(1, self.count + 1)} | {2000 + i for i in range(1, self.count + 1)}
        assert {step for (step,) in rows} == logged
        status, tags = client.execute("SELECT status, tags FROM runs WHERE id = %s", (run_id,)).fetchone()
        assert status == f"HANDLED {self.count}"
        assert tags == {f"handled {i}": True for i in range(1, self.count + 1)}
        handled = client.execute("SELECT handled FROM metrics WHERE step = %s", (1000 + self.count,)).fetchone()
        assert handled == ([self.count],)


@pytest.fixture
def handler(experiment: Experiment) -> Handler:
    """It writes to a run of its own."""
    return Handler(experiment.get_run())


@pytest.fixture(params=[False, True], ids=["untracked", "tracked"])
def tracked(request: pytest.FixtureRequest, handler: Handler) -> Iterator[bool]:
    """Whether the client keeps connections."""
    if request.param:
        handler.run.client._session.track(-1)
    yield request.param
    handler.run.client._session.untrack(-1)


@pytest.mark.unmeasured
@pytest.mark.usefixtures("tracked")
@pytest.mark.parametrize("name", CALLS)
def test_code_may_interrupt_a_call_at_any_moment(name: str, run: Run, handler: Handler) -> None:
    """Neither side waits, fails or loses anything, wherever between two lines of Python the handler runs."""
    call = CALLS[name]
    moments = count_moments(lambda: call(run))
    for begin in range(0, moments, max(moments // _MOMENTS, 1)):
        moment = begin + random.randrange(max(moments // _MOMENTS, 1))
        interrupt_at(moment, lambda: call(run), handler)
        handler.check()
