"""The programs of the user's guide run unchanged, apart from lines that page breaks have split."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from support.variables import database_variables

DOCUMENTED = Path(__file__).parent / "documented"

RunProgram = Callable[..., str]


@pytest.fixture
def run_program(empty_config: dict[str, Any], tmp_path: Path) -> RunProgram:
    """A function that runs a documented program in a separate process, and returns its output."""
    settings = database_variables(empty_config)

    def run(name: str, *arguments: str) -> str:
        script = tmp_path / f"{name}.py"
        script.write_text((DOCUMENTED / f"{name}.txt").read_text(encoding="utf-8"), encoding="utf-8")
        done = subprocess.run(
            [sys.executable, script.name, *arguments],
            capture_output=True,
            text=True,
            env={**os.environ, **settings},
            cwd=tmp_path,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    return run


HEAD = """
     run_id  step  progress      loss
0         1     0       0.0  7.000000
1         1     1       0.0  2.645751
2         1     2       0.0  1.912931
3         1     3       0.0  1.626577
4         1     4       0.0  1.475773
"""
TAIL = """
85        1    85       0.0  1.022885
86        1    86       0.0  1.022619
87        1    87       0.0  1.022359
88        1    88       0.0  1.022105
89        1    89       0.0  1.021857

[90 rows x 4 columns]
"""


def test_the_minimal_example_tracks_a_run_and_reads_it_back(
    run_program: RunProgram, empty_config: dict[str, Any]
) -> None:
    """The sign of the exponent differs between the two places where the guide shows the program."""
    assert run_program("track_getting_started") == "(NEW) base.sql\n"
    shown = run_program("retrieve")
    # Words, because pandas chooses the width of columns.
    assert shown.split()[: len(HEAD.split())] == HEAD.split()
    assert shown.split()[-len(TAIL.split()) :] == TAIL.split()
    assert run_program("track") == "(OK) base.sql\n"
    client = sqltrack.Client(empty_config)
    assert client.execute("SELECT status FROM runs ORDER BY id").fetchall() == [("COMPLETED",)] * 2
    losses = [row[0] for row in client.execute("SELECT loss FROM metrics WHERE run_id = 2 ORDER BY step")]
    assert losses == [pytest.approx(7 ** -(1 / (epoch + 1))) for epoch in range(90)]
    assert math.isclose(losses[0], 1 / 7)


PARSED = """{{'amp': {amp},
 'batch_size': None,
 'epochs': {epochs},
 'help': False,
 'learning_rate': [0.1],
 'model': 'resnet18'}}
{epochs}
"""


def test_arguments_come_from_the_help_text(run_program: RunProgram) -> None:
    """Items of repeatable options are converted, as the guide's section on conversions says."""
    first, second = PARSED.format(amp=False, epochs=180), PARSED.format(amp=True, epochs=360)
    assert run_program("arguments", "-e", "180") == first + second
    given = run_program("arguments", "--learning-rate", "0.2", "--learning-rate", "1e-3", "--amp", "-b", "[1, 2]")
    assert "'learning_rate': [0.2, 0.001]" in given
    assert "'batch_size': [1, 2]" in given
