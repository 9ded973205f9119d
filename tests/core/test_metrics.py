"""Metrics are stored in one row per point in time, one column per metric, exactly as they were logged."""

from __future__ import annotations

import enum
import math
import multiprocessing
import sqlite3
import time
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

import sqltrack
from sqltrack import Experiment, Run, run_add_metrics, run_add_metrics_many
from sqltrack._metric_rows import MetricsRow
from sqltrack.engines.json import Jsonb
from sqltrack.errors import DatabaseError, MissingRunError, UnusableValueError
from sqltrack.quoting import quote_identifier

TIME = datetime(2024, 5, 7, 12, 30, 15, 123456, tzinfo=timezone(timedelta(hours=2)))


def logged(run: Run, name: str) -> list[Any]:
    """Values of a metric in the order of steps."""
    column = quote_identifier(name).replace("%", "%%")
    result = run.client.execute(f"SELECT {column} FROM metrics WHERE run_id = %s ORDER BY step, progress", (run.id,))
    return [value for (value,) in result]


def stored_value(run: Run, name: str, step: int = 0) -> Any:
    """Value of a metric, wherever it is stored."""
    cursor = run.client.execute("SELECT * FROM metrics WHERE run_id = %s AND step = %s", (run.id, step))
    row = dict(zip((column[0] for column in cursor.description or ()), cursor.fetchone()))
    return (row.get("extras") or {}).get(name, row.get(name) if name not in RESERVED else None)


RESERVED = ("run_id", "step", "progress", "extras")


def same(stored: Any, value: Any) -> bool:
    """Whether a stored value is the one that was logged; SQLite keeps NaN as text."""
    if isinstance(value, float) and math.isnan(value):
        return bool(stored == "NaN" or math.isnan(stored))
    return bool(stored == value)


def test_metrics_of_one_point_in_time_share_a_row(run: Run) -> None:
    assert run.add_metrics({"loss": 1.0, "top1": 0.5}, step=1) is run
    run.add_metrics({"loss": 2.0}, step=1)
    run.add_metrics({"loss": 3.0}, step=1, progress=0.5)
    run_add_metrics(run.client, run.id, {"top1": 0.75}, 2)
    rows = run.client.execute("SELECT step, progress, loss, top1 FROM metrics ORDER BY step, progress").fetchall()
    assert rows == [(1, 0.0, 2.0, 0.5), (1, 0.5, 3.0, None), (2, 0.0, None, 0.75)]


