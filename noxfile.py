"""The sessions of SQLTrack's development; `nox -l` lists them, CONTRIBUTING.md explains them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import nox

nox.options.sessions = ["lint", "types", "tests"]
nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_venv = "yes"

PACKAGES = [
    "packages/sqltrack-core",
    "packages/sqltrack-args",
    "packages/sqltrack-notebook",
    "packages/sqltrack-cli",
    "packages/sqltrack",
]
TEST_TOOLS = ["pytest>=8", "pytest-xdist", "hypothesis", "numpy", "hatchling>=1.26", "build"]
# Whose objects run.add_args() takes.
CONFIG_PACKAGES = ["absl-py", "attrs", "ml-collections", "omegaconf", "pydantic"]
# What the notebooks are read, executed and looked at with; the browser itself comes from the machine.
NOTEBOOK_TOOLS = ["ipykernel", "marimo", "nbclient", "nbconvert", "playwright", "plotly", "polars", "pyarrow"]
EXAMPLE_NEEDS = ["scikit-learn", "matplotlib", "rich"]
BENCHMARKS = ["import_time", "add_metrics", "many_rows", "writers", "reading", "peers"]
PEERS = ["mlflow-skinny", "sqlalchemy", "alembic"]
DATABASE_VARIABLES = ("SQLTRACK_", "PG")


@nox.session
def demo(session: nox.Session) -> None:
    """Run examples/digits.py on SQLite; what it leaves lies in demo/."""
    _install_packages(session, "packages/sqltrack-core")
    session.install(*EXAMPLE_NEEDS)
    folder = Path("demo").resolve()
    folder.mkdir(exist_ok=True)
    script = Path("examples/digits.py").resolve()
    session.chdir(folder)
    # Whatever database the user's environment names: a first look must not write to it.
    session.env.update({name: None for name in os.environ if name.startswith(DATABASE_VARIABLES)})
    session.env.update({"SQLTRACK_DSN_ENGINE": "sqlite", "SQLTRACK_DSN_DBPATH": "sqltrack.db"})
    session.run("python", str(script), *session.posargs)
    session.log(f"the database is {folder / 'sqltrack.db'}, the picture {folder / 'digits.png'}")


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests on SQLite and one PostgreSQL; arguments go to pytest."""
    _install_packages(session, *PACKAGES, postgres=True)
    session.install(*TEST_TOOLS, *CONFIG_PACKAGES, *NOTEBOOK_TOOLS, *EXAMPLE_NEEDS)
    # Each process starts a server of its own, so more of them would gain little.
    session.run("python", "-m", "pytest", "--numprocesses=auto", "--maxprocesses=4", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check format and style; `nox -s lint -- --fix` mends what can be mended."""
    session.install("ruff")
    fix = "--fix" in session.posargs
    session.run("ruff", "format", *([] if fix else ["--check"]), ".")
    session.run("ruff", "check", *(["--fix"] if fix else []), ".")


# Always anew: pip takes an installed wheel of the same version for the one just built.
@nox.session(reuse_venv=False)
def types(session: nox.Session) -> None:
    """Check types against the installed wheels, as users' tools see them."""
    folder = Path(session.create_tmp()).resolve()
    wheels = [file for file in _build(session, str(folder / "wheels")) if file.endswith(".whl")]
    session.install("mypy", "pandas-stubs", "polars", "psycopg[binary]", "nox", "pytest", *EXAMPLE_NEEDS, *wheels)
    config = f"--config-file={Path('pyproject.toml').resolve()}"
    root = Path.cwd()
    # Not from the root, where the sources would be found instead of what is installed.
    session.chdir(folder)
    session.run("mypy", config, "-p", "sqltrack")
    session.run("mypy", config, str(root / "examples"), str(root / "noxfile.py"))


@nox.session
def build(session: nox.Session) -> None:
    """Build wheels and source distributions of all packages into dist/."""
    for file in _build(session, "dist"):
        session.log(file)


# Always anew, and not editable: what users have is what is measured.
@nox.session(reuse_venv=False)
def bench(session: nox.Session) -> None:
    """Measure what tracking costs; figures go to benchmarks/results/, `nox -s bench -- NAME…` runs only those."""
    session.install("packages/sqltrack-core[postgres]", "packages/sqltrack-notebook", *PEERS)
    for name in session.posargs or BENCHMARKS:
        session.run("python", f"benchmarks/{name}.py", "--json", f"benchmarks/results/{name}.json")


def _install_packages(session: nox.Session, *packages: str, postgres: bool = False) -> None:
    """Install packages of this repository, editable; they need each other, so all come in one command."""
    arguments: list[str] = []
    for package in packages:
        extra = "[postgres]" if postgres and package.endswith("core") else ""
        arguments += ["--editable", f"{package}{extra}"]
    session.install(*arguments)


def _build(session: nox.Session, folder: str) -> list[str]:
    """Build all packages into a folder, emptied before, and return the files."""
    shutil.rmtree(folder, ignore_errors=True)
    session.install("build")
    for package in PACKAGES:
        session.run("python", "-m", "build", "--outdir", folder, package, silent=True)
    return sorted(str(path) for path in Path(folder).iterdir() if path.suffix in (".whl", ".gz"))
