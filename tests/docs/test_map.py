"""The map of the packages shows every module, in the words of its docstring."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from support.pages import ROOT

PACKAGES = ROOT / "packages"


def sentences(distribution: str) -> list[tuple[str, str]]:
    """Return the modules of a distribution that have a docstring, each with its first paragraph, in order."""
    source = PACKAGES / distribution / "src" / "sqltrack"
    found = []
    for path in sorted(source.rglob("*.py"), key=lambda path: (path.parent, path.name != "__init__.py", path.name)):
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        if text is not None:
            found.append((module_path(path, source), " ".join(text.split("\n\n")[0].split())))
    return found


def module_path(path: Path, source: Path) -> str:
    """Return the path by which the map names a module: packages end in a slash."""
    name = path.relative_to(source).as_posix()
    return name.removesuffix("__init__.py") if path.parent != source else name


def test_the_map_shows_every_module_in_the_words_of_its_docstring() -> None:
    """If this fails, copy the words of the docstring to the line of the map."""
    _, *parts = (PACKAGES / "README.md").read_text(encoding="utf-8").split("\n## ")
    shown = {part.split("\n")[0]: re.findall(r"^\| `(.+?)` \| (.+) \|$", part, re.M) for part in parts}
    distributions = [path.parent.name for path in sorted(PACKAGES.glob("*/src"))]
    assert sorted(shown) == distributions
    for distribution in distributions:
        assert shown[distribution] == sentences(distribution)


def test_the_overview_of_the_map_names_modules_that_exist() -> None:
    overview = (PACKAGES / "README.md").read_text(encoding="utf-8").split("\n## ")[0]
    for cell in re.findall(r"^\| (`sqltrack/.+?) \|", overview, re.M):
        first, *others = re.findall(r"`(.+?)`", cell)
        folder = first.rstrip("/").rpartition("/")[0]
        for name in (first, *(f"{folder}/{other}" for other in others)):
            assert list(PACKAGES.glob(f"*/src/{name}")), name


def test_the_recipe_for_editable_installs_names_every_package() -> None:
    recipe = re.findall(r"-e \"?packages/([\w-]+)", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    assert sorted(recipe) == sorted(path.parent.name for path in PACKAGES.glob("*/pyproject.toml"))