VALUES = [
    *(0.1, -0.0, 5e-324, 1.7976931348623157e308, math.inf, -math.inf, math.nan),
    *(0, -1, 2**53 + 1, 2**63 - 1, -(2**63)),
    *(True, False, "text", "", "NaN", "007", b"\0\xff", b""),
    *(date(2024, 5, 7), TIME, timedelta(days=1, microseconds=1), timedelta(seconds=-1.5)),
    *({"a": [1, None]}, [1, "x"]),
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_comes_back_as_it_was_logged(run: Run, value: Any) -> None:
    """DESIGN 5."""
    run.add_metrics({"value": value})
    (stored,) = logged(run, "value")
    assert type(stored) is type(value) or math.isnan(value)
    assert same(stored, value)


def test_special_numbers_stay_apart(run: Run) -> None:
    """DESIGN 5."""
    values = [math.nan, math.inf, -math.inf, None, -0.0, 0.0, 5e-324]
    for step, value in enumerate(values):
        run.add_metrics({"value": value}, step=step)
    stored = logged(run, "value")
    assert all(same(a, b) for a, b in zip(stored, values, strict=True))
    found = run.client.execute("SELECT step FROM metrics WHERE value = 'NaN'").fetchall()
    assert found == [(0,)]
    assert run.client.execute("SELECT step FROM metrics WHERE value = %s", (math.nan,)).fetchall() == found


NAMES = [
    *("val/loss", "mean@1", "MAP@k", "timing(s)/gen", "a b", 'a"b', "a'b", "a%b", "a%sb", "%(x)s", "a:b", "a?b", "$1"),
    *("select", "ünïcode", "🔥", "a.b", "a;b", "-- x", "/* x */", "a\\b", "a\nb", "[x]", "`x`", " ", "1", "x" * 60),
    *(
        "%",
        "%%",
        "%s",
        "a,b",
        "(a)",
        "{a}",
        "a=b",
        "a\tb",
        "\ufeffa",
        "e\u0301",
        "null",
        "true",
        "*",
        "'",
        '"',
        "a" * 63,
    ),
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_the_name_of_the_column(run: Run, name: str) -> None:
    """DESIGN 5."""
    for step in range(3):
        run.add_metrics({name: step + 0.5}, step=step)
    assert logged(run, name) == [0.5, 1.5, 2.5]
    description = run.client.execute("SELECT * FROM metrics").description or ()
    assert [column[0] for column in description] == ["run_id", "step", "progress", name]


@pytest.mark.parametrize("name", ["", "a\0b", "\udc80", 5, None])
def test_a_name_that_cannot_be_stored_is_refused_and_nothing_is_stored(run: Run, name: Any) -> None:
    """DESIGN 5."""
    with pytest.raises(UnusableValueError, match="name of a metric"):
        run.add_metrics({"good": 1.0, name: 1.0})
    assert run.client.execute("SELECT * FROM metrics").fetchall() == []


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.float16(0.5), 0.5),
        (np.float32(0.5), 0.5),
        (np.float64(0.1), 0.1),
        (np.longdouble(0.5), 0.5),
        (np.int8(-3), -3),
        (np.uint64(3), 3),
        (np.bool_(True), True),
        (np.array(2.5), 2.5),
        (np.array([3]), 3),
        ((1, 2), [1, 2]),
    ],
    ids=repr,
)
def test_numpy_scalars_are_numbers(run: Run, value: Any, plain: Any) -> None:
    """DESIGN 5."""
    run.add_metrics({"value": value}, step=np.int64(1))  # type: ignore[arg-type]
    assert logged(run, "value") == [plain]
    assert type(logged(run, "value")[0]) is type(plain)


def test_numbers_of_other_libraries_are_recognised_by_item(run: Run) -> None:
    """DESIGN 5."""

    class Tensor:
        def item(self) -> float:
            return 0.25

    run.add_metrics({"loss": Tensor()})
    assert logged(run, "loss") == [0.25]


class Kind(str, enum.Enum):
    FIRST = "first"


class Size(enum.IntEnum):
    BIG = 3


class Day(date):
    pass


class Moment(datetime):
    pass


class Span(timedelta):
    pass


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Kind.FIRST, "first"),
        (Size.BIG, 3),
        (Day(2024, 5, 7), date(2024, 5, 7)),
        (Moment(2024, 5, 7, 12, 30, 15, 123456, tzinfo=TIME.tzinfo), TIME),
        (Span(days=1, seconds=2, microseconds=3), timedelta(days=1, seconds=2, microseconds=3)),
        (Jsonb([1, {"a": None}]), [1, {"a": None}]),
    ],
    ids=repr,
)
def test_instances_of_subclasses_are_stored_as_what_they_are(run: Run, value: Any, plain: Any) -> None:
    run.add_metrics({"value": value})
    assert logged(run, "value") == [plain]
    assert type(logged(run, "value")[0]) is type(plain)


@pytest.mark.parametrize("value", [np.array([1.0, 2.0]), object(), 1j, np.complex64(1j), np.clongdouble(1 + 2j)])
def test_a_value_that_is_no_metric_is_refused_by_name(run: Run, value: Any) -> None:
    with pytest.raises(ValueError, match="metric 'loss'"):
        run.add_metrics({"top1": 0.5, "loss": value})
    assert run.client.execute("SELECT * FROM metrics").fetchall() == []


def test_steps_are_integers_and_progress_a_number(run: Run) -> None:
    run.add_metrics({"loss": 1.0}, step=3.0, progress=1)  # type: ignore[arg-type]
    assert run.client.execute("SELECT step, progress FROM metrics").fetchall() == [(3, 1.0)]
    for step in (0.5, "1", None, math.nan):
        with pytest.raises(ValueError, match="step must be an integer"):
            run.add_metrics({"loss": 1.0}, step=step)  # type: ignore[arg-type]
    for progress in ("x", None, math.nan):
        with pytest.raises(ValueError, match="progress must be a number"):
            run.add_metrics({"loss": 1.0}, progress=progress)  # type: ignore[arg-type]


