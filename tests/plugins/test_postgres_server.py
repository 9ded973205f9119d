"""Start PostgreSQL for the tests."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from plugins import postgres_server
from plugins.postgres_binaries import find_binaries
from plugins.postgres_server import NoServerError, PostgresServer, running_server

TESTS = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def public_folder() -> Iterator[Path]:
    """A folder that the account of the server may enter, with a short path."""
    base = postgres_server._find_temporary_folder(postgres_server._server_account())
    with tempfile.TemporaryDirectory(dir=base) as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(scope="module")
def binaries(public_folder: Path) -> Path:
    """The binaries of this machine, of the major version that the session requests, readable by all users."""
    found = find_binaries(postgres_server.requested_major())
    return postgres_server._prepare_binaries(found, public_folder, postgres_server._server_account())


@pytest.fixture(scope="module")
def quick_binaries(binaries: Path, public_folder: Path) -> Path:
    """The same binaries, with an initdb that copies the first result from its second call on.

    Creating files takes nearly all of its time, so the unused template databases are left out.
    """
    kept = public_folder / "data"
    kept.mkdir(mode=0o700)
    account = postgres_server._server_account()
    if account is not None:
        os.chown(kept, *account)
    return replace_initdb(binaries, public_folder / "quick", QUICK_INITDB, str(binaries / "initdb"), str(kept))


@pytest.fixture(scope="module")
def server(quick_binaries: Path) -> Iterator[PostgresServer]:
    """A running server for tests that do not stop it."""
    with PostgresServer(quick_binaries, {"work_mem": "7MB", "application_name": "it's \\ ours"}) as server:
        yield server


# The database with the highest number is 'postgres'.
QUICK_INITDB = """
initdb=$1 kept=$2 data=${3#--pgdata=}
shift 2
[ -d "$kept/base" ] && exec cp -Rp "$kept/." "$data"
"$initdb" "$@" || exit
cp -Rp "$data"/[!b]* "$kept"
mkdir "$kept/base"
cp -Rp "$data/base/$(ls "$data/base" | sort -n | tail -n 1)" "$kept/base"
"""


def replace_initdb(binaries: Path, folder: Path, script: str, *arguments: str) -> Path:
    """Create a folder with links to the binaries, and a shell script for initdb that puts arguments before its own."""
    folder.mkdir()
    for name in ("pg_ctl", "postgres"):
        (folder / name).symlink_to(binaries / name)
    initdb = folder / "initdb"
    initdb.write_text(f'#!/bin/sh\nset -- {shlex.join(arguments)} "$@"\n{script}', encoding="utf-8")
    initdb.chmod(0o755)
    return folder


def is_running(pid: int) -> bool:
    """Return whether a process runs; a process that has ended without being waited for does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except FileNotFoundError:
        return not Path("/proc/self").exists()


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def list_processes(server: PostgresServer) -> list[int]:
    """Return the ids of all processes of a server and of its keeper."""
    assert server._keeper is not None
    return [server.pid, server._keeper.pid, *list_backends(server.dsn)]


def list_backends(dsn: str) -> list[int]:
    """Return the ids of the lasting processes that the postmaster started."""
    with psycopg.connect(dsn) as connection:
        rows = connection.execute("SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()").fetchall()
    return [row[0] for row in rows]


def ask(dsn: str, query: str) -> object:
    with psycopg.connect(dsn) as connection:
        row = connection.execute(query).fetchone()
        assert row is not None
        return row[0]


OWNER = """
import json, os, sys, time
from pathlib import Path
from plugins.postgres_server import PostgresServer
server = PostgresServer(Path(sys.argv[1]))
server.start()
print(json.dumps([str(server.folder), server.dsn, server.pid, server._keeper.pid]), flush=True)
sys.stdin.readline()
"""


def start_owner(binaries: Path, then: str) -> subprocess.Popen[str]:
    """Run a process that starts a server, prints where it is, and runs the given code after a line of input."""
    return subprocess.Popen(
        [sys.executable, "-c", OWNER + then, str(binaries)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *filter(None, sys.path)])},
    )


def read_owner(owner: subprocess.Popen[str]) -> tuple[Path, list[int]]:
    assert owner.stdin is not None
    assert owner.stdout is not None
    folder, dsn, *pids = json.loads(owner.stdout.readline())
    assert Path(folder).is_dir()
    assert all(map(is_running, pids))
    pids += list_backends(dsn)
    owner.stdin.write("go on\n")
    owner.stdin.flush()
    return Path(folder), pids


