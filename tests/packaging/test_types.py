"""The programs in typed_api/, which type checkers check, use all public names.

`nox -s types` checks that the types are right, on the installed wheels.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

from sqltrack import Client, Experiment, Run
from sqltrack.client import Result
from sqltrack.util import SQL
from support.public import PUBLIC_MODULES

PROGRAMS = sorted((Path(__file__).parent / "typed_api").glob("*.py"))


def trees(*, refused: bool) -> list[ast.Module]:
    programs = [program for program in PROGRAMS if refused or program.name != "refused.py"]
    assert programs
    return [ast.parse(program.read_text(encoding="utf-8")) for program in programs]


def used_names() -> set[tuple[str, str]]:
    """Return modules and the names that correct programs import from them and use."""
    used: set[tuple[str, str]] = set()
    for tree in trees(refused=False):
        sources = {
            alias.asname or alias.name: (node.module, alias.name)
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module
            for alias in node.names
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and node.id in sources:
                used.add(sources[node.id])
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in sources:
                module, name = sources[node.value.id]
                used.add((f"{module}.{name}", node.attr))
    return used


def places(module: str, name: str) -> Iterator[tuple[str, str]]:
    """Yield where a public name can be imported from: its module, and packages that have it, too."""
    yield module, name
    while "." in module:
        module = module.rpartition(".")[0]
        if name in getattr(importlib.import_module(module), "__all__", ()):
            yield module, name


def test_the_walk_finds_the_modules() -> None:
    """Otherwise the tests below would pass without any."""
    documented = {"sqltrack.args", "sqltrack.commands.create", "sqltrack.engines.postgres", "sqltrack.pandas"}
    assert documented <= set(PUBLIC_MODULES)


@pytest.mark.parametrize("module", PUBLIC_MODULES)
def test_every_public_name_has_its_types_stated(module: str) -> None:
    used = used_names()
    names = getattr(importlib.import_module(module), "__all__", ())
    missing = [name for name in names if used.isdisjoint(places(module, name))]
    assert not missing, f"use {missing} of {module} in a program in {PROGRAMS[0].parent}"


@pytest.mark.parametrize("cls", [Client, Experiment, Run, Result, SQL])
def test_every_public_method_has_its_types_stated(cls: type) -> None:
    used = {node.attr for tree in trees(refused=False) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    methods = {name for name, _ in inspect.getmembers(cls) if not name.startswith("_")}
    missing = sorted(methods - used)
    assert not missing, f"use {missing} of {cls.__name__} in a program in {PROGRAMS[0].parent}"


def test_every_mistake_is_one_for_both_type_checkers() -> None:
    lines = next(path for path in PROGRAMS if path.name == "refused.py").read_text(encoding="utf-8").splitlines()
    ignored = [line for line in lines if "ignore" in line and line.startswith("    ")]
    assert len(ignored) > 40
    assert [line for line in ignored if "# type: ignore[" not in line or "# pyright: ignore" not in line] == []
