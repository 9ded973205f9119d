"""The sessions of SQLTrack's development; `nox -l` lists them, CONTRIBUTING.md explains them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path

import nox

nox.options.sessions = ["lint", "types", "tests"]
nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_venv = "yes"
# A Python that was asked for by name and is not there: nothing was tested, so nothing succeeded.
nox.options.error_on_missing_interpreters = True

PYTHONS = ["3.10", "3.11", "3.12", "3.13", "3.14"]
POSTGRES_MAJORS = [13, 14, 15, 16, 17, 18]

PACKAGES = [
    "packages/sqltrack-core",
    "packages/sqltrack-args",
    "packages/sqltrack-notebook",
    "packages/sqltrack-cli",
    "packages/sqltrack",
]
# The first hatchling that sets versions in pyproject.toml, which it does by tomlkit; a twine that reads its metadata.
RELEASE_TOOLS = ["hatchling>=1.32", "tomlkit", "twine>=7"]
TEST_TOOLS = [
    "pytest>=9",
    "pytest-xdist",
    "hypothesis",
    "numpy",
    "check-jsonschema",
    "pyyaml",
    "trustme",
    "nox",
    "packaging",
    *RELEASE_TOOLS,
]
# Whose objects run.add_args() takes.
CONFIG_PACKAGES = ["absl-py", "attrs", "ml-collections", "omegaconf", "pydantic"]
# What the notebooks are read, executed and looked at with; the browser itself comes from the machine.
NOTEBOOK_TOOLS = ["ipykernel", "marimo", "nbclient", "nbconvert", "playwright", "plotly", "polars", "pyarrow"]
# What else reads the data, as the documentation shows.
READERS = ["duckdb; python_version >= '3.11'"]
EXAMPLE_NEEDS = ["scikit-learn", "matplotlib", "rich"]
# What the site is built with; it needs a newer Python than SQLTrack.
SITE_TOOLS = [
    f"{name}; python_version >= '3.11'"
    for name in ("sphinx>=9", "furo", "myst-parser", "sphinx-argparse-cli", "sphinx-copybutton", "filelock")
]
# Whose runs are imported by tests that need them to read their files.
IMPORTED = ["mlflow-skinny>=3.7", "sqlalchemy>=2", "alembic>=1.13", "tensorboard>=2.20"]
SUITE_NEEDS = [*TEST_TOOLS, *CONFIG_PACKAGES, *NOTEBOOK_TOOLS, *EXAMPLE_NEEDS, *READERS, *IMPORTED, *SITE_TOOLS]
# Tests that need pytest and core, and nothing else.
MINIMAL_TESTS = [
    *("tests/core/test_" + name + ".py" for name in ("client", "client_errors", "config", "experiment", "queries")),
    *("tests/core/test_" + name + ".py" for name in ("missing", "reading_only", "setup", "snapshot", "sqltext")),
    "tests/core/test_statements.py",
    "tests/packaging/test_minimal.py",
]
# Tests of the site that need no PostgreSQL server.
SITE_TESTS = ["tests/docs/test_site.py", "tests/docs/test_coverage.py"]
# pyright needs node, which its extra brings.
TYPE_CHECKERS = ["mypy", "pyright[nodejs]", "pandas-stubs"]
# Those with a py.typed of their own.
TYPED_PACKAGES = ["sqltrack.args", "sqltrack.cli", "sqltrack.notebook", "sqltrack.pandas", "sqltrack.polars"]
BENCHMARKS = [
    *("import_time", "add_metrics", "short_jobs", "many_rows", "new_columns", "writers", "kills", "outbox"),
    *("best_values", "reading", "frames", "command_line", "growth"),
]
# What frames are read with by hand.
ARROW = ["adbc-driver-sqlite", "adbc-driver-postgresql", "pyarrow", "polars"]
# Benchmarks that run only if they are asked for, and the packages that they compare with.
PEER_BENCHMARKS = ["size", "peers"]
PEERS = ["mlflow-skinny", "sqlalchemy", "alembic", "tensorboard", "trackio", "wandb", "psutil"]
# With those of the pooler, which run only if they are asked for.
MEASURED_TESTS = "not unmeasured and not faults and (pooler or not pooler)"
POOLER_TESTS = [
    "tests/core",
    "tests/cli",
    "tests/faults",
    "tests/notebook/test_pandas.py",
    "tests/notebook/test_pandas_chunks.py",
    "tests/notebook/test_pandas_cursors.py",
    "tests/notebook/test_polars.py",
]
DATABASE_VARIABLES = ("SQLTRACK_", "PG")
_OPEN_SECTION = "## Unreleased\n"
# Of the names that hatchling knows, those that a release needs.
_BUMPS = ("major", "minor", "patch")


def _fault_tests() -> list[str]:
    """Return the files of tests for which only that session has time. Others need packages that it does not install."""
    return [str(path) for path in sorted(Path("tests").rglob("test_*.py")) if "pytest.mark.faults" in path.read_text()]


def _newest_python() -> str:
    """Return the newest of the supported versions that can be run here."""
    for version in reversed(PYTHONS):
        # What is on PATH need not run: pyenv has a program there for each version, chosen or not.
        program = shutil.which(f"python{version}")
        if program is not None and subprocess.run([program, "-c", ""], capture_output=True).returncode == 0:  # noqa: S603
            return version
    return f"{sys.version_info.major}.{sys.version_info.minor}"


@nox.session
def demo(session: nox.Session) -> None:
    """Run examples/digits.py on SQLite; what it leaves lies in demo/."""
    _install_packages(session, "packages/sqltrack-core", "packages/sqltrack-cli")
    session.install(*EXAMPLE_NEEDS)
    folder = Path("demo").resolve()
    folder.mkdir(exist_ok=True)
    script = Path("examples/digits.py").resolve()
    session.chdir(folder)
    # Whatever database the user's environment names: a first look must not write to it.
    session.env.update({name: None for name in os.environ if name.startswith(DATABASE_VARIABLES)})
    Path("sqltrack.conf").write_text("engine = sqlite\n", encoding="utf-8")
    session.run("python", str(script), *session.posargs)
    program = os.path.relpath(Path(session.bin, "sqltrack"))
    session.log("the picture is demo/digits.png; now look at the runs, in the terminal:")
    session.log(f"cd demo && {program} runs --best val_accuracy")


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests on SQLite and one PostgreSQL; arguments go to pytest."""
    _run_suite(session)