def assert_nothing_remains(folder: Path, pids: list[int]) -> None:
    assert wait_until(lambda: not folder.exists()), f"{folder} remains"
    assert wait_until(lambda: not any(map(is_running, pids))), "a process remains"


def test_a_server_answers_on_its_socket_and_on_tcp(server: PostgresServer, binaries: Path) -> None:
    """Both addresses use the same port, and the version is the server's."""
    assert str(ask(server.dsn, "SHOW server_version")).split()[0] == server.version
    assert ask(server.dsn, "SELECT current_user || '@' || current_database()") == "postgres@postgres"
    assert ask(server.dsn, "SELECT inet_server_addr() IS NULL") is True
    tcp = f"host=127.0.0.1 port={server.port} user=postgres dbname=postgres"
    assert ask(tcp, "SELECT inet_server_port()") == server.port
    assert (server.socket_dir / f".s.PGSQL.{server.port}").exists()
    assert server.version in subprocess.check_output([binaries / "postgres", "--version"], text=True)


def test_settings_are_merged_over_the_defaults(server: PostgresServer) -> None:
    """The defaults suit tests, the caller's settings override them, and any value is passed on unchanged."""
    for name, value in {"fsync": "off", "full_page_writes": "on", "max_connections": "200", "work_mem": "7MB"}.items():
        assert ask(server.dsn, f"SHOW {name}") == value
    assert ask(server.dsn, "SELECT boot_val <> reset_val FROM pg_settings WHERE name = 'fsync'") is True
    setting = "SELECT setting FROM pg_file_settings WHERE name = 'application_name' AND applied"
    assert ask(server.dsn, setting) == "it's \\ ours"


def test_the_cluster_is_utf8_in_the_c_locale(server: PostgresServer) -> None:
    """Tests see the same order and the same messages with any locale of the machine."""
    query = "SELECT pg_encoding_to_char(encoding) || ' ' || datcollate FROM pg_database WHERE datname = 'postgres'"
    assert ask(server.dsn, query) == "UTF8 C"
    assert ask(server.dsn, "SHOW lc_messages") == "C"


