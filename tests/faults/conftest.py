"""Shared by the fault tests: their figures, and a table of them at the end."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

_JSON_VARIABLE = "SQLTRACK_TEST_FAULTS_JSON"
_SEED_VARIABLE = "SQLTRACK_TEST_SEED"
_COLUMNS = ("faults", "confirmed", "missing", "errors", "slowest")


@pytest.fixture
def record(record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """Record figures for the table at the end.

    `faults` counts kills and outages; `confirmed` counts confirmed rows, and `missing` those of them that are not
    stored; `errors` counts the errors that a caller has seen; `slowest` is the duration of the slowest call in seconds.
    """

    def record_figures(**figures: float) -> None:
        assert set(figures) <= set(_COLUMNS)
        for name, figure in figures.items():
            record_property(name, figure)

    return record_figures


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    """Random numbers from a seed that is printed if the test fails, and that an environment variable can set."""
    seed = os.environ.get(_SEED_VARIABLE) or str(random.randrange(1_000_000))
    print(f"{_SEED_VARIABLE}={seed}")
    return random.Random(f"{seed} {request.node.name}")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Show the figures, and write them to a file if the environment names one."""
    reports = [
        report
        for outcome in ("passed", "failed")
        for report in terminalreporter.stats.get(outcome, ())
        if report.when == "call" and "faults/" in report.nodeid
    ]
    if not reports:
        return
    rows = [_row(report) for report in reports]
    terminalreporter.section("faults")
    width = max(len(row["test"]) for row in rows)
    terminalreporter.write_line("  ".join([f"{'':{width}}", *(f"{name:>9}" for name in (*_COLUMNS, "seconds"))]))
    for row in rows:
        figures = (_shown(row.get(name)) for name in (*_COLUMNS, "seconds"))
        terminalreporter.write_line("  ".join([f"{row['test']:{width}}", *(f"{figure:>9}" for figure in figures)]))
    path = os.environ.get(_JSON_VARIABLE)
    if path:
        Path(path).write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def _row(report: pytest.TestReport) -> dict[str, Any]:
    name = report.nodeid.rpartition("::")[2].removeprefix("test_").replace("_", " ")
    figures = {name: figure for name, figure in report.user_properties if name in _COLUMNS}
    return {"test": name, "outcome": report.outcome, **figures, "seconds": round(report.duration, 2)}


def _shown(figure: float | None) -> str:
    if figure is None:
        return ""
    return f"{figure:,.2f}" if isinstance(figure, float) else f"{figure:,}"
