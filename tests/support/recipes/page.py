"""The statements of the page of recipes."""

from __future__ import annotations

import itertools
from collections import defaultdict
from typing import NamedTuple

from support.pages import ROOT, Block, read_blocks

__all__ = ["CHANGES", "PAGE", "READING", "RECIPES", "SHOWN", "Recipe", "title"]

PAGE = ROOT / "docs" / "recipes.md"


class Recipe(NamedTuple):
    """A statement of the page.

    Attributes:
        title: the heading above it, numbered if there are several below one heading.
        sql: the statement.
        engines: the engines that it is for.
        sample: the start of its result as the page shows it, None if it shows none.
    """

    title: str
    sql: str
    engines: tuple[str, ...]
    sample: str | None


def _read_recipes() -> list[Recipe]:
    headings = [
        (number, line.removeprefix("### "))
        for number, line in enumerate(PAGE.read_text(encoding="utf-8").splitlines(), start=1)
        if line.startswith("### ")
    ]
    blocks = read_blocks(PAGE)
    seen: dict[str, int] = defaultdict(int)
    recipes = []
    for block, following in itertools.zip_longest(blocks, blocks[1:]):
        if block.language == "sql":
            title = [text for number, text in headings if number < block.line][-1]
            seen[title] += 1
            name = title if seen[title] == 1 else f"{title} {seen[title]}"
            # Statements that the page leaves to another test are tested here.
            recipes.append(
                Recipe(name, block.code.strip(), block.engines or ("sqlite", "postgres"), _sample(following))
            )
    return recipes


def _sample(block: Block | None) -> str | None:
    return block.code if block is not None and block.language == "text" else None


RECIPES = _read_recipes()
READING = [recipe for recipe in RECIPES if recipe.sql.startswith(("SELECT", "WITH"))]
SHOWN = [recipe for recipe in READING if recipe.sample is not None]
CHANGES = {recipe.title: recipe for recipe in RECIPES if recipe.sql.startswith(("INSERT", "UPDATE", "DELETE", "ALTER"))}


def title(recipe: Recipe) -> str:
    return recipe.title
