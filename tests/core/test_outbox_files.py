"""Files of an outbox: their content, their permissions, and the recovery of damaged files."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import shutil
import signal
import sqlite3
import stat
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack._outbox import _journal
from sqltrack._outbox._journal import Journal, remove_remains
from sqltrack._outbox._mirror import Mirror
from sqltrack._outbox._places import OutboxLock, state_of
from sqltrack.engines.sqlite import SQLiteEngine
from sqltrack.errors import ConfigError, DatabaseError, OutboxError
from sqltrack.outbox import find_outboxes, read_outbox, send_outboxes
from support.away import away, outbox_files, with_outbox
from support.logging_threads import wait_until
from support.outbox_kills import leave_outbox
from support.processes import Script

pytestmark = pytest.mark.not_pooled("the database refuses connections, after which a pooler refuses them for a while")

# Makes calls while the database is away, and reports the size of the log after each.
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
    """Client that sends the outboxes of the folder."""
    return sqltrack.Client(with_outbox(config, folder, outbox="off"))


def leave_behind(config: dict[str, Any], folder: Path, calls: int = 20, length: int = 0) -> list[int]:
    """Let a process make calls while the database is away, and kill it; return the sizes of the log after each call."""
    # Otherwise the next process would send what the last one has left in the same folder.
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
    """This includes the log, and the file of refused calls: other users cannot read the logged values."""
    old = os.umask(0)
    try:
        client = sqltrack.Client(with_outbox(config, folder))
        experiment = sqltrack.Experiment(client, name="experiment")
        run, deleted = experiment.get_run(), experiment.get_run()
        sqltrack.Client(config).execute("DELETE FROM runs WHERE id = %s", (deleted.id,))
        with away(config):
            run.add_tags("x")
            deleted.add_tags("x")
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
            assert len(modes) >= 3
            assert set(modes.values()) == {0o600}
        assert run.flush(20)
    finally:
        os.umask(old)
    wait_until(lambda: len(list(folder.iterdir())) == 1)
    (refused,) = folder.iterdir()
    assert refused.name.endswith(".refused")
    assert stat.S_IMODE(refused.stat().st_mode) == 0o600


@pytest.mark.parametrize("damage", ["a link", "mode 0777", "a file"])
def test_an_unsafe_folder_is_refused_at_the_first_call(config: dict[str, Any], folder: Path, damage: str) -> None:
    """The error must not wait for the first outage."""
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
        pytest.skip("only root can change the owner of files")
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
    (info,) = find_outboxes(folder)
    assert (info.state, info.calls, info.target) == ("unusable", 0, {})
    assert info.damage is not None
    assert send_outboxes(sender) == []
    with pytest.raises(OutboxError):
        read_outbox(path)
    with pytest.raises(OutboxError):
        send_outboxes(sender, [path])


def test_a_lock_file_that_is_a_link_is_not_written(tmp_path: Path) -> None:
    """An attacker who can put a link next to an outbox must not overwrite other files with it."""
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
    """Neither the password of the database, nor secrets in arguments and variables, which are masked."""
    monkeypatch.setenv("SQLTRACK_DSN_PASSWORD", "unmasked-4")
    monkeypatch.setenv("MY_SECRET", "unmasked-5")
    given = {**config, "password": "unmasked-6"} if config["engine"] == "postgres" else config
    leave_outbox(SECRETS, with_outbox(given, folder), config)
    contents = b"".join(path.read_bytes() for path in folder.iterdir())
    assert b"lr" in contents
    assert b"unmasked" not in contents


# Refused calls


def test_calls_of_a_deleted_run_stay_and_hold_up_no_others(
    config: dict[str, Any], folder: Path, sender: sqltrack.Client, caplog: pytest.LogCaptureFixture
) -> None:
    """They are reported once, and you can send them again by name once the run exists."""
    client = sqltrack.Client(with_outbox(config, folder))
    experiment = sqltrack.Experiment(client, name="experiment")
    runs = [experiment.get_run() for _ in range(3)]
    sqltrack.Client(config).execute("DELETE FROM runs WHERE id = %s", (runs[1].id,))
    with away(config):
        for step in range(10):
            for run in runs:
                run.add_metrics({"loss": step}, step=step)
        runs[1].add_tags("x")
    assert runs[0].flush(20)
    rows = client.execute("SELECT run_id, count(*) FROM metrics GROUP BY run_id ORDER BY run_id").fetchall()
    assert rows == [(runs[0].id, 10), (runs[2].id, 10)]
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1
    (refused,) = find_outboxes(folder)
    assert refused.path in errors[0]
    assert f"run {runs[1].id!r}" in errors[0]
    assert (refused.state, refused.calls, refused.runs) == ("refused", 11, 1)
    assert refused.reason is not None

    # An attempt that comes too early loses nothing.
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
    """Even if the process is killed after it has stored them, and before it has removed them from their old place."""
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
    """A POSIX lock ends when its process closes the file anywhere; other processes would then take it for dead."""
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
    # A lock that was released is not released again.
    lock.release(remove=True)
    assert state_of(path) == "alive"
    again.release(remove=True)
    assert not os.path.exists(path)


def test_a_lock_is_never_had_on_a_file_that_is_gone(tmp_path: Path) -> None:
    """Threads that lock, remove and create a file at the same time hold the lock one after the other."""
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
    """Processes and threads at the same time raise no error, and each row is stored once."""
    number = 2
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
    # A sender that comes too late may leave an empty file, which the next one removes.
    assert sum(sent.calls for sent in send_outboxes(sender)) == 0
    assert outbox_files(folder) == []


def test_a_file_that_another_process_deletes_is_not_created_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opening it may fail as if it were damaged."""
    path = tmp_path / "x.db"
    Journal(str(path), {}).close()

    def connect(engine: SQLiteEngine) -> Any:
        path.unlink()
        raise DatabaseError("disk I/O error")

    monkeypatch.setattr(SQLiteEngine, "connect", connect)
    with pytest.raises(OutboxError):
        Journal(str(path))
    assert list(tmp_path.iterdir()) == []


