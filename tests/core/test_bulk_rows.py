"""Many rows at once are stored like single rows, with any values and while other processes write or fail."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest

import sqltrack
from sqltrack import Experiment, Run
from sqltrack.errors import MissingRunError
from support.databases import connect_to_postgres, temporary_role
from support.metrics import logged, same, stored_value
from support.processes import Script

# More rows than are stored by a statement each.
MANY = 300

VALUES: dict[str, list[Any]] = {
    "number": [0.1, -0.0, math.nan, math.inf, -math.inf, None, 1e308],
    "count": [0, -1, 2**63 - 1, -(2**63), None],
    "flag": [True, False, None],
    "text": ["", "a\tb", "line\nline\r", "\\N", "\\", "ö€😀", "\\.", None],
    "data": [b"", b"\0\xff\\", None],
    "moment": [datetime(2024, 2, 29, 12, 30, 15, 123456, tzinfo=timezone.utc), None],
    "day": [date(1, 1, 1), date(2024, 2, 29), None],
    "span": [timedelta(days=-3, microseconds=1), timedelta(0), None],
    "form": [{"a": [1, None, "\t"]}, [], None],
    'odd " name % of %s ON CONFLICT (x)': [1.5, None],
    "too long for a column " + "x" * 63: [0.5, {"a": 1}, None],
    "mixed": [1, 0.5, "text", None, 2**70],
}


def rows_of(number: int) -> list[dict[str, Any]]:
    """Rows in which each metric takes each of its values."""
    return [{name: values[step % len(values)] for name, values in VALUES.items()} for step in range(number)]


def stored(run: Run) -> list[tuple[Any, ...]]:
    names = [name for name in run.client.metrics._columns.require() if name != "run_id"]
    columns = ", ".join(sqltrack.util.quote_identifier(name).replace("%", "%%") for name in names)
    sql = f"SELECT {columns} FROM metrics WHERE run_id = %s ORDER BY step, progress"
    return run.client.execute(sql, (run.id,)).fetchall()


@pytest.fixture
def copies(engine_name: str, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each group of rows was copied; on PostgreSQL all are."""
    copied: list[bool] = []
    if engine_name == "postgres":
        from sqltrack.engines.postgres import _metrics_table

        copy = _metrics_table._PostgresUpsert._copy

        def note(*arguments: Any) -> bool:
            copied.append(copy(*arguments))
            return copied[-1]

        monkeypatch.setattr(_metrics_table, "_COPIED_FROM", 1)
        monkeypatch.setattr(_metrics_table._PostgresUpsert, "_copy", note)
    return copied


def test_many_rows_are_stored_like_one_at_a_time(run: Run, experiment: Experiment, copies: list[bool]) -> None:
    rows = rows_of(20)
    other = experiment.get_run()
    # The columns match the first values of either run.
    run.add_metrics(rows[0])
    other.add_metrics(rows[0])
    run.add_metrics_many({"step": step, **row} for step, row in enumerate(rows))
    with other.track():
        for step, row in enumerate(rows):
            other.add_metrics(row, step=step)
    assert all(copies)
    for found, expected in zip(stored(run), stored(other), strict=True):
        assert all(type(a) is type(b) and same(a, b) for a, b in zip(found, expected, strict=True)), (found, expected)


def test_rows_that_are_stored_again_keep_their_other_values(run: Run) -> None:
    run.add_metrics_many({"step": step, "a": 1.0, "b": step} for step in range(MANY))
    run.add_metrics_many({"step": step, "b": -step, "c": 2.0} for step in range(MANY))
    assert logged(run, "a") == [1.0] * MANY
    assert logged(run, "b") == [-step for step in range(MANY)]
    assert logged(run, "c") == [2.0] * MANY


