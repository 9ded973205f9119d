"""Optimize with Optuna, and find its trials in the runs."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import optuna
import pytest

import sqltrack
from sqltrack.integrations.optuna import SQLTrackCallback
from support.processes import Script

pytestmark = pytest.mark.filterwarnings("ignore")

Rows = Callable[[Any], list[dict[str, Any]]]

INTERRUPTED = """
import optuna
from sqltrack.integrations.optuna import SQLTrackCallback

def objective(trial):
    if trial.number == 2:
        raise KeyboardInterrupt
    return trial.suggest_float("x", 0, 1)

callback = SQLTrackCallback(experiment="digits", client=client)
optuna.create_study().optimize(objective, n_trials=4, callbacks=[callback])
"""

WORKER = """
import warnings
warnings.simplefilter("ignore")
import optuna
from sqltrack.integrations.optuna import SQLTrackCallback

try:
    from optuna.storages.journal import JournalFileBackend
except ImportError:
    # Its name before Optuna 4.
    from optuna.storages import JournalFileStorage as JournalFileBackend
storage = optuna.storages.JournalStorage(JournalFileBackend("journal.log"))
study = optuna.create_study(storage=storage, study_name="shared", load_if_exists=True)
confirm("ready")
sys.stdin.readline()
objective = lambda trial: trial.suggest_float("x", 0, 1)
study.optimize(objective, n_trials=4, callbacks=[SQLTrackCallback(experiment="digits", client=client)])
"""


def objective(trial: Any) -> float:
    x = trial.suggest_float("x", 0, 1)
    trial.suggest_categorical("layers", ["small", "large"])
    trial.set_user_attr("host", {"cpus": [1, 2]})
    if trial.number % 4 == 3:
        raise ValueError("no convergence")
    for step in range(3):
        trial.report(x + step, step)
        if trial.should_prune():
            raise optuna.TrialPruned
    return x


def optimize(callback: SQLTrackCallback, function: Any = objective, **options: Any) -> Any:
    directions = options.pop("directions", ["minimize"])
    pruner = optuna.pruners.ThresholdPruner(upper=2.5)
    sampler = optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(study_name="digits", directions=directions, pruner=pruner, sampler=sampler)
    study.optimize(function, callbacks=[callback], catch=(ValueError,), **{"n_trials": 12, **options})
    return study


def runs(client: sqltrack.Client) -> list[sqltrack.Run]:
    return [sqltrack.Run(client, None, run_id) for (run_id,) in client.execute("SELECT id FROM runs ORDER BY id")]


@pytest.mark.parametrize("jobs", [1, 3])
def test_each_trial_is_a_run(client: sqltrack.Client, rows: Rows, look: Callable[..., Any], jobs: int) -> None:
    study = optimize(SQLTrackCallback(experiment="digits", client=client), n_jobs=jobs)
    by_number = {look(run, "extras")["optuna"]["trial"]: run for run in runs(client)}
    assert sorted(by_number) == list(range(12))
    statuses = {"COMPLETE": "COMPLETED", "PRUNED": "CANCELLED", "FAIL": "FAILED"}
    for trial in study.trials:
        run = by_number[trial.number]
        assert look(run, "args") == trial.params
        assert look(run, "status") == statuses[trial.state.name]
        expected = [{"step": step, "intermediate_value": value} for step, value in trial.intermediate_values.items()]
        if trial.values is not None:
            expected[-1]["value"] = trial.values[0]
        assert rows(run) == expected
        assert look(run, "time_started").timestamp() == pytest.approx(trial.datetime_start.timestamp(), abs=0.01)
        origin = look(run, "extras")["optuna"]
        assert origin["study"] == "digits"
        assert origin["user_attrs"] == {"host": {"cpus": [1, 2]}}
    assert {trial.state.name for trial in study.trials} == set(statuses)


def test_several_objectives_have_their_names(client: sqltrack.Client, rows: Rows) -> None:
    callback = SQLTrackCallback(experiment="digits", client=client)
    optimize(callback, lambda trial: (1.0, 2.0), directions=["minimize", "maximize"], n_trials=1)
    assert rows(runs(client)[0]) == [{"step": 0, "value_0": 1.0, "value_1": 2.0}]
    study = optuna.create_study(directions=["minimize", "maximize"])
    study.set_metric_names(["error", "speed"])
    study.optimize(lambda trial: (1.0, 2.0), n_trials=1, callbacks=[callback])
    assert rows(runs(client)[1]) == [{"step": 0, "error": 1.0, "speed": 2.0}]


def test_trials_are_linked_to_a_given_run(run: sqltrack.Run) -> None:
    with run.track():
        optimize(SQLTrackCallback(run), n_trials=3)
    links = run.client.execute("SELECT kind, to_id FROM run_links").fetchall()
    assert links == [("trial of", run.id)] * 3


def test_an_outage_changes_nothing(
    patient_client: sqltrack.Client, outage: Callable[[bool], None], waits: Callable[[], list[str]]
) -> None:
    def objective(trial: Any) -> float:
        outage(2 <= trial.number < 6)
        return float(trial.suggest_float("x", 0, 1))

    study = optimize(SQLTrackCallback(experiment="digits", client=patient_client), objective)
    (last,) = patient_client.execute("SELECT MAX(id) FROM runs").fetchone()
    assert sqltrack.Run(patient_client, None, last).flush(60)
    values = sorted(value for (value,) in patient_client.execute("SELECT value FROM metrics"))
    assert values == sorted(trial.value for trial in study.trials)
    assert patient_client.execute("SELECT COUNT(*) FROM runs WHERE status = 'COMPLETED'").fetchone()[0] == 12
    # A locked SQLite database answers the look-up of the experiment, after which the next call meets the lock anew.
    assert 1 <= len(waits()) <= 2


@pytest.mark.engines("sqlite", reason="the frameworks end in the same way, whatever the database")
def test_an_interrupted_study_leaves_no_run_running(config: dict[str, Any], client: sqltrack.Client) -> None:
    with Script(INTERRUPTED, config) as script:
        script.finish()
    assert client.execute("SELECT status FROM runs").fetchall() == [("COMPLETED",)] * 2


def test_parallel_workers_store_their_own_trials(config: dict[str, Any], client: sqltrack.Client) -> None:
    with Script(WORKER, config) as first, Script(WORKER, config) as second:
        for worker in (first, second):
            worker.read_line()
        for worker in (first, second):
            worker.send_line()
        first.succeed()
        second.succeed()
    numbers = sorted(run_extras["optuna"]["trial"] for (run_extras,) in client.execute("SELECT extras FROM runs"))
    assert numbers == list(range(8))


@pytest.mark.engines("sqlite", reason="the database is not used")
def test_pickled_and_copied_callbacks_work(client: sqltrack.Client) -> None:
    callback = SQLTrackCallback(experiment="digits", client=client)
    for other in (copy.deepcopy(callback), pickle.loads(pickle.dumps(callback))):  # noqa: S301
        optimize(other, n_trials=1)
    assert len(runs(client)) == 2
