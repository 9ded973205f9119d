"""A missing sub-package is an error that names the distribution to install."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

import sqltrack
from sqltrack.errors import MissingPackageError

FOLDER = Path(sqltrack.__file__).parent / "_missing"

# The name in the message, the distribution, and the command to install it.
MISSING = {
    "args": ("sqltrack.args", "sqltrack-args", "sqltrack-args"),
    "cli": ("the sqltrack program", "sqltrack-cli", "sqltrack-cli"),
    "importers": ("sqltrack.importers", "sqltrack-import", "sqltrack-import"),
    "integrations": ("sqltrack.integrations", "sqltrack-integrations", "sqltrack-integrations"),
    "notebook": ("sqltrack.notebook", "sqltrack-notebook", "sqltrack-notebook"),
    "pandas": ("sqltrack.pandas", "sqltrack-notebook", "sqltrack-notebook"),
    "ui": ("sqltrack.ui", "sqltrack-ui", "sqltrack-ui"),
    "polars": ("sqltrack.polars", "sqltrack-notebook", "'sqltrack-notebook[polars]'"),
}


def test_there_is_a_stand_in_for_each() -> None:
    assert {path.stem for path in FOLDER.glob("*.py")} == MISSING.keys()


def test_stand_ins_are_looked_for_last() -> None:
    """So installed packages always have priority, in any order of the folders."""
    assert [Path(folder) for folder in sqltrack.__path__].index(FOLDER) == len(sqltrack.__path__) - 1


@pytest.mark.parametrize("name", MISSING)
def test_a_sub_package_that_is_not_installed_says_what_to_install(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    feature, package, install = MISSING[name]
    monkeypatch.setattr(sqltrack, "__path__", [str(FOLDER)])
    monkeypatch.delitem(sys.modules, f"sqltrack.{name}", raising=False)
    with pytest.raises(MissingPackageError) as info:
        importlib.import_module(f"sqltrack.{name}")
    assert info.value.package == package
    assert str(info.value) == f"{feature} requires {package!r}; install it with: pip install {install}"
