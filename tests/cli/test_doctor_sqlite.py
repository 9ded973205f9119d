"""The doctor's findings about a SQLite database, its file and its folder."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack.commands import setup
from sqltrack.commands.doctor import examine
from sqltrack.engines.sqlite import _checks as sqlite_health
from sqltrack.engines.sqlite import _engine as sqlite_engine
from support.findings import INSTALLATION, found_by, results
from support.unprivileged import UNPRIVILEGED, needs_permissions

from .conftest import set_free_space

pytestmark = pytest.mark.usefixtures("plenty_of_room")


@pytest.fixture
def sqlite_client(tmp_path: Path) -> sqltrack.Client:
    client = sqltrack.Client(engine="sqlite", dbpath=str(tmp_path / "sqltrack.db"))
    setup(client)
    return client


def test_a_file_that_does_not_exist_is_not_created(tmp_path: Path) -> None:
    path = tmp_path / "no.db"
    findings = found_by(sqltrack.Client(engine="sqlite", dbpath=str(path)))
    assert list(findings) == [*INSTALLATION, "outbox", "connection"]
    assert findings["connection"].found == f"SQLite database {str(path)!r} does not exist"
    assert not path.exists()


def test_a_file_that_is_no_database_is_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "text.db"
    path.write_text("no database, " * 100)
    finding = found_by(sqltrack.Client(engine="sqlite", dbpath=str(path)))["connection"]
    assert finding == ("connection", "problem", f"file {str(path)!r} is not a SQLite database", finding.advice)
    assert finding.advice == "choose another file with dbpath"


@pytest.mark.parametrize("name", ["a; b.db", "folder; with; many", "; begins", "it is a folder; do so"])
def test_a_path_with_semicolons_is_not_taken_for_advice(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.mkdir()
    finding = found_by(sqltrack.Client(engine="sqlite", dbpath=str(path)))["connection"]
    assert finding == (
        "connection",
        "problem",
        f"cannot open SQLite database {str(path)!r}: it is a folder",
        "correct dbpath",
    )


def test_the_advice_about_a_path_with_semicolons_stays_whole(tmp_path: Path) -> None:
    path = tmp_path / "text; no data.db"
    path.write_text("no database, " * 100)
    finding = found_by(sqltrack.Client(engine="sqlite", dbpath=str(path)))["connection"]
    assert (finding.found, finding.advice) == (
        f"file {str(path)!r} is not a SQLite database",
        "choose another file with dbpath",
    )


def test_a_shared_file_system_is_no_place_for_a_write_ahead_log(
    sqlite_client: sqltrack.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (sqlite_health, sqlite_engine):
        monkeypatch.setattr(module, "is_network_file_system", lambda path: True)
    assert results(found_by(sqlite_client)) == {"file": "note", "journal": "problem"}
    with contextlib.closing(sqlite_client.engine.connect()) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    findings = found_by(sqlite_client)
    assert results(findings) == {"file": "note"}
    assert findings["journal"].found == "journal_mode = delete"


def test_the_slower_journal_is_noted(sqlite_client: sqltrack.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    with contextlib.closing(sqlite3.connect(sqlite_client.config["dbpath"])) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    # As if other processes used the file, so that sqltrack cannot switch the mode.
    monkeypatch.setattr(sqlite_engine.SQLiteEngine, "_journal_mode", lambda self, connection: "delete")
    assert results(found_by(sqlite_client)) == {"journal": "note"}


def test_a_disk_without_room_is_a_problem(sqlite_client: sqltrack.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    set_free_space(monkeypatch, 10**6)
    finding = found_by(sqlite_client)["disk"]
    assert (finding.result, finding.found) == ("problem", "1 MB free")
    set_free_space(monkeypatch, 5 * 10**8)
    assert results(found_by(sqlite_client)) == {"disk": "note"}


def test_an_endless_writer_is_a_problem(sqlite_client: sqltrack.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_health, "PATIENCE", 0.2)
    with contextlib.closing(sqlite3.connect(sqlite_client.config["dbpath"])) as writer:
        writer.execute("BEGIN IMMEDIATE")
        findings = found_by(sqlite_client)
    assert results(findings) == {"writable": "problem"}
    assert findings["writable"].found == "another process has been writing for 0.2 s"


EXAMINE = """
import sys
import sqltrack
from sqltrack.commands.doctor import examine

client = sqltrack.Client(engine="sqlite", dbpath=sys.argv[1])
for finding in examine(client):
    if finding.result == "problem":
        print(f"{finding.check}: {finding.found}")
"""


@needs_permissions
def test_a_read_only_database_is_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "sqltrack.db"

    def problems() -> list[str]:
        command = [sys.executable, "-c", UNPRIVILEGED + EXAMINE, str(path)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()

    setup(sqltrack.Client(engine="sqlite", dbpath=str(path)))
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    path.chmod(0o444)
    assert problems() == ["writable: the file is read-only, so runs cannot be tracked"]
    path.chmod(0o666)
    assert problems() == []
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    tmp_path.chmod(0o555)
    (problem,) = problems()
    assert problem.startswith("writable: no file can be created in the folder ")
    tmp_path.chmod(0o700)


def test_a_damaged_file_is_found_by_a_full_examination(sqlite_client: sqltrack.Client) -> None:
    path = Path(sqlite_client.config["dbpath"])
    run = sqltrack.Experiment(sqlite_client, name="experiment").get_run()
    with sqlite_client:
        for step in range(2_000):
            run.add_metrics({"loss": step * 0.1}, step=step)
    data = bytearray(path.read_bytes())
    for page in range(len(data) // 4096 - 4, len(data) // 4096):
        data[page * 4096 : (page + 1) * 4096] = b"\x7f" * 4096
    path.write_bytes(data)
    findings = {finding.check: finding for finding in examine(sqlite_client, full=True)}
    assert findings["integrity"].result == "problem"
    assert findings["integrity"].found.startswith("quick_check finds the file damaged: ")
    assert "integrity" not in {finding.check for finding in examine(sqlite_client)}


def test_rows_that_belong_to_nothing_are_found_by_a_full_examination(sqlite_client: sqltrack.Client) -> None:
    with contextlib.closing(sqlite3.connect(sqlite_client.config["dbpath"])) as connection, connection:
        connection.execute("INSERT INTO metrics (run_id) VALUES (99)")
    findings = found_by(sqlite_client, full=True)
    assert results(findings) == {"references": "problem"}
    assert findings["references"].found == "rows whose run or experiment does not exist: 1 of metrics"


def test_ctrl_c_ends_the_check_of_integrity(sqlite_client: sqltrack.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sqltrack.engines.sqlite._interruptible._LOOK_EVERY", 10)
    with contextlib.closing(sqlite_client.engine.connect()) as connection:
        set_handler = connection.set_progress_handler

        class Interrupted:
            """Presses Ctrl-C when SQLite starts its check."""

            def __getattr__(self, name: str) -> Any:
                return getattr(connection, name)

            def set_progress_handler(self, handler: Any, steps: int) -> None:
                set_handler(handler and (lambda: signal.raise_signal(signal.SIGINT) or handler()), steps)

        # If the tests run in the background, processes ignore it.
        handler = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            with pytest.raises(KeyboardInterrupt):
                sqlite_health._integrity(sqlite_client.engine, Interrupted())  # type: ignore[arg-type]
        finally:
            signal.signal(signal.SIGINT, handler)
        assert sqlite_health._integrity(sqlite_client.engine, connection).result == "ok"
