"""Only the user reaches the page: no other user, no page of another site, and no request changes the database."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack.commands.grant import grant_sql
from sqltrack.ui._security import Access, is_loopback
from support.ui_server import PageServer, serving_here, talk

CALLS = ["/", "/curves", "/run/1", "/api/runs", "/api/about", "/api/export", "/api/views", "/api/nothing"]
FOREIGN = "evil.example"


@pytest.mark.parametrize("cookie", [None, "sqltrack-app=wrong", "sqltrack-app=", "other=1; sqltrack-app"])
def test_without_the_cookie_nothing_is_shown(server: PageServer, cookie: str | None) -> None:
    for path in [*CALLS, "/static/main.js", "/?token=wrong", "/?token=", "/nothing"]:
        answer = server.request("GET", path, cookie=cookie)
        assert answer.status == 401, path
        assert b"sqltrack ui" in answer.body
        assert "set-cookie" not in answer.headers


def test_the_token_is_exchanged_for_a_cookie_that_scripts_and_other_sites_cannot_use(server: PageServer) -> None:
    answer = server.request("GET", f"/run/7?token={server.token}&x=a%20b&y=", cookie=None)
    assert (answer.status, answer.headers["location"]) == (303, "./7?x=a+b&y=")
    name, _, rest = answer.headers["set-cookie"].partition("=")
    assert name == "sqltrack-app"
    assert {part.strip().lower() for part in rest.split(";")[1:]} == {"httponly", "samesite=strict", "path=/"}
    assert server.token not in rest
    assert server.request("GET", f"/?token={server.token}", cookie=None).headers["location"] == "./"


def test_behind_https_the_cookie_is_sent_only_over_https(server: PageServer) -> None:
    answer = server.request(
        "GET", f"/?token={server.token}", cookie=None, headers={"X-Forwarded-Proto": "https", "Host": "hub.example"}
    )
    assert "; Secure" in answer.headers["set-cookie"]


def test_the_token_is_no_cookie_and_the_cookie_no_token(server: PageServer) -> None:
    assert server.request("GET", "/", cookie=f"sqltrack-app={server.token}").status == 401
    assert server.request("GET", f"/?token={server.cookie.partition('=')[2]}", cookie=None).status == 401


def test_a_browser_that_another_site_or_a_file_leads_here_sends_its_cookie_at_once(server: PageServer) -> None:
    """Browsers keep a strict cookie back at such a navigation, even after a redirect, but not after a refresh."""
    navigation = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    answer = server.request("GET", f"/curves?token={server.token}&x=1", cookie=None, headers=navigation)
    assert answer.status == 200
    assert 'http-equiv="refresh" content="0; url=./curves?x=1"' in answer.body.decode()
    assert answer.headers["set-cookie"].startswith("sqltrack-app=")
    assert server.token not in answer.body.decode()
    answer = server.request("GET", "/curves", cookie=None, headers=navigation)
    assert (answer.status, 'http-equiv="refresh" content="0"' in answer.body.decode()) == (401, True)
    # No loop: the second request does not come from another site.
    answer = server.request("GET", "/curves", cookie=None, headers={**navigation, "Sec-Fetch-Site": "same-origin"})
    assert (answer.status, b"refresh" in answer.body) == (401, False)


@pytest.mark.parametrize("host", [FOREIGN, "localhost.evil.example", "127.0.0.1.evil.example", "", "[::2]", "8.8.8.8"])
def test_without_the_cookie_a_foreign_host_is_refused(server: PageServer, host: str) -> None:
    """A site whose name was made to lead to this machine cannot even ask for the page."""
    for path in CALLS:
        assert server.request("GET", path, headers={"Host": host}, cookie=None).status == 403


@pytest.mark.parametrize("host", ["localhost", "localhost:8080", "127.0.0.1", "[::1]:99", "a.localhost", "127.1.2.3:1"])
def test_the_own_machine_is_asked_for_the_token(server: PageServer, host: str) -> None:
    assert server.request("GET", "/", headers={"Host": host}, cookie=None).status == 401


def test_with_the_cookie_any_host_is_accepted(server: PageServer) -> None:
    """Proxies pass on the name by which the browser knows them."""
    assert server.request("GET", "/", headers={"Host": "hub.example"}).status == 200
    assert server.request("GET", f"/?token={server.token}", headers={"Host": "hub.example"}, cookie=None).status == 303


def test_a_request_without_a_host_is_refused(server: PageServer) -> None:
    assert talk(server, b"GET / HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 403 ")


@pytest.mark.parametrize(
    "origin", [f"http://{FOREIGN}", "null", "", "file://", "http://127.0.0.1:1", "http://127.0.0.1.evil.example", "x"]
)
def test_a_page_of_another_site_is_refused_even_with_the_cookie(server: PageServer, origin: str) -> None:
    for path in ("/api/runs", "/"):
        assert server.request("GET", path, headers={"Origin": origin}).status == 403
    answer = server.request("POST", "/api/states", headers={"Origin": origin, "X-SQLTrack": "1"}, body={})
    assert answer.status == 403
    answer = server.request("GET", f"/?token={server.token}", headers={"Origin": origin}, cookie=None)
    assert answer.status == 403


def test_the_page_itself_is_accepted_also_behind_a_proxy(server: PageServer) -> None:
    own = {"Origin": f"http://127.0.0.1:{server.port}"}
    forwarded = {"Origin": "https://hub.example", "X-Forwarded-Host": "hub.example"}
    passed = {"Origin": "https://hub.example", "Host": "hub.example:443"}
    for headers in (own, forwarded, passed):
        assert server.request("GET", "/api/about", headers=headers).status == 200


def test_no_other_site_is_told_anything(server: PageServer) -> None:
    answers = [server.request("GET", path) for path in CALLS]
    answers.append(server.request("OPTIONS", "/api/runs", headers={"Origin": f"http://{FOREIGN}"}))
    for answer in answers:
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert "server" not in answer.headers


def test_the_page_runs_no_script_that_is_not_a_file_of_the_server(server: PageServer) -> None:
    pages = [server.request("GET", path) for path in ("/", "/curves", "/run/1")]
    nonces = set()
    for page in pages:
        policy = dict(part.strip().partition(" ")[::2] for part in page.headers["content-security-policy"].split(";"))
        assert policy["default-src"] == "'self'"
        assert "script-src" not in policy
        assert policy["object-src"] == "'none'"
        assert "unsafe" not in page.headers["content-security-policy"]
        nonces |= set(re.findall(r"'nonce-([^']+)'", policy["style-src"]))
        text = page.body.decode()
        assert f'content="{re.findall(r"nonce-([^ ]+)", policy["style-src"])[0][:-1]}"' in text
        assert re.findall(r"<script(?![^>]*\ssrc=)", text) == []
        assert not re.search(r"""\b(src|href)=["']?(https?:)?//""", text)
        assert "{{" not in text
    assert len(nonces) == len(pages)
    assert "script" not in server.request("GET", "/api/runs").headers["content-security-policy"]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_without_edit_only_views_and_states_are_written(server: PageServer, method: str) -> None:
    for path in ("/", "/api/runs", "/api/plan", "/api/apply", "/static/main.js", "/api/viewsx", "/api/views/1"):
        answer = server.request(method, path, headers={"X-SQLTrack": "1"}, body={})
        assert answer.status == 405, (method, path)
    assert server.post("/api/states", {"a": 1}).status == 200
    assert server.post("/api/views", {"name": "a", "page": "runs", "state": {}}).status == 200


