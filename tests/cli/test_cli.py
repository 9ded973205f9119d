"""The program as a whole: options, help, errors, statuses, completion, pipes."""

from __future__ import annotations

import argparse
import io
import json
import re
import shlex
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack.cli import _output, main
from sqltrack.cli._cells import show_time, show_value
from sqltrack.cli._parser import build_parser
from sqltrack.cli._table import print_table
from sqltrack.commands.setup import set_up_quietly
from support.processes import Program, running

from .conftest import PROGRAM, connection, in_terminal


def parsers() -> dict[str, argparse.ArgumentParser]:
    (commands,) = (action for action in build_parser()._actions if isinstance(action, argparse._SubParsersAction))
    return dict(commands.choices)


COMMANDS = sorted(parsers())


@pytest.mark.parametrize(
    "arguments",
    [
        ["runs"],
        ["ls"],
        ["show", "1"],
        ["sql", "SELECT 1"],
        ["export", "out"],
        ["copy", "{source}", "{path}"],
        ["rm", "1", "--yes"],
        ["tidy", "--yes"],
        ["doctor"],
        ["setup"],
        ["execute", "{script}"],
    ],
    ids=lambda arguments: arguments[0],
)
@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("missing/x.db", "folder '{folder}' does not exist"),
        ("script.sql/x.db", "'{folder}' is not a folder"),
    ],
)
def test_of_a_file_without_a_folder_every_command_says_what_to_correct(
    tmp_path: Path, arguments: list[str], path: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Setup would fail as well, so no command may suggest it."""
    file, source, script = tmp_path / path, tmp_path / "source.db", tmp_path / "script.sql"
    script.write_text("SELECT 1")
    set_up_quietly(sqltrack.Client(engine="sqlite", dbpath=str(source)))
    words = [word.format(path=file, source=source, script=script) for word in arguments]
    assert main([*words, "--engine", "sqlite", "--dbpath", str(file)]) == 1
    output = capsys.readouterr()
    said = " ".join((output.out + output.err).split())
    assert says.format(folder=file.parent) in said
    assert "correct dbpath" in said
    assert ("create the folder" in said) == (path == "missing/x.db")
    assert "set it up" not in said
    assert "sqltrack setup" not in said
    assert not file.exists()


def test_setup_prints_a_line_for_each_script(empty_config: dict[str, Any], tmp_path: Path, program: Program) -> None:
    script = tmp_path / "v001.sql"
    script.write_text("ALTER TABLE metrics ADD COLUMN loss FLOAT")
    config = tmp_path / "my.conf"
    config.write_text("".join(f"{name} = {value}\n" for name, value in empty_config.items()))
    done = program("setup", "--config-path", str(config), str(script))
    assert (done.returncode, done.stdout, done.stderr) == (0, "(NEW) base.sql\n(NEW) v001.sql\n", "")
    assert sqltrack.Client(empty_config).execute("SELECT loss FROM metrics").fetchall() == []
    assert program("--config-path", str(config), "setup", str(script)).stdout == "(OK) base.sql\n(OK) v001.sql\n"


def test_options_of_the_connection_may_stand_before_and_after_the_command(
    empty_config: dict[str, Any], tmp_path: Path, program: Program
) -> None:
    words = connection(empty_config)
    middle = len(words) // 4 * 2
    assert program(*words, "setup").stdout == "(NEW) base.sql\n"
    assert program("setup", *words).stdout == "(OK) base.sql\n"
    assert program(*words[:middle], "setup", *words[middle:]).stdout == "(OK) base.sql\n"
    # The later option has priority.
    assert program("--engine", "nonsense", *words[:middle], "setup", *words).stdout == "(OK) base.sql\n"


def test_errors_are_one_line(program: Program) -> None:
    done = program("setup", "--engine", "nonsense")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "sqltrack: unknown engine 'nonsense', expected 'postgres' or 'sqlite'\n"
    missing = program("setup", "--dbpath", "x", "--engine", "sqlite", "no.sql")
    assert (missing.returncode, missing.stderr) == (1, "sqltrack: 'no.sql': No such file or directory\n")


@pytest.mark.parametrize("arguments", [["nonsense"], ["setup", "--nonsense"], ["--engin", "sqlite", "setup"]])
def test_a_wrong_command_line_is_one_line_and_status_2(arguments: list[str], program: Program) -> None:
    done = program(*arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("sqltrack: ")
    assert done.stderr.endswith("--help\n")


@pytest.mark.parametrize("option", ["--password", "--pw", "--pasword", "-p", "-W"])
@pytest.mark.parametrize(
    "words",
    [
        ("config", "{}", "hunter2"),
        ("{}", "hunter2", "config"),
        ("{}", "hunter 2"),
        ("config", "{}=hunter2"),
        ("show", "{}", "hunter2", "5"),
        ("--engine", "sqlite", "{}=hunter2", "ls"),
        ("rename", "1", "{}", "hunter2"),
    ],
)
def test_the_value_of_an_unknown_option_is_not_repeated(
    option: str, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """Some users expect an option for the password."""
    with pytest.raises(SystemExit) as caught:
        main([word.format(option) for word in words])
    out, err = capsys.readouterr()
    assert (caught.value.code, out) == (2, "")
    assert err.startswith(f"sqltrack: there is no option {option}; ")
    assert "hunter" not in err


def test_an_unforeseen_error_is_one_line_unless_it_is_wanted_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError("by\nzero \x1b[31m")

    monkeypatch.setattr("sqltrack.cli._commands.setup.setup", fail)
    arguments = ["setup", "--engine", "sqlite"]
    assert main(arguments) == 1
    expected = "sqltrack: ZeroDivisionError: by zero \\x1b[31m (SQLTRACK_DEBUG=1 shows where)\n"
    assert capsys.readouterr() == ("", expected)
    monkeypatch.setenv("SQLTRACK_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        main(arguments)


def test_an_interrupted_command_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sqltrack.cli._commands.setup.setup", interrupt)
    assert main(["setup", "--engine", "sqlite"]) == 130
    assert capsys.readouterr() == ("", "sqltrack: interrupted\n")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_with_an_example(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as caught:
        main([name, "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    example = text.partition("example: ")[2]
    assert f"sqltrack {name}" in example or f"| sqltrack {name}" in example
    assert all(action.help for action in parsers()[name]._actions)
    assert all(len(line) <= 80 for line in text.partition("example: ")[0].splitlines())


def test_the_list_of_commands_and_the_version_are_shown(program: Program) -> None:
    help_text = program("--help").stdout
    assert all(f"\n    {name} " in help_text or f"\n    {name}\n" in help_text for name in COMMANDS)
    assert program("--version").stdout.startswith("sqltrack 0.")


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion_scripts_know_every_command(shell: str, program: Program) -> None:
    done = program("completion", shell)
    assert done.returncode == 0
    assert all(name in done.stdout for name in COMMANDS)


def test_bash_completes_commands_and_options(program: Program, tmp_path: Path) -> None:
    script = tmp_path / "completion.bash"
    script.write_text(program("completion", "bash").stdout)
    ask = """
        source "$1"; COMP_WORDS=(sqltrack "$2"); COMP_CWORD=1; _shtab_sqltrack; printf '%s\\n' "${COMPREPLY[@]}"
    """
    done = subprocess.run(["bash", "-c", ask, "-", script, "set"], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["setup"]


def test_a_closed_pipe_ends_the_program_quietly(program: Program) -> None:
    command = [PROGRAM, "completion", "bash"]
    with running(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        assert process.communicate(timeout=60)[1] == ""
    assert process.returncode in (0, 1)


TABLE = """
from sqltrack.cli._cells import show_status
from sqltrack.cli._table import print_table
from sqltrack.commands.setup import set_up_quietly
rows = [{"id": 12345678, "status": "FAILED", "comment": "x" * 200, "evil\\x1b[2J": "\\x1b[31mred"}]
print_table(rows, ["id", "status", "comment", "evil\\x1b[2J"], cells={"status": show_status})
"""


@pytest.mark.parametrize("closed", ["stdin", "stdout", "stderr", "all"])
def test_a_closed_stream_leads_nowhere(
    monkeypatch: pytest.MonkeyPatch, options: list[str], sql_options: list[str], closed: str, tmp_path: Path
) -> None:
    """Its output appears in no other stream, and the command still does its work."""
    streams = {"stdin": io.TextIOWrapper(io.BytesIO(b"SELECT 1")), "stdout": io.StringIO(), "stderr": io.StringIO()}
    for name in streams if closed == "all" else (closed,):
        monkeypatch.setattr(sys, name, None)
    for name, stream in streams.items():
        if getattr(sys, name) is not None:
            monkeypatch.setattr(sys, name, stream)
    query = ["sql", "SELECT 1 AS a", *sql_options]
    assert main(["ls", *options]) == main(["ls", "--json", *options]) == main(["completion", "bash"]) == 0
    assert main(query) == main([*query, "--format", "csv"]) == main([*query, "--format", "json"]) == 0
    assert main(["export", "--output", str(tmp_path / "files"), *options]) == 0
    assert main(["config", *options]) == main(["doctor", *options]) == 0
    assert main(["show", "7", *options]) == 1
    assert main(["sql", "-", *sql_options]) == (1 if closed in ("stdin", "all") else 0)
    assert (getattr(sys, "stdout" if closed == "all" else closed), (tmp_path / "files").is_dir()) == (None, True)
    assert "sqltrack:" not in streams["stdout"].getvalue()
    errors = streams["stderr"].getvalue().splitlines()
    assert all(
        line.startswith(("sqltrack: there is no run 7", "sqltrack: the query is empty")) or "no experiments yet" in line
        for line in errors
    ), errors


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_a_shell_can_close_any_stream(options: list[str], closed: str) -> None:
    line = shlex.join([str(PROGRAM), "ls", *options])
    done = subprocess.run(["sh", "-c", f"{line} {closed}"], capture_output=True, text=True, check=False)
    said = "" if "2>" in closed else "there are no experiments yet\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, "", said)


def test_tables_fit_the_terminal_and_obey_no_color() -> None:
    colored, plain = in_terminal(TABLE), in_terminal(TABLE, NO_COLOR="1")
    assert "\x1b[31m✖ FAILED" in colored
    assert "\x1b[31mred" not in colored
    assert "\x1b[2J" not in colored
    assert "\x1b[31m" not in plain
    assert all(len(re.sub(r"\x1b\[\d*m", "", line)) <= 80 for line in plain.replace("\r", "").splitlines())
    assert "12345678" in plain


def test_in_a_pipe_nothing_is_cut() -> None:
    done = subprocess.run([sys.executable, "-c", TABLE], capture_output=True, text=True, check=True)
    assert "x" * 200 in done.stdout
    assert "\x1b" not in done.stdout
    assert not any(line.endswith(" ") for line in done.stdout.splitlines())


def test_progress_is_shown_in_a_terminal_only() -> None:
    code = """
import time
from sqltrack.cli._output import progress_bar
with progress_bar("Copying", 2) as show:
    for done in range(3):
        show(done)
        time.sleep(0.2)
"""
    assert "Copying" in in_terminal(code)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.parametrize(
    ("answer", "agrees"), [("y\n", True), ("YES\n", True), ("n\n", False), ("\n", False), ("", False), ("yo\n", False)]
)
def test_only_yes_means_yes(answer: str, agrees: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

        def readline(self) -> str:
            return answer

    monkeypatch.setattr(sys, "stdin", Terminal())
    assert _output.confirm("delete", yes=False) is agrees
    assert _output.confirm("delete", yes=True)


def test_who_cannot_be_asked_does_not_agree(capsys: pytest.CaptureFixture[str]) -> None:
    assert not _output.confirm("delete", yes=False)
    assert (
        capsys.readouterr().err
        == "sqltrack: cannot ask for confirmation: standard input is not a terminal (use --yes)\n"
    )


def test_times_are_told_by_their_distance() -> None:
    now = datetime.now(timezone.utc)
    assert show_time(now - timedelta(days=3, hours=2)).plain == "3 d ago"
    assert show_time(now + timedelta(hours=1, minutes=1)).plain == "in 1 h"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "--"),
        (True, "True"),
        (12345678, "12345678"),
        (0.123456789, "0.12346"),
        (float("nan"), "NaN"),
        (timedelta(minutes=133), "2 h 13 min"),
        ({"a": [1, None]}, '{"a": [1, null]}'),
        ("\x1b[31m", "\\x1b[31m"),
    ],
)
def test_values_are_short_and_harmless(value: Any, text: str) -> None:
    assert show_value(value).plain == text


def test_numbers_are_aligned_to_the_right_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    columns = {
        "integer": 1,
        "float": 0.5,
        "decimal": Decimal("2.5"),
        "duration": timedelta(hours=25),
        "bool": True,
        "text": "1",
    }
    print_table([columns, dict.fromkeys(columns)], list(columns))
    assert capsys.readouterr().out.splitlines() == [
        "integer  float  decimal  duration  bool  text",
        "─────────────────────────────────────────────",
        "      1    0.5      2.5   1 d 1 h  True  1",
        "     --     --       --        --  --    --",
    ]


def test_json_is_valid_whatever_it_holds(capsys: pytest.CaptureFixture[str]) -> None:
    _output.print_json({"nan": float("nan"), "time": datetime(2024, 1, 2, tzinfo=timezone.utc), "took": timedelta(1)})
    printed = json.loads(capsys.readouterr().out)
    assert printed == {"nan": "NaN", "time": "2024-01-02T00:00:00+00:00", "took": 86400.0}
