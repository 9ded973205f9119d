"""`sqltrack ls` lists experiments."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack.cli import main
from sqltrack.commands.ls import list_experiments
from support.connections import on_one_connection
from support.processes import Program

NOW = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


@pytest.fixture
def client(client: sqltrack.Client) -> sqltrack.Client:
    """Three experiments: updated long ago, updated recently, without runs."""
    with on_one_connection(client):
        old = sqltrack.Experiment(client, name="old").set_tags("paper").set_comment("the \x1b[31mfirst")
        old.get_run(1).set_status("COMPLETED").set_created(NOW - timedelta(days=9)).set_updated(NOW - timedelta(days=8))
        new = sqltrack.Experiment(client, name="new")
        for run_id, status in enumerate(("RUNNING", "RUNNING", "FAILED"), start=2):
            new.get_run(run_id).set_status(status).set_created(NOW - timedelta(days=run_id)).set_updated(NOW)
        sqltrack.Experiment(client, name="empty")
    return client


def test_experiments_are_listed_with_their_runs_the_last_updated_first(client: sqltrack.Client) -> None:
    new, old, empty = list_experiments(client)
    assert (new["name"], new["runs"], new["running"], new["updated"]) == ("new", 3, 2, NOW)
    assert (old["name"], old["runs"], old["running"], old["updated"]) == ("old", 1, 0, NOW - timedelta(days=8))
    assert (old["tags"], old["comment"]) == ({"paper": True}, "the \x1b[31mfirst")
    assert empty == {
        "id": 3,
        "name": "empty",
        "runs": 0,
        "running": 0,
        "updated": None,
        "tags": None,
        "comment": None,
    }


def test_a_run_that_never_said_a_thing_counts_by_its_creation(client: sqltrack.Client) -> None:
    sqltrack.Experiment(client, name="empty").get_run(9).set_created(NOW + timedelta(days=1))
    assert list_experiments(client)[0]["updated"] == NOW + timedelta(days=1)


def test_the_table_has_a_line_for_each_and_nothing_that_a_terminal_obeys(
    client: sqltrack.Client, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ls", *options]) == 0
    head, _, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["id", "name", "runs", "running", "updated", "tags", "comment"]
    assert [line.split()[1] for line in lines] == ["new", "old", "empty"]
    assert r"the \x1b[31mfirst" in lines[1]
    assert "\x1b" not in "".join(lines)


def test_json_holds_the_same(client: sqltrack.Client, options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main(["ls", "--json", *options])
    listed: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    assert [item["name"] for item in listed] == ["new", "old", "empty"]
    assert listed[0]["updated"] == "2026-03-01T12:00:00+00:00"
    assert listed[1]["tags"] == {"paper": True}


def test_without_experiments_it_says_so(options: list[str], program: Program) -> None:
    done = program("ls", *options)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "there are no experiments yet\n")
    assert program("ls", "--json", *options).stdout == "[]\n"


def test_a_database_that_is_not_set_up_is_one_line(empty_config: dict[str, Any], program: Program) -> None:
    from_config = [word for name, value in empty_config.items() for word in (f"--{name}", str(value))]
    done = program("ls", *from_config)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "sqltrack setup" in done.stderr


def test_a_server_that_cannot_be_reached_is_one_line(program: Program) -> None:
    done = program("ls", "--engine", "postgres", "--host", "127.0.0.1", "--port", "1")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "cannot connect" in done.stderr


@pytest.mark.parametrize("arguments", [["ls"], ["runs"], ["show", "1"], ["metrics", "1"], ["sql", "SELECT 1"]])
def test_a_file_that_is_not_there_is_not_created(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "typo.db"
    assert main([*arguments, "--engine", "sqlite", "--dbpath", str(file)]) == 1
    output = capsys.readouterr()
    assert (output.out, output.err.count("\n")) == ("", 1)
    assert str(file) in output.err
    assert "does not exist" in output.err
    assert not file.exists()