def test_even_with_edit_only_the_page_itself_changes_runs(client: sqltrack.Client) -> None:
    run = sqltrack.Experiment(client, name="a").get_run()
    tag = {"action": "tags", "runs": [run.id], "add": ["a"]}
    header = {"X-SQLTrack": "1"}
    with serving_here(client, edit=True) as server:
        plan = server.post("/api/plan", tag).json()["plan"]
        for path, body in (("/api/plan", tag), ("/api/apply", {"plan": plan})):
            refusals = [
                server.request("POST", path, body=body),
                server.request("POST", path, body=body, headers={"Content-Type": "text/plain"}),
                server.request("POST", path, body=body, headers={**header, "Origin": f"http://{FOREIGN}"}),
                server.request("POST", path, body=body, headers={**header, "Origin": "null"}),
                server.request("POST", f"{path}?token={server.token}", body=body, headers=header, cookie=None),
            ]
            assert [answer.status for answer in refusals] == [403] * 5
            assert server.request("POST", path, body=body, headers=header, cookie=None).status == 401
            assert server.request("POST", path, body=body, headers=header, cookie="sqltrack-app=wrong").status == 401
            for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"):
                assert server.request(method, path, body=body, headers=header).status == 405, method
            for junk in (b"", b"[]", b"{", b"action=tags", b"\xff", b"[" * 100_000):
                assert server.request("POST", path, body=junk, headers=header).status == 400
            assert server.post(path, {**body, "more": "x" * 2_000_000}).status == 413
        assert client.execute("SELECT tags FROM runs").fetchall() == [(None,)]
        assert server.post("/api/apply", {"plan": plan}).status == 200
    assert client.execute("SELECT tags FROM runs").fetchall() == [({"a": True},)]


