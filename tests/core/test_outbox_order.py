"""What late calls may still change, after other processes have started, rewound, ended or changed the run."""

from __future__ import annotations

import shutil
import signal
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack import _times
from sqltrack.commands.reap import apply_reap, plan_reap
from sqltrack.commands.rewind import apply_rewind, plan_rewind
from sqltrack.outbox import SentOutbox, send_outboxes
from support.away import away, outbox_files, with_outbox
from support.dumps import dump
from support.left_outboxes import leave_outbox
from support.processes import Script

pytestmark = pytest.mark.not_pooled("the database refuses connections, after which a pooler refuses them for a while")

ATTEMPT = """
run = Experiment(client, name="experiment").get_run()
run.add_args({"both": "first", "seed": 1}).add_tags("common")
run.start()
for step in range(5):
    run.add_metrics({"loss": step, "first": step}, step=step)
confirm(run.id)
sys.stdin.readline()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Folder for outboxes."""
    return tmp_path / "outbox"


@pytest.fixture
def client(config: dict[str, Any], folder: Path) -> sqltrack.Client:
    """Client of another process, which has no outage."""
    return sqltrack.Client(with_outbox(config, folder, outbox="off"))


def interrupt(config: dict[str, Any], folder: Path, calls: str, end: signal.Signals = signal.SIGKILL) -> int:
    """Let a process make calls while the database is away, and end it by a signal; return the id of its run."""
    with Script(f"{ATTEMPT}\n{calls}\nconfirm('done')\nsleep_on()", with_outbox(config, folder)) as script:
        run_id = int(script.read_line())
        with away(config):
            script.send_line()
            script.read_line()
            script.send_signal(end)
            ended = script.finish()
    assert ended.status == (-signal.SIGKILL if end is signal.SIGKILL else 128 + end)
    return run_id


def send(client: sqltrack.Client) -> SentOutbox:
    """Send the only outbox."""
    (sent,) = send_outboxes(client)
    assert sent.refused == 0
    assert sent.is_removed
    return sent


def described(client: sqltrack.Client, *columns: str) -> tuple[Any, ...]:
    found: tuple[Any, ...] = tuple(client.execute(f"SELECT {', '.join(columns)} FROM runs").fetchone())
    return found


MORE = """
for step in range(5, 10):
    run.add_metrics({"loss": step, "first": step, "late": step}, step=step)
run.add_metrics({"late": 0}, step=0)
run.add_tags("of first").remove_tags("common").set_comment("first").set_args({"all": "first"})
run.add_args({"both": "first", "late": 1})
"""


def test_a_requeued_run_keeps_the_rows_of_its_second_attempt(
    config: dict[str, Any], folder: Path, client: sqltrack.Client
) -> None:
    """The first attempt was cancelled during the outage; none of its rows after the rewind returns."""
    run_id = interrupt(config, folder, MORE, signal.SIGTERM)
    apply_rewind(client, plan_rewind(client, run_id, 2, force=True))
    second = sqltrack.Run(client, run_id=run_id)
    second.add_args({"both": "second"}).set_comment("second")
    with second.track():
        for step in range(3, 7):
            second.add_metrics({"loss": -step}, step=step)
    updated = described(client, "time_updated")
    sent = send(client)
    assert sent.outdated >= 8
    rows = client.execute("SELECT step, loss, first, late FROM metrics ORDER BY step").fetchall()
    assert rows == [
        (0, 0, 0, 0),
        (1, 1, 1, None),
        (2, 2, 2, None),
        *((step, -step, None, None) for step in range(3, 7)),
    ]
    assert described(client, "status", "comment") == ("COMPLETED", "second")
    assert described(client, "time_updated") == updated
    args, tags = described(client, "args", "tags")
    assert (args["both"], args["seed"], args["late"]) == ("second", 1, 1)
    assert "all" not in args
    assert tags == {"common": True, "of first": True}


def test_of_values_of_an_old_attempt_the_last_fills_a_gap(
    config: dict[str, Any], folder: Path, client: sqltrack.Client
) -> None:
    """Rows that the second attempt did not write, at the same points in time and at others."""
    calls = 'for value in (1.0, 2.0):\n    run.add_metrics({"late": value, f"late {value}": value}, step=3)'
    run_id = interrupt(config, folder, calls)
    second = sqltrack.Run(client, run_id=run_id)
    with second.track():
        second.add_metrics({"loss": -3}, step=3)
    assert send(client).outdated == 2
    query = 'SELECT loss, late, "late 1.0", "late 2.0" FROM metrics WHERE step = 3'
    assert client.execute(query).fetchone() == (-3, 2.0, 1.0, 2.0)


def test_a_status_of_an_attempt_that_was_superseded_is_left_out(
    config: dict[str, Any], folder: Path, client: sqltrack.Client
) -> None:
    """Even if the new attempt is still running."""
    run_id = interrupt(config, folder, 'run.set_status("FAILED")')
    second = sqltrack.Run(client, run_id=run_id).start()
    send(client)
    assert described(client, "status") == ("RUNNING",)
    second.stop()
    assert described(client, "status") == ("COMPLETED",)


