"""The pages of the documentation, their blocks of code, and how these are tested.

A comment before a block, invisible to readers, sets the test: `<!-- test: skip, REASON -->` for none, `<!-- test:
postgres -->` or `<!-- test: sqlite -->` for this engine alone.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

__all__ = [
    "DOCS",
    "DOC_PAGES",
    "PAGES",
    "READMES",
    "ROOT",
    "Block",
    "code_spans",
    "console_commands",
    "page_id",
    "program",
    "read_blocks",
]

ROOT = Path(__file__).parents[2]
READMES = [ROOT / "README.md", *sorted(ROOT.glob("packages/*/README.md"))]
DOCS = ROOT / "docs"
# The site is built in a folder below, and has copies of them.
DOC_PAGES = [*sorted(DOCS.glob("*.md")), *sorted(DOCS.glob("api/*.md"))]
PAGES = [*READMES, *DOC_PAGES]
ENGINES = ("sqlite", "postgres")

_BLOCK = re.compile(
    r"(?:^<!-- test: (?P<how>[^\n]*?) -->\n\n?)?^(?P<fence>```+)(?P<language>[\w{}-]*)\n(?P<code>.*?)^(?P=fence)$",
    re.M | re.S,
)
_SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")


class Block(NamedTuple):
    """A block of code in a page.

    Attributes:
        language: its language, or an empty text.
        code: its text.
        line: line number of the page where the text begins, from 1.
        engines: the engines on which it is tested; empty if it is skipped.
    """

    language: str
    code: str
    line: int
    engines: tuple[str, ...]


def read_blocks(path: Path, language: str | None = None) -> list[Block]:
    """Return the blocks of a page, of one language or of all."""
    text = path.read_text(encoding="utf-8")
    blocks = [
        Block(
            match["language"],
            match["code"],
            text.count("\n", 0, match.start("code")) + 1,
            _engines(match["how"], path),
        )
        for match in _BLOCK.finditer(text)
    ]
    return [block for block in blocks if language in (None, block.language)]


def _engines(how: str | None, path: Path) -> tuple[str, ...]:
    if how is None:
        return ENGINES
    if how in ENGINES:
        return (how,)
    if re.fullmatch(r"skip, .+", how):
        return ()
    raise ValueError(f"{path.name}: a block is tested by 'skip, REASON', 'sqlite' or 'postgres', got {how!r}")


def program(path: Path, engine: str) -> str:
    """Return the Python blocks of a page for an engine, as one script with the page's line numbers."""
    script = ""
    for block in read_blocks(path, "python"):
        if engine in block.engines:
            script += "\n" * (block.line - 1 - script.count("\n")) + block.code
    return script


def console_commands(path: Path) -> list[str]:
    """Return the command lines of a page's console blocks, without comments."""
    commands = []
    for block in read_blocks(path, "console"):
        lines = block.code.replace("\\\n", " ").splitlines()
        commands += [line.partition(" #")[0].strip() for line in lines if line.strip() and not line.startswith("#")]
    return commands


def code_spans(path: Path) -> list[str]:
    """Return the texts between backticks in a page's prose."""
    return _SPAN.findall(_BLOCK.sub("", path.read_text(encoding="utf-8")))


def page_id(path: Path) -> str:
    """Return the id of a page in names of tests."""
    return path.relative_to(ROOT).with_suffix("").as_posix()
