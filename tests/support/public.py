"""List the public names in modules, commands and options of the program, settings and environment variables."""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import re
from collections.abc import Iterator
from typing import Any

import sqltrack
from sqltrack.cli._parser import build_parser
from sqltrack.engines._parameters import OWN_PARAMETERS
from sqltrack.errors import MissingPackageError
from support.pages import DOCS, ROOT

__all__ = ["PUBLIC_MODULES", "SETTINGS", "actions", "commands", "documented_names", "public_names", "variables"]


def _public_modules() -> list[str]:
    """Return the names of all modules without an underscore whose packages are installed."""
    found = pkgutil.walk_packages(sqltrack.__path__, "sqltrack.")
    names = ["sqltrack", *(module.name for module in found)]
    return [name for name in names if "._" not in name and _is_usable(name)]


def _is_usable(name: str) -> bool:
    """Return whether a module can be imported: those of `sqltrack.integrations` need their frameworks."""
    if not name.startswith("sqltrack.integrations."):
        return True
    try:
        importlib.import_module(name)
    except MissingPackageError:
        return False
    return True


PUBLIC_MODULES = tuple(_public_modules())


def public_names() -> Iterator[tuple[str, Any]]:
    """Yield the full names and the objects of the public API."""
    for module_name in PUBLIC_MODULES:
        module = importlib.import_module(module_name)
        for name in module.__all__:
            yield f"{module_name}.{name}", getattr(module, name)


def documented_names() -> dict[str, Any]:
    """Return the full names that the pages of the API reference document."""
    found: dict[str, Any] = {}
    for path in (DOCS / "api").glob("*.md"):
        text = path.read_text(encoding="utf-8")
        for block in re.findall(r"```\{eval-rst\}\n(.*?)```", text, re.DOTALL):
            (module_name,) = re.findall(r"^\.\. (?:automodule|py:module):: (\S+)$", block, re.M)
            if not _is_usable(module_name):
                continue
            names = re.findall(r"^\.\. (?:autoclass|py:data|py:type):: (\w+)$", block, re.M)
            module = importlib.import_module(module_name)
            if "automodule" in block:
                excluded = {name for line in re.findall(r":exclude-members: (.*)", block) for name in line.split(", ")}
                names += [name for name in module.__all__ if name not in excluded]
            found.update((f"{module_name}.{name}", getattr(module, name)) for name in names)
    return found


def commands() -> dict[str, argparse.ArgumentParser]:
    """Return the parsers of the program's commands by name."""
    (action,) = (action for action in build_parser()._actions if isinstance(action, argparse._SubParsersAction))
    return dict(action.choices)


def actions(command: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Return the parsers of a command's actions, by name."""
    found = [action for action in command._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(found[0].choices) if found else {}


# The parameters of SQLTrack itself; all others are libpq's.
SETTINGS = OWN_PARAMETERS


def variables() -> set[str]:
    """Return the environment variables that the code reads, without SQLTRACK_DSN_ and the name of a parameter."""
    texts = [path.read_text(encoding="utf-8") for path in ROOT.glob("packages/*/src/**/*.py")]
    found = {name for text in texts for name in re.findall(r"[\"'](SQLTRACK_[A-Z_]*[A-Z])[\"'\]]", text)}
    return {name for name in found if not name.startswith("SQLTRACK_DSN_")}
