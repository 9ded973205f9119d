"""Build the navigation from the lists of the index: each heading with links to pages becomes a part of the menu.

So there is a single list, which is readable on GitHub and needs no directives. The API page works the same way.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Entry", "Part", "read_parts", "setup"]

_PAGES_WITH_LISTS = ("index", "api")
_ENTRY = re.compile(r"- \[(?P<title>[^\]]+)\]\((?P<path>[\w./-]+)\.md\): (?P<text>(?:.+\n?)(?:  \S.*\n?)*)", re.M)


class Entry(NamedTuple):
    """A page in the navigation.

    Attributes:
        title: its title in the navigation.
        name: path of the page, without suffix.
        text: a summary of the page.
    """

    title: str
    name: str
    text: str


class Part(NamedTuple):
    """A part of the navigation.

    Attributes:
        caption: its heading.
        entries: its pages.
    """

    caption: str
    entries: list[Entry]


def read_parts(source: str) -> list[Part]:
    """Return the parts that a page's source lists."""
    parts = []
    for section in re.split(r"^## ", source, flags=re.M)[1:]:
        caption, _, text = section.partition("\n")
        entries = [
            Entry(match["title"].replace("`", ""), match["path"], " ".join(match["text"].split()))
            for match in _ENTRY.finditer(text)
        ]
        if entries:
            parts.append(Part(caption.strip(), entries))
    return parts


def all_entries(folder: Path) -> list[Part]:
    """Return the parts of the navigation; the pages that a page lists come after it."""
    parts = read_parts((folder / "index.md").read_text(encoding="utf-8"))
    for part in parts:
        for place, entry in enumerate(list(part.entries)):
            if entry.name in _PAGES_WITH_LISTS:
                listed = read_parts((folder / f"{entry.name}.md").read_text(encoding="utf-8"))
                part.entries[place + 1 : place + 1] = [below for listed_part in listed for below in listed_part.entries]
    return parts


def _add_toctrees(app: Any, docname: str, content: list[str]) -> None:
    if docname in _PAGES_WITH_LISTS:
        content[0] = "\n\n".join([content[0], *(_toctree(part) for part in read_parts(content[0]))])


def _toctree(part: Part) -> str:
    pages = "\n".join(f"{entry.title} <{entry.name}>" for entry in part.entries)
    return f"```{{toctree}}\n:hidden:\n:caption: {part.caption}\n\n{pages}\n```"


def setup(app: Any) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("source-read", _add_toctrees)
    return {"version": "1", "parallel_read_safe": True}
