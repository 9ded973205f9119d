"""The made-up experiments: their content, their consistency, and the script as users start it."""

from __future__ import annotations

import math
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import AbstractContextManager
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack.commands import setup
from support.processes import running
from support.variables import database_variables

pytestmark = pytest.mark.guides

SCRIPT = Path(__file__).parents[2] / "examples" / "generate_experiment_data.py"
NOW = datetime(2024, 5, 17, 12, 30, 15, 250_000, tzinfo=timezone.utc)
RUNS, EPOCHS = 120, 12
FINISHED = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL", "PREEMPTED"}
TABLES = {
    "experiments": "id",
    "experiment_links": "from_id, to_id",
    "runs": "id",
    "run_links": "from_id, kind, to_id",
    "metrics": "run_id, step",
}


@pytest.fixture(scope="module")
def example() -> Any:
    """The example as a module; it finds its neighbor as in a normal start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPT.parent))
        import generate_experiment_data

        yield generate_experiment_data
        for name in ("generate_experiment_data", "made_up_runs"):
            sys.modules.pop(name)


@pytest.fixture(scope="module")
def filled(
    request: pytest.FixtureRequest, example: Any, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, sqltrack.Client]:
    """Clients by engine, of databases with the same data; tests must not change it."""
    configs: dict[str, dict[str, Any]] = {}
    for engine in request.config.getoption("--engines").split(","):
        if engine.strip() == "sqlite":
            path = tmp_path_factory.mktemp("filled") / "sqltrack.db"
            configs["sqlite"] = {"engine": "sqlite", "dbpath": str(path)}
        else:
            configs["postgres"] = request.getfixturevalue("create_lasting_database")()
    clients = {engine: sqltrack.Client(config) for engine, config in configs.items()}
    for client in clients.values():
        setup(client)
        example.generate(client, runs=RUNS, epochs=EPOCHS, now=NOW)
    return clients


@pytest.fixture
def data(filled: dict[str, sqltrack.Client], engine_name: str) -> sqltrack.Client:
    """Client of a filled database, on each engine."""
    return filled[engine_name]


def rows(client: sqltrack.Client, sql: str) -> list[dict[str, Any]]:
    """Return the rows of a query as dicts, with NaN as a float on both engines."""
    result = client.execute(sql)
    names = [column[0] for column in result.description or ()]
    return [{name: math.nan if v == "NaN" else v for name, v in zip(names, row)} for row in result]


def contents(client: sqltrack.Client) -> dict[str, list[dict[str, Any]]]:
    """Return all rows of all tables in a comparable form: NaN is text, because it does not equal itself."""
    tables = {table: rows(client, f"SELECT * FROM {table} ORDER BY {order}") for table, order in TABLES.items()}
    return {table: [{name: as_comparable(v) for name, v in r.items()} for r in rs] for table, rs in tables.items()}


def as_comparable(value: Any) -> Any:
    return "NaN" if isinstance(value, float) and math.isnan(value) else value


def metrics_by_run(client: sqltrack.Client) -> dict[int, list[dict[str, Any]]]:
    """Return the rows of metrics of each run that has any."""
    by_run: dict[int, list[dict[str, Any]]] = {}
    for row in rows(client, "SELECT * FROM metrics ORDER BY run_id, step"):
        by_run.setdefault(row["run_id"], []).append(row)
    return by_run


def runs_by_id(client: sqltrack.Client) -> dict[int, dict[str, Any]]:
    sql = "SELECT runs.*, name FROM runs JOIN experiments ON experiments.id = experiment_id"
    return {run["id"]: run for run in rows(client, sql)}


def test_there_are_as_many_runs_as_asked_for_in_six_linked_experiments(data: sqltrack.Client) -> None:
    counts = Counter(run["name"] for run in runs_by_id(data).values())
    assert (len(counts), counts.total()) == (6, RUNS)
    experiments = {row["id"]: row for row in rows(data, "SELECT * FROM experiments")}
    assert all(row["comment"] and row["tags"] is not None for row in experiments.values())
    assert any(not row["comment"].isascii() for row in experiments.values())
    links = rows(data, "SELECT * FROM experiment_links WHERE kind = 'continues'")
    assert [(experiments[link["from_id"]]["name"], experiments[link["to_id"]]["name"]) for link in links] == [
        ("Fine-tuning on small data", "Pre-training")
    ]


@pytest.mark.parametrize("count", [1, 2, 7, 20, 60])
def test_any_number_of_runs_and_a_single_epoch_will_do(client: sqltrack.Client, example: Any, count: int) -> None:
    run_ids = example.generate(client, runs=count, epochs=1, now=NOW)
    assert len(set(run_ids)) == count
    assert set(run_ids) == set(runs_by_id(client))
    assert {row["step"] for row in rows(client, "SELECT step FROM metrics")} <= {0}


def test_all_statuses_occur_and_most_runs_complete(data: sqltrack.Client) -> None:
    statuses = Counter(run["status"] for run in runs_by_id(data).values())
    assert set(statuses) == {*FINISHED, "RUNNING", "PLANNED"}
    assert statuses["COMPLETED"] > RUNS / 2


def test_planned_runs_have_not_begun_and_running_ones_were_updated_lately_but_for_one(data: sqltrack.Client) -> None:
    runs, metrics = runs_by_id(data), metrics_by_run(data)
    planned = [run for run in runs.values() if run["status"] == "PLANNED"]
    assert all(run["time_started"] is run["time_updated"] is run["env"] is None and run["args"] for run in planned)
    assert metrics.keys().isdisjoint(run["id"] for run in planned)
    ages = sorted(NOW - run["time_updated"] for run in runs.values() if run["status"] == "RUNNING")
    assert len(ages) > 2
    assert ages[-2] < timedelta(minutes=1)
    assert ages[-1] == timedelta(days=3)


def test_times_are_in_order_and_none_is_in_the_future(data: sqltrack.Client) -> None:
    runs, metrics = runs_by_id(data), metrics_by_run(data)
    assert metrics
    for run_id, run in runs.items():
        times = [run["time_created"], run["time_started"], run["time_updated"]]
        if run["status"] != "PLANNED":
            epochs = [
                [row[n] for n in ("train_start", "train_end", "val_start", "val_end")]
                for row in metrics.get(run_id, [])
            ]
            times[2:2] = [moment for epoch in epochs for moment in epoch if moment is not None]
            assert times == sorted(times), run
            assert times[-1] < NOW
        assert run["time_created"] < NOW
    created = [runs[run_id]["time_created"] for run_id in sorted(runs)]
    assert created == sorted(created)


def test_runs_have_the_metrics_of_all_their_epochs(data: sqltrack.Client) -> None:
    runs, metrics = runs_by_id(data), metrics_by_run(data)
    resumed = {row["from_id"]: row["to_id"] for row in rows(data, "SELECT * FROM run_links WHERE kind = 'resumes'")}
    assert resumed
    for run_id, of_run in metrics.items():
        run, steps = runs[run_id], [row["step"] for row in of_run]
        begin = metrics[resumed[run_id]][-1]["step"] + 1 if run_id in resumed else 0
        assert steps == list(range(begin, begin + len(steps)))
        assert [row["progress"] for row in of_run] == [(step + 1) / run["args"]["epochs"] for step in steps]
        is_complete = run["status"] == "COMPLETED"
        assert (steps[-1] == run["args"]["epochs"] - 1) >= is_complete
        assert [row["test_top1"] is not None for row in of_run] == [False] * (len(steps) - 1) + [is_complete]
    assert {run["id"] for run in runs.values() if run["status"] == "COMPLETED"} <= metrics.keys()


def test_accuracies_are_fractions_and_the_right_class_is_more_often_among_five(data: sqltrack.Client) -> None:
    for phase in ("train", "val", "test"):
        pairs = [(row[f"{phase}_top1"], row[f"{phase}_top5"]) for row in rows(data, "SELECT * FROM metrics")]
        known = [pair for pair in pairs if pair != (None, None)]
        assert len(known) > 50
        assert all(0 <= top1 <= top5 <= 1 for top1, top5 in known)


def test_the_best_epoch_is_often_not_the_last_and_the_validation_loss_rises_again(data: sqltrack.Client) -> None:
    runs, metrics = runs_by_id(data), metrics_by_run(data)
    curves = [of_run for run_id, of_run in metrics.items() if runs[run_id]["name"] == "Image classification baselines"]
    complete = [curve for curve in curves if curve[-1]["test_loss"] is not None]
    assert len(complete) > 10
    assert sum(curve[-1] is not max(curve, key=lambda row: row["val_top1"]) for curve in complete) > 2
    assert all(curve[-1]["val_loss"] > 1.05 * min(row["val_loss"] for row in curve) for curve in complete)
    assert all(curve[-1]["train_loss"] < 1.05 * min(row["train_loss"] for row in curve) for curve in complete)


def test_diverged_runs_end_in_nan_or_infinity_and_failed(data: sqltrack.Client) -> None:
    runs = runs_by_id(data)
    last = {run_id: of_run[-1]["train_loss"] for run_id, of_run in metrics_by_run(data).items()}
    diverged = {run_id for run_id, loss in last.items() if math.isnan(loss)}
    infinite = {run_id for run_id, loss in last.items() if math.isinf(loss)}
    assert len(diverged) >= 3
    assert len(infinite) == 1
    assert {runs[run_id]["status"] for run_id in diverged | infinite} == {"FAILED"}
    assert {runs[run_id]["args"]["lr"] for run_id in diverged} == {1.0}


def test_the_sweep_is_a_grid_with_several_seeds_and_missing_cells(data: sqltrack.Client) -> None:
    sweep = [run["args"] for run in runs_by_id(data).values() if run["name"] == "Learning-rate sweep"]
    cells = Counter((args["lr"], args["model"]) for args in sweep)
    assert min(cells.values()) >= 2
    assert len({(args["lr"], args["model"], args["seed"]) for args in sweep}) == len(sweep)
    assert len(cells) == len({lr for lr, _ in cells}) * len({model for _, model in cells}) - 2


def test_larger_models_and_fitting_learning_rates_are_better(data: sqltrack.Client) -> None:
    runs, metrics = runs_by_id(data), metrics_by_run(data)
    best: dict[tuple[str, float], list[float]] = {}
    for run_id, run in runs.items():
        if run["name"] in ("Learning-rate sweep", "Image classification baselines") and run["status"] == "COMPLETED":
            setting = (run["args"]["model"], run["args"]["lr"])
            best.setdefault(setting, []).append(max(row["val_top1"] for row in metrics[run_id]))
    mean = {setting: sum(values) / len(values) for setting, values in best.items()}
    assert mean["resnet18", 0.1] < mean["resnet50", 0.1] < mean["convnext_tiny", 0.1]
    assert mean["resnet18", 1.0] < mean["resnet18", 0.1] > mean["resnet18", 0.01]


def test_resumed_runs_continue_where_the_other_was_cut_off(data: sqltrack.Client) -> None:
    runs, metrics = runs_by_id(data), metrics_by_run(data)
    links = rows(data, "SELECT * FROM run_links WHERE kind = 'resumes'")
    targets = {link["from_id"]: link["to_id"] for link in links}
    assert any(targets.get(to_id) for to_id in targets.values()), "no chain of three"
    for new, old in targets.items():
        assert runs[new]["args"] == runs[old]["args"]
        assert runs[old]["status"] in ("PREEMPTED", "TIMEOUT")
        assert runs[old]["time_updated"] < runs[new]["time_created"]
        losses = [row["train_loss"] for row in metrics[old] + metrics[new]]
        falls = [before - after for before, after in pairwise(losses)]
        seam = len(metrics[old]) - 1
        # As between any two epochs: about the change of the epochs before and after.
        neighbours = falls[max(0, seam - 1) : seam + 2]
        assert abs(falls[seam]) <= 0.15 + max(map(abs, neighbours[:1] + neighbours[-1:]))


@pytest.mark.parametrize(("count", "epochs"), [(5000, 90), (60, 100_000), (60, 1)])
def test_runs_begin_after_those_that_they_are_linked_to_ended(example: Any, count: int, epochs: int) -> None:
    drafts = example.draft_runs(random.Random(0), count, epochs, NOW)
    assert len(drafts) == count
    position = {id(draft): number for number, draft in enumerate(drafts)}
    links = [(draft, target) for draft in drafts for _, target in draft.links]
    assert links
    for draft, target in links:
        assert target.updated < draft.created
        assert position[id(target)] < position[id(draft)]
    assert max(draft.updated or draft.created for draft in drafts) < NOW


def test_fine_tuning_starts_from_complete_pretrainings_and_failed_runs_are_repeated(data: sqltrack.Client) -> None:
    runs = runs_by_id(data)
    kinds = Counter()
    for link in rows(data, "SELECT * FROM run_links"):
        source, target = runs[link["from_id"]], runs[link["to_id"]]
        kinds[link["kind"]] += 1
        assert target["time_updated"] < source["time_created"]
        if link["kind"] == "fine_tunes":
            names = (source["name"], target["name"], target["status"])
            assert names == ("Fine-tuning on small data", "Pre-training", "COMPLETED")
        if link["kind"] == "repeats":
            assert source["args"] == target["args"]
            assert target["status"] in ("FAILED", "NODE_FAIL", "OUT_OF_MEMORY")
    assert set(kinds) == {"resumes", "fine_tunes", "repeats"}


def test_each_epoch_is_validated_and_pretraining_alone_has_an_oddly_named_metric(data: sqltrack.Client) -> None:
    """A row without an accuracy, or with NaN, would come first where PostgreSQL sorts the best ones to the top."""
    runs = runs_by_id(data)
    for row in rows(data, "SELECT * FROM metrics"):
        assert all(row[name] is not None for name in ("val_start", "val_end", "val_loss", "val_top1", "val_top5"))
        assert 0 < row["val_top1"] <= row["val_top5"] < 1
        assert (row["gpu util %"] is not None) == (runs[row["run_id"]]["name"] == "Pre-training")


def test_ids_are_numbers_of_jobs_and_those_of_the_documentation_are_among_them(data: sqltrack.Client) -> None:
    """Run 523473 resumes run 523459 in the middle; the oldest run is number 1."""
    runs, metrics = runs_by_id(data), metrics_by_run(data)
    first, *others = sorted(runs)
    assert first == 1
    assert all(523_000 < run_id < 524_000 for run_id in others)
    jobs = {run_id: run["env"]["SLURM_JOB_ID"] for run_id, run in runs.items() if "SLURM_JOB_ID" in (run["env"] or {})}
    assert {run_id: str(run_id) for run_id in jobs if run_id != 1} == {i: job for i, job in jobs.items() if i != 1}
    assert rows(data, "SELECT * FROM run_links WHERE from_id = 523473") == [
        {"from_id": 523473, "kind": "resumes", "to_id": 523459}
    ]
    steps = [row["step"] for run_id in (523459, 523473) for row in metrics[run_id]]
    assert steps == list(range(EPOCHS))
    assert len(metrics[523459]) == len(metrics[523473]) == EPOCHS // 2
    assert runs[523497]["status"] == runs[523473]["status"] == "COMPLETED"
    assert runs[523497]["name"] != runs[523473]["name"]


def test_the_newest_runs_have_metrics(data: sqltrack.Client) -> None:
    """A table that starts with the newest runs shows them first."""
    assert sorted(runs_by_id(data))[-10:] == sorted(metrics_by_run(data))[-10:]


def test_ids_can_count_from_a_number_and_leave_out_those_that_are_taken(client: sqltrack.Client, example: Any) -> None:
    sqltrack.Experiment(client, name="mine").get_run(12)
    assert example.generate(client, runs=5, epochs=1, first_id=1) == [1, 2, 3, 4, 5]
    assert example.generate(client, runs=5, epochs=1, first_id=1) == [6, 7, 8, 9, 10]
    assert example.generate(client, runs=5, epochs=1, first_id=8) == [13, 14, 15, 16, 17]
    assert sqltrack.Experiment(client, name="mine").get_run().id in (11, 18)


def test_environments_are_those_of_slurm_or_of_a_workstation(data: sqltrack.Client) -> None:
    envs = [run["env"] for run in runs_by_id(data).values() if run["env"]]
    by_slurm = [env for env in envs if "SLURM_JOB_PARTITION" in env]
    assert len(envs) / 2 < len(by_slurm) < len(envs)
    assert all(env["SLURM_JOBID"] == env["SLURM_JOB_ID"] for env in by_slurm)
    assert 0 < sum("SLURM_ARRAY_TASK_ID" in env for env in envs) < len(by_slurm)
    assert all(re.fullmatch("[0-9a-f]{40}", env["GIT_COMMIT"]) and env["SOURCE"] for env in envs)


def test_tags_comments_and_extras_are_on_some_runs_and_some_are_odd(data: sqltrack.Client) -> None:
    runs = runs_by_id(data).values()
    tags = Counter(tag for run in runs for tag in run["tags"] or ())
    assert all(0 < tags[tag] < RUNS / 2 for tag in ("marked", "baseline", "paper"))
    assert any("<script>" in tag for tag in tags)
    assert any('"' in tag for tag in tags)
    assert any("<script>" in (run["comment"] or "") for run in runs)
    assert 0 < sum(run["extras"] is not None for run in runs) < RUNS
    assert sum(None in run["args"].values() for run in runs) == 1


def test_metrics_are_columns_of_fitting_types_on_both_engines(filled: dict[str, sqltrack.Client]) -> None:
    for client in filled.values():
        with client as connection:
            columns = client.engine.table_columns(connection, "metrics")
        assert "extras" not in columns
        assert all("TIME" in columns[name].upper() for name in ("train_start", "train_end", "val_start", "val_end"))
        assert all("TIME" not in columns[name].upper() for name in ("test_loss", "lr", "gpu util %"))


def test_the_same_seed_and_time_give_the_same_data_on_both_engines(filled: dict[str, sqltrack.Client]) -> None:
    first, *others = (contents(client) for client in filled.values())
    assert all(other == first for other in others)


def test_the_same_seed_gives_the_same_data_again_and_another_seed_others(
    data: sqltrack.Client, client: sqltrack.Client, example: Any
) -> None:
    example.generate(client, runs=RUNS, epochs=EPOCHS, now=NOW)
    again = contents(client)
    assert again == contents(data)
    other_ids = example.generate(client, runs=RUNS, epochs=EPOCHS, seed=1, now=NOW)
    others = rows(client, f"SELECT train_loss FROM metrics WHERE run_id >= {min(other_ids)}")
    assert {row["train_loss"] for row in others if math.isfinite(row["train_loss"])}.isdisjoint(
        row["train_loss"] for row in again["metrics"]
    )


def test_generating_again_adds_runs_to_the_same_experiments(client: sqltrack.Client, example: Any) -> None:
    # An id that a user has chosen must not matter.
    sqltrack.Experiment(client, name="mine").get_run(3)
    first = example.generate(client, runs=30, epochs=2)
    links = len(rows(client, "SELECT * FROM run_links"))
    second = example.generate(client, runs=30, epochs=2)
    assert len({3, *first, *second}) == 61
    assert set(runs_by_id(client)) == {3, *first, *second}
    assert len(rows(client, "SELECT * FROM experiments")) == 7
    assert len(rows(client, "SELECT * FROM experiment_links")) == 3
    assert len(rows(client, "SELECT * FROM run_links")) == 2 * links > 0


def test_progress_is_told_until_all_runs_are_there(client: sqltrack.Client, example: Any, monkeypatch) -> None:
    monkeypatch.setattr(example, "ROWS_PER_TRANSACTION", 20)
    told: list[int] = []
    example.generate(client, runs=25, epochs=2, progress=told.append)
    assert told == [10, 20, 25]


@pytest.mark.parametrize("fails_at", [1, 14, 27])
def test_an_interruption_leaves_complete_runs_only(
    client: sqltrack.Client, example: Any, data: sqltrack.Client, monkeypatch, fails_at: int
) -> None:
    def interrupted(draft: Any) -> Any:
        calls.append(draft)
        for number, row in enumerate(measure(draft)):
            if len(calls) == fails_at and number == 1:
                raise KeyboardInterrupt
            yield row

    calls: list[Any] = []
    measure = example.measure
    monkeypatch.setattr(example, "measure", interrupted)
    monkeypatch.setattr(example, "ROWS_PER_TRANSACTION", 5 * EPOCHS)
    with pytest.raises(KeyboardInterrupt):
        example.generate(client, runs=RUNS, epochs=EPOCHS, now=NOW)
    assert_like_the_first_runs(client, data, (fails_at - 1) // 5 * 5)


def assert_like_the_first_runs(client: sqltrack.Client, complete: sqltrack.Client, count: int) -> None:
    """Assert that a database contains the first runs of a complete one, with everything that belongs to them."""
    ids = [row["id"] for row in rows(client, "SELECT id FROM runs ORDER BY id")]
    assert ids == [row["id"] for row in rows(complete, "SELECT id FROM runs ORDER BY id")][:count]
    last = max(ids, default=0)
    for table, key in (("runs", "id"), ("metrics", "run_id"), ("run_links", "from_id")):
        sql = f"SELECT * FROM {table} WHERE {key} <= {last} ORDER BY {TABLES[table]}"
        expected = [{n: as_comparable(v) for n, v in row.items()} for row in rows(complete, sql)]
        found = [{n: as_comparable(v) for n, v in row.items()} for row in rows(client, sql)]
        assert found == expected, table


# The script


def environment(config: dict[str, Any]) -> dict[str, str]:
    variables = database_variables(config)
    return {**os.environ, "PYTHONUTF8": "1", "COLUMNS": "200", **variables}


def started(config: dict[str, Any], *options: str) -> AbstractContextManager[subprocess.Popen[str]]:
    """Start the script as a user does."""
    command = [sys.executable, str(SCRIPT), *options]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return running(command, env=environment(config), encoding="utf-8", **pipes)


def run_script(config: dict[str, Any], *options: str) -> tuple[int, str, str]:
    """Run the script; return exit status, stdout and stderr."""
    with started(config, *options) as process:
        stdout, stderr = process.communicate(timeout=60)
    return process.returncode, stdout, stderr


def test_the_script_sets_up_an_empty_database_and_says_what_it_added(empty_config: dict[str, Any]) -> None:
    status, stdout, stderr = run_script(empty_config, "--runs", "12", "--epochs", "3", "--first-id", "1")
    assert (status, stderr) == (0, "")
    assert stdout.splitlines() == ["(NEW) base.sql", "added 12 runs, with ids from 1 to 12"]
    status, stdout, _ = run_script(empty_config, "--runs", "5", "--epochs", "3", "--seed", "7")
    added = sorted(runs_by_id(sqltrack.Client(empty_config)))[12:]
    assert stdout.splitlines() == ["(OK) base.sql", f"added 5 runs, with ids from {added[0]} to {added[-1]}"]
    assert len(added) == 5
    assert added[0] > 500_000


def test_the_script_makes_300_runs_of_90_epochs_unless_told_otherwise(tmp_path: Path) -> None:
    config = {"engine": "sqlite", "dbpath": str(tmp_path / "default.db")}
    assert run_script(config)[0] == 0
    client = sqltrack.Client(config)
    assert len(runs_by_id(client)) == 300
    assert rows(client, "SELECT max(step) AS step FROM metrics") == [{"step": 89}]
    # As the documentation says.
    steps = {run_id: [row["step"] for row in metrics_by_run(client)[run_id]] for run_id in (523459, 523473)}
    assert steps == {523459: list(range(45)), 523473: list(range(45, 90))}
    newest = max(run["time_created"] for run in runs_by_id(client).values())
    assert timedelta(0) < datetime.now(timezone.utc) - newest < timedelta(hours=2)


@pytest.mark.parametrize(
    "options",
    [("--runs", "0"), ("--epochs", "0"), ("--epochs", "many"), ("--first-id", "0"), ("--first-id", str(2**63 - 1))],
)
def test_an_unusable_option_is_refused(tmp_path: Path, options: tuple[str, str]) -> None:
    config = {"engine": "sqlite", "dbpath": str(tmp_path / "none.db")}
    status, stdout, stderr = run_script(config, *options)
    assert (status, stdout) == (2, "")
    assert options[0] in stderr
    assert "Traceback" not in stderr
    assert not (tmp_path / "none.db").exists()


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"engine": "postgres", "host": "127.0.0.1", "port": "1"}, ("127.0.0.1", "cannot connect")),
        ({"engine": "sqlite", "dbpath": "missing/sqltrack.db"}, ("missing/sqltrack.db",)),
        ({"engine": "oracle"}, ("oracle", "sqlite", "postgres")),
    ],
)
def test_a_database_that_cannot_be_used_is_an_error_of_one_line(config: dict[str, Any], words: tuple[str, ...]) -> None:
    status, stdout, stderr = run_script(config)
    assert (status, stdout) == (1, "")
    assert len(stderr.splitlines()) == 1, stderr
    assert stderr.startswith("error: ")
    assert all(word in stderr for word in words), stderr


@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot send these signals to a single other one")
@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGKILL])
def test_a_signal_leaves_complete_runs_only(config: dict[str, Any], signal_number: int) -> None:
    client = sqltrack.Client(config)
    with started(config, "--runs", "20000", "--epochs", "20") as process:
        wait_for_runs(client)
        process.send_signal(signal_number)
        _, stderr = process.communicate(timeout=30)
    if signal_number == signal.SIGINT:
        # If the signal comes while answers of a pipeline are read, psycopg logs that it cannot end as usual.
        ignored = re.compile(r"error ignored terminating <psycopg\.Pipeline .*>: pop from an empty deque")
        told = [line for line in stderr.splitlines() if not ignored.fullmatch(line)]
        assert (process.returncode, told) == (130, ["interrupted; the runs so far are complete"])
    assert_all_complete(client)


def wait_for_runs(client: sqltrack.Client) -> None:
    deadline = time.monotonic() + 60
    while not rows(client, "SELECT id FROM runs LIMIT 1"):
        assert time.monotonic() < deadline, "no runs within a minute"
        time.sleep(0.02)


def assert_all_complete(client: sqltrack.Client) -> None:
    """Assert that no run lacks metrics: completed runs have their last epoch, others all epochs until their end."""
    runs, metrics = runs_by_id(client), metrics_by_run(client)
    assert 0 < len(runs) < 20_000
    assert len(runs) % 250 == 0
    for run_id, run in runs.items():
        if run["status"] == "COMPLETED":
            assert metrics[run_id][-1]["test_loss"] is not None
        elif run["status"] not in ("PLANNED", "OUT_OF_MEMORY"):
            steps = [row["step"] for row in metrics[run_id]]
            assert steps == list(range(steps[0], steps[-1] + 1))