def test_no_metrics_still_mark_the_point_in_time(run: Run) -> None:
    run.add_metrics({}, step=7)
    assert run.client.execute("SELECT run_id, step, progress FROM metrics").fetchall() == [(run.id, 7, 0.0)]


def test_columns_made_by_the_user_are_used(run: Run) -> None:
    run.client.execute("ALTER TABLE metrics ADD COLUMN loss FLOAT")
    run.client.execute("ALTER TABLE metrics ADD COLUMN started TIMESTAMP WITH TIME ZONE")
    run.add_metrics({"loss": 1, "started": TIME})
    assert (logged(run, "loss"), logged(run, "started")) == ([1.0], [TIME])


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
    """The server itself would round them to 15 digits, and knows infinities in such a column only since version 14."""
    run.client.execute("ALTER TABLE metrics ADD COLUMN value NUMERIC")
    values = [0.1, 1 / 3, 1e300, 5e-324, -0.5, math.inf]
    for step, value in enumerate(values):
        run.add_metrics({"value": value}, step=step)
    run.add_metrics({"value": math.nan}, step=len(values))
    rows = run.client.execute("SELECT value, extras FROM metrics ORDER BY step").fetchall()
    assert [float(value) for value, _ in rows[:-2]] == values[:-1]
    assert rows[-2] == (None, {"value": "Infinity"})
    assert math.isnan(rows[-1][0])


def test_however_many_sets_of_names_there_are_each_goes_to_its_columns(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sqltrack.metrics._MAX_PLANS", 3)
    sets = [dict.fromkeys(names, index + 0.5) for index, names in enumerate(["a", "ab", "bc", "abc", "c"] * 2)]
    for step, metrics in enumerate(sets):
        run.add_metrics(metrics, step=step)
    for name in "abc":
        assert logged(run, name) == [metrics.get(name) for metrics in sets]


def test_metrics_inside_a_block_are_part_of_its_transaction(run: Run) -> None:
    run.add_metrics({"loss": 0.0}, step=0)
    with pytest.raises(ZeroDivisionError), run.client:
        run.add_metrics({"loss": 1.0, "new": 1.0}, step=1)
        raise ZeroDivisionError
    assert logged(run, "loss") == [0.0]
    # The new column was rolled back as well, which must be noticed.
    run.add_metrics({"loss": 2.0, "new": 2.0}, step=2)
    assert logged(run, "new") == [None, 2.0]


def test_infinity_is_no_big_number_for_other_programs(run: Run, engine_name: str, config: dict[str, Any]) -> None:
    run.add_metrics({"loss": math.inf})
    if engine_name == "sqlite":
        connection = sqlite3.connect(config["dbpath"])
        assert connection.execute("SELECT loss, typeof(loss) FROM metrics").fetchall() == [(math.inf, "real")]
        connection.close()
    assert run.client.execute("SELECT count(*) FROM metrics WHERE loss > 1.7e308").fetchone() == (1,)


def _log_in_process(config: dict[str, Any], run_id: int, barrier: Any) -> None:
    client = sqltrack.Client(config)
    run = Run(client, run_id=run_id)
    barrier.wait()
    with run.track():
        for step in range(20):
            run.add_metrics({"loss": step / 2, f"metric {step % 5}": 1.0}, step=step)


def test_many_processes_add_the_same_columns_at_once(config: dict[str, Any]) -> None:
    """DESIGN 5."""
    experiment = Experiment(sqltrack.Client(config), name="many")
    runs = [experiment.get_run() for _ in range(6)]
    run_processes(_log_in_process, config, [run.id for run in runs])
    for run in runs:
        assert logged(run, "loss") == [step / 2 for step in range(20)]
    description = run.client.execute("SELECT * FROM metrics").description or ()
    names = [column[0] for column in description]
    assert sorted(names[3:]) == ["loss", *(f"metric {i}" for i in range(5))]


# -- metrics that cannot be columns -----------------------------------------------------------------------------------


def test_names_that_differ_only_by_case_stay_apart(run: Run) -> None:
    """DESIGN 5."""
    for step in range(3):
        run.add_metrics({"loss": step + 0.1, "Loss": step + 0.2, "LOSS": step + 0.3}, step=step)
        assert [stored_value(run, name, step) for name in ("loss", "Loss", "LOSS")] == [
            step + 0.1,
            step + 0.2,
            step + 0.3,
        ]


def test_names_that_are_equal_in_their_first_63_bytes_stay_apart(run: Run) -> None:
    """DESIGN 5."""
    names = ["x" * 63, "x" * 64, "x" * 63 + "y", "ü" * 31 + "ab", "ü" * 31 + "ac", "n" * 1000]
    run.add_metrics({name: float(number) for number, name in enumerate(names)})
    assert [stored_value(run, name) for name in names] == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]


