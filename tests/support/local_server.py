"""Let the tests' server stand in for one that a reader of the documentation has just installed."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import metadata
from pathlib import Path

import psycopg

from support.typed_pages import install_program

__all__ = ["install_pip", "install_sudo", "renamed", "without_names"]

_DISTRIBUTIONS = (
    *("sqltrack", "sqltrack-core", "sqltrack-cli", "sqltrack-args"),
    *("sqltrack-notebook", "sqltrack-integrations", "sqltrack-ui", "sqltrack-import"),
)

# The programs that `sudo` may run; psql is replaced if it is missing.
_SUDO = """
import os, sys
arguments = sys.argv[1:]
if arguments == ["apt", "install", "postgresql"]:
    sys.exit()
if arguments[:3] != ["-u", "postgres", "psql"]:
    sys.exit(f"sudo: not expected: {{arguments}}")
rest = [word for word in arguments[3:] if word != "--quiet"]
database = rest[0] if rest else "postgres"
os.environ.update(PGUSER={user!r}, PGDATABASE=database)
if {psql!r}:
    os.execv({psql!r}, ["psql", *arguments[3:]])
command = [{program!r}, "execute", "--user", {user!r}, "--dbname", database, "--engine", "postgres"]
if "--quiet" in arguments:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
os.execv(command[0], command)
"""

_PIP = """
import re, sys
known = {known!r}
for word in sys.argv[2:]:
    name, _, extra = word.removeprefix("./packages/").rstrip("]").partition("[")
    if name.startswith("sqltrack") and (name not in known or extra and extra not in known[name]):
        sys.exit(f"pip: there is no {{word}}")
if sys.argv[1] not in ("install", "wheel"):
    sys.exit(f"pip: not expected: {{sys.argv[1:]}}")
"""


def install_sudo(folder: Path, dsn: str) -> dict[str, str]:
    """Put a `sudo` into a folder that lets psql connect as the superuser of a server.

    Returns:
        Environment variables for programs to reach the server as if it were local.
    """
    parameters = psycopg.conninfo.conninfo_to_dict(dsn)
    psql, program = shutil.which("psql") or "", str(Path(sys.executable).with_name("sqltrack"))
    install_program(folder, "sudo", _SUDO.format(user=parameters["user"], psql=psql, program=program))
    return {f"PG{name.upper()}": str(parameters[name]) for name in ("host", "port", "password") if name in parameters}


def install_pip(folder: Path) -> None:
    """Put a `pip` into a folder that installs nothing, and refuses unknown distributions and extras."""
    known = {name: metadata(name).get_all("Provides-Extra") or [] for name in _DISTRIBUTIONS}
    install_program(folder, "pip", _PIP.format(known=known))


def renamed(*names: str) -> dict[str, str]:
    """Return names for users and databases that are unique on the server."""
    return {name: f"{name}{os.getpid()}" for name in names}


@contextlib.contextmanager
def without_names(dsn: str, names: Sequence[str]) -> Iterator[None]:
    """Drop databases and users of these names at the end of the `with` block."""
    try:
        yield
    finally:
        with psycopg.connect(dsn, autocommit=True) as connection:
            for kind, options in (("DATABASE", psycopg.sql.SQL("WITH (FORCE)")), ("ROLE", psycopg.sql.SQL(""))):
                for name in names:
                    connection.execute(
                        psycopg.sql.SQL("DROP {} IF EXISTS {} {}").format(
                            psycopg.sql.SQL(kind), psycopg.sql.Identifier(name), options
                        )
                    )
