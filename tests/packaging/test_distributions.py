"""Each distribution builds, contains only its files, and installs next to the others."""

from __future__ import annotations

import email
import hashlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from email.message import Message
from pathlib import Path
from typing import NamedTuple

import pip as installed_pip
import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from support.pages import read_blocks

ROOT = Path(__file__).parents[2]

# SQL of each engine.
SCRIPTS = ("base", "captured_packages", "copied_runs", "rewinds", "saved_views")

# Sub-packages by distribution; the first name of each is a folder with its own py.typed.
CONTENTS = {
    "sqltrack-core": {"sqltrack", "sqltrack/capture", "sqltrack/commands", "sqltrack/_outbox", "sqltrack/engines"},
    "sqltrack-args": {"sqltrack/args"},
    "sqltrack-notebook": {"sqltrack/_frames", "sqltrack/notebook", "sqltrack/pandas", "sqltrack/polars"},
    "sqltrack-cli": {"sqltrack/cli"},
    "sqltrack-integrations": {"sqltrack/integrations"},
    "sqltrack-ui": {"sqltrack/ui"},
    "sqltrack-import": {"sqltrack/importers"},
    "sqltrack": set(),
}
TYPED = {
    "sqltrack",
    "sqltrack/args",
    "sqltrack/cli",
    "sqltrack/_frames",
    "sqltrack/importers",
    "sqltrack/integrations",
    "sqltrack/notebook",
    "sqltrack/pandas",
    "sqltrack/polars",
    "sqltrack/ui",
}

# Kinds of files in wheels. Those of the page include its libraries, with their licenses.
SUFFIXES = {".py", ".typed", ".sql", ".css", ".js"}
PAGE_SUFFIXES = {*SUFFIXES, ".html", ".json", ".mjs", ".png", ".svg", ".ttf", ".txt", ""}

ENGINES = ("postgres", "sqlite")

# A program that runs with each of them.
WORKS = {
    "sqltrack-core": "import sqltrack; assert sqltrack.Client.__name__ == 'Client'",
    "sqltrack-args": "import sqltrack.args; assert sqltrack.args.convert_argument('n', '5') == 5",
    "sqltrack-notebook": "from sqltrack import notebook, pandas; assert '50' in notebook.format_percentage(0.5)",
    # The statements for users and rights need no driver.
    "sqltrack-cli": """
import sys
sys.modules["psycopg"] = None
from sqltrack.cli import main
alice = ["--user", "alice", "--dbname", "select"]
assert main(["create", *alice]) == main(["grant", "bob", *alice]) == main(["revoke", "bob", *alice]) == 0
assert main(["revoke", "--public", *alice]) == 0
try:
    main(["--help"])
except SystemExit as end:
    assert end.code == 0
""",
    "sqltrack-ui": "from sqltrack.ui import create_app; assert create_app",
    "sqltrack-import": "from sqltrack.importers import KINDS, apply_import; assert 'mlflow' in KINDS and apply_import",
    # These modules need no framework.
    "sqltrack-integrations": "from sqltrack.integrations import lightgbm, optuna, sklearn",
    "sqltrack": "import importlib.metadata; assert importlib.metadata.version('sqltrack')",
}

# The distributions that `pip install sqltrack` installs.
STANDARD = {"sqltrack", "sqltrack-core", "sqltrack-args", "sqltrack-cli"}

