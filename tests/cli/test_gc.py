"""`sqltrack gc` deletes old runs by criteria, and keeps runs that may still be needed."""

from __future__ import annotations

import json
import os
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

import sqltrack
from sqltrack.cli import main
from sqltrack.commands.gc import apply_gc, plan_gc
from sqltrack.engines.admin import admin_of
from sqltrack.errors import UnusableValueError
from sqltrack.statuses import UNFINISHED_STATES
from support.connections import on_one_connection
from support.processes import run_together
from support.questions import CTRL_C, answer

from .conftest import PROGRAM

Capture = pytest.CaptureFixture[str]

# Id, experiment, status, days since the last update, number of rows of metrics, tags.
RUNS = (
    (1, "first", "FAILED", 40, 3, ()),
    (2, "first", "FAILED", 40, 0, ("marked",)),
    (3, "first", "FAILED", 10, 2, ()),
    (4, "second", "CANCELLED", 40, 0, ("keep",)),
    (5, "second", "COMPLETED", 40, 5, ()),
    (6, "second", "PLANNED", 40, 0, ()),
    (7, "first", "RUNNING", 40, 0, ()),
    (8, "first", "RUNNING", 0, 0, ()),
    (9, "second", "FAILED", 40, 1, ()),
    (10, "second", "FAILED", 40, 1, ()),
)
# Runs that stay, and the runs that they need: 5 resumes 9, which resumes 10.
LINKS = ((5, "resumes", 9), (9, "resumes", 10), (1, "repeats", 3))


@pytest.fixture
def client(client: sqltrack.Client) -> sqltrack.Client:
    with on_one_connection(client):
        # Not the time of the module: some runs must have been updated just before the test starts.
        now = datetime.now(timezone.utc)
        for run_id, experiment, status, days, rows, tags in RUNS:
            time = now - timedelta(days=days)
            run = sqltrack.Experiment(client, name=experiment).get_run(run_id).add_tags(*tags)
            for step in range(rows):
                run.add_metrics({"loss": 0.5}, step=step)
            # The last update counts.
            run.set_created(now - timedelta(days=100)).set_status(status).set_updated(time)
        for from_id, kind, to_id in LINKS:
            sqltrack.run_add_link(client, from_id, kind, to_id)
    return client


def dump(client: sqltrack.Client) -> list[Any]:
    tables = ("experiments", "runs", "run_links", "metrics")
    return [client.execute(f"SELECT * FROM {table} ORDER BY 1, 2, 3").fetchall() for table in tables]


def run_ids(client: sqltrack.Client) -> list[int]:
    return [run_id for (run_id,) in client.execute("SELECT id FROM runs ORDER BY id")]


@pytest.mark.parametrize(
    ("arguments", "deleted"),
    [
        (["--status", "FAILED"], [1, 3]),
        (["--status", "FAILED", "--older-than", "30d"], [1]),
        (["--status", "FAILED", "--older-than", "4w2d"], [1]),
        (["--status", "FAILED,CANCELLED", "--older-than", "700h"], [1, 4]),
        (["--status", "FAILED", "--experiment", "second"], []),
        (["--status", "FAILED", "--keep-tag", "other"], [1, 2, 3]),
        (["--without-metrics"], [4]),
        (["--without-metrics", "--keep-tag", "keep"], [2]),
        (["--without-metrics", "--status", "PLANNED,RUNNING"], [6, 7]),
        (["--experiment", "second", "--older-than", "30d"], [4, 5, 9, 10]),
        (["--experiment", "2", "--older-than", "50d"], []),
        (["--status", "COMPLETED"], [5]),
        (["--status", "COMPLETED,FAILED"], [1, 3, 5, 9, 10]),
        (["--status", "FAILED", "--older-than", "90min"], [1, 3]),
        (["--status", "nonsense"], []),
    ],
    ids=lambda value: " ".join(map(str, value)),
)
def test_runs_go_that_meet_all_criteria(
    client: sqltrack.Client, options: list[str], arguments: list[str], deleted: list[int], capsys: Capture
) -> None:
    before = dump(client)
    assert main(["gc", *arguments, "--dry-run", "--json", *options]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["done"], shown["runs"]) == (False, deleted)
    assert dump(client) == before
    assert main(["gc", *arguments, "--yes", *options]) == 0
    assert run_ids(client) == [run[0] for run in RUNS if run[0] not in deleted]
    left = client.execute("SELECT COUNT(*) FROM metrics").fetchone()[0]
    assert left == sum(run[4] for run in RUNS if run[0] not in deleted)


