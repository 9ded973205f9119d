"""`sqltrack tidy` as a command: its questions and its output, and that a dry run changes nothing."""

from __future__ import annotations

import json
import subprocess

import pytest

import sqltrack
from sqltrack.cli import main
from sqltrack.commands.tidy import plan_tidy
from sqltrack.engines.json import Jsonb
from support.dumps import dump
from support.extras import add_extras
from support.processes import Program
from support.questions import CTRL_C, answer

pytestmark = pytest.mark.one_engine


def test_a_table_lists_moved_metrics_and_why_others_were_not(
    client: sqltrack.Client, run: sqltrack.Run, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    add_extras(client, run.id, {0: {"loss": 0.5, "mixed\x1b[2J": 1}, 1: {"mixed\x1b[2J": "x"}})
    assert main(["tidy", "--yes", *options]) == 0
    output = capsys.readouterr()
    assert "\x1b" not in output.out
    assert output.err == "1 value moved\n"
    head, _, loss, mixed, why = output.out.splitlines()
    assert head.split() == ["name", "values", "column", "change", "moved", "superseded"]
    assert (loss.split()[:2], loss.split()[-3:]) == (["loss", "1"], ["add", "1", "0"])
    assert mixed.split()[-4:] == ["--", "--", "0", "0"]
    assert why == r"mixed\x1b[2J: values stay, its values are of different types (int, str)"
    assert main(["tidy", *options]) == 0
    assert capsys.readouterr().err == "nothing can be moved\n"


def test_where_all_metrics_are_in_columns_there_is_no_table(
    run: sqltrack.Run, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    run.add_metrics({"loss": 0.5}, 0)
    assert main(["tidy", *options]) == 0
    assert capsys.readouterr() == ("", "all metrics are in columns\n")


def test_json_holds_the_same(
    client: sqltrack.Client, run: sqltrack.Run, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    add_extras(client, run.id, {0: {"loss": 0.5}})
    assert main(["tidy", "--json", "--yes", *options]) == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert (record["name"], record["values"], record["moved"], record["why"]) == ("loss", 1, 1, None)
    assert main(["tidy", "--json", *options]) == 0
    output = capsys.readouterr()
    assert (output.out, output.err) == ("[]\n", "all metrics are in columns\n")


def test_a_dry_run_changes_nothing(
    client: sqltrack.Client, run: sqltrack.Run, options: list[str], engine_name: str
) -> None:
    add_extras(client, run.id, {0: {"loss": 0.5}})
    if engine_name == "postgres":
        sql = "INSERT INTO metrics_pending (run_id, step, progress, extras) VALUES (%s, 0, 0, %s)"
        client.execute(sql, (run.id, Jsonb({"waiting": 1})))
    before = dump(client)
    assert main(["tidy", "--dry-run", *options]) == 0
    names = {item.name for item in plan_tidy(client)}
    assert names == {"loss"} | ({"waiting"} if engine_name == "postgres" else set())
    assert dump(client) == before


@pytest.mark.engines("postgres")
def test_a_dry_run_says_that_pending_metrics_would_be_moved(
    client: sqltrack.Client, run: sqltrack.Run, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    sql = "INSERT INTO metrics_pending (run_id, step, progress, extras) VALUES (%s, 0, 0, %s)"
    client.execute(sql, (run.id, Jsonb({"run_id": 1})))
    assert main(["tidy", "--dry-run", *options]) == 0
    assert capsys.readouterr().err == "pending metrics would be moved to extras\n"


@pytest.mark.parametrize(("text", "status"), [("y", 0), ("n", 1), (CTRL_C, 130)])
def test_it_obeys_the_answer(
    client: sqltrack.Client, run: sqltrack.Run, options: list[str], text: str | None, status: int
) -> None:
    add_extras(client, run.id, {0: {"loss": 0.5}})
    before = dump(client)
    returned, _, errors = answer(["tidy", *options], text)
    assert returned == status, errors
    assert "move 1 metric? [y/N]" in errors
    assert (dump(client) == before) == (status != 0)


def test_without_a_terminal_nothing_is_done(
    client: sqltrack.Client, run: sqltrack.Run, options: list[str], program: Program
) -> None:
    add_extras(client, run.id, {0: {"loss": 0.5}})
    before = dump(client)
    done = program("tidy", *options, stdin=subprocess.DEVNULL)
    assert done.returncode == 1
    assert "--yes" in done.stderr
    assert dump(client) == before


def test_a_word_too_many_is_one_line(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as failure:
        main(["tidy", "loss", *options])
    assert failure.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
