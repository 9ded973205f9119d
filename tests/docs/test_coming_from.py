"""The importers import runs of other trackers once, and the pages about them are right."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import math
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from support.pages import DOCS, ROOT, read_blocks
from support.processes import running

IMPORTERS = ROOT / "examples" / "importers"
DATA = Path(__file__).parent / "data"
TRACKERS = ("mlflow", "wandb", "tensorboard", "sacred", "trackio")

Import = Callable[..., str]

# Runs an importer for each line of input, so that the imports of the importer are done once.
RUN_AGAIN = """
import os, runpy, sys
del sys.argv[0]
sys.path.insert(0, os.path.dirname(sys.argv[0]))
for line in sys.stdin:
    runpy.run_path(sys.argv[0], run_name="__main__")
    print("done", flush=True)
"""


@pytest.fixture
def import_runs(config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[Import]:
    """Return a function that runs an importer, which must succeed, and returns the last line of its output."""
    for name, value in config.items():
        monkeypatch.setenv(f"SQLTRACK_DSN_{name.upper()}", str(value))
    started: dict[tuple[str, ...], subprocess.Popen[str]] = {}

    with contextlib.ExitStack() as stack:

        def import_runs(tracker: str, *arguments: str | Path) -> str:
            words = (str(IMPORTERS / f"import_{tracker}.py"), *map(str, arguments))
            if words not in started:
                pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
                command = [sys.executable, "-c", RUN_AGAIN, *words]
                started[words] = stack.enter_context(running(command, **pipes, text=True))
            process = started[words]
            assert process.stdin is not None
            assert process.stdout is not None
            print(file=process.stdin, flush=True)
            lines: list[str] = []
            for line in process.stdout:
                if line == "done\n":
                    return lines[-1]
                lines.append(line.rstrip("\n"))
            pytest.fail(process.communicate()[1])

        yield import_runs


@pytest.fixture
def need() -> Callable[[str], None]:
    """Return a function that skips the test if a package is missing, and fails it if CI is set."""

    def need(package: str) -> None:
        if importlib.util.find_spec(package) is None:
            if os.environ.get("CI"):
                pytest.fail(f"{package!r} is not installed")
            pytest.skip(f"{package!r} is not installed")

    return need


def shown_result(tracker: str) -> str:
    """Return the output of the importer that a page shows."""
    (block,) = read_blocks(DOCS / f"coming-from-{tracker}.md", "text")
    return block.code.strip()


def metrics_of(client: sqltrack.Client, run_id: int, *names: str) -> list[tuple[Any, ...]]:
    """Return steps, progress and metrics of a run; NaN is text, as in SQLite."""
    columns = ", ".join(f'"{name}"' for name in names)
    rows = client.execute(
        f"SELECT step, progress, {columns} FROM metrics WHERE run_id = {run_id} ORDER BY step, progress"
    )
    return [tuple("NaN" if value != value else value for value in row) for row in rows]


def everything(client: sqltrack.Client) -> list[list[str]]:
    """Return all rows of all tables."""
    order = {"experiments": "1", "runs": "1", "run_links": "1, 2, 3", "metrics": "1, 2, 3"}
    return [
        [repr(row) for row in client.execute(f"SELECT * FROM {table} ORDER BY {by}")] for table, by in order.items()
    ]


def extras_of(client: sqltrack.Client, run_id: int) -> dict[str, Any]:
    (extras,) = client.execute(f"SELECT extras FROM runs WHERE id = {run_id}").fetchone()
    return dict(extras)


@pytest.mark.parametrize("tracker", TRACKERS)
def test_what_a_page_shows_of_an_importer_is_in_it(tracker: str) -> None:
    text = (DOCS / f"coming-from-{tracker}.md").read_text(encoding="utf-8")
    (shown,) = re.findall(rf"<!-- test: skip, part of import_{tracker}\.py -->\n```python\n(.*?)```", text, re.S)
    assert shown in (IMPORTERS / f"import_{tracker}.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("tracker", TRACKERS)
def test_the_command_of_a_page_names_its_importer(tracker: str) -> None:
    (block,) = read_blocks(DOCS / f"coming-from-{tracker}.md", "console")
    assert block.code.startswith(f"python examples/importers/import_{tracker}.py ")


def test_sizes_on_the_page_are_those_that_were_measured() -> None:
    measured = json.loads((ROOT / "benchmarks" / "install_sizes.json").read_text(encoding="utf-8"))["results"]
    expected = {
        (row["name"], row["version"], str(row["distributions"]), f"{row['megabytes']:.1f}", row["date"])
        for row in measured
    }
    page = (DOCS / "why.md").read_text(encoding="utf-8")
    (date,) = re.findall(r"measured on (\d{4}-\d\d-\d\d)", page)
    shown = re.findall(r"^\| `([^`]+)` \| ([\d.]+) \| (\d+) \| ([\d.]+) \|$", page, re.M)
    assert {(*row, date) for row in shown} == expected


# Sacred


def test_runs_of_sacred_arrive_with_all_that_they_hold(client: sqltrack.Client, import_runs: Import) -> None:
    assert import_runs("sacred", DATA / "sacred") == shown_result("sacred")
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
    sacred = extras_of(client, 2)["sacred"]
    assert sacred["artifacts"] == ["note.txt"]
    assert sacred["info"] == {"parameters": 1234}
    assert sacred["fail_trace"][-1] == "RuntimeError: diverged\n"
    assert extras_of(client, 1)["sacred"]["result"] == 0.7
    assert metrics_of(client, 1, "train/loss", "val acc %", "odd", "again") == COMMON_METRICS


# The content of all records; the metric "again" has two values at step 0.
COMMON_METRICS = [
    (0, 0.0, 1.0, 0.5, None, 1.0),
    (0, 1.0, None, None, None, 2.0),
    (1, 0.0, 0.5, 0.6, "NaN", None),
    (2, 0.0, 1 / 3, 0.7, math.inf, None),
]


def test_a_second_import_changes_nothing(client: sqltrack.Client, import_runs: Import) -> None:
    import_runs("sacred", DATA / "sacred")
    client.execute("UPDATE runs SET comment = 'mine', status = 'CHECKED' WHERE id = 1")
    before = everything(client)
    assert import_runs("sacred", DATA / "sacred") == "0 new runs, 0 continued, 2 unchanged"
    assert everything(client) == before


def test_a_run_that_went_on_is_continued(client: sqltrack.Client, import_runs: Import, tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    shutil.copytree(DATA / "sacred", folder)
    path = folder / "1" / "run.json"
    ended = json.loads(path.read_text())
    running = {name: value for name, value in ended.items() if name != "stop_time"}
    path.write_text(json.dumps({**running, "status": "RUNNING"}))
    metrics_path = folder / "1" / "metrics.json"
    metrics = metrics_path.read_text()
    metrics_path.write_text('{"train/loss": {"steps": [0], "values": [1.0], "timestamps": []}}')
    import_runs("sacred", folder)
    assert client.execute("SELECT status FROM runs WHERE id = 1").fetchone() == ("RUNNING",)
    path.write_text(json.dumps(ended))
    metrics_path.write_text(metrics)
    assert import_runs("sacred", folder) == "0 new runs, 1 continued, 1 unchanged"
    assert client.execute("SELECT status FROM runs WHERE id = 1").fetchone() == ("COMPLETED",)
    assert metrics_of(client, 1, "train/loss", "val acc %", "odd", "again") == COMMON_METRICS


def test_an_import_that_was_interrupted_is_finished_by_the_next(
    client: sqltrack.Client, import_runs: Import, tmp_path: Path
) -> None:
    import_runs("sacred", DATA / "sacred")
    before = everything(client)
    client.execute("UPDATE runs SET status = 'PLANNED', args = NULL, tags = NULL WHERE id = 2")
    client.execute("DELETE FROM metrics WHERE run_id = 2 AND step > 0")
    assert import_runs("sacred", DATA / "sacred") == "0 new runs, 1 continued, 1 unchanged"
    assert everything(client) == before


# Trackio


@pytest.fixture
def trackio_file(tmp_path: Path) -> Path:
    """Trackio's file of a project."""
    path = tmp_path / "digits.db"
    connection = sqlite3.connect(path)
    connection.executescript((DATA / "trackio.sql").read_text(encoding="utf-8"))
    connection.close()
    return path