def test_a_form_cannot_write(server: PageServer) -> None:
    """A form can send a cookie and any body, but no header of its own."""
    answer = server.request("POST", "/api/states", body={"a": 1}, headers={"Content-Type": "text/plain"})
    assert answer.status == 403
    headers = {"X-SQLTrack": "1"}
    answer = server.request("POST", f"/api/states?token={server.token}", body={"a": 1}, headers=headers, cookie=None)
    assert answer.status == 403


@pytest.mark.parametrize(
    "path",
    [
        "/static/../_api.py",
        "/static/..%2f_api.py",
        "/static/%2e%2e/_api.py",
        "/static/x/../../_api.py",
        "/static//etc/passwd",
        "/static/%2fetc%2fpasswd",
        "/static/vendor/..%5c..%5c_api.py",
        "/static/%00",
        "/static/vendor",
        "/..%2f..%2fetc/passwd",
    ],
)
def test_no_path_leads_out_of_the_folder_of_the_page(server: PageServer, path: str) -> None:
    answer = server.request("GET", path)
    assert answer.status == 404
    assert b"import" not in answer.body


def test_huge_requests_end_with_an_error_and_the_server_goes_on(server: PageServer) -> None:
    assert server.post("/api/states", {"a": "x" * 2_000_000}).status == 413
    head = f"Host: 127.0.0.1\r\nCookie: {server.cookie}\r\n".encode()
    assert b" 400 " in talk(server, b"GET /?" + b"x" * 300_000 + b" HTTP/1.1\r\n" + head + b"\r\n").split(b"\r\n")[0]
    assert b" 400 " in talk(server, b"GET / HTTP/1.1\r\n" + head + b"X: " + b"y" * 300_000).split(b"\r\n")[0]
    assert b" 400 " in talk(server, b"\x00\xff\r\n\r\n")
    deep = "[" * 100_000
    answer = server.request("POST", "/api/states", body=deep.encode(), headers={"X-SQLTrack": "1"})
    assert answer.status == 400
    assert server.ask("about").status == 200


@pytest.mark.parametrize("spec", ["", "[]", "1", "{", '{"a": NaN}', '{"a": Infinity}', "nul", "%ff", '{"limit": "x"}'])
def test_a_request_that_is_not_an_object_in_json_gets_a_sentence(server: PageServer, spec: str) -> None:
    answer = server.request("GET", f"/api/runs?spec={spec.replace(' ', '%20')}")
    assert answer.status == 400
    assert answer.json()["kind"] == "request"


def test_names_of_the_database_do_not_become_part_of_the_page(server: PageServer) -> None:
    assert b"alert" not in server.request("GET", "/").body
    answer = server.ask("experiments")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["experiments"][0]["name"] == '<script>alert("x")</script>'


