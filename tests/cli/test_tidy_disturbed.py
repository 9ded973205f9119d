"""`sqltrack tidy` is killed, interrupted, refused or not alone, and no value is lost or stored twice."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack.commands._extras_rows import read_rows
from sqltrack.commands.tidy import apply_tidy, plan_tidy
from sqltrack.engines.json import Jsonb
from sqltrack.errors import DatabaseError
from support.ctrl_c import interrupt_program
from support.extras import add_extras, by_name, column, columns, extras
from support.plans import tidy
from support.processes import running

pytestmark = pytest.mark.one_engine


@pytest.mark.engines("postgres")
def test_users_who_may_not_change_the_table_move_metrics_with_columns(
    client: sqltrack.Client, run: sqltrack.Run, config: dict[str, Any]
) -> None:
    run.add_metrics({"old": 0.5}, 0)
    add_extras(client, run.id, {1: {"old": 1.5, "new": 2.5}})
    name = f"tidy_{random.randrange(10**9)}"
    client.execute(f"CREATE ROLE {name} LOGIN")
    try:
        client.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {name}")
        sql = "INSERT INTO metrics_pending (run_id, step, progress, extras) VALUES (%s, 2, 0, %s)"
        client.execute(sql, (run.id, Jsonb({"old": 3.5})))
        items = by_name(tidy(sqltrack.Client({**config, "user": name})))
        assert (items["old"].moved, items["new"].moved) == (2, 0)
        assert "could not be changed" in str(items["new"].why)
        assert column(client, "old") == [0.5, 1.5, 3.5]
        assert extras(client) == [None, {"new": 2.5}, None]
    finally:
        client.execute(f"DROP OWNED BY {name}")
        client.execute(f"DROP ROLE {name}")


@pytest.mark.engines("postgres")
def test_while_others_lock_the_table_metrics_with_columns_are_moved(
    client: sqltrack.Client, run: sqltrack.Run, config: dict[str, Any]
) -> None:
    run.add_metrics({"old": 0.5}, 0)
    add_extras(client, run.id, {step: {"old": 1.5, "new": 2.5} for step in (1, 2)})
    with sqltrack.Client(config) as other:
        other.execute("SELECT step FROM metrics WHERE step = 1 FOR UPDATE")
        items = by_name(tidy(client))
    assert (items["old"].moved, items["old"].why) == (1, "locked by others")
    assert items["new"].moved == 0
    assert extras(client) == [None, {"old": 1.5, "new": 2.5}, {"new": 2.5}]
    assert all(item.why is None for item in tidy(client))
    assert column(client, "new") == [None, 2.5, 2.5]


@pytest.mark.engines("postgres")
def test_while_others_lock_the_table_pending_metrics_stay_pending(
    client: sqltrack.Client, run: sqltrack.Run, config: dict[str, Any]
) -> None:
    run.add_metrics({"loss": 0.5}, 0)
    sql = "INSERT INTO metrics_pending (run_id, step, progress, extras) VALUES (%s, 1, 0, %s)"
    client.execute(sql, (run.id, Jsonb({"loss": 1.5})))
    with sqltrack.Client(config) as other:
        other.execute("SELECT loss FROM metrics").fetchall()
        (item,) = tidy(client)
    assert (item.moved, item.why) == (0, "1 value left in another table, because the table could not be changed")
    assert tidy(client)[0].moved == 1
    assert column(client, "loss") == [0.5, 1.5]


@pytest.mark.engines("postgres")
def test_while_others_hold_the_table_no_column_gets_wider(
    client: sqltrack.Client, run: sqltrack.Run, config: dict[str, Any]
) -> None:
    run.add_metrics({"count": 1}, 0)
    add_extras(client, run.id, {1: {"count": 1.5}})
    with sqltrack.Client(config) as other:
        other.execute("SELECT count FROM metrics").fetchall()
        (item,) = tidy(client)
    assert (item.moved, "the table could not be changed" in str(item.why)) == (0, True)
    assert extras(client) == [None, {"count": 1.5}]
    assert tidy(client)[0].change == "widen"
    assert column(client, "count") == [1, 1.5]


def test_rows_that_others_change_in_between_are_read_again(client: sqltrack.Client, run: sqltrack.Run) -> None:
    add_extras(client, run.id, {step: {"loss": 0.5} for step in range(3)})

    written = [7.5]

    def read_and_change(*args: Any, **kwargs: Any) -> Any:
        for rows in read_rows(*args, **kwargs):
            written.append(written[-1] + 1)
            add_extras(client, run.id, {1: {"loss": written[-1]}})
            yield rows

    with pytest.MonkeyPatch.context() as patch:
        found = plan_tidy(client)
        patch.setattr("sqltrack.commands.tidy.read_rows", read_and_change)
        apply_tidy(client, found)
    assert column(client, "loss") == [0.5, written[-1], 0.5]


WRITER = """
import sys
import sqltrack
from sqltrack.engines.json import Jsonb
client = sqltrack.Client(eval(sys.argv[1]))
run = sqltrack.Run(client, run_id=int(sys.argv[2]))
table = client.engine.metrics_table
upsert = table.upsert([], extras=True, pending=False)
with run.track():
    for step in range(400):
        run.add_metrics({"loss": step + 0.5}, step)
        values = (run.id, step, 0.0, table.extras_value({"late": step, "text": "x"}))
        client._session.ask(lambda connection: upsert.execute(connection, values))
