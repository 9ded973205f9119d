"""Any object given as a metric is stored exactly, in its documented form, or as missing; steps are integers."""

from __future__ import annotations

import collections
import dataclasses
import enum
import ipaddress
import math
import unittest.mock
import uuid
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from psycopg.types.json import Json as PsycopgJson

from sqltrack import Run, _metric_values
from sqltrack.errors import UnusableValueError
from support.metrics import logged, rows_as_dicts, stored_value

pytestmark = pytest.mark.also_on("duckdb")

UTC_TIME = datetime(2024, 1, 2, 3, 4, 5, tzinfo=timezone.utc)


class Eager:
    """A tensor as in TensorFlow."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def numpy(self) -> Any:
        return np.asarray(self._value)


class OnlyFloat:
    def __float__(self) -> float:
        return 0.25


class OnlyIndex:
    def __index__(self) -> int:
        return 2**60 + 1


class OnlyItem:
    def item(self) -> np.float32:
        return np.float32(0.25)


class Precise:
    """A number with more digits than a float."""

    def __float__(self) -> float:
        return 0.1

    def __eq__(self, other: object) -> bool:
        return False

    def __hash__(self) -> int:
        return 0

    def __str__(self) -> str:
        return "0.1000000000000000000001"


class Level(enum.Enum):
    HALF = 0.5
    NAME = "name"


@dataclasses.dataclass
class Pair:
    a: int = 1


class Bare:
    pass


MISSING = [
    None,
    pd.NA,
    pd.NaT,
    np.datetime64("NaT"),
    np.timedelta64("NaT", "ns"),
    np.ma.masked,
    np.ma.array([1.0, 2.0], mask=[True, True]).mean(),
    np.ma.array(5.0, mask=True),
    pa.scalar(None, pa.float64()),
    pd.Series([1.0, None], dtype="Float64")[1],
]


NAIVE_TIMES = [
    UTC_TIME.replace(tzinfo=None),
    pd.Timestamp(UTC_TIME.replace(tzinfo=None)),
    np.datetime64("2024-01-02T03:04:05", "s"),
    np.datetime64("2024-01-02T03:04:05", "ns"),
    np.array("2024-01-02T03:04:05", dtype="datetime64[us]"),
    np.array([UTC_TIME.replace(tzinfo=None)], dtype=object),
    pa.scalar(UTC_TIME.replace(tzinfo=None)),
]


def test_a_time_without_a_time_zone_is_in_utc_whatever_its_type(run: Run) -> None:
    """Next to times with a zone, in a new column, in a batch and in rows of a data frame."""
    run.add_metrics({"time": UTC_TIME}, step=0)
    for step, value in enumerate(NAIVE_TIMES, start=1):
        run.add_metrics({"time": value, f"new{step}": value, "loss": 0.5}, step=step)
        assert stored_value(run, f"new{step}", step) == UTC_TIME, repr(value)
    frame = pd.DataFrame({"step": [20, 21], "time": [UTC_TIME.replace(tzinfo=None), None], "loss": [0.5, 0.5]})
    run.add_metrics_many(row for _, row in frame.iterrows())
    run.add_metrics_many([{"step": 22, "time": UTC_TIME.replace(tzinfo=None), "loss": 0.5}])
    times = [UTC_TIME] * (len(NAIVE_TIMES) + 2)
    assert logged(run, "time") == [*times, None, UTC_TIME]
    assert logged(run, "loss")[1:] == [0.5] * (len(NAIVE_TIMES) + 3)


def test_nanoseconds_without_a_time_zone_are_in_utc_too(run: Run) -> None:
    for step, value in enumerate([pd.Timestamp("2024-01-02 03:04:05.000000006"), np.datetime64(5, "ns")]):
        run.add_metrics({"time": value}, step=step)
    assert stored_value(run, "time", 0) == "2024-01-02 03:04:05.000000006+00:00"
    assert stored_value(run, "time", 1) == "1970-01-01 00:00:00.000000005+00:00"


def test_one_warning_tells_that_a_time_was_taken_for_utc(
    run: Run, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_metric_values, "_warned", set())
    for step in range(3):
        run.add_metrics({"time": UTC_TIME.replace(tzinfo=None), "other": UTC_TIME}, step=step)
    told = [record.getMessage() for record in caplog.records if "time zone" in record.getMessage()]
    assert len(told) == 1
    assert "2024-01-02 03:04:05" in told[0]


class NoOffset(tzinfo):
    def utcoffset(self, dt: datetime | None) -> timedelta | None:
        raise RuntimeError("no offset")

    def dst(self, dt: datetime | None) -> timedelta | None:
        return None


def test_a_time_whose_zone_fails_is_text_and_its_call_is_stored(run: Run) -> None:
    run.add_metrics({"time": datetime(2024, 1, 2, tzinfo=NoOffset()), "loss": 0.5})
    assert stored_value(run, "time", 0) == "2024-01-02 00:00:00"
    assert logged(run, "loss") == [0.5]


def test_missing_values_are_stored_as_missing(run: Run) -> None:
    for number, value in enumerate(MISSING):
        name, names = f"value{number}", f"list{number}"
        run.add_metrics({name: value, names: [value, 1]})
        found = run.client.execute(f"SELECT {name}, {names} FROM metrics WHERE step = 0").fetchone()
        assert found == (None, [None, 1]), repr(value)
        run.add_metrics({name: 0.5}, step=1)
        assert logged(run, name) == [None, 0.5], repr(value)
    assert "extras" not in rows_as_dicts(run)[0]


def test_a_masked_array_of_one_is_missing(run: Run) -> None:
    run.add_metrics({"value": np.ma.array([5], mask=[True])})
    assert logged(run, "value") == [None]


IN_COLUMNS = [
    (np.datetime64("2024-01-02T03:04:05.000000000"), UTC_TIME),
    (np.datetime64("2024-01-02T03:04:05"), UTC_TIME),
    (np.datetime64("2024-01-02T03", "h"), UTC_TIME.replace(minute=0, second=0)),
    (np.datetime64("2024-01-02"), date(2024, 1, 2)),
    (np.datetime64("2024-03", "M"), date(2024, 3, 1)),
    (np.array(["2024-01-02T03:04:05"], "datetime64[ns]"), UTC_TIME),
    (pd.Timestamp(UTC_TIME), UTC_TIME),
    (np.timedelta64(1_500_000, "ns"), timedelta(microseconds=1500)),
    (np.timedelta64(2, "W"), timedelta(weeks=2)),
    (pd.Timedelta("1s"), timedelta(seconds=1)),
    (np.longdouble(0.5), 0.5),
    (np.longdouble("nan"), "NaN"),
    (Eager(0.5), 0.5),
    (Eager([0.5]), 0.5),
    (Eager([0.5, 1.5]), [0.5, 1.5]),
    (OnlyFloat(), 0.25),
    (OnlyIndex(), 2**60 + 1),
    (OnlyItem(), 0.25),
    (pa.scalar(3), 3),
    (Fraction(1, 2), 0.5),
    (Fraction(6, 2), 3),
    (Decimal("0.5"), 0.5),
    (Decimal("sNaN"), "NaN"),
    (Level.HALF, 0.5),
    (Level.NAME, "name"),
    (np.array([1.0, 2.0]), [1.0, 2.0]),
    (np.array([[1], [2]]), [[1], [2]]),
    (np.array(["a", "b"]), ["a", "b"]),
    (pd.Series({"a": 1, "b": 2}), [1, 2]),
    (np.ma.array([1, 2], mask=[False, True]), [1, None]),
    (bytearray(b"x"), b"x"),
    (memoryview(b"x"), b"x"),
    ({3, 1}, [1, 3]),
    (collections.deque([1]), [1]),
    (Pair(), {"a": 1}),
    (PsycopgJson({"a": 1}), {"a": 1}),
]


def test_values_of_any_package_are_stored_with_their_own_type(run: Run) -> None:
    for number, (value, stored) in enumerate(IN_COLUMNS):
        run.add_metrics({f"value{number}": value})
        (found,) = logged(run, f"value{number}")
        assert ("NaN" if found != found else found) == stored, repr(value)
        assert type(found) is type(stored) or stored == "NaN", repr(value)
    assert "extras" not in rows_as_dicts(run)[0]


IN_EXTRAS = [
    (np.datetime64("2024-01-02T03:04:05.000000006"), "2024-01-02 03:04:05.000000006+00:00"),
    (np.datetime64("12024-01-02"), "12024-01-02"),
    (np.datetime64(2**60, "s"), "36534630048-05-13 13:56:16+00:00"),
    (pd.Timestamp("2024-01-02T03:04:05.000000006", tz="UTC"), "2024-01-02 03:04:05.000000006+00:00"),
    (np.timedelta64(6, "ns"), "6 nanoseconds"),
    (np.timedelta64(6, "M"), "6 months"),
    (np.timedelta64(2**60, "s"), f"{2**60} seconds"),
    (pd.Timedelta(6, "ns"), "0 days 00:00:00.000000006"),
    (np.longdouble("0.1"), "0.1"),
    (Precise(), "0.1000000000000000000001"),
    (Fraction(1, 3), "1/3"),
    (1j, "1j"),
    (np.complex64(1j), "1j"),
    (np.clongdouble(1 + 2j), "(1+2j)"),
    (10**5000, hex(10**5000)),
    (Decimal("1e200000"), "1E+200000"),
    (Decimal("1e-20000"), "1E-20000"),
    (PurePosixPath("/a"), "/a"),
    (uuid.UUID(int=5), str(uuid.UUID(int=5))),
    (time(1, 2), "01:02:00"),
    (ipaddress.ip_address("1.2.3.4"), "1.2.3.4"),
    (collections.UserString("a"), "a"),
    (Bare(), f"<{__name__}.Bare object>"),
    (Bare, f"<class '{__name__}.Bare'>"),
    (math.sqrt, "math.sqrt"),
    (unittest.mock.MagicMock(), "<MagicMock id='…'>"),
]


def test_values_that_no_column_holds_are_stored_as_in_arguments(run: Run) -> None:
    """They do not create a column that numbers could not use later, and other metrics are not affected."""
    for number, (value, stored) in enumerate(IN_EXTRAS):
        name, step = f"value{number}", 2 * number
        run.add_metrics({name: value, "loss": 1.5}, step=step)
        assert stored_value(run, name, step) == stored, stored[:99]
        run.add_metrics({name: 0.5}, step=step + 1)
        assert stored_value(run, name, step + 1) == 0.5, stored[:99]
        run.add_metrics({name: value}, step=step + 1)
        assert stored_value(run, name, step + 1) == stored, stored[:99]
        assert logged(run, "loss")[-2:] == [1.5, None], stored[:99]


@pytest.mark.engines("sqlite", "postgres", reason="an engine may leave old values in extras")
def test_the_last_value_of_a_row_is_the_one_that_is_read(run: Run) -> None:
    """A value that goes to extras replaces the value in its column."""
    run.add_metrics({"value": 0.5, "loss": 1.0})
    run.add_metrics({"value": "text"})
    (row,) = run.client.execute("SELECT value, loss, extras FROM metrics").fetchall()
    assert row == (None, 1.0, {"value": "text"})
    run.add_metrics({"other": "text"}, step=1)
    run.add_metrics({"value": None, "RUN_ID": 3.5}, step=0)
    rows = run.client.execute("SELECT value, extras FROM metrics ORDER BY step").fetchall()
    assert [value for value, _ in rows] == [None, None]
    assert "value" not in (rows[0][1] or {})
    run.add_metrics({"value": "%'\""}, step=1)
    run.add_metrics({"value": 0.25, "RUN_ID": 4.5, "%'\"": 1.5}, step=1)
    assert stored_value(run, "value", 1) == 0.25
    assert stored_value(run, "RUN_ID", 1) == 4.5
    assert stored_value(run, "other", 1) == "text"


@dataclasses.dataclass
class Metrics:
    loss: float = 0.5


Named = collections.namedtuple("Named", ["loss"])


NAMED = [
    pd.Series({"loss": 0.5}),
    Metrics(),
    Named(0.5),
    collections.UserDict(loss=0.5),
    pd.DataFrame({"loss": [0.5]}).loc[0],
]


def test_metrics_come_as_anything_with_names(run: Run) -> None:
    for step, metrics in enumerate(NAMED):
        run.add_metrics(metrics, step=step)
        assert logged(run, "loss") == [0.5] * (step + 1), repr(metrics)


def test_rows_of_a_data_frame_are_rows_of_metrics(run: Run) -> None:
    frame = pd.DataFrame({"step": [1, 2], "loss": [0.5, 0.25]})
    run.add_metrics_many(row for _, row in frame.iterrows())
    run.add_metrics_many(frame.assign(step=[3, 4]).itertuples(index=False))  # type: ignore[arg-type]
    assert logged(run, "loss") == [0.5, 0.25, 0.5, 0.25]


def test_metrics_without_names_are_refused(run: Run) -> None:
    nameless: list[Any] = [None, 5, "loss", ["loss"], {"loss"}, Bare(), np.array([1.0])]
    for metrics in nameless:
        print(repr(metrics))
        with pytest.raises(UnusableValueError, match="metrics must be a dict of names and values"):
            run.add_metrics(metrics)
        with pytest.raises(UnusableValueError, match="metrics must be a dict of names and values"):
            run.add_metrics_many([{"step": 1, "loss": 0.5}, metrics])
    assert run.client.execute("SELECT * FROM metrics").fetchall() == []


def test_times_that_numpy_itself_cannot_count_are_stored_as_numbers_of_their_units(run: Run) -> None:
    times: dict[Any, str] = {
        np.datetime64(2**63 - 1, "Y"): f"{2**63 - 1} years since 1970",
        np.datetime64(2**63 - 1, "W"): f"{2**63 - 1} weeks since 1970",
        np.datetime64(2**63 - 1, "D"): f"{2**63 - 1} days since 1970",
        np.datetime64(-(2**63) + 1, "D"): f"{-(2**63) + 1} days since 1970",
        np.datetime64(2**62, "100D"): f"{2**62 * 100} days since 1970",
        np.datetime64(2**63 - 1, "25s"): f"{(2**63 - 1) * 25} seconds since 1970",
        np.timedelta64(2**62, "100D"): f"{2**62 * 100} days",
        np.datetime64(10**13, "D"): "27379072039-11-20",
    }
    for step, time64 in enumerate(times):
        run.add_metrics({"time": time64}, step=step)
    assert [stored_value(run, "time", step) for step in range(len(times))] == list(times.values())
    run.add_metrics({"day": np.datetime64("2024-02-29"), "far": np.datetime64("9999-12-31")}, step=99)
    assert stored_value(run, "day", 99) == date(2024, 2, 29)
    assert stored_value(run, "far", 99) == date(9999, 12, 31)


# Steps and progress


def test_a_step_of_any_integral_type_is_one(run: Run) -> None:
    numbers: list[Callable[[int], Any]] = [
        *(float, np.int8, np.float32, np.array, lambda number: np.array([float(number)])),
        *(lambda number: Eager(float(number)), Decimal, Fraction, pa.scalar),
    ]
    for count, number in enumerate(numbers):
        step = number(count)
        run.add_metrics({"loss": 1.0}, step=step, progress=step)
        run.add_metrics_many([{"loss": 2.0, "step": step, "progress": step}])
        rows = run.client.execute("SELECT step, progress, loss FROM metrics ORDER BY step").fetchall()
        assert rows == [(n, float(n), 2.0) for n in range(count + 1)], repr(step)


def test_no_step_is_the_default(run: Run) -> None:
    """Frameworks pass None if they do not count."""
    run.add_metrics({"loss": 1.0}, step=None, progress=None)  # type: ignore[arg-type]
    run.add_metrics_many([{"loss": 2.0, "step": None}])
    assert run.client.execute("SELECT step, progress, loss FROM metrics").fetchall() == [(0, 0.0, 2.0)]


def test_a_step_has_up_to_64_bits(run: Run) -> None:
    for step in (2**63 - 1, -(2**63)):
        run.add_metrics({"loss": 1.0}, step=step)
        assert run.client.execute("SELECT loss FROM metrics WHERE step = %s", (step,)).fetchall() == [(1.0,)]
    for step in (2**63, -(2**63) - 1, 1e30, 10**5000, Decimal("1e50"), np.uint64(2**64 - 1)):
        with pytest.raises(UnusableValueError, match="step must be an integer of at most 64 bits"):
            run.add_metrics({"loss": 1.0}, step=step)  # type: ignore[arg-type]


NO_STEPS: list[Any] = [
    0.5,
    "1",
    "x",
    math.nan,
    math.inf,
    np.ma.masked,
    pd.NA,
    Decimal("0.5"),
    Decimal("sNaN"),
    1j,
    [3],
    Bare(),
    date(2024, 1, 2),
]


def test_a_step_that_is_no_integer_is_refused(run: Run) -> None:
    for step in NO_STEPS:
        print(repr(step))
        with pytest.raises(UnusableValueError, match="step must be an integer, got"):
            run.add_metrics({"loss": 1.0}, step=step)
        with pytest.raises(UnusableValueError, match="step must be an integer, got"):
            run.add_metrics_many([{"loss": 1.0, "step": step}])
    assert run.client.execute("SELECT * FROM metrics").fetchall() == []


class Half(enum.Enum):
    """An enumeration of numbers."""

    HALF = 0.5
    THREE = 3


class Word(enum.Enum):
    """An enumeration of texts."""

    TEN = "10"


class Raising:
    """An object that raises on any access."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __repr__(self) -> str:
        raise RuntimeError


