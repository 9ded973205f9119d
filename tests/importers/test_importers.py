"""`sqltrack import` imports the runs of other trackers once, whatever happens in between."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import sqlite3
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack.importers import SourceError, _spool, apply_import, plan_import
from sqltrack.importers._foreign import Request
from sqltrack.importers._kinds import find_request
from support.imports import (
    COMMON_METRICS,
    DATA,
    check_import,
    counts,
    event,
    everything,
    extras_of,
    field,
    metrics_of,
    record,
    restore,
    write_csv,
)

# Sacred


def test_runs_of_sacred_arrive_with_all_that_they_hold(client: sqltrack.Client) -> None:
    report = check_import(client, "sacred", DATA / "sacred")
    assert counts(report) == (2, 0, 0, 0)
    rows = client.execute("SELECT id, status, comment, time_started, time_updated FROM runs ORDER BY id").fetchall()
    begin = datetime(2026, 11, 24, 10, 22, 36, tzinfo=timezone.utc)
    assert rows[0] == (
        1,
        "COMPLETED",
        "first try",
        begin.replace(microsecond=584536),
        begin.replace(microsecond=597219),
    )
    assert rows[1][:3] == (2, "FAILED", None)
    (args,) = client.execute("SELECT args FROM runs WHERE id = 2").fetchone()
    assert args == {"fail": True, "layers": [4, 5], "lr": 0.01, "model": {"depth": 2, "name": "mlp"}, "seed": 408313386}
    extras = extras_of(client, 2)
    assert extras["imported"]["id"] == "digits/2@2026-11-24T10:22:36.645936" or extras["imported"]["id"].startswith(
        "digits/2@2026-11-24T10:22:36"
    )
    sacred = extras["sacred"]
    assert sacred["artifacts"] == ["note.txt"]
    assert sacred["info"] == {"parameters": 1234}
    assert sacred["fail_trace"][-1] == "RuntimeError: diverged\n"
    assert extras_of(client, 1)["sacred"]["result"] == 0.7
    assert metrics_of(client, 1, "train/loss", "val acc %", "odd", "again") == COMMON_METRICS


@pytest.fixture
def sacred_folder(tmp_path: Path) -> Path:
    """A copy of the records of Sacred."""
    return Path(shutil.copytree(DATA / "sacred", tmp_path / "runs"))


def test_a_run_that_went_on_gets_what_it_lacks(client: sqltrack.Client, sacred_folder: Path) -> None:
    path, metrics_path = sacred_folder / "1" / "run.json", sacred_folder / "1" / "metrics.json"
    ended, metrics = path.read_text(), metrics_path.read_text()
    running = {name: value for name, value in json.loads(ended).items() if name != "stop_time"}
    path.write_text(json.dumps({**running, "status": "RUNNING"}))
    metrics_path.write_text('{"train/loss": {"steps": [0], "values": [1.0], "timestamps": []}}')
    apply_import(client, "sacred", str(sacred_folder))
    assert client.execute("SELECT status FROM runs WHERE id = 1").fetchone() == ("RUNNING",)
    path.write_text(ended)
    metrics_path.write_text(metrics)
    report = check_import(client, "sacred", sacred_folder)
    # The other run is unchanged, and says so without being read.
    assert (counts(report), report.added) == ((0, 1, 1, 0), 9)
    assert client.execute("SELECT status FROM runs WHERE id = 1").fetchone() == ("COMPLETED",)
    assert metrics_of(client, 1, "train/loss", "val acc %", "odd", "again") == COMMON_METRICS


def test_changes_that_users_made_here_stay(client: sqltrack.Client, sacred_folder: Path) -> None:
    apply_import(client, "sacred", str(sacred_folder))
    client.execute("UPDATE runs SET comment = 'mine', status = 'CHECKED' WHERE id = 1")
    sqltrack.run_add_metrics(client, 1, {"mine": 1.0}, step=7)
    before = everything(client)
    # The files look new, but their content is the same.
    os.utime(sacred_folder / "1" / "run.json")
    moved = sacred_folder.rename(sacred_folder.with_name("moved"))
    assert counts(apply_import(client, "sacred", str(moved))) == (0, 0, 2, 0)
    assert everything(client) == before


def test_an_import_that_failed_between_two_statements_is_finished_by_the_next(
    client: sqltrack.Client, sacred_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the import stops, the next one completes each run, and creates no run twice."""
    from sqltrack.importers._target import Target

    apply_import(client, "sacred", str(sacred_folder))
    expected = [sorted(row.replace("IMPORTING", "") for row in rows) for rows in everything(client)]
    client.execute("DELETE FROM metrics")
    client.execute("DELETE FROM runs")

    class StoppedError(Exception):
        pass

    def stop(*arguments: Any) -> Any:
        raise StoppedError

    for name in ("add_rows", "finish"):
        with monkeypatch.context() as patch:
            patch.setattr(Target, name, stop)
            with pytest.raises(StoppedError):
                apply_import(client, "sacred", str(sacred_folder))
        assert [status for (status,) in client.execute("SELECT status FROM runs")] == ["IMPORTING"]
    report = apply_import(client, "sacred", str(sacred_folder))
    assert counts(report) == (1, 1, 0, 0)
    assert report.added == 20
    stored = [[row.replace("(3, ", "(1, ").replace("(4, ", "(2, ") for row in rows] for rows in everything(client)]
    assert [len(rows) for rows in stored] == [len(rows) for rows in expected]
    assert counts(apply_import(client, "sacred", str(sacred_folder))) == (0, 0, 2, 0)