@nox.session
@nox.parametrize("python", [nox.param(version, id=version) for version in PYTHONS])
def python(session: nox.Session) -> None:
    """Run the tests with one version of Python; arguments go to pytest."""
    _run_suite(session)


@nox.session
@nox.parametrize("major", [nox.param(major, id=str(major)) for major in POSTGRES_MAJORS])
def postgres(session: nox.Session, major: int) -> None:
    """Run the tests on SQLite and one major version of PostgreSQL; arguments go to pytest."""
    session.env["SQLTRACK_TEST_POSTGRES"] = str(major)
    _run_suite(session)


# Always anew, and not editable: a wheel, and nothing that an earlier session left.
@nox.session(reuse_venv=False)
def minimal(session: nox.Session) -> None:
    """Run tests of core on SQLite where nothing but its wheel and pytest is installed; arguments go to pytest."""
    session.install("packages/sqltrack-core", "pytest>=9")
    session.run("python", "-m", "pytest", "--engines=sqlite", *(session.posargs or MINIMAL_TESTS))


# Always anew: what is installed would count as wanted.
@nox.session(python=PYTHONS[0], reuse_venv=False)
def minimum(session: nox.Session) -> None:
    """Run the tests with the oldest Python and the oldest versions of all dependencies; arguments go to pytest."""
    session.install("uv")
    _install_by_uv(session, "--resolution=lowest-direct")
    frozen = str(session.run("uv", "pip", "freeze", "--exclude-editable", silent=True))
    constraints = Path(session.create_tmp()) / "constraints.txt"
    constraints.write_text("\n".join(line for line in frozen.splitlines() if "==" in line), encoding="utf-8")
    # The tools as new as these versions let them be; a tool that needs a newer one is an error, not an upgrade.
    session.run("uv", "pip", "install", "--constraint", str(constraints), *SUITE_NEEDS)
    _run_pytest(session)


