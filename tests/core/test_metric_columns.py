"""Metrics whose name or value does not fit a column are stored elsewhere, unchanged."""

from __future__ import annotations

import contextlib
import math
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

import sqltrack
from sqltrack import Run
from sqltrack.engines.metrics_table import MisfitError, check_int64
from sqltrack.engines.schema import fits_int64
from support.metrics import RESERVED, logged, rows_as_dicts, same, stored_value

pytestmark = pytest.mark.also_on("duckdb")


class Bare:
    """An object that no column holds."""


# Columns of users


@pytest.mark.engines("sqlite")
@pytest.mark.parametrize("declared", ["", "NUMERIC(10, 2)", "VARCHAR(20)", "BIGINT", "DOUBLE"])
def test_columns_of_any_declared_type_alter_nothing(run: Run, declared: str) -> None:
    run.client.execute(f"ALTER TABLE metrics ADD COLUMN value {declared}")
    values = [0.1, 1e300, 3, 2**53 + 1, "007", "text", True]
    for step, value in enumerate(values):
        run.add_metrics({"value": value}, step=step)
    stored = [stored_value(run, "value", step) for step in range(len(values))]
    assert stored == values
    assert stored[-1] is True


@pytest.mark.engines("postgres")
def test_a_column_of_decimals_takes_floats_as_they_are(run: Run) -> None:
    """The server would round them to 15 digits, and supports infinities in such a column only since version 14."""
    run.client.execute("ALTER TABLE metrics ADD COLUMN value NUMERIC")
    values = [0.1, 1 / 3, 1e300, 5e-324, -0.5, math.inf]
    for step, value in enumerate(values):
        run.add_metrics({"value": value}, step=step)
    run.add_metrics({"value": math.nan}, step=len(values))
    rows = run.client.execute("SELECT value, extras FROM metrics ORDER BY step").fetchall()
    assert [float(value) for value, _ in rows[:-2]] == values[:-1]
    assert rows[-2] == (None, {"value": "Infinity"})
    assert math.isnan(rows[-1][0])


@pytest.mark.engines("postgres")
@pytest.mark.parametrize(("declared", "value"), [("SMALLINT", 2**15), ("INTEGER", -(2**31) - 1), ("BIGINT", 2**63)])
def test_a_narrow_column_of_the_user_alters_and_refuses_nothing(run: Run, declared: str, value: int) -> None:
    run.client.execute(f"ALTER TABLE metrics ADD COLUMN n {declared}")
    run.add_metrics({"n": -1}, step=0)
    run.add_metrics({"n": value}, step=1)
    assert logged(run, "n") == [-1, None]
    assert stored_value(run, "n", 1) == value


def test_an_integer_column_of_the_user_keeps_fractions(run: Run) -> None:
    """An integer column that meets a float is widened, not rounded."""
    run.client.execute("ALTER TABLE metrics ADD COLUMN n INTEGER")
    run.add_metrics({"n": 2}, step=0)
    run.add_metrics({"n": 0.5}, step=1)
    run.add_metrics({"n": 2**40}, step=2)
    assert logged(run, "n") == [2, 0.5, 2**40]


# Metrics without a column


def test_names_that_differ_only_by_case_stay_apart(run: Run) -> None:
    for step in range(3):
        run.add_metrics({"loss": step + 0.1, "Loss": step + 0.2, "LOSS": step + 0.3}, step=step)
        assert [stored_value(run, name, step) for name in ("loss", "Loss", "LOSS")] == [
            step + 0.1,
            step + 0.2,
            step + 0.3,
        ]


def test_names_that_are_equal_in_their_first_63_bytes_stay_apart(run: Run) -> None:
    """PostgreSQL would truncate longer names."""
    names = ["x" * 63, "x" * 64, "x" * 63 + "y", "ü" * 31 + "ab", "ü" * 31 + "ac", "n" * 1000]
    run.add_metrics({name: float(number) for number, name in enumerate(names)})
    assert [stored_value(run, name) for name in names] == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]


def test_names_that_the_database_uses_itself_can_be_metrics(run: Run) -> None:
    names = [*RESERVED, "ctid", "xmin", "tableoid", "rowid", "oid", "RUN_ID"]
    for step, name in enumerate(names):
        for value in (0.5, 1.5):
            run.add_metrics({name: value, "loss": value}, step=step)
            assert stored_value(run, name, step) == value, name
    rows = run.client.execute("SELECT run_id, step, progress, loss FROM metrics ORDER BY step").fetchall()
    assert rows == [(run.id, step, 0.0, 1.5) for step in range(len(names))]


