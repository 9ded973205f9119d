"""Each distribution builds, holds what it should and no more, and installs next to the others."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Sub-packages by distribution; the first name of each is a folder with a py.typed of its own.
CONTENTS = {
    "sqltrack-core": {"sqltrack", "sqltrack/commands", "sqltrack/engines"},
    "sqltrack-args": {"sqltrack/args"},
    "sqltrack-notebook": {"sqltrack/_columns", "sqltrack/notebook", "sqltrack/pandas", "sqltrack/polars"},
    "sqltrack-cli": {"sqltrack/cli"},
    "sqltrack": set(),
}
TYPED = {
    "sqltrack",
    "sqltrack/args",
    "sqltrack/cli",
    "sqltrack/_columns",
    "sqltrack/notebook",
    "sqltrack/pandas",
    "sqltrack/polars",
}

ENGINES = ("postgres", "sqlite")

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


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """Wheel and source distribution of each distribution."""
    files = {}
    for name in CONTENTS:
        folder = tmp_path_factory.mktemp(name)
        command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder)]
        subprocess.run([*command, str(ROOT / "packages" / name)], check=True, capture_output=True)
        files[name] = (next(folder.glob("*.whl")), next(folder.glob("*.tar.gz")))
    return files


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """The interpreter of a new, empty environment."""
    venv.create(tmp_path / "venv", with_pip=True)
    return tmp_path / "venv" / ("Scripts" if sys.platform == "win32" else "bin") / "python"


def run(python: Path, *arguments: str) -> str:
    done = subprocess.run([str(python), *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def installed(python: Path) -> set[str]:
    return {line.partition("==")[0] for line in run(python, "-m", "pip", "list", "--format=freeze").splitlines()}


@pytest.mark.parametrize("name", CONTENTS)
def test_a_wheel_holds_its_packages_and_nothing_else(built: dict[str, tuple[Path, Path]], name: str) -> None:
    names = zipfile.ZipFile(built[name][0]).namelist()
    files = {file for file in names if ".dist-info/" not in file}
    packages = {file.rpartition("/")[0] for file in files if file.endswith("__init__.py")}
    assert {p for p in packages if "/engines/" not in p} == CONTENTS[name]
    assert {file for file in files if file.endswith("py.typed")} == {f"{p}/py.typed" for p in CONTENTS[name] & TYPED}
    assert {file.rpartition(".")[2] for file in files} <= {"py", "typed", "sql", "css"}
    sql = {file for file in files if file.endswith(".sql")}
    scripts = {f"sqltrack/engines/{engine}/{script}.sql" for engine in ENGINES for script in ("base", "copied_runs")}
    assert sql == (scripts if name == "sqltrack-core" else set())
    assert any(file.endswith(".dist-info/licenses/LICENSE") for file in names)


def test_only_core_ships_the_package_itself(built: dict[str, tuple[Path, Path]]) -> None:
    """DESIGN 2."""
    shipping = [
        name for name, (wheel, _) in built.items() if "sqltrack/__init__.py" in zipfile.ZipFile(wheel).namelist()
    ]
    assert shipping == ["sqltrack-core"]


@pytest.mark.parametrize("name", CONTENTS)
def test_a_source_distribution_holds_readme_license_and_changelog(
    built: dict[str, tuple[Path, Path]], name: str
) -> None:
    with tarfile.open(built[name][1]) as archive:
        names = {member.partition("/")[2] for member in archive.getnames()}
    assert {"README.md", "LICENSE", "CHANGELOG.md", "pyproject.toml", "PKG-INFO"} <= names
    assert all(member.startswith("src/") or "/" not in member for member in names)


def test_core_adds_one_distribution_and_runs_the_minimal_example(
    built: dict[str, tuple[Path, Path]], python: Path, tmp_path: Path
) -> None:
    """DESIGN 2."""
    before = installed(python)
    run(python, "-m", "pip", "install", "--no-index", str(built["sqltrack-core"][0]))
    assert installed(python) - before == {"sqltrack-core"}
    lines = run(python, "-c", MINIMAL).splitlines()
    assert lines[0] == "(NEW) base.sql"
    assert lines[1:] == [str((1, epoch, 0.0, 7 ** (1 / (epoch + 1)))) for epoch in range(90)]


def test_without_the_others_core_says_what_to_install(built: dict[str, tuple[Path, Path]], python: Path) -> None:
    run(python, "-m", "pip", "install", "--no-index", str(built["sqltrack-core"][0]))
    code = "import sqltrack.commands\ntry: sqltrack.commands.main()\nexcept ImportError as error: print(error)"
    assert "requires 'sqltrack-cli'; install it with: pip install sqltrack-cli" in run(python, "-c", code)


def test_satellites_merge_with_core_from_wheels_and_go_without_it(
    built: dict[str, tuple[Path, Path]], python: Path
) -> None:
    wheels = [str(built[name][0]) for name in CONTENTS]
    run(python, "-m", "pip", "install", "--no-deps", "docopt-ng", *wheels)
    code = "import sqltrack, sqltrack.args; print(sqltrack.Client.__name__, sqltrack.args.convert_argument('n', '5'))"
    assert run(python, "-c", code) == "Client 5\n"
    run(python, "-m", "pip", "uninstall", "--yes", "sqltrack-args", "sqltrack-cli", "sqltrack-notebook", "sqltrack")
    assert run(python, "-c", "import sqltrack; print(sqltrack.Client.__name__)") == "Client\n"


def test_satellites_merge_with_core_when_installed_editable() -> None:
    code = (
        "import sqltrack, sqltrack.args, sqltrack.cli, sqltrack.commands.setup, sqltrack.notebook, sqltrack.pandas;"
        "print(sqltrack.Client.__name__)"
    )
    assert run(Path(sys.executable), "-c", code) == "Client\n"
