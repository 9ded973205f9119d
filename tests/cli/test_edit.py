"""`sqltrack link`, `tag`, `comment`, `rename` and `mv` edit the history."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack.cli import main
from sqltrack.commands.comment import plan_comment
from sqltrack.commands.edits import apply_edit
from sqltrack.commands.link import plan_link
from sqltrack.commands.mv import plan_mv
from sqltrack.commands.rename import plan_rename
from sqltrack.commands.run_ranges import RunRange
from sqltrack.commands.tag import plan_tag
from sqltrack.errors import ConflictError, NotSetUpError, UnusableValueError
from support.connections import on_one_connection
from support.plans import edit
from support.processes import Program, Script, run_together
from support.questions import CTRL_C, answer

from .conftest import PROGRAM

pytestmark = pytest.mark.one_engine

Capture = pytest.CaptureFixture[str]

# One call of each command that would change something.
EDITS = (
    ["link", "5", "resumes", "6"],
    ["link", "5", "repeats", "7", "--remove"],
    ["link", "first", "continues", "second", "--experiments"],
    ["tag", "5-7", "--add", "paper", "--remove", "draft"],
    ["tag", "--experiment", "first", "--add", "paper"],
    ["comment", "5", "7", "a new one"],
    ["comment", "--experiment", "first", "a new one"],
    ["rename", "first", "third"],
    ["mv", "5,6", "second"],
    ["mv", "5,6", "third", "--create"],
)


@pytest.fixture
def client(client: sqltrack.Client) -> sqltrack.Client:
    """Runs 5, 6 and 7 of an experiment, and 9 of another."""
    with on_one_connection(client):
        first = sqltrack.Experiment(client, name="first")
        second = sqltrack.Experiment(client, name="second")
        first.get_run(5).add_tags("draft").set_comment("old").add_metrics({"loss": 0.5})
        first.get_run(6).add_tags("draft", "other")
        first.get_run(7)
        second.get_run(9)
        sqltrack.run_add_link(client, 5, "repeats", 7)
    return client


def dump(client: sqltrack.Client) -> list[Any]:
    """Return everything that these commands can edit."""
    tables = ("experiments", "experiment_links", "runs", "run_links", "metrics")
    return [client.execute(f"SELECT * FROM {table} ORDER BY 1, 2, 3").fetchall() for table in tables]


def tags_of(client: sqltrack.Client) -> dict[int, Any]:
    return dict(client.execute("SELECT id, tags FROM runs ORDER BY id").fetchall())


def experiments_of(client: sqltrack.Client) -> dict[int, str]:
    sql = "SELECT runs.id, name FROM runs JOIN experiments ON experiments.id = experiment_id ORDER BY runs.id"
    return dict(client.execute(sql).fetchall())


def links_of(client: sqltrack.Client, table: str = "run_links") -> list[Any]:
    return client.execute(f"SELECT from_id, kind, to_id FROM {table} ORDER BY 1, 2, 3").fetchall()


def test_tags_are_added_and_removed(client: sqltrack.Client, options: list[str], capsys: Capture) -> None:
    assert main(["tag", "5-7", "--add", "paper", "a, b", "--remove", "draft", "--yes", *options]) == 0
    output = capsys.readouterr()
    assert [line.split() for line in output.out.splitlines()[2:4]] == [
        ["run", "5", "tags", "draft", "a,", "b,", "paper"],
        ["run", "6", "tags", "draft,", "other", "a,", "b,", "other,", "paper"],
    ]
    assert output.err == "3 changes made\n"
    new = {"paper": True, "a, b": True}
    assert tags_of(client) == {5: new, 6: {"other": True, **new}, 7: new, 9: None}
    assert main(["tag", "5-7", "--add", "paper", "--yes", *options]) == 0
    assert capsys.readouterr() == ("", "nothing to change\n")


def test_an_experiment_has_tags_of_its_own(client: sqltrack.Client, options: list[str]) -> None:
    assert main(["tag", "--experiment", "second", "--add", "paper", "--yes", *options]) == 0
    assert client.execute("SELECT tags FROM experiments WHERE name = 'second'").fetchone() == ({"paper": True},)
    assert tags_of(client)[9] is None


def test_a_comment_is_set_and_removed(client: sqltrack.Client, options: list[str], capsys: Capture) -> None:
    assert main(["comment", "5,7", "a\nnew one", "--json", "--yes", *options]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "done": True,
        "changes": [
            {"kind": "run", "id": 5, "field": "comment", "old": "old", "new": "a\nnew one"},
            {"kind": "run", "id": 7, "field": "comment", "old": None, "new": "a\nnew one"},
        ],
    }
    assert main(["comment", "5", "", "--yes", *options]) == 0
    comments = client.execute("SELECT id, comment FROM runs ORDER BY id").fetchall()
    assert comments == [(5, None), (6, None), (7, "a\nnew one"), (9, None)]
    assert main(["comment", "--experiment", "first", "of it", "--yes", *options]) == 0
    assert client.execute("SELECT comment FROM experiments WHERE id = 1").fetchone() == ("of it",)


def test_a_comment_may_come_from_the_standard_input(
    client: sqltrack.Client, options: list[str], program: Program
) -> None:
    assert program("comment", "5", "-", "--yes", *options, input="two\nlines ä\n").returncode == 0
    assert client.execute("SELECT comment FROM runs WHERE id = 5").fetchone() == ("two\nlines ä",)
    broken = subprocess.run([PROGRAM, "comment", "5", "-", "--yes", *options], input=b"a\xff", capture_output=True)
    assert (broken.returncode, broken.stderr) == (1, b"sqltrack: a comment must be UTF-8, byte 1 is not\n")


def test_links_are_added_and_removed(client: sqltrack.Client, options: list[str], capsys: Capture) -> None:
    assert main(["link", "6", "resumes", "5", "--yes", *options]) == 0
    assert links_of(client) == [(5, "repeats", 7), (6, "resumes", 5)]
    assert main(["link", "6", "resumes", "5", "--yes", *options]) == 0
    assert capsys.readouterr().err.endswith("nothing to change\n")
    assert main(["link", "5", "repeats", "7", "--remove", "--yes", *options]) == 0
    assert links_of(client) == [(6, "resumes", 5)]
    assert main(["link", "second", "continues", "first", "--experiments", "--yes", *options]) == 0
    assert links_of(client, "experiment_links") == [(2, "continues", 1)]
    assert main(["link", "2", "continues", "1", "--experiments", "--remove", "--yes", *options]) == 0
    assert links_of(client, "experiment_links") == []


def test_an_experiment_is_renamed(client: sqltrack.Client, options: list[str], capsys: Capture) -> None:
    assert main(["rename", "first", "ä third", "--yes", *options]) == 0
    assert experiments_of(client) == {5: "ä third", 6: "ä third", 7: "ä third", 9: "second"}
    assert main(["rename", "ä third", "second", "--yes", *options]) == 1
    assert "experiment 2 is called 'second' already; sqltrack mv" in capsys.readouterr().err
    assert main(["rename", "2", "second", "--yes", *options]) == 0


def test_runs_are_moved(client: sqltrack.Client, options: list[str], capsys: Capture) -> None:
    assert main(["mv", "5-6", "9", "second", "--yes", *options]) == 0
    assert experiments_of(client) == {5: "second", 6: "second", 7: "first", 9: "second"}
    assert capsys.readouterr().err == "2 changes made\n"
    assert client.execute("SELECT run_id FROM metrics").fetchall() == [(5,)]
    assert main(["mv", "5", "third", "--yes", *options]) == 1
    assert "there is no experiment 'third'" in capsys.readouterr().err
    assert main(["mv", "5", "third", "--create", "--yes", *options]) == 0
    assert experiments_of(client)[5] == "third"


@pytest.mark.parametrize("arguments", EDITS, ids=" ".join)
def test_a_dry_run_changes_nothing(
    client: sqltrack.Client, options: list[str], arguments: list[str], capsys: Capture
) -> None:
    before = dump(client)
    assert main([*arguments, "--dry-run", *options]) == 0
    output = capsys.readouterr()
    assert "would be made" in output.err
    assert len(output.out.splitlines()) >= 3
    assert main([*arguments, "--dry-run", "--json", *options]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["done"], bool(record["changes"])) == (False, True)
    assert dump(client) == before


@pytest.mark.parametrize("arguments", EDITS, ids=" ".join)
def test_without_a_terminal_nothing_is_changed(
    client: sqltrack.Client, options: list[str], arguments: list[str], capsys: Capture
) -> None:
    before = dump(client)
    assert main([*arguments, *options]) == 1
    assert (
        capsys.readouterr().err
        == "sqltrack: cannot ask for confirmation: standard input is not a terminal (use --yes)\nnothing was changed\n"
    )
    assert dump(client) == before


@pytest.mark.parametrize(
    ("text", "status", "changes"), [(CTRL_C, 130, False), ("n", 1, False), ("", 1, False), ("y", 0, True)]
)
def test_only_a_confirmation_changes_something(
    client: sqltrack.Client, options: list[str], text: str | None, status: int, changes: bool
) -> None:
    before = dump(client)
    ended, output, errors = answer(["tag", "5", "--add", "paper", *options], text)
    assert (ended, "draft, paper" in output) == (status, True)
    assert errors.startswith("change tags (1 change)? [y/N] ")
    assert errors.endswith({130: "sqltrack: interrupted\n", 1: "nothing was changed\n", 0: "1 change made\n"}[status])
    assert (dump(client) != before) == changes


@pytest.mark.parametrize("arguments", [["tag", "5", "8", "9", "--add", "x"], ["comment", "5", "8", "x"]])
def test_all_runs_are_changed_or_none(
    client: sqltrack.Client, options: list[str], arguments: list[str], capsys: Capture
) -> None:
    before = dump(client)
    assert main([*arguments, "--yes", *options]) == 1
    assert capsys.readouterr() == ("", "sqltrack: there is no run 8; the nearest is 7 and 9\n")
    assert dump(client) == before


def test_a_failure_in_the_middle_leaves_no_trace(client: sqltrack.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail_later(client: sqltrack.Client, run_id: int, *_: Any) -> None:
        if run_id == 6:
            raise KeyboardInterrupt
        sqltrack.run_set_comment(client, run_id, "new")

    monkeypatch.setattr("sqltrack.commands.comment.run_set_comment", fail_later)
    before = dump(client)
    with pytest.raises(KeyboardInterrupt):
        edit(client, plan_comment(client, [5, 6, 7], "new"))
    assert dump(client) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["link", "5", "resumes", "8"], "there is no run 8; the nearest is 7 and 9"),
        (["link", "5", "resumes", "5"], "run 5 cannot be linked with itself"),
        (
            ["link", "5", "resumes", "first"],
            "expected the id of a run, got 'first' (use --experiments to link experiments)",
        ),
        (["link", "5", " ", "6"], "the kind of a link must not be empty, got ' '"),
        (
            ["link", "first", "x", "seconds", "--experiments"],
            "there is no experiment 'seconds'; did you mean 'second'?",
        ),
        (["link", "5", "x", "7", "--remove"], "run 5 has no link 'x 7'; there are 'repeats 7'"),
        (["link", "6", "x", "7", "--remove"], "run 6 has no link 'x 7'; it has none"),
        (["tag", "10-20", "--add", "x"], "there are no runs from 10 to 20"),
        (["tag", "9" * 30, "--add", "x"], f"there is no run {'9' * 30}; ids of runs have at most 63 bits"),
        (["tag", "5", "--add", ""], "a tag must not be empty, got ''"),
        (["tag", "5", "--add", "x", "--remove", "x"], "tag 'x' cannot be both added and removed"),
        (["tag", "--experiment", "none", "--add", "x"], "there is no experiment 'none'; there are 'second', 'first'"),
        (["rename", "firs", "x"], "there is no experiment 'firs'; did you mean 'first'?"),
        (["rename", "first", ""], "the name of an experiment must not be empty, got ''"),
        (["mv", "5", "seconds"], "there is no experiment 'seconds'; did you mean 'second'? (--create creates it)"),
        (["mv", "5", "", "--create"], "the name of an experiment must not be empty, got ''"),
    ],
)
def test_wrong_input_is_one_line(
    client: sqltrack.Client, options: list[str], arguments: list[str], message: str, capsys: Capture
) -> None:
    before = dump(client)
    assert main([*arguments, "--yes", *options]) == 1
    assert capsys.readouterr() == ("", f"sqltrack: {message}\n")
    assert dump(client) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["tag", "--add", "x"],
        ["tag", "5"],
        ["tag", "5", "--experiment", "first", "--add", "x"],
        ["tag", "five", "--add", "x"],
        ["tag", "9-5", "--add", "x"],
        ["tag", "5,,6", "--add", "x"],
        ["comment", "text"],
        ["comment", "a", "text"],
        ["comment", "5", "not UTF-8: \udcff"],
        ["comment", "5", "text", "--experiment", "first"],
        ["mv", "first"],
        ["mv", "5-", "first"],
        ["link", "5", "resumes"],
        ["rename", "first"],
    ],
    ids=" ".join,
)
def test_a_wrong_command_line_is_one_line(options: list[str], arguments: list[str], capsys: Capture) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*arguments, *options])
    assert caught.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("arguments", EDITS, ids=" ".join)
def test_a_database_that_was_not_set_up_is_told(
    empty_config: dict[str, Any], arguments: list[str], capsys: Capture
) -> None:
    options = [word for name, value in empty_config.items() for word in (f"--{name}", str(value))]
    assert main([*arguments, "--yes", *options]) == 1
    output = capsys.readouterr()
    assert (output.out, output.err.count("\n")) == ("", 1)
    assert "sqltrack setup" in output.err


def test_names_never_reach_the_terminal_as_commands(
    client: sqltrack.Client, options: list[str], capsys: Capture
) -> None:
    assert main(["comment", "5", "\x1b[31mred\n", "--yes", *options]) == 0
    assert main(["tag", "5", "--add", "\x1b[2J", "--yes", *options]) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_changes_of_others_before_the_answer_stay(client: sqltrack.Client) -> None:
    planned = plan_comment(client, [5, 6], "new")
    sqltrack.run_set_comment(client, 5, "of somebody else")
    with pytest.raises(ConflictError, match="in the meantime"):
        apply_edit(client, planned)
    rows = client.execute("SELECT comment FROM runs WHERE id IN (5, 6) ORDER BY id").fetchall()
    assert rows == [("of somebody else",), (None,)]
    assert apply_edit(client, planned, even_if_changed=True)[0].old == "of somebody else"


def test_many_processes_tag_the_same_runs_and_lose_nothing(
    client: sqltrack.Client, options: list[str], program: Program
) -> None:
    commands = [[PROGRAM, "tag", "5-9", "--add", f"tag {number}", "--yes", *options] for number in range(6)]
    ended = [(done.stderr, done.returncode) for done in run_together(commands)]
    assert ended == [(b"4 changes made\n", 0)] * 6
    assert all(len([name for name in tags if name.startswith("tag ")]) == 6 for tags in tags_of(client).values())


def test_of_two_users_who_want_the_same_name_one_gets_it(client: sqltrack.Client, options: list[str]) -> None:
    commands = [[PROGRAM, "rename", name, "third", "--yes", *options] for name in ("first", "second")]
    ended = sorted((done.stderr.count(b"\n"), done.returncode) for done in run_together(commands))
    assert ended == [(1, 0), (1, 1)]
    assert client.execute("SELECT COUNT(*) FROM experiments WHERE name = 'third'").fetchone() == (1,)


def test_a_run_is_moved_and_tagged_while_it_is_logging(
    client: sqltrack.Client, config: dict[str, Any], options: list[str]
) -> None:
    text = """
