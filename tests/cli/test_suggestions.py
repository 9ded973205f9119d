"""Unknown commands and options lead to a suggestion of existing ones, in one line."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

import sqltrack
from sqltrack.cli import _suggestions, main
from sqltrack.cli._parser import build_parser
from sqltrack.commands import setup
from sqltrack.commands.export import export
from sqltrack.errors import UnusableValueError

LINES = {
    "../j.db": "'../j.db' is not a command; for a SQLite file: sqltrack --dbpath ../j.db runs",
    "runs.sqlite ls": "'runs.sqlite' is not a command; for a SQLite file: sqltrack --dbpath runs.sqlite runs",
    "postgresql://alice:secret@h/db runs": "an address is not a command; name the database by",
    "list": "there is no command 'list'; use: sqltrack ls",
    "server": "there is no command 'server'; use: sqltrack ui",
    "compare 1 2": "there is no command 'compare'; use: sqltrack diff",
    "delete 1": "there is no command 'delete'; use: sqltrack rm",
    "help": "there is no command 'help'; use: sqltrack --help",
    "plot 1": "there is no command 'plot'; use: sqltrack metrics RUN --plot",
    "status": "there is no command 'status'; use: sqltrack runs",
    "Runs": "there is no command 'Runs'; use: sqltrack runs",
    "rusn": "there is no command 'rusn'; use: sqltrack runs",
    "qwertz": "there is no command 'qwertz'; see: sqltrack --help",
    "--db x.db runs": "there is no option --db; did you mean --dbpath?",
    "--db=x.db runs": "there is no option --db; did you mean --dbpath?",
    "--engine sqlite --db x.db runs": "there is no option --db; did you mean --dbpath?",
    "runs --db x.db": "there is no option --db; did you mean --dbpath?",
    "runs --username alice": "there is no option --username; did you mean --user?",
    "runs --limt 3": "there is no option --limt; did you mean --limit?; see: sqltrack runs --help",
    "--password secret runs": "there is no option --password; put a password in ~/.pgpass or PGPASSWORD",
    "runs --uri postgresql://alice:secret@h/db": "there is no option --uri; name the database by",
    "runs digits mnist": "unexpected argument: 'mnist'",
}


@pytest.mark.parametrize("line", LINES)
def test_a_wrong_command_line_leads_to_the_right_one(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(line.split())
    error = capsys.readouterr().err
    assert (ended.value.code, error.count("\n")) == (2, 1)
    assert error.startswith(f"sqltrack: {LINES[line]}")
    assert "secret" not in error


def test_suggestions_name_existing_commands_and_options() -> None:
    """Commands of other distributions may be missing, options not."""
    parser = build_parser()
    (commands,) = [action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    others = {"init"}
    assert commands is not None
    for suggested in _suggestions._WORDS:
        command, *rest = suggested.split()
        assert command in commands or command in others or command in parser._option_string_actions
        for option in re.findall(r"--\S+", " ".join(rest)):
            assert option in commands[command]._option_string_actions
    for option in _suggestions._OPTIONS:
        assert option in parser._option_string_actions
    words = [word for names in _suggestions._WORDS.values() for word in names.split()]
    assert [word for word in words if word in commands and word not in others] == []


def test_a_file_alone_is_one_of_sqlite(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--dbpath means SQLite, before or after the command, whatever the config file says."""
    setup(sqltrack.Client(engine="sqlite", dbpath="x.db"))
    sqltrack.Experiment(sqltrack.Client(engine="sqlite", dbpath="x.db"), name="digits")
    Path("sqltrack.conf").write_text("engine = postgres\nhost = nowhere.example.org\n")
    capsys.readouterr()
    for line in ("--dbpath x.db ls", "ls --dbpath x.db"):
        assert main(line.split()) == 0
        assert "digits" in capsys.readouterr().out
    assert main(["config", "--dbpath", "x.db"]) == 0
    assert re.search(r"engine +sqlite +command line", capsys.readouterr().out)


@pytest.mark.parametrize("name", ["x.csv", "out/x.parquet", "runs.JSON", "backup.zip", "copy.db"])
def test_exporting_to_a_name_of_a_file_is_refused(client: sqltrack.Client, tmp_path: Path, name: str) -> None:
    with pytest.raises(UnusableValueError) as raised:
        export(client, tmp_path / name)
    folder = str(tmp_path / name).rpartition(".")[0]
    assert "has the name of a file, but tables are written to a folder, with a file for each" in str(raised.value)
    assert f"use: --output {folder}, or: sqltrack sql QUERY --output FILE" in str(raised.value)
    assert list(tmp_path.glob("**/x*")) == []


def test_exporting_to_a_folder_may_have_any_name_if_it_is_there(client: sqltrack.Client, tmp_path: Path) -> None:
    for name in ("run.2024", "x.csv"):
        (tmp_path / name).mkdir()
        assert {file.path.parent for file in export(client, tmp_path / name)} == {tmp_path / name}