@nox.session(python=_newest_python(), reuse_venv=False)
def latest(session: nox.Session) -> None:
    """Run the tests with the newest Python found and pre-releases of all dependencies; arguments go to pytest."""
    session.install("uv")
    _install_by_uv(session, "--prerelease=allow", *SUITE_NEEDS)
    _run_pytest(session)


@nox.session
def pooler(session: nox.Session) -> None:
    """Run the tests of what talks to PostgreSQL through a PgBouncer in transaction mode; arguments go to pytest."""
    _install_suite(session)
    _run_pytest(session, "--engines=postgres", "--pooler", *([] if session.posargs else POOLER_TESTS))


@nox.session
def faults(session: nox.Session) -> None:
    """Kill processes and servers, fill disks, cut networks, and count what is lost; arguments go to pytest."""
    _install_packages(session, *PACKAGES, postgres=True)
    session.install(*TEST_TOOLS)
    # One after the other: what they measure is what happens on a machine that has enough to do already.
    # Some of them take minutes by design.
    options = ["-m", "faults", "-o", "faulthandler_timeout=3600"]
    session.run("python", "-m", "pytest", *options, *(session.posargs or _fault_tests()))


@nox.session
def coverage(session: nox.Session) -> None:
    """Run the tests, and show which lines and branches none of them reaches; arguments go to pytest."""
    _install_suite(session)
    session.install("coverage>=7.10")
    with tempfile.TemporaryDirectory() as folder:
        session.env["COVERAGE_FILE"] = str(Path(folder, "data"))
        options = ["--numprocesses=2", "-m", MEASURED_TESTS]
        session.run("coverage", "run", "-m", "pytest", *options, *session.posargs)
        # Of processes that were killed while they wrote theirs it warns.
        session.run("coverage", "combine", "--quiet")
        session.run("coverage", "html", "--quiet", "--fail-under=0")
        # A part of the tests reaches but a part of the lines.
        session.run("coverage", "report", *(["--fail-under=0"] if session.posargs else []))


@nox.session
def lint(session: nox.Session) -> None:
    """Check format and style; `nox -s lint -- --fix` mends what can be mended."""
    if session.posargs not in ([], ["--fix"]):
        session.error(f"expected nothing or --fix, got {session.posargs!r}")
    session.install("ruff")
    fix = bool(session.posargs)
    session.run("ruff", "format", *([] if fix else ["--check"]), ".")
    session.run("ruff", "check", *(["--fix"] if fix else []), ".")