def test_two_processes_on_one_run_add_up(config: dict[str, Any], folder: Path, client: sqltrack.Client) -> None:
    """One has an outage, the other does not: keys and metrics of both stay, and the later time."""
    calls = """
run.add_metrics({"loss": 10, "mine": 1}, step=7)
run.add_tags("mine").remove_tags("common").add_args({"mine": 1, "both": "mine"}).set_comment("mine")
run.add_link("resumes", run.id)
"""
    run_id = interrupt(config, folder, calls)
    other = sqltrack.Run(client, run_id=run_id)
    other.add_metrics({"loss": 20, "theirs": 2}, step=7).add_tags("theirs").add_args({"theirs": 2})
    later = datetime.now(timezone.utc) + timedelta(seconds=5)
    other.set_updated(later)
    assert send(client).outdated == 0
    # For a metric the last arrival counts, because the database does not store when a value was logged.
    query = "SELECT loss, mine, theirs FROM metrics WHERE step = 7"
    assert client.execute(query).fetchone() == (10, 1, 2)
    assert described(client, "status", "time_updated") == ("RUNNING", later)
    args, tags, comment = described(client, "args", "tags", "comment")
    assert args == {"both": "mine", "seed": 1, "mine": 1, "theirs": 2}
    assert tags == {"mine": True, "theirs": True}
    assert comment == "mine"
    assert client.execute("SELECT from_id, kind, to_id FROM run_links").fetchall() == [(run_id, "resumes", run_id)]


def test_who_has_ended_the_run_later_knows_better(
    config: dict[str, Any], folder: Path, client: sqltrack.Client
) -> None:
    run_id = interrupt(config, folder, 'run.set_status("FAILED")')
    sqltrack.Run(client, run_id=run_id).stop("COMPLETED")
    send(client)
    assert described(client, "status") == ("COMPLETED",)


def test_a_run_that_ended_while_the_database_was_away_has_ended_then(
    config: dict[str, Any], folder: Path, client: sqltrack.Client
) -> None:
    """It has the time of its end, and not the time of sending."""
    interrupt(config, folder, "", signal.SIGTERM)
    before = datetime.now(timezone.utc)
    send(client)
    status, updated = described(client, "status", "time_updated")
    assert status == "CANCELLED"
    assert updated < before


@pytest.fixture
def _no_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))


@pytest.mark.usefixtures("_no_slurm")
def test_a_run_that_was_reaped_meanwhile_gets_its_own_end(
    config: dict[str, Any], folder: Path, client: sqltrack.Client
) -> None:
    """It looked dead because it sent no update. Its rows arrive, and it sets its own final status."""
    run_id = interrupt(
        config, folder, 'run.add_metrics({"loss": 5}, step=5)\nrun.set_status("COMPLETED").set_updated()'
    )
    findings, _ = plan_reap(client, older_than=timedelta(0))
    assert [finding.marked for finding in apply_reap(client, findings)] == [True]
    assert described(client, "status") == ("FAILED",)
    send(client)
    assert described(client, "id", "status") == (run_id, "COMPLETED")
    assert client.execute("SELECT max(step) FROM metrics").fetchone() == (5,)


@pytest.mark.usefixtures("_no_slurm")
def test_a_reaped_run_that_did_not_end_stays_reaped(
    config: dict[str, Any], folder: Path, client: sqltrack.Client
) -> None:
    """Its process was killed, so late metrics do not revive it."""
    interrupt(config, folder, 'run.add_metrics({"loss": 5}, step=5)')
    findings, _ = plan_reap(client, older_than=timedelta(0))
    apply_reap(client, findings)
    send(client)
    assert described(client, "status") == ("FAILED",)
    assert client.execute("SELECT max(step) FROM metrics").fetchone() == (5,)


def test_sending_twice_changes_nothing(config: dict[str, Any], folder: Path, client: sqltrack.Client) -> None:
    """A copy of the file is sent afterwards, as if a sender had been killed before it could remove the calls."""
    interrupt(config, folder, MORE + 'run.remove_args("late").add_link("resumes", run.id)', signal.SIGTERM)
    copy = folder.with_name("copy")
    shutil.copytree(folder, copy)
    send(client)
    expected = dump(client)
    shutil.copytree(copy, folder, dirs_exist_ok=True)
    send(client)
    assert dump(client) == expected
    assert outbox_files(folder) == []


# Clocks


def set_clock(monkeypatch: pytest.MonkeyPatch, shift: timedelta) -> None:
    """Set the clock of this process forward, or back."""

    class Shifted(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + shift

    monkeypatch.setattr(_times, "datetime", Shifted)


@pytest.mark.parametrize("mode", ["on", "always"])
def test_a_clock_that_is_set_back_makes_no_call_late(
    config: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """The calls of a process follow its own start, whether that was stored directly or in the file."""
    run = sqltrack.Experiment(sqltrack.Client(with_outbox(config, folder, outbox=mode)), name="experiment").get_run()
    run.start().stop("FAILED").start().add_metrics({"loss": 1.0}, step=1)
    assert run.flush(20)
    with away(config):
        set_clock(monkeypatch, timedelta(hours=-1))
        run.add_args({"late": 1}).set_comment("late").add_metrics({"loss": 2.0}, step=1)
        run.set_status("PAUSED").start().set_status("STOPPED")
    assert run.flush(20)
    assert described(run.client, "status", "comment", "args") == ("STOPPED", "late", {"late": 1})
    assert run.client.execute("SELECT loss FROM metrics").fetchone() == (2.0,)
    run.stop()


def test_an_attempt_on_a_node_whose_clock_is_behind_is_the_later_one(
    config: dict[str, Any], folder: Path, client: sqltrack.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has found the first attempt in the database, so it follows it, whatever the clocks say."""
    first = sqltrack.Experiment(client, name="experiment").get_run()
    first.start().add_metrics({"loss": 1.0}, step=1).stop("CANCELLED")
    set_clock(monkeypatch, timedelta(hours=-1))
    with leave_outbox(config, folder) as other:
        second = sqltrack.Run(other, run_id=first.id)
        second.start().add_metrics({"loss": 2.0}, step=1).set_comment("second").stop()
    assert send(client).outdated == 0
    assert described(client, "status", "comment") == ("COMPLETED", "second")
    assert client.execute("SELECT loss FROM metrics").fetchone() == (2.0,)
