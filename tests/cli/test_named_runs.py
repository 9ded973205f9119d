"""All commands accept ids, lists and ranges of runs, or say that they accept only one run."""

from __future__ import annotations

import json

import pytest

import sqltrack
from sqltrack.cli import main
from sqltrack.commands.diff import compare_runs
from sqltrack.commands.run_ranges import RunRange, names_runs
from sqltrack.commands.show import describe_runs
from sqltrack.errors import NotFoundError, UnusableValueError
from support.connections import on_one_connection

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def client(client: sqltrack.Client) -> sqltrack.Client:
    """Runs 3, 5, 6 and 20."""
    with on_one_connection(client):
        experiment = sqltrack.Experiment(client, name="experiment")
        for run_id in (3, 5, 6, 20):
            experiment.get_run(run_id).set_args({"lr": run_id / 10}).add_metrics({"loss": run_id}, step=1)
    return client


@pytest.mark.parametrize(
    ("words", "run_ids"), [(["3,20"], [3, 20]), (["3-7"], [3, 5, 6]), (["20,3-5", "6"], [20, 3, 5, 6])]
)
def test_show_and_diff_take_lists_and_ranges_in_the_order_given(
    client: sqltrack.Client, options: list[str], words: list[str], run_ids: list[int], capsys: Capture
) -> None:
    assert main(["show", *words, "--json", *options]) == 0
    assert [run["id"] for run in json.loads(capsys.readouterr().out)] == run_ids
    assert main(["diff", *words, *options]) == 0
    assert capsys.readouterr().out.splitlines()[0].split() == list(map(str, run_ids))


def test_json_of_one_run_is_an_object_and_that_of_a_range_a_list(
    client: sqltrack.Client, options: list[str], capsys: Capture
) -> None:
    assert main(["show", "3", "--json", *options]) == 0
    assert json.loads(capsys.readouterr().out)["id"] == 3
    assert main(["show", "2-4", "--json", *options]) == 0
    assert [run["id"] for run in json.loads(capsys.readouterr().out)] == [3]


def test_shown_runs_are_parted_by_an_empty_line(client: sqltrack.Client, options: list[str], capsys: Capture) -> None:
    assert main(["show", "3,5", *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    heads = [index for index, line in enumerate(lines) if line.startswith("run ")]
    assert [lines[index].split() for index in heads] == [["run", "3"], ["run", "5"]]
    assert lines[heads[1] - 1] == ""


def test_a_range_that_holds_one_run_has_nothing_to_differ_from(
    client: sqltrack.Client, options: list[str], capsys: Capture
) -> None:
    assert main(["diff", "18-25", *options]) == 1
    assert capsys.readouterr().err == "sqltrack: expected two or more runs to compare, got only 20\n"
    with pytest.raises(UnusableValueError):
        compare_runs(client, [3])


@pytest.mark.parametrize("command", [["show"], ["diff"]])
def test_a_range_without_runs_is_an_error(
    client: sqltrack.Client, options: list[str], command: list[str], capsys: Capture
) -> None:
    assert main([*command, "7-9", *options]) == 1
    assert capsys.readouterr().err == "sqltrack: there are no runs from 7 to 9\n"
    with pytest.raises(NotFoundError):
        describe_runs(client, [RunRange(7, 9)])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rewind", "3,20", "1"], "argument RUN: expected the id of one run, got several: '3,20'"),
        (["rewind", "3-7", "1"], "argument RUN: expected the id of one run, got several: '3-7'"),
        (["rewind", "three", "1"], "argument RUN: expected the id of a run, or a range such as 5-9, got 'three'"),
        (["show", "9-5"], "argument RUN: a range must begin with the smaller id, got '9-5'"),
        (["diff", "3,"], "argument RUN: expected the id of a run, or a range such as 5-9, got '3,'"),
    ],
)
def test_a_command_for_one_run_says_so(
    client: sqltrack.Client, options: list[str], arguments: list[str], message: str, capsys: Capture
) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*arguments, *options])
    assert caught.value.code == 2
    assert capsys.readouterr().err == f"sqltrack: {message}; see: sqltrack {arguments[0]} --help\n"


@pytest.mark.parametrize("ends", [("3,5", "20"), ("20", "3-6")])
def test_a_link_leads_from_one_run_to_one(
    client: sqltrack.Client, options: list[str], ends: tuple[str, str], capsys: Capture
) -> None:
    assert main(["link", ends[0], "repeats", ends[1], "--yes", *options]) == 1
    several = next(end for end in ends if not end.isdigit())
    message = f"a link connects two runs, got {several!r}; add a link for each"
    assert capsys.readouterr().err == f"sqltrack: {message}\n"


@pytest.mark.parametrize(("text", "named"), [("3", True), ("3-7,9", True), ("9-", True), ("loss", False), ("-", False)])
def test_texts_of_digits_commas_and_hyphens_name_runs(text: str, named: bool) -> None:
    assert names_runs(text) is named
