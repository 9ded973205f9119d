"""Statuses are set, runs are linked in one transaction, and changes of tags, comments and statuses are undone."""

from __future__ import annotations

from typing import Any

import pytest

import sqltrack
from sqltrack.commands.comment import plan_comment
from sqltrack.commands.edits import Edit, apply_edit
from sqltrack.commands.link import plan_links
from sqltrack.commands.mv import plan_mv
from sqltrack.commands.run_ranges import RunRange
from sqltrack.commands.status import plan_status
from sqltrack.commands.tag import plan_tag
from sqltrack.commands.undo import Undo, apply_undoable, plan_undo
from sqltrack.engines.json import Jsonb
from sqltrack.errors import ConflictError, NotFoundError, UnusableValueError
from support.connections import on_one_connection


@pytest.fixture
def client(client: sqltrack.Client) -> sqltrack.Client:
    """Runs 5, 6 and 7 of an experiment, with tags and comments; a script gave a tag of run 6 a value."""
    with on_one_connection(client):
        experiment = sqltrack.Experiment(client, name="first").add_tags("old")
        experiment.get_run(5).add_tags("draft").set_comment("old").set_status("FAILED")
        experiment.get_run(6).set_status("RUNNING")
        experiment.get_run(7)
        client.execute("UPDATE runs SET tags = %s WHERE id = 6", (Jsonb({"draft": "v2", "x": True}),))
    return client


def rows(client: sqltrack.Client) -> list[Any]:
    runs = client.execute("SELECT id, status, comment, tags FROM runs ORDER BY id").fetchall()
    return [*runs, *client.execute("SELECT comment, tags FROM experiments").fetchall()]


def applied(client: sqltrack.Client, edit: Edit) -> Undo:
    undo = apply_undoable(client, edit).undo
    assert undo is not None
    return undo


def test_statuses_are_set_and_nothing_else(client: sqltrack.Client) -> None:
    sql = "SELECT id, time_created, time_started, time_updated FROM runs ORDER BY id"
    times = client.execute(sql).fetchall()
    made = apply_edit(client, plan_status(client, [RunRange(5, 7)], " FAILED "))
    assert [(change.id, change.old, change.new) for change in made] == [
        (6, "RUNNING", "FAILED"),
        (7, "PLANNED", "FAILED"),
    ]
    assert [row[1] for row in rows(client)[:3]] == ["FAILED"] * 3
    assert client.execute(sql).fetchall() == times


@pytest.mark.parametrize("status", ["", "  ", "a\nb", "a\0"])
def test_an_unusable_status_is_refused(client: sqltrack.Client, status: str) -> None:
    with pytest.raises(UnusableValueError, match="status"):
        plan_status(client, [5], status)
    with pytest.raises(UnusableValueError, match="no runs"):
        plan_status(client, [], "FAILED")


def test_many_runs_are_linked_to_one(client: sqltrack.Client) -> None:
    sql = "SELECT from_id, kind, to_id FROM run_links ORDER BY from_id"
    apply_edit(client, plan_links(client, [6], "repeats", 5))
    planned = plan_links(client, [6, 7], "repeats", 5)
    assert [(change.id, change.new) for change in planned.changes] == [(7, "repeats 5")]
    apply_edit(client, planned)
    assert client.execute(sql).fetchall() == [(6, "repeats", 5), (7, "repeats", 5)]
    assert plan_links(client, [6], "resumes", 5, remove=True).changes == []
    apply_edit(client, plan_links(client, [5, 6, 7], "repeats", 5, remove=True))
    assert client.execute(sql).fetchall() == []
    with pytest.raises(UnusableValueError, match="itself"):
        plan_links(client, [5, 6], "repeats", 5)
    with pytest.raises(NotFoundError, match="no run 9"):
        plan_links(client, [5, 6], "repeats", 9)
    with pytest.raises(UnusableValueError, match="no runs"):
        plan_links(client, [], "repeats", 5)


@pytest.mark.parametrize("field", ["tags", "tags of an experiment", "comment", "status"])
def test_a_change_is_undone_and_made_again(client: sqltrack.Client, field: str) -> None:
    """Also the value that a script has given a tag comes back, and a run without tags has none again."""
    planned = {
        "tags": lambda: plan_tag(client, [5, 6, 7], add=["draft", "new"], remove=["x"]),
        "tags of an experiment": lambda: plan_tag(client, experiment="first", add=["new"], remove=["old"]),
        "comment": lambda: plan_comment(client, [5, 6, 7], "new"),
        "status": lambda: plan_status(client, [5, 6, 7], "COMPLETED"),
    }[field]()
    before = rows(client)
    undo = applied(client, planned)
    after = rows(client)
    assert after != before
    again = applied(client, plan_undo(client, undo))
    assert rows(client) == before
    assert plan_undo(client, undo).changes == []
    apply_edit(client, plan_undo(client, again))
    assert rows(client) == after


def test_the_plan_of_an_undo_shows_tags_as_lists(client: sqltrack.Client) -> None:
    undo = applied(client, plan_tag(client, [5, 7], add=["new"]))
    changes = plan_undo(client, undo).changes
    assert [(change.id, change.old, change.new) for change in changes] == [
        (5, ["draft", "new"], ["draft"]),
        (7, ["new"], []),
    ]


def test_later_changes_are_not_undone_with_it(client: sqltrack.Client) -> None:
    undo = applied(client, plan_comment(client, [5, 6], "new"))
    planned = plan_undo(client, undo)
    sqltrack.run_set_comment(client, 6, "newer")
    before = rows(client)
    for attempt in (lambda: plan_undo(client, undo), lambda: apply_edit(client, planned)):
        with pytest.raises(ConflictError, match="comment of run 6 changed since"):
            attempt()
    client.execute("DELETE FROM runs WHERE id = 6")
    with pytest.raises(ConflictError, match="run 6 was deleted"):
        plan_undo(client, undo)
    assert rows(client) == [row for row in before if row[0] != 6]


def test_a_conflict_leaves_everything_as_it_was(client: sqltrack.Client) -> None:
    planned = plan_tag(client, [5, 6], add=["new"])
    sqltrack.run_add_tags(client, 6, "other")
    before = rows(client)
    with pytest.raises(ConflictError, match="run 6 has changed"):
        apply_undoable(client, planned)
    assert rows(client) == before


def test_what_cannot_be_undone_is_told(client: sqltrack.Client) -> None:
    assert apply_undoable(client, plan_mv(client, [5], "second", create=True)).undo is None
    assert apply_undoable(client, plan_links(client, [6], "resumes", 5)).undo is None


def test_many_runs_are_tagged_in_one_transaction(client: sqltrack.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    with client as connection:
        for first in range(1_000, 3_000, 200):
            values = ", ".join(f"({id_}, 1)" for id_ in range(first, first + 200))
            connection.execute(f"INSERT INTO runs (id, experiment_id) VALUES {values}")
    planned = plan_tag(client, [RunRange(1, 3_000)], add=["new"], remove=["draft"])
    before = rows(client)
    execute, statements = client.execute, list[str]()

    def fail_later(sql: str, values: Any) -> Any:
        statements.append(sql)
        if len(statements) == 6:
            raise KeyboardInterrupt
        return execute(sql, values)

    monkeypatch.setattr(client, "execute", fail_later)
    with pytest.raises(KeyboardInterrupt):
        apply_undoable(client, planned)
    monkeypatch.undo()
    assert rows(client) == before
    assert len(applied(client, planned).after) == 2_003
