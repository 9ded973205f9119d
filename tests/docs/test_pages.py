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
from support.typed_pages import section_blocks
from support.variables import database_variables

WITH_PYTHON = [path for path in PAGES if read_blocks(path, "python")]
WITH_SQL = [path for path in PAGES if read_blocks(path, "sql")]


@pytest.mark.parametrize("path", WITH_PYTHON, ids=page_id)
def test_python_blocks_of_a_page_run_one_after_the_other(
    path: Path, engine_name: str, generated_config: dict[str, Any], generated_sqlite: Path, tmp_path: Path
) -> None:
    # On a page that chooses SQLite itself, this file is used, whatever the configuration says.
    shutil.copyfile(generated_sqlite, tmp_path / "sqltrack.db")
    script = tmp_path / f"{path.stem}.py"
    script.write_text(program(path, engine_name), encoding="utf-8")
    settings = database_variables(generated_config)
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


@pytest.fixture
def typed_readme(tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """The README's blocks below "Use it", typed in an empty folder one after the other, and their output."""
    blocks = section_blocks(READMES[0], "Use it")
    lines = [
        f"python - <<'end of script'\n{block.code}end of script" if block.language == "python" else block.code
        for block in blocks
        if block.language in ("python", "console")
    ]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    script = "\n".join(["set -e", *lines])
    environment = {**os.environ, "PATH": path}
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=tmp_path, env=environment)


def test_the_example_of_the_readme_prints_the_best_run_first(typed_readme: subprocess.CompletedProcess[str]) -> None:
    assert typed_readme.returncode == 0, typed_readme.stderr
    begin = typed_readme.stdout.index("run 1: ")
    assert typed_readme.stdout[begin:].splitlines()[:2] == [
        "run 1: loss 0.000207 after 90 epochs",
        "run 2: loss 0.412475 after 90 epochs",
    ]


def test_the_commands_of_the_readme_work_on_the_run_of_its_example(
    typed_readme: subprocess.CompletedProcess[str],
) -> None:
    lines = typed_readme.stderr.splitlines()
    assert [line.partition(" of experiment")[0] for line in lines] == ["sqltrack: run 1", "sqltrack: run 2"]
    assert "0.000207" in typed_readme.stdout
    assert "* loss" in typed_readme.stdout
    assert re.search(r"^args +lr +0.1 +0.01$", typed_readme.stdout, re.M)


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
