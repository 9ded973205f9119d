"""Many processes and threads at once, or killed at any moment, lose nothing."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import sqltrack
from sqltrack import Experiment, Run
from support.connections import count_connections, on_one_connection, record_connections
from support.databases import ask, statuses, steps
from support.metrics import logged, stored_value
from support.processes import Script

pytestmark = pytest.mark.one_engine

needs_kill = pytest.mark.skipif(sys.platform == "win32", reason="this platform has no SIGKILL")

BEGIN_ON_EMPTY_DATABASE = """
confirm("ready")
sys.stdin.read()
setup(client)
run = Experiment(client, name="same").get_run()
with run.track():
    for step in range(20):
        run.add_metrics({"loss": 1.0 / (step + 1)}, step=step)
"""

ADD_ITEMS = """
run = Run(client, run_id=RUN)
confirm("ready")
sys.stdin.read()
for i in range(25):
    run.add_args({f"arg NUMBER {i}": i})
    run.add_tags(f"tag NUMBER {i}")
"""


def run_together(texts: list[str], config: dict[str, Any]) -> list[list[str]]:
    """Run scripts that wait for the end of their input, which comes when all are ready."""
    with contextlib.ExitStack() as stack:
        reading, writing = os.pipe()
        signal = stack.enter_context(os.fdopen(writing, "wb"))
        with os.fdopen(reading, "rb") as stdin:
            scripts = [stack.enter_context(Script(text, config, stdin=stdin)) for text in texts]
        for script in scripts:
            assert script.read_line() == "ready"
        signal.close()
        return [script.succeed() for script in scripts]


def test_many_processes_may_begin_at_once_on_an_empty_database(empty_config: dict[str, Any]) -> None:
    """One of the processes creates the tables and the experiment, and each gets a run."""
    outputs = run_together([BEGIN_ON_EMPTY_DATABASE] * 12, empty_config)
    assert sorted(outputs) == [["ready", "(NEW) base.sql"]] + [["ready", "(OK) base.sql"]] * 11
    assert ask(empty_config, "SELECT count(*) FROM experiments") == 1
    assert statuses(empty_config) == ["COMPLETED"] * 12
    assert ask(empty_config, "SELECT count(*) FROM metrics") == 240


def test_items_that_many_processes_add_at_once_are_all_kept(run: Run, config: dict[str, Any]) -> None:
    numbers = range(8)
    run_together([ADD_ITEMS.replace("RUN", str(run.id)).replace("NUMBER", str(n)) for n in numbers], config)
    assert run.client.execute("SELECT args, tags FROM runs").fetchone() == (
        {f"arg {number} {i}": i for number in numbers for i in range(25)},
        {f"tag {number} {i}": True for number in numbers for i in range(25)},
    )


KILL_AT_500 = """
run = Experiment(client, name="experiment").get_run().start()
for step in range(1000):
    run.add_metrics({"loss": 1.0}, step=step)
    if step == 499:
        os.kill(os.getpid(), signal.SIGKILL)
"""


@needs_kill
def test_confirmed_rows_of_a_killed_process_are_there(config: dict[str, Any]) -> None:
    with Script(KILL_AT_500, config) as script:
        assert script.finish().status == -9
    assert steps(config) == list(range(500))
    assert statuses(config) == ["RUNNING"]


@pytest.mark.not_pooled("it counts the server's sessions, which are the pooler's")
def test_threads_share_the_client_of_a_tracked_run(
    run: Run, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads log to one run through at most one connection each, and lose nothing."""
    opened = record_connections(run.client, monkeypatch)

    def log(number: int) -> None:
        for step in range(number * 50, number * 50 + 50):
            run.add_metrics({"loss": 1.0}, step=step)

    with run.track(), ThreadPoolExecutor(4) as pool:
        list(pool.map(log, range(4)))
    assert steps(config) == list(range(200))
    assert len(opened) <= 4
    assert count_connections(config) == 0


# Metrics


def _log_in_process(config: dict[str, Any], run_id: int, barrier: Any) -> None:
    client = sqltrack.Client(config)
    run = Run(client, run_id=run_id)
    barrier.wait()
    with run.track():
        for step in range(20):
            run.add_metrics({"loss": step / 2, f"metric {step % 5}": 1.0}, step=step)


def test_many_processes_add_the_same_columns_at_once(config: dict[str, Any]) -> None:
    """Each column is added once, whatever the number of processes that need it."""
    experiment = Experiment(sqltrack.Client(config), name="many")
    runs = [experiment.get_run() for _ in range(6)]
    run_processes(_log_in_process, config, [run.id for run in runs])
    for run in runs:
        assert logged(run, "loss") == [step / 2 for step in range(20)]
    description = run.client.execute("SELECT * FROM metrics").description or ()
    names = [column[0] for column in description]
    assert sorted(names[3:]) == ["loss", *(f"metric {i}" for i in range(5))]


def _log_new_names_in_process(config: dict[str, Any], run_id: int, barrier: Any) -> None:
    client = sqltrack.Client(config)
    run = Run(client, run_id=run_id)
    barrier.wait()
    with run.track():
        for step in range(25):
            run.add_metrics({"loss": step / 2, f"metric {(step * 7 + run_id) % 60}": step + 0.25}, step=step)


def test_nothing_is_lost_while_processes_keep_adding_new_names(config: dict[str, Any]) -> None:
    experiment = Experiment(sqltrack.Client(config), name="many")
    runs = [experiment.get_run() for _ in range(16)]
    run_processes(_log_new_names_in_process, config, [run.id for run in runs])
    for run in runs:
        with on_one_connection(run.client):
            for step in range(25):
                assert stored_value(run, "loss", step) == step / 2
                assert stored_value(run, f"metric {(step * 7 + run.id) % 60}", step) == step + 0.25
    description = run.client.execute("SELECT * FROM metrics").description or ()
    names = [column[0] for column in description]
    assert len(names) == len(set(names))


def _log_in_process_many(config: dict[str, Any], run_id: int, barrier: Any) -> None:
    run = Run(sqltrack.Client(config), run_id=run_id)
    barrier.wait()
    with run.track():
        for step in range(200):
            run.add_metrics({"loss": step / 2}, step=step)


def test_32_writers_and_a_reader_lose_nothing(config: dict[str, Any]) -> None:
    """None of the 200 rows of each of 32 processes is lost, while another client counts them."""
    client = sqltrack.Client(config)
    experiment = Experiment(client, name="many")
    runs = [experiment.get_run() for _ in range(32)]
    counts: list[int] = []
    run_processes(
        _log_in_process_many,
        config,
        [run.id for run in runs],
        meanwhile=lambda: counts.append(client.execute("SELECT count(*) FROM metrics").fetchone()[0]),
    )
    assert client.execute("SELECT count(*) FROM metrics").fetchone() == (6400,)
    assert counts == sorted(counts)


def run_processes(
    target: Any, config: dict[str, Any], run_ids: list[int], meanwhile: Callable[[], None] | None = None
) -> None:
    """Run a process per run, all starting at once."""
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(len(run_ids))
    processes = [context.Process(target=target, args=(config, run_id, barrier)) for run_id in run_ids]
    for process in processes:
        process.start()
    while any(process.is_alive() for process in processes):
        if meanwhile is not None:
            meanwhile()
        processes[0].join(0.05)
    assert [process.exitcode for process in processes] == [0] * len(processes)