def test_runs_that_have_not_ended_are_kept_unless_their_status_is_named(
    client: sqltrack.Client, options: list[str]
) -> None:
    experiment = sqltrack.Experiment(client, name="unfinished")
    long_ago = datetime.now(timezone.utc) - timedelta(days=100)
    unfinished = {
        state: experiment.get_run().set_created(long_ago).set_status(state).set_updated(long_ago).id
        for state in UNFINISHED_STATES
    }
    assert main(["gc", "--without-metrics", "--experiment", "unfinished", "--yes", *options]) == 0
    assert set(unfinished.values()) <= set(run_ids(client))
    assert main(["gc", "--status", "SPECIAL_EXIT,RUNNING", "--experiment", "unfinished", "--yes", *options]) == 0
    left = {state for state, run_id in unfinished.items() if run_id in run_ids(client)}
    assert left == {*UNFINISHED_STATES} - {"SPECIAL_EXIT", "RUNNING"}


def test_what_is_kept_is_told(client: sqltrack.Client, options: list[str], capsys: Capture) -> None:
    assert main(["gc", "--status", "FAILED,RUNNING", "--yes", *options]) == 0
    output = capsys.readouterr()
    assert [line.rstrip() for line in output.out.splitlines()] == [
        "runs                3 (1, 3, 7)",
        "rows of metrics     5",
        "links               1",
        "kept for their tag  1 (2)",
        "kept for links      2 (9, 10)",
        "kept, active        1 (8)",
    ]
    assert output.err.startswith("3 runs, 5 rows of metrics and 1 link deleted\n")
    assert ("gc --vacuum" in output.err) == admin_of(client.engine).keeps_space
    assert main(["gc", "--status", "FAILED,RUNNING", "--json", "--yes", *options]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "done": False,
        "experiment": None,
        "runs": [],
        "metrics": 0,
        "links": 0,
        "kept_tagged": [2],
        "kept_linked": [9, 10],
        "kept_active": [8],
        "kept_changed": [],
    }