@pytest.mark.engines("sqlite", reason="only SQLite's database is one file")
def test_a_session_leaves_the_file_of_the_database_as_it_was(
    engine_name: str, lasting_configs: Callable[[str], dict[str, Any]]
) -> None:
    config = lasting_configs(engine_name)
    path = Path(config["dbpath"])
    with sqltrack.Client(config) as connection:
        connection.execute("SELECT 1")
    # A process that only reads leaves the empty log and its index, which the next one that writes removes.
    expected = {path, *(path.with_name(path.name + ending) for ending in ("-wal", "-shm"))}
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    with serving_here(sqltrack.Client(config)) as server:
        for name in ("about", "columns", "runs", "facets", "experiments", "live"):
            assert server.ask(name).status == 200
        assert server.ask("run", {"id": 1}).status == 200
        assert server.ask("changes", {"runs": [1]}).status == 200
        assert server.post("/api/views", {"name": "a", "page": "runs", "state": {"x": 1}}).status == 200
        where = {"filter": {"where": "1=1; DELETE FROM runs", "facets": [], "search": None, "ids": None}}
        assert server.ask("runs", where).json()["kind"] == "where"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before
    assert set(path.parent.iterdir()) <= expected


@pytest.mark.engines("postgres", reason="SQLite has no roles")
def test_a_role_that_may_only_read_suffices(engine_name: str, config: dict[str, Any], client: sqltrack.Client) -> None:
    from support.databases import connect_to_postgres, temporary_role

    sqltrack.Experiment(client, name="a").get_run().add_metrics({"loss": 1.0}, step=1)
    name = f"reader_{config['dbname']}"
    with connect_to_postgres(config) as connection, temporary_role(connection, name, "LOGIN PASSWORD 'secret'"):
        for statement in grant_sql(name, dbname=config["dbname"], owner=config["user"]):
            connection.execute(statement)
        reader = sqltrack.Client({**config, "user": name, "password": "secret"})
        with serving_here(reader) as server:
            for call in ("about", "columns", "runs", "facets", "experiments", "live"):
                answer = server.ask(call)
                assert answer.status == 200, answer.body
            assert server.post("/api/views", {"name": "a", "page": "runs", "state": {}}).status == 200
            assert "secret" not in json.dumps(server.ask("about").json())
        with serving_here(reader, edit=True) as server:
            assert "permission denied" in refused_tag(server)
    assert client.execute("SELECT tags FROM runs").fetchall() == [(None,)]


@pytest.mark.engines("sqlite", reason="PostgreSQL writes triggers in another way")
def test_a_change_that_the_database_refuses_for_one_run_is_made_for_none(
    engine_name: str, client: sqltrack.Client
) -> None:
    for _ in range(2):
        sqltrack.Experiment(client, name="a").get_run()
    client.execute("CREATE TRIGGER kept BEFORE UPDATE ON runs WHEN OLD.id = 2 BEGIN SELECT RAISE(ABORT, 'kept'); END")
    with serving_here(client, edit=True) as server:
        assert "kept" in refused_tag(server)
    assert client.execute("SELECT tags FROM runs").fetchall() == [(None,), (None,)]


def refused_tag(server: PageServer) -> str:
    """Plan to tag all runs, and return the sentence with which the database refuses it."""
    plan = server.post("/api/plan", {"action": "tags", "filter": {}, "add": ["a"]}).json()["plan"]
    answer = server.post("/api/apply", {"plan": plan})
    assert (answer.status, answer.json()["kind"]) == (403, "denied")
    return str(answer.json()["error"])


def test_cookies_of_servers_on_other_ports_do_not_replace_each_other() -> None:
    assert Access("8001").cookie != Access("8002").cookie
    assert Access("8001").token != Access("8001").token


def test_only_names_of_this_machine_are_loopback() -> None:
    own = ["localhost", "LOCALHOST", "a.localhost", "127.0.0.1", "127.9.9.9", "[::1]", "::1", "localhost."]
    assert all(is_loopback(name.lower()) for name in own)
    assert not any(map(is_loopback, ["", "example.com", "10.0.0.1", "localhost.com", "xlocalhost"]))
