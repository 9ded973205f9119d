"""What the READMEs and the documentation show works as shown."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import sqltrack
from sqltrack.commands import setup

ROOT = Path(__file__).parents[2]
READMES = [ROOT / "README.md", *sorted(ROOT.glob("packages/*/README.md"))]
PAGES = [*READMES, *sorted(ROOT.glob("docs/*.md"))]
PYTHON = [
    pytest.param(code, id=f"{path.parent.name}-{path.stem}-{number}")
    for path in PAGES
    for number, code in enumerate(re.findall(r"^```python\n(.*?)^```", path.read_text(encoding="utf-8"), re.M | re.S))
]


@pytest.mark.parametrize("code", PYTHON)
def test_python_code_runs(code: str) -> None:
    client = sqltrack.Client(engine="sqlite")
    setup(client)
    sqltrack.Experiment(client, name="x").get_run().add_metrics({"loss": 1.0})
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_the_example_prints_the_best_run_first() -> None:
    code = re.findall(r"^```python\n(.*?)^```", READMES[0].read_text(encoding="utf-8"), re.M | re.S)[0]
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        "(NEW) base.sql",
        "run 1: loss 0.000207 after 90 epochs",
        "run 2: loss 0.412475 after 90 epochs",
    ]


def test_the_two_commands_name_sessions_that_exist() -> None:
    sessions = set(re.findall(r"^@nox\.session.*\ndef (\w+)", (ROOT / "noxfile.py").read_text(encoding="utf-8"), re.M))
    text = READMES[0].read_text(encoding="utf-8") + (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert set(re.findall(r"nox -s (\w+)", text)) <= sessions
    assert {"demo", "tests"} <= sessions


@pytest.mark.parametrize("path", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=str)
def test_links_to_files_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), target