run = Run(client, run_id=7)
with run.track():
    for step in range(1500):
        run.add_metrics({"loss": 0.5}, step=step)
        if step == 100:
            confirm("logging")
"""
    with Script(text, config) as script:
        script.read_line()
        assert main(["mv", "7", "second", "--yes", *options]) == 0
        assert main(["tag", "7", "--add", "paper", "--yes", *options]) == 0
        script.succeed()
    assert client.execute("SELECT COUNT(*) FROM metrics WHERE run_id = 7").fetchone() == (1500,)
    assert experiments_of(client)[7] == "second"
    assert client.execute("SELECT status, tags FROM runs WHERE id = 7").fetchone() == ("COMPLETED", {"paper": True})


def test_a_plan_changes_nothing_and_lists_the_changes(client: sqltrack.Client) -> None:
    before = dump(client)
    planned = plan_tag(client, [5, RunRange(5, 6)], add=["paper"])
    assert [change.id for change in planned.changes] == [5, 6]
    assert dump(client) == before
    assert apply_edit(client, planned) == planned.changes
    assert dump(client) != before


def test_the_functions_return_their_changes(client: sqltrack.Client) -> None:
    assert edit(client, plan_tag(client, [5], add=["paper"])) == [("run", 5, "tags", ["draft"], ["draft", "paper"])]
    assert edit(client, plan_tag(client, [5], add=["paper"])) == []
    assert edit(client, plan_link(client, 5, "resumes", 6)) == [("run", 5, "link", None, "resumes 6")]
    linked = edit(client, plan_link(client, "first", "x", "second", experiments=True))
    assert linked == [("experiment", 1, "link", None, "x 2")]
    assert edit(client, plan_rename(client, "first", "third")) == [("experiment", 1, "name", "first", "third")]
    assert edit(client, plan_mv(client, [5, 5], "fourth", create=True)) == [
        ("experiment", None, "name", None, "fourth"),
        ("run", 5, "experiment", "third", "fourth"),
    ]
    for call in (
        lambda: plan_tag(client, [], add=["x"]),
        lambda: plan_comment(client),
        lambda: plan_mv(client, [], "x"),
    ):
        with pytest.raises(UnusableValueError):
            call()


def test_who_asks_for_json_is_asked_all_the_same(client: sqltrack.Client, options: list[str]) -> None:
    status, output, errors = answer(["tag", "5", "--add", "paper", "--json", *options], "y")
    assert (status, errors.count("[y/N]"), errors.endswith("1 change made\n")) == (0, 1, True)
    assert json.loads(output)["done"]
    status, output, _ = answer(["tag", "6", "--add", "paper", "--json", *options], "n")
    assert status == 1
    assert not json.loads(output)["done"]
    assert json.loads(output)["changes"][0]["id"] == 6


def test_of_many_changes_the_first_are_shown(client: sqltrack.Client, options: list[str], capsys: Capture) -> None:
    experiment = sqltrack.Experiment(client, name="second")
    for run_id in range(10, 60):
        experiment.get_run(run_id)
    arguments = ["tag", "9-59", "--add", "paper", "--dry-run", *options]
    assert main(arguments) == 0
    output = capsys.readouterr()
    assert [line.split()[1] for line in output.out.splitlines()[2:]] == [str(run_id) for run_id in range(9, 49)]
    assert output.err == "and 11 more changes, --json shows all\n51 changes would be made\n"
    assert main([*arguments, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["changes"]) == 51


def test_tags_can_be_removed_alone(client: sqltrack.Client, options: list[str]) -> None:
    assert main(["tag", "5-7", "--remove", "draft", "--yes", *options]) == 0
    assert tags_of(client) == {5: {}, 6: {"other": True}, 7: None, 9: None}


def test_without_tags_there_is_nothing_to_do(client: sqltrack.Client) -> None:
    with pytest.raises(UnusableValueError, match="expected tags to add or remove"):
        plan_tag(client, [5])


@pytest.mark.engines("sqlite")
def test_a_file_that_is_gone_at_the_confirmation_is_not_recreated(
    client: sqltrack.Client, config: dict[str, Any]
) -> None:
    planned = plan_tag(client, [5], add=["paper"])
    path = Path(config["dbpath"])
    path.unlink()
    with pytest.raises(NotSetUpError, match="does not exist"):
        apply_edit(client, planned)
    assert not path.exists()


def test_runs_that_others_have_moved_meanwhile_stay_there(client: sqltrack.Client, config: dict[str, Any]) -> None:
    planned = plan_mv(client, [5, 6], "second")
    sqltrack.Client(config).execute(
        "UPDATE runs SET experiment_id = (SELECT id FROM experiments WHERE name = 'second')"
    )
    assert apply_edit(client, planned, even_if_changed=True) == []
    assert experiments_of(client)[5] == "second"
