"""The instructions for operators on the page about databases work."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from plugins.postgres_binaries import major_of
from support.local_server import install_sudo, renamed, without_names
from support.pages import ROOT, Block, read_blocks
from support.typed_pages import file_name, section_blocks, type_blocks

pytestmark = pytest.mark.guides

PAGE = ROOT / "docs" / "database.md"
GETTING_STARTED = ROOT / "docs" / "getting-started.md"
DUMP = "PostgreSQL"
SIZES = "Disk space"
ROWS = 5000

Type = Callable[[list[Block]], str]


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, str]:
    """The environment of a user with an empty home and an empty folder, who has the program."""
    for name in ("programs", "home", "folder"):
        (tmp_path / name).mkdir()
    os.chdir(tmp_path / "folder")
    path = os.pathsep.join([str(tmp_path / "programs"), str(Path(sys.executable).parent), os.environ["PATH"]])
    return {"HOME": str(tmp_path / "home"), "PATH": path}


@pytest.fixture
def type_as_owner(
    engine_name: str, request: pytest.FixtureRequest, variables: dict[str, str], tmp_path: Path
) -> Iterator[Type]:
    """Type blocks as Alice, who has a database before setup, and three runs in a file next to it."""
    runs = console("SQLTRACK_DSN_ENGINE=sqlite SQLTRACK_DSN_DBPATH=laptop.db python train.py > /dev/null")
    if engine_name == "sqlite":
        config = "# sqltrack.conf\nengine = sqlite\n"
        yield lambda blocks: type_blocks([ini(config), script(), runs, *blocks], engine_name, **variables)
        return
    server = request.getfixturevalue("postgres_server")
    own = renamed("alice", "bob", "carol", "experiments", "restored")
    at_server = install_sudo(tmp_path / "programs", server.dsn)
    config = "# sqltrack.conf\nhost = postgres.example.org\nuser = alice\ndbname = experiments\n"
    users = console(
        "(sqltrack create; sqltrack create --user bob --no-db; sqltrack create --user carol --no-db)"
        " | sudo -u postgres psql --quiet"
    )

    def type_them(blocks: list[Block]) -> str:
        names = {**own, "postgres.example.org": at_server["PGHOST"]}
        before = [ini(config), script(), users, runs]
        return type_blocks([*before, *blocks], engine_name, names=names, **variables, **at_server)

    with without_names(server.dsn, list(own.values())):
        yield type_them


def console(code: str) -> Block:
    """Return a block that is typed though it is not on the page."""
    return Block("console", f"{code}\n", 0, ("sqlite", "postgres"))


def ini(code: str) -> Block:
    return Block("ini", code, 0, ("sqlite", "postgres"))


def script() -> Block:
    """Return the script that stores three runs of 30 rows each."""
    return next(block for block in read_blocks(GETTING_STARTED) if file_name(block) == "train.py")


def with_runs(blocks: list[Block]) -> list[Block]:
    """Return blocks that continue with runs; the first block sets up the database."""
    assert blocks[0].code == "sqltrack setup\n"
    return [*blocks[:2], console("python train.py 2> /dev/null"), *blocks[2:]]


def test_the_commands_of_the_page_print_its_output(type_as_owner: Type) -> None:
    dump = {block.line for block in section_blocks(PAGE, DUMP)}
    assert type_as_owner(with_runs([block for block in read_blocks(PAGE) if block.line not in dump])) == ""


@pytest.mark.engines("postgres")
def test_a_dump_is_restored_as_shown(type_as_owner: Type, postgres_server: Any) -> None:
    program = shutil.which("pg_dump")
    if program is None:
        pytest.skip("pg_dump is not installed")
    version = subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout
    if int(re.findall(r"\d+", version)[0]) < major_of(postgres_server.version):
        pytest.skip(f"pg_dump is older than the server: {version}")
    assert type_as_owner([*with_runs(read_blocks(PAGE)[:2]), *section_blocks(PAGE, DUMP)]) == ""


@pytest.mark.parametrize("metrics", [1, 10, 100])
def test_a_row_is_as_large_as_the_page_says(
    metrics: int, engine_name: str, client: sqltrack.Client, config: dict[str, Any]
) -> None:
    numbers = random.Random(1)
    experiment = sqltrack.Experiment(client, name="e")
    experiment.get_run().add_metrics({f"m{n}": 0.5 for n in range(metrics)}, step=0)
    empty = size_of(client, config)
    for _ in range(2):
        rows = ({"step": step, **{f"m{n}": numbers.random() for n in range(metrics)}} for step in range(ROWS // 2))
        experiment.get_run().add_metrics_many(rows)
    size = size_of(client, config) - empty
    print("SIZE", engine_name, metrics, size / ROWS)
    told = {int(cells[0]): cells[1:] for cells in size_table() if cells[0].isdigit()}
    assert size / ROWS == pytest.approx(float(told[metrics][engine_name == "postgres"]), rel=0.15)


def size_of(client: sqltrack.Client, config: dict[str, Any]) -> int:
    """Return the size of the metrics in bytes, or of the whole file."""
    if config["engine"] == "sqlite":
        client.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return os.path.getsize(config["dbpath"])
    (size,) = client.execute("SELECT pg_total_relation_size('metrics')").fetchone()
    return int(size)


def size_table() -> list[list[str]]:
    text = PAGE.read_text(encoding="utf-8").partition(f"## {SIZES}\n")[2].partition("\n## ")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in re.findall(r"^\|.*\|$", text, re.M)]


def test_the_table_of_whole_databases_follows_from_the_one_of_rows() -> None:
    per_row = {int(cells[0]): list(map(float, cells[1:])) for cells in size_table() if cells[0].isdigit()}
    rows = [cells for cells in size_table() if cells[0].endswith("metrics") and "×" in cells[0]]
    assert len(rows) == 4
    for what, *told in rows:
        runs, steps, metrics = (int(number) for number in re.findall(r"\d+", what.replace(",", "")))
        for size, each in zip(told, per_row[metrics]):
            number, unit = size.split()
            expected = runs * steps * each / {"MB": 1e6, "GB": 1e9}[unit]
            assert float(number) == pytest.approx(expected, rel=0.05)


def test_the_number_of_connections_follows_from_the_formula() -> None:
    text = PAGE.read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| (every second|once a minute) \| (\d+) \|$", text, re.M)
    assert len(rows) == 3
    for jobs, how_often, told in rows:
        seconds = {"every second": 1, "once a minute": 60}[how_often]
        assert int(told) == round(int(jobs) * min(1, 5 / seconds))
