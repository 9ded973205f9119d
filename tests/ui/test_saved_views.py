"""Saved views: owners, names and defaults of experiments; and the history of queries."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack.ui import _history, _saved_views
from sqltrack.ui._history import History
from sqltrack.ui._saved_views import SavedViews
from support.ui_server import PageServer, serving_here

HEADERS = {"X-SQLTrack": "1"}


@pytest.fixture
def own_server(client: sqltrack.Client) -> Iterator[PageServer]:
    """A read-only server of an empty database."""
    with serving_here(client) as server:
        yield server


def views(server: PageServer, path: str = "/api/views") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = server.request("GET", path).json()["views"]
    return found


def save(server: PageServer, name: str, page: str = "runs", state: Any = None) -> str:
    id_: str = server.post("/api/views", {"name": name, "page": page, "state": state or {}}).json()["id"]
    return id_


def drop(server: PageServer, path: str) -> int:
    return server.request("DELETE", path, headers=HEADERS).status


def test_views_of_all_pages_are_listed_with_owner_and_by_name(own_server: PageServer) -> None:
    for name, page in (("b", "runs"), ("A", "curves"), ("c", "sql")):
        save(own_server, name, page)
    assert [(view["name"], view["page"], view["own"]) for view in views(own_server)] == [
        ("A", "curves", True),
        ("b", "runs", True),
        ("c", "sql", True),
    ]
    assert [view["name"] for view in views(own_server, "/api/views?page=curves")] == ["A"]
    assert len({view["owner"] for view in views(own_server)}) == 1


def test_a_renamed_view_keeps_its_address_and_its_old_name_is_free(own_server: PageServer) -> None:
    id_ = save(own_server, "old", state={"n": 1})
    assert own_server.post("/api/views", {"id": id_, "name": " new "}).json() == {"id": id_}
    other = save(own_server, "old", state={"n": 2})
    assert other != id_
    assert {view["name"]: view["state"] for view in views(own_server)} == {"new": {"n": 1}, "old": {"n": 2}}
    answer = own_server.post("/api/views", {"id": id_, "name": "old"})
    assert (answer.status, "already a view 'old'" in answer.json()["error"]) == (400, True)


def test_a_view_gets_another_state(own_server: PageServer) -> None:
    id_ = save(own_server, "a", state={"n": 1})
    own_server.post("/api/views", {"id": id_, "state": {"n": 2}})
    assert [(view["id"], view["name"], view["state"]) for view in views(own_server)] == [(id_, "a", {"n": 2})]


@pytest.mark.parametrize("body", [{"id": "v_none", "name": "a"}, {"id": "v_none", "state": {}}])
def test_an_unknown_view_cannot_be_changed(own_server: PageServer, body: dict[str, Any]) -> None:
    assert own_server.post("/api/views", body).json()["kind"] == "unknown"


@pytest.mark.parametrize("name", ["", " ", "x" * 201])
def test_a_new_name_must_be_valid(own_server: PageServer, name: str) -> None:
    id_ = save(own_server, "a")
    assert own_server.post("/api/views", {"id": id_, "name": name}).status == 400
    assert [view["name"] for view in views(own_server)] == ["a"]


def test_views_of_others_can_be_copied_but_not_changed(
    client: sqltrack.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_saved_views, "user_name", lambda: "ann")
    theirs = SavedViews(client, in_database=True).save_view("team", "runs", {"n": 1})
    monkeypatch.setattr(_saved_views, "user_name", lambda: "bob")
    with serving_here(client, edit=True) as server:
        (view,) = views(server)
        assert (view["owner"], view["own"]) == ("ann", False)
        answer = server.post("/api/views", {"id": theirs, "name": "mine"})
        assert (answer.status, "belongs to ann" in answer.json()["error"]) == (403, True)
        assert drop(server, f"/api/views?id={theirs}") == 403
        # The same name is another view.
        copy = save(server, "team", state=view["state"])
        assert copy != theirs
        assert drop(server, f"/api/views?id={copy}") == 200
        assert [view["id"] for view in views(server)] == [theirs]


def test_views_of_the_users_file_can_be_changed_on_a_server_that_edits(client: sqltrack.Client) -> None:
    with serving_here(client) as reading:
        id_ = save(reading, "mine")
    with serving_here(client, edit=True) as editing:
        assert editing.post("/api/views", {"id": id_, "name": "still mine"}).status == 200
        assert [(view["name"], view["own"]) for view in views(editing)] == [("still mine", True)]
        assert drop(editing, f"/api/views?id={id_}") == 200
        assert views(editing) == []


def test_an_experiment_has_a_default_view_until_the_view_is_deleted(
    own_server: PageServer, client: sqltrack.Client
) -> None:
    experiment = sqltrack.Experiment(client, name="first")
    id_ = save(own_server, "a")

    def defaults() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = own_server.request("GET", "/api/views").json()["defaults"]
        return found

    assert defaults() == []
    assert own_server.post("/api/defaults", {"experiment": "first", "view": id_}).status == 200
    assert defaults() == [{"experiment": "first", "view": id_}]
    # It stays the default of an experiment that is renamed.
    client.execute("UPDATE experiments SET name = %s WHERE id = %s", ("renamed", experiment.id))
    assert defaults() == [{"experiment": "renamed", "view": id_}]
    assert own_server.post("/api/defaults", {"experiment": "renamed", "view": None}).status == 200
    assert defaults() == []
    own_server.post("/api/defaults", {"experiment": "renamed", "view": id_})
    drop(own_server, f"/api/views?id={id_}")
    assert defaults() == []


def test_a_default_needs_an_experiment_and_a_view(own_server: PageServer, client: sqltrack.Client) -> None:
    sqltrack.Experiment(client, name="first")
    for body in ({"experiment": "none", "view": None}, {"experiment": "first", "view": "v_none"}):
        assert own_server.post("/api/defaults", body).json()["kind"] == "unknown"
    assert own_server.post("/api/defaults", {"experiment": 5}).status == 400


def test_the_users_default_comes_before_that_of_the_team(client: sqltrack.Client) -> None:
    sqltrack.Experiment(client, name="first")
    with serving_here(client, edit=True) as editing:
        team = save(editing, "team")
        editing.post("/api/defaults", {"experiment": "first", "view": team})
    with serving_here(client) as reading:
        assert reading.request("GET", "/api/views").json()["defaults"] == [{"experiment": "first", "view": team}]
        mine = save(reading, "mine")
        reading.post("/api/defaults", {"experiment": "first", "view": mine})
        assert reading.request("GET", "/api/views").json()["defaults"] == [{"experiment": "first", "view": mine}]
        reading.post("/api/defaults", {"experiment": "first", "view": None})
        assert reading.request("GET", "/api/views").json()["defaults"] == []


# History of queries


def history(server: PageServer) -> list[str]:
    return [entry["sql"] for entry in server.request("GET", "/api/history").json()["queries"]]


def test_queries_are_remembered_once_the_newest_first(
    own_server: PageServer, client: sqltrack.Client, tmp_path: Path
) -> None:
    for sql in ("SELECT 1", "SELECT 2", " SELECT 1\n"):
        assert own_server.post("/api/history", {"sql": sql, "rows": 1, "seconds": 0.5, "failed": False}).status == 200
    assert history(own_server) == ["SELECT 1", "SELECT 2"]
    entry = own_server.request("GET", "/api/history").json()["queries"][0]
    assert (entry["rows"], entry["seconds"], entry["failed"]) == (1, 0.5, False)
    (file,) = (tmp_path / ".local/state/sqltrack/ui").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with client as connection:
        assert not client.engine.table_columns(connection, "saved_views")
    # They are no views.
    assert views(own_server) == []


def test_a_team_does_not_see_the_history_of_a_user(client: sqltrack.Client) -> None:
    with serving_here(client, edit=True) as editing:
        editing.post("/api/history", {"sql": "SELECT 1"})
    with client as connection:
        assert not client.engine.table_columns(connection, "saved_views")


def test_queries_can_be_forgotten(own_server: PageServer) -> None:
    assert drop(own_server, "/api/history") == 200
    for sql in ("SELECT 1", "SELECT 2"):
        own_server.post("/api/history", {"sql": sql})
    (entry,) = (
        item for item in own_server.request("GET", "/api/history").json()["queries"] if item["sql"] == "SELECT 1"
    )
    assert drop(own_server, f"/api/history?id={entry['id']}") == 200
    assert history(own_server) == ["SELECT 2"]
    view = save(own_server, "a")
    assert drop(own_server, "/api/history") == 200
    assert history(own_server) == []
    assert [item["id"] for item in views(own_server)] == [view]


def test_queries_with_passwords_are_not_remembered(own_server: PageServer) -> None:
    own_server.post("/api/history", {"sql": "SELECT dblink('postgresql://ann:secret@host/db', 'SELECT 1')"})
    assert history(own_server) == []


@pytest.mark.parametrize("body", [{}, {"sql": " "}, {"sql": 5}, {"sql": "x" * 200_001}])
def test_only_queries_are_remembered(own_server: PageServer, body: dict[str, Any]) -> None:
    assert own_server.post("/api/history", body).status == 400


def test_old_queries_make_room(client: sqltrack.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_history, "_PRUNE", _history._PRUNE.replace(f"LIMIT {_history._KEPT}", "LIMIT 2"))
    kept = History(client)
    for number in range(4):
        kept.add({"sql": f"SELECT {number}"})
    assert [entry["sql"] for entry in kept.queries()] == ["SELECT 3", "SELECT 2"]


def test_history_and_states_do_not_displace_each_other(
    client: sqltrack.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited = _saved_views._PRUNE.replace(f"LIMIT {_saved_views._MOST_STATES}", "LIMIT 1")
    monkeypatch.setattr(_saved_views, "_PRUNE", limited)
    kept, saved = History(client), SavedViews(client, in_database=False)
    kept.add({"sql": "SELECT 1"})
    for number in range(3):
        saved.save_state({"n": number})
    assert [entry["sql"] for entry in kept.queries()] == ["SELECT 1"]


def test_other_sites_cannot_write_history_or_defaults(own_server: PageServer) -> None:
    for path in ("/api/history", "/api/defaults"):
        assert own_server.request("POST", path, body={"sql": "SELECT 1"}).status == 403
        assert (
            own_server.request("POST", path, body={}, headers={**HEADERS, "Origin": "http://evil.example"}).status
            == 403
        )
    assert drop(own_server, "/api/defaults") == 405
