"""`sqltrack outbox` lists calls that wait for a database, sends them, and drops them."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack.cli import main
from sqltrack.commands.doctor import examine
from sqltrack.commands.outbox import apply_drop, plan_drop
from sqltrack.errors import ConflictError
from sqltrack.outbox import find_outboxes, read_outbox
from support.ctrl_c import interrupt_program
from support.left_outboxes import leave_outbox, of_another_host
from support.questions import CTRL_C, answer

from .conftest import Create, connection, main_in_terminal

Leave = Callable[..., Path]
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for outboxes."""
    path = tmp_path / "outbox"
    monkeypatch.setenv("SQLTRACK_DSN_OUTBOX_DIR", str(path))
    return path


@pytest.fixture
def leave(config: dict[str, Any], folder: Path) -> Leave:
    """Leave an outbox with a run of some steps."""

    def leave(steps: int = 3, other: dict[str, Any] | None = None) -> Path:
        before = set(folder.glob("*.db"))
        with leave_outbox(other or config, folder) as client:
            run = sqltrack.Experiment(client, name="left").get_run()
            run.add_metrics_many([{"step": step, "loss": 0.5} for step in range(steps)])
            run.set_comment("left")
        (path,) = set(folder.glob("*.db")) - before
        return path

    return leave


def rows(client: sqltrack.Client) -> int:
    (number,) = client.execute("SELECT COUNT(*) FROM metrics").fetchone()
    return int(number)


def damage(path: Path) -> None:
    """Make the journal unreadable in such a way that SQLite can still open the file."""
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE outbox_about")
    connection.close()


def refuse(client: sqltrack.Client, leave: Leave) -> Path:
    """Leave an outbox whose run is deleted, so that its calls will be refused."""
    path = leave()
    client.execute("DELETE FROM runs WHERE id = (SELECT MAX(id) FROM runs)")
    return path


# Listing


def test_the_list_shows_waiting_calls_without_connecting(leave: Leave, folder: Path, capsys: Capture) -> None:
    path = leave()
    # An unreachable database, whose driver may be missing.
    assert main(["outbox", "--host", "127.0.0.1", "--port", "1"]) == 0
    out, err = capsys.readouterr()
    head, _, line = out.splitlines()
    assert head.split() == ["file", "state", "calls", "runs", "age", "size", "target", "host", "pid"]
    assert line.startswith(path.name)
    assert line.split()[1:4] == ["dead", "2", "1"]
    assert line.endswith(str(os.getpid()))
    assert err == f"1 file in {folder}\n"


