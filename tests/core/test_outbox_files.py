"""Files of an outbox: what they hold, who may read them, and what is left of a damaged one."""

from __future__ import annotations

import json
import logging
import os
import secrets
import shutil
import signal
import stat
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack._outbox._journal import remove_remains
from sqltrack._outbox._places import OutboxLock, state_of
from sqltrack.errors import ConfigError, OutboxError
from sqltrack.outbox import find_outboxes, read_outbox, send_outboxes
from support.outages import away, outbox_files, with_outbox
from support.processes import Script

# Writes calls while the database is away, each with the size that the log has then.
WRITE = """
run = Experiment(client, name="experiment").get_run().start()
confirm(run.id)
sys.stdin.readline()
for step in range(CALLS):
    run.add_metrics({"loss": float("nan") if step % 2 else step, "text": "x" * LENGTH}, step=step)
    (log,) = [name for name in os.listdir(config["outbox_dir"]) if name.endswith("-wal")]
    confirm(os.stat(os.path.join(config["outbox_dir"], log)).st_size)
confirm("done")
sleep_on()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Folder for outboxes, which does not exist yet."""
    return tmp_path / "outbox"


@pytest.fixture
def sender(config: dict[str, Any], folder: Path) -> sqltrack.Client:
    """Client that sends what is in the folder."""
    return sqltrack.Client(with_outbox(config, folder, outbox="off"))


def leave_behind(config: dict[str, Any], folder: Path, calls: int = 20, length: int = 0) -> list[int]:
    """Let a process be killed that has made calls while the database was away; return sizes of the log after each."""
    # The next process would send what the last has left in the same folder.
    own = folder.with_name(f"{folder.name} {secrets.token_hex(4)}")
    script = WRITE.replace("CALLS", str(calls)).replace("LENGTH", str(length))
    with Script(script, with_outbox(config, own)) as process:
        process.read_line()
        with away(config):
            process.send_line()
            sizes = []
            while (line := process.read_line()) != "done":
                sizes.append(int(line))
            process.send_signal(signal.SIGKILL)
            process.finish()
    folder.mkdir(0o700, exist_ok=True)
    for path in own.iterdir():
        path.rename(folder / path.name)
    return sizes


def stored_steps(client: sqltrack.Client) -> list[int]:
    return [step for (step,) in client.execute("SELECT step FROM metrics ORDER BY step")]


def test_files_and_folder_are_the_users_own(config: dict[str, Any], folder: Path) -> None:
    """Also the log, and the file of refused calls; nobody else can read what was logged."""
    old = os.umask(0)
    try:
        client = sqltrack.Client(with_outbox(config, folder))
        experiment = sqltrack.Experiment(client, name="experiment")
        run, deleted = experiment.get_run(), experiment.get_run()
        with away(config):
            run.add_tags("x")
            deleted.add_tags("x")
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
            assert len(modes) >= 3
            assert set(modes.values()) == {0o600}
        sqltrack.Client(config).execute("DELETE FROM runs WHERE id = %s", (deleted.id,))
        assert run.flush(20)
    finally:
        os.umask(old)
    (refused,) = folder.iterdir()
    assert refused.name.endswith(".refused")
    assert stat.S_IMODE(refused.stat().st_mode) == 0o600


@pytest.mark.parametrize("damage", ["a link", "mode 0777", "a file"])
def test_an_unsafe_folder_is_refused_at_the_first_call(config: dict[str, Any], folder: Path, damage: str) -> None:
    """And not when the database is away for the first time."""
    if damage == "a link":
        folder.with_name("elsewhere").mkdir()
        folder.symlink_to(folder.with_name("elsewhere"))
    elif damage == "mode 0777":
        folder.mkdir()
        folder.chmod(0o777)
    else:
        folder.touch()
    with pytest.raises(ConfigError, match="folder for outboxes"):
        sqltrack.Client(with_outbox(config, folder))
    with pytest.raises(ConfigError, match="folder for outboxes"):
        find_outboxes(folder)