def test_runs_of_trackio_arrive_with_all_that_they_hold(
    client: sqltrack.Client, import_runs: Import, trackio_file: Path
) -> None:
    assert import_runs("trackio", trackio_file) == shown_result("trackio")
    rows = client.execute("""
        SELECT experiments.name, runs.status, runs.comment, runs.tags, runs.args, runs.time_created
        FROM runs JOIN experiments ON experiments.id = experiment_id ORDER BY runs.id
    """).fetchall()
    created = datetime(2026, 11, 24, 10, 22, 45, 799193, tzinfo=timezone.utc)
    args = {"lr": 0.1, "model": {"depth": 2}, "layers": [4, 5]}
    assert rows[0] == ("digits", "COMPLETED", "first run", {"seeds": True}, args, created)
    assert [row[2] for row in rows] == ["first run", "second"]
    assert metrics_of(client, 2, "train/loss", "val acc %", "odd", "again") == COMMON_METRICS


def test_runs_of_trackio_are_found_in_its_folder_and_imported_once(
    client: sqltrack.Client, import_runs: Import, trackio_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(trackio_file.parent / "trackio"))
    (trackio_file.parent / "trackio").mkdir()
    trackio_file.rename(trackio_file.parent / "trackio" / "digits.db")
    import_runs("trackio")
    before = everything(client)
    assert import_runs("trackio") == "0 new runs, 0 continued, 2 unchanged"
    assert everything(client) == before


