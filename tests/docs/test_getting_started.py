"""The commands on the page for beginners print the output that the page shows."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from plugins.postgres_server import PostgresServer
from support.local_server import install_pip, install_sudo, renamed, without_names
from support.pages import ROOT, Block, read_blocks
from support.typed_pages import file_name, fits, section_blocks, type_blocks

pytestmark = pytest.mark.guides

PAGE = ROOT / "docs" / "getting-started.md"
SQLITE = "SQLite in two minutes"
OWN_MACHINE = "On your own machine"
GIVEN_SERVER = "On a server that you were given"
OVER_NETWORK = "With a password"
CLUSTER = "On a cluster"
TYPED = (SQLITE, "PostgreSQL in ten minutes", CLUSTER)

Type = Callable[..., str]


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, str]:
    """The environment of a user with an empty home and an empty folder, who has the program."""
    programs, home, folder = (tmp_path / name for name in ("programs", "home", "folder"))
    for path in (programs, home, folder):
        path.mkdir()
    os.chdir(folder)
    install_pip(programs)
    path = os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]])
    return {"HOME": str(home), "PATH": path}


@pytest.fixture
def type_on_server(postgres_server: Any, variables: dict[str, str], tmp_path: Path) -> Iterator[Type]:
    """Type blocks as Alice, on the machine of the server, with names that only she uses."""
    own = renamed("alice", "bob", "experiments")
    at_server = install_sudo(tmp_path / "programs", postgres_server.dsn)

    def type_them(blocks: list[Block]) -> str:
        names = {**own, "postgres.example.org": at_server["PGHOST"]}
        users = {"USER": own["alice"], "LOGNAME": own["alice"]}
        # Space for the host, which is the path of a socket and may be long.
        wide = {"COLUMNS": "200"}
        return type_blocks(blocks, "postgres", names=names, **variables, **at_server, **users, **wide)

    with without_names(postgres_server.dsn, list(own.values())):
        yield type_them


def script() -> list[Block]:
    """Return the block of the script that all sections use."""
    return [block for block in read_blocks(PAGE) if file_name(block) == "train.py"]


def test_sqlite_in_two_minutes(variables: dict[str, str]) -> None:
    assert type_blocks(section_blocks(PAGE, SQLITE), "sqlite", **variables) == ""
    assert Path("sqltrack.db").exists()


def test_postgres_on_the_own_machine_shows_what_sqlite_showed(type_on_server: Type) -> None:
    looking = section_blocks(PAGE, SQLITE)
    begin = next(number for number, block in enumerate(looking) if block.code.startswith("sqltrack runs"))
    assert type_on_server([*script(), *section_blocks(PAGE, OWN_MACHINE), *looking[begin:]]) == ""


def test_postgres_on_a_server_that_was_given(type_on_server: Type) -> None:
    blocks = [*script(), *section_blocks(PAGE, GIVEN_SERVER)]
    created = next(number for number, block in enumerate(blocks) if "tee create.sql" in block.code)
    # The administrator of the server executes the statements.
    execute = Block("console", "sudo -u postgres psql --quiet < create.sql\n", 0, ("postgres",))
    assert type_on_server([*blocks[: created + 2], execute, *blocks[created + 2 :]]) == ""


@pytest.fixture
def type_with_passwords(server_binaries: Path, variables: dict[str, str], tmp_path: Path) -> Iterator[Type]:
    """The same with a server that asks all users from the network for a password, by scram-sha-256."""
    with PostgresServer(server_binaries, {"password_encryption": "scram-sha-256"}) as server:
        hba = server.data_dir / "pg_hba.conf"
        hba.write_text("local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
        server.restart()
        at_server = install_sudo(tmp_path / "programs", server.dsn)
        sudo = tmp_path / "programs" / "sudo"
        # The administrator connects by the socket, others over the network, at the port of this server.
        sudo.write_text(
            sudo.read_text().replace("os.environ.update(", f"os.environ.update(PGHOST={at_server['PGHOST']!r}, ")
        )
        port = at_server["PGPORT"]

        def type_them(blocks: list[Block]) -> str:
            names = {"postgres.example.org": "127.0.0.1", "5432": port}
            users = {"USER": "alice", "LOGNAME": "alice", "PGPORT": port}
            return type_blocks(blocks, "postgres", names=names, **variables, **users)

        yield type_them


def test_postgres_with_a_password(type_with_passwords: Type) -> None:
    config = [block for block in section_blocks(PAGE, GIVEN_SERVER) if file_name(block) == "sqltrack.conf"]
    assert type_with_passwords([*config, *section_blocks(PAGE, OVER_NETWORK)]) == ""
    assert Path("../home/.pgpass").stat().st_mode & 0o077 == 0


def test_a_database_for_a_group(type_with_passwords: Type) -> None:
    assert type_with_passwords([*script(), *section_blocks(PAGE, CLUSTER)]) == ""


def test_every_command_of_the_page_is_typed() -> None:
    typed = {block.line for block in section_blocks(PAGE, *TYPED)}
    everything = {block.line for block in read_blocks(PAGE, "console")}
    assert everything <= typed
    remove = next(block for block in read_blocks(PAGE, "console") if block.code == "rm sqltrack.conf\n")
    in_subsections = {
        block.line for block in section_blocks(PAGE, SQLITE, OWN_MACHINE, GIVEN_SERVER, OVER_NETWORK, CLUSTER)
    }
    assert everything - in_subsections == {remove.line}


@pytest.mark.parametrize(
    ("shown", "expected", "is_right"),
    [
        ("a  b\n─────\n1  2\n", "a b\n───\n1 2\n", True),
        ("took 3 s\n", "took … s\n", True),
        ("took 3 m\n", "took … s\n", False),
        ("1\n2\n3\n", "1\n…\n3\n", True),
        ("1\n3\n", "1\n…\n3\n", True),
        ("1\n2\n", "1\n…\n3\n", False),
        ("1\n2\n", "1\n", False),
    ],
)
def test_the_output_is_compared_line_by_line(shown: str, expected: str, is_right: bool) -> None:
    assert fits(shown, expected) is is_right


def test_other_output_and_failing_commands_are_found(variables: dict[str, str]) -> None:
    Path("page.md").write_text(
        "## A\n```console\necho 1\n```\n\n```text\n2\n```\n\n```console\nfalse | cat\n```\n\n```console\necho 3\n```\n",
        encoding="utf-8",
    )
    wrong = type_blocks(section_blocks(Path("page.md"), "A"), "sqlite", **variables)
    assert re.findall(r"^(?:line|exit) .*", wrong, re.M) == ["line 3 prints", "exit status 1 in the block at line 11: "]
