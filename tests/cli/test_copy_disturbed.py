"""`sqltrack copy` is killed, interrupted, out of space or not alone, and the next copy completes it."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import subprocess
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack.commands.copy import CopyResult, copy
from sqltrack.errors import MissingRunError, NotSetUpError, SQLTrackError
from support.copies import address, by_origin, fill
from support.ctrl_c import interrupt_program
from support.dumps import dump
from support.processes import Script, run_together, running

from .conftest import PROGRAM, Create

pytestmark = pytest.mark.one_engine


def command(source: sqltrack.Client, target: sqltrack.Client) -> list[str]:
    return [str(PROGRAM), "copy", address(source), address(target), "--json"]


def start(source: sqltrack.Client, target: sqltrack.Client, **options: Any) -> AbstractContextManager[Any]:
    return running(command(source, target), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def wait_for_rows(client: sqltrack.Client, number: int) -> None:
    deadline = time.monotonic() + 30
    while client.execute("SELECT COUNT(*) FROM metrics").fetchone()[0] < number:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_copy_that_was_killed_is_completed_by_the_next(client: sqltrack.Client, target: sqltrack.Client) -> None:
    fill(client, runs=14, rows=100)
    total = client.execute("SELECT COUNT(*) FROM metrics").fetchone()[0]
    for part in (0.01, 0.2, random.uniform(0.2, 0.8), 0.9):
        with start(client, target) as process:
            wait_for_rows(target, round(total * part))
            time.sleep(random.uniform(0, 0.02))
            process.kill()
            process.communicate()
    copy(client, target)
    assert by_origin(target) == by_origin(client)
    before = dump(target)
    assert copy(client, target, full=True) == CopyResult(runs_unchanged=14)
    assert dump(target) == before


@pytest.mark.unmeasured
def test_ctrl_c_is_one_line_and_the_next_copy_continues(client: sqltrack.Client, target: sqltrack.Client) -> None:
    fill(client, runs=14, rows=120)
    count = "sqltrack.Client(values).execute('SELECT COUNT(*) FROM metrics').fetchone()[0]"
    done = interrupt_program(command(client, target)[1:], f"{count} >= 100", dict(target.config))
    lines = [line for line in done.stderr.splitlines() if not line.startswith(("metric ", "metrics "))]
    assert (done.returncode, done.stdout, lines) == (130, "", ["sqltrack: interrupted"])
    copy(client, target)
    assert by_origin(target) == by_origin(client)


@pytest.mark.unmeasured
@pytest.mark.skipif(os.name == "nt", reason="Windows has no such limits")
def test_a_full_disk_is_one_line_and_the_next_copy_continues(client: sqltrack.Client, create: Create) -> None:
    target = create("sqlite")
    fill(client, runs=14, rows=120)
    limit = Path(target.config["dbpath"]).stat().st_size + 300_000

    def small_files() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    with start(client, target, preexec_fn=small_files) as process:
        output, errors = process.communicate(timeout=60)
    lines = [line for line in errors.splitlines() if not line.startswith(("metric ", "metrics "))]
    assert (process.returncode, output, len(lines)) == (1, "", 1), errors
    assert lines[0].startswith(f"sqltrack: database {target.config['dbpath']!r}: ")
    copy(client, target)
    assert by_origin(target) == by_origin(client)


def test_two_copies_at_the_same_time_are_one(client: sqltrack.Client, target: sqltrack.Client) -> None:
    fill(client, runs=20, rows=50)
    other = sqltrack.Experiment(target, name="other")
    for run_id in range(1, 12, 2):
        other.get_run(run_id)
    ended = run_together([command(client, target)] * 3)
    assert [done.returncode for done in ended] == [0, 0, 0], ended
    assert sum(json.loads(done.stdout)["runs"] for done in ended) >= 20
    assert target.execute("SELECT COUNT(*) FROM runs").fetchone() == (26,)
    target.execute("DELETE FROM experiments WHERE id = %s", (other.id,))
    assert by_origin(target) == by_origin(client)


def test_two_databases_with_the_same_ids_go_into_one_at_the_same_time(create: Create, target: sqltrack.Client) -> None:
    sources = [create("sqlite") for _ in range(2)]
    for index, source in enumerate(sources):
        fill(source, runs=10, rows=10)
        # Runs of different databases are not created in the same microsecond.
        source.execute("UPDATE runs SET time_created = %s || substr(time_created, 5)", (str(2020 + index),))
    ended = run_together([command(source, target) for source in sources])
    assert [done.returncode for done in ended] == [0, 0], ended
    copied = by_origin(target)
    for source in sources:
        expected = by_origin(source)
        assert expected["metrics"].items() <= copied["metrics"].items()
        assert expected["run_links"] <= copied["run_links"]
    assert len(copied["runs"]) == 20


WRITER = """
run = Experiment(client, name="live").get_run()
with run.track():
    confirm(run.id)
    step = 0
    while True:
        run.add_metrics({"loss": 1 / (step + 1), f"new {step % 40}": step}, step=step)
        run.add_metrics({"val": float(step)}, step=step)
        step += 1
        time.sleep(0.002)
