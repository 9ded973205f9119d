"""Outboxes of dead processes are found, sent and dropped, one by one."""

from __future__ import annotations

import os
import time
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack._outbox import _journal, _outbox, _sender
from sqltrack._outbox._journal import Call, lock_path
from sqltrack._outbox._others import OtherOutboxes
from sqltrack._outbox._sender import Sender
from sqltrack.errors import ConflictError, DatabaseUnavailableError, NotSetUpError, OutboxError
from sqltrack.outbox import OutboxInfo, drop_outbox, find_outboxes, read_outbox, send_outboxes
from support.away import with_outbox
from support.left_outboxes import leave_outbox, of_another_host


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "outbox"


def leave(config: dict[str, Any], folder: Path, steps: int = 3) -> OutboxInfo:
    """Leave an outbox of a run with some steps, and return it."""
    before = {info.path for info in find_outboxes(folder)}
    with leave_outbox(config, folder) as client:
        run = sqltrack.Experiment(client, name="left").get_run()
        for step in range(steps):
            run.add_metrics({"loss": 1 / (step + 1)}, step)
    (info,) = (info for info in find_outboxes(folder) if info.path not in before)
    return info


def rows(client: sqltrack.Client) -> int:
    (number,) = client.execute("SELECT COUNT(*) FROM metrics").fetchone()
    return int(number)


def test_outboxes_of_dead_processes_are_found_and_sent_once(config: dict[str, Any], folder: Path) -> None:
    info = leave(config, folder)
    client = sqltrack.Client(config, outbox_dir=str(folder))
    assert (info.state, info.calls, info.runs, info.damage) == ("dead", 3, 1, None)
    assert info.target == client.engine.target()
    (sent,) = send_outboxes(client)
    assert (sent.path, sent.calls, sent.is_removed, sent.skipped) == (info.path, 3, True, None)
    assert (rows(client), os.listdir(folder), send_outboxes(client)) == (3, [], [])


def test_runs_are_counted_and_calls_about_their_experiment_are_not_one(config: dict[str, Any], folder: Path) -> None:
    with leave_outbox(config, folder) as client:
        experiment = sqltrack.Experiment(client, name="left").set_comment("two runs")
        for _ in range(2):
            experiment.get_run().add_metrics({"loss": 0.5}, 1).set_comment("a run")
    (info,) = find_outboxes(folder)
    assert (info.calls, info.runs) == (5, 2)


def test_a_file_that_cannot_be_used_is_named_and_holds_up_no_other(config: dict[str, Any], folder: Path) -> None:
    sound = leave(config, folder)
    open_to_all, link = (folder / f"0{name}.db" for name in ("open", "link"))
    open_to_all.touch()
    link.symlink_to(sound.path)
    open_to_all.chmod(0o666)
    found = {info.path: info for info in find_outboxes(folder)}
    reasons = {open_to_all: "can be written by others", link: "is a link"}
    for path, reason in reasons.items():
        info = found.pop(str(path))
        assert (info.state, info.calls) == ("unusable", 0)
        assert info.damage is not None
        assert reason in info.damage
        assert info.reason_to_leave(force=True) == info.damage
        with pytest.raises(OutboxError, match=reason):
            read_outbox(path)
    assert list(found.values()) == [sound]
    client = sqltrack.Client(config, outbox_dir=str(folder))
    # A named file that is not an outbox is an error before anything is sent.
    for path in (open_to_all, link, folder / "missing.db"):
        with pytest.raises(OutboxError):
            send_outboxes(client, [sound.path, path])
    assert read_outbox(sound.path).calls == 3
    (sent,) = send_outboxes(client)
    assert (sent.calls, rows(client), open_to_all.exists()) == (3, 3, True)


def test_a_file_of_which_nothing_can_be_read_holds_up_no_other(config: dict[str, Any], folder: Path) -> None:
    sound = leave(config, folder)
    garbage = folder / "garbage.db"
    garbage.write_bytes(b"nothing that SQLite knows" * 100)
    garbage.chmod(0o600)
    assert [(info.calls, info.damage) for info in find_outboxes(folder)] == [(3, None), (0, "file is not a database")]
    client = sqltrack.Client(config)
    garbled, sent = send_outboxes(client, [garbage, sound.path], force=True)
    assert (garbled.calls, garbled.is_removed, garbled.damage) == (0, False, "file is not a database")
    assert (sent.calls, rows(client)) == (3, 3)
    drop_outbox(garbage)
    assert os.listdir(folder) == []


def test_each_file_is_reported_when_it_was_sent(config: dict[str, Any], folder: Path) -> None:
    paths = [leave(config, folder, steps).path for steps in (1, 2)]
    client = sqltrack.Client(config)
    seen: list[tuple[str, int]] = []
    send_outboxes(client, paths, progress=lambda sent: seen.append((sent.path, rows(client))))
    assert seen == [(paths[0], 1), (paths[1], 3)]