def test_images_of_trackio_are_left_out_by_name(
    client: sqltrack.Client, import_runs: Import, trackio_file: Path
) -> None:
    connection = sqlite3.connect(trackio_file)
    image = json.dumps({"sample": {"_type": "trackio.image", "file_path": "a.png"}, "step": 7})
    connection.execute("UPDATE metrics SET metrics = ? WHERE id = 2", (image,))
    connection.commit()
    connection.close()
    import_runs("trackio", trackio_file)
    assert extras_of(client, 1)["left_out"] == ["sample"]
    # A metric may have the name of a column that it cannot be.
    (stored,) = client.execute("SELECT extras FROM metrics WHERE run_id = 1 AND step = 1 AND progress = 0").fetchone()
    assert stored == {"step": 7}


# TensorBoard


def test_runs_of_tensorboard_arrive_with_scalars_of_both_forms_and_hyperparameters(
    client: sqltrack.Client, import_runs: Import, need: Callable[[str], None]
) -> None:
    need("tensorboard")
    assert import_runs("tensorboard", DATA / "tensorboard") == shown_result("tensorboard")
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
    before = everything(client)
    assert import_runs("tensorboard", DATA / "tensorboard") == "0 new runs, 0 continued, 2 unchanged"
    assert everything(client) == before


# W&B

FAKE_WANDB = '''
class Run:
    """Has the attributes of `wandb.apis.public.Run`."""

    notes = group = None
    job_type = "train"
    created_at, heartbeat_at = "2026-11-01T08:00:00Z", "2026-11-01T09:00:00Z"
    config = {"lr": 0.1, "model": {"depth": 2}, "_wandb": {}}
    tags = ["paper"]

    def __init__(self, id, state):
        self.id, self.state = id, state
        self.name = f"run {id}"
        self.path = ["alice", "digits", id]
        self.url = "https://wandb.ai/" + "/".join(self.path)
        self.summary_metrics = {"best": 0.7, "_runtime": 5}

    def scan_history(self):
        yield {"_step": 0, "_timestamp": 1.0, "train/loss": 1.0, "odd": "NaN", "val": None}
        yield {"_step": 1, "_timestamp": 2.0, "train/loss": 0.5, "odd": "Infinity"}
        yield {"_step": 2, "_timestamp": 3.0, "sample": {"_type": "image-file", "path": "media/a.png"}}


class Api:
    def runs(self, path):
        assert path == "alice/digits"
        return [Run("a1", "finished"), Run("b2", "crashed")]
'''


