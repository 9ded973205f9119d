"""Conditions and code that documentation and the page suggest are accepted by both databases."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack.cli import main
from support.pages import PAGES, ROOT, console_commands, read_blocks
from support.program import connection
from support.variables import database_variables

STATIC = ROOT / "packages" / "sqltrack-ui" / "src" / "sqltrack" / "ui" / "static"


def written_conditions() -> list[str]:
    """Return the conditions after `--where`, that of the page's documentation, and that of its empty field."""
    words = [shlex.split(line) for path in PAGES for line in console_commands(path) if "--where" in line]
    found = [line[line.index("--where") + 1] for line in words]
    shown = next(block.code for block in read_blocks(ROOT / "docs" / "ui.md", "sql") if "status" in block.code)
    (suggested,) = re.findall(
        r'placeholder="SQL condition, such as ([^"]+)"', (STATIC / "filter_bar.js").read_text(encoding="utf-8")
    )
    return [*found, shown.strip(), suggested]


def test_there_are_conditions() -> None:
    assert len(written_conditions()) >= 5


@pytest.mark.parametrize("condition", written_conditions())
def test_a_condition_is_accepted(
    condition: str, generated_config: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    client = sqltrack.Client(generated_config)
    if "val_top1" in condition:
        run = sqltrack.Experiment(client, name="conditions").get_run()
        run.add_metrics({"val_top1": 0.9}, step=0)
    assert main(["runs", "--where", condition, *connection(generated_config)]) == 0, capsys.readouterr().err


def test_the_code_of_an_empty_page_logs_a_run(config: dict[str, Any], client: sqltrack.Client, tmp_path: Path) -> None:
    (code,) = re.findall(r'<pre class="code">(.*?)</pre', (STATIC / "main.js").read_text(encoding="utf-8"), re.DOTALL)
    environment = {**os.environ, **database_variables(config)}
    command = [sys.executable, "-c", code.lstrip("\n")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert client.execute("SELECT COUNT(*) FROM metrics").fetchone() == (100,)
    assert client.execute("SELECT status FROM runs").fetchall() == [("COMPLETED",)]