def test_steps_with_fractions_become_step_and_progress(client: sqltrack.Client, sacred_folder: Path) -> None:
    series = {"loss": {"steps": [0.5, 1.25, 1.25, -0.5, 2], "values": [1.0, 2.0, 3.0, 4.0, 5.0]}}
    (sacred_folder / "1" / "metrics.json").write_text(json.dumps(series))
    check_import(client, "sacred", sacred_folder)
    assert metrics_of(client, 1, "loss") == [
        (-1, 0.5, 4.0),
        (0, 0.5, 1.0),
        (1, 0.25, 2.0),
        (1, 1.25, 3.0),
        (2, 0.0, 5.0),
    ]


def test_values_that_cannot_be_placed_are_counted(client: sqltrack.Client, sacred_folder: Path) -> None:
    series = {
        "loss": {"steps": [None, math.nan, 10**20, 0], "values": [1.0, 2.0, 3.0, 4.0]},
        "": {"steps": [0], "values": [1]},
    }
    (sacred_folder / "1" / "metrics.json").write_text(json.dumps(series))
    report = check_import(client, "sacred", sacred_folder)
    assert {left.what: (left.count, left.where) for left in report.runs[0].left_out if "values" in left.what} == {
        "values without a step": (2, ("loss",)),
        "values whose steps are not 64-bit integers": (1, ("loss",)),
        "values of metrics whose names cannot be stored": (1, ("''",)),
    }
    assert metrics_of(client, 1, "loss") == [(0, 0.0, 4.0)]


def test_a_damaged_run_is_named_and_skipped(client: sqltrack.Client, sacred_folder: Path) -> None:
    (sacred_folder / "1" / "metrics.json").write_text('{"loss": {"steps": [0, 1')
    (sacred_folder / "3").mkdir()
    (sacred_folder / "3" / "run.json").write_text("[" * 100_000)
    shutil.copytree(sacred_folder / "2", sacred_folder / "4")
    run = json.loads((sacred_folder / "4" / "run.json").read_text())
    (sacred_folder / "4" / "run.json").write_text(json.dumps({**run, "meta": 1}))
    report = apply_import(client, "sacred", str(sacred_folder))
    assert counts(report) == (1, 0, 0, 3)
    first, second, third, _ = report.runs
    assert first.problems[0].startswith(f"{str(sacred_folder / '1' / 'metrics.json')!r}, offset 24: ")
    assert (second.outcome, third.outcome) == ("new", "broken")
    assert client.execute("SELECT COUNT(*) FROM runs").fetchone() == (1,)


