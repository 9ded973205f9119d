"""Load scripts that do not belong to a package."""

from __future__ import annotations

import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

from support.pages import ROOT

__all__ = ["load_module", "load_noxfile"]


def load_module(path: Path) -> ModuleType:
    """Return a script as a module, under its own name and freshly loaded on each call."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look here for the module of their annotations.
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


@cache
def load_noxfile() -> ModuleType:
    """Return the noxfile as a module, loaded once: nox warns when a process registers a session twice."""
    return load_module(ROOT / "noxfile.py")
