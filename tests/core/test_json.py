"""Anything that a configuration can hold becomes JSON that both databases accept, and comes back from them."""

from __future__ import annotations

import argparse
import dataclasses
import enum
import json
import types
from datetime import date, datetime, timezone
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pytest

import sqltrack
from sqltrack.engines.json import Jsonb, dumps, jsonb


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


class OwnScalar:
    """A scalar of another library, of which Python has no counterpart, and that is no number."""

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


def test_jsonb_wraps_all_but_none() -> None:
    assert jsonb(None) is None
    wrapped = jsonb([1])
    assert isinstance(wrapped, Jsonb)
    assert wrapped.obj == [1]
    assert repr(wrapped) == "Jsonb([1])"
