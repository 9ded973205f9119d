"""The frameworks that modules of sqltrack.integrations import, which need not be installed to build the site."""

from __future__ import annotations

import importlib
from types import ModuleType

from sphinx.ext.autodoc.mock import mock

__all__ = ["MOCKED", "import_documented"]

MOCKED = ["accelerate", "hydra", "keras", "lightning", "stable_baselines3", "transformers", "xgboost"]


def import_documented(name: str) -> ModuleType:
    """Import a module, with stand-ins for frameworks."""
    with mock(MOCKED):
        return importlib.import_module(name)
