"""The scripts of the page about frameworks work as they are, with the frameworks that are installed."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from support.pages import DOCS, read_blocks
from support.variables import database_variables

# The scripts by the packages that they import. The last block for each is a complete one.
SCRIPTS = {
    package: block.code
    for package in (
        *("lightning", "transformers", "accelerate", "keras", "sklearn", "xgboost", "lightgbm", "catboost", "optuna"),
        *("hydra", "stable_baselines3"),
    )
    for block in read_blocks(DOCS / "frameworks.md", "python")
    if f"sqltrack.integrations.{package}" in block.code
}
INSTALLED = [package for package in SCRIPTS if importlib.util.find_spec(package) is not None]


def test_the_page_has_a_script_for_each_framework() -> None:
    assert len(SCRIPTS) == 11


@pytest.mark.engines("sqlite", reason="the other tests of the frameworks use both engines")
@pytest.mark.parametrize("package", INSTALLED)
def test_a_script_of_the_page_leaves_completed_runs(
    config: dict[str, Any], client: sqltrack.Client, tmp_path: Path, package: str
) -> None:
    path = tmp_path / "train.py"
    path.write_text(SCRIPTS[package], encoding="utf-8")
    settings = database_variables(config)
    arguments = ["--multirun", "lr=0.1,0.01"] if package == "hydra" else []
    command = [sys.executable, str(path), *arguments]
    done = subprocess.run(command, cwd=tmp_path, env={**os.environ, **settings}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    statuses = [status for (status,) in client.execute("SELECT status FROM runs")]
    assert statuses
    assert set(statuses) == {"COMPLETED"}
    counts = client.execute("SELECT COUNT(*) FROM metrics GROUP BY run_id").fetchall()
    assert len(counts) == len(statuses)
