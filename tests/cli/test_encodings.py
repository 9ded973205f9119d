"""The program in terminals, files and pipes whose encoding is not UTF-8, or lacks most characters."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import sqltrack
from sqltrack.cli import main
from sqltrack.cli._formats import TEXT_FORMATS
from sqltrack.cli._output import ASCII_SIGNS, any_encoding, can_encode, fit_encoding
from sqltrack.cli._table import print_table
from sqltrack.statuses import GROUPS, OTHER
from support.processes import Program

from .test_cli import COMMANDS

# Latin-1 has the first character, code page 1252 the first two; the last one is two columns wide.
NAME = "ä–✓🎉日"
STATUSES = ("COMPLETED", "FAILED", "RUNNING", "PLANNED", "TIMEOUT", "my own ✓")
ENCODINGS = ("latin-1", "ascii", "cp1252")

Run = Callable[..., tuple[int, bytes, str]]


@pytest.fixture
def data(client: sqltrack.Client) -> None:
    """Runs whose texts need Unicode, the first four with metrics."""
    sqltrack.Experiment(client, name=f"{NAME}0")
    experiment = sqltrack.Experiment(client, name=NAME).set_comment(NAME).add_tags(NAME)
    for number, status in enumerate(STATUSES, start=1):
        run = experiment.get_run(number).set_status(status).set_comment(NAME).add_tags(NAME)
        run.set_args({NAME: f"{NAME}{number}"}).set_env({NAME: NAME}).set_extras({NAME: [NAME]})
        run.add_metrics({NAME: number / 7, "text": NAME}, step=1)
        run.add_metrics({NAME: number / 5}, step=9).add_link(NAME, 1)


@pytest.fixture
def run(options: list[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """A function that runs the program with an encoding; it returns status, stdout and the text of stderr."""

    def run(encoding: str, *words: str, is_terminal: bool = False) -> tuple[int, bytes, str]:
        streams = [_Stream(io.BytesIO(), encoding, "strict"), _Stream(io.BytesIO(), encoding, "backslashreplace")]
        for name, stream in zip(("stdout", "stderr"), streams):
            stream.is_terminal = is_terminal
            monkeypatch.setattr(sys, name, stream)
        monkeypatch.setenv("COLUMNS", "80")
        monkeypatch.setenv("TERM", "xterm")
        status = main([*options, *words])
        for stream in streams:
            stream.flush()
        stdout, stderr = (stream.buffer.getvalue() for stream in streams)  # type: ignore[attr-defined]
        return status, stdout, stderr.decode(encoding)

    return run


class _Stream(io.TextIOWrapper):
    is_terminal = False

    def isatty(self) -> bool:
        return self.is_terminal


FORMS = [["--json"], *(["--format", name] for name in TEXT_FORMATS)]
# Commands that print texts of users, in all their formats.
CALLS: dict[str, list[list[str]]] = {
    "comment": [["1", "text ✓", "--dry-run"], ["1", "text ✓", "--dry-run", "--json"]],
    "completion": [["bash"]],
    "config": [[], ["--json"]],
    "copy": [[".", "copy ✓.db", "--setup"], [".", "copy ✓.db", "--json"]],
    "create": [["--user", NAME]],
    "diff": [["1", "2"], ["1", "2", "--all"], *(["1", "2", *words] for words in FORMS)],
    "doctor": [[], ["--json"]],
    "execute": [["script.sql"], ["script.sql", "--json"]],
    "export": [["--output", "folder ✓"], ["--output", "other ✓", "--json"]],
    "gc": [["--status", "my own ✓", "--dry-run"], ["--status", "my own ✓", "--dry-run", "--json"]],
    "grant": [[NAME], [NAME, "--write"]],
    "import": [["metrics ✓.jsonl", "--dry-run"], ["metrics ✓.jsonl", "--dry-run", "--json"]],
    "init": [[]],
    "link": [["1", NAME, "2", "--dry-run"]],
    "ls": [[], *FORMS],
    "metrics": [
        *(["1"], ["1", "--csv"], ["1", NAME, "--plot"], ["1-4", NAME, "--plot"]),
        *(["1", *words] for words in FORMS),
    ],
    "mv": [["1", f"{NAME}0", "--dry-run"]],
    "outbox": [[], *FORMS, ["send"]],
    "reap": [["--dry-run"], ["--dry-run", "--json"]],
    "rename": [[NAME, f"{NAME}2", "--dry-run"]],
    "rename-metric": [[NAME, f"{NAME}2", "--dry-run"]],
    "report": [[NAME, "--output", "report ✓.html"]],
    "revoke": [[NAME]],
    "rewind": [["1", "1", "--dry-run"]],
    "rm": [["--experiment", NAME, "--dry-run", "--force"], ["1", "--dry-run"]],
    "runs": [[], [NAME, "--best", NAME], *FORMS],
    "seeds": [[NAME, "--any-status", *words] for words in ([], *FORMS)],
    "setup": [["script ✓.sql"]],
    "show": [["1"], ["1,2"], ["1", "--env"], *(["1", *words] for words in FORMS)],
    "sql": [["SELECT * FROM runs", *words] for words in (["--format", "table"], *FORMS)],
    "tag": [["1", "--add", "✓", "--dry-run"], ["1", "--add", "✓", "--dry-run", "--json"]],
    "tidy": [["--dry-run"], ["--dry-run", "--json"]],
}


def test_every_command_is_tried() -> None:
    # `ui` would run until it is interrupted, and the other two print no texts of the database.
    assert sorted([*CALLS, "log", "run", "ui"]) == COMMANDS


# An encoding with some of the characters, and one with none.
@pytest.mark.parametrize(("encoding", "is_terminal"), [("cp1252", False), ("ascii", True)])
def test_no_command_fails_where_the_output_lacks_characters(
    data: None, run: Run, encoding: str, is_terminal: bool, engine_name: str
) -> None:
    """Everything is printed, in this encoding, to pipes and terminals; errors are the command's own."""
    Path("script.sql").write_text(f"SELECT name AS \"{NAME}\" FROM experiments; SELECT '{NAME}'", encoding="utf-8")
    Path("script ✓.sql").write_text("SELECT 1", encoding="utf-8")
    # The end is missing, which is worth a note.
    Path("metrics ✓.jsonl").write_text(f'{{"step": 0, "{NAME}": 1}}\n{{', encoding="utf-8")
    for command, calls in CALLS.items():
        # Output does not depend on the engine: one call of each command, and all calls on SQLite.
        for words in calls if engine_name == "sqlite" else calls[:1]:
            status, stdout, stderr = run(encoding, command, *words, is_terminal=is_terminal)
            assert "UnicodeEncodeError" not in stderr
            assert status == 0 or (engine_name, command) in NOT_ON_SQLITE, (words, stderr)
            assert stdout or stderr
            is_data = not is_terminal and command in ("create", "grant", "revoke")
            is_exact = not is_terminal and not {*TEXT_FORMATS, "--csv"}.isdisjoint(words)
            stdout.decode("utf-8" if is_data or is_exact else encoding)


