"""What the READMEs and the documentation show works as shown."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import sqltrack
from sqltrack.cli._parser import build_parser, parse
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


def console_lines(path: Path) -> list[str]:
    """Return the lines of a page's console blocks, without comments."""
    blocks = re.findall(r"^```console\n(.*?)^```", path.read_text(encoding="utf-8"), re.M | re.S)
    return [line.partition(" #")[0].strip() for block in blocks for line in block.splitlines() if line.strip()]


def test_the_commands_of_the_readme_work_on_what_its_example_stores(tmp_path: Path) -> None:
    code = re.findall(r"^```python\n(.*?)^```", READMES[0].read_text(encoding="utf-8"), re.M | re.S)[0]
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=tmp_path)
    lines = [line for line in console_lines(READMES[0]) if line.startswith(("sqltrack ", "export "))]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    script = "\n".join(["set -e", *lines])
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "PATH": path}
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "0.000207" in done.stdout
    assert "* loss" in done.stdout
    assert re.search(r"^args +lr +0.1 +0.01$", done.stdout, re.M)


@pytest.mark.parametrize("path", PAGES, ids=str)
def test_commands_are_written_as_the_program_takes_them(path: Path) -> None:
    for line in console_lines(path):
        for command in line.split(" | "):
            words = shlex.split(command)
            if words[0] == "sqltrack" and words[-1] != "--help":
                parse(words[1:])


def test_the_page_of_the_program_lists_every_command() -> None:
    page = (ROOT / "docs" / "program.md").read_text(encoding="utf-8")
    (commands,) = (action for action in build_parser()._actions if isinstance(action, argparse._SubParsersAction))
    missing = [name for name in commands.choices if not re.search(rf"^\|.*`{name}\b.*\|.*\|$", page, re.M)]
    assert missing == []