"""


def test_a_run_that_continues_is_complete_after_a_last_copy(client: sqltrack.Client, target: sqltrack.Client) -> None:
    with Script(WRITER, client.config) as writer:
        writer.read_line()
        for _ in range(6):
            copy(client, target)
            time.sleep(0.1)
        wait_for_rows(client, 60)
        writer.send_signal(signal.SIGKILL)
        writer.finish()
    copy(client, target)
    assert by_origin(target) == by_origin(client)
    assert len(by_origin(target)["metrics"]) >= 60
    before = dump(target)
    copy(client, target)
    assert dump(target) == before


def test_runs_that_are_deleted_from_the_source_meanwhile_are_left_out(
    client: sqltrack.Client, target: sqltrack.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(client)
    monkeypatch.setattr("sqltrack.commands._rows.BATCH", 2)
    run_ids = [run_id for (run_id,) in client.execute("SELECT id FROM runs ORDER BY id")]

    def delete_others(done: int, total: int) -> None:
        # One that was already compared, and one that was not.
        client.execute("DELETE FROM runs WHERE id IN (%s, %s)", (run_ids[1], run_ids[2]))

    assert copy(client, target, progress=delete_others).runs == len(run_ids) - 2
    assert by_origin(target) == by_origin(client)


DELETING = {
    "sqlite": [
        "CREATE TRIGGER forget AFTER INSERT ON copied_runs BEGIN DELETE FROM runs WHERE id = NEW.run_id; END",
    ],
    "postgres": [
        """
        CREATE FUNCTION forget() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN DELETE FROM runs WHERE id = NEW.run_id; RETURN NULL; END $$
        """,
        "CREATE TRIGGER forget AFTER INSERT ON copied_runs FOR EACH ROW EXECUTE FUNCTION forget()",
    ],
}


def test_a_run_that_is_deleted_from_the_target_meanwhile_is_an_error(
    client: sqltrack.Client, target: sqltrack.Client
) -> None:
    fill(client, runs=1, rows=1)
    copy(client, target)
    for statement in DELETING[target.engine.name]:
        target.execute(statement)
    run = sqltrack.Experiment(client, name="experiment 1").get_run()
    with pytest.raises(MissingRunError, match=f"{run.id}.*deleted from the target while it was copied"):
        copy(client, target)


def test_a_target_that_goes_away_is_an_error(client: sqltrack.Client, target: sqltrack.Client) -> None:
    fill(client, runs=2, rows=2)
    target.execute("DROP TABLE run_links")
    with pytest.raises(NotSetUpError):
        copy(client, target)
    with pytest.raises(SQLTrackError):
        copy(target, client)