@pytest.mark.parametrize(
    "arguments", [[], ["--older-than", "30d"], ["--experiment", "first"], ["--keep-tag", "x"], ["--status", ""]]
)
def test_never_is_everything_deleted_by_accident(
    client: sqltrack.Client, options: list[str], arguments: list[str], capsys: Capture
) -> None:
    before = dump(client)
    if arguments == ["--status", ""]:
        with pytest.raises(SystemExit):
            main(["gc", *arguments, "--yes", *options])
    else:
        assert main(["gc", *arguments, "--yes", *options]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert dump(client) == before


@pytest.mark.parametrize("age", ["", "30", "d", "-3d", "0d", "1y", "99999999999d", "three days"])
def test_an_age_must_be_one(options: list[str], age: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["gc", "--status", "FAILED", f"--older-than={age}", *options])
    assert caught.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_impossible_arguments_are_one_line(client: sqltrack.Client, options: list[str], capsys: Capture) -> None:
    assert main(["gc", "--without-metrics", "--experiment", "firts", "--yes", *options]) == 1
    assert capsys.readouterr() == ("", "sqltrack: there is no experiment 'firts'; did you mean 'first'?\n")
    assert main(["gc", "--status", "FAILED", "--older-than", "999999d", "--yes", *options]) == 1
    assert capsys.readouterr().err.startswith("sqltrack: nothing can be older than")


def test_without_a_terminal_nothing_is_deleted(client: sqltrack.Client, options: list[str], capsys: Capture) -> None:
    before = dump(client)
    assert main(["gc", "--status", "FAILED", *options]) == 1
    assert capsys.readouterr().err.startswith("sqltrack: cannot ask for confirmation: ")
    assert dump(client) == before


@pytest.mark.parametrize(("text", "status"), [(CTRL_C, 130), ("n", 1), ("y", 0)])
def test_only_a_confirmation_deletes(
    client: sqltrack.Client, options: list[str], text: str | None, status: int
) -> None:
    before = dump(client)
    ended, output, errors = answer(["gc", "--status", "FAILED", *options], text)
    assert (ended, "kept for links" in output) == (status, True)
    assert errors.startswith("delete 2 runs, 5 rows of metrics and 1 link? [y/N] ")
    assert (dump(client) == before) == (status != 0)


def test_changes_before_the_confirmation_are_spared(client: sqltrack.Client) -> None:
    garbage = plan_gc(client, statuses=["FAILED"])
    sqltrack.run_add_tags(client, 1, "marked")
    sqltrack.Experiment(client, name="first").get_run(11).set_status("FAILED")
    garbage = apply_gc(client, garbage)
    # Run 1 stays now, and so does run 3, to which it links; the question did not include run 11.
    assert (garbage.deletion.runs, garbage.tagged, garbage.linked) == ([], [1], [3])
    assert len(run_ids(client)) == 11


def test_two_deletions_at_once_delete_the_same_as_one(client: sqltrack.Client, options: list[str]) -> None:
    command = [str(PROGRAM), "gc", "--status", "FAILED", "--yes", *options]
    assert [done.returncode for done in run_together([command] * 3)] == [0, 0, 0]
    assert run_ids(client) == [2, 4, 5, 6, 7, 8, 9, 10]


def test_space_can_be_given_back(
    client: sqltrack.Client, config: dict[str, Any], options: list[str], capsys: Capture
) -> None:
    client.execute(
        """
        INSERT INTO metrics (run_id, step)
        WITH RECURSIVE number (n) AS (SELECT 10 UNION ALL SELECT n + 1 FROM number WHERE n < 100000)
        SELECT 1, n FROM number
        """
    )
    assert main(["gc", "--status", "FAILED", "--yes", "--vacuum", *options]) == 0
    assert capsys.readouterr().err.splitlines()[-1] == "the space of deleted rows was reclaimed"
    if "dbpath" in config:
        assert os.path.getsize(config["dbpath"]) < 500_000
    assert main(["gc", "--vacuum", *options]) == 0
    assert run_ids(client) == [2, 4, 5, 6, 7, 8, 9, 10]


def test_a_plan_changes_nothing_and_lists_the_runs(client: sqltrack.Client) -> None:
    garbage = plan_gc(client, statuses=["FAILED"], older_than=timedelta(days=30))
    assert garbage.deletion[:-1] == (None, [1], 3, 1, None, False)
    assert (garbage.tagged, garbage.linked, garbage.active) == ([2], [9, 10], [])
    with pytest.raises(UnusableValueError):
        plan_gc(client, older_than=timedelta(days=30))
    assert len(run_ids(client)) == 10


def test_a_run_to_which_several_others_link_is_kept(client: sqltrack.Client) -> None:
    sqltrack.run_add_link(client, 6, "resumes", 9)
    garbage = plan_gc(client, statuses=["FAILED"])
    assert (garbage.deletion.runs, garbage.linked) == ([1, 3], [9, 10])


@pytest.mark.engines("sqlite")
def test_space_that_cannot_be_given_back_is_told(
    config: dict[str, Any],
    options: list[str],
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
    client: sqltrack.Client,
) -> None:
    monkeypatch.setenv("SQLTRACK_DSN_BUSY_TIMEOUT", "0.1")
    with sqltrack.Client(config) as other:
        other.execute("UPDATE runs SET comment = 'x'")
        assert main(["gc", "--vacuum", *options]) == 1
    output = capsys.readouterr()
    assert (output.out, output.err.count("\n")) == ("", 1)
    assert "locked" in output.err
