"""A tracked run stores its context under one key of its extras, without delaying the program or failing it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack import Client, Run
from sqltrack.capture import (
    _facts,
    _git,
    _host,
    _package_lists,
    _packages,
    _run_capture,
    capture,
    capture_setting,
    read_packages,
)
from sqltrack.capture._packages import list_packages
from sqltrack.errors import ConfigError
from support.logging_threads import wait_until
from support.outages import outbox_settings
from support.processes import Script, run_together


@pytest.fixture
def config(config: dict[str, Any]) -> dict[str, Any]:
    return {**config, "capture": "on"}


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_run_capture, "_DELAY", 0.0)
    _facts._changes.clear()
    _package_lists._known.clear()


def captured(run: Run) -> Any:
    return (extras_of(run) or {}).get("capture")


def extras_of(run: Run) -> Any:
    (row,) = run.client.execute("SELECT extras FROM runs WHERE id = %s", (run.id,))
    return row[0]


def test_a_tracked_run_stores_its_context(client: Client, run: Run) -> None:
    with run.track():
        pass
    found = captured(run)
    assert found["host"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["command"]["pid"] == os.getpid()
    assert found["command"]["argv"][0]
    assert isinstance(found["packages"], str)
    packages = read_packages(client, run.id)
    assert packages is not None
    assert packages["sqltrack-core"] == "0.2.0"
    assert packages == list_packages()


def test_what_is_ready_at_once_is_stored_soon_after_the_start(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is killed later keeps it."""
    monkeypatch.setattr(_run_capture, "_DELAY", 60.0)
    run.start()
    wait_until(lambda: captured(run) is not None)
    found = captured(run)
    assert {"host", "command"} <= found.keys()
    assert "packages" not in found
    run.stop()
    assert "packages" in captured(run)


def test_what_takes_longer_is_stored_while_the_run_continues(run: Run) -> None:
    run.start()
    wait_until(lambda: "packages" in (captured(run) or {}))
    run.stop()


def test_lists_of_packages_are_stored_once(client: Client, experiment: sqltrack.Experiment) -> None:
    runs = [experiment.get_run() for _ in range(3)]
    for run in runs:
        with run.track():
            pass
    assert len({captured(run)["packages"] for run in runs}) == 1
    (row,) = client.execute("SELECT COUNT(*) FROM captured_packages")
    assert row[0] == 1


