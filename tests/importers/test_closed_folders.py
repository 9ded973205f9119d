"""Folders that the user may not enter are named, and all others are imported."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack.importers import ImportReport, apply_import, plan_import
from support.imports import DATA, event, record

Close = Callable[[Path], None]


@pytest.fixture
def close(monkeypatch: pytest.MonkeyPatch) -> Close:
    """A function that makes a folder one that nobody may enter; for the superuser, permissions would not do that."""
    closed: list[str] = []

    def guard(name: str, *, is_inside: bool) -> None:
        function = getattr(os, name)

        def guarded(path: Any = ".", *arguments: Any, **options: Any) -> Any:
            if isinstance(path, (str, os.PathLike)):
                place = os.path.dirname(path) if is_inside else os.fspath(path)
                if any(place == folder or place.startswith(folder + os.sep) for folder in closed):
                    raise PermissionError(13, "Permission denied", str(path))
            return function(path, *arguments, **options)

        monkeypatch.setattr(os, name, guarded)

    for name in ("scandir", "listdir"):
        guard(name, is_inside=False)
    for name in ("stat", "open"):
        guard(name, is_inside=True)
    return lambda path: closed.append(str(path))


def check(client: sqltrack.Client, kind: str, source: Path, closed: Path, new: int) -> ImportReport:
    """Import a source: so many runs are new, one is broken and names the folder, as the plan says."""
    planned, report = plan_import(client, kind, str(source)), apply_import(client, kind, str(source))
    for each in (planned, report):
        (broken,) = (run for run in each.runs if run.outcome == "broken")
        assert str(closed) in f"{broken.name} {broken.problems}"
        assert "Permission denied" in str(broken.problems)
        assert (each.count("new"), each.has_problems) == (new, True)
    return report


def test_event_files(client: sqltrack.Client, tmp_path: Path, close: Close) -> None:
    for name in ("a", "b"):
        folder = tmp_path / "logs" / name
        folder.mkdir(parents=True)
        (folder / "events.out.tfevents.1.host").write_bytes(record(event(1, 2.0, [("loss", 0.5)])))
    close(tmp_path / "logs" / "a")
    check(client, "tensorboard", tmp_path / "logs", tmp_path / "logs" / "a", 1)


def test_tables(client: sqltrack.Client, tmp_path: Path, close: Close) -> None:
    for name in ("a", "b"):
        (tmp_path / "tables" / name).mkdir(parents=True)
        (tmp_path / "tables" / name / "run.csv").write_text("step,loss\n1,2\n", encoding="utf-8")
    close(tmp_path / "tables" / "b")
    check(client, "csv", tmp_path / "tables", tmp_path / "tables" / "b", 1)
    close(tmp_path / "tables" / "a")
    report = apply_import(client, "csv", str(tmp_path / "tables"))
    assert [run.outcome for run in report.runs] == ["broken"] * 3
    assert "no files .csv" in report.runs[-1].problems[-1]


def test_runs_of_sacred(client: sqltrack.Client, tmp_path: Path, close: Close) -> None:
    shutil.copytree(DATA / "sacred", tmp_path / "sacred")
    close(tmp_path / "sacred" / "1")
    check(client, "sacred", tmp_path / "sacred", tmp_path / "sacred" / "1", 1)


def test_folders_of_mlflow(client: sqltrack.Client, mlruns: Path, close: Close) -> None:
    """A run whose metrics cannot be read is not imported without them; its artifacts stay where they are anyhow."""
    all_runs = plan_import(client, "mlflow", str(mlruns)).runs
    first, second = (next(mlruns.glob(f"*/{run.id}")) for run in all_runs[:2])
    (first / "artifacts").mkdir(exist_ok=True)
    close(first / "artifacts")
    close(second / "metrics")
    report = check(client, "mlflow", mlruns, second / "metrics", len(all_runs) - 1)
    (run,) = (run for run in report.runs if run.id == first.name)
    assert (run.values, run.problems) == (all_runs[0].values, [])


def test_experiments_of_mlflow(client: sqltrack.Client, mlruns: Path, close: Close) -> None:
    number = plan_import(client, "mlflow", str(mlruns)).count("new")
    (closed,) = {path.parents[1] for path in mlruns.glob("*/*/meta.yaml")}
    shutil.copytree(closed, mlruns / "second")
    close(closed)
    (mlruns / ".trash").mkdir()
    close(mlruns / ".trash")
    check(client, "mlflow", mlruns, closed, number)
