"""Databases for the pages, and the site that Sphinx builds."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from support.pages import ROOT
from support.variables import database_variables

GENERATOR = ROOT / "examples" / "generate_experiment_data.py"
SITE_TOOLS = ("sphinx", "furo", "myst_parser", "sphinx_argparse_cli", "sphinx_copybutton", "filelock")


@pytest.fixture(scope="session")
def generated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite database with made-up experiments; tests must not change it."""
    path = tmp_path_factory.mktemp("generated") / "sqltrack.db"
    _generate({"engine": "sqlite", "dbpath": str(path)})
    return path


@pytest.fixture(scope="session")
def generated_postgres(create_lasting_database: Callable[..., dict[str, Any]], postgres_template: str) -> str:
    """Name of a PostgreSQL database with made-up experiments, used as a template."""
    config = create_lasting_database(postgres_template)
    _generate(config)
    return str(config["dbname"])


def _generate(config: dict[str, Any]) -> None:
    others = {name: value for name, value in os.environ.items() if not name.startswith(("SQLTRACK_", "PG"))}
    settings = database_variables(config)
    command = [sys.executable, str(GENERATOR), "--runs", "60", "--epochs", "6", "--first-id", "1"]
    subprocess.run(command, check=True, capture_output=True, env={**others, **settings})
    client = sqltrack.Client(config)
    # The metric of most examples.
    client.execute("ALTER TABLE metrics ADD COLUMN loss DOUBLE PRECISION")
    client.execute("UPDATE metrics SET loss = val_loss")


@pytest.fixture
def generated_config(engine_name: str, request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Configuration for a database with made-up experiments, on each engine; the SQLite file is ./sqltrack.db."""
    if engine_name == "sqlite":
        path = tmp_path / "sqltrack.db"
        shutil.copyfile(request.getfixturevalue("generated_sqlite"), path)
        return {"engine": "sqlite", "dbpath": str(path)}
    create = request.getfixturevalue("create_database")
    return dict(create(request.getfixturevalue("generated_postgres")))


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The folder of the site, built once for all processes that run tests; a Sphinx warning is an error."""
    missing = [name for name in SITE_TOOLS if importlib.util.find_spec(name) is None]
    if missing:
        _give_up(f"the site is not built without {', '.join(missing)}")
    if worker_id == "master":
        return _build(tmp_path_factory.mktemp("site") / "html")
    from filelock import FileLock

    # The folder that the processes of this session share.
    shared = tmp_path_factory.getbasetemp().parent
    target = shared / "site"
    with FileLock(shared / "site.lock"):
        return target if (target / "llms.txt").exists() else _build(target)


def _build(target: Path) -> Path:
    command = [sys.executable, "-m", "sphinx", *("-b", "html", "-W", "--keep-going", "-n", "-q", "-E")]
    folders = ["-d", f"{target}-doctrees", str(ROOT / "docs"), str(target)]
    done = subprocess.run([*command, *folders], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return target


def _give_up(reason: str) -> None:
    # Sphinx needs a newer Python than SQLTrack.
    if os.environ.get("CI") and sys.version_info >= (3, 11):
        pytest.fail(reason)
    pytest.skip(reason)