# The distributions of ours that pip installs for a requirement.
BRINGS = {
    "sqltrack-core": {"sqltrack-core"},
    "sqltrack-args": {"sqltrack-args"},
    "sqltrack-cli": {"sqltrack-core", "sqltrack-cli"},
    "sqltrack-cli[parquet]": {"sqltrack-core", "sqltrack-cli"},
    "sqltrack-core[postgres]": {"sqltrack-core"},
    "sqltrack-core[args]": {"sqltrack-core", "sqltrack-args"},
    "sqltrack-core[notebook]": {"sqltrack-core", "sqltrack-notebook"},
    "sqltrack-core[cli]": {"sqltrack-core", "sqltrack-cli"},
    "sqltrack-core[ui]": {"sqltrack-core", "sqltrack-cli", "sqltrack-ui"},
    "sqltrack-core[import]": {"sqltrack-core", "sqltrack-cli", "sqltrack-import"},
    "sqltrack-core[integrations]": {"sqltrack-core", "sqltrack-cli", "sqltrack-integrations"},
    "sqltrack-core[full]": set(CONTENTS) - {"sqltrack"},
    "sqltrack-integrations": {"sqltrack-core", "sqltrack-cli", "sqltrack-integrations"},
    "sqltrack-notebook": {"sqltrack-core", "sqltrack-notebook"},
    "sqltrack-notebook[plot,plotly,polars]": {"sqltrack-core", "sqltrack-notebook"},
    "sqltrack-ui": {"sqltrack-core", "sqltrack-cli", "sqltrack-ui"},
    "sqltrack-import": {"sqltrack-core", "sqltrack-cli", "sqltrack-import"},
    "sqltrack-import[mlruns]": {"sqltrack-core", "sqltrack-cli", "sqltrack-import"},
    "sqltrack-import[parquet]": {"sqltrack-core", "sqltrack-cli", "sqltrack-import"},
    "sqltrack": STANDARD,
    "sqltrack[integrations]": STANDARD | {"sqltrack-integrations"},
    "sqltrack[ui]": STANDARD | {"sqltrack-ui"},
    "sqltrack[import]": STANDARD | {"sqltrack-import"},
    "sqltrack[full]": set(CONTENTS),
}

MINIMAL = """
import sqlite3
import sqltrack
from sqltrack.commands import setup

client = sqltrack.Client(engine="sqlite")
setup(client)
run = sqltrack.Experiment(client, name="Minimal").get_run()
with run.track():
    for epoch in range(90):
        run.add_metrics({"loss": 7 ** (1 / (epoch + 1))}, step=epoch)
for row in sqlite3.connect("sqltrack.db").execute("SELECT * FROM metrics"):
    print(row)
"""

# Imports and calls that need other distributions, and a run that takes its arguments from none.
MISSING = """
import importlib
import sqltrack.commands

def attempt(function, *arguments):
    try:
        function(*arguments)
    except ModuleNotFoundError as error:
        print(str(error).partition(" (or")[0])

for name in ("args", "cli", "importers", "integrations", "notebook", "pandas", "polars", "ui"):
    attempt(importlib.import_module, f"sqltrack.{name}")
attempt(sqltrack.commands.main)
attempt(sqltrack.Client)
client = sqltrack.Client(engine="sqlite", dbpath="missing.db")
sqltrack.commands.setup(client)
sqltrack.Experiment(client, name="a").get_run().add_args("auto")
print(client.execute("SELECT args FROM runs").fetchone())
"""

# The hooks that pip and build call, for all projects in one process.
BUILD = """
import os, sys
from hatchling.build import build_sdist, build_wheel
for project in sys.argv[2:]:
    os.chdir(project)
    build_sdist(sys.argv[1])
    build_wheel(sys.argv[1])
"""


class Files(NamedTuple):
    """The built files of a distribution."""

    wheel: Path
    source: Path


