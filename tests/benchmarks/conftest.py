"""The scripts of benchmarks/, and the engines that they measure."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from support.pages import ROOT

# Loads a script by its name.
Load = Callable[[str], ModuleType]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Load:
    """Import scripts as they import each other, also in processes that they start."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module


@pytest.fixture
def engine(engine_name: str, load: Load, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The engine as the scripts open it, with the server of the tests."""
    if engine_name == "postgres":
        monkeypatch.setenv("SQLTRACK_BENCH_DSN", request.getfixturevalue("postgres_server").dsn)
    (engine,) = load("_common").open_engines(engine_name)
    return engine