"""


def test_writers_continue_meanwhile_and_nothing_is_lost(
    client: sqltrack.Client, experiment: sqltrack.Experiment, config: dict[str, Any]
) -> None:
    runs = [experiment.get_run() for _ in range(3)]
    add_extras(client, runs[0].id, {-1: {"late": -1}})
    commands = [[sys.executable, "-c", WRITER, repr(config), str(run.id)] for run in runs]
    with contextlib.ExitStack() as stack:
        writers = [stack.enter_context(running(command)) for command in commands]
        deadline = time.monotonic() + 120
        while any(writer.poll() is None for writer in writers) and time.monotonic() < deadline:
            tidy(client)
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    tidy(client)
    for run in runs:
        sql = "SELECT step, loss, late, text, extras FROM metrics WHERE run_id = %s AND step >= 0 ORDER BY step"
        rows = client.execute(sql, (run.id,)).fetchall()
        assert rows == [(step, step + 0.5, step, "x", None) for step in range(400)]


def test_two_at_once_move_everything_once(client: sqltrack.Client, run: sqltrack.Run, config: dict[str, Any]) -> None:
    add_extras(client, run.id, {step: {"loss": step + 0.5} for step in range(300)})
    moved: list[int] = []

    def work() -> None:
        moved.append(sum(item.moved for item in tidy(sqltrack.Client(config))))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(moved) == 300
    assert column(client, "loss") == [step + 0.5 for step in range(300)]
    assert extras(client) == [None] * 300


@pytest.mark.parametrize("attempts", [3, pytest.param(8, marks=pytest.mark.faults)])
def test_killed_at_any_moment_nothing_is_lost_or_double(
    client: sqltrack.Client, run: sqltrack.Run, options: list[str], attempts: int
) -> None:
    names = [f"m{number}" for number in range(5)]
    rows = {step: dict.fromkeys(names, step + 0.5) | {"mixed": step % 2 or "x"} for step in range(3_000)}
    add_extras(client, run.id, rows)
    command = [Path(sys.executable).with_name("sqltrack"), "tidy", "--yes", *options]
    seen = set()
    for attempt in range(attempts):
        with running(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
            # Killed at the end of the block.
            time.sleep(random.uniform(0.3, 0.9) + 0.1 * attempt)
        # A server notices with some delay that its client is gone.
        present = [name for name in names if name in columns(client)]
        chosen = ", ".join(["extras", *present])
        moved = 0
        for step, kept, *values in client.execute(f"SELECT step, {chosen} FROM metrics").fetchall():
            in_columns = {name: value for name, value in zip(present, values) if value is not None}
            assert not in_columns.keys() & (kept or {}).keys()
            assert in_columns | kept == rows[step]
            moved += bool(in_columns)
        seen.add(moved)
    tidy(client)
    assert extras(client) == [{"mixed": step % 2 or "x"} for step in range(3_000)]
    assert column(client, "m4") == [step + 0.5 for step in range(3_000)]
    assert seen


@pytest.mark.unmeasured
def test_ctrl_c_in_the_middle_is_one_line_and_nothing_is_half_done(
    client: sqltrack.Client, run: sqltrack.Run, options: list[str]
) -> None:
    rows = {step: {f"m{number}": step + 0.5 for number in range(5)} for step in range(20_000)}
    add_extras(client, run.id, rows)
    count = "sqltrack.Client(values).execute('SELECT COUNT(*) FROM metrics WHERE extras IS NULL').fetchone()[0]"
    done = interrupt_program(["tidy", "--yes", *options], f"{count} > 0", dict(client.config))
    assert (done.returncode, done.stderr) == (130, "sqltrack: interrupted\n")
    for step, kept, *values in client.execute("SELECT step, extras, m0, m1, m2, m3, m4 FROM metrics").fetchall():
        assert (kept is None) == (values == [step + 0.5] * 5)
        assert kept in (None, rows[step])


REFUSING = {
    "sqlite": ["CREATE TRIGGER refuse BEFORE UPDATE ON metrics BEGIN SELECT RAISE(ABORT, 'not today'); END"],
    "postgres": [
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not today'; END $$",
        "CREATE TRIGGER refuse BEFORE UPDATE ON metrics FOR EACH ROW EXECUTE FUNCTION refuse()",
    ],
}


def test_an_error_that_trying_again_does_not_help_ends_it(
    client: sqltrack.Client, run: sqltrack.Run, engine_name: str
) -> None:
    add_extras(client, run.id, {0: {"loss": 0.5}})
    for statement in REFUSING[engine_name]:
        client.execute(statement)
    with pytest.raises(DatabaseError, match="not today"):
        tidy(client)
    assert extras(client) == [{"loss": 0.5}]
