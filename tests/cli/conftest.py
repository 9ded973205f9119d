"""The program, as users start it, and databases for it."""

from __future__ import annotations

import contextlib
import importlib
import os
import pty
import re
import select
import shutil
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import sqltrack
from sqltrack.commands.setup import set_up_quietly
from support.old_runs import LONG_AGO, Start
from support.processes import running
from support.program import PROGRAM, connection, one_line_error, options, parquet, program

__all__ = [
    "PROGRAM",
    "Create",
    "connection",
    "in_terminal",
    "main_in_terminal",
    "one_line_error",
    "options",
    "parquet",
    "program",
    "set_free_space",
    "wait_until_it_waits",
]

EXAMPLES = Path(__file__).parents[2] / "examples"

Create = Callable[[str], sqltrack.Client]


@pytest.fixture
def sql_options(options: list[str], client: sqltrack.Client, engine_name: str) -> list[str]:
    """The same for commands that take SQL; on old servers the tests' superuser needs an option to use them."""
    if engine_name != "postgres":
        return options
    with client as connection:
        is_old = connection.info.server_version < 140000
    return [*options, "--as-superuser"] if is_old else options


@pytest.fixture
def create(request: pytest.FixtureRequest, tmp_path: Path) -> Create:
    """Create further databases after setup, on the named engine; where only SQLite is tested, on SQLite."""
    number = iter(range(100))
    engines = request.config.getoption("--engines")

    def make(engine: str) -> sqltrack.Client:
        if engine == "postgres" and "postgres" in engines:
            template = request.getfixturevalue("postgres_template")
            return sqltrack.Client(request.getfixturevalue("create_database")(template))
        client = sqltrack.Client({"engine": "sqlite", "dbpath": str(tmp_path / f"other_{next(number)}.db")})
        set_up_quietly(client)
        return client

    return make


@pytest.fixture
def target(engine_name: str, create: Create) -> sqltrack.Client:
    """A database of the other engine."""
    return create("postgres" if engine_name == "sqlite" else "sqlite")


@pytest.fixture
def generated(client: sqltrack.Client, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Ids of made-up runs in that database."""
    monkeypatch.syspath_prepend(EXAMPLES)
    run_ids: list[int] = importlib.import_module("generate_experiment_data").generate(client, runs=70, epochs=6)
    return run_ids


@pytest.fixture
def no_pyarrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if pyarrow were not installed."""
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    monkeypatch.delitem(sys.modules, "sqltrack.commands._parquet", raising=False)


def in_terminal(code: str, typed: str = "", **variables: str) -> str:
    """Return the output of code in a terminal of 80 columns.

    Args:
        code: Python code.
        typed: the typed input; a line that begins with Ctrl-D ends it.
        variables: variables of its environment.
    """
    leader, follower = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", **variables}
    files = dict.fromkeys(("stdin", "stdout", "stderr"), follower)
    with running([sys.executable, "-c", code], **files, env=environment) as process:
        os.close(follower)
        os.write(leader, typed.encode())
        shown = b""
        while select.select([leader], [], [], 60)[0]:
            try:
                part = os.read(leader, 65536)
            except OSError:
                break
            if not part:
                break
            shown += part
        process.wait(timeout=60)
    os.close(leader)
    return shown.decode()


def main_in_terminal(*arguments: str, typed: str = "", **variables: str) -> list[str]:
    """Return the lines that the program prints in a terminal, without colors; see `in_terminal`."""
    code = f"import sys; from sqltrack.cli import main; sys.exit(main({list(arguments)!r}))"
    shown = in_terminal(code, typed, **variables).replace("\r", "")
    return re.sub(r"\x1b\[[\d;]*m", "", shown).splitlines()


def wait_until_it_waits(pid: int, config: dict[str, Any]) -> None:
    """Wait until a process waits for a server's lock or, on Linux, sleeps with the database file open."""
    import psycopg

    parameters = {name: value for name, value in config.items() if name not in ("engine", "dbpath")}
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if config["engine"] == "sqlite":
            files = []
            for file in Path(f"/proc/{pid}/fd").iterdir():
                # The descriptor was closed in the meantime.
                with contextlib.suppress(OSError):
                    files.append(os.path.realpath(file))
            if config["dbpath"] in files and _sleeps(pid):
                return
        else:
            with psycopg.connect(**parameters) as other:
                if other.execute("SELECT FROM pg_locks WHERE NOT granted").fetchall():
                    return
        time.sleep(0.02)
    pytest.fail("it does not wait")


def _sleeps(pid: int) -> bool:
    """Return whether a process sleeps for a while, and does not just wait for the CPU."""
    for _ in range(10):
        if Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "S":
            return False
        time.sleep(0.01)
    return True


@pytest.fixture
def plenty_of_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests must not depend on the free space of the machine."""
    set_free_space(monkeypatch, 10**12)


def set_free_space(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    class Usage(NamedTuple):
        free: int

    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(free))


@pytest.fixture
def start(experiment: sqltrack.Experiment) -> Start:
    """Return a function that creates a run with an environment and a time of its last update."""

    def start(updated: datetime = LONG_AGO, status: str = "RUNNING", **env: Any) -> sqltrack.Run:
        run = experiment.get_run().set_env(env).set_created(LONG_AGO).set_started(LONG_AGO)
        return run.set_updated(updated).set_status(status)

    return start