class Environment:
    """A virtual environment without pip, because installing pip takes most of the time.

    Args:
        folder: where it is created.
        needed: a folder with packages that can be imported there, default: none.

    Attributes:
        python: its interpreter.
        packages: the folder that packages are installed into.
    """

    def __init__(self, folder: Path, needed: Path | None = None) -> None:
        venv.create(folder, symlinks=sys.platform != "win32")
        self.python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
        self.packages = Path(self.run("-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
        # Without metadata, so that `pip list` does not show it.
        (self.packages / "pip").symlink_to(Path(installed_pip.__file__).parent)
        if needed is not None:
            (self.packages / "needed.pth").write_text(f"{needed}\n", encoding="utf-8")

    def run(self, *arguments: str) -> str:
        done = subprocess.run([str(self.python), *arguments], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def type(self, line: str, folder: Path, **variables: str) -> str:
        """Type a line into a shell whose `python` is that of this environment."""
        path = os.pathsep.join([str(self.python.parent), os.environ["PATH"]])
        environment = {**os.environ, "PATH": path, "PIP_CONFIG_FILE": os.devnull, **variables}
        done = subprocess.run(["bash", "-c", line], cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def pip(self, *arguments: str) -> str:
        return self.run("-m", "pip", *arguments)

    def install(self, built: dict[str, Files], *requirements: str) -> None:
        """Install distributions as users do, ours only from wheels."""
        self.pip("install", "--no-index", f"--find-links={folder_of(built)}", *requirements)

    def installed(self) -> set[str]:
        """Return the installed distributions of ours."""
        found = importlib.metadata.distributions(path=[str(self.packages)])
        return {distribution.name for distribution in found} & set(CONTENTS)

    def files(self) -> set[str]:
        """Return the installed files of ours, without metadata."""
        files = (path for path in (self.packages / "sqltrack").rglob("*") if path.is_file())
        return {path.relative_to(self.packages).as_posix() for path in files if path.parent.name != "__pycache__"}

    def check_works(self, names: set[str]) -> None:
        """Run the programs of distributions, all in one process."""
        self.run("-c", "\n".join(WORKS[name] for name in sorted(names)))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Files]:
    """The files of each distribution, built from projects full of litter."""
    folder = tmp_path_factory.mktemp("projects")
    for name in CONTENTS:
        shutil.copytree(ROOT / "packages" / name, folder / name)
        litter(folder / name)
    return build([folder / name for name in CONTENTS], folder / "built")


def litter(project: Path) -> None:
    """Leave files that development leaves, none of which may be distributed."""
    packages = [path.parent for path in project.glob("src/**/__init__.py")]
    for folder in [project, *packages]:
        for file in ("__pycache__/left.cpython-310.pyc", ".pytest_cache/README.md", "left.pyc"):
            (folder / file).parent.mkdir(exist_ok=True)
            (folder / file).write_text("left", encoding="utf-8")
    for file in ("tests/test_left.py", "build/left.py", "dist/left.whl", "notes.txt"):
        (project / file).parent.mkdir(exist_ok=True)
        (project / file).write_text("left", encoding="utf-8")


def build(projects: list[Path], folder: Path, **variables: str) -> dict[str, Files]:
    """Build projects into a folder, each with its own environment variables."""
    folder.mkdir()
    command = [sys.executable, "-c", BUILD, str(folder), *map(str, projects)]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, **variables})
    wheels = {path.name.split("-")[0].replace("_", "-"): path for path in folder.glob("*.whl")}
    sources = {path.name.split("-")[0].replace("_", "-"): path for path in folder.glob("*.tar.gz")}
    return {name: Files(wheels[name], sources[name]) for name in CONTENTS}


def folder_of(built: dict[str, Files]) -> Path:
    return built["sqltrack"].wheel.parent


@pytest.fixture(scope="module")
def core_alone(built: dict[str, Files], tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with only core; tests must not change it."""
    environment = Environment(tmp_path_factory.mktemp("core") / "venv")
    environment.install(built, "sqltrack-core")
    return environment


@pytest.fixture(scope="module")
def needed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with links to all other installed packages, so that nothing is downloaded."""
    folder = tmp_path_factory.mktemp("needed")
    for packages in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for entry in Path(packages).iterdir():
            if "sqltrack" not in entry.name and entry.suffix != ".pth":
                (folder / entry.name).symlink_to(entry)
    return folder


@pytest.fixture
def equipped(needed: Path, tmp_path: Path) -> Environment:
    """An environment with the packages of others that the distributions need, and with none of ours."""
    return Environment(tmp_path / "venv", needed)


def content(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def modules(wheel: Path) -> set[str]:
    """Names of the files of a wheel, without metadata."""
    return {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}


def metadata(wheel: Path) -> Message:
    return email.message_from_bytes(
        next(text for name, text in content(wheel).items() if name.endswith(".dist-info/METADATA"))
    )


def requirements(wheel: Path) -> list[Requirement]:
    return [Requirement(text) for text in metadata(wheel).get_all("Requires-Dist", [])]


@pytest.mark.parametrize("name", CONTENTS)
def test_a_wheel_holds_its_packages_and_nothing_else(built: dict[str, Files], name: str) -> None:
    names = zipfile.ZipFile(built[name].wheel).namelist()
    files = modules(built[name].wheel)
    packages = {file.rpartition("/")[0] for file in files if file.endswith("__init__.py")}
    assert {package for package in packages if package.count("/") < 2} == CONTENTS[name]
    assert {file for file in files if file.endswith("py.typed")} == {f"{p}/py.typed" for p in CONTENTS[name] & TYPED}
    assert {Path(file).suffix for file in files if "/LICENSE-" not in file} <= (
        PAGE_SUFFIXES if name == "sqltrack-ui" else SUFFIXES
    )
    sql = {file for file in files if file.endswith(".sql")}
    scripts = {f"sqltrack/engines/{engine}/{script}.sql" for engine in ENGINES for script in SCRIPTS}
    assert sql == (scripts if name == "sqltrack-core" else set())
    assert any(file.endswith(".dist-info/licenses/LICENSE") for file in names)


def test_only_core_ships_the_package_itself(built: dict[str, Files]) -> None:
    """The others add sub-packages; a second `__init__.py` would be removed with either of the two."""
    shipping = [name for name, files in built.items() if "sqltrack/__init__.py" in modules(files.wheel)]
    assert shipping == ["sqltrack-core"]


@pytest.mark.parametrize("name", CONTENTS)
def test_a_source_distribution_holds_readme_license_and_changelog(built: dict[str, Files], name: str) -> None:
    with tarfile.open(built[name].source) as archive:
        names = {member.partition("/")[2] for member in archive.getnames()}
    assert {"README.md", "LICENSE", "CHANGELOG.md", "pyproject.toml", "PKG-INFO"} <= names
    assert all(member.startswith("src/") or "/" not in member for member in names)
    unwanted = ("left", "__pycache__", ".pytest_cache", "test")
    assert not [member for member in names if any(word in member for word in unwanted)]


def test_builds_of_source_distributions_in_other_folders_at_other_times_are_the_same(
    built: dict[str, Files], tmp_path: Path
) -> None:
    """You can compare the files on PyPI, byte for byte, with those that you build from a tag or from their sources."""
    projects = [unpack(files.source, tmp_path / "sources") for files in built.values()]
    for path in (tmp_path / "sources").rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
        if path.is_file():
            path.chmod(0o600)
    assert digests(build(projects, tmp_path / "built", TZ="Asia/Tokyo")) == digests(built)


def unpack(source: Path, folder: Path) -> Path:
    """Write the files of a source distribution into a folder, and return the folder of the project."""
    with tarfile.open(source) as archive:
        for member in archive:
            file = archive.extractfile(member)
            assert file is not None
            (folder / member.name).parent.mkdir(parents=True, exist_ok=True)
            (folder / member.name).write_bytes(file.read())
    return folder / source.name.removesuffix(".tar.gz")


def digests(built: dict[str, Files]) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for files in built.values() for file in files}


def test_no_two_wheels_hold_the_same_file(built: dict[str, Files]) -> None:
    """So you can uninstall one in any order without removing files that another needs."""
    files = [file for wheel, _ in built.values() for file in content(wheel)]
    assert len(files) == len(set(files))


def test_distributions_need_each_other_at_least_as_new_as_they_are(built: dict[str, Files]) -> None:
    """They use private names of each other, and are tested only in the same version."""
    versions = {metadata(wheel)["Version"] for wheel, _ in built.values()}
    assert len(versions) == 1
    bounds = {f">={version}" for version in versions}
    siblings = [
        requirement
        for name, files in built.items()
        for requirement in requirements(files.wheel)
        if requirement.name.startswith("sqltrack") and requirement.name != name
    ]
    assert {requirement.name for requirement in siblings} <= set(CONTENTS)
    assert [str(requirement) for requirement in siblings if {str(requirement.specifier)} != bounds] == []


@pytest.mark.parametrize("requirement", BRINGS)
def test_each_distribution_and_each_extra_brings_the_others_that_it_needs(
    built: dict[str, Files], requirement: str
) -> None:
    assert brought(built, Requirement(requirement)) == BRINGS[requirement]


def brought(built: dict[str, Files], requirement: Requirement) -> set[str]:
    """Return the distributions of ours that a requirement needs, directly or not."""
    if requirement.name not in CONTENTS:
        return set()
    extras = requirement.extras or {""}
    needed = [
        one
        for one in requirements(built[requirement.name].wheel)
        if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in extras)
    ]
    return {requirement.name}.union(*(brought(built, one) for one in needed))


def test_all_extras_are_tested(built: dict[str, Files]) -> None:
    tested = {(requirement.name, extra) for requirement in map(Requirement, BRINGS) for extra in requirement.extras}
    extras = {
        (name, extra) for name, files in built.items() for extra in metadata(files.wheel).get_all("Provides-Extra", [])
    }
    assert tested == extras


def test_core_adds_one_distribution_and_runs_the_minimal_example(
    built: dict[str, Files], core_alone: Environment
) -> None:
    version = metadata(built["sqltrack-core"].wheel)["Version"]
    assert core_alone.pip("list", "--format=freeze").splitlines() == [f"sqltrack-core=={version}"]
    lines = core_alone.run("-c", MINIMAL).splitlines()
    assert lines[0] == "(NEW) base.sql"
    assert lines[1:] == [str((1, epoch, 0.0, 7 ** (1 / (epoch + 1)))) for epoch in range(90)]


def test_without_the_others_core_says_what_to_install(core_alone: Environment) -> None:
    assert core_alone.run("-c", MISSING).splitlines() == [
        "sqltrack.args requires 'sqltrack-args'; install it with: pip install sqltrack-args",
        "the sqltrack program requires 'sqltrack-cli'; install it with: pip install sqltrack-cli",
        "sqltrack.importers requires 'sqltrack-import'; install it with: pip install sqltrack-import",
        "sqltrack.integrations requires 'sqltrack-integrations'; install it with: pip install sqltrack-integrations",
        "sqltrack.notebook requires 'sqltrack-notebook'; install it with: pip install sqltrack-notebook",
        "sqltrack.pandas requires 'sqltrack-notebook'; install it with: pip install sqltrack-notebook",
        "sqltrack.polars requires 'sqltrack-notebook'; install it with: pip install 'sqltrack-notebook[polars]'",
        "sqltrack.ui requires 'sqltrack-ui'; install it with: pip install sqltrack-ui",
        "the sqltrack program requires 'sqltrack-cli'; install it with: pip install sqltrack-cli",
        "engine 'postgres' requires 'psycopg'; install it with: pip install 'sqltrack-core[postgres]'",
        "(NEW) base.sql",
        "(None,)",
    ]


def test_core_finds_and_lists_modules_that_are_not_installed_without_an_error(core_alone: Environment) -> None:
    """They stand in for missing modules; the metadata show whether a distribution is installed."""
    code = """
import importlib.util, pkgutil
import sqltrack
print(importlib.util.find_spec("sqltrack.pandas").origin)
print(*(module.name for module in pkgutil.walk_packages(sqltrack.__path__, "sqltrack.")))
"""
    origin, names = core_alone.run("-W", "error", "-c", code).splitlines()
    assert Path(origin).parent.name == "_missing"
    assert {"sqltrack.client", "sqltrack.commands.setup", "sqltrack.pandas"} <= set(names.split())


@pytest.mark.installs
@pytest.mark.parametrize("name", [name for name in CONTENTS if name != "sqltrack-core"])
def test_each_works_without_those_that_it_does_not_need(
    built: dict[str, Files], equipped: Environment, name: str
) -> None:
    """Core alone is tested above."""
    equipped.install(built, name)
    assert equipped.installed() == BRINGS[name]
    equipped.check_works(BRINGS[name])


@pytest.mark.installs
@pytest.mark.parametrize("requirement", ["sqltrack", "sqltrack[full]"])
def test_the_name_alone_gets_ours_and_not_the_earlier_project_of_that_name(
    built: dict[str, Files], equipped: Environment, tmp_path: Path, requirement: str
) -> None:
    """The package index, which pip asks here, has a `sqltrack` 0.1.4; without a network a wheel stands in for it."""
    write_foreign_wheel(tmp_path / "foreign")
    folders = [f"--find-links={folder}" for folder in (folder_of(built), tmp_path / "foreign")]
    report = tmp_path / "report.json"
    equipped.pip("install", "--dry-run", "--retries=0", "--timeout=10", f"--report={report}", *folders, requirement)
    packages = [item["metadata"] for item in json.loads(report.read_text(encoding="utf-8"))["install"]]
    versions = {package["name"]: Version(package["version"]) for package in packages}
    assert versions.keys() >= BRINGS[requirement]
    # Not equal: once ours are on the index as well, it may have newer ones.
    assert min(versions[name] for name in BRINGS[requirement]) >= Version(metadata(built["sqltrack"].wheel)["Version"])


def write_foreign_wheel(folder: Path, *files: str) -> None:
    """Write a minimal wheel with the name and version of that project into a folder, with some of its files."""
    folder.mkdir()
    info = "sqltrack-0.1.4.dist-info"
    contents = {
        **dict.fromkeys(files, ""),
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: sqltrack\nVersion: 0.1.4\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "[console_scripts]\nsqltrack = sqltrack:main\n",
    }
    contents[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in (*contents, f"{info}/RECORD"))
    with zipfile.ZipFile(folder / "sqltrack-0.1.4-py3-none-any.whl", "w") as archive:
        for name, text in contents.items():
            archive.writestr(name, text)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the packages in a clone."""
    folder = tmp_path_factory.mktemp("clone")
    shutil.copytree(ROOT / "packages", folder / "packages", ignore=shutil.ignore_patterns("__pycache__", "dist"))
    return folder


# In a clone pip builds with the packages installed here, so that nothing is downloaded. The variable means its
# opposite.
IN_CLONE = {"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0"}


def printed_lines(page: str, *parts: str) -> list[str]:
    """Return the lines with all of these parts that a page tells you to type."""
    blocks = read_blocks(ROOT / page, "console")
    return [line for block in blocks for line in block.code.splitlines() if all(part in line for part in parts)]


@pytest.mark.installs
@pytest.mark.parametrize("page", ["README.md", "docs/getting-started.md"])
def test_the_line_that_a_page_prints_installs_from_a_clone(page: str, equipped: Environment, clone: Path) -> None:
    (line,) = printed_lines(page, "pip install ./packages")
    equipped.type(line, clone, **IN_CLONE)
    assert equipped.installed() == BRINGS["sqltrack"]
    equipped.check_works(BRINGS["sqltrack"])
    assert "usage: sqltrack" in equipped.type("sqltrack --help", clone)


@pytest.mark.installs
def test_the_short_line_for_notebooks_installs_all_from_a_clone(equipped: Environment, clone: Path) -> None:
    line = "python -m pip install ./packages/*/"
    assert f"`{line}`" in (ROOT / "README.md").read_text(encoding="utf-8")
    equipped.type(line, clone, **IN_CLONE)
    assert equipped.installed() == set(CONTENTS)


@pytest.mark.installs
def test_the_line_that_the_readme_prints_installs_from_an_index(
    built: dict[str, Files], equipped: Environment, tmp_path: Path
) -> None:
    (line,) = printed_lines("README.md", "pip install sqltrack")
    index = write_index(tmp_path / "index", [files.wheel for files in built.values()])
    equipped.type(line, tmp_path, PIP_INDEX_URL=index.as_uri(), PIP_FIND_LINKS="")
    assert equipped.installed() == BRINGS["sqltrack"]
    equipped.check_works(BRINGS["sqltrack"])


@pytest.mark.installs
def test_nodes_without_internet_install_the_wheels_that_a_clone_makes(equipped: Environment, clone: Path) -> None:
    make, install = (
        line.replace("pip", "python -m pip", 1) for line in printed_lines("docs/getting-started.md", " wheels ")
    )
    # Other packages would come from an index.
    equipped.type(make, clone, **IN_CLONE, PIP_NO_DEPS="1")
    equipped.type(install, clone)
    assert equipped.installed() == {"sqltrack-core"}


def write_index(folder: Path, wheels: list[Path]) -> Path:
    """Create a folder that pip accepts as a package index (PEP 503)."""
    for wheel in wheels:
        project = folder / wheel.name.split("-")[0].replace("_", "-")
        project.mkdir(parents=True)
        (project / "index.html").write_text(f'<a href="{wheel.as_uri()}">{wheel.name}</a>', encoding="utf-8")
    return folder


# Files that ours contain as well.
FOREIGN_FILES = tuple(
    f"sqltrack/{name}.py"
    for name in ("__init__", "client", "queries", "sigterm", "util", "commands/__init__", "commands/setup")
)


@pytest.mark.installs
@pytest.mark.parametrize("is_told", [True, False], ids=["uninstalled first", "upgraded and repaired"])
def test_from_the_earlier_project_the_documented_commands_lead_to_ours(
    built: dict[str, Files], equipped: Environment, clone: Path, tmp_path: Path, is_told: bool
) -> None:
    uninstall, install, repair = printed_lines("docs/database.md", "python -m pip")
    write_foreign_wheel(tmp_path / "foreign", *FOREIGN_FILES)
    equipped.pip("install", "--no-index", f"--find-links={tmp_path / 'foreign'}", "sqltrack")
    if is_told:
        equipped.type(f"{uninstall} --yes", clone)
        equipped.type(install, clone, **IN_CLONE)
    else:
        equipped.type(f"{install} --upgrade", clone, **IN_CLONE)
        # If this fails, pip has changed its order, and the documentation can be shorter.
        assert not (equipped.packages / "sqltrack" / "__init__.py").exists()
        equipped.type(repair, clone, **IN_CLONE)
    equipped.check_works(BRINGS["sqltrack"])
    expected = {file for name in BRINGS["sqltrack"] for file in modules(built[name].wheel)}
    assert equipped.files() == expected
    assert equipped.python.with_name("sqltrack").exists()


@pytest.mark.installs
def test_all_fit_together_and_one_that_goes_leaves_the_others_as_they_are(
    built: dict[str, Files], equipped: Environment
) -> None:
    """Packages whose folders the others share are uninstalled: core, and the program with its commands."""
    equipped.install(built, "sqltrack[full]")
    equipped.check_works(set(CONTENTS))
    assert complaints(equipped) == []
    left = set(CONTENTS)
    for name in ("sqltrack-core", "sqltrack-cli"):
        equipped.pip("uninstall", "--yes", name)
        left.remove(name)
        assert equipped.installed() == left
        assert equipped.files() == {file for other in left for file in modules(built[other].wheel)}
    equipped.check_works({"sqltrack-args", "sqltrack"})
    needing = {other for other in left if {"sqltrack-core", "sqltrack-cli"} & declared(built[other].wheel)}
    assert {line.split()[0] for line in complaints(equipped)} == needing


def complaints(environment: Environment) -> list[str]:
    """Return pip's complaints about ours; other packages may conflict in the environment of the tests."""
    command = [str(environment.python), "-m", "pip", "check"]
    lines = subprocess.run(command, capture_output=True, text=True).stdout.splitlines()
    return [line for line in lines if line.startswith("sqltrack")]


def declared(wheel: Path) -> set[str]:
    """Names of all requirements of a distribution without extras."""
    return {requirement.name for requirement in requirements(wheel) if requirement.marker is None}


def test_satellites_merge_with_core_when_installed_editable() -> None:
    code = (
        "import sqltrack, sqltrack.args, sqltrack.cli, sqltrack.commands.setup, sqltrack.importers;"
        "import sqltrack.notebook, sqltrack.ui;"
        "print(sqltrack.Client.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "Client\n", done.stderr