NO_PROGRESS: list[Any] = [
    "x",
    math.nan,
    np.float32("nan"),
    np.ma.masked,
    pd.NA,
    Decimal("sNaN"),
    1j,
    np.complex64(1),
    10**400,
    Bare(),
    [0.5],
    *("0.5", " 5_0 ", "inf", "nan", np.str_("5"), b"5", np.array("5"), np.bytes_(b"5")),
    *(np.timedelta64(5, "ns"), np.timedelta64(5, "s"), np.timedelta64(5), np.datetime64(5, "ns")),
    *(pd.Timedelta(5, "ns"), pd.Timestamp(5, unit="ns"), datetime(2024, 1, 2), timedelta(seconds=5)),
    *(np.clongdouble(1 + 2j), np.clongdouble(1) / 3, complex(1, 0)),
    *(np.longdouble("1e4000"), -np.longdouble("1e4000"), Decimal("1e999"), Decimal("1e-999"), Fraction(10**400, 3)),
    *(
        2**53 + 1,
        Decimal(2**53 + 1),
        Fraction(2**53 + 1),
        np.int64(2**53 + 1),
        np.uint64(2**64 - 1),
        pa.scalar(2**53 + 1),
    ),
    *(Word.TEN, Raising(), [[[]]]),
]


def test_a_progress_that_is_no_number_is_refused(run: Run) -> None:
    for progress in NO_PROGRESS:
        print(type(progress))
        with pytest.raises(UnusableValueError, match="progress must be a number, got"):
            run.add_metrics({"loss": 1.0}, progress=progress)
        with pytest.raises(UnusableValueError, match="progress must be a number, got"):
            run.add_metrics_many([{"loss": 1.0, "progress": progress}])
    assert run.client.execute("SELECT * FROM metrics").fetchall() == []


def test_members_of_an_enumeration_of_numbers_are_their_numbers(run: Run) -> None:
    for member, number in ((Half.HALF, 0.5), (Half.THREE, 3)):
        run.set_args(None).add_metrics({"loss": 1.0}, progress=member)  # type: ignore[arg-type]
        found = run.client.execute("SELECT progress FROM metrics ORDER BY progress DESC").fetchone()
        assert found == (number,)
    run.add_metrics({"loss": 1.0}, step=Half.THREE)  # type: ignore[arg-type]
    assert run.client.execute("SELECT step FROM metrics ORDER BY step DESC").fetchone() == (3,)
    with pytest.raises(UnusableValueError, match="step must be an integer, got <Half.HALF: 0.5>"):
        run.add_metrics({"loss": 1.0}, step=Half.HALF)  # type: ignore[arg-type]


def test_a_progress_is_the_nearest_float(run: Run) -> None:
    for progress in (Fraction(1, 3), np.longdouble(1) / 3, Decimal(1) / 3):
        run.add_metrics({"loss": 1.0}, progress=progress)  # type: ignore[arg-type]
    assert run.client.execute("SELECT progress FROM metrics").fetchall() == [(1 / 3,)]
