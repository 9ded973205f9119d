"""The shared part of all integrations, without any framework."""

from __future__ import annotations

import copy
import itertools
import logging
import math
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import sqltrack
from sqltrack.errors import ConfigError, MissingPackageError, UnusableValueError
from sqltrack.integrations import _ranks, _tracker
from sqltrack.integrations._frameworks import require
from sqltrack.integrations._ranks import current_rank
from sqltrack.integrations._tracker import Tracker
from support.away import away, with_outbox
from support.logging_threads import wait_until

FRAMEWORKS = (
    *("lightning", "transformers", "accelerate", "keras", "sklearn", "xgboost", "lightgbm", "catboost", "optuna"),
    *("hydra", "stable_baselines3", "torch"),
)

TRAINING = """
from sqltrack.integrations._tracker import Tracker
tracker = Tracker(experiment="digits", client=client)
tracker.begin()
tracker.log({"loss": 0.5}, 1)
strike()
tracker.end()
"""


def status_of(client: sqltrack.Client, run: sqltrack.Run | None) -> str:
    assert run is not None
    return str(client.execute("SELECT status FROM runs WHERE id = %s", (run.id,)).fetchone()[0])


def points_of(client: sqltrack.Client, run: sqltrack.Run | None) -> list[Any]:
    assert run is not None
    sql = "SELECT step, progress, loss FROM metrics WHERE run_id = %s ORDER BY step, progress"
    return client.execute(sql, (run.id,)).fetchall()


def count_runs(client: sqltrack.Client) -> int:
    return int(client.execute("SELECT COUNT(*) FROM runs").fetchone()[0])


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.levelno >= logging.WARNING]


