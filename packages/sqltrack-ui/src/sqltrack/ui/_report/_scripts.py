"""The scripts of a report: the modules of the page that it uses, with their imports, in one text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path, PurePosixPath

__all__ = ["STATIC", "linked_modules", "read_static"]

#: The folder with the scripts of the page.
STATIC = Path(__file__).parents[1] / "static"

_IMPORT = re.compile(r'(?P<before>\b(?:from|import)\s*)"(?P<path>\.\.?/[^"]+)"')


def read_static(path: str) -> str:
    """Return the text of a file of the page."""
    return STATIC.joinpath(path).read_text(encoding="utf-8")


def linked_modules(entry: str) -> list[str]:
    """Return the texts of a module and of all that it imports, each after its own imports.

    A module has no address in a file, so that imports name modules by their place in the list: `"linked:3"`. The start
    of the report replaces these names by the addresses that it makes.

    Args:
        entry: path of the module below the folder of the page's scripts.
    """
    places: dict[str, int] = {}
    texts: list[str] = []
    for path, text in _in_order(entry, set()):
        places[path] = len(texts)
        texts.append(_IMPORT.sub(partial(_linked, path, places), text))
    return texts


def _linked(path: str, places: Mapping[str, int], found: re.Match[str]) -> str:
    return f'{found["before"]}"linked:{places[_resolve(path, found["path"])]}"'


def _in_order(path: str, seen: set[str]) -> Iterator[tuple[str, str]]:
    """Yield the path and the text of each module that is not yet seen, imports first."""
    seen.add(path)
    text = read_static(path)
    for found in _IMPORT.finditer(text):
        imported = _resolve(path, found["path"])
        if imported not in seen:
            yield from _in_order(imported, seen)
    yield path, text


def _resolve(path: str, imported: str) -> str:
    """Return the path of an imported module, given that of the importing one."""
    parts: list[str] = []
    for part in (PurePosixPath(path).parent / imported).parts:
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts)
