"""Any value of a configuration becomes JSON that both databases accept and return."""

from __future__ import annotations

import argparse
import collections
import dataclasses
import enum
import functools
import json
import re
import sys
import threading
import types
import unittest.mock
from datetime import date, datetime, timezone
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from psycopg.types.json import Jsonb as PsycopgJsonb

import sqltrack
from sqltrack.engines.json import MAX_DEPTH, Jsonb, dumps, jsonb
from sqltrack.errors import UnusableValueError


class Color(enum.Enum):
    RED = "red"


class Size(enum.IntEnum):
    BIG = 3


@dataclasses.dataclass
class Optimizer:
    name: str
    betas: tuple[float, float] = (0.9, 0.999)


class Odd:
    def __str__(self) -> str:
        return "odd one"


class Eager:
    """A tensor as in TensorFlow."""

    def numpy(self) -> Any:
        return np.float32(0.5)


class Half:
    """A number that has no counterpart in Python, like bfloat16."""

    dtype = "half"

    def tolist(self) -> Half:
        return self

    def __float__(self) -> float:
        return 1.5


class OwnScalar:
    """A scalar of another library that is not a number and has no counterpart in Python."""

    dtype = "own"

    def tolist(self) -> OwnScalar:
        return self

    def __str__(self) -> str:
        return "own scalar"


LOOP: dict[str, Any] = {"a": 1}
LOOP["self"] = LOOP

VALUES = [
    ({"a": {"b": [1, 2.5, None, True, "x"]}}, {"a": {"b": [1, 2.5, None, True, "x"]}}),
    (PurePosixPath("/a/b"), "/a/b"),
    (datetime(2024, 1, 2, tzinfo=timezone.utc), "2024-01-02 00:00:00+00:00"),
    (date(2024, 1, 2), "2024-01-02"),
    (Color.RED, "red"),
    (Size.BIG, 3),
    (Optimizer("adam"), {"name": "adam", "betas": [0.9, 0.999]}),
    (argparse.Namespace(lr=0.1), {"lr": 0.1}),
    (types.SimpleNamespace(lr=0.1), {"lr": 0.1}),
    ({3, 1, 2}, [1, 2, 3]),
    (frozenset({"b", 1}), ["b", 1]),
    ((1, (2,)), [1, [2]]),
    (1 + 2j, "(1+2j)"),
    (b"\xff", "b'\\xff'"),
    (Decimal("1.10"), "1.10"),
    (Odd(), "odd one"),
    (float("nan"), "NaN"),
    ([float("inf"), float("-inf")], ["Infinity", "-Infinity"]),
    (10**30, 10**30),
    ("a\0b", "a\\x00b"),
    ("\udc80x", "\\udc80x"),
    (
        {1: "a", None: "b", False: "c", (1, 2): "d", "\0": "e"},
        {"1": "a", "false": "c", "null": "b", "(1, 2)": "d", "\\x00": "e"},
    ),
    (np.float32(0.5), 0.5),
    (np.int64(7), 7),
    (np.bool_(True), True),
    (np.longdouble(0.5), 0.5),
    (np.clongdouble(1 + 2j), "(1+2j)"),
    (np.array([1j], dtype=np.clongdouble), ["1j"]),
    (OwnScalar(), "own scalar"),
    (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
    (np.array(2.5), 2.5),
    (pd.NA, None),
    (pd.NaT, None),
    (np.datetime64("NaT"), None),
    (np.ma.masked, None),
    (np.ma.array([1.5, 2.5], mask=[False, True]), [1.5, None]),
    (np.datetime64("2024-01-02T03:04:05.000000006"), "2024-01-02 03:04:05.000000006+00:00"),
    (np.datetime64("2024-01-02T03:04:05", "ns"), "2024-01-02 03:04:05+00:00"),
    (np.datetime64("2024-01-02"), "2024-01-02"),
    (np.datetime64("12024-01-02"), "12024-01-02"),
    (np.timedelta64(90, "s"), "0:01:30"),
    (np.timedelta64(1500, "ns"), "1500 nanoseconds"),
    (np.timedelta64(2**60, "s"), "1152921504606846976 seconds"),
    (np.timedelta64(5, "M"), "5 months"),
    (np.array(["2024-01-02", "NaT"], "datetime64[ns]"), ["2024-01-02 00:00:00+00:00", None]),
    (
        np.array([(1, "2024-01-02")], [("n", "i4"), ("t", "datetime64[ns]")]),
        [[1, "2024-01-02 00:00:00+00:00"]],
    ),
    (np.longdouble("0.1"), "0.1"),
    (pd.Timedelta("90s"), "0:01:30"),
    (pd.Timedelta(6, "ns"), "0 days 00:00:00.000000006"),
    (pa.scalar(0.5), 0.5),
    (pa.array([1, None]), [1, None]),
    (Half(), 1.5),
    (Eager(), 0.5),
    (PsycopgJsonb({"a": [1]}), {"a": [1]}),
    (np.float32, "<class 'numpy.float32'>"),
    (collections.UserString("abc"), "abc"),
    (range(3), [0, 1, 2]),
    (range(10**9), "range(0, 1000000000)"),
    ({frozenset({1, 2}), frozenset({3})}, [[1, 2], [3]]),
    ({"b": 1}.keys(), ["b"]),
    (10**4000, hex(10**4000)),
    ({1: "a", "1": "b", None: "c", "null": "d"}, {"1 (int)": "a", "1": "b", "null (NoneType)": "c", "null": "d"}),
    (
        {(1, 2): "a", "(1, 2)": "b", "\0": "c", "\\x00": "d"},
        {"(1, 2) (tuple)": "a", "(1, 2)": "b", "\\x00 (str)": "c", "\\x00": "d"},
    ),
    (LOOP, {"a": 1, "self": "<dict that contains itself>"}),
    ("ü€😀", "ü€😀"),
]


@pytest.mark.parametrize(("value", "expected"), VALUES, ids=lambda value: type(value).__name__)
def test_a_value_becomes_json(value: Any, expected: Any) -> None:
    assert json.loads(dumps(value)) == expected


def test_values_come_back_from_the_database(client: sqltrack.Client) -> None:
    values = {str(number): value for number, (value, _) in enumerate(VALUES)}
    sqltrack.Experiment(client, name="json").get_run().add_extras(values)
    (stored,) = client.execute("SELECT extras FROM runs").fetchone()
    assert stored == {str(number): expected for number, (_, expected) in enumerate(VALUES)}


class Bare:
    pass


class Unreadable:
    """An object that cannot be read."""

    dtype = "broken"

    def __getattr__(self, name: str) -> Any:
        raise ValueError(name)

    def __repr__(self) -> str:
        raise ValueError("no text")

    def tolist(self) -> Any:
        raise ValueError("no list")


@dataclasses.dataclass
class HalfReadable:
    value: int = 1

    def __getattribute__(self, name: str) -> Any:
        if name == "value":
            raise ValueError(name)
        return super().__getattribute__(name)


def scale(value: float) -> float:
    return value


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: scale, f"{__name__}.scale"),
        (lambda: lambda x: x, f"{__name__}.<lambda>.<locals>.<lambda>"),
        (lambda: Size.BIG.bit_length, "Size.bit_length"),
        (lambda: np, "<module 'numpy'>"),
        (lambda: Bare(), f"<{__name__}.Bare object>"),
        (lambda: [Bare()], [f"<{__name__}.Bare object>"]),
        (lambda: {Bare(): 1}, {f"<{__name__}.Bare object>": 1}),
        (lambda: functools.lru_cache(scale), f"{__name__}.scale"),
        (lambda: threading.Lock(), "<unlocked _thread.lock object>"),
        (lambda: unittest.mock.MagicMock(), "<MagicMock id='…'>"),
        (lambda: (number for number in ()), None),
        (
            lambda: functools.partial(scale, 1, key=Bare()),
            {"func": f"{__name__}.scale", "args": [1], "keywords": {"key": f"<{__name__}.Bare object>"}},
        ),
        (lambda: Unreadable(), f"<{__name__}.Unreadable object>"),
    ],
)
def test_no_text_holds_an_address(make: Any, expected: Any) -> None:
    """Two equal objects are stored alike, so that equal runs look equal."""
    first, second = make(), make()
    assert dumps(first) == dumps(second)
    assert re.search(r"0x[0-9a-f]{6,}", dumps(first)) is None
    assert expected is None or json.loads(dumps(first)) == expected


