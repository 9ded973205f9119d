"""`sqltrack tidy` moves metrics from the column extras into columns of their own, and alters none."""

from __future__ import annotations

import contextlib
import json
import math
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack.cli import main
from sqltrack.commands._extras import read_rows
from sqltrack.commands.tidy import Tidied, examine_extras, move_extras, tidy
from sqltrack.engines.json import Jsonb
from sqltrack.errors import DatabaseError
from sqltrack.quoting import quote_identifier
from support.dumps import dump
from support.processes import running
from support.questions import CTRL_C, answer

Program = Callable[..., subprocess.CompletedProcess[str]]


def add_extras(client: sqltrack.Client, run_id: int, rows: Mapping[int, Mapping[str, Any]]) -> None:
    """Put metrics into extras, as a writer does that does not get the lock for a column."""
    table = client.engine.metrics_table
    client.call(lambda connection: table.grow(connection, {"extras": "JSONB"}, {}))
    upsert = table.upsert([], extras=True, pending=False)
    with client as connection:
        upsert.execute_many(
            connection, [(run_id, step, 0.0, table.extras_value(dict(values))) for step, values in rows.items()]
        )
    client.metrics.forget()


def column(client: sqltrack.Client, name: str) -> list[Any]:
    """Return the values of a metric's column, by step; NaN as a float."""
    quoted = quote_identifier(name)
    rows = client.execute(f"SELECT metrics.{quoted} FROM metrics ORDER BY run_id, step").fetchall()
    return [math.nan if value == "NaN" else value for (value,) in rows]


def extras(client: sqltrack.Client) -> list[Any]:
    return [value for (value,) in client.execute("SELECT extras FROM metrics ORDER BY run_id, step").fetchall()]


def columns(client: sqltrack.Client) -> dict[str, str]:
    return client.call(lambda connection: client.engine.table_columns(connection, "metrics"))


def by_name(tidied: list[Tidied]) -> dict[str, Tidied]:
    return {item.name: item for item in tidied}


FITTING: dict[str, list[Any]] = {
    "float": [0.1, -1e300, 5e-324],
    "huge floats": [3.4028234663852886e38, 1e23, -1.5e300],
    "int": [1, -(2**63), 2**63 - 1],
    "bool": [True, False, True],
    "text": ["a", "", "ä\n'\"%"],
    "json": [{"a": [1, None]}, [1, 2.5], {}],
    "mixed numbers": [1, 0.5, -3],
    "a%b\"c;'": [0.5, 1.5, 2.5],
    "größe 🙂": [0.5, 1.5, 2.5],
}


@pytest.mark.parametrize("name", FITTING)
def test_values_get_a_column_in_which_they_are_the_same(client: sqltrack.Client, run: sqltrack.Run, name: str) -> None:
    values = FITTING[name]
    add_extras(client, run.id, {step: {name: value} for step, value in enumerate(values)})
    assert [list(kept) for kept in extras(client)] == [[name]] * 3
    (item,) = tidy(client)
    assert (item.name, item.values, item.moved, item.superseded, item.why) == (name, 3, 3, 0, None)
    assert item.change == "add"
    assert column(client, name) == values
    assert [type(value) for value in column(client, name)] == [
        float if name == "mixed numbers" else type(value) for value in values
    ]
    # What is empty afterwards is NULL.
    assert extras(client) == [None] * 3
    assert tidy(client) == []


def test_nan_and_infinities_are_floats_where_others_are_numbers(client: sqltrack.Client, run: sqltrack.Run) -> None:
    values = [0.5, math.nan, math.inf, -math.inf]
    add_extras(client, run.id, {step: {"loss": value} for step, value in enumerate(values)})
    tidy(client)
    first, second, third, fourth = column(client, "loss")
    assert (first, third, fourth) == (0.5, math.inf, -math.inf)
    assert math.isnan(second)
    assert client.execute("SELECT step FROM metrics WHERE loss = 'NaN'").fetchall() == [(1,)]


def test_nan_goes_to_a_column_of_numbers_also_if_it_is_alone(client: sqltrack.Client, run: sqltrack.Run) -> None:
    run.add_metrics({"loss": 0.5}, 0)
    add_extras(client, run.id, {1: {"loss": math.nan}})
    tidy(client)
    assert math.isnan(column(client, "loss")[1])


STAYING: dict[str, list[Any]] = {
    "only NaN": [math.nan, math.inf],
    "numbers and text": [1, "x"],
    "numbers and truth": [1, True],
    "text and NaN and truth": ["NaN", True],
    "nothing": [None, None],
    "dates": ["2026-01-01", "2026-01-02"],
    "times": ["2026-01-01 12:00:00+00:00"],
    "durations": ["1 day, 0:00:01", "0:00:01.5"],
    "bytes": ["b'a'"],
    "run_id": [1],
    "step": [1],
    "extras": [1],
}


