"""The page of the examples names all of them, its commands work, and the page about Slurm shows the batch scripts."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from support.databases import connect_to_postgres
from support.pages import ROOT, read_blocks
from support.typed_pages import type_blocks
from support.variables import database_variables

pytestmark = pytest.mark.guides

EXAMPLES = ROOT / "examples"
PAGE = ROOT / "docs" / "examples.md"
SLURM_PAGE = ROOT / "docs" / "slurm.md"
BATCH_SCRIPTS = sorted((EXAMPLES / "slurm").glob("*.sbatch"))


def test_every_example_is_named() -> None:
    linked = set(re.findall(r"\]\(\.\./examples/([^)]+)\)", PAGE.read_text(encoding="utf-8")))
    files = {path.relative_to(EXAMPLES) for path in EXAMPLES.rglob("*") if path.is_file()}
    # A folder is one example, except for two that hold several.
    names = {path.as_posix() if path.parts[0] in ("slurm", "trackers", path.name) else path.parts[0] for path in files}
    assert linked - {"slurm"} == {name for name in names if not re.search("__pycache__|^[.]", name)}


def test_the_commands_of_the_page_show_what_it_shows(config: dict[str, Any], tmp_path: Path) -> None:
    if config["engine"] == "postgres":
        with connect_to_postgres(config) as connection:
            if connection.info.server_version < 140000:
                pytest.skip("PostgreSQL before 14 has no role that only reads, and the tests' user is a superuser")
    folder = tmp_path / "examples"
    shutil.copytree(EXAMPLES, folder, ignore=shutil.ignore_patterns("__pycache__"))
    os.chdir(folder)
    settings = database_variables(config)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    # Only output on the page is compared; the progress of digits.py is for terminals.
    variables = {**settings, "PATH": path, "HOME": str(tmp_path)}
    assert type_blocks(read_blocks(PAGE), config["engine"], **variables) == ""


@pytest.mark.parametrize("path", BATCH_SCRIPTS, ids=lambda path: path.name)
def test_batch_scripts_are_shown_as_they_are(path: Path) -> None:
    shown = [block.code for block in read_blocks(SLURM_PAGE, "bash")]
    assert path.read_text(encoding="utf-8") in shown


def test_lines_of_the_sweep_are_shown_as_they_are() -> None:
    (shown,) = read_blocks(SLURM_PAGE, "json")
    assert (EXAMPLES / "slurm" / "sweep.jsonl").read_text(encoding="utf-8").startswith(shown.code)
