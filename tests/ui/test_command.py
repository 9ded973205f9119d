"""`sqltrack ui` prints one address, hides the token from other users, and ends at once."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack.cli import main
from sqltrack.commands.setup import set_up_quietly
from sqltrack.errors import ConfigError
from sqltrack.ui import serve
from sqltrack.ui._browser import has_screen
from sqltrack.ui._command import _read_token
from sqltrack.ui._listening import listen_on_path, listen_on_port
from support.processes import running
from support.ui_server import PROGRAM, PageServer, serving, wait_for

# A condition that takes minutes.
ENDLESS = "(WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n LIMIT 1) > 0"

# A browser that notes how it was called, and stays open.
BROWSER = """#!/bin/sh
printf '%s\\n' "$@" > {folder}/called.part
mv {folder}/called.part {folder}/called
exec sleep 5 >/dev/null 2>&1
"""


@pytest.fixture
def sqlite_options(tmp_path: Path) -> list[str]:
    """Options for a SQLite database with one run."""
    client = sqltrack.Client({"engine": "sqlite", "dbpath": str(tmp_path / "sqltrack.db")})
    set_up_quietly(client)
    sqltrack.Experiment(client, name="a").get_run().add_metrics({"loss": 1.0}, step=1)
    return ["--engine", "sqlite", "--dbpath", str(tmp_path / "sqltrack.db")]


def connection(config: dict[str, Any]) -> list[str]:
    return [word for name, value in config.items() for word in (f"--{name}", str(value)) if name != "outbox"]


def test_ctrl_c_ends_the_program_at_once_even_while_the_database_works(
    config: dict[str, Any], client: sqltrack.Client
) -> None:
    sqltrack.Experiment(client, name="a").get_run()
    _check_end(connection(config), signal.SIGINT)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_so_do_batch_systems_and_lost_terminals(sqlite_options: list[str], number: signal.Signals) -> None:
    _check_end(sqlite_options, number)


def _check_end(options: list[str], number: signal.Signals) -> None:
    """Check that a signal ends the program at once, without a message."""
    with serving(options) as (server, process):
        assert server.ask("about").status == 200
        asking = threading.Thread(target=_ask_for_minutes, args=(server,))
        asking.start()
        time.sleep(0.3)
        start = time.monotonic()
        process.send_signal(number)
        output, errors = process.communicate(timeout=10)
        assert time.monotonic() - start < 5
        assert (process.returncode, output, errors) == (0, "", "")
        asking.join(10)
        assert not asking.is_alive()


def _ask_for_minutes(server: PageServer) -> None:
    try:
        server.ask("runs", {"filter": {"where": ENDLESS}})
    except OSError:
        # The server closed the connection.
        return


def test_the_token_is_in_no_list_of_processes(sqlite_options: list[str], tmp_path: Path) -> None:
    browser = tmp_path / "browser"
    browser.write_text(BROWSER.format(folder=tmp_path), encoding="utf-8")
    browser.chmod(0o700)
    environment = {name: value for name, value in os.environ.items() if name != "SSH_CONNECTION"}
    environment |= {"BROWSER": f"{browser} %s &", "PYTHONWARNINGS": "error"}
    command = [str(PROGRAM), *sqlite_options, "ui"]
    with running(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        server = PageServer(process.stdout.readline().strip())
        wait_for((tmp_path / "called").exists)
        called = (tmp_path / "called").read_text(encoding="utf-8").strip()
        assert called.startswith("file://")
        page = Path(called.removeprefix("file://"))
        assert stat.S_IMODE(page.stat().st_mode) == 0o600
        assert stat.S_IMODE(page.parent.stat().st_mode) == 0o700
        assert server.address in page.read_text(encoding="utf-8")
        commands = [path.read_bytes() for path in _command_lines()]
        assert not [line for line in commands if server.token.encode() in line]
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        assert not page.exists()


def _command_lines() -> Iterator[Path]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        if path.exists():
            yield path


def test_over_ssh_no_browser_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    assert has_screen()
    monkeypatch.setenv("SSH_CONNECTION", "10.0.0.1 1 10.0.0.2 22")
    assert not has_screen()


def test_a_second_server_on_a_port_says_so(sqlite_options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as first:
        port = str(first.getsockname()[1])
        assert main([*sqlite_options, "ui", "--no-open", "--port", port]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert f"port {port} of 127.0.0.1 is in use" in output.err
    assert "--port" in output.err


@pytest.mark.parametrize(
    ("host", "port", "part"),
    [
        ("192.0.2.1", 0, "come before `ui`"),
        ("no-such-host.invalid", 0, "come before `ui`"),
        ("127.0.0.1", 70_000, "0 to 65535"),
    ],
)
def test_an_address_that_cannot_be_used_is_an_error(host: str, port: int, part: str) -> None:
    with pytest.raises(ConfigError, match=part):
        listen_on_port(host, port)


def test_answers_do_not_wait_for_acknowledgments_of_their_first_part() -> None:
    with listen_on_port("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        connection, _ = listener.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


def test_options_before_the_command_are_the_databases_and_those_after_it_the_pages(
    config: dict[str, Any], client: sqltrack.Client
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with serving(connection(config), "--host", "127.0.0.1", "--port", str(port)) as (server, _):
        assert server.port == port
        assert server.ask("about").json()["engine"] == config["engine"]
        assert server.cookie.startswith(f"sqltrack-{port}=")


def test_a_socket_is_the_users_alone_and_works_when_it_is_forwarded(
    sqlite_options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "page.sock"
    with serving(sqlite_options, "--socket", str(path)) as (printed, process):
        status = path.lstat()
        assert stat.S_ISSOCK(status.st_mode)
        assert stat.S_IMODE(status.st_mode) == 0o600
        assert (printed.host, printed.port) == ("localhost", 8080)
        # As after `ssh -L 9090:page.sock`.
        server = PageServer(printed.address.replace("8080", "9090"), lambda: _connect(path))
        assert server.ask("runs").json()["total"] == 1
        assert server.request("GET", "/", headers={"Host": "localhost:9090"}, cookie=None).status == 401
        assert server.request("GET", "/", headers={"Host": "evil.example"}, cookie=None).status == 403
        assert main([*sqlite_options, "ui", "--no-open", "--socket", str(path)]) == 1
        assert "another server listens" in capsys.readouterr().err
        process.send_signal(signal.SIGTERM)
        process.wait(10)
    assert not path.exists()


def _connect(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(path))
    return connection


def test_the_socket_of_a_killed_server_is_replaced_and_another_file_is_not(tmp_path: Path) -> None:
    path = tmp_path / "page.sock"
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    with listen_on_path(str(path)):
        assert stat.S_IMODE(path.lstat().st_mode) == 0o600
    path.write_text("precious", encoding="utf-8")
    with pytest.raises(ConfigError, match="is not a socket"), listen_on_path(str(path)):
        pass
    assert path.read_text(encoding="utf-8") == "precious"
    with pytest.raises(ConfigError, match="cannot create"), listen_on_path(str(tmp_path / "missing" / "page.sock")):
        pass
    with pytest.raises(ConfigError, match="cannot create"), listen_on_path(str(tmp_path / ("x" * 200))):
        pass


def test_a_socket_that_another_server_has_replaced_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "page.sock"
    with listen_on_path(str(path)):
        path.unlink()
        path.write_text("other", encoding="utf-8")
    assert path.exists()


def test_a_token_can_come_from_a_private_file(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("0123456789abcdef\n", encoding="utf-8")
    path.chmod(0o600)
    assert _read_token(path) == "0123456789abcdef"
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        _read_token(path)
    path.chmod(0o600)
    for text in ("short", "", "0123456789 abcdef", "0123456789abcdef\nsecond"):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ConfigError, match="at least 16"):
            _read_token(path)


def test_serve_runs_in_a_thread_and_opens_the_page_for_a_program(
    tmp_path: Path, sqlite_options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signals belong to the main thread; here the server ends with the process."""
    announced: list[str] = []
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    client = sqltrack.Client({"engine": "sqlite", "dbpath": str(tmp_path / "sqltrack.db")})
    thread = threading.Thread(
        target=serve, args=(client,), kwargs={"announce": announced.append, "open_browser": True}, daemon=True
    )
    thread.start()
    wait_for(lambda: bool(announced and opened))
    assert PageServer(announced[0]).ask("runs").json()["total"] == 1


def test_options_that_contradict_each_other_are_refused(
    sqlite_options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as info:
        main([*sqlite_options, "ui", "--socket", "a.sock", "--port", "5"])
    assert info.value.code == 2
    assert "--socket replaces" in capsys.readouterr().err


def test_without_the_distribution_the_program_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **_: ())
    with pytest.raises(SystemExit) as info:
        main(["ui"])
    assert info.value.code == 1
    assert "sqltrack ui requires 'sqltrack-ui'; install it with: pip install sqltrack-ui" in capsys.readouterr().err


def test_a_database_that_does_not_exist_is_named_on_the_page(tmp_path: Path) -> None:
    with serving(["--engine", "sqlite", "--dbpath", str(tmp_path / "none.db")]) as (server, _):
        assert server.request("GET", "/").status == 200
        answer = server.ask("runs")
        assert (answer.status, answer.json()["kind"]) == (503, "database")
        assert "none.db" in answer.json()["error"]
    assert not (tmp_path / "none.db").exists()
