"""Metrics are stored in one row per point in time, one column per metric, exactly as they were logged."""

from __future__ import annotations

import enum
import math
import sqlite3
from datetime import date, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest

from sqltrack import Run, run_add_metrics
from sqltrack.engines.json import Jsonb
from sqltrack.errors import UnusableValueError
from support.connections import on_one_connection
from support.metrics import logged, rows_as_dicts, same

pytestmark = pytest.mark.also_on("duckdb")

TIME = datetime(2024, 5, 7, 12, 30, 15, 123456, tzinfo=timezone(timedelta(hours=2)))


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


def test_values_come_back_as_they_were_logged(run: Run) -> None:
    run.add_metrics({f"value {number}": value for number, value in enumerate(VALUES)})
    (row,) = rows_as_dicts(run)
    assert len(row) == 3 + len(VALUES)
    for number, value in enumerate(VALUES):
        stored = row[f"value {number}"]
        assert type(stored) is type(value) or math.isnan(value), value
        assert same(stored, value), value


def test_special_numbers_stay_apart(run: Run) -> None:
    """NaN, infinities, zeros and missing values stay distinct, and `= 'NaN'` finds a NaN on both engines."""
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


def test_names_are_those_of_their_columns(run: Run) -> None:
    with on_one_connection(run.client):
        for step in range(3):
            for name in NAMES:
                run.add_metrics({name: step + 0.5}, step=step)
        for name in NAMES:
            assert logged(run, name) == [0.5, 1.5, 2.5], name
        description = run.client.execute("SELECT * FROM metrics").description or ()
    assert [column[0] for column in description] == ["run_id", "step", "progress", *NAMES]


@pytest.mark.parametrize("name", ["", "a\0b", "\udc80", 5, None])
def test_a_name_that_cannot_be_stored_is_refused_and_nothing_is_stored(run: Run, name: Any) -> None:
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
    run.add_metrics({"value": value}, step=np.int64(1))  # type: ignore[arg-type]
    assert logged(run, "value") == [plain]
    assert type(logged(run, "value")[0]) is type(plain)


def test_numbers_of_other_libraries_are_recognised_by_item(run: Run) -> None:
    """An object whose method item() returns a number is a number."""

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
def test_instances_of_subclasses_are_stored_like_their_base(run: Run, value: Any, plain: Any) -> None:
    run.add_metrics({"value": value})
    assert logged(run, "value") == [plain]
    assert type(logged(run, "value")[0]) is type(plain)


def test_no_metrics_still_mark_the_point_in_time(run: Run) -> None:
    run.add_metrics({}, step=7)
    assert run.client.execute("SELECT run_id, step, progress FROM metrics").fetchall() == [(run.id, 7, 0.0)]


def test_columns_made_by_the_user_are_used(run: Run) -> None:
    run.client.execute("ALTER TABLE metrics ADD COLUMN loss FLOAT")
    run.client.execute("ALTER TABLE metrics ADD COLUMN started TIMESTAMP WITH TIME ZONE")
    run.add_metrics({"loss": 1, "started": TIME})
    assert (logged(run, "loss"), logged(run, "started")) == ([1.0], [TIME])


def test_however_many_sets_of_names_there_are_each_goes_to_its_columns(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sqltrack._metric_plans._MAX_PLANS", 3)
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
    # The new column was rolled back as well, and this must be noticed.
    run.add_metrics({"loss": 2.0, "new": 2.0}, step=2)
    assert logged(run, "new") == [None, 2.0]


def test_infinity_is_no_big_number_for_other_programs(run: Run, engine_name: str, config: dict[str, Any]) -> None:
    run.add_metrics({"loss": math.inf})
    if engine_name == "sqlite":
        connection = sqlite3.connect(config["dbpath"])
        assert connection.execute("SELECT loss, typeof(loss) FROM metrics").fetchall() == [(math.inf, "real")]
        connection.close()
    assert run.client.execute("SELECT count(*) FROM metrics WHERE loss > 1.7e308").fetchone() == (1,)
