"""The code in READMEs and documentation runs: Python, SQL, and the command lines."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack.cli._parser import parse
from sqltrack.engines.sqltext import split_statements
from support.pages import PAGES, READMES, ROOT, console_commands, page_id, program, read_blocks

WITH_PYTHON = [path for path in PAGES if read_blocks(path, "python")]
WITH_SQL = [path for path in PAGES if read_blocks(path, "sql")]


@pytest.mark.parametrize("path", WITH_PYTHON, ids=page_id)
def test_python_blocks_of_a_page_run_one_after_the_other(
    path: Path, engine_name: str, generated_config: dict[str, Any], generated_sqlite: Path, tmp_path: Path
) -> None:
    # A page that chooses SQLite itself means this file, whatever the configuration says.
    shutil.copyfile(generated_sqlite, tmp_path / "sqltrack.db")
    script = tmp_path / f"{path.stem}.py"
    script.write_text(program(path, engine_name), encoding="utf-8")
    settings = {f"SQLTRACK_DSN_{name.upper()}": str(value) for name, value in generated_config.items()}
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env={**os.environ, **settings})
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", WITH_SQL, ids=page_id)
def test_sql_blocks_of_a_page_run_one_after_the_other(
    path: Path, engine_name: str, generated_config: dict[str, Any]
) -> None:
    client = sqltrack.Client(generated_config)
    for block in read_blocks(path, "sql"):
        if engine_name in block.engines:
            for statement in split_statements(block.code, client.engine.dialect):
                try:
                    client.execute(statement)
                except sqltrack.SQLTrackError as error:
                    pytest.fail(f"{path.name}, line {block.line}: {error}")


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_commands_are_written_as_the_program_takes_them(path: Path) -> None:
    for line in console_commands(path):
        for words in calls(line):
            if words[0] == "sqltrack" and words[-1] != "--help":
                parse(words[1:])


def calls(line: str) -> list[list[str]]:
    """Return the words of each program that a line of the shell calls, without variables and redirections."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    found: list[list[str]] = [[]]
    tokens = iter(lexer)
    for token in tokens:
        if token.strip("<>") == "":
            next(tokens, None)
        elif token.strip("|&;()") == "":
            found.append([])
        elif found[-1] or not re.match(r"\w+=", token):
            found[-1].append(token)
    return [words for words in found if words]


def test_a_line_of_the_shell_is_taken_apart() -> None:
    line = 'A=1 sqltrack sql "SELECT 1 > 0" --csv > file | head && sqltrack execute < file; ls'
    assert calls(line) == [
        ["sqltrack", "sql", "SELECT 1 > 0", "--csv"],
        ["head"],
        ["sqltrack", "execute"],
        ["ls"],
    ]


def test_the_example_prints_the_best_run_first() -> None:
    code = read_blocks(READMES[0], "python")[0].code
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        "(NEW) base.sql",
        "run 1: loss 0.000207 after 90 epochs",
        "run 2: loss 0.412475 after 90 epochs",
    ]


def test_the_commands_of_the_readme_work_on_what_its_example_stores(tmp_path: Path) -> None:
    code = read_blocks(READMES[0], "python")[0].code
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=tmp_path)
    lines = [line for line in console_commands(READMES[0]) if line.startswith(("sqltrack ", "export "))]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    script = "\n".join(["set -e", *lines])
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "PATH": path}
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "0.000207" in done.stdout
    assert "* loss" in done.stdout
    assert re.search(r"^args +lr +0.1 +0.01$", done.stdout, re.M)


def test_a_block_says_how_it_is_tested_by_known_words_only(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- test: skip, no network -->\n```sql\nA\n```\n<!-- test: sqlite -->\n\n```sql\nB\n```\n")
    assert [(block.code, block.line, block.engines) for block in read_blocks(page, "sql")] == [
        ("A\n", 3, ()),
        ("B\n", 8, ("sqlite",)),
    ]
    page.write_text("<!-- test: skip -->\n```sql\nA\n```\n")
    with pytest.raises(ValueError, match="page.md.*got 'skip'"):
        read_blocks(page)


def test_the_list_of_pages_is_found_where_it_is() -> None:
    assert {ROOT / "README.md", ROOT / "docs" / "index.md", ROOT / "docs" / "api" / "queries.md"} <= set(PAGES)