@pytest.mark.parametrize("name", [*RESERVED, "ctid", "xmin", "tableoid", "rowid", "oid", "RUN_ID"])
def test_names_that_the_database_uses_itself_can_be_metrics(run: Run, name: str) -> None:
    """DESIGN 5."""
    for value in (0.5, 1.5):
        run.add_metrics({name: value, "loss": value}, step=3)
        assert stored_value(run, name, 3) == value
    assert run.client.execute("SELECT run_id, step, progress, loss FROM metrics").fetchall() == [(run.id, 3, 0.0, 1.5)]


def test_extras_appear_only_once_they_are_needed_and_warn_once(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    """DESIGN 4, 5."""
    run.add_metrics({"loss": 1.0})
    description = run.client.execute("SELECT * FROM metrics").description or ()
    assert [column[0] for column in description] == ["run_id", "step", "progress", "loss"]
    for step in range(5):
        run.add_metrics({"run_id": 1.0, "step": 2.0}, step=step)
        run.add_metrics({"run_id": 1.0}, step=step)
    messages = [record.getMessage() for record in caplog.records]
    assert sorted(message.split("'")[1] for message in messages) == ["run_id", "step"]


def test_extras_of_a_row_are_merged(run: Run) -> None:
    run.add_metrics({"run_id": 1.0, "loss": 0.5})
    run.add_metrics({"step": 2.0, "run_id": None})
    run.add_metrics({"loss": 0.25})
    rows = run.client.execute("SELECT loss, extras FROM metrics").fetchall()
    assert rows == [(0.25, {"run_id": None, "step": 2.0})]


def test_a_run_may_have_more_metrics_than_a_row_has_room_for(run: Run) -> None:
    """DESIGN 5: 2,261 metrics in one call, as seen in practice."""
    metrics = {f"metric/{number}": number + 0.5 for number in range(2261)}
    for _ in range(2):
        run.add_metrics(metrics, step=1)
        (row,) = rows_as_dicts(run)
        assert {**row, **row["extras"]}.items() >= metrics.items()
    assert len(rows_as_dicts(run)[0]["extras"]) < 2261


def test_a_table_may_meet_more_names_than_it_has_room_for(run: Run) -> None:
    """DESIGN 5: 2,500 names over time."""
    for step in range(25):
        run.add_metrics({f"m{step}/{number}": step + number / 100 for number in range(100)}, step=step)
    for step, row in enumerate(rows_as_dicts(run)):
        found = {**row, **(row["extras"] or {})}
        assert all(found[f"m{step}/{number}"] == step + number / 100 for number in range(100))


def rows_as_dicts(run: Run) -> list[dict[str, Any]]:
    cursor = run.client.execute("SELECT * FROM metrics ORDER BY step")
    names = [column[0] for column in cursor.description or ()]
    return [dict(zip(names, row)) for row in cursor]


# -- types ------------------------------------------------------------------------------------------------------------


def test_a_metric_may_change_its_type(run: Run) -> None:
    """DESIGN 5: nothing is refused, nothing is rounded."""
    values = [1, 0.5, "text", True, math.nan, 2**40, None, 2**53 + 1, [1], b"x", 10**30]
    for step, value in enumerate(values):
        run.add_metrics({"value": value}, step=step)
    expected = [*values[:9], "b'x'", 10**30]
    for step, value in enumerate(expected):
        assert same(stored_value(run, "value", step), value), value


@pytest.mark.engines("postgres")
@pytest.mark.parametrize(("declared", "value"), [("SMALLINT", 2**15), ("INTEGER", -(2**31) - 1), ("BIGINT", 2**63)])
def test_a_narrow_column_of_the_user_alters_and_refuses_nothing(run: Run, declared: str, value: int) -> None:
    run.client.execute(f"ALTER TABLE metrics ADD COLUMN n {declared}")
    run.add_metrics({"n": -1}, step=0)
    run.add_metrics({"n": value}, step=1)
    assert logged(run, "n") == [-1, None]
    assert stored_value(run, "n", 1) == value


@pytest.mark.engines("postgres")
def test_a_column_of_a_big_table_is_not_widened(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sqltrack.engines.postgres._metrics._MAX_REWRITTEN_BYTES", 0)
    run.add_metrics({"n": 1}, step=0)
    run.add_metrics({"n": 0.5}, step=1)
    assert logged(run, "n") == [1, None]
    assert stored_value(run, "n", 1) == 0.5


def test_an_integer_column_of_the_user_keeps_fractions(run: Run) -> None:
    """DESIGN 5."""
    run.client.execute("ALTER TABLE metrics ADD COLUMN n INTEGER")
    run.add_metrics({"n": 2}, step=0)
    run.add_metrics({"n": 0.5}, step=1)
    run.add_metrics({"n": 2**40}, step=2)
    assert logged(run, "n") == [2, 0.5, 2**40]


def test_a_column_with_integers_that_floats_would_round_is_not_widened(run: Run) -> None:
    """DESIGN 5."""
    run.add_metrics({"n": 2**53 + 1}, step=0)
    run.add_metrics({"n": 0.5}, step=1)
    assert (stored_value(run, "n", 0), stored_value(run, "n", 1)) == (2**53 + 1, 0.5)


def test_exact_decimals_are_numbers_and_others_keep_their_digits(run: Run) -> None:
    run.add_metrics({"a": Decimal("0.5"), "b": Decimal("0.1")})
    assert stored_value(run, "a") == 0.5
    assert Decimal(str(stored_value(run, "b"))) == Decimal("0.1")


@pytest.mark.parametrize("value", ["a\0b", "\udc80", 2**63, -(2**63) - 1, 10**400])
def test_a_value_that_its_column_cannot_hold_goes_elsewhere(run: Run, value: Any) -> None:
    """DESIGN 5."""
    run.add_metrics({"value": type(value)(1), "loss": 0.5}, step=0)
    run.add_metrics({"value": value, "loss": 0.25}, step=1)
    escaped = {"a\0b": "a\\x00b", "\udc80": "\\udc80"}.get(value, value) if isinstance(value, str) else value
    stored = stored_value(run, "value", 1)
    assert stored in (value, escaped)
    assert logged(run, "loss") == [0.5, 0.25]


@pytest.mark.parametrize("value", [2**53 + 1, 10**400])
def test_an_integer_that_a_float_would_alter_goes_elsewhere(run: Run, value: int) -> None:
    """DESIGN 5."""
    run.add_metrics({"value": 0.5}, step=0)
    run.add_metrics({"value": value}, step=1)
    assert (stored_value(run, "value", 0), stored_value(run, "value", 1)) == (0.5, value)


# -- a table that others change ---------------------------------------------------------------------------------------


def test_columns_that_others_drop_or_change_meanwhile_are_noticed(run: Run, config: dict[str, Any]) -> None:
    other = sqltrack.Client(config)
    with run.track():
        run.add_metrics({"a": 1.0, "b": 1.0}, step=0)
        other.execute("ALTER TABLE metrics DROP COLUMN a")
        run.add_metrics({"a": 2.0, "b": 2.0}, step=1)
        other.execute("ALTER TABLE metrics RENAME COLUMN b TO c")
        run.add_metrics({"a": 3.0, "b": 3.0}, step=2)
    assert (logged(run, "a"), logged(run, "b"), logged(run, "c")) == (
        [None, 2.0, 3.0],
        [None, None, 3.0],
        [1.0, 2.0, None],
    )


def test_so_they_are_where_many_rows_are_added(run: Run, config: dict[str, Any]) -> None:
    rows = [{"step": step, "a": step + 0.5, "b": 1.0} for step in range(4)]
    with run.track():
        run.add_metrics_many(rows[:2])
        sqltrack.Client(config).execute("ALTER TABLE metrics DROP COLUMN a")
        run.add_metrics_many(rows[2:])
    assert [stored_value(run, "a", step) for step in range(4)] == [None, None, 2.5, 3.5]
    assert logged(run, "b") == [1.0] * 4


@pytest.mark.parametrize("many", [False, True])
def test_a_constraint_of_the_users_own_is_told_as_such(run: Run, many: bool) -> None:
    run.client.execute("ALTER TABLE metrics ADD COLUMN positive FLOAT CHECK (positive > 0)")
    with pytest.raises(DatabaseError, match="(?i)check constraint"):
        if many:
            run.add_metrics_many([{"step": 0, "positive": 1.0}, {"step": 1, "positive": -1.0}])
        else:
            run.add_metrics({"positive": -1.0})
    assert run.client.execute("SELECT * FROM metrics").fetchall() == []


REFUSING = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not now'; END $$;
CREATE TRIGGER refuse BEFORE DELETE ON metrics_pending EXECUTE FUNCTION refuse();
"""


@pytest.mark.engines("postgres")
def test_metrics_that_wait_for_a_column_may_go_on_to_wait_when_the_run_ends(
    run: Run, config: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with run.track():
        with sqltrack.Client(config) as reader:
            reader.execute("SELECT * FROM metrics")
            run.add_metrics({"new": 1.0})
        run.client.executescript(REFUSING)
    run.start().stop()
    assert run.client.execute("SELECT status FROM runs").fetchone() == ("COMPLETED",)
    assert run.client.execute("SELECT extras FROM metrics_pending").fetchone() == ({"new": 1.0},)
    warnings = [record.getMessage() for record in caplog.records if "wait in another table" in record.getMessage()]
    assert ["not now" in warning for warning in warnings] == [True]
    run.client.execute("DROP TRIGGER refuse ON metrics_pending")
    run.start().stop()
    assert stored_value(run, "new") == 1.0


def test_new_metrics_of_many_rows_wait_as_well(run: Run, config: dict[str, Any]) -> None:
    rows = [{"step": step, "loss": 1.0, "new": step + 0.5} for step in range(3)]
    run.add_metrics({"loss": 0.0}, step=0)
    with run.track():
        with sqltrack.Client(config).cursor() as cursor:
            cursor.execute("SELECT * FROM metrics")
            run.add_metrics_many(rows)
        assert logged(run, "loss") == [1.0] * 3
    assert [stored_value(run, "new", step) for step in range(3)] == [0.5, 1.5, 2.5]


def test_a_column_that_holds_values_is_not_dropped_as_empty(run: Run, config: dict[str, Any]) -> None:
    table, client = run.client.engine.metrics_table, run.client
    run.add_metrics({"full": 1.0, "empty": None, "viewed": None})
    client.execute("CREATE VIEW viewing AS SELECT metrics.viewed FROM metrics")
    assert client.call(lambda connection: table.drop_empty(connection, "full")) is False
    assert client.call(lambda connection: table.drop_empty(connection, "empty")) is True
    with client.keeping_connections():
        with pytest.raises(DatabaseError, match="viewing"):
            client.call(lambda connection: table.drop_empty(connection, "viewed"))
        # The connection, which is kept, holds no lock.
        sqltrack.Client(config, busy_timeout=0).execute("UPDATE metrics SET viewed = 2.0")
    assert rows_as_dicts(run) == [{"run_id": run.id, "step": 0, "progress": 0.0, "full": 1.0, "viewed": 2.0}]


@pytest.mark.engines("postgres")
def test_metrics_that_wait_for_a_column_do_not_hold_every_block_up(
    run: Run, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """DESIGN 5: no call waits for long, so who has waited in vain does not try again at once."""
    table = run.client.engine.metrics_table
    grown: list[bool] = []

    def grow(*arguments: Any) -> bool:
        grown.append(type(table).grow(table, *arguments))
        return grown[-1]

    monkeypatch.setattr("sqltrack.metrics._GROWING_PAUSE", 1000.0)
    monkeypatch.setattr(table, "grow", grow)
    with run.track():
        with sqltrack.Client(config) as reader:
            reader.execute("SELECT * FROM metrics")
            for step in range(5):
                with run.client:
                    run.add_metrics({"new": step + 0.5}, step=step)
                run.client.execute("SELECT 1")
        assert grown == [False]
    assert grown == [False, True]
    assert [stored_value(run, "new", step) for step in range(5)] == [step + 0.5 for step in range(5)]


def test_columns_that_others_add_meanwhile_are_used(run: Run, config: dict[str, Any]) -> None:
    with run.track():
        run.add_metrics({"a": 1.0}, step=0)
        sqltrack.Client(config).execute("ALTER TABLE metrics ADD COLUMN b FLOAT")
        run.add_metrics({"b": 1.0}, step=1)
    assert logged(run, "b") == [None, 1.0]


def test_new_metrics_in_a_block_become_columns_if_that_is_possible(run: Run) -> None:
    with run.client:
        run.add_metrics({"a": 1.0}, step=0)
        run.add_metrics({"a": 2.0, "b": 2.0}, step=1)
        run.add_metrics({"b": 3.0, "c": 3.0}, step=2)
    assert logged(run, "a") == [1.0, 2.0, None]
    assert [stored_value(run, "b", step) for step in range(3)] == [None, 2.0, 3.0]
    assert [stored_value(run, "c", step) for step in range(3)] == [None, None, 3.0]


def test_somebody_who_reads_the_table_stops_nobody(run: Run, config: dict[str, Any], engine_name: str) -> None:
    """DESIGN 5, FACTS 3: known metrics go on, new ones wait for a moment and go elsewhere, nothing is lost."""
    run.add_metrics({"loss": 0.0}, step=0)
    reader = sqltrack.Client(config)
    slowest: dict[str, float] = {}

    def timed(kind: str, metrics: dict[str, Any], step: int) -> None:
        start = time.monotonic()
        run.add_metrics(metrics, step=step)
        slowest[kind] = max(slowest.get(kind, 0.0), time.monotonic() - start)

    with run.track():
        with reader.cursor() as cursor:
            cursor.execute("SELECT * FROM metrics")
            for step in range(1, 6):
                timed("known", {"loss": float(step)}, step)
                timed("new", {"loss": float(step), "new": step + 0.5}, step)
                timed("known", {"loss": float(step)}, step)
        assert slowest["known"] < 1.5
        assert slowest["new"] < 4
    assert logged(run, "loss") == [float(step) for step in range(6)]
    assert [stored_value(run, "new", step) for step in range(1, 6)] == [step + 0.5 for step in range(1, 6)]
    if engine_name == "postgres":
        assert run.client.execute("SELECT count(*) FROM metrics_pending").fetchone() == (0,)


# -- many at once -----------------------------------------------------------------------------------------------------


def test_rows_are_added_by_the_thousand(run: Run) -> None:
    rows = [{"step": step, "loss": step / 2, "top1": None if step % 2 else 0.5} for step in range(3000)]
    rows += [{"progress": 0.5, "loss": math.nan, "run_id": 1}]
    assert run.add_metrics_many(reversed(rows)) is run
    assert len(logged(run, "loss")) == 3001
    assert same(run.client.execute("SELECT loss FROM metrics WHERE progress = 0.5").fetchone()[0], math.nan)
    run_add_metrics_many(run.client, run.id, [{"step": 7, "loss": -1.0}])
    assert stored_value(run, "loss", 7) == -1.0
    assert stored_value(run, "top1", 6) == 0.5


def test_rows_are_added_all_or_none(run: Run) -> None:
    with pytest.raises(ValueError, match="each row needs 'step' or 'progress'"):
        run.add_metrics_many([{"step": 1, "loss": 1.0}, {"loss": 2.0}])
    with pytest.raises(ValueError, match="metric 'loss'"):
        run.add_metrics_many([{"step": 1, "loss": 1.0}, {"step": 2, "loss": object()}])
    assert run.client.execute("SELECT count(*) FROM metrics").fetchone() == (0,)
    run.client.execute("DELETE FROM runs")
    with pytest.raises(MissingRunError):
        run.add_metrics_many([{"step": 1, "loss": 1.0}])


@pytest.mark.parametrize("many", [False, True])
def test_a_missing_run_is_named_inside_of_a_block_too_which_can_go_on(
    client: sqltrack.Client, run: sqltrack.Run, many: bool
) -> None:
    run.add_metrics({"loss": 1.0}, step=0)
    with client:
        with pytest.raises(MissingRunError, match="no run with id 4711"):
            if many:
                sqltrack.run_add_metrics_many(client, 4711, [{"step": 1, "loss": 2.0}])
            else:
                sqltrack.run_add_metrics(client, 4711, {"loss": 2.0}, step=1)
        run.add_metrics({"loss": 3.0}, step=1)
    assert client.execute("SELECT run_id, loss FROM metrics ORDER BY step").fetchall() == [(run.id, 1.0), (run.id, 3.0)]


def test_copies_of_rows_need_their_run_as_well(client: sqltrack.Client) -> None:
    with pytest.raises(MissingRunError, match="no run with id 4711; it may have been deleted"):
        client.metrics.add_copies(4711, [MetricsRow(0, 0.0, {"loss": 1.0}, {})])
    assert client.execute("SELECT * FROM metrics").fetchall() == []


def test_rows_that_are_too_big_are_added_as_well(run: Run) -> None:
    rows = [{"step": step, **{f"m{number}": number + 0.5 for number in range(1200)}} for step in range(3)]
    run.add_metrics_many(rows)
    for row in rows_as_dicts(run):
        found = {**row, **(row.get("extras") or {})}
        assert all(found[f"m{number}"] == number + 0.5 for number in range(1200))


def _log_new_names_in_process(config: dict[str, Any], run_id: int, barrier: Any) -> None:
    client = sqltrack.Client(config)
    run = Run(client, run_id=run_id)
    barrier.wait()
    with run.track():
        for step in range(25):
            run.add_metrics({"loss": step / 2, f"metric {(step * 7 + run_id) % 60}": step + 0.25}, step=step)


def test_nothing_is_lost_while_processes_keep_adding_new_names(config: dict[str, Any]) -> None:
    """DESIGN 5."""
    experiment = Experiment(sqltrack.Client(config), name="many")
    runs = [experiment.get_run() for _ in range(16)]
    run_processes(_log_new_names_in_process, config, [run.id for run in runs])
    for run in runs:
        for step in range(25):
            assert stored_value(run, "loss", step) == step / 2
            assert stored_value(run, f"metric {(step * 7 + run.id) % 60}", step) == step + 0.25
    description = run.client.execute("SELECT * FROM metrics").description or ()
    names = [column[0] for column in description]
    assert len(names) == len(set(names))


def _log_in_process_many(config: dict[str, Any], run_id: int, barrier: Any) -> None:
    run = Run(sqltrack.Client(config), run_id=run_id)
    barrier.wait()
    with run.track():
        for step in range(200):
            run.add_metrics({"loss": step / 2}, step=step)


def test_32_writers_and_a_reader_lose_nothing(config: dict[str, Any]) -> None:
    """DESIGN 8: 32 processes with 200 rows each."""
    client = sqltrack.Client(config)
    experiment = Experiment(client, name="many")
    runs = [experiment.get_run() for _ in range(32)]
    counts: list[int] = []
    run_processes(
        _log_in_process_many,
        config,
        [run.id for run in runs],
        meanwhile=lambda: counts.append(client.execute("SELECT count(*) FROM metrics").fetchone()[0]),
    )
    assert client.execute("SELECT count(*) FROM metrics").fetchone() == (6400,)
    assert counts == sorted(counts)


def run_processes(
    target: Any, config: dict[str, Any], run_ids: list[int], meanwhile: Callable[[], None] | None = None
) -> None:
    """Run a process per run, all beginning at once."""
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(len(run_ids))
    processes = [context.Process(target=target, args=(config, run_id, barrier)) for run_id in run_ids]
    for process in processes:
        process.start()
    while any(process.is_alive() for process in processes):
        if meanwhile is not None:
            meanwhile()
        processes[0].join(0.05)
    assert [process.exitcode for process in processes] == [0] * len(processes)
