"""Type the commands of a page into a shell, and compare the output with the page.

A block of code whose first line is a comment with a file name (`# train.py`, `-- v001.sql`) is saved under that name. A
block `console` is typed. A block `text` right after it is its output, with stderr last. `…` stands for anything within
a line, or, as a line of its own, for any number of lines.
"""

from __future__ import annotations

import itertools
import os
import pty
import re
import select
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from support.pages import Block, read_blocks
from support.processes import running

__all__ = ["file_name", "fits", "install_program", "section_blocks", "type_blocks"]

_FILE = re.compile(r"(?:#|--) ([\w-]+\.(?:conf|ini|py|sql))\n")
# Codes for bold text, which NO_COLOR keeps.
_ESCAPE = re.compile(r"\x1b\[[\d;]*m")
_MARK = "typed-line"
_PATIENCE = 120.0


def section_blocks(path: Path, *headings: str) -> list[Block]:
    """Return the blocks below some headings of a page, including deeper headings."""
    lines = path.read_text(encoding="utf-8").splitlines()
    # A comment in a block of code looks like a first-level heading.
    levels = {
        number: (len(found[1]), found[2])
        for number, line in enumerate(lines, start=1)
        if (found := re.match(r"(##+) (.+)$", line))
    }
    missing = set(headings) - {text for _, text in levels.values()}
    if missing:
        raise ValueError(f"{path.name} has no headings {sorted(missing)}")
    blocks = []
    for start, (level, text) in levels.items():
        if text in headings:
            end = next((n for n, (other, _) in levels.items() if n > start and other <= level), len(lines) + 1)
            blocks += [block for block in read_blocks(path) if start < block.line < end]
    return blocks


def file_name(block: Block) -> str | None:
    """Return the file name for a block, or None if the block is not a file."""
    found = _FILE.match(block.code)
    return found[1] if found else None


def type_blocks(blocks: list[Block], engine: str, *, names: Mapping[str, str] | None = None, **variables: str) -> str:
    """Type blocks into one bash in a terminal; return the differences to the expected output, empty if there are none.

    Args:
        blocks: blocks of a page; only files, `console` and `text` are used.
        engine: blocks for another engine, or for none, are not typed; all files are saved.
        names: words of the page that have other names here: users, databases, hosts.
        variables: environment variables.
    """
    rename, rename_back = _renaming(names or {})
    typed = [block for block in blocks if block.language == "console" and engine in block.engines]
    expected = {block.line: following.code for block, following in _pairs(blocks, typed)}
    script = "\n".join(["set -eo pipefail", *_lines_of(blocks, typed)])
    status, *streams = _run_in_terminal(rename(script), variables)
    shown, errors = (_split(rename_back(text)) for text in streams)
    wrong = [
        f"line {line} prints\n{text}{errors[line]}\nexpected\n{expected.get(line, 'nothing on stderr')}"
        for line, text in shown.items()
        if not _is_right(text, errors[line], expected.get(line))
    ]
    if status:
        wrong.append(f"exit status {status} in the block at line {max(shown)}: {errors[max(shown)]}")
    return "\n".join(wrong)


def _is_right(shown: str, errors: str, expected: str | None) -> bool:
    """Return whether both outputs are as expected; a page may omit output, but not on stderr."""
    return fits(shown + errors, expected) if expected is not None else errors == ""


def _split(text: str) -> dict[int, str]:
    """Return the output of the block that is typed at each line."""
    return {int(line): part for line, part in re.findall(rf"^{_MARK} (\d+)\n(.*?)(?=^{_MARK} |\Z)", text, re.M | re.S)}


def fits(shown: str, expected: str) -> bool:
    """Return whether a text matches the expected one; widths of columns do not matter."""
    pattern = "".join(
        r"(?:.*\n)*?" if line.strip() == "…" else re.escape(line).replace("…", ".*?").replace(r"\ ", " ") + r"\n"
        for line in _squeezed(expected).splitlines()
    )
    return re.fullmatch(pattern, _squeezed(shown)) is not None


def install_program(folder: Path, name: str, code: str) -> None:
    """Put a program, written in Python, into a folder that will come first in PATH."""
    path = folder / name
    path.write_text(f"#!{sys.executable}\n{code}", encoding="utf-8")
    path.chmod(0o755)


def _squeezed(text: str) -> str:
    lines = [re.sub(r"─+", "─", re.sub(r"[ \t]+", " ", line)).strip() for line in text.strip().splitlines()]
    return "".join(f"{line}\n" for line in lines)


def _renaming(names: Mapping[str, str]) -> tuple[Callable[[str], str], Callable[[str], str]]:
    def renamer(table: Mapping[str, str]) -> Callable[[str], str]:
        words = "|".join(map(re.escape, sorted(table, key=len, reverse=True))) or "(?!)"
        return lambda text: re.sub(rf"(?<![\w.-])(?:{words})(?![\w-])", lambda found: table[found[0]], text)

    return renamer(names), renamer({there: here for here, there in names.items()})


def _lines_of(blocks: list[Block], typed: list[Block]) -> Iterator[str]:
    for block in blocks:
        name = file_name(block)
        if name is not None:
            yield f"cat > {shlex.quote(name)} <<'end of file'\n{block.code}end of file"
        elif block in typed:
            yield f"echo {_MARK} {block.line}; echo {_MARK} {block.line} >&2\n{block.code}"


def _pairs(blocks: list[Block], typed: list[Block]) -> Iterator[tuple[Block, Block]]:
    for block, following in itertools.pairwise(blocks):
        # A fence, an empty line and another fence are between the two.
        is_next = following.line == block.line + block.code.count("\n") + 3
        if block in typed and following.language == "text" and is_next:
            yield block, following


def _run_in_terminal(script: str, variables: Mapping[str, str]) -> tuple[int, str, str]:
    """Return the exit status, the output in the terminal, and stderr."""
    leader, follower = pty.openpty()
    others = {name: value for name, value in os.environ.items() if not name.startswith(("SQLTRACK_", "PG"))}
    environment = {**others, "TERM": "xterm-256color", "COLUMNS": "120", "NO_COLOR": "1", **variables}
    Path("typed.bash").write_text(script, encoding="utf-8")
    options: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": follower, "env": environment}
    with open("errors.txt", "w+", encoding="utf-8") as errors:
        with running(["bash", "typed.bash"], stderr=errors, **options) as process:
            os.close(follower)
            shown = _read_all(leader)
            status = process.wait(timeout=_PATIENCE)
        errors.seek(0)
        return status, _ESCAPE.sub("", shown).replace("\r\n", "\n"), errors.read()


def _read_all(terminal: int) -> str:
    shown = b""
    while select.select([terminal], [], [], _PATIENCE)[0]:
        try:
            part = os.read(terminal, 65536)
        except OSError:
            # Linux reports the end of a terminal like this.
            break
        if not part:
            break
        shown += part
    os.close(terminal)
    return shown.decode("utf-8")