NOT_ON_SQLITE = [("sqlite", command) for command in ("create", "grant", "revoke")]


def test_json_is_ascii_and_means_the_same(data: None, run: Run) -> None:
    for encoding in ENCODINGS:
        for words in (
            ["ls", "--json"],
            ["show", "1", "--json"],
            ["sql", "SELECT name FROM experiments", "--format=json"],
        ):
            status, stdout, _ = run(encoding, *words)
            assert (status, stdout.isascii()) == (0, True)
            _, expected, _ = run("utf-8", *words)
            assert json.loads(stdout) == json.loads(expected.decode("utf-8"))
            assert NAME in expected.decode("utf-8")


def test_csv_and_sql_are_utf_8_in_pipes_and_escaped_in_terminals(data: None, run: Run, engine_name: str) -> None:
    """A pipe gets the same text as a file with --output, so programs that read it do not depend on the terminal."""
    for encoding in ENCODINGS:
        for words in (["sql", "SELECT name FROM experiments", "--format=csv"], ["metrics", "1", "--csv"]):
            _, stdout, _ = run(encoding, *words)
            assert NAME in [cell for row in csv.reader(io.StringIO(stdout.decode("utf-8"))) for cell in row]
            assert stdout == run("utf-8", *words)[1]
            assert fit(encoding) in run(encoding, *words, is_terminal=True)[1].decode(encoding)
        if engine_name == "postgres":
            for words in (["create", "--user", NAME], ["grant", NAME], ["revoke", NAME]):
                assert f'"{NAME}"' in run(encoding, *words)[1].decode("utf-8")


def fit(encoding: str) -> str:
    """Return the name as shown in an encoding."""
    return NAME.encode(encoding, "backslashreplace").decode(encoding)