def test_remains_of_a_file_are_removed_by_the_next_sending(config: dict[str, Any], folder: Path) -> None:
    """Processes may be killed while they create or delete a file; files of live processes stay."""
    folder.mkdir(0o700)
    for name in ("a.db.lock", "b.db.new", "b.db.new-journal", "c.db.refused.lock", ".e.db-x1", "notes.txt"):
        (folder / name).touch(0o600)
    # The file that belongs to it was not sent yet.
    (folder / "f.db").touch(0o600)
    (folder / ".f.db-x2_").mkdir()
    (folder / ".f.db-x2_" / "probe.db").touch()
    lock = OutboxLock(str(folder / "d.db.lock"))
    (folder / "d.db.new").touch(0o600)
    (folder / ".d.db-x3").touch(0o600)
    remove_remains(str(folder))
    assert outbox_files(folder) == [".d.db-x3", "d.db.lock", "d.db.new", "f.db", "notes.txt"]
    lock.release(remove=True)


# Damage

# The size of a page, and of SQLite's header before each page of its log
# (https://sqlite.org/fileformat2.html#walformat).
PAGE, FRAME_HEADER = 4096, 24


def copy_of(folder: Path, number: object) -> Path:
    """Return a copy of a folder with one outbox, without the index of the log, as after a crash of the machine."""
    copy = folder.with_name(f"copy {number}")
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("*-shm"))
    return copy


def only_file(folder: Path) -> Path:
    (path,) = folder.glob("*.db")
    return path


