"""The pages for users of other trackers show commands that import their runs, with the output that they have."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from sqltrack.cli import main
from sqltrack.importers import KINDS
from support.imports import DATA, restore
from support.pages import DOCS, ROOT, console_commands, read_blocks

# Where the command of each page finds its source: a folder or a script of the data, and its name on the page.
SOURCES = {
    "mlflow": ("mlflow.sql", "mlflow.db"),
    "optuna": ("optuna.sql", "optuna.db"),
    "sacred": ("sacred", "my_runs"),
    "tensorboard": ("tensorboard", "runs"),
    "trackio": ("trackio.sql", "digits.db"),
    "wandb": ("wandb", "wandb"),
}
# Parquet files have their own test, because they need a package.
OTHERS = {"neptune"}


@pytest.mark.parametrize("tracker", SOURCES)
def test_the_command_of_a_page_has_the_output_that_the_page_shows(
    tracker: str, config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    for name, value in config.items():
        monkeypatch.setenv(f"SQLTRACK_DSN_{name.upper()}", str(value))
    page = DOCS / f"coming-from-{tracker}.md"
    stored, name = SOURCES[tracker]
    if stored.endswith(".sql"):
        restore(stored, tmp_path / name)
    else:
        shutil.copytree(DATA / stored, tmp_path / name)
    (command,) = console_commands(page)
    program, *words = shlex.split(command)
    assert program == "sqltrack"
    assert main(words) == 0
    (block,) = read_blocks(page, "text")
    assert capsys.readouterr().out.startswith(block.code)


def test_every_tracker_that_can_be_imported_has_a_page() -> None:
    pages = {path.stem.removeprefix("coming-from-") for path in DOCS.glob("coming-from-*.md")}
    tables = {"csv", "jsonl", "parquet"}
    assert pages == SOURCES.keys() | OTHERS == KINDS.keys() - tables


def test_the_page_about_imports_names_all_kinds() -> None:
    page = (DOCS / "importing.md").read_text(encoding="utf-8")
    shown = re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", page, re.M)))
    assert set(shown) == set(KINDS)


def test_sizes_on_the_page_are_those_that_were_measured() -> None:
    measured = json.loads((ROOT / "benchmarks" / "install_sizes.json").read_text(encoding="utf-8"))["results"]
    expected = {
        (row["name"], row["version"], str(row["distributions"]), f"{row['megabytes']:.1f}", row["date"])
        for row in measured
    }
    page = (DOCS / "why.md").read_text(encoding="utf-8")
    (date,) = re.findall(r"measured on (\d{4}-\d\d-\d\d)", page)
    shown = re.findall(r"^\| `([^`]+)` \| ([\d.]+) \| (\d+) \| ([\d.]+) \|$", page, re.M)
    assert {(*row, date) for row in shown} == expected
