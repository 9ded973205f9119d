"""Where calls wait: the size limit, how long files stay, and what happens if no file can be written."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from sqltrack import Client, Experiment, Run
from sqltrack._outbox import _outbox
from sqltrack.errors import ConfigError, OutboxError
from sqltrack.outbox import find_outboxes, send_outboxes
from support.databases import connect_to_sqlite
from support.logging_threads import wait_until
from support.small_file_systems import mounted


def with_outbox(config: dict[str, Any], tmp_path: Path, **settings: Any) -> dict[str, Any]:
    return {**config, "outbox": "on", "outbox_dir": str(tmp_path / "outbox"), "patience": 0.05, **settings}


def files(tmp_path: Path) -> list[str]:
    folder = tmp_path / "outbox"
    return sorted(os.listdir(folder)) if folder.is_dir() else []


@contextmanager
def locked(config: dict[str, Any]) -> Iterator[None]:
    """Lock a SQLite database against other writers in the `with` block."""
    with closing(connect_to_sqlite(config)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


def log(run: Run, steps: range) -> None:
    for step in steps:
        run.add_metrics({"loss": step / 2, "text": "a" * 100}, step=step)


def stored_steps(config: dict[str, Any]) -> list[int]:
    with closing(connect_to_sqlite(config)) as connection:
        return [step for (step,) in connection.execute("SELECT step FROM metrics ORDER BY step")]


@pytest.fixture
def plain(sqlite_config: dict[str, Any]) -> dict[str, Any]:
    """Configuration of a SQLite database after setup, without an outbox."""
    config = {**sqlite_config, "outbox": "off"}
    Client(config).setup()
    return config


def begin(config: dict[str, Any]) -> Run:
    return Experiment(Client(config), name="a").get_run().start()


def test_calls_raise_once_the_outbox_is_full(plain: dict[str, Any], tmp_path: Path) -> None:
    """Earlier calls are kept, and there is room again after they were sent."""
    run = begin(with_outbox(plain, tmp_path, outbox_limit="400 kB"))
    kept = 0
    with locked(plain):
        with pytest.raises(OutboxError, match="the outbox is full") as caught:
            for step in range(100_000):
                run.add_metrics({"loss": 0.5, "text": "a" * 1000}, step=step)
                kept += 1
        assert "outbox_limit" in (caught.value.advice or "")
        with pytest.raises(OutboxError):
            run.add_metrics({"loss": 0.5}, step=kept)
    assert kept >= 50
    assert run.flush(60)
    run.add_metrics({"loss": 0.5}, step=kept)
    assert stored_steps(plain) == list(range(kept + 1))


def test_a_folder_that_is_removed_costs_no_value(plain: dict[str, Any], tmp_path: Path) -> None:
    """Further calls go to another file. Calls in the first file are sent as long as the process lives."""
    run = begin(with_outbox(plain, tmp_path))
    with locked(plain):
        log(run, range(20))
        shutil.rmtree(tmp_path / "outbox")
        log(run, range(20, 40))
        assert len([name for name in files(tmp_path) if name.endswith(".db")]) == 1
    assert run.flush(60)
    assert stored_steps(plain) == list(range(40))
    assert files(tmp_path) == []


def test_calls_wait_in_memory_if_no_file_can_be_written(
    plain: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says so. They move to a file as soon as a file can be written."""
    (tmp_path / "outbox").write_text("no folder")
    config = with_outbox(plain, tmp_path, outbox="off")
    run = begin(config)
    run = Run(Client({**config, "outbox": "on", "outbox_dir": str(tmp_path / "outbox" / "below")}), run_id=run.id)
    with locked(plain):
        log(run, range(20))
        assert "calls are only in memory" in caplog.text
        (tmp_path / "outbox").unlink()
        time.sleep(_outbox._DISK_PAUSE)
        log(run, range(20, 40))
        assert "and no longer in memory" in caplog.text
        (info,) = find_outboxes(tmp_path / "outbox" / "below")
        assert info.calls == 40
    assert run.flush(60)
    assert stored_steps(plain) == list(range(40))