@pytest.mark.parametrize("every", [1009, pytest.param(1, marks=pytest.mark.faults)])
def test_a_log_that_was_cut_anywhere_has_all_calls_before(
    sqlite_config: dict[str, Any], folder: Path, every: int
) -> None:
    """As after a power failure: each call that was complete before is read, and the rest is not taken for a call."""
    sizes = leave_behind(sqlite_config, folder, calls=12, length=500)
    log = only_file(folder).with_name(only_file(folder).name + "-wal")
    size = log.stat().st_size
    assert size == sizes[-1]
    for cut in (size - back for back in cuts(every)):
        copy = copy_of(folder, cut)
        path = only_file(copy)
        os.truncate(path.with_name(path.name + "-wal"), cut)
        expected = sum(confirmed <= cut for confirmed in sizes)
        info = read_outbox(path)
        assert (info.calls, info.damage) == (expected, None)
        shutil.rmtree(copy)


def cuts(every: int) -> list[int]:
    """Return how many bytes to cut, up to three pages: around each boundary, and at regular distances."""
    frame = FRAME_HEADER + PAGE
    near = [number * frame + offset for number in range(4) for offset in (-1, 0, 1, FRAME_HEADER, FRAME_HEADER + 1)]
    return sorted({back for back in (*near, *range(0, 3 * frame, every)) if back >= 0})


def test_a_log_that_was_cut_is_sent_and_gone(config: dict[str, Any], folder: Path, sender: sqltrack.Client) -> None:
    sizes = leave_behind(config, folder, calls=12)
    path = only_file(folder)
    os.truncate(path.with_name(path.name + "-wal"), sizes[7] + 100)
    (sent,) = send_outboxes(sender)
    assert (sent.calls, sent.is_removed, sent.damage) == (8, True, None)
    assert stored_steps(sender) == list(range(8))
    assert outbox_files(folder) == []


def leave_whole_file(config: dict[str, Any], folder: Path, calls: int, length: int = 300) -> Path:
    """Kill a process as `leave_behind` does, and return the path of its file, which no longer needs a log."""
    leave_behind(config, folder, calls, length)
    path = only_file(folder)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