def test_the_list_has_all_formats(leave: Leave, config: dict[str, Any], capsys: Capture) -> None:
    path = leave()
    assert main(["outbox", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["path"], found["state"], found["calls"], found["runs"]) == (str(path), "dead", 2, 1)
    assert (found["pid"], found["damage"], found["reason"]) == (os.getpid(), None, None)
    assert found["target"]["engine"] == config["engine"]
    assert "user" not in found["target"]
    assert main(["outbox", "--format", "csv"]) == 0
    (record,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (record["file"], record["state"], record["calls"], record["problem"]) == (str(path), "dead", "2", "")
    assert record["target"].startswith(f"{config['engine']} ")
    for name in ("markdown", "latex"):
        assert main(["outbox", "--format", name]) == 0
        assert "dead" in capsys.readouterr().out


def test_where_nothing_waits_the_folder_is_named(folder: Path, capsys: Capture) -> None:
    assert main(["outbox"]) == 0
    assert capsys.readouterr() == ("", f"0 files in {folder}\n")
    assert main(["outbox", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert not folder.exists()


def test_files_in_the_folder_for_emergencies_are_listed_too(
    leave: Leave, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """If a home cannot be written to, outboxes are among the temporary files."""
    path = leave()
    monkeypatch.delenv("SQLTRACK_DSN_OUTBOX_DIR")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    emergency = tmp_path / f"sqltrack-outbox-{os.getuid()}"
    emergency.mkdir(mode=0o700)
    path.rename(emergency / path.name)
    assert main(["outbox"]) == 0
    out, err = capsys.readouterr()
    assert path.name in out
    assert err == f"1 file in {tmp_path}/state/sqltrack/outbox and {emergency}\n"
    # Another user could have created it.
    emergency.chmod(0o777)
    assert main(["outbox"]) == 0
    assert capsys.readouterr().out == ""


def test_no_name_is_cut_in_a_narrow_terminal(leave: Leave, folder: Path) -> None:
    path = leave()
    lines = main_in_terminal("outbox", SQLTRACK_DSN_OUTBOX_DIR=str(folder))
    assert all(len(line) <= 80 for line in lines[:-1])
    assert path.name in "".join(line.split(" ")[0] for line in lines)
    assert "…" not in "".join(lines)


def test_the_list_says_what_is_wrong_with_a_file(leave: Leave, folder: Path, capsys: Capture) -> None:
    damaged, garbage = leave(), folder / "garbage.db"
    damage(damaged)
    garbage.write_bytes(b"nothing that SQLite knows" * 100)
    garbage.chmod(0o600)
    assert main(["outbox"]) == 0
    out = capsys.readouterr().out
    assert "no such table: outbox_about" in out
    assert "file is not a database" in out
    damaged.chmod(0o666)
    assert main(["outbox", "--json"]) == 0
    states = {found["path"]: found["state"] for found in json.loads(capsys.readouterr().out)}
    assert states == {str(damaged): "unusable", str(garbage): "dead"}


def test_a_folder_that_is_not_safe_is_refused(
    folder: Path, options: list[str], one_line_error: Callable[[list[str]], tuple[int, str]]
) -> None:
    folder.mkdir()
    folder.chmod(0o777)
    for action in ([], ["send"]):
        status, error = one_line_error(["outbox", *action, *options])
        assert (status, "can be written by others" in error) == (1, True)


# Sending


def test_sent_outboxes_are_listed_and_gone(
    leave: Leave, folder: Path, client: sqltrack.Client, options: list[str], capsys: Capture
) -> None:
    leave()
    leave(2)
    assert main(["outbox", "send", *options]) == 0
    assert capsys.readouterr() == ("", "4 calls of 2 files sent\n")
    assert (rows(client), os.listdir(folder)) == (5, [])
    assert main(["outbox", "send", *options]) == 0
    assert capsys.readouterr() == ("", "there is nothing to send\n")
    assert rows(client) == 5


def test_json_tells_of_each_file(leave: Leave, options: list[str], client: sqltrack.Client, capsys: Capture) -> None:
    path = leave()
    for arguments in (["outbox", "send", "--json"], ["outbox", "--json", "send"]):
        assert main([*arguments, *options]) == 0
        printed = json.loads(capsys.readouterr().out)
        sent = {"path": str(path), "calls": 2, "refused": 0, "outdated": 0, "is_removed": True}
        assert printed["sent"] == [{**sent, "skipped": None, "damage": None}]
        assert printed["left"] == {"others": {}, "alive": [], "unknown": [], "refused": [], "unreadable": []}
        path = leave()
    with pytest.raises(SystemExit):
        main(["outbox", "--format", "csv", "send", *options])
    assert "--format csv applies only to the list" in capsys.readouterr().err


def test_files_for_other_databases_stay_and_are_counted(
    leave: Leave, create: Create, options: list[str], client: sqltrack.Client, capsys: Capture
) -> None:
    others = [create("sqlite"), create("sqlite")]
    paths = [leave(3, others[0].config), leave(3, others[0].config), leave(3, others[1].config)]
    leave(2)
    assert main(["outbox", "send", *options]) == 0
    assert capsys.readouterr().err.splitlines() == [
        "2 calls of 1 file sent",
        f"2 files left for another database: sqlite dbpath={others[0].config['dbpath']}",
        f"1 file left for another database: sqlite dbpath={others[1].config['dbpath']}",
    ]
    assert [read_outbox(path).calls for path in paths] == [2, 2, 2]
    # If you name it, an error says that it is the wrong one.
    assert main(["outbox", "send", paths[0].name, *options]) == 1
    assert f"skipped {paths[0]}: it is for another database\n" in capsys.readouterr().err
    assert main(["outbox", "send", *connection(others[0].config)]) == 0
    assert (rows(others[0]), rows(others[1]), rows(client)) == (6, 0, 2)


def test_files_can_be_named_by_path_and_by_name(
    leave: Leave, options: list[str], client: sqltrack.Client, folder: Path, capsys: Capture
) -> None:
    first, second, third = leave(), leave(), leave()
    assert main(["outbox", "send", first.name, str(second), *options]) == 0
    assert (rows(client), [info.path for info in find_outboxes(folder)]) == (6, [str(third)])
    # One that was sent before is an error before anything is done.
    capsys.readouterr()
    assert main(["outbox", "send", third.name, first.name, *options]) == 1
    assert "cannot be read: No such file or directory" in capsys.readouterr().err
    assert third.exists()


def test_another_hosts_file_is_skipped_unless_it_is_forced(
    leave: Leave, options: list[str], client: sqltrack.Client, capsys: Capture
) -> None:
    path = leave()
    of_another_host(path)
    assert main(["outbox", "send", *options]) == 1
    reason = f"skipped {path}: its process may be alive on host node17; if it is not, use force\n"
    assert capsys.readouterr().err == f"there is nothing to send\n{reason}"
    assert main(["outbox", "send", path.name, *options]) == 1
    assert capsys.readouterr().err == f"0 calls of 0 files sent\n{reason}"
    with pytest.raises(SystemExit) as caught:
        main(["outbox", "send", "--force", *options])
    assert (caught.value.code, rows(client)) == (2, 0)
    assert main(["outbox", "send", path.name, "--force", *options]) == 0
    assert rows(client) == 3


def test_a_live_process_sends_its_file_itself(
    leave: Leave, options: list[str], config: dict[str, Any], folder: Path, capsys: Capture
) -> None:
    with leave_outbox(config, folder) as client:
        sqltrack.Experiment(client, name="alive").get_run().add_metrics({"loss": 0.5}, 1)
        (path,) = folder.glob("*.db")
        assert main(["outbox", "send", *options]) == 0
        left = "1 file left to their processes, which are alive and send them\n"
        assert capsys.readouterr().err == f"there is nothing to send\n{left}"
        for action in ("send", "drop"):
            assert main(["outbox", action, path.name, "--force", *options]) == 1
            assert f"its process is alive (host {os.uname().nodename}, pid {os.getpid()})" in capsys.readouterr().err
        assert path.exists()


def test_refused_calls_are_named_and_can_be_sent_again_or_dropped(
    leave: Leave, options: list[str], client: sqltrack.Client, folder: Path, capsys: Capture
) -> None:
    path = refuse(client, leave)
    leave(2)
    assert main(["outbox", "send", *options]) == 1
    refused = path.with_name(f"{path.name}.refused")
    assert capsys.readouterr().err.splitlines()[-2:] == [
        "2 calls of 2 files sent",
        f"the database refused 2 calls, kept in {refused}",
    ]
    assert rows(client) == 2
    # Users should not hear of it again and again.
    assert main(["outbox", "send", *options]) == 0
    assert capsys.readouterr().err.splitlines() == [
        "there is nothing to send",
        "1 file left with calls that were refused before; see: sqltrack outbox",
    ]
    assert main(["outbox"]) == 0
    assert "there is no run with id 1; it may have been deleted" in capsys.readouterr().out
    assert main(["outbox", "send", refused.name, *options]) == 1
    assert read_outbox(refused).calls == 2
    client.execute("INSERT INTO runs (id, experiment_id) SELECT 1, id FROM experiments")
    assert main(["outbox", "send", refused.name, *options]) == 0
    assert (rows(client), find_outboxes(folder)) == (5, [])


def test_a_damaged_file_is_sent_as_far_as_it_can_be_read_and_stays(
    leave: Leave, options: list[str], client: sqltrack.Client, capsys: Capture
) -> None:
    path = leave()
    damage(path)
    assert main(["outbox", "send", *options]) == 1
    assert capsys.readouterr().err.splitlines()[-2:] == [
        f"skipped {path}: no such table: outbox_about",
        f"if it is for this database: sqltrack outbox send {path} --force",
    ]
    assert main(["outbox", "send", path.name, *options]) == 1
    assert "it is damaged and does not name its database; if it is for this one, use force" in capsys.readouterr().err
    # Only the user knows which database it is for.
    assert main(["outbox", "send", path.name, "--force", *options]) == 1
    assert f"kept {path}, which is damaged: no such table: outbox_about" in capsys.readouterr().err
    assert (rows(client), path.exists()) == (3, True)


def test_a_database_that_is_away_is_one_line_and_all_stays(leave: Leave, config: dict[str, Any]) -> None:
    path = leave()
    if config["engine"] == "postgres":
        begin = time.monotonic()
        away = {**config, "host": "127.0.0.1", "port": 1}
        assert main(["outbox", "send", path.name, "--force", *connection(away)]) == 1
        assert time.monotonic() - begin < 10
    else:
        os.rename(config["dbpath"], f"{config['dbpath']}.moved")
        assert main(["outbox", "send", *connection(config)]) == 1
        assert not Path(config["dbpath"]).exists()
    assert read_outbox(path).calls == 2


def test_ctrl_c_in_the_middle_of_sending_loses_nothing(
    leave: Leave, options: list[str], client: sqltrack.Client, folder: Path, tmp_path: Path
) -> None:
    path = leave(20)
    # Sending the same calls again changes nothing, but takes time.
    for number in range(150):
        shutil.copy(path, path.with_name(f"copy-{number:03}.db"))
    all_files = len(list(folder.glob("*.db")))
    three_are_sent = "len(list(Path(values[0]).glob('*.db'))) <= values[1] - 3"
    done = interrupt_program(["outbox", "send", *options], three_are_sent, [str(folder), all_files])
    assert done.returncode == 130, done.stderr
    assert "files sent; the other files stay as they are\nsqltrack: interrupted\n" in done.stderr
    left = find_outboxes(folder)
    assert 0 < len(left) < all_files
    # All or some calls of a file may have arrived.
    assert sum(info.calls != 2 for info in left) <= 1
    assert {(info.state, info.damage) for info in left} == {("dead", None)}
    assert rows(client) == 20
    assert main(["outbox", "send", *options]) == 0
    assert (find_outboxes(folder), rows(client)) == ([], 20)


# Dropping


def test_nothing_is_dropped_unless_the_user_agrees(leave: Leave, folder: Path, capsys: Capture) -> None:
    path = leave()
    before = sorted(os.listdir(folder))
    assert main(["outbox", "drop", path.name]) == 1
    assert capsys.readouterr().err.endswith("(use --yes)\nnothing was changed\n")
    assert main(["outbox", "drop", path.name, "--dry-run"]) == 0
    assert capsys.readouterr().err == "1 file with 2 calls not sent would be deleted\n"
    for text, status in (("n", 1), (CTRL_C, 130)):
        assert answer(["outbox", "drop", str(path)], text)[0] == status
    assert sorted(os.listdir(folder)) == before
    status, out, err = answer(["outbox", "drop", str(path)], "y")
    assert (status, path.name in out) == (0, True)
    assert "delete 1 file with 2 calls not sent? [y/N] " in err
    assert os.listdir(folder) == []


def test_json_lists_the_dropped_calls(leave: Leave, folder: Path, capsys: Capture) -> None:
    paths = [leave(), leave()]
    assert main(["outbox", "drop", "--yes", "--json", *(path.name for path in paths)]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["done"]
    assert [file["path"] for file in printed["files"]] == [str(path) for path in paths]
    assert os.listdir(folder) == []


def test_all_or_none_of_the_named_files_is_dropped(leave: Leave, capsys: Capture) -> None:
    path, other = leave(), leave()
    of_another_host(other)
    assert main(["outbox", "drop", "--yes", path.name, other.name]) == 1
    assert "its process may be alive on host node17; if it is not, use force" in capsys.readouterr().err
    assert main(["outbox", "drop", "--yes", path.name, "missing.db"]) == 1
    assert path.exists()
    assert main(["outbox", "drop", "--yes", "--force", path.name, other.name]) == 0
    assert not path.exists()
    assert not other.exists()


def test_a_file_that_has_changed_since_it_was_looked_at_is_not_dropped(leave: Leave) -> None:
    path = leave()
    planned = plan_drop([str(path)])
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM outbox_calls WHERE name = 'set_columns'")
    connection.close()
    with pytest.raises(ConflictError, match="has changed in the meantime; look again"):
        apply_drop(planned)
    assert path.exists()


# The command line


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["outbox", "list"], "invalid choice: 'list'"),
        (["outbox", "drop"], "arguments are required: FILE"),
        (["outbox", "send", "--yes"], "there is no option --yes"),
        (["outbox", "--force"], "there is no option --force; did you mean --format?"),
        (["outbox", "drop", "--pasword", "hunter2"], "there is no option --pasword"),
        (["pending"], "use: sqltrack outbox"),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], says: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    error = capsys.readouterr().err
    assert (caught.value.code, error.count("\n"), says in error) == (2, 1, True), error
    assert "hunter2" not in error


@pytest.mark.parametrize("action", ["send", "drop"])
def test_every_action_explains_itself(action: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as caught:
        main(["outbox", action, "--help"])
    assert caught.value.code == 0
    text, _, example = capsys.readouterr().out.partition("example: ")
    assert f"sqltrack outbox {action}" in example
    assert all(len(line) <= 80 for line in text.splitlines())


# The doctor


def test_the_doctor_reports_outboxes_of_ended_processes(leave: Leave, client: sqltrack.Client, folder: Path) -> None:
    """Damaged ones, too."""

    def finding() -> tuple[str, str, str | None]:
        (found,) = [
            finding
            for finding in examine(sqltrack.Client(client.config, outbox_dir=folder))
            if finding.check == "outbox"
        ]
        return found.result, found.found, found.advice

    assert finding() == ("ok", f"no calls of ended processes wait in {str(folder)!r}", None)
    leave()
    leave()
    advice = "look at them with: sqltrack outbox; and: sqltrack outbox send"
    assert finding() == ("note", "4 calls of ended processes in 2 files", advice)
    for path in folder.glob("*.db"):
        damage(path)
    assert finding()[0] == "note"


_KEPT = """
import json, sys, sqltrack
run = sqltrack.Experiment(sqltrack.Client(json.loads(sys.argv[1])), name="e").get_run()
with run.track():
    for step in range(5):
        run.add_metrics({"loss": step / 2}, step=step)
"""


def test_a_kept_file_gives_back_rows_that_a_failover_has_lost(
    client: sqltrack.Client, config: dict[str, Any], options: list[str], folder: Path
) -> None:
    settings = {**config, "outbox": "always", "outbox_dir": str(folder), "outbox_keep": 600}
    subprocess.run([sys.executable, "-c", _KEPT, json.dumps(settings)], check=True)
    (kept,) = folder.glob("*.sent")
    client.execute("DELETE FROM metrics WHERE step > 1")
    for _ in range(2):
        assert main(["outbox", "send", *options, str(kept)]) == 0
        found = client.execute("SELECT step, loss FROM metrics ORDER BY step").fetchall()
        assert found == [(step, step / 2) for step in range(5)]