def test_links_and_pipes_are_not_opened(client: sqltrack.Client, sacred_folder: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.json"
    secret.write_text('{"password": "x"}')
    (sacred_folder / "1" / "config.json").unlink()
    (sacred_folder / "1" / "config.json").symlink_to(secret)
    os.mkfifo(sacred_folder / "2" / "pipe")
    (sacred_folder / "2" / "config.json").unlink()
    os.mkfifo(sacred_folder / "2" / "config.json")
    (sacred_folder / "3").symlink_to(tmp_path)
    report = apply_import(client, "sacred", str(sacred_folder))
    assert counts(report) == (0, 0, 0, 2)
    assert "is a link, which is not followed" in report.runs[0].problems[0]
    assert "is not a regular file" in report.runs[1].problems[0]


def test_objects_of_jsonpickle_stay_data(client: sqltrack.Client, sacred_folder: Path) -> None:
    config = {"x": {"py/object": "subprocess.Popen", "args": ["true"]}, "pair": {"py/tuple": [1, 2]}}
    (sacred_folder / "1" / "config.json").write_text(json.dumps(config))
    check_import(client, "sacred", sacred_folder)
    (args,) = client.execute("SELECT args FROM runs WHERE id = 1").fetchone()
    assert args == {"x": {"py/object": "subprocess.Popen", "args": ["true"]}, "pair": [1, 2]}


# Trackio


def test_runs_of_trackio_arrive_with_all_that_they_hold(client: sqltrack.Client, tmp_path: Path) -> None:
    path = restore("trackio.sql", tmp_path / "digits.db")
    assert counts(check_import(client, "trackio", path, status="DONE")) == (2, 0, 0, 0)
    rows = client.execute("""
        SELECT experiments.name, runs.status, runs.comment, runs.tags, runs.args, runs.time_created
        FROM runs JOIN experiments ON experiments.id = experiment_id ORDER BY runs.id
    """).fetchall()
    created = datetime(2026, 11, 24, 10, 22, 45, 799193, tzinfo=timezone.utc)
    args = {"lr": 0.1, "model": {"depth": 2}, "layers": [4, 5]}
    assert rows[0] == ("digits", "DONE", "first run", {"seeds": True}, args, created)
    assert [row[2] for row in rows] == ["first run", "second"]
    assert metrics_of(client, 2, "train/loss", "val acc %", "odd", "again") == COMMON_METRICS


def test_runs_of_trackio_are_found_in_its_folder(
    client: sqltrack.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "trackio"
    folder.mkdir()
    restore("trackio.sql", folder / "digits.db")
    (folder / "other.db").write_text("not a database")
    monkeypatch.setenv("TRACKIO_DIR", str(folder))
    report = apply_import(client, "trackio", None)
    assert counts(report) == (2, 0, 0, 1)
    assert "other.db" in report.runs[-1].problems[0]


def test_media_and_metrics_with_odd_names_of_trackio(client: sqltrack.Client, tmp_path: Path) -> None:
    path = restore("trackio.sql", tmp_path / "digits.db")
    connection = sqlite3.connect(path)
    image = json.dumps({"sample": {"_type": "trackio.image", "file_path": "a.png"}, "step": 7})
    connection.execute("UPDATE metrics SET metrics = ? WHERE id = 2", (image,))
    connection.execute("UPDATE metrics SET metrics = '{' WHERE id = 9")
    connection.commit()
    connection.close()
    first, second = apply_import(client, "trackio", str(path)).runs
    assert [(left.what, left.count, left.where) for left in first.left_out] == [
        ("values of type image", 1, ("sample",))
    ]
    assert second.problems == [f"{str(path)!r}: row 9 of table metrics is not JSON"]
    # A metric may have the name of a column that it cannot be.
    (stored,) = client.execute("SELECT extras FROM metrics WHERE run_id = 1 AND step = 1 AND progress = 0").fetchone()
    assert stored == {"step": 7}
    assert [metric.values for metric in first.stored] == [metric.values for metric in first.metrics]


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.engines("sqlite", reason="about reading the source")
def test_the_folder_of_a_database_stays_as_it_is(client: sqltrack.Client, tmp_path: Path) -> None:
    """SQLite creates files to read a database in WAL mode, which would lock out its owner."""
    folder = tmp_path / "trackio"
    folder.mkdir()
    path = restore("trackio.sql", folder / "digits.db")
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    before = content_of(folder)
    assert counts(check_import(client, None, path)) == (2, 0, 0, 0)
    assert content_of(folder) == before


@pytest.mark.engines("sqlite", reason="about reading the source")
def test_a_database_whose_process_was_killed_is_read_without_changing_it(
    client: sqltrack.Client, tmp_path: Path
) -> None:
    """The file has a part of a transaction, and the journal what it replaced."""
    folder = tmp_path / "trackio"
    folder.mkdir()
    path = restore("trackio.sql", folder / "digits.db")
    script = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("PRAGMA cache_size = 1")
connection.execute("UPDATE metrics SET metrics = '{}' || hex(zeroblob(9000))")
os._exit(0)
"""
    subprocess.run([sys.executable, "-c", script, str(path)], check=True)
    before = content_of(folder)
    assert sorted(before) == ["digits.db", "digits.db-journal"]
    check_import(client, "trackio", path)
    assert metrics_of(client, 2, "train/loss", "val acc %", "odd", "again") == COMMON_METRICS
    assert content_of(folder) == before


# TensorBoard


def test_runs_of_tensorboard_arrive_with_scalars_of_both_forms_and_hyperparameters(client: sqltrack.Client) -> None:
    report = check_import(client, "tensorboard", DATA / "tensorboard")
    assert counts(report) == (2, 0, 0, 0)
    rows = client.execute("SELECT comment, status, args FROM runs ORDER BY id").fetchall()
    assert rows == [
        ("lr=0.01", "COMPLETED", {"lr": 0.1, "augment": True, "model": "mlp"}),
        ("lr=0.1", "COMPLETED", {}),
    ]
    stored = metrics_of(client, 2, "train/loss", "val acc %", "odd", "again")
    assert [row[:2] for row in stored] == [row[:2] for row in COMMON_METRICS]
    assert stored[3][2] == pytest.approx(1 / 3)
    assert [row[4:] for row in stored] == [row[4:] for row in COMMON_METRICS]
    assert [row[2] for row in metrics_of(client, 1, "best")] == [pytest.approx(0.7), None, None, None]
    assert [(left.what, left.count) for left in report.runs[0].left_out] == [("texts", 1)]


def test_event_files_are_read_without_the_damage(client: sqltrack.Client, tmp_path: Path) -> None:
    whole = b"".join(record(event(step, 1000.0 + step, [("loss", step / 2)])) for step in range(4))
    size = len(whole) // 4
    contents = {
        "torn": whole[: 3 * size + 7],
        "damaged": whole[: 2 * size + 20] + b"\xff" + whole[2 * size + 21 :],
        "foreign": b"\x80\x02}q\x00." * 10,
        "long": record(event(0, 1.0, [("loss", 0.5)])) + b"\xff" * 8 + record(b"")[8:],
    }
    for name, content in contents.items():
        (tmp_path / "logs" / name).mkdir(parents=True)
        (tmp_path / "logs" / name / "events.out.tfevents.1.host").write_bytes(content)
    # TensorFlow's profiler leaves a file without events, and folders may be called like files.
    (tmp_path / "logs" / "profiled").mkdir()
    (tmp_path / "logs" / "profiled" / "events.out.tfevents.1.host").touch()
    (tmp_path / "logs" / "profiled" / "events.out.tfevents.1.profile-empty").write_bytes(
        record(field(1, 1000.0) + field(3, "brain.Event:2"))
    )
    (tmp_path / "logs" / "torn" / "events.out.tfevents.0.host.profile-empty").write_bytes(record(field(1, 1000.0)))
    (tmp_path / "logs" / "events.out.tfevents.2.folder").mkdir()
    report = apply_import(client, "tensorboard", str(tmp_path / "logs"))
    assert {run.name: (run.outcome, run.values) for run in report.runs} == {
        "damaged": ("new", 3),
        "foreign": ("broken", 0),
        "long": ("new", 1),
        "torn": ("new", 3),
    }
    damaged, foreign, long, torn = report.runs
    path = str(tmp_path / "logs" / "{}" / "events.out.tfevents.1.host")
    assert damaged.problems == [f"{path.format('damaged')!r}, offset {2 * size}: a record has a wrong checksum"]
    assert "offset 0: not a record of an event file" in " ".join(foreign.problems)
    assert long.problems == [f"{path.format('long')!r}, offset {size}: not a record of an event file"]
    # A process that was killed leaves such a file, so that is no reason to fail.
    assert (torn.problems, torn.notes) == (
        [],
        [f"{path.format('torn')!r}, offset {3 * size}: the last record is incomplete"],
    )


def test_a_run_of_tensorboard_that_goes_on_gets_its_new_values(client: sqltrack.Client, tmp_path: Path) -> None:
    path = tmp_path / "logs" / "run" / "events.out.tfevents.1.host"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"".join(record(event(step, 1000.0, [("loss", 1.0)])) for step in range(3)) + b"\x11")
    apply_import(client, None, str(tmp_path / "logs"))
    path.write_bytes(b"".join(record(event(step, 1000.0 + step, [("loss", 1.0)])) for step in range(5)))
    # A job that was restarted writes a second file, which repeats a step.
    path.with_name("events.out.tfevents.2.host").write_bytes(record(event(4, 2000.0, [("loss", 0.25)])))
    report = check_import(client, None, tmp_path / "logs")
    assert (counts(report), report.added) == ((0, 1, 0, 0), 3)
    assert metrics_of(client, 1, "loss")[3:] == [(3, 0.0, 1.0), (4, 0.0, 1.0), (4, 1.0, 0.25)]


# W&B


def test_runs_of_wandb_arrive_with_all_that_they_hold(client: sqltrack.Client) -> None:
    report = check_import(client, "wandb", DATA / "wandb")
    assert counts(report) == (2, 0, 0, 0)
    rows = client.execute("SELECT status, comment, tags, args, time_updated FROM runs ORDER BY id").fetchall()
    args = {"lr": 0.1, "layers": [4, 5], "model": {"depth": 2}, "later": "x" * 10}
    assert rows[0][:4] == ("COMPLETED", "first try", {"paper": True}, args)
    assert rows[1][:2] == ("FAILED", "second")
    extras = extras_of(client, 1)
    assert (extras["imported"]["kind"], extras["imported"]["id"]) == ("wandb", "digits/a1")
    assert (extras["wandb"]["group"], extras["wandb"]["axes"]) == ("seeds", {"val*": "epoch"})
    assert extras["wandb"]["summary"]["train/loss"] == 1 / 3
    stored = metrics_of(client, 1, "train/loss", "val acc %", "epoch", "nested.a", "odd", "text", "flag")
    flag = stored[5][8]
    assert stored == [
        (0, 0.0, 1.0, 0.5, 0, 0, None, None, None),
        (1, 0.0, 0.5, 0.6, 0, 1, None, None, None),
        (2, 0.0, 1 / 3, 0.7, 1, 2, None, None, None),
        (3, 0.0, None, None, None, None, "NaN", None, None),
        (4, 0.0, None, None, None, None, math.inf, None, None),
        (5, 0.0, None, None, None, None, None, "ünï", flag),
    ]
    assert flag == 1
    assert ("values of type histogram", 1, ("hist",)) in [
        (left.what, left.count, left.where) for left in report.runs[0].left_out
    ]


def test_files_of_wandb_are_read_up_to_the_damage_and_after_it(client: sqltrack.Client, tmp_path: Path) -> None:
    (source,) = (DATA / "wandb").glob("*/run-a1.wandb")
    content = source.read_bytes()
    folder = tmp_path / "wandb"
    folder.mkdir()
    # Offsets of the records of steps 1 and 4.
    (folder / "run-a1.wandb").write_bytes(content[:1300])
    (folder / "b.wandb").write_bytes(content[:5])
    (folder / "c.wandb").write_bytes(b"not a log of this kind")
    report = apply_import(client, "wandb", str(folder))
    assert counts(report) == (1, 0, 0, 2)
    *broken, torn = report.runs
    assert all("offset 0: not a file of W&B" in run.problems[0] for run in broken)
    assert (torn.values, torn.problems) == (4, [])
    assert f"{str(folder / 'run-a1.wandb')!r}, offset 1221: a record is incomplete" in torn.notes
    assert client.execute("SELECT status FROM runs").fetchone() == ("RUNNING",)
    (folder / "run-a1.wandb").write_bytes(content)
    for name in ("b.wandb", "c.wandb"):
        (folder / name).unlink()
    report = check_import(client, "wandb", folder)
    assert (counts(report), report.added) == ((0, 1, 0, 0), 12)
    (folder / "run-a1.wandb").write_bytes(content[:1300] + b"\xff" + content[1301:])
    assert "offset 1221: a record has a wrong checksum" in " ".join(
        apply_import(client, "wandb", str(folder)).runs[0].problems
    )


def test_files_of_a_run_of_wandb_are_read_in_the_order_of_their_times(client: sqltrack.Client, tmp_path: Path) -> None:
    """A run may be resumed offline after it was killed online."""
    (source,) = (DATA / "wandb").glob("*/run-a1.wandb")
    content = source.read_bytes()
    folders = {"run-20261127_000000-a1": content[:1300], "offline-run-20261128_150204-a1": content}
    for name, part in folders.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "run-a1.wandb").write_bytes(part)
    (run,) = check_import(client, "wandb", tmp_path).runs
    assert run.values == 20
    assert client.execute("SELECT status FROM runs").fetchone() == ("COMPLETED",)


# Optuna


def test_trials_of_optuna_arrive_as_runs(client: sqltrack.Client, tmp_path: Path) -> None:
    path = restore("optuna.sql", tmp_path / "optuna.db")
    report = check_import(client, "optuna", path)
    assert (counts(report), [(left.what, left.count) for left in report.skipped]) == (
        (3, 0, 0, 0),
        [("waiting trials", 1)],
    )
    rows = client.execute("SELECT status, comment, args FROM runs ORDER BY id").fetchall()
    assert [row[:2] for row in rows] == [("COMPLETED", "trial 0"), ("PRUNED", "trial 1"), ("FAILED", "trial 2")]
    assert {type(value) for value in (rows[0][2]["x"],)} == {float}
    assert type(rows[0][2]["n"]) is int
    assert rows[0][2]["kind"] in ("a", None, 2.5)
    first = metrics_of(client, 1, "intermediate_value", "value")
    assert [row[:3] for row in first] == [(0, 0.0, 1.0), (1, 0.0, "NaN"), (2, 0.0, math.inf)]
    assert first[2][3] == rows[0][2]["x"]
    extras = extras_of(client, 1)["optuna"]
    assert (extras["user_attributes"], extras["directions"]) == ({"note": {"ü": 1}}, ["MINIMIZE"])


# Any source


@pytest.mark.parametrize(
    ("script", "change"),
    [
        ("mlflow.sql", "UPDATE runs SET name = x'ff00' WHERE name = 'child'"),
        ("mlflow.sql", "UPDATE tags SET value = x'ff00'"),
        ("optuna.sql", "UPDATE trial_params SET distribution_json = '[1.5]' WHERE trial_id = 1"),
        ("optuna.sql", "UPDATE trial_params SET param_value = 9e999"),
        ("optuna.sql", "UPDATE studies SET study_name = x'ff00'"),
        ("trackio.sql", "UPDATE configs SET config = '[1]'"),
        ("trackio.sql", "UPDATE metrics SET metrics = '[1]', step = 'x' WHERE id = 2"),
    ],
)
def test_wrong_content_of_a_database_does_not_end_the_import(
    client: sqltrack.Client, tmp_path: Path, script: str, change: str
) -> None:
    path = restore(script, tmp_path / "source.db")
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute(change).rowcount > 0
        connection.commit()
    kind = script.removesuffix(".sql")
    report = apply_import(client, kind, str(path))
    assert len(report.runs) == (2 if kind == "trackio" else 3)


def test_a_source_is_recognized_or_the_message_says_what_to_do(client: sqltrack.Client, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.bin").write_bytes(b"x" * 200)
    for kind, source, message in (
        (None, "empty", "cannot recognize the kind of"),
        (None, "file.bin", "cannot recognize the kind of"),
        (None, "missing", "'missing' does not exist"),
        (None, "http://localhost:5000", "cannot read 'http://"),
        ("mlfow", "empty", "unknown kind of source 'mlfow'; use: mlflow"),
        ("tensorboard", "empty", "no event files in 'empty'"),
        ("sacred", "empty", "no runs of Sacred"),
        ("wandb", "empty", "no .wandb files"),
        ("trackio", "empty", "no projects of Trackio"),
        ("mlflow", "empty", "no experiments of MLflow"),
        ("mlflow", "http://localhost:5000", "import its database or its folder mlruns"),
        ("mlflow", "mysql://u:secret@localhost/db", "cannot read 'mysql://"),
        ("mlflow", "sqlite:///missing.db", "does not exist"),
        ("optuna", "file.bin", "file is not a database"),
        ("csv", "empty", "no files .csv or .tsv"),
        ("sacred", None, "no source is given"),
    ):
        with pytest.raises(SourceError) as caught:
            apply_import(client, kind, source)
        assert message in str(caught.value)
        assert "secret" not in str(caught.value)
    assert everything(client)[1] == []


@pytest.mark.engines("sqlite", reason="no database is used")
@pytest.mark.parametrize("kind", ["sacred", "tensorboard", "wandb", "mlruns"])
def test_tables_among_the_files_of_a_tracker_do_not_hide_it(kind: str, tmp_path: Path) -> None:
    folder = shutil.copytree(DATA / kind, tmp_path / "source")
    for path in (folder, next(path for path in sorted(folder.iterdir()) if path.is_dir())):
        (path / "a.csv").write_text("step,loss\n0,1\n")
    found = find_request(Request("", str(folder)))
    assert found.kind == ("mlflow" if kind == "mlruns" else kind)
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "a.csv").write_text("step,loss\n0,1\n")
    assert find_request(Request("", str(folder))).kind == "csv"


def test_only_some_experiments_are_imported_on_request(client: sqltrack.Client) -> None:
    assert counts(apply_import(client, "sacred", str(DATA / "sacred"), only=["other"])) == (0, 0, 0, 0)
    assert counts(apply_import(client, "sacred", str(DATA / "sacred"), only=["digits"])) == (2, 0, 0, 0)


def test_two_runs_of_a_source_with_the_same_id_are_not_mixed(client: sqltrack.Client, mlruns: Path) -> None:
    (path,) = mlruns.rglob("metrics/step")
    shutil.copytree(path.parents[1], path.parents[2] / "zzz")
    report = apply_import(client, "mlflow", str(mlruns))
    assert counts(report) == (3, 0, 0, 1)
    assert [run.problems for run in report.runs if run.outcome == "broken"] == [
        ["another run of the source has the same id"]
    ]


def test_progress_counts_the_values(client: sqltrack.Client) -> None:
    done: list[int] = []
    report = apply_import(client, "sacred", str(DATA / "sacred"), progress=done.append)
    assert done == [10, 20]
    assert report.added == 20


def test_progress_counts_the_values_of_a_long_run_while_they_are_read(
    client: sqltrack.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_spool, "_IN_MEMORY", 100)
    monkeypatch.setattr(_spool, "_ROWS", 100)
    path = write_csv(tmp_path / "metrics.csv", [["step", "loss"], *([step, 0.5] for step in range(200))])
    done: list[int] = []
    plan_import(client, "csv", str(path), progress=done.append)
    assert done == [100, 200, 200]
    done.clear()
    apply_import(client, "csv", str(path), progress=done.append)
    assert (done[:2], done[-1], sorted(done)) == ([50, 100], 200, done)


def test_a_run_that_was_deleted_here_is_imported_again(client: sqltrack.Client) -> None:
    apply_import(client, "sacred", str(DATA / "sacred"))
    client.execute("DELETE FROM metrics WHERE run_id = 1")
    client.execute("DELETE FROM runs WHERE id = 1")
    assert counts(apply_import(client, "sacred", str(DATA / "sacred"))) == (1, 0, 1, 0)


def test_what_the_database_lacks_after_the_import_is_reported(
    client: sqltrack.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sqltrack.metrics import MetricsWriter

    add_copies = MetricsWriter.add_copies
    monkeypatch.setattr(MetricsWriter, "add_copies", lambda self, run_id, rows: add_copies(self, run_id, rows[:-1]))
    report = apply_import(client, "sacred", str(DATA / "sacred"))
    assert (
        "metric 'odd': the source has 2 values at steps 1 to 2, the database has 1 values at steps 1 to 1"
        in report.runs[0].problems
    )


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_names_of_files_that_are_not_utf_8_are_found_again(client: sqltrack.Client, tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/logs/\xff"))
    folder.mkdir(parents=True)
    (folder / "events.out.tfevents.1.host").write_bytes(record(event(0, 1.0, [("loss", 1.0)])))
    check_import(client, "tensorboard", tmp_path / "logs")
    assert client.execute("SELECT comment FROM runs").fetchall() == [("\\udcff",)]


def test_credentials_among_the_arguments_are_masked(client: sqltrack.Client, sacred_folder: Path) -> None:
    (sacred_folder / "1" / "config.json").write_text('{"api_key": "hunter2", "lr": 0.1}')
    check_import(client, "sacred", sacred_folder)
    (args,) = client.execute("SELECT args FROM runs WHERE id = 1").fetchone()
    assert args["lr"] == 0.1
    assert "hunter2" not in json.dumps(everything(client))


def test_the_password_of_an_address_is_not_stored() -> None:
    place = Request("mlflow", "postgresql+psycopg2://alice:hunter2@localhost/mlflow").place
    assert "hunter2" not in place
    assert place.startswith("postgresql+psycopg2://alice")