def test_threads_that_store_the_same_list_at_once_do_so_once(config: dict[str, Any]) -> None:
    clients = [Client(config) for _ in range(4)]
    found: list[Any] = []

    def share(client: Client) -> None:
        found.append(_package_lists._store(client, "abc", {"numpy": "2.0"}, {"patience": 30.0, "lock_limit": 30.0}))

    threads = [threading.Thread(target=share, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 4
    assert len(clients[0].execute("SELECT hash FROM captured_packages").fetchall()) == 1


SHORT_JOB = """
import json, sys, sqltrack
client = sqltrack.Client(json.loads(sys.argv[1]))
with sqltrack.track("x", client=client) as run:
    run.add_metrics({"loss": 0.5}, step=1)
"""


def test_processes_that_start_at_once_all_store_their_context(config: dict[str, Any], client: Client) -> None:
    ended = run_together([[sys.executable, "-c", SHORT_JOB, json.dumps(config)]] * 8, stderr=subprocess.PIPE)
    assert [process.returncode for process in ended] == [0] * 8
    assert not [process.stderr for process in ended if b"Error" in process.stderr or b"wait" in process.stderr]
    stored = [extras["capture"] for (extras,) in client.execute("SELECT extras FROM runs")]
    assert len({found["command"]["pid"] for found in stored}) == 8
    assert [found["packages"] for found in stored if found["packages"] is None] == []
    assert client.execute("SELECT COUNT(*) FROM captured_packages").fetchone()[0] == 1


def test_a_list_that_cannot_be_shared_is_stored_with_the_run(
    client: Client, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For example because this user may not create tables."""
    monkeypatch.setattr(_package_lists, "_store", lambda *_: False)
    with run.track():
        pass
    assert captured(run)["packages"] == list_packages() == read_packages(client, run.id)


def test_a_run_without_context_has_no_packages(client: Client, run: Run) -> None:
    assert read_packages(client, run.id) is None
    with pytest.raises(sqltrack.errors.MissingRunError):
        read_packages(client, 12345)


def test_extras_of_the_user_stay_and_set_extras_keeps_the_context(client: Client, run: Run) -> None:
    run.add_extras({"mine": 1})
    run.start()
    wait_until(lambda: bool(captured(run)))
    run.set_extras({"other": 2})
    assert extras_of(run).keys() == {"capture", "other"}
    run.set_extras(None)
    assert extras_of(run).keys() == {"capture"}
    run.stop()
    assert extras_of(run).keys() == {"capture"}
    with client:
        run.set_extras({"last": 3})
    assert extras_of(run).keys() == {"capture", "last"}
    run.remove_extras("capture")
    run.set_extras({"last": 4})
    assert extras_of(run) == {"last": 4}


def test_a_block_around_the_whole_training_is_no_obstacle(client: Client, run: Run) -> None:
    """The thread would wait for the locks of the block; the end of the run stores in the block instead."""
    begin = time.monotonic()
    with client:
        with run.track():
            run.add_metrics({"loss": 1.0}, step=1)
            time.sleep(0.5)
        assert "command" in captured(run)
    assert time.monotonic() - begin < 20
    assert "packages" in captured(run)
    outbox = client._session.outbox
    assert outbox is None or outbox.is_direct


@pytest.mark.parametrize("where", ["_packages.list_packages", "_git_program.read_changes"])
def test_a_file_system_that_hangs_delays_the_end_by_a_second_at_most(
    run: Run, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sqltrack.capture import _git_program
    from sqltrack.capture._git import Repository

    forever = threading.Event()
    module, name = (
        {"_packages": _packages, "_git_program": _git_program}[where.partition(".")[0]],
        where.partition(".")[2],
    )
    monkeypatch.setattr(module, name, lambda *_: forever.wait(30) and {})
    monkeypatch.setattr(_git, "find_repository", lambda _: Repository("/x", "/x", "/x"))
    run.start()
    begin = time.monotonic()
    run.stop()
    assert time.monotonic() - begin < 3
    assert {"host", "command"} <= captured(run).keys()
    forever.set()


def test_a_repository_on_a_file_system_that_hangs_does_not_delay_the_start(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    forever = threading.Event()
    monkeypatch.setattr(_git, "find_repository", lambda _: forever.wait(30) and None)
    begin = time.monotonic()
    run.start()
    assert time.monotonic() - begin < 2
    run.stop()
    assert time.monotonic() - begin < 5
    forever.set()


def test_a_fact_that_fails_is_left_out(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OSError("the network is gone")

    monkeypatch.setattr(_host, "describe_host", fail)
    with run.track():
        pass
    assert "command" in captured(run)
    assert "host" not in captured(run)


@pytest.mark.parametrize(
    ("setting", "names"),
    [
        ("off", set()),
        (False, set()),
        ("", {"git", "packages", "host", "command"}),
        ("on", {"git", "packages", "host", "command"}),
        (True, {"git", "packages", "host", "command"}),
        (["host", "git"], {"host", "git"}),
        ("host , Diff", {"host", "git", "diff"}),
        ("on,output", {"git", "packages", "host", "command", "output"}),
        ("all", {"git", "packages", "host", "command", "diff", "output", "resources"}),
        ("series", {"resources", "series"}),
    ],
)
def test_the_setting_names_what_to_capture(setting: Any, names: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SQLTRACK_CAPTURE")
    assert capture_setting({"capture": setting or None if setting == "" else setting}) == names


@pytest.mark.parametrize("setting", ["git,pakages", 3, ["x"], "on;off"])
def test_a_wrong_setting_is_refused_when_the_client_is_made(config: dict[str, Any], setting: Any) -> None:
    with pytest.raises(ConfigError, match="capture must be"):
        Client({**config, "capture": setting})


def test_the_setting_is_read_like_all_others(
    empty_config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Client(empty_config)._captured == set()
    monkeypatch.setenv("SQLTRACK_CAPTURE", "host")
    assert Client(empty_config)._captured == {"host"}
    (tmp_path / "sqltrack.conf").write_text("capture = git, command\n")
    given = {name: value for name, value in empty_config.items() if name != "outbox"}
    assert Client(**given)._captured == {"git", "command"}
    monkeypatch.setenv("SQLTRACK_DSN_CAPTURE", "packages")
    assert Client(**given)._captured == {"packages"}
    assert Client(**given, capture="off")._captured == set()


def test_a_run_that_is_switched_off_stores_nothing(config: dict[str, Any]) -> None:
    client = Client({**config, "capture": "off"})
    with sqltrack.track("x", client=client) as run:
        pass
    assert extras_of(run) is None
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("sqltrack-capture")]


def test_capture_returns_what_a_run_stores() -> None:
    assert capture("host, command").keys() == {"host", "command"}
    assert "sqltrack-core" in capture()["packages"]


def test_output_is_stored_and_still_written(config: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    client = Client({**config, "capture": "output"})
    before = sys.stdout, sys.stderr
    with sqltrack.track("x", client=client) as run:
        print("epoch 1")
        print("a warning", file=sys.stderr)
        sys.stdout.writelines(["loading 10 %\r", "loading 100 %\n"])
    assert (sys.stdout, sys.stderr) == before
    assert captured(run)["output"]["text"].splitlines()[-3:] == ["epoch 1", "a warning", "loading 100 %"]
    assert "epoch 1\n" in capsys.readouterr().out


START = """
run = sqltrack.start("x", client=client)
confirm(run.id)
"""


@pytest.mark.parametrize(
    ("ending", "status"), [("pass", "COMPLETED"), ("1 / 0", "FAILED"), ("os.kill(os.getpid(), 15)", "CANCELLED")]
)
def test_a_run_that_is_not_stopped_keeps_its_context(
    config: dict[str, Any], client: Client, ending: str, status: str
) -> None:
    with Script(START + ending, config) as script:
        run_id = int(script.read_line())
        script.finish()
    (row,) = client.execute("SELECT status, extras FROM runs WHERE id = %s", (run_id,))
    assert row[0] == status
    assert {"host", "command"} <= row[1]["capture"].keys()


def test_a_killed_process_leaves_what_was_ready(config: dict[str, Any], client: Client) -> None:
    with Script(START + "os.kill(os.getpid(), 9)", config) as script:
        run_id = int(script.read_line())
        script.finish()
    (row,) = client.execute("SELECT extras FROM runs WHERE id = %s", (run_id,))
    # On a busy machine, even this may have come too late for the start of the run.
    assert row[0] is None or "command" in row[0]["capture"]


def test_a_forked_child_captures_nothing_and_its_parent_everything(config: dict[str, Any], client: Client) -> None:
    code = """
import warnings
# Python warns that a thread is running, which is the point here.
warnings.simplefilter("ignore", DeprecationWarning)
pid = os.fork()
if not pid:
    print("in the child")
    run.stop()
    os._exit(0)
os.waitpid(pid, 0)
run.stop()
"""
    config = {**config, "capture": "on, output"}
    with Script(START + code, config) as script:
        run_id = int(script.read_line())
        script.succeed()
    (row,) = client.execute("SELECT extras FROM runs WHERE id = %s", (run_id,))
    assert row[0]["capture"]["packages"]


def test_an_outage_leaves_the_context_in_the_outbox(config: dict[str, Any], client: Client, tmp_path: Path) -> None:
    always = Client({**config, **outbox_settings(tmp_path, outbox="always")})
    with sqltrack.track("x", client=always) as run:
        pass
    assert run.flush(30)
    assert captured(run)["packages"] == list_packages()