def test_of_rows_of_one_point_in_time_the_last_value_of_each_metric_counts(run: Run) -> None:
    twice = [{"step": step // 2, "a": float(step), "b": None if step % 2 else 1.0} for step in range(MANY * 2)]
    between = [{"step": step, "c": float(step)} for step in range(MANY)]
    run.add_metrics_many([*twice, *between, *({"step": step, "a": -1.0} for step in range(3))])
    assert logged(run, "a") == [-1.0] * 3 + [2.0 * step + 1 for step in range(3, MANY)]
    assert logged(run, "b") == [None] * MANY
    assert logged(run, "c") == [float(step) for step in range(MANY)]


def test_rows_may_have_the_names_of_others_in_another_order(run: Run) -> None:
    run.add_metrics_many([{"a": 1.0, "step": 1, "b": 2.0}, {"b": 4.0, "a": 3.0, "step": 2, "progress": 0.5}])
    run.add_metrics_many([{"progress": 0.5, "a": 5.0}, {"step": 3}])
    assert (logged(run, "a"), logged(run, "b")) == ([5.0, 1.0, 3.0, None], [None, 2.0, 4.0, None])


def test_an_iterator_of_rows_that_fails_stores_none(run: Run) -> None:
    def rows() -> Iterator[dict[str, Any]]:
        yield from ({"step": step, "loss": 0.5} for step in range(MANY))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run.add_metrics_many(rows())
    assert run.client.execute("SELECT count(*) FROM metrics").fetchone() == (0,)


def test_a_column_that_an_earlier_row_widens_or_adds_holds_the_later_ones_unaltered(run: Run) -> None:
    """An integer that does not fit into a float is not rounded if a later row turns the column into floats."""
    values = [2**53 + 1, 1, 0.5]
    run.add_metrics_many({"step": step, "n": value, f"m{step}": 1.0} for step, value in enumerate(values))
    assert [stored_value(run, "n", step) for step in range(3)] == values


def test_many_rows_for_a_missing_run_leave_the_block_as_it_was(client: sqltrack.Client, run: Run) -> None:
    run.add_metrics({"loss": 1.0})
    with client:
        run.add_metrics({"loss": 2.0})
        with pytest.raises(MissingRunError, match="no run with id 4711"):
            sqltrack.run_add_metrics_many(client, 4711, ({"step": step, "loss": 0.5} for step in range(MANY)))
        run.add_metrics_many({"step": step, "loss": 3.0} for step in range(1, MANY))
    assert logged(run, "loss") == [2.0] + [3.0] * (MANY - 1)


def test_a_column_that_has_gone_meanwhile_is_added_again(run: Run, config: dict[str, Any]) -> None:
    rows = [{"step": step, "a": 1.0, "b": 2.0} for step in range(MANY)]
    run.add_metrics_many(rows)
    sqltrack.Client(config).execute("ALTER TABLE metrics DROP COLUMN b")
    run.add_metrics_many(rows)
    assert logged(run, "b") == [2.0] * MANY


def test_many_writers_of_the_same_rows_wait_for_each_other(run: Run, config: dict[str, Any]) -> None:
    """They may give the rows in any order."""

    def write(number: int) -> None:
        rows = [{"step": step, f"m{number}": float(step), "common": 1.0} for step in range(MANY)]
        sqltrack.Run(sqltrack.Client(config), run_id=run.id).add_metrics_many(rows[::-1] if number % 2 else rows)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    for number in range(4):
        assert [stored_value(run, f"m{number}", step) for step in (0, MANY - 1)] == [0.0, MANY - 1.0]
    assert logged(run, "common") == [1.0] * MANY


KILLED = """
run = Run(client, run_id=int(RUN))
rows = [{"step": step, "loss": 0.5} for step in range(300)]
run.add_metrics_many(rows)
confirm("first")
with client:
    run.add_metrics_many({**row, "step": row["step"] + 1000} for row in rows)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_many_rows_that_were_stored_survive_a_kill_and_others_are_not_there(run: Run, config: dict[str, Any]) -> None:
    with Script(KILLED.replace("RUN", str(run.id)), config) as script:
        assert script.read_line() == "first"
        script.finish()
    assert len(logged(run, "loss")) == MANY


# PostgreSQL only


def interrupt_after(rows: int) -> Callable[..., None]:
    from psycopg import Copy

    write_row = Copy.write_row
    written = []

    def write(self: Any, row: Any) -> None:
        written.append(row)
        if len(written) == rows:
            raise KeyboardInterrupt
        write_row(self, row)

    return write


@pytest.mark.engines("postgres", reason="SQLite needs no copy")
def test_an_interrupted_copy_leaves_the_block_as_it_was(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.add_metrics({"loss": 1.0})
    monkeypatch.setattr("psycopg.Copy.write_row", interrupt_after(100))
    with run.client:
        run.add_metrics({"loss": 2.0})
        with pytest.raises(KeyboardInterrupt):
            run.add_metrics_many({"step": step, "loss": 3.0} for step in range(MANY))
        run.add_metrics({"loss": 4.0}, step=1)
    assert logged(run, "loss") == [2.0, 4.0]


@pytest.mark.engines("postgres", reason="SQLite has no users")
@pytest.mark.not_pooled("it connects as another user")
def test_a_user_who_may_not_create_temporary_tables_stores_many_rows(run: Run, config: dict[str, Any]) -> None:
    run.add_metrics({"loss": 0.0}, step=0)
    role = f"{config['dbname']}_writer"
    rows = [{"step": step, "loss": 1.0} for step in range(MANY)]
    with connect_to_postgres(config) as administrator, temporary_role(administrator, role, "LOGIN"):
        administrator.execute(f'REVOKE TEMPORARY ON DATABASE "{config["dbname"]}" FROM PUBLIC')
        administrator.execute(f'GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO "{role}"')
        administrator.execute(f'GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO "{role}"')
        client = sqltrack.Client(config, user=role)
        with client:
            sqltrack.run_add_metrics(client, run.id, {"loss": 5.0}, step=-1)
            sqltrack.run_add_metrics_many(client, run.id, rows)
            sqltrack.run_add_metrics_many(client, run.id, [{**row, "loss": 2.0} for row in rows])
    assert logged(run, "loss") == [5.0] + [2.0] * MANY


@pytest.mark.engines("postgres", reason="SQLite's grow always succeeds")
def test_many_rows_wait_for_the_column_of_their_extras_as_well(run: Run, config: dict[str, Any]) -> None:
    name = "too long for a column " + "x" * 63
    run.add_metrics({"loss": 0.0}, step=-1)
    with sqltrack.Client(config) as reader:
        reader.execute("SELECT * FROM metrics").fetchall()
        run.add_metrics_many({"step": step, "loss": 1.0, name: float(step)} for step in range(MANY))
    run.client.metrics._columns._growing_again = -math.inf
    run.client.metrics.move_pending()
    assert logged(run, "loss") == [0.0] + [1.0] * MANY
    assert [stored_value(run, name, step) for step in (0, MANY - 1)] == [0.0, MANY - 1.0]


@pytest.mark.engines("postgres", reason="SQLite needs no copy")
def test_no_table_is_left_of_a_copy(run: Run) -> None:
    """The table is gone inside a block, and for the next user of a pooler's session."""
    with run.client as connection:
        run.add_metrics_many({"step": step, "loss": 1.0} for step in range(MANY))
        assert connection.execute("SELECT count(*) FROM pg_class WHERE relpersistence = 't'").fetchone() == (0,)