def test_extras_appear_only_once_they_are_needed_and_warn_once(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    """Only metrics are added to the table until a name needs `extras`; each such name warns once."""
    run.start().add_metrics({"loss": 1.0})
    description = run.client.execute("SELECT * FROM metrics").description or ()
    assert [column[0] for column in description] == ["run_id", "step", "progress", "loss"]
    for step in range(5):
        run.add_metrics({"run_id": 1.0, "step": 2.0}, step=step)
        run.add_metrics({"run_id": 1.0}, step=step)
    (message,) = [record.getMessage() for record in caplog.records]
    assert message == (
        "metrics 'run_id', 'step' are stored in the column metrics.extras: a column of SQLTrack itself has this name "
        "(log it under another)"
    )


def test_a_call_warns_once_however_many_metrics_it_has(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    """The warning counts the metrics and names a few; a later value with another type is named when it comes."""
    run.start()
    metrics = {f"m{number}": Bare() for number in range(300)}
    for step in range(3):
        run.add_metrics({**metrics, "loss": 0.5}, step=step)
    run.add_metrics({**metrics, "new": Bare(), "n" * 500: Bare()}, step=3)
    first, second = [record.getMessage() for record in caplog.records]
    assert first.startswith("metrics 'm0', 'm1', 'm2' and 297 more are stored in the column metrics.extras: ")
    assert second.startswith(f"metrics 'new', '{'n' * 198}… are stored")


def test_extras_of_a_row_are_merged(run: Run) -> None:
    run.add_metrics({"run_id": 1.0, "loss": 0.5})
    run.add_metrics({"step": 2.0, "run_id": None})
    run.add_metrics({"loss": 0.25})
    rows = run.client.execute("SELECT loss, extras FROM metrics").fetchall()
    assert rows == [(0.25, {"run_id": None, "step": 2.0})]


@pytest.mark.engines("sqlite", "postgres", reason="DuckDB has no limit of columns")
def test_a_run_may_have_more_metrics_than_a_row_has_room_for(run: Run) -> None:
    """2,261 metrics in one call, as seen in practice, are stored, twice."""
    metrics = {f"metric/{number}": number + 0.5 for number in range(2261)}
    for _ in range(2):
        run.add_metrics(metrics, step=1)
        (row,) = rows_as_dicts(run)
        assert {**row, **row["extras"]}.items() >= metrics.items()
    assert len(rows_as_dicts(run)[0]["extras"]) < 2261


@pytest.mark.engines("sqlite", "postgres", reason="DuckDB has no limit of columns")
@pytest.mark.parametrize(
    ("sizes", "in_block"),
    [
        ((1000, 10), False),
        ((900, 200), True),
        ((985, 2, 2, 2), True),
        ((600, 600, 3), False),
        pytest.param((500, 800), False, marks=pytest.mark.faults),
        pytest.param((989, 1), False, marks=pytest.mark.faults),
        pytest.param((989, 300), False, marks=pytest.mark.faults),
    ],
    ids=str,
)
def test_several_calls_may_fill_a_row(run: Run, sizes: tuple[int, ...], in_block: bool) -> None:
    """The size of the stored row counts, not the size of the call: nothing is refused or lost."""
    with run.client if in_block else contextlib.nullcontext():
        for step in range(2):
            first = 0
            for size in sizes:
                run.add_metrics({f"m{first + i}": step + first + i + 0.5 for i in range(size)}, step=step)
                first += size
    for step, row in enumerate(rows_as_dicts(run)):
        found = {name: value for name, value in row.items() if value is not None and name not in RESERVED}
        assert not found.keys() & (row.get("extras") or {}).keys()
        assert {**found, **(row.get("extras") or {})} == {f"m{i}": step + i + 0.5 for i in range(sum(sizes))}


@pytest.mark.engines("postgres", reason="only PostgreSQL limits the size of a row")
def test_a_full_row_keeps_no_metric_from_its_column_in_other_rows(run: Run) -> None:
    run.add_metrics({f"m{number}": number + 0.5 for number in range(989)}, step=0)
    for number in range(40):
        run.add_metrics({f"late{number}": number + 0.5}, step=0)
    for step in range(3):
        run.add_metrics({"loss": step + 0.5, "flag": True}, step=step)
    assert stored_value(run, "loss") == 0.5
    assert stored_value(run, "flag") is True
    assert logged(run, "loss")[1:] == [1.5, 2.5]


@pytest.mark.engines("postgres", reason="only PostgreSQL limits the size of a row")
def test_values_that_make_room_in_a_full_row_are_unchanged(run: Run) -> None:
    """A row without extras and without room must move some of its metrics to extras."""
    values = [0.1, 1e300, 5e-324, math.nan, math.inf, -math.inf, 2**62 + 1, True]
    metrics = {f"m{number}": number + 0.5 for number in range(980)} | dict(zip("abcdefgh", values))
    run.add_metrics(metrics)
    for step in range(40):
        run.add_metrics({f"late{step}": step})
    (row,) = rows_as_dicts(run)
    assert row["extras"]
    for name, value in {**metrics, **{f"late{step}": step for step in range(40)}}.items():
        stored = row["extras"].get(name, row.get(name))
        # JSON stores NaN and infinities as text, and PostgreSQL stores floats without a fraction as integers.
        assert same(float(stored) if isinstance(value, float) else stored, value), name


@pytest.mark.engines("sqlite", "postgres", reason="DuckDB has no limit of columns")
def test_a_table_may_meet_more_names_than_it_has_room_for(run: Run) -> None:
    """2,500 names over time are stored; PostgreSQL has room for 1,600 columns, SQLite for 2,000."""
    for step in range(25):
        run.add_metrics({f"m{step}/{number}": step + number / 100 for number in range(100)}, step=step)
    for step, row in enumerate(rows_as_dicts(run)):
        found = {**row, **(row["extras"] or {})}
        assert all(found[f"m{step}/{number}"] == step + number / 100 for number in range(100))


# Types


LIMITS = [
    datetime.min.replace(tzinfo=timezone(timedelta(hours=14))),
    datetime.max.replace(tzinfo=timezone(-timedelta(hours=11))),
    datetime.max.replace(tzinfo=timezone.utc),
    timedelta.max,
    timedelta(days=400_000, microseconds=1),
]


@pytest.mark.engines("sqlite", "postgres", reason="DuckDB has no times near the limits of Python")
def test_times_and_durations_at_the_limits_are_unaltered(run: Run) -> None:
    """They are in their columns, or in text if a column would round them or could not be read."""
    for number, value in enumerate(LIMITS):
        run.add_metrics({f"value{number}": value, "loss": number + 0.5})
        assert stored_value(run, f"value{number}") in (value, str(value))
        assert logged(run, "loss") == [number + 0.5]


def test_a_metric_may_change_its_type(run: Run) -> None:
    """No value is refused or rounded."""
    values = [1, 0.5, "text", True, math.nan, 2**40, None, 2**53 + 1, [1], b"x", 10**30]
    for step, value in enumerate(values):
        run.add_metrics({"value": value}, step=step)
    expected = [*values[:9], "b'x'", 10**30]
    for step, value in enumerate(expected):
        assert same(stored_value(run, "value", step), value), value


@pytest.mark.engines("postgres")
def test_a_column_of_a_big_table_is_not_widened(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from sqltrack.engines.postgres import _metrics_table

    monkeypatch.setattr(_metrics_table, "_MAX_REWRITTEN_BYTES", 0)
    run.add_metrics({"n": 1}, step=0)
    run.add_metrics({"n": 0.5}, step=1)
    assert logged(run, "n") == [1, None]
    assert stored_value(run, "n", 1) == 0.5


@pytest.mark.engines("postgres")
def test_a_column_of_a_big_partitioned_table_is_not_widened(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from sqltrack.engines.postgres import _metrics_table

    rows = [f"CREATE TABLE metrics_{n} PARTITION OF metrics FOR VALUES WITH (MODULUS 2, REMAINDER {n})" for n in (0, 1)]
    run.client.executescript(f"""
        DROP TABLE metrics;
        CREATE TABLE metrics (
            run_id BIGINT NOT NULL REFERENCES runs (id) ON UPDATE CASCADE ON DELETE CASCADE,
            step BIGINT NOT NULL DEFAULT 0, progress DOUBLE PRECISION NOT NULL DEFAULT 0, n BIGINT,
            PRIMARY KEY (run_id, step, progress)
        ) PARTITION BY HASH (run_id);
        {"; ".join(rows)}
    """)
    run.add_metrics_many({"step": step, "n": 1} for step in range(300))
    monkeypatch.setattr(_metrics_table, "_MAX_REWRITTEN_BYTES", 20_000)
    run.add_metrics({"n": 0.5}, step=300)
    assert logged(run, "n")[-1] is None
    assert stored_value(run, "n", 300) == 0.5
    # The same table is widened while it is small enough.
    monkeypatch.setattr(_metrics_table, "_MAX_REWRITTEN_BYTES", 2**20)
    Run(sqltrack.Client(run.client.config), run_id=run.id).add_metrics({"n": 1.5}, step=301)
    assert logged(run, "n")[-1] == 1.5


def test_a_column_with_integers_that_floats_would_round_is_not_widened(run: Run) -> None:
    run.add_metrics({"n": 2**53 + 1}, step=0)
    run.add_metrics({"n": 0.5}, step=1)
    assert (stored_value(run, "n", 0), stored_value(run, "n", 1)) == (2**53 + 1, 0.5)


def test_exact_decimals_are_numbers_and_others_keep_their_digits(run: Run) -> None:
    run.add_metrics({"a": Decimal("0.5"), "b": Decimal("0.1")})
    assert stored_value(run, "a") == 0.5
    assert Decimal(str(stored_value(run, "b"))) == Decimal("0.1")


def test_a_value_that_its_column_cannot_hold_goes_elsewhere(run: Run) -> None:
    """It is still stored, and so are the other metrics of its call."""
    values: list[Any] = ["a\0b", "\udc80", 2**63, -(2**63) - 1, 10**400]
    for number, value in enumerate(values):
        name, step = f"value{number}", 2 * number
        run.add_metrics({name: type(value)(1), "loss": 0.5}, step=step)
        run.add_metrics({name: value, "loss": 0.25}, step=step + 1)
        escaped = {"a\0b": "a\\x00b", "\udc80": "\\udc80"}.get(value, value) if isinstance(value, str) else value
        assert stored_value(run, name, step + 1) in (value, escaped)
        assert logged(run, "loss")[-2:] == [0.5, 0.25]


def test_a_text_with_nul_is_escaped_as_in_arguments(run: Run) -> None:
    """Whether its column is new or not, and also in a batch."""
    run.add_metrics({"note": "a\0b"}, step=0).add_metrics({"note": "plain"}, step=1)
    run.add_metrics({"note": "\0"}, step=2).add_metrics_many([{"note": "c\0\udc80", "step": 3}])
    assert [stored_value(run, "note", step) for step in range(4)] == ["a\\x00b", "plain", "\\x00", "c\\x00\\udc80"]
    found = run.client.execute("SELECT step, note, extras FROM metrics ORDER BY step").fetchall()
    assert [(step, note) for step, note, _ in found] == [(0, None), (1, "plain"), (2, None), (3, None)]


def test_an_integer_that_a_float_would_alter_goes_elsewhere(run: Run) -> None:
    for number, value in enumerate([2**53 + 1, 2**70, 10**400]):
        name = f"value{number}"
        run.add_metrics({name: 0.5}, step=0)
        run.add_metrics({name: value}, step=1)
        stored = stored_value(run, name, 1)
        assert (stored_value(run, name, 0), stored, type(stored)) == (0.5, value, int)


def test_a_big_integer_stays_one_in_a_column_that_was_of_integers(run: Run) -> None:
    for step, value in enumerate([1, 2**70, 0.5, 2**70, -(2**64)]):
        run.add_metrics({"n": value}, step=step)
        stored = stored_value(run, "n", step)
        assert stored == value
        assert type(stored) is int or step == 2


@pytest.mark.engines("postgres")
@pytest.mark.parametrize(
    "value", [Decimal("1e131072"), Decimal("1e-16384"), 10**5000], ids=["large", "small", "integer"]
)
def test_a_number_that_a_column_of_decimals_cannot_hold_goes_elsewhere(run: Run, value: Any) -> None:
    run.client.execute("ALTER TABLE metrics ADD COLUMN value NUMERIC")
    run.add_metrics({"value": Decimal("0.1"), "loss": 0.5})
    run.add_metrics({"value": value, "loss": 0.25}, step=1)
    stored = stored_value(run, "value", 1)
    assert stored == (hex(value) if isinstance(value, int) else str(value))
    assert logged(run, "loss") == [0.5, 0.25]


# Columns that are added at the end of a block

MIXED: list[tuple[list[Any], list[Any]]] = [
    ([2.5, 1], [2.5, 1.0]),
    ([1, 2.5], [1.0, 2.5]),
    ([1, 2**53 + 1, 2.5], [1.0, None, 2.5]),
    ([1, 2**63, 3], [1, None, 3]),
    ([True, 7, None, False], [True, None, None, False]),
    ([7, True, 8], [7, None, 8]),
    (["a", 1.5, "b"], ["a", None, "b"]),
    ([1.5, {"a": 1}, 2], [1.5, None, 2.0]),
    ([None, 3], [None, 3]),
    ([[1], 1], [[1], None]),
]


@pytest.mark.engines("postgres", "sqlite")
@pytest.mark.parametrize(("values", "in_column"), MIXED)
def test_values_of_several_types_are_moved_as_far_as_they_fit(
    run: Run, values: list[Any], in_column: list[Any], caplog: pytest.LogCaptureFixture, engine_name: str
) -> None:
    """A value that does not fit does not keep others from the column, and ints and floats may come in any order."""
    with run.client:
        run.add_metrics({"first": 1.0}, step=0)
        for step, value in enumerate(values):
            run.add_metrics({"x": value, "y": 0.5}, step=step)
    stored = [stored_value(run, "x", step) for step in range(len(values))]
    assert all(same(found, value) for found, value in zip(stored, values)), stored
    assert logged(run, "y") == [0.5] * len(values)
    if engine_name == "postgres":
        assert logged(run, "x") == in_column
    assert [record.getMessage() for record in caplog.records if "another table" in record.getMessage()] == []


@pytest.mark.engines("postgres")
@pytest.mark.parametrize("values", [[1, 2.5], [2.5, 1], [True, 2.5, 1]])
def test_a_column_of_integers_is_widened_for_values_that_waited(run: Run, values: list[Any]) -> None:
    run.add_metrics({"x": 3}, step=9)
    with run.client:
        run.add_metrics({"first": 1.0}, step=0)
        for step, value in enumerate(values):
            run.add_metrics({"x": value}, step=step)
    assert logged(run, "x") == [None if value is True else float(value) for value in values] + [3.0]


REFUSING = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF to_jsonb(NEW) ->> 'waits' IS NOT NULL THEN RAISE 'no'; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER refuse BEFORE UPDATE ON metrics FOR EACH ROW EXECUTE FUNCTION refuse();
"""


@pytest.mark.engines("postgres")
def test_a_move_that_the_database_refuses_is_told_and_given_up(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    """The other metrics of the row are moved, and the refused one stays where it is."""
    run.client.executescript(REFUSING)
    with run.client:
        run.add_metrics({"first": 1.0}, step=0)
        run.add_metrics({"waits": 1.5, "other": 2}, step=1)
    assert logged(run, "other") == [None, 2]
    assert logged(run, "waits") == [None, None]
    assert stored_value(run, "waits", 1) == 1.5
    messages = [record.getMessage() for record in caplog.records]
    assert [message for message in messages if "'waits' is stored in the column metrics.extras" in message], messages
    caplog.clear()
    with run.client:
        run.add_metrics({"first": 2.0}, step=2)
        run.add_metrics({"another": 3.0}, step=2)
    assert logged(run, "another")[-1] == 3.0
    assert caplog.records == []


@pytest.mark.engines("postgres")
@pytest.mark.parametrize("in_block", [False, True])
def test_a_column_that_a_view_uses_stays_as_it_is(run: Run, in_block: bool, caplog: pytest.LogCaptureFixture) -> None:
    """PostgreSQL cannot change the type of such a column; other metrics still get columns."""
    run.add_metrics({"x": 1}, step=0)
    run.client.execute("CREATE VIEW seen AS SELECT x FROM metrics")
    with run.client if in_block else contextlib.nullcontext():
        run.add_metrics({"x": 2}, step=1)
        run.add_metrics({"x": 2.5, "y": 1.5}, step=2)
    assert logged(run, "x") == [1, 2, None]
    assert logged(run, "y") == [None, None, 1.5]
    assert stored_value(run, "x", 2) == 2.5


@pytest.mark.parametrize("value", [2.5, math.inf, math.nan, -1e300, "1", None, 2**63, -(2**63) - 1])
def test_an_integer_of_more_than_64_bits_is_an_error_at_once(value: Any) -> None:
    with pytest.raises(MisfitError):
        check_int64(value)
    assert fits_int64(2**63 - 1)
    assert fits_int64(-(2**63))