def pages_of_calls(path: Path) -> list[int]:
    """Return the numbers of the pages that contain calls."""
    pages = []
    contents = path.read_bytes()
    for number in range(len(contents) // PAGE):
        page = contents[number * PAGE : (number + 1) * PAGE]
        # A leaf of a table, with names of calls.
        if page[0] == 13 and b"add_metrics" in page:
            pages.append(number)
    return pages


def readable_calls(path: Path) -> int:
    """Return the number of calls that SQLite reads one by one."""
    count = 0
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        for place in range(1, 200):
            with contextlib.suppress(sqlite3.DatabaseError):
                count += len(connection.execute("SELECT * FROM outbox_calls WHERE seq = ?", (place,)).fetchall())
    return count


@pytest.mark.parametrize("damage", ["cut", "noise"])
def test_all_that_can_be_read_of_a_damaged_file_is_sent(
    config: dict[str, Any], folder: Path, sender: sqltrack.Client, damage: str
) -> None:
    """The file is kept unchanged, and the result says so; sending it again changes nothing."""
    path = leave_whole_file(config, folder, calls=100)
    pages = pages_of_calls(path)
    assert len(pages) > 6
    with open(path, "r+b") as file:
        if damage == "cut":
            file.truncate(pages[-3] * PAGE + 100)
        else:
            for number in (pages[2], pages[3], pages[-2]):
                file.seek(number * PAGE)
                file.write(secrets.token_bytes(PAGE))
    contents = path.read_bytes()
    readable = readable_calls(path)
    assert 40 < readable < 100
    (info,) = find_outboxes(folder)
    assert info.calls == readable
    assert info.damage is not None

    for _ in range(2):
        (sent,) = send_outboxes(sender)
        assert (sent.calls, sent.refused, sent.is_removed) == (readable, 0, False)
        assert sent.damage is not None
        assert len(stored_steps(sender)) == readable
    assert path.read_bytes() == contents


def test_a_file_that_no_longer_names_its_database_is_sent_by_force(
    config: dict[str, Any], folder: Path, sender: sqltrack.Client
) -> None:
    """One damaged page may contain all notes; the result says what is wrong, and what to do."""
    path = leave_whole_file(config, folder, calls=10)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        ((page,),) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'outbox_about'")
    with open(path, "r+b") as file:
        file.seek((page - 1) * PAGE)
        file.write(secrets.token_bytes(PAGE))
    (info,) = find_outboxes(folder)
    assert (info.calls, info.target) == (10, {})
    (skipped,) = send_outboxes(sender, [path])
    assert skipped.skipped == "it is damaged and does not name its database; if it is for this one, use force"
    (sent,) = send_outboxes(sender, [path], force=True)
    assert (sent.calls, sent.is_removed) == (10, False)
    assert stored_steps(sender) == list(range(10))


def test_notes_before_a_damaged_one_are_read(config: dict[str, Any], folder: Path, sender: sqltrack.Client) -> None:
    path = leave_whole_file(config, folder, calls=10)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT OR REPLACE INTO outbox_about VALUES ('times of run 1', '[')")
    (sent,) = send_outboxes(sender)
    assert (sent.calls, sent.is_removed) == (10, False)
    assert sent.damage is not None


def test_a_call_that_cannot_be_understood_holds_up_no_others(
    config: dict[str, Any], folder: Path, sender: sqltrack.Client
) -> None:
    """A byte may have changed, and SQLite has no checksums; the file is kept."""
    path = leave_whole_file(config, folder, calls=10)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        for seq, arguments in enumerate(("[", '{"kind": "other"}', "[1, 2]", '[{"kind":"date","content":7}]'), 1):
            connection.execute("UPDATE outbox_calls SET arguments = ? WHERE seq = ?", (arguments, seq * 2))
        connection.execute("UPDATE outbox_calls SET name = '_update' WHERE seq = 9")
    (sent,) = send_outboxes(sender)
    assert not sent.is_removed
    assert sent.damage is not None
    assert sent.refused == 2
    assert stored_steps(sender) == [0, 2, 4, 6, 9]


NAMES = [
    ("set_columns", ["runs", 1, {"kind": "dict", "content": [["status = 'x' --", 1]]}]),
    ("merge_json", ["runs", 1, "tags = NULL --", {"kind": "json", "content": {"kind": "dict", "content": []}}]),
    ("remove_link", ["run_links WHERE 1 --", 1, "x", 2]),
    ("_update", ["runs", 1, "status = 'x'", []]),
]


def test_no_text_of_a_file_becomes_sql(config: dict[str, Any], folder: Path, sender: sqltrack.Client) -> None:
    """Unknown names are refused."""
    path = leave_whole_file(config, folder, calls=len(NAMES) + 2)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        for seq, (name, arguments) in enumerate(NAMES, 2):
            values = (name, json.dumps(arguments), seq)
            connection.execute("UPDATE outbox_calls SET name = ?, arguments = ? WHERE seq = ?", values)
    before = sender.execute("SELECT status, tags FROM runs").fetchall()
    (sent,) = send_outboxes(sender)
    assert (sent.calls, sent.refused) == (2, len(NAMES))
    assert sender.execute("SELECT status, tags FROM runs").fetchall() == before
    (refused,) = find_outboxes(folder)
    assert refused.calls == len(NAMES)
    assert "does not exist" in str(refused.reason)


@pytest.mark.parametrize("contents", [b"", b"not a database" * 400, b"SQLite format 3\0" + b"\0" * 5000])
def test_a_file_of_which_nothing_can_be_read_is_told_of_and_kept(
    sender: sqltrack.Client, folder: Path, contents: bytes
) -> None:
    folder.mkdir(0o700)
    path = folder / "x.db"
    path.touch(0o600)
    path.write_bytes(contents)
    (info,) = find_outboxes(folder)
    assert info.calls == 0
    assert info.damage is not None
    (sent,) = send_outboxes(sender, [path], force=True)
    assert (sent.calls, sent.is_removed) == (0, False)
    assert sent.damage is not None
    # SQLite takes an empty file for a new database.
    assert contents == b"" or path.read_bytes() == contents


def test_a_range_that_cannot_be_read_is_searched_once(
    sqlite_config: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not searched again for each batch, nor row by row to its end."""
    path = leave_whole_file(sqlite_config, folder, calls=100)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE outbox_calls SET seq = seq + 500000 WHERE seq > 50")
    page = pages_of_calls(path)[1]
    with open(path, "r+b") as file:
        file.seek(page * PAGE)
        file.write(b"\0" * PAGE)
    journal = Journal(str(path))
    look_ups: list[str] = []
    fetch = journal._fetch
    monkeypatch.setattr(journal, "_fetch", lambda sql, values=(): look_ups.append(sql) or fetch(sql, values))
    found = []
    while batch := journal.read(10, found[-1].seq if found else 0):
        found += batch
    assert 80 < len(found) < 100
    assert found[-1].seq == 500100
    assert len(look_ups) < 1500
    journal.close()


@pytest.mark.parametrize("is_damaged", [False, True])
def test_large_calls_are_read_in_parts(
    sqlite_config: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch, is_damaged: bool
) -> None:
    """A part has at least one call, so even a larger one is read."""
    monkeypatch.setattr(_journal, "_READ_BYTES", 250)
    path = leave_whole_file(sqlite_config, folder, calls=20, length=100)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE outbox_calls SET arguments = '[\"' || hex(zeroblob(500)) || '\"]' WHERE seq = 8")
        if is_damaged:
            connection.execute("UPDATE outbox_calls SET arguments = '[' WHERE seq = 1")
    journal = Journal(str(path))
    found: list[int] = []
    parts = []
    while batch := journal.read(10, found[-1] if found else 0):
        found += [call.seq for call in batch]
        parts.append(len(batch))
    assert (journal.damage is not None) == is_damaged
    assert found == list(range(1 + is_damaged, 21))
    assert max(parts) == 2
    journal.close()


@pytest.mark.engines("postgres", reason="a sender that waits for SQLite's lock has already read the calls")
def test_a_running_process_ends_its_damaged_file_and_continues(
    config: dict[str, Any], folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Readable calls arrive, new calls go to the database again, and the file is kept and named."""
    client = sqltrack.Client(with_outbox(config, folder))
    run = sqltrack.Experiment(client, name="experiment").get_run()
    with away(config):
        for step in range(10):
            run.add_metrics({"loss": step}, step=step)
        with contextlib.closing(sqlite3.connect(only_file(folder))) as connection, connection:
            connection.execute("UPDATE outbox_calls SET arguments = '[' WHERE seq = 5")
    assert run.flush(20)
    run.add_metrics({"loss": 10}, step=10)
    assert stored_steps(client) == [0, 1, 2, 3, 5, 6, 7, 8, 9, 10]
    assert "the file is kept" in caplog.text
    assert outbox_files(folder) == [only_file(folder).name, only_file(folder).name + ".lock"]


def test_a_late_look_at_a_file_that_was_sent_does_not_bring_it_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection for the tables in the file may take so long that nobody waits for it any more."""
    path = tmp_path / "outbox.db"
    sqltrack.Client(engine="sqlite", dbpath=str(path), outbox="off").setup()
    arrived, goes_on = threading.Event(), threading.Event()
    connect = SQLiteEngine.connect

    def connect_late(engine: SQLiteEngine) -> Any:
        arrived.set()
        goes_on.wait(10)
        return connect(engine)

    monkeypatch.setattr(SQLiteEngine, "connect", connect_late)
    making = threading.Thread(target=Mirror, args=(str(path),))
    making.start()
    assert arrived.wait(10)
    path.unlink()
    goes_on.set()
    making.join(10)
    assert not making.is_alive()
    assert list(tmp_path.iterdir()) == []
