"""Changes between a plan and its application are not overwritten, moved or deleted unseen."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

import sqltrack
from sqltrack.cli import main
from sqltrack.commands.edits import apply_edit
from sqltrack.commands.gc import apply_gc, plan_gc
from sqltrack.commands.mv import plan_mv
from sqltrack.commands.reap import apply_reap, plan_reap
from sqltrack.commands.rename import plan_rename
from sqltrack.commands.rename_metric import apply_rename_metric, plan_rename_metric
from sqltrack.commands.rewind import apply_rewind, plan_rewind
from sqltrack.commands.rm import apply_rm, plan_rm
from sqltrack.commands.tag import plan_tag
from sqltrack.errors import ConflictError, NotFoundError
from support.connections import on_one_connection
from support.dumps import dump
from support.extras import add_extras, column, columns

LONG_AGO = datetime(2020, 1, 1, tzinfo=timezone.utc)
Capture = pytest.CaptureFixture[str]
Change = Callable[[sqltrack.Client], object]


@pytest.fixture
def client(client: sqltrack.Client) -> sqltrack.Client:
    """Runs 5 and 6 of an experiment and 9 of another, which ended long ago."""
    with on_one_connection(client):
        for run_id, name in ((5, "first"), (6, "first"), (9, "second")):
            run = sqltrack.Experiment(client, name=name).get_run(run_id)
            for step in range(3):
                run.add_metrics({"acc": run_id + step / 10}, step, updated=LONG_AGO)
            run.set_status("FAILED").set_created(LONG_AGO).set_started(LONG_AGO).set_updated(LONG_AGO)
    return client


def run(client: sqltrack.Client, run_id: int) -> sqltrack.Run:
    return sqltrack.Run(client, run_id=run_id)


def resume(client: sqltrack.Client, run_id: int = 5) -> None:
    """Let a run log more, and end again with its old status."""
    with run(client, run_id).track(normal="FAILED"):
        run(client, run_id).add_metrics({"acc": 0.5}, 1000)


def log_silently(client: sqltrack.Client) -> None:
    client.execute("INSERT INTO metrics (run_id, step, progress) VALUES (5, 1000, 0)")


def move(client: sqltrack.Client, run_id: int = 5, name: str = "second") -> None:
    apply_edit(client, plan_mv(client, [run_id], name, create=True))


def rename(client: sqltrack.Client) -> None:
    apply_edit(client, plan_rename(client, "first", "paper"))


CHANGES: dict[str, tuple[Change, str]] = {
    "resumed": (resume, "run 5 has changed in the meantime: time_started was 2020-01-01T00:00:00"),
    "logged": (log_silently, "run 5 has changed in the meantime: rows of metrics was 3, is 4"),
    "status": (lambda client: run(client, 5).set_status("DONE"), "status was 'FAILED', is 'DONE'"),
    "moved": (move, "experiment was 'first', is 'second'"),
    "renamed": (rename, "experiment was 'first', is 'paper'"),
    "linked": (lambda client: sqltrack.run_add_link(client, 9, "resumes", 5), "links was 0, is 1"),
    "commented": (lambda client: run(client, 5).set_comment("keep"), "comment was missing, is 'keep'"),
    "tagged": (lambda client: run(client, 5).add_tags("keep"), "tags was missing, is {'keep': True}"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_runs_are_not_deleted_if_they_are_not_as_they_were_shown(client: sqltrack.Client, name: str) -> None:
    change, says = CHANGES[name]
    planned = plan_rm(client, [6, 5])
    change(client)
    before = dump(client)
    with pytest.raises(ConflictError) as info:
        apply_rm(client, planned)
    assert says in info.value.message
    assert info.value.advice == "nothing was deleted, look again"
    assert dump(client) == before
    # If the plan was not shown, the figures are those of the deletion.
    done = apply_rm(client, planned, even_if_changed=True)
    assert (done.metrics, done.links) == (6 + (name in ("resumed", "logged")), int(name == "linked"))


@pytest.mark.parametrize("change", [rename, move, lambda client: move(client, 9, "first")])
def test_an_experiment_is_not_deleted_if_it_is_not_as_it_was_shown(client: sqltrack.Client, change: Change) -> None:
    planned = plan_rm(client, experiment="first")
    change(client)
    before = dump(client)
    with pytest.raises(ConflictError, match="nothing was deleted, look again"):
        apply_rm(client, planned)
    assert dump(client) == before
    done = apply_rm(client, planned, even_if_changed=True)
    left = [run_id for (run_id,) in client.execute("SELECT id FROM runs ORDER BY id")]
    assert left == [run_id for run_id in (5, 6, 9) if run_id not in done.runs]


def test_an_experiment_that_is_gone_was_not_deleted_here(client: sqltrack.Client) -> None:
    planned = plan_rm(client, experiment="first")
    apply_rm(client, plan_rm(client, experiment="first"))
    with pytest.raises(NotFoundError, match="no experiment 1 any more"):
        apply_rm(client, planned, even_if_changed=True)


def test_a_run_that_was_seen_running_may_log_but_not_end(client: sqltrack.Client) -> None:
    """With --force the user has seen that it is running, and a plan would be outdated after every step."""
    started = run(client, 5).start()
    deletion, rewinding = plan_rm(client, [5], force=True), plan_rewind(client, 5, 1, force=True)
    started.add_metrics({"acc": 0.5}, 1000)
    assert apply_rewind(client, rewinding).rows == 2
    started.add_metrics({"acc": 0.5}, 1000)
    deletion, rewinding = plan_rm(client, [5], force=True), plan_rewind(client, 5, 1, force=True)
    started.stop()
    for apply in (lambda: apply_rm(client, deletion), lambda: apply_rewind(client, rewinding)):
        with pytest.raises(ConflictError, match="status was 'RUNNING', is 'COMPLETED'"):
            apply()
    assert apply_rm(client, plan_rm(client, [5])).metrics == 3


@pytest.mark.parametrize("change", [resume, log_silently, move])
def test_nothing_is_rewound_that_was_logged_since(client: sqltrack.Client, change: Change) -> None:
    planned = plan_rewind(client, 5, 1)
    change(client)
    before = dump(client)
    with pytest.raises(ConflictError, match="run 5 has changed in the meantime: .*; nothing was removed, look again"):
        apply_rewind(client, planned)
    assert dump(client) == before
    assert apply_rewind(client, planned, even_if_changed=True).rows == 1 + (change is not move)


def test_a_run_that_is_gone_is_not_rewound(client: sqltrack.Client) -> None:
    planned = [plan_rewind(client, 5, 1, force=force) for force in (False, True)]
    apply_rm(client, plan_rm(client, [5]))
    for each in planned:
        with pytest.raises(NotFoundError, match="there is no run 5"):
            apply_rewind(client, each)


@pytest.mark.parametrize("name", CHANGES)
def test_garbage_that_has_changed_is_kept_and_told(client: sqltrack.Client, name: str) -> None:
    planned = plan_gc(client, statuses=["FAILED", "DONE"])
    assert planned.deletion.runs == [5, 6, 9]
    CHANGES[name][0](client)
    spared = {"renamed": [5, 6], "linked": [5, 9]}.get(name, [5])
    done = apply_gc(client, planned)
    assert (done.changed, done.deletion.runs) == (spared, [run_id for run_id in (5, 6, 9) if run_id not in spared])
    assert done.deletion.metrics == 3 * len(done.deletion.runs)
    again = apply_gc(client, plan_gc(client, statuses=["FAILED", "DONE"]))
    assert (again.changed, again.deletion.runs) == ([], spared)


def test_a_silent_run_is_not_marked_if_it_was_restarted_or_moved(client: sqltrack.Client) -> None:
    client.execute("UPDATE runs SET status = 'RUNNING', time_updated = NULL")
    findings, _ = plan_reap(client, older_than=timedelta(days=1), experiment="first")
    run(client, 5).start(updated=None)._tracking = None
    move(client, 6)
    done = apply_reap(client, findings)
    assert [finding.marked for finding in done] == [False, False]
    assert "changed in the meantime: time_started was" in done[0].why
    assert "changed in the meantime: experiment was 'first', is 'second'" in done[1].why
    assert client.execute("SELECT DISTINCT status FROM runs").fetchall() == [("RUNNING",)]


def test_runs_are_not_moved_to_another_experiment_that_got_the_name(client: sqltrack.Client) -> None:
    planned = plan_mv(client, [5], "second")
    apply_edit(client, plan_rename(client, "second", "third"))
    sqltrack.Experiment(client, name="second")
    before = dump(client)
    with pytest.raises(ConflictError, match="experiment 'second' has changed in the meantime: id was"):
        apply_edit(client, planned)
    assert dump(client) == before


def test_an_edit_says_what_has_changed(client: sqltrack.Client) -> None:
    planned = plan_tag(client, [(5, 9)], add=["a"])
    run(client, 6).add_tags("b")
    with pytest.raises(
        ConflictError, match=r"run 6 has changed .*: tags was \[\], is \['b'\]; nothing was changed, look"
    ):
        apply_edit(client, planned)
    run(client, 6).set_tags()
    sqltrack.Experiment(client, name="first").get_run(7)
    with pytest.raises(ConflictError, match="run 7 has changed in the meantime: it is new"):
        apply_edit(client, planned)


QUESTIONS: dict[str, tuple[list[str], str]] = {
    "rm": (["rm", "5"], "nothing was deleted, look again"),
    "rewind": (["rewind", "5", "1"], "nothing was removed, look again"),
    "tag": (["tag", "5", "--add", "keep"], "nothing was changed, look again"),
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_the_program_refuses_changes_while_it_asks(
    client: sqltrack.Client, options: list[str], name: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    arguments, says = QUESTIONS[name]

    def agree(question: str, *, yes: bool) -> bool:
        resume(client)
        run(client, 5).add_tags("other")
        return True

    monkeypatch.setattr("sqltrack.cli._confirm.confirm", agree)
    assert main([*arguments, *options]) == 1
    assert "run 5 has changed in the meantime: " in (error := capsys.readouterr().err)
    assert says in error
    assert client.execute("SELECT COUNT(*) FROM metrics WHERE run_id = 5").fetchone() == (4,)


def test_the_program_prints_the_numbers_of_deleted_rows(
    client: sqltrack.Client, options: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """With --yes the program has shown no other figures."""
    plan = plan_rm

    def plan_and_log(*arguments: Any, **named: Any) -> Any:
        planned = plan(*arguments, **named)
        resume(client)
        return planned

    monkeypatch.setattr("sqltrack.cli._commands.rm.plan_rm", plan_and_log)
    assert main(["rm", "5", "--yes", "--json", *options]) == 0
    output = capsys.readouterr()
    assert json.loads(output.out)["metrics"] == 4
    assert output.err.startswith("1 run, 4 rows of metrics and 0 links deleted\n")


# rename-metric

FIRST, SECOND = [5.0, 5.1, 5.2, 6.0, 6.1, 6.2], [9.0, 9.1, 9.2]


@pytest.mark.parametrize("run_id", [5, None], ids=["moved", "deleted"])
def test_values_of_runs_that_have_left_the_experiment_are_not_renamed(
    client: sqltrack.Client, run_id: int | None
) -> None:
    add_extras(client, 6, {5: {"acc": 1}})
    planned = plan_rename_metric(client, "acc", "accuracy", experiment="first")
    assert planned.runs == (5, 6)
    if run_id is None:
        apply_rm(client, plan_rm(client, [5]))
    else:
        move(client, run_id)
    before = dump(client)
    with pytest.raises(ConflictError, match="run 5 has changed in the meantime: .*; look again"):
        apply_rename_metric(client, planned)
    assert dump(client) == before


def test_values_of_runs_that_have_come_to_the_experiment_stay_in_columns_and_in_extras(client: sqltrack.Client) -> None:
    for run_id in (5, 9):
        add_extras(client, run_id, {5: {"acc": run_id}})
    planned = plan_rename_metric(client, "acc", "accuracy", experiment="first")
    move(client, 9, "first")
    done = apply_rename_metric(client, planned)
    assert (done.values, done.extras, done.left, done.both) == (6, 1, 4, 0)
    assert [value for value in column(client, "acc") if value is not None] == SECOND
    extras = client.execute("SELECT extras FROM metrics WHERE extras IS NOT NULL ORDER BY run_id").fetchall()
    assert extras == [({"accuracy": 5},), ({"acc": 9},)]


def test_a_run_that_leaves_the_experiment_in_the_middle_keeps_its_values(client: sqltrack.Client) -> None:
    planned = plan_rename_metric(client, "acc", "accuracy", experiment="first")
    done = apply_rename_metric(client, planned, lambda number: move(client, 6) if number == 1 else None)
    assert (done.values, done.left) == (3, 0)
    assert [value for value in column(client, "accuracy") if value is not None] == FIRST[:3]


@pytest.mark.parametrize(
    ("options", "change"),
    [
        ({}, ("acc", "accuracy")),
        ({}, ("acc", "other")),
        ({}, ("new", "accuracy")),
        ({"experiment": "first"}, ("acc", "other")),
        ({"merge": True}, ("acc", "known")),
    ],
)
def test_of_two_users_who_rename_one_gets_an_error(
    client: sqltrack.Client, options: dict[str, Any], change: tuple[str, str]
) -> None:
    run(client, 9).add_metrics({"known": 0.5, "new": 0.5}, 2000)
    target = "known" if "merge" in options else "accuracy"
    planned = plan_rename_metric(client, "acc", target, **options)
    apply_rename_metric(client, plan_rename_metric(client, *change, merge="merge" in options))
    before = dump(client)
    with pytest.raises(ConflictError, match="in the meantime; look again"):
        apply_rename_metric(client, planned)
    assert dump(client) == before


def test_who_is_faster_by_a_moment_only_is_told_as_well(
    client: sqltrack.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = plan_rename_metric(client, "acc", "accuracy")
    seen = plan_rename_metric(client, "acc", "accuracy")

    def be_faster(*arguments: Any) -> set[Any]:
        monkeypatch.undo()
        apply_rename_metric(client, seen)
        return set()

    monkeypatch.setattr("sqltrack.commands.rename_metric._taken_rows", be_faster)
    with pytest.raises(ConflictError, match="'acc' has been renamed or removed in the meantime"):
        apply_rename_metric(client, planned)


@pytest.mark.parametrize("in_extras", [False, True])
def test_values_that_remain_are_counted_with_the_reason(
    client: sqltrack.Client,
    options: list[str],
    in_extras: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
) -> None:
    """Rows with values of both metrics stay as they are; runs that start in the meantime are moved with the others."""
    run(client, 9).add_metrics({"accuracy": 0.5}, 2000)
    add_extras(client, 9, {3000: {"acc": 1}})

    def agree(question: str, *, yes: bool) -> bool:
        if in_extras:
            add_extras(client, 5, {1: {"accuracy": 0.75}})
        else:
            run(client, 5).add_metrics({"accuracy": 0.75}, 1)
        run(client, 9).add_metrics({"accuracy": 0.75}, 3000)
        sqltrack.Experiment(client, name="first").get_run(10).add_metrics({"acc": 10.0}, 0)
        return True

    monkeypatch.setattr("sqltrack.cli._confirm.confirm", agree)
    assert main(["rename-metric", "acc", "accuracy", "--merge", "--json", *options]) == 1
    output = capsys.readouterr()
    assert output.err.endswith("renamed, but 'acc' still has 2 values: 2 in rows with values of both\n")
    record = json.loads(output.out)
    assert (record["values"], record["extras"], record["left"], record["both"]) == (9, 0, 2, 2)
    assert [value for value in column(client, "acc") if value is not None] == [5.1]


def test_values_that_come_later_are_told(
    client: sqltrack.Client, options: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def agree(question: str, *, yes: bool) -> bool:
        sqltrack.Experiment(client, name="first").get_run(10).add_metrics({"acc": 10.0}, 0)
        return True

    monkeypatch.setattr("sqltrack.cli._confirm.confirm", agree)
    assert main(["rename-metric", "acc", "accuracy", "--experiment", "first", *options]) == 0
    assert capsys.readouterr().err.endswith("renamed, but 'acc' still has 1 value: 1 that came in the meantime\n")
    assert "acc" in columns(client)


def test_a_namesake_in_extras_gets_the_new_name_too(client: sqltrack.Client) -> None:
    """The column has priority, as before."""
    run(client, 9).add_metrics({"accuracy": 0.5}, 2000)
    add_extras(client, 5, {1: {"acc": 1}})
    done = apply_rename_metric(client, plan_rename_metric(client, "acc", "accuracy", merge=True))
    assert (done.values, done.extras, done.left) == (9, 1, 0)


# --json

COMMANDS = (
    ["rm", "5"],
    ["gc", "--status", "FAILED"],
    ["reap", "--older-than", "1h"],
    ["rewind", "5", "1"],
    ["tidy"],
    ["rename-metric", "acc", "accuracy"],
    ["link", "5", "resumes", "6"],
    ["tag", "5", "--add", "a"],
    ["comment", "5", "a"],
    ["rename", "first", "third"],
    ["mv", "5", "second"],
)


def test_the_plan_is_printed_as_json_without_a_terminal(
    client: sqltrack.Client, options: list[str], capsys: Capture
) -> None:
    run(client, 9).set_status("RUNNING").set_updated(LONG_AGO)
    add_extras(client, 5, {1: {"late": 1}})
    before = dump(client)
    for arguments in COMMANDS:
        assert main([*arguments, "--json", *options]) == 1, arguments
        output = capsys.readouterr()
        planned = json.loads(output.out)
        assert "cannot ask for confirmation: standard input is not a terminal (use --yes)\n" in output.err, arguments
        assert dump(client) == before, arguments
        assert main([*arguments, "--json", "--dry-run", *options]) == 0, arguments
        assert json.loads(capsys.readouterr().out) == planned, arguments
