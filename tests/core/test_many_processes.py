"""What many processes do at once in one database is all there."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from typing import Any

import sqltrack
from sqltrack import Experiment, Run
from support.metrics import logged, stored_value


def _log_in_process(config: dict[str, Any], run_id: int, barrier: Any) -> None:
    client = sqltrack.Client(config)
    run = Run(client, run_id=run_id)
    barrier.wait()
    with run.track():
        for step in range(20):
            run.add_metrics({"loss": step / 2, f"metric {step % 5}": 1.0}, step=step)


def test_many_processes_add_the_same_columns_at_once(config: dict[str, Any]) -> None:
    """DESIGN 5."""
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
    """DESIGN 5."""
    experiment = Experiment(sqltrack.Client(config), name="many")
    runs = [experiment.get_run() for _ in range(16)]
    run_processes(_log_new_names_in_process, config, [run.id for run in runs])
    for run in runs:
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
    """DESIGN 8: 32 processes with 200 rows each."""
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
    """Run a process per run, all beginning at once."""
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
