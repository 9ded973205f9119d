"""Answers of the server: strict JSON, saved views, exports, and files that browsers keep."""

from __future__ import annotations

import asyncio
import csv
import gzip
import io
import json
import math
import re
import socket
import stat
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

import sqltrack
from sqltrack.commands.setup import set_up_quietly
from sqltrack.ui import _saved_views, create_app
from sqltrack.ui._json import encode, read_object
from sqltrack.ui._saved_views import SavedViews
from support.away import Outage
from support.ui_server import TOKEN, PageServer, serving_here, talk

FILTER = {"facets": [], "where": None, "search": None, "ids": None}


@pytest.fixture
def own_server(client: sqltrack.Client) -> Iterator[PageServer]:
    """A read-only server of an empty database."""
    with serving_here(client) as server:
        yield server


# JSON


@dataclass
class Point:
    x: float
    y: Any


def test_answers_are_strict_json_with_all_digits() -> None:
    value = {
        "numbers": [1.5, math.nan, math.inf, -math.inf, 2**53, 2**53 + 1, -(2**60)],
        "curve": [0.1, 0.2],
        "text": "</script>\u2028\ud800é",
        "time": datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=timezone.utc),
        "duration": timedelta(minutes=1.5),
        "point": Point(1.0, (True, None)),
        "decimal": [Decimal("0.5"), Decimal(10**20), Decimal("NaN")],
        "bytes": b"\x00\xff",
        5: {1},
    }
    text = encode(value).decode("ascii")
    assert json.loads(text, parse_constant=pytest.fail) == {
        "numbers": [
            1.5,
            {"$number": "NaN"},
            {"$number": "Infinity"},
            {"$number": "-Infinity"},
            2**53,
            {"$number": "9007199254740993"},
            {"$number": "-1152921504606846976"},
        ],
        "curve": [0.1, 0.2],
        "text": "</script>\u2028\ud800é",
        "time": "2026-01-02T03:04:05.000006+00:00",
        "duration": 90.0,
        "point": {"x": 1.0, "y": [True, None]},
        "decimal": [0.5, {"$number": str(10**20)}, {"$number": "NaN"}],
        "bytes": "00ff",
        "5": [1],
    }


def test_requests_are_objects_of_strict_json() -> None:
    assert read_object('{"a": [1, "b"]}') == {"a": [1, "b"]}
    for text in ("", "[]", "null", '{"a": NaN}', '{"a": -Infinity}', "[" * 100_000, b"\xff"):
        with pytest.raises(ValueError, match=r"JSON|object"):
            read_object(text)


# Calls


def test_each_call_of_the_page_is_answered(server: PageServer) -> None:
    for name in ("about", "columns", "facets", "experiments", "live"):
        assert server.ask(name).status == 200, name
    assert server.ask("runs", {"filter": FILTER, "columns": None, "sort": []}).json()["total"] == 3
    ids = server.ask("best", {"filter": FILTER, "metric": "loss", "how": "min", "k": 2}).json()["ids"]
    assert len(ids) == 2
    assert server.ask("metrics", {"runs": ids}).json()["metrics"][0]["name"] == "loss"
    assert server.ask("run", {"id": ids[0]}).json()["run"]["id"] == ids[0]
    assert server.ask("compare", {"runs": ids}).json()["runs"][0]["id"] in ids
    assert server.ask("changes", {"runs": ids}).json()["version"]
    curves = server.ask("curves", {"runs": ids, "metrics": ["loss"], "x": "step"}).json()["curves"]
    assert {curve["run"] for curve in curves} == set(ids)


def test_about_tells_what_the_page_needs_and_no_password(server: PageServer, engine_name: str) -> None:
    about = server.ask("about").json()
    assert (about["engine"], about["edit"], about["views_kept"], about["runs"]) == (engine_name, False, "file", 3)
    assert about["version_of_sqltrack"]
    assert {"running", "done", "failed"} <= {group["name"] for group in about["statuses"]}
    assert "password" not in json.dumps(about)


@pytest.mark.parametrize(
    ("call", "spec", "status", "kind"),
    [
        ("run", {"id": 10**6}, 404, "unknown"),
        ("runs", {"filter": {**FILTER, "where": "no_such_column = 1"}}, 400, "where"),
        ("runs", {"filter": {**FILTER, "where": "1 = 1); DELETE FROM runs; --"}}, 400, "where"),
        ("runs", {"columns": [["nothing"]]}, 404, "unknown"),
        ("runs", {"limit": "many"}, 400, "request"),
        ("nothing", {}, 404, "unknown"),
    ],
)
def test_an_error_is_a_sentence_and_a_kind(
    server: PageServer, call: str, spec: dict[str, Any], status: int, kind: str
) -> None:
    answer = server.ask(call, spec)
    assert (answer.status, answer.json()["kind"]) == (status, kind)
    assert answer.json()["error"]
    assert server.ask("runs").json()["total"] == 3