def test_memory_is_limited_and_sent_from(
    plain: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the limit, calls raise. Calls in memory arrive even if no file can ever be written."""
    monkeypatch.setattr(_outbox, "_MEMORY_LIMIT", 200_000)
    run = begin(plain)
    (tmp_path / "outbox").write_text("no folder")
    run = Run(Client(with_outbox(plain, tmp_path, outbox_dir=str(tmp_path / "outbox" / "below"))), run_id=run.id)
    kept = 0
    with locked(plain), pytest.raises(OutboxError, match="the outbox is full"):
        for step in range(100_000):
            run.add_metrics({"text": "a" * 1000}, step=step)
            kept += 1
    assert run.flush(60)
    assert stored_steps(plain) == list(range(kept))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux mounts small file systems")
def test_a_disk_that_is_full_below_the_outbox_costs_no_value(
    plain: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    with mounted(folder, "1m"):
        run = begin(with_outbox(plain, tmp_path, outbox_dir=str(folder / "outbox")))
        with locked(plain):
            for step in range(2_000):
                run.add_metrics({"text": "a" * 1000}, step=step)
            assert "calls are only in memory" in caplog.text
        assert run.flush(60)
        assert stored_steps(plain) == list(range(2_000))
        assert os.listdir(folder / "outbox") == []


def test_a_file_that_was_sent_is_kept_for_as_long_as_was_asked(plain: dict[str, Any], tmp_path: Path) -> None:
    """You can send it again by name, for example after the database was restored."""
    config = with_outbox(plain, tmp_path, outbox_keep=3600)
    run = begin(config)
    with locked(plain):
        log(run, range(10))
    assert run.flush(60)
    wait_until(lambda: [name[-8:] for name in files(tmp_path)] == [".db.sent"])
    (info,) = find_outboxes(tmp_path / "outbox")
    assert (info.state, info.calls) == ("sent", 10)
    assert send_outboxes(Client(plain)) == []
    with closing(connect_to_sqlite(plain)) as connection:
        connection.execute("DELETE FROM metrics")
    (sent,) = send_outboxes(Client(config), [info.path])
    assert (sent.calls, sent.refused, sent.is_removed) == (10, 0, False)
    assert stored_steps(plain) == list(range(10))

    os.utime(info.path, (0, 0))
    with locked(plain):
        log(run, range(10, 20))
        assert not any(name.startswith(os.path.basename(info.path)) for name in files(tmp_path))
    assert run.flush(60)


LEAVE_BEHIND = """
import os, sys
from sqltrack import Client, Run


run = Run(Client({config!r}), run_id={run_id})
for step in range(10):
    run.add_metrics({{"loss": 0.5}}, step=step)
os._exit(0)
"""


def leave_behind(config: dict[str, Any], run: Run) -> None:
    """Let a process end that could not reach the database."""
    with locked(config):
        script = LEAVE_BEHIND.format(config=config, run_id=run.id)
        subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_the_next_run_sends_the_outbox_of_a_dead_process(plain: dict[str, Any], tmp_path: Path) -> None:
    config = with_outbox(plain, tmp_path)
    first = begin(plain)
    leave_behind(config, first)
    assert len(find_outboxes(tmp_path / "outbox")) == 1
    assert stored_steps(plain) == []
    _outbox._outboxes.clear()
    with Experiment(Client(config), name="b").get_run().track():
        wait_until(lambda: stored_steps(plain) == list(range(10)))
    wait_until(lambda: files(tmp_path) == [])


def test_outboxes_for_other_databases_are_left_alone(plain: dict[str, Any], tmp_path: Path) -> None:
    config = with_outbox(plain, tmp_path)
    leave_behind(config, begin(plain))
    other = with_outbox({**plain, "dbpath": str(tmp_path / "other.db")}, tmp_path)
    Client(other).setup()
    assert send_outboxes(Client(other)) == []
    (info,) = find_outboxes(tmp_path / "outbox")
    (skipped,) = send_outboxes(Client(other), [info.path])
    assert skipped.skipped == "it is for another database"
    (sent,) = send_outboxes(Client(config))
    assert sent.is_removed


def test_all_calls_go_through_the_file_if_always(config: dict[str, Any], tmp_path: Path) -> None:
    """They arrive soon, and the outbox is empty at the end."""
    script = f"""
from sqltrack import Client, Experiment
run = Experiment(Client({with_outbox(config, tmp_path, outbox="always")!r}), name="a").get_run()
with run.track():
    for step in range(300):
        run.add_metrics({{"loss": step / 2}}, step=step)
    run.add_tags("x")
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
    client = Client({**config, "outbox": "off"})
    assert client.execute("SELECT count(*), max(loss) FROM metrics").fetchall() == [(300, 149.5)]
    assert client.execute("SELECT status, tags FROM runs").fetchall() == [("COMPLETED", {"x": True})]
    assert files(tmp_path) == []


def test_a_file_makes_room_for_the_next_if_all_calls_go_through_it(
    plain: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_outbox, "_ROTATED_FROM", 0)
    run = begin(with_outbox(plain, tmp_path, outbox="always"))
    for step in range(3):
        run.add_metrics({"loss": 0.5}, step=step)
        assert run.flush(60)
        wait_until(lambda: files(tmp_path) == [])
    assert stored_steps(plain) == [0, 1, 2]
    run.stop()


def test_the_tables_of_a_file_can_be_looked_at(plain: dict[str, Any], tmp_path: Path) -> None:
    """Like those of any other database, even while the process continues."""
    run = begin(with_outbox(plain, tmp_path))
    run.add_args({"lr": 0.1})
    with locked(plain):
        log(run, range(10))
        run.add_tags("waits").set_status("PAUSED")
        (info,) = find_outboxes(tmp_path / "outbox")

        def is_shown() -> bool:
            with closing(sqlite3.connect(info.path)) as connection:
                if not connection.execute("SELECT 1 FROM pragma_table_info('metrics')").fetchall():
                    return False
                shown = connection.execute("SELECT id, status, tags FROM runs").fetchall()
                steps = connection.execute("SELECT step FROM metrics").fetchall() if shown else []
            return shown == [(run.id, "PAUSED", '{"waits":true}')] and len(steps) == 10

        wait_until(is_shown)
    assert run.flush(60)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"outbox": "perhaps"}, "outbox must be on, off or always"),
        ({"outbox_limit": "much"}, "outbox_limit must be a number of bytes"),
        ({"outbox_keep": -1}, "outbox_keep must be a number"),
        ({"patience": "long"}, "patience must be a number"),
        ({"outbox_dir": ""}, "outbox_dir must name a folder"),
    ],
)
def test_settings_that_cannot_be_used_are_errors(plain: dict[str, Any], settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Client({**plain, **settings})


def test_without_an_outbox_there_is_no_file_and_an_error(plain: dict[str, Any], tmp_path: Path) -> None:
    config = with_outbox(plain, tmp_path, outbox="off", busy_timeout=0.1)
    run = begin(config)
    with locked(plain), pytest.raises(Exception, match="is locked"):
        log(run, range(1))
    assert run.flush()
    assert files(tmp_path) == []
    run.stop()