def test_importing_the_package_imports_no_framework() -> None:
    code = f"""
import sys
import sqltrack.integrations, sqltrack.integrations._tracker
print(sorted(set({FRAMEWORKS!r}) & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["transformers", "accelerate", "keras", "xgboost", "hydra", "stable_baselines3"])
def test_a_missing_framework_is_an_error_that_names_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [module for module in sys.modules if module.split(".")[0] == name]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, f"sqltrack.integrations.{name}", raising=False)
    with pytest.raises(MissingPackageError, match=rf"^sqltrack.integrations.{name} requires '.*'; install it with: "):
        __import__(f"sqltrack.integrations.{name}")


def test_a_framework_that_lacks_a_package_of_its_own_raises_its_error() -> None:
    """Keras without a backend, for example."""
    missing = pytest.raises(ModuleNotFoundError, match="No module named 'missing_backend'")
    with missing as info, require("sqltrack.integrations.keras", "keras"):
        __import__("missing_backend")
    assert not isinstance(info.value, MissingPackageError)


def test_no_run_is_created_before_the_first_use(client: sqltrack.Client) -> None:
    tracker = Tracker(experiment="digits", client=client)
    assert tracker.run is None
    assert count_runs(client) == 0
    tracker.begin()
    assert status_of(client, tracker.run) == "RUNNING"
    tracker.end()
    assert status_of(client, tracker.run) == "COMPLETED"
    tracker.end("FAILED")
    assert status_of(client, tracker.run) == "COMPLETED"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "a run needs an experiment, got none"),
        ({"run": "digits"}, "run must be a Run, got 'digits'"),
        ({"experiment": True}, "experiment must be a name or an id, got True"),
        ({"experiment": 1.5}, "experiment must be a name or an id, got 1.5"),
    ],
)
def test_wrong_arguments_are_refused_before_the_training(
    client: sqltrack.Client, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(UnusableValueError, match=message):
        Tracker(**arguments, client=None if arguments.get("run") else client)


def test_a_run_together_with_an_experiment_is_refused(run: sqltrack.Run) -> None:
    with pytest.raises(UnusableValueError, match="run is given together with an experiment"):
        Tracker(run, "digits")


def test_an_unusable_configuration_is_refused_before_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQLTRACK_DSN_ENGINE", "oracle")
    with pytest.raises(ConfigError):
        Tracker(experiment="digits")


def test_the_environment_names_the_run(run: sqltrack.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQLTRACK_EXPERIMENT_ID", str(run.experiment_id))
    monkeypatch.setenv("SQLTRACK_RUN_ID", str(run.id))
    tracker = Tracker(client=run.client)
    tracker.begin()
    assert tracker.run is not None
    assert tracker.run.id == run.id
    tracker.end()


def test_a_run_that_the_program_tracks_keeps_its_status(run: sqltrack.Run) -> None:
    tracker = Tracker(run)
    with run.track():
        tracker.begin()
        tracker.end()
        assert status_of(run.client, run) == "RUNNING"
    assert status_of(run.client, run) == "COMPLETED"


def test_ctrl_c_that_a_framework_keeps_to_itself_cancels_also_such_a_run(run: sqltrack.Run) -> None:
    tracker = Tracker(run)
    with pytest.raises(SystemExit), run.track():
        tracker.begin()
        tracker.end_by(KeyboardInterrupt())
        sys.exit(1)
    assert status_of(run.client, run) == "CANCELLED"


def test_a_run_that_was_not_started_is_started_and_stopped(run: sqltrack.Run) -> None:
    tracker = Tracker(run)
    tracker.begin()
    assert status_of(run.client, run) == "RUNNING"
    tracker.end_by(ValueError("no convergence"))
    assert status_of(run.client, run) == "FAILED"


def test_each_training_gets_a_run_of_its_own_unless_one_is_given(client: sqltrack.Client, run: sqltrack.Run) -> None:
    for tracker, expected in ((Tracker(experiment="digits", client=client), 2), (Tracker(run), 1)):
        ids = set()
        for _ in range(2):
            tracker.begin()
            assert tracker.run is not None
            ids.add(tracker.run.id)
            tracker.end()
        assert len(ids) == expected


def test_a_resumed_training_removes_the_rows_after_its_checkpoint(client: sqltrack.Client) -> None:
    tracker = Tracker(experiment="digits", client=client)
    tracker.begin()
    for step in range(5):
        tracker.log({"loss": step}, step, step / 5)
    tracker.end()
    resumed = Tracker(tracker.run)
    resumed.begin(resumes_after=2)
    # The number of steps has changed, and so has the progress.
    for step in (3, 4, 5):
        resumed.log({"loss": -step}, step, step / 10)
    resumed.end()
    assert [(step, loss) for step, _, loss in points_of(client, tracker.run)] == [
        *((0, 0), (1, 1), (2, 2)),
        *((3, -3), (4, -4), (5, -5)),
    ]


def test_a_training_that_was_given_up_leaves_the_status_to_the_one_that_continues_it(client: sqltrack.Client) -> None:
    """In a notebook, the exception of the first one does not end the process."""
    first = Tracker(experiment="digits", client=client)
    first.begin()
    assert first.run is not None
    second = Tracker(sqltrack.Run(client, None, first.run.id))
    second.begin(resumes_after=3)
    second.end()
    first.end_at_exit()
    assert status_of(client, first.run) == "COMPLETED"


def test_there_is_one_row_for_each_step(client: sqltrack.Client) -> None:
    tracker = Tracker(experiment="digits", client=client)
    tracker.log({"loss": 1.0}, 3, 0.3)
    tracker.log({"accuracy": 0.5}, 3, 0.31)
    tracker.log({"error": 0.5})
    tracker.log({}, 4)
    assert points_of(client, tracker.run) == [(3, 0.3, 1.0)]


def test_nan_and_long_and_nested_parameters_arrive_unchanged(client: sqltrack.Client) -> None:
    arguments = {"prompt": "x" * 10_000, "model": {"layers": [{"size": 3, "bias": None}]}}
    tracker = Tracker(experiment="digits", client=client)
    tracker.begin()
    tracker.add_args(arguments)
    tracker.log({"loss": float("nan")}, 1)
    assert tracker.run is not None
    (found,) = client.execute("SELECT args FROM runs WHERE id = %s", (tracker.run.id,)).fetchone()
    assert {name: found[name] for name in arguments} == arguments
    ((_, _, loss),) = points_of(client, tracker.run)
    assert math.isnan(float(loss))
    tracker.end()


def test_hooks_never_raise_and_warn_once(run: sqltrack.Run, caplog: pytest.LogCaptureFixture) -> None:
    tracker = Tracker(run)
    tracker.begin()
    tracker.log({3: 1.0}, 1)  # type: ignore[dict-item]
    tracker.log({4: 1.0}, 1)  # type: ignore[dict-item]
    tracker.add_args(3)
    tracker.log({"loss": 0.5}, 2)
    tracker.end()
    assert points_of(run.client, run) == [(2, 0.0, 0.5)]
    (warning,) = warnings_in(caplog)
    assert warning.startswith("some values are not logged, and the training continues: UnusableValueError: ")


def test_a_run_that_cannot_be_created_is_tried_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    client = sqltrack.Client(engine="sqlite", dbpath=str(tmp_path / "missing" / "sqltrack.db"))
    tracker = Tracker(experiment="digits", client=client)
    for step in range(3):
        tracker.begin()
        tracker.log({"loss": 0.5}, step)
        tracker.add_extras(best=1)
    tracker.end()
    (warning,) = warnings_in(caplog)
    assert warning.startswith("nothing is logged, and the training continues: ")


def test_an_outage_costs_one_warning_and_no_row(
    config: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    client = sqltrack.Client(with_outbox(config, tmp_path / "outbox"))
    tracker = Tracker(experiment="digits", client=client)
    tracker.begin()
    tracker.log({"loss": 0.0}, 0)
    with away(config):
        for step in range(1, 20):
            tracker.log({"loss": step}, step)
    tracker.log({"loss": 20.0}, 20)
    assert tracker.run is not None
    assert tracker.run.flush(60)
    tracker.end()
    assert points_of(client, tracker.run) == [(step, 0.0, step) for step in range(21)]
    # The sender tells it just after the last call has arrived.
    wait_until(lambda: len(warnings_in(caplog)) >= 2)
    assert [message.startswith("calls wait in ") for message in warnings_in(caplog)] == [True, False]


def test_without_an_outbox_an_outage_is_waited_for_once(
    config: dict[str, Any], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    timeouts = {"busy_timeout": 0.1} if config["engine"] == "sqlite" else {}
    client = sqltrack.Client({**config, "outbox": "off", "reconnect": 0.1, **timeouts})
    monkeypatch.setattr(_tracker, "_LONG", 0.0)
    tracker = Tracker(experiment="digits", client=client)
    tracker.begin()
    assert tracker.run is not None
    add_metrics, steps = tracker.run.add_metrics, []

    def add_and_count(metrics: Any, step: int, progress: float) -> Any:
        steps.append(step)
        return add_metrics(metrics, step, progress)

    monkeypatch.setattr(tracker.run, "add_metrics", add_and_count)
    with away(config):
        for step in range(5):
            tracker.log({"loss": 0.5}, step)
    assert steps == [0]
    assert len(warnings_in(caplog)) == 1
    tracker.end()
    assert status_of(client, tracker.run) == "COMPLETED"


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda tracker: pickle.loads(pickle.dumps(tracker))])  # noqa: S301
def test_copies_log_to_the_same_run_and_leave_its_status_alone(
    client: sqltrack.Client, duplicate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in client.config.items():
        monkeypatch.setenv(f"SQLTRACK_DSN_{name.upper()}", str(value))
    unused = duplicate(Tracker(experiment="digits", client=client))
    assert unused.run is None
    tracker = Tracker(experiment="digits", client=client)
    tracker.begin()
    other = duplicate(tracker)
    other.begin()
    other.log({"loss": 0.5}, 1)
    other.end()
    assert points_of(client, tracker.run) == [(1, 0.0, 0.5)]
    assert status_of(client, tracker.run) == "RUNNING"
    tracker.end()


def test_threads_share_a_run(client: sqltrack.Client) -> None:
    tracker = Tracker(experiment="digits", client=client)
    threads = [threading.Thread(target=tracker.log, args=({"loss": 0.5}, step)) for step in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count_runs(client) == 1
    tracker.end()


def test_a_training_that_does_not_reach_its_end_is_not_completed(
    end_in_all_ways: Callable[..., None], ending_statuses: dict[str, str]
) -> None:
    others = {
        "sys.exit()": "FAILED",
        "pass": "COMPLETED",
        "tracker.end(); raise ValueError": "COMPLETED",
        "tracker.begin(is_open=False); sys.exit()": "COMPLETED",
    }
    end_in_all_ways("from sqltrack.integrations._tracker import Tracker\n", TRAINING, ending_statuses | others)


def test_other_ranks_than_the_first_log_nothing(client: sqltrack.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    tracker = Tracker(experiment="digits", client=client)
    tracker.begin()
    tracker.log({"loss": 0.5}, 1)
    tracker.add_args({"lr": 0.1})
    tracker.end()
    assert tracker.run is None
    assert count_runs(client) == 0


def test_each_rank_gets_a_run_that_is_linked_to_the_first(run: sqltrack.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for rank in range(3):
        monkeypatch.setenv("RANK", str(rank))
        tracker = Tracker(run, per_rank=True)
        tracker.begin()
        tracker.log({"loss": rank}, 1)
        tracker.end()
    links = run.client.execute("SELECT from_id, kind, to_id FROM run_links").fetchall()
    assert [(kind, to_id) for _, kind, to_id in links] == [("rank of", run.id)] * 2
    assert count_runs(run.client) == 3


class Store:
    """The store that connects the ranks of `torch.distributed`, in one process."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}

    def set(self, key: str, value: str) -> None:
        self._values[key] = value

    def wait(self, keys: list[str], timeout: Any) -> None:
        if not set(keys) <= set(self._values):
            raise RuntimeError("wait timeout")

    def get(self, key: str) -> bytes:
        return self._values[key].encode()