def test_a_folder_or_file_of_another_user_is_refused(config: dict[str, Any], folder: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files to others")
    folder.mkdir(0o700)
    os.chown(folder, 65534, -1)
    with pytest.raises(ConfigError, match="belongs to another user"):
        sqltrack.Client(with_outbox(config, folder))
    os.chown(folder, 0, -1)
    path = folder / "x.db"
    path.touch(0o600)
    os.chown(path, 65534, -1)
    with pytest.raises(OutboxError, match="belongs to another user"):
        read_outbox(path)


@pytest.mark.parametrize("damage", ["a link", "mode 0666", "a folder"])
def test_an_unsafe_file_is_neither_read_nor_sent(sender: sqltrack.Client, folder: Path, damage: str) -> None:
    folder.mkdir(0o700)
    path = folder / "x.db"
    if damage == "a link":
        target = folder.with_name("target.db")
        target.touch(0o600)
        path.symlink_to(target)
    elif damage == "mode 0666":
        path.touch()
        path.chmod(0o666)
    else:
        path.mkdir()
    assert find_outboxes(folder) == []
    assert send_outboxes(sender) == []
    with pytest.raises(OutboxError):
        read_outbox(path)
    with pytest.raises(OutboxError):
        send_outboxes(sender, [path])


def test_a_lock_file_that_is_a_link_is_not_written(tmp_path: Path) -> None:
    """Whoever can put one next to an outbox must not let it overwrite other files."""
    (tmp_path / "precious").write_text("kept")
    (tmp_path / "x.db.lock").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="symbolic links"):
        OutboxLock(str(tmp_path / "x.db.lock"))
    assert (tmp_path / "precious").read_text() == "kept"


SECRETS = """
run = Experiment(client, name="experiment").get_run().start()
confirm(run.id)
sys.stdin.readline()
run.add_args({"password": "unmasked-1", "lr": 0.5}).add_env({"API_TOKEN": "unmasked-2", "HOME": "/"})
run.set_args({"db": {"password": "unmasked-3"}}).set_env()
run.add_metrics({"loss": 1.0})
confirm("done")
sleep_on()
"""