def test_root_runs_the_server_as_an_unprivileged_user(server: PostgresServer) -> None:
    """PostgreSQL refuses root, so root switches to nobody; other users run it themselves."""
    owner = server.data_dir.stat()
    assert owner.st_uid != 0
    assert (owner.st_uid == os.geteuid()) is (os.geteuid() != 0)
    assert stat.S_IMODE(owner.st_mode) == 0o700
    status = Path(f"/proc/{server.pid}/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text(encoding="utf-8").splitlines())
        assert set(lines["Uid"].split()) == {str(owner.st_uid)}
        assert os.geteuid() != 0 or lines["Groups"].split() == []


def test_restart_keeps_data_and_port(server: PostgresServer) -> None:
    """Open connections are broken, and the server is another process."""
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS a")
        pid, dsn = server.pid, server.dsn
        server.restart()
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    assert (server.pid != pid, server.dsn) == (True, dsn)
    assert ask(dsn, "SELECT a FROM kept") == 1


@pytest.mark.parametrize("again", [PostgresServer.start, PostgresServer.restart])
def test_a_killed_server_recovers(server: PostgresServer, again: Callable[[PostgresServer], None]) -> None:
    """A crash loses no committed data, and all uncommitted data."""
    with psycopg.connect(server.dsn) as connection:
        connection.execute("DROP TABLE IF EXISTS written")
        connection.execute("CREATE TABLE written (a int)")
        connection.commit()
        connection.execute("INSERT INTO written VALUES (1)")
        pids = list_processes(server)
        server.kill()
        with pytest.raises(psycopg.OperationalError):
            connection.commit()
    assert not any(map(is_running, pids))
    with pytest.raises(RuntimeError, match="the server is not running"):
        server.kill()
    again(server)
    assert ask(server.dsn, "SELECT count(*) FROM written") == 0
    assert "automatic recovery" in server.log_file.read_text(encoding="utf-8")


def test_a_forked_child_does_not_stop_the_server(server: PostgresServer) -> None:
    """A child inherits the object and the exit handlers, but does not own the server."""
    pid = os.fork()
    if pid == 0:
        server.stop()
        os._exit(0)
    os.waitpid(pid, 0)
    assert ask(server.dsn, "SELECT 1") == 1


def test_starting_twice_is_an_error(server: PostgresServer) -> None:
    """A second start would lose track of the first server."""
    with pytest.raises(RuntimeError, match="running already"):
        server.start()


@pytest.mark.parametrize("name", ["dsn", "port", "socket_dir", "pid"])
def test_a_server_that_was_not_started_has_no_address(binaries: Path, name: str) -> None:
    """Nothing has a value before `start`, and stopping is harmless."""
    server = PostgresServer(binaries)
    server.stop()
    with pytest.raises(RuntimeError, match=r"call start\(\)"):
        getattr(server, name)


def test_paths_with_spaces_and_a_taken_port_do_no_harm(binaries: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The temporary folder and the binaries may be anywhere, and a taken port is replaced by another."""
    find_free_port = postgres_server._find_free_port
    with tempfile.TemporaryDirectory(prefix="it's a ", dir="/tmp") as folder, socket.socket() as taken:
        Path(folder).chmod(0o755)
        monkeypatch.setattr(tempfile, "tempdir", folder)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ports = iter([taken.getsockname()[1]])
        monkeypatch.setattr(postgres_server, "_find_free_port", lambda: next(ports, None) or find_free_port())
        linked = Path(folder, "my binaries")
        linked.symlink_to(binaries)
        with PostgresServer(linked) as server:
            assert server.folder.parent == Path(folder).resolve()
            assert ask(server.dsn, "SELECT 1") == 1
            assert server.port != taken.getsockname()[1]
        assert list(Path(folder).iterdir()) == [linked]


def test_a_long_temporary_folder_is_replaced_by_a_short_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path of a Unix socket must not be longer than about 100 bytes."""
    longer = tmp_path / ("x" * 60)
    longer.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(longer))
    assert postgres_server._find_temporary_folder(None) in (Path("/tmp"), Path("/var/tmp"))  # noqa: S108


def test_binaries_where_only_root_may_enter_are_copied(quick_binaries: Path, tmp_path: Path) -> None:
    """Root's cache is in such a folder; other users use their folder directly."""
    private = tmp_path / "private"
    (private / "install").mkdir(parents=True)
    (private / "install" / "bin").symlink_to(quick_binaries)
    private.chmod(0o700)
    with PostgresServer(private / "install" / "bin") as server:
        assert ask(server.dsn, "SELECT 1") == 1
        assert (server.folder / "install").is_dir() is (os.geteuid() == 0)


def test_a_server_that_does_not_start_says_why_and_leaves_nothing(quick_binaries: Path) -> None:
    """The message ends with the server's log."""
    base = postgres_server._find_temporary_folder(postgres_server._server_account())
    before = list(base.glob(f"sqltrack-pg-{os.getpid()}-*"))
    server = PostgresServer(quick_binaries, {"work_mem": "plenty"})
    with pytest.raises(RuntimeError, match=r'(?s)did not start: .*work_mem.*"plenty"'):
        server.start()
    assert list(base.glob(f"sqltrack-pg-{os.getpid()}-*")) == before
    with pytest.raises(RuntimeError, match="not been started"):
        _ = server.folder


@pytest.mark.parametrize("after_fork", [False, True])
def test_nothing_remains_when_the_owner_is_killed(quick_binaries: Path, after_fork: bool) -> None:
    """This holds even if a forked child of the owner lives on."""
    fork = "os.fork()" if after_fork else "None"
    then = f"child = {fork}\nif child != 0: print(json.dumps(child), flush=True)\ntime.sleep(60)"
    with start_owner(quick_binaries, then) as owner:
        folder, pids = read_owner(owner)
        assert owner.stdout is not None
        child = json.loads(owner.stdout.readline())
        owner.kill()
        owner.wait()
        try:
            assert_nothing_remains(folder, pids)
        finally:
            if child is not None:
                os.kill(child, signal.SIGKILL)


def test_nothing_remains_when_the_owner_is_killed_during_initdb(binaries: Path) -> None:
    """The keeper watches from the first process on."""
    with start_owner(binaries, "") as owner:
        base = postgres_server._find_temporary_folder(postgres_server._server_account())
        assert wait_until(lambda: any(base.glob(f"sqltrack-pg-{owner.pid}-*/data/*")))
        owner.kill()
        owner.wait()
        assert wait_until(lambda: not any(base.glob(f"sqltrack-pg-{owner.pid}-*")))
        time.sleep(0.3)
        assert not any(base.glob(f"sqltrack-pg-{owner.pid}-*"))


@pytest.mark.parametrize("end", ["sys.exit()", "os.kill(os.getpid(), 15)"])
def test_nothing_remains_when_the_owner_forgets_to_stop(quick_binaries: Path, end: str) -> None:
    """The exit of the interpreter stops the server; if SIGTERM ends the interpreter, the keeper does."""
    with start_owner(quick_binaries, end) as owner:
        folder, pids = read_owner(owner)
        owner.wait()
        assert_nothing_remains(folder, pids)


def test_folders_of_dead_sessions_are_removed_at_the_next_start(tmp_path: Path) -> None:
    """The folders of live sessions stay, and so do folders that only look similar."""
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        dead.wait()
    abandoned = tmp_path / f"sqltrack-pg-{dead.pid}-abcdefgh"
    living = tmp_path / f"sqltrack-pg-{os.getpid()}-abcdefgh"
    other, link = tmp_path / "sqltrack-pg-mine", tmp_path / f"sqltrack-pg-{dead.pid}-link"
    for folder in (abandoned, living, other):
        (folder / "data").mkdir(parents=True)
    link.symlink_to(other)
    postgres_server._remove_abandoned_folders(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([living, other, link])


def test_a_folder_whose_server_answers_is_not_removed() -> None:
    """A container that shares /tmp has its own process ids, so a process that looks dead may run there."""
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        dead.wait()
    with tempfile.TemporaryDirectory(dir="/tmp") as base, socket.socket(socket.AF_UNIX) as listening:
        folder = Path(base, f"sqltrack-pg-{dead.pid}-abcdefgh")
        (folder / "s").mkdir(parents=True)
        listening.bind(str(folder / "s" / ".s.PGSQL.5432"))
        listening.listen()
        postgres_server._remove_abandoned_folders(Path(base))
        assert folder.is_dir()


def test_a_running_server_is_started_and_stopped(quick_binaries: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without SQLTRACK_TEST_DSN, the server is ours, and nothing of it remains."""
    monkeypatch.setenv("SQLTRACK_TEST_POSTGRES_BIN", str(quick_binaries))
    monkeypatch.setenv("PGPORT", "1")
    with running_server() as running:
        assert running.server is not None
        assert running.version == running.server.version
        assert ask(running.dsn, "SELECT 1") == 1
        folder, pids = running.server.folder, list_processes(running.server)
    assert not folder.exists()
    assert_nothing_remains(folder, pids)
    running.server.stop()


def test_the_server_of_the_environment_is_used_and_left_running(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that the caller provides is never stopped."""
    monkeypatch.setenv("SQLTRACK_TEST_DSN", server.dsn)
    monkeypatch.setenv("SQLTRACK_TEST_POSTGRES", server.version.split(".")[0])
    with running_server() as running:
        assert (running.dsn, running.version, running.server) == (server.dsn, server.version, None)
    assert ask(server.dsn, "SELECT 1") == 1


def test_a_server_of_the_environment_with_another_major_version_is_an_error(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session that claims to test one version must not test another."""
    monkeypatch.setenv("SQLTRACK_TEST_DSN", server.dsn)
    monkeypatch.setenv("SQLTRACK_TEST_POSTGRES", "99")
    with pytest.raises(NoServerError, match=f"is PostgreSQL {server.version}, but SQLTRACK_TEST_POSTGRES says 99"):
        running_server().__enter__()


def test_a_server_of_the_environment_that_does_not_answer_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No other server is started, and the message hides the password."""
    monkeypatch.setenv("SQLTRACK_TEST_DSN", f"host='{tmp_path}' password=secret")
    with pytest.raises(NoServerError, match="SQLTRACK_TEST_DSN: ") as caught:
        running_server().__enter__()
    assert isinstance(caught.value.__cause__, psycopg.OperationalError)
    assert "secret" not in str(caught.value)


def test_a_major_version_that_is_no_number_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message contains the value and the expected values."""
    monkeypatch.setenv("SQLTRACK_TEST_POSTGRES", "15.2")
    with pytest.raises(NoServerError, match=r"'15\.2' is not a major version such as '17'"):
        running_server().__enter__()


def test_binaries_that_fail_are_an_error_with_its_cause(
    binaries: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message contains the output of initdb."""
    failing = replace_initdb(binaries, tmp_path / "bin", "echo 'initdb: error: no luck'\nexit 3\n")
    monkeypatch.setenv("SQLTRACK_TEST_POSTGRES_BIN", str(failing))
    with pytest.raises(NoServerError, match="initdb failed: initdb: error: no luck") as caught:
        running_server().__enter__()
    assert isinstance(caught.value.__cause__, RuntimeError)
