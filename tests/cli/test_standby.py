"""Commands that read work on a standby. Commands that change something say that it is read-only, and change nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

import sqltrack
import sqltrack.notebook
import sqltrack.pandas
from plugins.postgres_server import PostgresServer
from plugins.standby_server import StandbyServer, wait_until_copied
from sqltrack import Experiment, queries
from sqltrack.cli import main
from sqltrack.commands.setup import set_up_quietly
from support.dumps import dump

from .conftest import connection

pytestmark = [pytest.mark.engines("postgres"), pytest.mark.not_pooled("it starts its own servers")]

READING = [
    "ls",
    "runs",
    "runs --best loss --json --as-superuser",
    "show 1",
    "diff 1 2",
    "metrics 1 2 --merged",
    "metrics 1 --format csv",
    "seeds loss --any-status --as-superuser",
    "sql --as-superuser --json|SELECT * FROM metrics",
    "config",
    "export --output {folder}/out --as-superuser",
    "setup",
    "rm 1 --dry-run",
    "gc --dry-run --status FAILED",
    "mv 1 f --dry-run",
    "tidy --dry-run",
    "reap --older-than 1d --dry-run",
    "rename-metric loss new --dry-run",
]

WRITING = [
    "tag 1 --add new --yes",
    "comment 1 new --yes",
    "rename e new --yes",
    "mv 1 f --yes",
    "rm 1 --yes",
    "link 1 resumes 2 --yes",
    "gc --status COMPLETED --yes",
    "tidy --yes",
    "rename-metric loss new --yes",
    "rewind 1 1 --yes",
    "reap --older-than 1d --yes",
]


@pytest.fixture(scope="module")
def standby(server_binaries: Path) -> Iterator[dict[str, Any]]:
    """Configuration of a standby with three runs, of which one is RUNNING without a process."""
    with PostgresServer(server_binaries) as primary, StandbyServer(primary) as standby:
        client = sqltrack.Client(config_of(primary))
        set_up_quietly(client)
        for name in ("e", "e", "f"):
            run = Experiment(client, name=name).get_run()
            with run.track():
                run.add_args({"seed": run.id})
                for step in range(3):
                    run.add_metrics({"loss": step / 2, "n" * 70: step}, step=step)
        times = ("time_created", "time_started", "time_updated")
        old = ", ".join(f"{name} = now() - interval '9 days'" for name in times)
        client.execute(f"UPDATE runs SET status = 'RUNNING', {old} WHERE id = 3")
        client.execute("UPDATE metrics SET extras = extras || '{\"late\": 1}'")
        wait_until_copied(primary, standby)
        yield config_of(standby)


def config_of(server: PostgresServer) -> dict[str, Any]:
    return {"engine": "postgres", **psycopg.conninfo.conninfo_to_dict(server.dsn)}


def arguments_of(command: str, config: dict[str, Any], folder: Path) -> list[str]:
    words, *sql = command.replace("{folder}", str(folder)).split("|")
    name, *rest = words.split()
    return [name, *connection(config), *rest, *sql]


@pytest.mark.parametrize("command", READING)
def test_commands_that_read_work(
    command: str, standby: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(arguments_of(command, standby, tmp_path))
    output = capsys.readouterr()
    assert status == 0, output.err
    assert output.out or output.err


@pytest.mark.parametrize("command", WRITING)
def test_commands_that_change_something_refuse(
    command: str, standby: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = dump(sqltrack.Client(standby))
    status = main(arguments_of(command, standby, tmp_path))
    errors = capsys.readouterr().err
    assert status == 1
    assert "is read-only: cannot execute" in errors
    assert dump(sqltrack.Client(standby)) == before


def test_frames_and_tables_read_a_standby(standby: dict[str, Any]) -> None:
    client = sqltrack.Client(standby)
    frame = sqltrack.pandas.query_dataframe(client, "SELECT run_id, step, loss FROM metrics ORDER BY run_id, step")
    assert len(frame) == 9
    best = client.execute(queries.best_values("loss").sql).fetchall()
    assert sorted((run_id, loss) for run_id, _, _, loss in best) == [(1, 1.0), (2, 1.0), (3, 1.0)]
    assert sqltrack.Run(client, run_id=1).experiment_id == Experiment(client, name="e").id


def test_tables_of_a_notebook_read_a_standby(standby: dict[str, Any]) -> None:
    client = sqltrack.Client(standby)
    assert "0.5" in sqltrack.pandas.query_dataframe(client, "SELECT loss FROM metrics WHERE step = 1").to_html()
    assert "seed" in sqltrack.notebook.compare_runs(client, 1, 2).to_string()


def test_a_copy_of_a_standby_is_complete(
    standby: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "standby.conf"
    source.write_text("".join(f"{name} = {value}\n" for name, value in standby.items()))
    assert main(["copy", str(source), str(tmp_path / "copy.db"), "--setup", "--as-superuser"]) == 0
    copied = sqltrack.Client(str(tmp_path / "copy.db"))
    assert copied.execute("SELECT COUNT(*), SUM(loss) FROM metrics").fetchall() == [(9, 4.5)]
