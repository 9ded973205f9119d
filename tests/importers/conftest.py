"""Fixtures for `sqltrack import`."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from support.imports import DATA, restore
from support.program import one_line_error, options, parquet, program

__all__ = ["one_line_error", "options", "parquet", "program"]


@pytest.fixture
def mlflow_file(tmp_path: Path) -> Path:
    """MLflow's database."""
    return restore("mlflow.sql", tmp_path / "mlflow.db")


@pytest.fixture
def mlruns(tmp_path: Path) -> Path:
    """A copy of MLflow's folder."""
    pytest.importorskip("yaml")
    return Path(shutil.copytree(DATA / "mlruns", tmp_path / "mlruns"))
