"""Each distribution builds, holds what it should and no more, and installs next to the others."""

from __future__ import annotations

import email
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from email.message import Message
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

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

# What runs with each of them, and which others it needs for that; what both print is the same everywhere.
WORKS = {
    "sqltrack-core": ("import sqltrack; print(sqltrack.Client.__name__)", "Client"),
    "sqltrack-args": ("import sqltrack.args; print(sqltrack.args.convert_argument('n', '5'))", "5"),
    "sqltrack-notebook": ("from sqltrack import notebook, pandas; print(notebook.format_percentage(0.5))", "50"),
    "sqltrack-cli": ("from sqltrack.commands import main; import sys; sys.argv = ['', '--help']; main()", "usage:"),
    "sqltrack": ("import importlib.metadata as m; print(m.version('sqltrack'))", "."),
}
NEEDS = {
    "sqltrack-core": {"sqltrack-core"},
    "sqltrack-args": {"sqltrack-args"},
    "sqltrack-notebook": {"sqltrack-core", "sqltrack-notebook"},
    "sqltrack-cli": {"sqltrack-core", "sqltrack-cli"},
    "sqltrack": {"sqltrack"},
}
# What is installed for a requirement, of ours.
BRINGS = {
    "sqltrack-args": {"sqltrack-args"},
    "sqltrack-cli": {"sqltrack-core", "sqltrack-cli"},
    "sqltrack-core[postgres]": {"sqltrack-core"},
    "sqltrack-core[args]": {"sqltrack-core", "sqltrack-args"},
    "sqltrack-core[notebook]": {"sqltrack-core", "sqltrack-notebook"},
    "sqltrack-core[cli]": {"sqltrack-core", "sqltrack-cli"},
    "sqltrack-core[full]": set(CONTENTS) - {"sqltrack"},
    "sqltrack-notebook": {"sqltrack-core", "sqltrack-notebook"},
    "sqltrack-notebook[plotly,polars]": {"sqltrack-core", "sqltrack-notebook"},
    "sqltrack": set(CONTENTS) - {"sqltrack-notebook"},
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


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """Wheel, built from the source distribution, and source distribution of each distribution."""
    files = {}
    for name in CONTENTS:
        project = tmp_path_factory.mktemp("project") / name
        shutil.copytree(ROOT / "packages" / name, project)
        litter(project)
        build(project, project / "dist")
        files[name] = (next(project.glob("dist/*.whl")), next(project.glob("dist/*.tar.gz")))
    return files


def litter(project: Path) -> None:
    """Leave around what work leaves, none of which may be distributed."""
    packages = [path.parent for path in project.glob("src/**/__init__.py")]
    for folder in [project, *packages]:
        for file in ("__pycache__/left.cpython-310.pyc", ".pytest_cache/README.md", "left.pyc"):
            (folder / file).parent.mkdir(exist_ok=True)
            (folder / file).write_text("left", encoding="utf-8")
    for file in ("tests/test_left.py", "build/left.py", "dist/left.whl", "notes.txt"):
        (project / file).parent.mkdir(exist_ok=True)
        (project / file).write_text("left", encoding="utf-8")
    shutil.rmtree(project / "dist")


def build(project: Path, folder: Path, *options: str) -> None:
    command = [sys.executable, "-m", "build", "--no-isolation", *options, "--outdir", str(folder), str(project)]
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """The interpreter of an environment with nothing in it."""
    # Without pip, whose installation would take most of the time; pip() takes that of the tests.
    venv.create(tmp_path / "venv", symlinks=sys.platform != "win32")
    return tmp_path / "venv" / ("Scripts" if sys.platform == "win32" else "bin") / "python"


@pytest.fixture(scope="module")
def needed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of links to all that is installed beside the distributions, so that nothing is downloaded."""
    folder = tmp_path_factory.mktemp("needed")
    for packages in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for entry in Path(packages).iterdir():
            if "sqltrack" not in entry.name and entry.suffix != ".pth":
                (folder / entry.name).symlink_to(entry)
    return folder


@pytest.fixture
def equipped_python(python: Path, needed: Path) -> Path:
    """The interpreter of an environment with what the distributions need of others, and with none of them."""
    packages = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    (packages / "needed.pth").write_text(f"{needed}\n", encoding="utf-8")
    return python


def pip(python: Path, *arguments: str, status: int = 0) -> str:
    command = [sys.executable, "-m", "pip", "--python", str(python), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def install(python: Path, built: dict[str, tuple[Path, Path]], *requirements: str) -> None:
    """Install distributions as users do, with ours from wheels alone and no others."""
    folders = [f"--find-links={wheel.parent}" for wheel, _ in built.values()]
    pip(python, "install", "--no-index", *folders, *requirements)


def run(python: Path, *arguments: str) -> str:
    done = subprocess.run([str(python), *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def installed(python: Path) -> set[str]:
    """Which of our distributions are installed."""
    lines = pip(python, "list", "--format=freeze").splitlines()
    return {line.partition("==")[0] for line in lines} & set(CONTENTS)


def content(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


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
    assert not [member for member in names if "left" in member or "cache" in member or "test" in member]


@pytest.mark.parametrize("name", CONTENTS)
def test_the_wheel_of_a_source_distribution_is_that_of_the_project(
    built: dict[str, tuple[Path, Path]], name: str, tmp_path: Path
) -> None:
    build(ROOT / "packages" / name, tmp_path, "--wheel")
    assert content(next(tmp_path.glob("*.whl"))) == content(built[name][0])


def test_no_two_wheels_hold_the_same_file(built: dict[str, tuple[Path, Path]]) -> None:
    """So that one can go in any order without taking from another what it needs."""
    files = [file for wheel, _ in built.values() for file in content(wheel)]
    assert len(files) == len(set(files))


def test_distributions_need_each_other_at_least_as_new_as_they_are(built: dict[str, tuple[Path, Path]]) -> None:
    """They use what is private of each other, and are tested together only in the same version."""
    for wheel, _ in built.values():
        message = metadata(wheel)
        requirements = [Requirement(text) for text in message.get_all("Requires-Dist", [])]
        for needed in (requirement for requirement in requirements if requirement.name in CONTENTS):
            if needed.name != message["Name"]:
                assert {(bound.operator, Version(bound.version)) for bound in needed.specifier} == {
                    (">=", Version(message["Version"]))
                }, needed


def test_core_adds_one_distribution_and_runs_the_minimal_example(
    built: dict[str, tuple[Path, Path]], python: Path, tmp_path: Path
) -> None:
    """DESIGN 2."""
    install(python, built, "sqltrack-core")
    assert pip(python, "list", "--format=freeze").splitlines() == ["sqltrack-core==" + version(built["sqltrack-core"])]
    lines = run(python, "-c", MINIMAL).splitlines()
    assert lines[0] == "(NEW) base.sql"
    assert lines[1:] == [str((1, epoch, 0.0, 7 ** (1 / (epoch + 1)))) for epoch in range(90)]


def version(files: tuple[Path, Path]) -> str:
    return files[0].name.split("-")[1]


def test_without_the_others_core_says_what_to_install(built: dict[str, tuple[Path, Path]], python: Path) -> None:
    install(python, built, "sqltrack-core")
    code = "import sqltrack.commands\ntry: sqltrack.commands.main()\nexcept ImportError as error: print(error)"
    assert "requires 'sqltrack-cli'; install it with: pip install sqltrack-cli" in run(python, "-c", code)
    code = "import sqltrack\ntry: sqltrack.Client()\nexcept ImportError as error: print(error)"
    assert "install it with: pip install 'sqltrack-core[postgres]'" in run(python, "-c", code)


@pytest.mark.parametrize("requirement", BRINGS)
def test_each_distribution_brings_what_it_and_its_extras_need(
    built: dict[str, tuple[Path, Path]], equipped_python: Path, requirement: str
) -> None:
    install(equipped_python, built, requirement)
    assert installed(equipped_python) == BRINGS[requirement]
    assert [name for name in BRINGS[requirement] if not works(equipped_python, name)] == []
    assert complaints(equipped_python) == []


@pytest.mark.parametrize("name", CONTENTS)
def test_one_that_goes_leaves_the_others_working(
    built: dict[str, tuple[Path, Path]], equipped_python: Path, name: str
) -> None:
    install(equipped_python, built, "sqltrack[full]")
    pip(equipped_python, "uninstall", "--yes", name)
    left = [other for other in CONTENTS if name not in NEEDS[other]]
    assert [other for other in left if not works(equipped_python, other)] == []
    needing = {line.split()[0] for line in complaints(equipped_python) if f"requires {name}, which is not" in line}
    assert needing == {other for other in CONTENTS if name in declared(built[other][0])}


def works(python: Path, name: str) -> bool:
    code, expected = WORKS[name]
    return expected in run(python, "-c", code)


def complaints(python: Path) -> list[str]:
    """What pip says of ours that does not fit together; others may quarrel in the environment of the tests."""
    command = [sys.executable, "-m", "pip", "--python", str(python), "check"]
    lines = subprocess.run(command, capture_output=True, text=True).stdout.splitlines()
    return [line for line in lines if line.startswith("sqltrack")]


def declared(wheel: Path) -> set[str]:
    """Names of all that a distribution needs without extras."""
    requirements = metadata(wheel).get_all("Requires-Dist", [])
    return {Requirement(text).name for text in requirements if Requirement(text).marker is None}


def metadata(wheel: Path) -> Message:
    return email.message_from_bytes(
        next(text for name, text in content(wheel).items() if name.endswith(".dist-info/METADATA"))
    )


def test_satellites_merge_with_core_when_installed_editable() -> None:
    code = (
        "import sqltrack, sqltrack.args, sqltrack.cli, sqltrack.commands.setup, sqltrack.notebook, sqltrack.pandas;"
        "print(sqltrack.Client.__name__)"
    )
    assert run(Path(sys.executable), "-c", code) == "Client\n"