def test_an_interrupted_sender_leaves_the_rest_to_the_next(config: dict[str, Any], folder: Path) -> None:
    paths = [leave(config, folder).path for _ in range(3)]
    client = sqltrack.Client(config, outbox_dir=str(folder))

    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        send_outboxes(client, progress=interrupt)
    assert [info.path for info in find_outboxes(folder)] == paths[1:]
    assert [info.state for info in find_outboxes(folder)] == ["dead", "dead"]
    assert [sent.calls for sent in send_outboxes(client)] == [3, 3]
    assert (rows(client), os.listdir(folder)) == (9, [])


def test_of_a_database_that_is_away_every_file_stays(config: dict[str, Any], folder: Path) -> None:
    info = leave(config, folder)
    missing = str(folder.parent / "missing.db")
    away = {**config, "dbpath": missing} if "dbpath" in config else {**config, "host": "127.0.0.1", "port": 1}
    begin = time.monotonic()
    with pytest.raises((DatabaseUnavailableError, NotSetUpError)):
        send_outboxes(sqltrack.Client(away), [info.path], force=True)
    # A training waits for the database; the user of the command should not have to.
    assert time.monotonic() - begin < 10
    assert (read_outbox(info.path), os.path.exists(missing)) == (info, False)


def test_a_file_names_its_own_process_after_another_could_not_send_it(
    config: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = leave(config, folder)
    lock = Path(lock_path(info.path))
    lock.write_text(lock.read_text().replace(f'"pid": {os.getpid()}', '"pid": 1'))

    def lose(*_: object) -> None:
        raise DatabaseUnavailableError("away")

    monkeypatch.setattr(Sender, "send_batch", lose)
    with pytest.raises(DatabaseUnavailableError, match="away"):
        send_outboxes(sqltrack.Client(config), [info.path])
    left = read_outbox(info.path)
    assert (left.state, left.pid) == ("dead", 1)


def test_another_hosts_file_needs_force_and_another_databases_too(
    config: dict[str, Any], folder: Path, tmp_path: Path
) -> None:
    path = Path(leave(config, folder).path)
    of_another_host(path)
    client = sqltrack.Client(config, outbox_dir=str(folder))
    assert read_outbox(path).state == "unknown"
    assert send_outboxes(client) == []
    (skipped,) = send_outboxes(client, [path])
    assert "may be alive on host node17" in (skipped.skipped or "")
    with pytest.raises(ConflictError, match="may be alive on host node17"):
        drop_outbox(path)
    assert read_outbox(path).calls == 3
    (sent,) = send_outboxes(client, [path], force=True)
    assert (sent.calls, rows(client), os.listdir(folder)) == (3, 3, [])


def test_sending_removes_files_that_deleted_outboxes_have_left(config: dict[str, Any], folder: Path) -> None:
    """SQLite recreates these files for a process that opens a database while another deletes it."""
    info = leave(config, folder)
    of_another_host(Path(info.path))
    kept = sorted(os.listdir(folder))
    for suffix in ("-wal", "-shm"):
        (folder / f"gone.db{suffix}").touch()
    client = sqltrack.Client(config, outbox_dir=str(folder))
    assert send_outboxes(client) == []
    assert sorted(os.listdir(folder)) == kept
    assert read_outbox(info.path).calls == 3


def test_a_dropped_outbox_is_gone_with_its_lock(config: dict[str, Any], folder: Path) -> None:
    kept, dropped = leave(config, folder), leave(config, folder)
    assert drop_outbox(dropped.path) == dropped
    assert find_outboxes(folder) == [kept]
    assert all(name.startswith(Path(kept.path).name) for name in os.listdir(folder))


def test_sending_large_values_takes_little_memory(
    config: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The calls are read, decoded and sent in parts, whose size does not depend on that of the file."""
    monkeypatch.setattr(_journal, "_READ_BYTES", 2**18)
    with leave_outbox(config, folder) as client:
        run = sqltrack.Experiment(client, name="left").get_run()
        for step in range(60):
            run.add_metrics({"text": "x" * 2**17}, step)
    client = sqltrack.Client(config, outbox_dir=str(folder))
    tracemalloc.start()
    try:
        (sent,) = send_outboxes(client)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (sent.calls, sent.is_removed, rows(client)) == (60, True, 60)
    assert peak < 60 * 2**17 / 2


def test_a_slow_database_gets_smaller_batches(
    config: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that sends its own calls halves batches that take too long, until they are confirmed in time."""
    sizes: list[int] = []
    send = _sender.Sender._send

    def send_slowly(sender: _sender.Sender, group: Sequence[Call], seconds: float) -> int:
        sizes.append(len(group))
        if len(group) > 3:
            time.sleep(seconds)
            raise DatabaseUnavailableError("no answer")
        return send(sender, group, seconds)

    monkeypatch.setattr(_sender.Sender, "_send", send_slowly)
    monkeypatch.setattr(_sender, "_PATIENCE", 0.02)
    monkeypatch.setattr(_sender, "_PER_ROW", 0)
    monkeypatch.setattr(_outbox, "_PAUSE", 0.01)
    client = sqltrack.Client({**config, "outbox": "always", "outbox_dir": str(folder)})
    run = sqltrack.Experiment(client, name="slow").get_run()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_outbox.Outbox, "_ensure_thread", lambda self: False)
        for step in range(20):
            run.add_metrics({"loss": step}, step)
    assert run.flush(20)
    assert sizes[:4] == [20, 10, 5, 2]
    assert rows(client) == 20


def test_a_network_in_which_connecting_takes_long_costs_no_value(
    config: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that sends its calls waits longer each time, until it is connected."""
    monkeypatch.setattr(_outbox, "_REACH", 0.05)
    monkeypatch.setattr(_outbox, "_PAUSE", 0.01)
    client = sqltrack.Client({**config, "outbox": "always", "outbox_dir": str(folder)})
    run = sqltrack.Experiment(client, name="far").get_run()
    connect = type(client.engine).connect

    def connect_slowly(engine: Any, *arguments: Any) -> Any:
        time.sleep(0.15)
        return connect(engine, *arguments)

    monkeypatch.setattr(type(client.engine), "connect", connect_slowly)
    run.add_metrics({"loss": 0.5}, 1)
    assert run.flush(5)
    assert rows(client) == 1


# The first row takes a minute, even if its connection is closed meanwhile.
SLOW_ROWS = """
    CREATE SEQUENCE slow_rows;
    CREATE FUNCTION be_slow() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_sleep(CASE WHEN nextval('slow_rows') = 1 THEN 60 WHEN NEW.step = 7 THEN 0.15 ELSE 0.03 END);
        RETURN NEW;
    END $$;
    CREATE TRIGGER be_slow BEFORE INSERT ON metrics FOR EACH ROW EXECUTE FUNCTION be_slow();
"""


@pytest.mark.engines("postgres", reason="SQLite stores rows in this process, which waits for as long as it takes")
@pytest.mark.not_pooled("a pooler hides which process of the server executes a statement")
def test_a_slow_server_gets_smaller_batches_and_more_time_for_one_call(
    config: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It needs longer for all calls than a batch may take, and even for one of them.

    A batch that was given up does not keep its locks.
    """
    with leave_outbox(config, folder) as client:
        run = sqltrack.Experiment(client, name="left").get_run().set_comment("in a batch of its own")
        for step in range(8):
            run.add_metrics({"loss": 1 / (step + 1)}, step)
    client = sqltrack.Client(config, outbox_dir=str(folder))
    client.execute(SLOW_ROWS)
    monkeypatch.setattr(_sender, "_PATIENCE", 0.1)
    monkeypatch.setattr(_sender, "_PER_ROW", 0)
    (sent,) = send_outboxes(client)
    assert (sent.calls, sent.is_removed, rows(client)) == (9, True, 8)


@pytest.mark.engines("postgres", reason="SQLite stores rows in this process, which waits for as long as it takes")
@pytest.mark.not_pooled("a pooler hides which process of the server executes a statement")
def test_a_batch_that_a_process_gives_up_does_not_hold_up_its_next_one(
    config: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server would keep its locks for a minute."""
    monkeypatch.setattr(_sender, "_PATIENCE", 0.2)
    monkeypatch.setattr(_outbox, "_PAUSE", 0.01)
    client = sqltrack.Client({**config, "outbox": "always", "outbox_dir": str(folder)})
    run = sqltrack.Experiment(client, name="slow").get_run()
    client.execute(SLOW_ROWS)
    run.add_metrics({"loss": 0.5}, 1)
    assert run.flush(5)
    assert rows(client) == 1


def test_a_process_that_cannot_send_the_calls_of_others_at_its_end_says_so(
    config: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """For example because Python 3.12 starts no threads at that time."""
    leave(config, folder)
    client = sqltrack.Client(with_outbox(config, folder))
    outbox = client._session.outbox
    assert outbox is not None
    monkeypatch.setattr(OtherOutboxes, "_start", lambda self, paths: None)
    outbox.send_left_behind()
    outbox.close()
    outbox.reopen()
    (message,) = caplog.messages
    assert message.startswith(f"calls of other processes, which have ended, wait in {folder} until")
    monkeypatch.undo()
    assert outbox.flush_at_end() is False
    assert os.listdir(folder) == []