def test_a_fault_of_the_server_is_logged_and_told(
    server: PageServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("sqltrack.ui._api.user_name", lambda: 1 / 0)
    answer = server.ask("about")
    assert (answer.status, answer.json()["kind"]) == (500, "request")
    assert "ZeroDivisionError" in answer.json()["error"]
    assert "ZeroDivisionError" in caplog.text


def test_a_long_request_is_sent_before_and_named_by_its_id(server: PageServer) -> None:
    spec = {"filter": {**FILTER, "search": "x" * 5_000}}
    id_ = server.post("/api/states?keep=no", spec).json()["id"]
    answer = server.request("GET", f"/api/runs?state={id_}")
    assert answer.json()["total"] == 0
    assert server.request("GET", "/api/runs?state=s_none").json()["kind"] == "unknown"
    # It is in memory only.
    assert server.request("GET", f"/api/states?id={id_}").status == 404


def test_many_requests_at_once_are_all_answered(server: PageServer) -> None:
    answers: list[int] = []
    threads = [threading.Thread(target=lambda: answers.append(server.ask("runs").status)) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 30


def test_the_page_says_that_the_database_is_away_and_recovers(empty_config: dict[str, Any]) -> None:
    client = sqltrack.Client(empty_config)
    outage = Outage(empty_config)
    is_server = empty_config["engine"] == "postgres"
    if is_server:
        # A SQLite file is away until it is created.
        outage.begin()
    with serving_here(client) as server:
        answers = [server.ask(name) for name in ("runs", "about")]
        assert {(answer.status, answer.json()["kind"]) for answer in answers} == {(503, "database")}
        assert all(answer.json()["error"] for answer in answers)
        assert server.request("GET", "/").status == 200
        if is_server:
            outage.end()
        set_up_quietly(client)
        assert server.ask("runs").json()["total"] == 0
        if is_server:
            outage.begin()
            assert server.ask("runs").status == 503
            outage.end()
            assert server.ask("runs").status == 200


# Saved views


def test_views_are_kept_in_a_private_file_and_the_database_has_no_table(
    own_server: PageServer, client: sqltrack.Client, tmp_path: Path
) -> None:
    state = {"columns": [["args", '"; DROP TABLE runs; --'], ["metric", "max", "\u202e\x00é"]], "sort": []}
    id_ = own_server.post("/api/views", {"name": " best ", "page": "runs", "state": state}).json()["id"]
    own_server.post("/api/views", {"name": "other", "page": "curves", "state": {}})
    (view,) = own_server.request("GET", "/api/views?page=runs").json()["views"]
    assert (view["id"], view["name"], view["page"], view["state"]) == (id_, "best", "runs", state)
    assert datetime.fromisoformat(view["updated"]).tzinfo is not None
    assert own_server.request("GET", f"/api/states?id={id_}").json() == {"state": state}
    (file,) = (tmp_path / ".local/state/sqltrack/ui").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    with client as connection:
        assert not client.engine.table_columns(connection, "saved_views")


def test_with_edit_views_are_kept_in_the_database_for_all(client: sqltrack.Client, tmp_path: Path) -> None:
    with serving_here(client, edit=True) as editing:
        id_ = editing.post("/api/views", {"name": "team", "page": "runs", "state": {"a": 1}}).json()["id"]
        assert editing.ask("about").json()["views_kept"] == "database"
        # Nothing else can be written yet.
        assert editing.post("/api/runs", {}).status == 405
    rows = client.execute("SELECT id, page, name, state FROM saved_views").fetchall()
    assert [tuple(row) for row in rows] == [(id_, "runs", "team", '{"a": 1}')]
    assert not (tmp_path / ".local").exists()
    with serving_here(client) as reading:
        reading.post("/api/views", {"name": "mine", "page": "runs", "state": {}})
        names = [view["name"] for view in reading.request("GET", "/api/views?page=runs").json()["views"]]
        assert names == ["mine", "team"]
        # A read-only server deletes only from the user's file.
        assert reading.request("DELETE", f"/api/views?id={id_}", headers={"X-SQLTrack": "1"}).status == 403
    assert client.execute("SELECT COUNT(*) FROM saved_views").fetchone()[0] == 1


def test_a_view_of_the_same_name_is_replaced_and_can_be_deleted(own_server: PageServer) -> None:
    ids = {own_server.post("/api/views", {"name": "a", "page": "runs", "state": {"n": n}}).json()["id"] for n in (1, 2)}
    (id_,) = ids
    (view,) = own_server.request("GET", "/api/views?page=runs").json()["views"]
    assert view["state"] == {"n": 2}
    for status in (200, 404):
        answer = own_server.request("DELETE", f"/api/views?id={id_}", headers={"X-SQLTrack": "1"})
        assert answer.status == status
    assert own_server.request("GET", "/api/views?page=runs").json()["views"] == []


def test_a_state_of_500_columns_has_a_short_id_and_comes_back_after_a_restart(client: sqltrack.Client) -> None:
    state = {"columns": [["args", f"argument_{n}"] for n in range(500)], "widths": {str(n): n for n in range(500)}}
    with serving_here(client) as server:
        id_ = server.post("/api/states", state).json()["id"]
        assert server.post("/api/states", state).json()["id"] == id_
    assert len(id_) < 25
    with serving_here(client) as server:
        assert server.request("GET", f"/api/states?id={id_}").json() == {"state": state}
        assert server.request("GET", "/api/views?page=").json()["views"] == []


def test_old_states_make_room_and_named_views_stay(client: sqltrack.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    prune = re.sub(r"LIMIT \d+", "LIMIT 3", _saved_views._PRUNE)
    monkeypatch.setattr(_saved_views, "_PRUNE", prune)
    views = SavedViews(client, in_database=True)
    named = views.save_view("a", "runs", {"named": True})
    ids = [views.save_state({"n": n}) for n in range(5)]
    assert [views.find_state(id_)["n"] for id_ in ids[2:]] == [2, 3, 4]
    assert views.find_state(named) == {"named": True}
    with pytest.raises(ValueError, match="no saved view"):
        views.find_state(ids[0])


@pytest.mark.parametrize(
    "body", [{}, {"name": "", "page": "runs"}, {"name": "x" * 201, "page": "runs"}, {"name": 5, "page": "runs"}]
)
def test_a_view_needs_a_name(server: PageServer, body: dict[str, Any]) -> None:
    answer = server.post("/api/views", body)
    assert (answer.status, answer.json()["kind"]) == (400, "request")


def test_a_folder_that_cannot_be_written_is_named(
    server: PageServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    answer = server.post("/api/views", {"name": "a", "page": "runs", "state": {}})
    assert (answer.status, answer.json()["kind"]) == (503, "database")
    assert "cannot save views" in answer.json()["error"]
    assert server.request("GET", "/api/views?page=runs").json()["views"] == []


# Export


def test_all_rows_are_exported_and_no_cell_is_a_formula(own_server: PageServer, client: sqltrack.Client) -> None:
    experiment = sqltrack.Experiment(client, name="+SUM(1)")
    for number in range(150):
        run = experiment.get_run().set_args({"n": -number, "t": "=cmd|' /C calc'!A0", "@x": [1, {"a": None}]})
        run.add_metrics({"loss": math.nan if number else -math.inf}, step=0)
    columns = [["run", "id"], ["experiment", "name"], ["args", "n"], ["args", "t"], ["args", "@x"]]
    spec = {"columns": [*columns, ["metric", "last", "loss"]], "sort": [{"column": ["run", "id"], "descending": False}]}
    answer = own_server.ask("export", {**spec, "format": "csv"})
    assert answer.headers["content-disposition"] == 'attachment; filename="runs.csv"'
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.body.decode("utf-8"), newline="")))
    assert len(rows) == 150
    values = list(rows[3].values())
    assert not [cell for cell in (*rows[0], *values) if cell.startswith(("=", "@", "+"))]
    assert {"'+SUM(1)", "'=cmd|' /C calc'!A0", "-3", "NaN", '[1,{"a":null}]'} <= set(values)
    assert "-Infinity" in rows[0].values()
    exported = own_server.ask("export", {**spec, "format": "json"}).json()
    assert len(exported) == 150
    assert {"+SUM(1)", "=cmd|' /C calc'!A0", -3} <= {v for v in exported[3].values() if not isinstance(v, (dict, list))}
    for unknown in ("xls", ["csv"], None):
        assert own_server.ask("export", {"format": unknown}).status == 400
    # A long request can be asked for again.
    id_ = own_server.post("/api/states?keep=no", {**spec, "format": "json"}).json()["id"]
    for _ in range(2):
        assert own_server.request("GET", f"/api/export?state={id_}").json() == exported


def test_an_empty_database_has_an_empty_export(own_server: PageServer) -> None:
    assert own_server.ask("export", {"format": "json"}).json() == []
    assert len(own_server.ask("export").body.splitlines()) == 1


# Files


def test_answers_are_compressed(server: PageServer) -> None:
    plain = server.request("GET", "/api/about")
    packed = server.request("GET", "/api/about", headers={"Accept-Encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert json.loads(gzip.decompress(packed.body)).keys() == plain.json().keys()
    path = _address_of(server, "main.js")
    packed = server.request("GET", path, headers={"Accept-Encoding": "gzip"})
    assert gzip.decompress(packed.body) == server.request("GET", path).body
    assert len(packed.body) < 0.7 * len(gzip.decompress(packed.body))


def test_browsers_keep_files_until_one_of_them_changes(server: PageServer) -> None:
    path = _address_of(server, "main.js")
    answer = server.request("GET", path)
    assert answer.status == 200
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["content-type"].startswith("text/javascript")
    again = server.request("GET", path, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status, again.body) == (304, b"")
    # A page that was loaded before, and a file without a version, are asked for again.
    for other in ("/static/0123456789ab/main.js", "/static/main.js"):
        answer = server.request("GET", other)
        assert (answer.status, answer.headers["cache-control"]) == (200, "no-cache")
    assert server.request("GET", "/").headers["cache-control"] == "no-store"


def _address_of(server: PageServer, file: str) -> str:
    found = re.search(rf'"(static/\w+/{re.escape(file)})"', server.request("GET", "/").body.decode())
    assert found is not None
    return f"/{found.group(1)}"


def test_all_files_that_the_page_names_exist(server: PageServer) -> None:
    page = server.request("GET", "/").body.decode()
    named = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(named) > 3
    for path in named:
        answer = server.request("GET", f"/{path.removeprefix('./')}")
        assert answer.status == 200, path
        assert "octet-stream" not in answer.headers["content-type"]


@pytest.mark.parametrize("prefix", ["", "/user/a b/proxy/8080", "/node/host/5000", "/team/ui"])
def test_the_server_works_below_any_prefix_that_a_proxy_leaves_in_the_path(server: PageServer, prefix: str) -> None:
    prefix = prefix.replace(" ", "%20")
    for path, base in (("/", "./"), ("/curves", "./"), ("/run/5", "../"), ("/live", "./")):
        answer = server.request("GET", prefix + path)
        assert answer.status == 200
        assert f'<base href="{base}">' in answer.body.decode()
    assert server.request("GET", f"{prefix}/api/about").status == 200
    assert server.request("GET", f"{prefix}/static/main.js").status == 200
    assert server.request("GET", f"{prefix}/nothing").status == 404
    assert server.request("POST", f"{prefix}/api/states", body={}, headers={"X-SQLTrack": "1"}).status == 200


def test_a_browser_that_leaves_early_is_no_fault(server: PageServer, caplog: pytest.LogCaptureFixture) -> None:
    head = f"Host: 127.0.0.1\r\nCookie: {server.cookie}\r\nX-SQLTrack: 1\r\nContent-Length: 100\r\n\r\n"
    with socket.create_connection((server.host, server.port)) as connection:
        connection.sendall(f"POST /api/states HTTP/1.1\r\n{head}half".encode())
    with socket.create_connection((server.host, server.port)) as connection:
        connection.sendall(f"GET /api/runs HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {server.cookie}\r\n\r\n".encode())
    assert server.ask("about").status == 200
    assert [record.message for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")] == []


def test_a_server_of_the_users_own_closes_the_connections_at_its_end(client: sqltrack.Client) -> None:
    app = create_app(client, token=TOKEN)
    received = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    sent: list[str] = []

    async def receive() -> Any:
        return next(received)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    asyncio.run(app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send))  # type: ignore[arg-type]
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def test_head_and_kept_connections_work(server: PageServer) -> None:
    head = f"Host: 127.0.0.1\r\nCookie: {server.cookie}\r\n"
    data = f"HEAD / HTTP/1.1\r\n{head}\r\nGET /api/about HTTP/1.1\r\n{head}Connection: close\r\n\r\n"
    answers = talk(server, data.encode())
    assert answers.count(b"HTTP/1.1 200 OK") == 2
    assert answers.count(b"<html") == 0


def test_a_query_ends_when_the_browser_no_longer_waits(server: PageServer) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT COUNT(*) FROM n"
    head = f"Host: 127.0.0.1\r\nCookie: {server.cookie}\r\n\r\n"
    # More than the threads of the server.
    for _ in range(8):
        with socket.create_connection((server.host, server.port)) as connection:
            connection.sendall(f"GET /api/sql?spec={quote(json.dumps({'sql': endless}))} HTTP/1.1\r\n{head}".encode())
            time.sleep(0.05)
    began = time.monotonic()
    answer = server.ask("sql", {"sql": "SELECT COUNT(*) FROM runs"}).json()
    assert answer["rows"] == [[3]]
    assert time.monotonic() - began < 15


def test_the_place_of_an_error_in_sql_is_told(server: PageServer) -> None:
    answer = server.ask("sql", {"sql": "SELECT id,\n  nothing_like_it FROM runs"})
    assert (answer.status, answer.json()["kind"]) == (400, "where")
    assert (answer.json()["line"], answer.json()["column"]) == (2, 3)