@pytest.mark.parametrize("name", STAYING)
def test_what_has_no_column_in_which_it_is_the_same_stays(
    client: sqltrack.Client, run: sqltrack.Run, name: str
) -> None:
    add_extras(client, run.id, {step: {name: value} for step, value in enumerate(STAYING[name])})
    before = dump(client)
    (item,) = tidy(client)
    assert (item.moved, item.column, bool(item.why)) == (0, None, True)
    assert dump(client) == before


def test_a_name_that_cannot_be_a_column_stays_and_others_of_its_row_do_not(
    client: sqltrack.Client, run: sqltrack.Run, engine_name: str
) -> None:
    name = "LOSS" if engine_name == "sqlite" else "x" * 64
    run.add_metrics({"loss": 0.5}, 0)
    add_extras(client, run.id, {0: {name: 1.5, "new": 2.5}})
    items = by_name(tidy(client))
    assert items[name].why is not None
    assert items["new"].moved == 1
    assert extras(client) == [{name: 1.5}]


def test_values_that_a_column_would_alter_stay_and_the_others_go(client: sqltrack.Client, run: sqltrack.Run) -> None:
    run.add_metrics({"loss": 0.5}, 0)
    add_extras(client, run.id, {1: {"loss": 2**53 + 1}, 2: {"loss": 3}, 3: {"loss": "text"}, 4: {"loss": None}})
    (item,) = tidy(client)
    assert (item.values, item.moved) == (4, 2)
    assert "2 values would not be the same" in str(item.why)
    assert column(client, "loss") == [0.5, None, 3, None, None]
    assert extras(client) == [None, {"loss": 2**53 + 1}, None, {"loss": "text"}, None]


def test_integers_that_no_column_holds_stay(client: sqltrack.Client, run: sqltrack.Run) -> None:
    add_extras(client, run.id, {0: {"n": 2**64 + 1}, 1: {"n": 2**80 + 1}, 2: {"n": 0.5}})
    assert tidy(client)[0].moved == 1
    assert extras(client) == [{"n": 2**64 + 1}, {"n": 2**80 + 1}, None]


def test_a_column_of_integers_holds_floats_afterwards(client: sqltrack.Client, run: sqltrack.Run) -> None:
    run.add_metrics({"count": 3}, 0)
    add_extras(client, run.id, {1: {"count": 0.5}})
    (item,) = tidy(client)
    assert (item.moved, item.why) == (1, None)
    assert column(client, "count") == [3, 0.5]


def test_where_both_have_a_value_the_column_counts_and_it_says_so(client: sqltrack.Client, run: sqltrack.Run) -> None:
    add_extras(client, run.id, {0: {"loss": 0.5, "other": 1.0}, 1: {"loss": 1.5}, 2: {"loss": math.nan}})
    run.add_metrics({"loss": 9.5}, 0).add_metrics({"loss": math.nan}, 2)
    item = by_name(tidy(client))["loss"]
    assert (item.moved, item.superseded) == (3, 1)
    values = column(client, "loss")
    assert values[:2] == [9.5, 1.5]
    assert math.isnan(values[2])
    assert extras(client) == [None] * 3


def test_a_row_that_would_grow_too_big_keeps_what_has_no_room(
    client: sqltrack.Client, run: sqltrack.Run, engine_name: str
) -> None:
    values = {f"m{number}": number + 0.5 for number in range(1200)}
    add_extras(client, run.id, {0: values, 1: {"m0": 0.25}})
    items = tidy(client)
    moved = sum(item.moved for item in items)
    left = extras(client)[0] or {}
    assert moved + len(left) == 1201
    assert (engine_name == "sqlite") == (not left)
    for name, value in values.items():
        (stored,) = client.execute(f"SELECT metrics.{name} FROM metrics WHERE step = 0").fetchone()
        assert (stored, left.get(name)) in ((value, None), (None, value))
    assert column(client, "m0")[1] == 0.25
    assert all((item.why is not None) == (item.name in left) for item in items)


def test_metrics_that_wait_in_another_table_are_moved_too(
    client: sqltrack.Client, run: sqltrack.Run, engine_name: str
) -> None:
    if engine_name == "sqlite":
        assert client.engine.metrics_table.pending_table is None
        return
    sql = "INSERT INTO metrics_pending (run_id, step, progress, extras) VALUES (%s, %s, 0, %s)"
    client.executemany(sql, [(run.id, step, Jsonb({"loss": step + 0.5, "run_id": 1})) for step in range(3)])
    (first, second) = tidy(client)
    assert (first.moved, second.moved) == (3, 0)
    assert column(client, "loss") == [0.5, 1.5, 2.5]
    assert extras(client) == [{"run_id": 1}] * 3
    assert client.execute("SELECT COUNT(*) FROM metrics_pending").fetchone() == (0,)
    # The column is there by now, but what somebody who may not change the table has logged waits all the same.
    client.executemany(sql, [(run.id, step, Jsonb({"loss": step + 0.5})) for step in range(2_500)])
    client.execute("UPDATE metrics SET loss = NULL")
    assert by_name(tidy(client))["loss"].moved == 2_500
    assert column(client, "loss") == [step + 0.5 for step in range(2_500)]