def test_ranks_of_torch_find_the_run_of_each_training(
    client: sqltrack.Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store()
    monkeypatch.setattr(_ranks, "_store", lambda: store)
    for rank, trainings in ((0, 2), (1, 3)):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setattr(_ranks, "_numbers", itertools.count(1))
        tracker = Tracker(experiment="digits", client=client, per_rank=True)
        for _ in range(trainings):
            tracker.begin()
            tracker.end()
    links = client.execute("SELECT from_id, kind, to_id FROM run_links ORDER BY from_id").fetchall()
    assert links == [(3, "rank of", 1), (4, "rank of", 2)]
    (warning,) = warnings_in(caplog)
    assert "rank 0 has announced no run within 60 seconds" in warning


def test_a_rank_that_cannot_find_the_first_says_so(
    client: sqltrack.Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("RANK", "1")
    tracker = Tracker(experiment="digits", client=client, per_rank=True)
    tracker.begin()
    (warning,) = warnings_in(caplog)
    assert "torch.distributed does not connect it with rank 0; plan the main run" in warning


def test_the_rank_comes_from_torch_or_else_from_a_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch.distributed", raising=False)
    for name in _ranks._VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert current_rank() == 0
    for rank, name in enumerate(reversed(_ranks._VARIABLES), 1):
        monkeypatch.setenv(name, str(rank))
        assert current_rank() == rank
    distributed = SimpleNamespace(is_available=lambda: True, is_initialized=lambda: True, get_rank=lambda: 77)
    monkeypatch.setitem(sys.modules, "torch.distributed", distributed)
    assert current_rank() == 77