def test_an_object_that_cannot_be_read_is_stored_by_its_class() -> None:
    assert json.loads(dumps(Unreadable())) == f"<{__name__}.Unreadable object>"
    assert json.loads(dumps(HalfReadable())) == f"<{__name__}.HalfReadable object>"


@pytest.mark.parametrize("number", [1e16, 1e23, -1e30, 1.5e300, sys.float_info.max, 1e-300, 5e-324, 2.0, 0.1, 2**70])
def test_numbers_come_back_as_they_were(client: sqltrack.Client, number: float) -> None:
    """A float without a fraction stays the same float, and texts that look like one do not change."""
    value = {"1e+23": [number, "1e+23", '\\"1e+23', number]}
    run = sqltrack.Experiment(client, name="numbers").get_run().add_args(value)
    run.add_metrics({"listed": [number], "nested": value}, step=1).add_metrics({"listed": {"a": number}}, step=2)
    ((args,),) = client.execute("SELECT args FROM runs").fetchall()
    ((listed, nested), (other, _)) = client.execute("SELECT listed, nested FROM metrics ORDER BY step").fetchall()
    for stored in (args["1e+23"][0], args["1e+23"][3], nested["1e+23"][0], listed[0], other["a"]):
        assert (type(stored), stored) == (type(number), number)
    assert args == value


@pytest.mark.parametrize("levels", [10, 199, 900, 5000])
def test_deep_nesting_ends_no_training(client: sqltrack.Client, levels: int) -> None:
    """200 levels are stored; deeper objects are replaced by a text with their type."""
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}
    run = sqltrack.Experiment(client, name="deep").get_run().add_args(value).add_metrics({"deep": value})
    for (stored,) in (
        client.execute("SELECT args FROM runs").fetchall() + client.execute("SELECT deep FROM metrics").fetchall()
    ):
        for _ in range(min(levels, MAX_DEPTH)):
            stored = stored["a"]
        assert stored == (1 if levels < MAX_DEPTH else f"<dict below {MAX_DEPTH} levels>")
    assert run.id == 1


def test_a_stack_without_room_is_an_error_of_ours() -> None:
    value: Any = 1
    for _ in range(100):
        value = [value]

    def descend() -> str:
        try:
            return descend()
        except RecursionError:
            return dumps(value)

    with pytest.raises(UnusableValueError, match="nested too deeply"):
        descend()


def test_jsonb_wraps_all_but_none() -> None:
    assert jsonb(None) is None
    wrapped = jsonb([1])
    assert isinstance(wrapped, Jsonb)
    assert wrapped.obj == [1]
    assert repr(wrapped) == "Jsonb([1])"