# Always anew: pip takes an installed wheel of the same version for the one just built.
@nox.session(reuse_venv=False)
def types(session: nox.Session) -> None:
    """Check types against the installed wheels, as users' tools see them."""
    folder = Path(session.create_tmp()).resolve()
    wheels = [file for file in _build(session, str(folder / "wheels")) if file.endswith(".whl")]
    session.install(*TYPE_CHECKERS, "polars", "psycopg[binary]", "nox", "pytest", *EXAMPLE_NEEDS, *wheels)
    root = Path.cwd()
    config = f"--config-file={root / 'pyproject.toml'}"
    programs = sorted(map(str, (root / "tests/packaging/typed_api").glob("*.py")))
    # Not from the root, where the sources would be found instead of what is installed.
    session.chdir(folder)
    session.run("mypy", config, "-p", "sqltrack")
    session.run("mypy", config, str(root / "examples"), str(root / "noxfile.py"))
    session.run("mypy", config, *programs)
    session.run("pyright", "--project", str(root))
    for package in ["sqltrack", *TYPED_PACKAGES]:
        session.run("pyright", "--verifytypes", package, "--ignoreexternal")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the site into docs/_build/html, with warnings as errors, and test it; arguments go to pytest."""
    _check_python(session)
    _install_packages(session, *PACKAGES, postgres=True)
    session.install(*SITE_TOOLS, "polars", "pytest>=9", "pytest-xdist", "playwright", *EXAMPLE_NEEDS)
    folder = Path("docs/_build")
    shutil.rmtree(folder, ignore_errors=True)
    options = ["-b", "html", "-W", "--keep-going", "-n", "-d", str(folder / "doctrees")]
    session.run("python", "-m", "sphinx", *options, "docs", str(folder / "html"))
    session.run("python", "-m", "pytest", "--engines=sqlite", *(session.posargs or SITE_TESTS))


@nox.session
def build(session: nox.Session) -> None:
    """Build wheels and source distributions of all packages into dist/, and check them as PyPI does."""
    session.run("twine", "check", "--strict", *_build(session, "dist"))


@nox.session
def release(session: nox.Session) -> None:
    """Commit and tag a release, and push nothing: `nox -s release -- 0.3.0`, see CONTRIBUTING.md."""
    if not _is_release(session.posargs):
        session.error(f"expected one version, such as 0.3.0, or one of {', '.join(_BUMPS)}, got {session.posargs!r}")
    if session.run("git", "status", "--porcelain", external=True, silent=True):
        session.error("the working tree must be clean: commit or stash the changes")
    changelogs = [Path(package, "CHANGELOG.md") for package in PACKAGES]
    if not any(_OPEN_SECTION in path.read_text(encoding="utf-8") for path in changelogs):
        session.error("no changelog has a section 'Unreleased', so there is nothing to release")
    session.install(*RELEASE_TOOLS)
    for package in PACKAGES:
        with session.chdir(package):
            # Without an argument it shows the version that stands there, which is released then.
            session.run("hatchling", "version", *session.posargs)
    version = str(nox.project.load_toml("packages/sqltrack-core/pyproject.toml")["project"]["version"])
    if session.run("git", "tag", "--list", f"v{version}", external=True, silent=True):
        session.error(f"version {version!r} was released before: there is a tag 'v{version}'")
    for package in PACKAGES:
        _raise_bounds(Path(package, "pyproject.toml"), version)
    for path in changelogs:
        _date_section(path, f"## {version} ({datetime.now(timezone.utc).date()})\n")
    session.run("twine", "check", "--strict", *_build(session, "dist"))
    session.run("git", "commit", "--quiet", "--all", "--message", f"release: version {version}", external=True)
    session.run("git", "tag", "--annotate", "--message", f"Version {version}", f"v{version}", external=True)
    session.log("to publish it: git push --follow-tags")


# Always anew, and not editable: what users have is what is measured.
@nox.session(reuse_venv=False)
def bench(session: nox.Session) -> None:
    """Measure what tracking costs, and write it into the documentation; see benchmarks/README.md for arguments."""
    names, options, target = _read_bench_arguments(session)
    packages = ["packages/sqltrack-core[postgres]", "packages/sqltrack-notebook", "packages/sqltrack-cli"]
    peers = PEERS if set(names) & set(PEER_BENCHMARKS) else []
    session.install(*packages, *ARROW, *peers)
    results = Path("benchmarks/results")
    # Figures of another time would be taken for those of today.
    shutil.rmtree(results, ignore_errors=True)
    for name in names:
        own_options = [option for option in options if option != "--largest" or name == "growth"]
        session.run("python", f"benchmarks/{name}.py", "--json", str(results / f"{name}.json"), *own_options)
        # After each: what was measured is kept if the next one fails.
        session.run("python", "benchmarks/report.py", "--collect", *target)


def _read_bench_arguments(session: nox.Session) -> tuple[list[str], list[str], list[str]]:
    """Return the names of the benchmarks, options for them, and options for the report."""
    given, target = list(session.posargs), []
    if "--into" in given[:-1]:
        position = given.index("--into")
        target = ["--into", str(Path(given[position + 1]).resolve())]
        del given[position : position + 2]
    options = [argument for argument in given if argument in ("--quick", "--largest")]
    names = [argument for argument in given if argument not in options]
    unknown = [name for name in names if name not in BENCHMARKS + PEER_BENCHMARKS]
    if unknown:
        known = ", ".join(BENCHMARKS + PEER_BENCHMARKS)
        session.error(f"expected names of benchmarks, {known}, --quick, --largest or --into PATH, got {unknown!r}")
    if "--quick" in options and not target:
        session.error("expected --into PATH as well: --quick measures too little for the documentation")
    return names or BENCHMARKS, options, target


def _install_packages(session: nox.Session, *packages: str, postgres: bool = False) -> None:
    """Install packages of this repository, editable; they need each other, so all come in one command."""
    arguments: list[str] = []
    for package in packages:
        extra = "[postgres]" if postgres and package.endswith("core") else ""
        arguments += ["--editable", f"{package}{extra}"]
    session.install(*arguments)


def _install_by_uv(session: nox.Session, *arguments: str) -> None:
    """Install all packages, editable and with all extras, by uv, which can look for other versions than the newest."""
    extras = {
        "packages/sqltrack-core": "[postgres]",
        "packages/sqltrack-notebook": "[plotly,polars]",
        "packages/sqltrack-cli": "[parquet]",
    }
    editable = [argument for package in PACKAGES for argument in ("--editable", package + extras.get(package, ""))]
    session.run("uv", "pip", "install", *editable, *arguments)


def _run_suite(session: nox.Session) -> None:
    _install_suite(session)
    _run_pytest(session)


def _install_suite(session: nox.Session) -> None:
    """Install everything that the tests need."""
    _check_python(session)
    _install_packages(session, *PACKAGES, postgres=True)
    session.install(*SUITE_NEEDS)


def _run_pytest(session: nox.Session, *arguments: str) -> None:
    # Each process starts a server of its own, so more of them would gain little.
    options = ["--numprocesses=auto", "--maxprocesses=4", "--dist=worksteal"]
    session.run("python", "-m", "pytest", *options, *arguments, *session.posargs)


def _check_python(session: nox.Session) -> None:
    """Refuse an environment that another Python has left, which nox would use whatever --force-python says."""
    wanted = str(session.python or f"{sys.version_info.major}.{sys.version_info.minor}")
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    found = str(session.run("python", "-c", code, silent=True)).strip()
    if re.fullmatch(r"\d\.\d+", wanted) and found != wanted:
        session.error(
            f"{session.virtualenv.location} is of Python {found}, expected {wanted}; add --reuse-venv=never "
            "to the command to make it anew"
        )


def _build(session: nox.Session, folder: str) -> list[str]:
    """Build all packages into a folder, emptied before, and return the files."""
    target = Path(folder).resolve()
    shutil.rmtree(target, ignore_errors=True)
    session.install(*RELEASE_TOOLS)
    # Without it hatchling gives all files one date: the same sources give the same files, whenever they are built.
    session.env["SOURCE_DATE_EPOCH"] = None
    for package in PACKAGES:
        with session.chdir(package):
            session.run("hatchling", "build", "-d", str(target), silent=True)
    return sorted(str(path) for path in target.iterdir() if path.suffix in (".whl", ".gz"))


def _is_release(arguments: list[str]) -> bool:
    """Return whether arguments are those of a release: none, one version as PyPI writes it, or the name of a bump."""
    # Not at the top: it comes with nox, and no other session needs it.
    from packaging.version import InvalidVersion, Version

    if not arguments or arguments[0] in _BUMPS:
        return len(arguments) < 2
    try:
        version = Version(arguments[0])
    except InvalidVersion:
        return False
    return arguments == [str(version)] and version.local is None


def _raise_bounds(project: Path, version: str) -> None:
    """Let a distribution need this version, or a newer one, of the others."""
    text = project.read_text(encoding="utf-8")
    project.write_text(re.sub(r'"(sqltrack[^">]*)>=[^"]*"', rf'"\g<1>>={version}"', text), encoding="utf-8")


def _date_section(changelog: Path, heading: str) -> None:
    """Give the open section of a changelog its heading; without one, add a section that says that nothing is new."""
    text = changelog.read_text(encoding="utf-8")
    if _OPEN_SECTION not in text:
        nothing = "Nothing new here: all distributions are released together."
        text = text.replace("\n## ", f"\n{_OPEN_SECTION}\n{nothing}\n\n## ", 1)
    changelog.write_text(text.replace(_OPEN_SECTION, heading, 1), encoding="utf-8")