def test_runs_of_wandb_arrive_with_all_that_they_hold(
    client: sqltrack.Client, import_runs: Import, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wandb.py").write_text(FAKE_WANDB, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    assert import_runs("wandb", "alice/digits") == shown_result("wandb")
    rows = client.execute("SELECT status, comment, tags, args, time_updated FROM runs ORDER BY id").fetchall()
    ended = datetime(2026, 11, 1, 9, tzinfo=timezone.utc)
    assert rows[0] == ("COMPLETED", "run a1", {"paper": True}, {"lr": 0.1, "model": {"depth": 2}}, ended)
    assert rows[1][0] == "FAILED"
    extras = extras_of(client, 1)
    assert extras["imported_from"] == "wandb:alice/digits/a1"
    assert extras["left_out"] == ["sample"]
    assert extras["wandb"]["summary"] == {"best": 0.7}
    assert metrics_of(client, 1, "train/loss", "odd") == [(0, 0.0, 1.0, "NaN"), (1, 0.0, 0.5, math.inf)]
    before = everything(client)
    assert import_runs("wandb", "alice/digits") == "0 new runs, 0 continued, 2 unchanged"
    assert everything(client) == before


# MLflow

MLFLOW_RUNS = """
import mlflow

mlflow.set_tracking_uri("sqlite:///mlflow.db")
mlflow.set_experiment("digits")
with mlflow.start_run(run_name="parent", description="a sweep") as parent:
    mlflow.log_params({"lr": 0.1, "layers": [4, 5], "name": "resnet", "commit": "12345e7", "augment": True, "no": None})
    mlflow.set_tags({"paper": "true", "team": "vision"})
    for epoch in range(3):
        mlflow.log_metrics({"train/loss": 1 / (epoch + 1), "val acc": 0.5 + epoch / 10}, step=epoch)
    mlflow.log_metric("odd", float("nan"), step=1, timestamp=1_000)
    mlflow.log_metric("odd", float("inf"), step=2, timestamp=2_000)
    mlflow.log_metric("again", 1.0, timestamp=1_000)
    mlflow.log_metric("again", 2.0, timestamp=2_000)
    with mlflow.start_run(run_name="child", nested=True):
        mlflow.log_metric("step", 5.0, step=3)
try:
    with mlflow.start_run(run_name="broken"):
        raise RuntimeError
except RuntimeError:
    pass
"""


@pytest.fixture(scope="module")
def mlflow_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of MLflow with three runs."""
    folder = tmp_path_factory.mktemp("mlflow")
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    command = [sys.executable, "-c", MLFLOW_RUNS]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "mlflow.db"


def test_runs_of_mlflow_arrive_with_all_that_they_hold(
    client: sqltrack.Client, import_runs: Import, need: Callable[[str], None], request: pytest.FixtureRequest
) -> None:
    for package in ("mlflow", "sqlalchemy", "alembic"):
        need(package)
    uri = f"sqlite:///{request.getfixturevalue('mlflow_file')}"
    assert import_runs("mlflow", uri) == shown_result("mlflow")
    rows = client.execute("SELECT status, comment, tags FROM runs ORDER BY id").fetchall()
    assert rows == [
        ("COMPLETED", "a sweep", {"paper": True, "team=vision": True}),
        ("COMPLETED", "child", {}),
        ("FAILED", "broken", {}),
    ]
    (args,) = client.execute("SELECT args FROM runs WHERE id = 1").fetchone()
    assert args == {
        "lr": 0.1,
        "layers": [4, 5],
        "name": "resnet",
        "commit": "12345e7",
        "augment": True,
        "no": None,
    }
    assert client.execute("SELECT * FROM run_links").fetchall() == [(2, "child of", 1)]
    assert metrics_of(client, 1, "train/loss", "val acc", "odd", "again") == COMMON_METRICS
    assert "artifacts" in extras_of(client, 1)["mlflow"]["artifact_uri"]
    before = everything(client)
    assert import_runs("mlflow", uri) == "0 new runs, 0 continued, 3 unchanged"
    assert everything(client) == before