def test_files_hold_neither_passwords_nor_secrets(
    config: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the password of the database, and of arguments and variables what would be stored there."""
    monkeypatch.setenv("SQLTRACK_DSN_PASSWORD", "unmasked-4")
    monkeypatch.setenv("MY_SECRET", "unmasked-5")
    given = {**config, "password": "unmasked-6"} if config["engine"] == "postgres" else config
    with Script(SECRETS, with_outbox(given, folder)) as process:
        process.read_line()
        with away(config):
            process.send_line()
            process.read_line()
            process.send_signal(signal.SIGKILL)
            process.finish()
    contents = b"".join(path.read_bytes() for path in folder.iterdir())
    assert b"lr" in contents
    assert b"unmasked" not in contents


# Refused calls


def test_calls_of_a_deleted_run_stay_and_hold_up_no_others(
    config: dict[str, Any], folder: Path, sender: sqltrack.Client, caplog: pytest.LogCaptureFixture
) -> None:
    """They are named once, and are sent again by name when the run is there again."""
    client = sqltrack.Client(with_outbox(config, folder))
    experiment = sqltrack.Experiment(client, name="experiment")
    runs = [experiment.get_run() for _ in range(3)]
    with away(config):
        for step in range(10):
            for run in runs:
                run.add_metrics({"loss": step}, step=step)
        runs[1].add_tags("x")
    sqltrack.Client(config).execute("DELETE FROM runs WHERE id = %s", (runs[1].id,))
    assert runs[0].flush(20)
    rows = client.execute("SELECT run_id, count(*) FROM metrics GROUP BY run_id ORDER BY run_id").fetchall()
    assert rows == [(runs[0].id, 10), (runs[2].id, 10)]
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1
    (refused,) = find_outboxes(folder)
    assert refused.path in errors[0]
    assert f"run {runs[1].id!r}" in errors[0]
    assert (refused.state, refused.calls, refused.owners) == ("refused", 11, 1)
    assert refused.reason is not None

    # Nothing is lost by trying too early.
    (sent,) = send_outboxes(sender, [refused.path])
    assert (sent.refused, sent.is_removed) == (11, False)
    assert find_outboxes(folder)[0].calls == 11

    assert experiment.get_run(runs[1].id).id == runs[1].id
    (sent,) = send_outboxes(sender, [refused.path])
    assert (sent.calls, sent.refused, sent.is_removed) == (11, 0, True)
    query = "SELECT count(*) FROM metrics WHERE run_id = %s"
    assert client.execute(query, (runs[1].id,)).fetchone() == (10,)
    assert outbox_files(folder) == []


def test_refused_calls_are_stored_once(config: dict[str, Any], folder: Path, sender: sqltrack.Client) -> None:
    """Though a process was killed after it had stored them, and before it removed them where they were."""
    leave_behind(config, folder)
    copy = folder.with_name("copy")
    shutil.copytree(folder, copy)
    sender.execute("DELETE FROM runs")
    assert [sent.refused for sent in send_outboxes(sender)] == [20]
    for path in copy.iterdir():
        shutil.copy(path, folder)
    assert [sent.refused for sent in send_outboxes(sender)] == [20]
    (refused,) = find_outboxes(folder)
    assert refused.calls == 20


# Locks


def test_to_look_at_outboxes_lets_go_of_no_lock(config: dict[str, Any], folder: Path) -> None:
    """A lock of POSIX ends when its process closes the file anywhere; then others would take it for dead."""
    client = sqltrack.Client(with_outbox(config, folder))
    run = sqltrack.Experiment(client, name="experiment").get_run()
    with away(config):
        run.add_tags("x")
        (info,) = find_outboxes(folder)
        assert (info.state, info.pid) == ("alive", os.getpid())
        script = "from sqltrack.outbox import find_outboxes\nconfirm(find_outboxes(config['outbox_dir'])[0].state)"
        with Script(script, with_outbox(config, folder)) as other:
            assert other.succeed() == ["alive"]
    assert run.flush(20)


def test_one_thread_of_a_process_has_a_lock(tmp_path: Path) -> None:
    path = str(tmp_path / "x.db.lock")
    lock = OutboxLock(path)
    with pytest.raises(BlockingIOError):
        OutboxLock(path)
    lock.release(remove=False)
    again = OutboxLock(path)
    # What was given back is not given back once more.
    lock.release(remove=True)
    assert state_of(path) == "alive"
    again.release(remove=True)
    assert not os.path.exists(path)


def test_a_lock_is_never_had_on_a_file_that_is_gone(tmp_path: Path) -> None:
    """Threads that lock, remove and create a file at the same time have it one after the other."""
    path, inside, most = str(tmp_path / "x.db.lock"), [], []

    def lock_often() -> None:
        for _ in range(50):
            try:
                lock = OutboxLock(path)
            except BlockingIOError:
                continue
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.0005)
            inside.pop()
            lock.release(remove=True)

    threads = [threading.Thread(target=lock_often) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(most) == {1}


SEND = """
from sqltrack.outbox import send_outboxes
confirm(json.dumps([[sent.calls, sent.is_removed] for sent in send_outboxes(client)]))
"""


def test_any_number_of_senders_send_each_file_once(
    config: dict[str, Any], folder: Path, sender: sqltrack.Client
) -> None:
    """Processes and threads at the same time: no error, and each row is there once."""
    number = 3
    for _ in range(number):
        leave_behind(config, folder, calls=30)
    results: list[Any] = []
    threads = [threading.Thread(target=lambda: results.append(send_outboxes(sender))) for _ in range(2)]
    with (
        Script(SEND, with_outbox(config, folder, outbox="off")) as one,
        Script(SEND, with_outbox(config, folder, outbox="off")) as other,
    ):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        done = [pair for script in (one, other) for pair in json.loads(script.succeed()[-1])]
    done += [[sent.calls, sent.is_removed] for result in results for sent in result]
    assert len(results) == 2
    assert sum(calls for calls, _ in done) == 30 * number
    assert sender.execute("SELECT count(*), count(DISTINCT run_id) FROM metrics").fetchone() == (30 * number, number)
    assert outbox_files(folder) == []
    assert send_outboxes(sender) == []


def test_what_is_left_of_a_file_goes_with_the_next_sending(config: dict[str, Any], folder: Path) -> None:
    """Processes may be killed while they create or delete one; what is alive stays."""
    folder.mkdir(0o700)
    for name in ("a.db.lock", "b.db.new", "c.db.refused.lock", "notes.txt"):
        (folder / name).touch(0o600)
    lock = OutboxLock(str(folder / "d.db.lock"))
    (folder / "d.db.new").touch(0o600)
    remove_remains(str(folder))
    assert outbox_files(folder) == ["d.db.lock", "d.db.new", "notes.txt"]
    lock.release(remove=True)
