"""SQLite files are opened with a write-ahead log if possible; on network file systems it is not."""

from __future__ import annotations

import contextlib
import io
import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack.commands import setup
from sqltrack.engines.sqlite import _engine as sqlite_engine
from sqltrack.engines.sqlite import _filesystem
from sqltrack.engines.sqlite._filesystem import is_network_file_system
from sqltrack.errors import DatabaseError

PRAGMAS = ("journal_mode", "synchronous", "foreign_keys")
OFF, NORMAL, FULL, EXTRA = range(4)


def pragmas(config: dict[str, Any]) -> tuple[Any, ...]:
    with sqltrack.Client(config) as connection:
        return tuple(connection.execute(f"PRAGMA {name}").fetchone()[0] for name in PRAGMAS)


def test_a_local_file_gets_a_write_ahead_log() -> None:
    assert pragmas({"engine": "sqlite"}) == ("wal", NORMAL, 1)


def test_the_log_of_a_file_takes_some_megabytes_before_a_call_waits_for_the_disk(sqlite_config: dict[str, Any]) -> None:
    """SQLite's default would move 4 MB at once. The last connection to close the file leaves no log."""
    log = Path(f"{sqlite_config['dbpath']}-wal")
    run = sqltrack.Experiment(sqltrack.Client(sqlite_config), name="experiment").get_run()
    with run.track():
        for step in range(30):
            run.add_metrics({"text": "x" * 200_000}, step=step)
        assert log.stat().st_size > 5_500_000
        for step in range(30, 130):
            run.add_metrics({"text": "x" * 200_000}, step=step)
        assert log.stat().st_size < 20_000_000
    assert not log.exists()


def test_a_file_on_the_network_keeps_its_rollback_journal_and_syncs_fully(monkeypatch: pytest.MonkeyPatch) -> None:
    """The write-ahead log needs shared memory, which network file systems lack."""
    on_network = str(Path("a.db").absolute())
    monkeypatch.setattr(sqlite_engine, "is_network_file_system", lambda path: path == on_network)
    assert pragmas({"engine": "sqlite", "dbpath": "a.db"}) == ("delete", FULL, 1)
    assert pragmas({"engine": "sqlite", "dbpath": "b.db"}) == ("wal", NORMAL, 1)


def test_a_chosen_journal_mode_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite remembers the write-ahead log in the file; all other modes belong to a connection."""
    with contextlib.closing(sqlite3.connect("a.db")) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    monkeypatch.setattr(sqlite_engine, "is_network_file_system", lambda path: True)
    assert pragmas({"engine": "sqlite", "dbpath": "a.db"})[:2] == ("wal", NORMAL)


def test_a_file_that_others_keep_open_stays_usable_with_its_rollback_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"engine": "sqlite", "dbpath": "a.db", "busy_timeout": 0.3}
    with monkeypatch.context() as network:
        network.setattr(sqlite_engine, "is_network_file_system", lambda path: True)
        setup(sqltrack.Client(config))
    with contextlib.closing(sqlite3.connect("a.db", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM runs").fetchall()
        assert pragmas(config)[:2] == ("delete", FULL)
    assert pragmas(config)[:2] == ("wal", NORMAL)


@pytest.mark.parametrize(("name", "number"), [("off", OFF), ("NORMAL", NORMAL), ("Full", FULL), ("EXTRA", EXTRA)])
def test_the_synchronous_setting_takes_effect(monkeypatch: pytest.MonkeyPatch, name: str, number: int) -> None:
    config = {"engine": "sqlite", "synchronous": name}
    assert pragmas(config) == ("wal", number, 1)
    monkeypatch.setattr(sqlite_engine, "is_network_file_system", lambda path: True)
    assert pragmas({**config, "dbpath": "network.db"}) == ("delete", number, 1)


def test_rows_that_refer_to_nothing_are_refused(sqlite_config: dict[str, Any]) -> None:
    with pytest.raises(DatabaseError, match="FOREIGN KEY constraint failed"):
        sqltrack.Client(sqlite_config).execute("INSERT INTO runs (experiment_id) VALUES (99)")


MOUNTS = r"""22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:25 / /home rw,relatime shared:2 master:3 - nfs4 server:/home rw,vers=4.2
31 30 8:2 / /home/local rw,relatime - xfs /dev/sdb1 rw
32 22 0:26 / /with\040blank rw - lustre 10.0.0.1@tcp:/scratch rw
33 22 8:3 / /twice rw - ext4 /dev/sdc1 rw
34 33 0:27 / /twice rw - gpfs gpfs0 rw
35 22 0:28 / /laptop rw - fuse.sshfs me@server: rw
36 22 0:29 / /vault rw - fuse.gocryptfs /dev/fuse rw
37 22 0:30 / /nfs rw - tmpfs nfs rw
"""


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/sqltrack.db", False),
        ("/home", True),
        ("/home/alice/sqltrack.db", True),
        ("/homework/sqltrack.db", False),
        ("/home/local/sqltrack.db", False),
        ("/home/local/../alice/sqltrack.db", True),
        ("/with blank/sqltrack.db", True),
        ("/twice/sqltrack.db", True),
        ("/laptop/sqltrack.db", True),
        ("/vault/sqltrack.db", False),
        ("/nfs/sqltrack.db", False),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="this platform has other paths")
def test_file_systems_of_the_network_are_recognised(monkeypatch: pytest.MonkeyPatch, path: str, expected: bool) -> None:
    set_mounts(monkeypatch, MOUNTS)
    assert is_network_file_system(path) is expected


@pytest.mark.skipif(sys.platform == "win32", reason="this platform has other paths")
def test_links_to_file_systems_of_the_network_are_followed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The folder may be a link, and so may the file."""
    target = (tmp_path / "mounted").resolve()
    target.mkdir()
    (tmp_path / "folder").symlink_to(target)
    (tmp_path / "file.db").symlink_to(target / "file.db")
    set_mounts(monkeypatch, MOUNTS + f"40 22 0:40 / {target} rw - nfs server:/ rw\n")
    assert is_network_file_system("folder/sqltrack.db")
    assert is_network_file_system("file.db")
    assert not is_network_file_system("other.db")


def test_without_a_list_of_mounts_a_file_system_counts_as_local(monkeypatch: pytest.MonkeyPatch) -> None:
    set_mounts(monkeypatch, None)
    assert not is_network_file_system("/home/alice/sqltrack.db")


def set_mounts(monkeypatch: pytest.MonkeyPatch, mounts: str | None) -> None:
    """Let the module that detects file systems find these, in the form of proc(5), or no list at all."""

    def open_mounts(path: str, **options: Any) -> io.StringIO:
        assert path == "/proc/self/mountinfo"
        if mounts is None:
            raise FileNotFoundError(path)
        return io.StringIO(mounts)

    monkeypatch.setattr(_filesystem, "open", open_mounts, raising=False)