def test_who_may_not_change_the_table_moves_what_has_a_column(
    client: sqltrack.Client, run: sqltrack.Run, config: dict[str, Any], engine_name: str
) -> None:
    if engine_name == "sqlite":
        return
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


def test_while_others_hold_the_table_what_has_a_column_is_moved(
    client: sqltrack.Client, run: sqltrack.Run, config: dict[str, Any], engine_name: str
) -> None:
    if engine_name == "sqlite":
        return
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


def test_what_others_change_after_it_was_read_is_read_again(client: sqltrack.Client, run: sqltrack.Run) -> None:
    add_extras(client, run.id, {step: {"loss": 0.5} for step in range(3)})

    written = [7.5]

    def read_and_change(*args: Any, **kwargs: Any) -> Any:
        for rows in read_rows(*args, **kwargs):
            written.append(written[-1] + 1)
            add_extras(client, run.id, {1: {"loss": written[-1]}})
            yield rows

    with pytest.MonkeyPatch.context() as patch:
        found = examine_extras(client)
        patch.setattr("sqltrack.commands.tidy.read_rows", read_and_change)
        move_extras(client, found)
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
        client.call(lambda c: upsert.execute(c, (run.id, step, 0.0, table.extras_value({"late": step, "text": "x"}))))
"""


def test_writers_go_on_meanwhile_and_nothing_is_lost(
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


def test_killed_at_any_moment_nothing_is_lost_or_double(
    client: sqltrack.Client, run: sqltrack.Run, options: list[str]
) -> None:
    names = [f"m{number}" for number in range(5)]
    rows = {step: dict.fromkeys(names, step + 0.5) | {"mixed": step % 2 or "x"} for step in range(3_000)}
    add_extras(client, run.id, rows)
    command = [Path(sys.executable).with_name("sqltrack"), "tidy", "--yes", *options]
    seen = set()
    for attempt in range(8):
        with running(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
            # And killed at the end of the block.
            time.sleep(random.uniform(0.3, 0.9) + 0.1 * attempt)
        # A server notices by and by that the other end is gone.
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
    program = Path(sys.executable).with_name("sqltrack")
    command = [str(program), "tidy", "--yes", *options]
    with running(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while "m4" not in columns(client) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "sqltrack: interrupted\n")
    for step, kept, *values in client.execute("SELECT step, extras, m0, m1, m2, m3, m4 FROM metrics").fetchall():
        assert (kept is None) == (values == [step + 0.5] * 5)
        assert kept in (None, rows[step])


def test_a_table_says_what_was_moved_and_why_others_were_not(
    client: sqltrack.Client, run: sqltrack.Run, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    add_extras(client, run.id, {0: {"loss": 0.5, "mixed\x1b[2J": 1}, 1: {"mixed\x1b[2J": "x"}})
    assert main(["tidy", "--yes", *options]) == 0
    output = capsys.readouterr()
    assert "\x1b" not in output.out
    assert output.err == "1 values moved\n"
    head, _, loss, mixed, why = output.out.splitlines()
    assert head.split() == ["name", "values", "column", "change", "moved", "superseded"]
    assert (loss.split()[:2], loss.split()[-3:]) == (["loss", "1"], ["add", "1", "0"])
    assert mixed.split()[-4:] == ["--", "--", "0", "0"]
    assert why == r"mixed\x1b[2J: values stay, its values are of different types (int, str)"
    assert main(["tidy", *options]) == 0
    assert capsys.readouterr().err == "nothing can be moved\n"


def test_json_holds_the_same(
    client: sqltrack.Client, run: sqltrack.Run, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    add_extras(client, run.id, {0: {"loss": 0.5}})
    assert main(["tidy", "--json", "--yes", *options]) == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert (record["name"], record["values"], record["moved"], record["why"]) == ("loss", 1, 1, None)
    assert main(["tidy", "--json", *options]) == 0
    output = capsys.readouterr()
    assert (output.out, output.err) == ("[]\n", "all metrics are in columns\n")


def test_a_dry_run_changes_nothing(
    client: sqltrack.Client, run: sqltrack.Run, options: list[str], engine_name: str
) -> None:
    add_extras(client, run.id, {0: {"loss": 0.5}})
    if engine_name == "postgres":
        sql = "INSERT INTO metrics_pending (run_id, step, progress, extras) VALUES (%s, 0, 0, %s)"
        client.execute(sql, (run.id, Jsonb({"waiting": 1})))
    before = dump(client)
    assert main(["tidy", "--dry-run", *options]) == 0
    names = {item.name for item in tidy(client, dry_run=True)}
    assert names == {"loss"} | ({"waiting"} if engine_name == "postgres" else set())
    assert dump(client) == before


def test_a_database_without_extras_gets_none(client: sqltrack.Client, run: sqltrack.Run) -> None:
    run.add_metrics({"loss": 0.5}, 0)
    before = dump(client)
    assert tidy(client) == []
    assert dump(client) == before


@pytest.mark.parametrize(("text", "status"), [("y", 0), ("n", 1), (CTRL_C, 130)])
def test_it_does_what_is_answered(
    client: sqltrack.Client, run: sqltrack.Run, options: list[str], text: str | None, status: int
) -> None:
    add_extras(client, run.id, {0: {"loss": 0.5}})
    before = dump(client)
    returned, _, errors = answer(["tidy", *options], text)
    assert returned == status, errors
    assert "move 1 metric? [y/N]" in errors
    assert (dump(client) == before) == (status != 0)


def test_where_nobody_can_be_asked_nothing_is_done(
    client: sqltrack.Client, run: sqltrack.Run, options: list[str], program: Program
) -> None:
    add_extras(client, run.id, {0: {"loss": 0.5}})
    before = dump(client)
    done = program("tidy", *options, stdin=subprocess.DEVNULL)
    assert done.returncode == 1
    assert "--yes" in done.stderr
    assert dump(client) == before


def test_two_at_once_move_everything_once(client: sqltrack.Client, run: sqltrack.Run, config: dict[str, Any]) -> None:
    add_extras(client, run.id, {step: {"loss": step + 0.5} for step in range(1_000)})
    moved: list[int] = []

    def work() -> None:
        moved.append(sum(item.moved for item in tidy(sqltrack.Client(config))))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(moved) == 1_000
    assert column(client, "loss") == [step + 0.5 for step in range(1_000)]
    assert extras(client) == [None] * 1_000


def test_a_word_too_many_is_one_line(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as failure:
        main(["tidy", "loss", *options])
    assert failure.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_text_in_a_column_of_numbers_stays(client: sqltrack.Client, run: sqltrack.Run) -> None:
    run.add_metrics({"loss": 0.5}, 0)
    add_extras(client, run.id, {1: {"loss": "diverged"}, 2: {"other": 1}})
    item = by_name(tidy(client))["loss"]
    assert (item.moved, str(item.why).split(" of type ")[0]) == (0, "the column")
    assert "does not hold such values (str)" in str(item.why)
    assert extras(client) == [None, {"loss": "diverged"}, None]


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


@pytest.mark.engines("postgres")
def test_while_others_hold_the_table_what_waits_goes_on_waiting(
    client: sqltrack.Client, run: sqltrack.Run, config: dict[str, Any]
) -> None:
    run.add_metrics({"loss": 0.5}, 0)
    sql = "INSERT INTO metrics_pending (run_id, step, progress, extras) VALUES (%s, 1, 0, %s)"
    client.execute(sql, (run.id, Jsonb({"loss": 1.5})))
    with sqltrack.Client(config) as other:
        other.execute("SELECT loss FROM metrics").fetchall()
        (item,) = tidy(client)
    assert (item.moved, item.why) == (0, "1 values wait in another table, because the table could not be changed")
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


@pytest.mark.engines("postgres")
def test_a_row_that_is_full_keeps_what_is_left_however_often_it_is_tried(
    client: sqltrack.Client, run: sqltrack.Run
) -> None:
    add_extras(client, run.id, {0: {f"m{number}": number + 0.5 for number in range(1200)}})
    for _ in range(12):
        items = tidy(client)
        if not any(item.moved for item in items):
            break
    assert len(extras(client)[0]) == len(items) > 0
    assert {(item.moved, item.why) for item in items} == {(0, "the row would grow too big")}


@pytest.mark.engines("postgres")
def test_a_dry_run_says_that_what_waits_would_be_moved(
    client: sqltrack.Client, run: sqltrack.Run, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    sql = "INSERT INTO metrics_pending (run_id, step, progress, extras) VALUES (%s, 0, 0, %s)"
    client.execute(sql, (run.id, Jsonb({"run_id": 1})))
    assert main(["tidy", "--dry-run", *options]) == 0
    assert capsys.readouterr().err == "what waits would be moved to extras\n"


def test_where_all_metrics_are_in_columns_there_is_no_table(
    run: sqltrack.Run, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    run.add_metrics({"loss": 0.5}, 0)
    assert main(["tidy", *options]) == 0
    assert capsys.readouterr() == ("", "all metrics are in columns\n")