def test_tables_stay_aligned_and_statuses_keep_signs_that_differ(data: None, run: Run) -> None:
    for encoding in ENCODINGS:
        status, stdout, _ = run(encoding, "runs")
        head, line, *rows = stdout.decode(encoding).splitlines()
        assert status == 0
        assert len(rows) == len(STATUSES)
        assert set(line) == {"-"}
        place = head.index("status")
        signs = [row[place] for row in rows]
        assert len(set(signs)) == len(STATUSES)
        assert all(row[place + 1] == " " and row[place + 2] != " " for row in rows)
        assert all(fit(encoding) in row for row in rows)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_table_is_never_wider_than_the_terminal(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    """The width of escaped text counts; a cut cell ends in one character."""
    stream = _Stream(io.BytesIO(), encoding, "strict")
    stream.is_terminal = True
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "xterm")
    with any_encoding():
        print_table([{"a": "日" * 30, "b": "x"}], ["a", "b"])
    stream.flush()
    text = stream.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]
    lines = re.sub(r"\x1b\[\d*m", "", text).splitlines()
    assert max(map(len, lines)) <= 40
    assert re.search(r"^\\u65e5.*[~…] +x$", lines[-1])


def test_each_sign_has_an_ascii_form_of_its_own_width() -> None:
    symbols = [group.symbol for group in (*GROUPS, OTHER)]
    assert all(len(ASCII_SIGNS[symbol]) == 1 and ASCII_SIGNS[symbol].isascii() for symbol in symbols)
    assert len({ASCII_SIGNS[symbol] for symbol in symbols}) == len(symbols)
    assert all(len(form) == 1 and form.isascii() for form in ASCII_SIGNS.values())


def test_text_is_as_it_was_where_the_encoding_has_all_characters() -> None:
    assert fit_encoding(NAME) == NAME
    file = io.TextIOWrapper(io.BytesIO(), "latin-1")
    assert (can_encode("ä", file), can_encode("✓", file)) == (True, False)
    assert fit_encoding("ä✔✓…", file) == "ä+\\u2713~"


def test_streams_have_their_encodings_back_afterwards(data: None, run: Run) -> None:
    for words in (["metrics", "1", "--csv"], ["ls", "--json"]):
        run("ascii", *words)
        assert (sys.stdout.encoding, sys.stdout.errors) == ("ascii", "strict")
        assert (sys.stderr.encoding, sys.stderr.errors) == ("ascii", "backslashreplace")


@pytest.fixture
def plain_locale() -> dict[str, str]:
    """The environment of a job with an ASCII locale."""
    return {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def test_arguments_and_queries_are_utf_8_where_the_locale_is_not(
    data: None, options: list[str], program: Program, plain_locale: dict[str, str]
) -> None:
    plain_locale.pop("PYTHONIOENCODING", None)
    done = program("runs", NAME, "--best", NAME, *options, env=plain_locale)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.isascii()
    assert len(done.stdout.splitlines()) == len(STATUSES) + 2
    query = f"SELECT name FROM experiments WHERE name = '{NAME}'"
    # Before PostgreSQL 14 a superuser needs an option for this.
    done = program("sql", "-", "--as-superuser", *options, env=plain_locale, input=query, encoding="utf-8")
    assert (done.returncode, done.stdout) == (0, f"name\n{NAME}\n")


def test_lists_of_statuses_are_utf_8_as_well(
    data: None, options: list[str], program: Program, plain_locale: dict[str, str]
) -> None:
    done = program("gc", "--status", "FAILED,LÄUFT", "--dry-run", "--json", *options, env=plain_locale)
    assert (done.returncode, "1 run, " in done.stderr) == (0, True)
    done = program("gc", "--status", os.fsdecode(b"L\xffUFT"), "--dry-run", *options, env=plain_locale)
    assert (done.returncode, done.stdout) == (2, "")


def test_an_argument_that_is_not_utf_8_is_a_wrong_command_line(
    options: list[str], program: Program, plain_locale: dict[str, str]
) -> None:
    done = program("runs", os.fsdecode(b"\xff"), *options, env=plain_locale)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("sqltrack: an argument is not UTF-8: ")


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_is_shown_in_any_encoding(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    stream = _Stream(io.BytesIO(), "ascii", "strict")
    monkeypatch.setattr(sys, "stdout", stream)
    with pytest.raises(SystemExit) as caught:
        main([*([command] if command else []), "--help"])
    stream.flush()
    assert caught.value.code == 0
    assert b"usage: sqltrack" in stream.buffer.getvalue()  # type: ignore[attr-defined]
    assert (stream.encoding, stream.errors) == ("ascii", "strict")
