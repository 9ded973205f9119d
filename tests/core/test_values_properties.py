"""Any object is stored exactly, in its documented form, or as missing: as a metric, an argument and a variable."""

from __future__ import annotations

import collections
import enum
import math
import types
import uuid
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import sqltrack
from sqltrack.errors import NaiveDatetimeError, UnusableValueError

UNITS = ("Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns", "ps", "fs", "as")
INT64 = st.integers(-(2**63) + 1, 2**63 - 1)


class Raising:
    """An object whose special methods raise or return nonsense, as hypothesis chooses."""

    def __init__(self, outcomes: dict[str, Any]) -> None:
        self.__dict__["outcomes"] = outcomes


def _special(name: str) -> Any:
    def method(self: Any, *arguments: Any) -> Any:
        outcome = self.outcomes[name]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return method


SPECIAL = (
    *("__float__", "__index__", "__int__", "__str__", "__repr__", "__eq__", "__iter__", "__len__", "__getitem__"),
    *("item", "tolist", "numpy", "as_py", "keys", "items", "model_dump", "_asdict", "dtype", "__array__"),
)
OUTCOMES = st.one_of(
    st.sampled_from([ValueError("x"), TypeError("x"), OverflowError(), KeyError("x"), AttributeError("x")]),
    st.sampled_from([None, 0.5, 3, "text", [1, 2], math.nan, float, NotImplemented]),
)


@st.composite
def hostile(draw: Any) -> Any:
    names = draw(st.sets(st.sampled_from(SPECIAL), max_size=6))
    members: dict[str, Any] = {name: _special(name) for name in names}
    if "__eq__" in names:
        members["__hash__"] = object.__hash__
    return type("Hostile", (Raising,), members)({name: draw(OUTCOMES) for name in names})


TIMES = st.one_of(
    st.tuples(INT64, st.sampled_from(UNITS)).map(lambda pair: np.datetime64(*pair)),
    st.tuples(INT64, st.sampled_from(UNITS)).map(lambda pair: np.timedelta64(*pair)),
    st.integers(-(2**40), 2**40).map(lambda number: np.datetime64(number * 1000, "ns")),
    st.integers(-(2**40), 2**40).map(lambda number: np.timedelta64(number * 1000, "ns")),
    st.integers(-(2**60), 2**60).map(lambda number: pd.Timestamp(number, unit="ns", tz="UTC")),
    st.integers(-(2**60), 2**60).map(lambda number: pd.Timedelta(number, unit="ns")),
    st.datetimes(
        timezones=st.sampled_from([timezone.utc, timezone(timedelta(hours=14)), timezone(-timedelta(hours=11))])
    ),
    st.timedeltas(),
    st.dates(),
)
NUMBERS = st.one_of(
    st.integers(),
    st.integers(-(2**80), 2**80),
    st.floats(),
    st.booleans(),
    st.floats(width=32).map(np.float32),
    st.floats(width=16).map(np.float16),
    st.floats(allow_nan=False).map(lambda number: np.longdouble(number) / 3),
    st.integers(0, 2**64 - 1).map(np.uint64),
    st.integers(0, 2**64 - 1).map(lambda number: np.array(number, dtype=np.uint64)),
    st.fractions(),
    st.decimals(),
    st.floats().map(lambda number: pa.scalar(number)),
    st.floats().map(lambda number: enum.Enum("Of", {"A": number}).A),
)
MISSING = st.sampled_from([None, pd.NA, pd.NaT, np.datetime64("NaT"), np.timedelta64("NaT", "s"), np.ma.masked])


def exact(value: Any) -> Any:
    """Return a number as a Fraction, a time as a Fraction of nanoseconds, missing as None, other values unchanged."""
    if value is None or value is pd.NA or value is pd.NaT or value is np.ma.masked:
        return None
    if isinstance(value, np.ndarray) and value.ndim == 0:
        return exact(value[()])
    if isinstance(value, (np.datetime64, np.timedelta64)):
        return None if np.isnat(value) else value
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, Decimal) and not value.is_finite():
        return "NaN" if value.is_nan() else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, (float, np.floating)) and not math.isfinite(value):
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, np.longdouble):
        return Fraction(*value.as_integer_ratio())
    if isinstance(value, (int, float, Decimal, Fraction, np.integer, np.floating)):
        return Fraction(value.item() if isinstance(value, np.generic) else value)
    return value


def is_exact(value: Any, stored: Any) -> bool:
    """Return whether a stored value is exact, or the documented form."""
    if isinstance(value, (enum.Enum, pa.Scalar)):
        return is_exact(value.value if isinstance(value, enum.Enum) else value.as_py(), stored)
    known = exact(value)
    if known is None or stored is None:
        return known is None and stored is None
    if isinstance(known, pd.Timedelta) and not known.nanoseconds:
        known = known.to_pytimedelta()
    if isinstance(known, np.datetime64):
        return _is_time(known, stored)
    if isinstance(known, np.timedelta64):
        fine = np.datetime_data(known.dtype)[0] in ("ns", "ps", "fs", "as")
        duration = known.astype("timedelta64[us]").item() if fine else known.item()
        if fine and np.timedelta64(duration, "us") != known:
            return bool(stored == str(known))
        return stored in (duration, str(duration), str(known))
    if isinstance(known, Fraction) and isinstance(stored, str):
        # Text of the number: of a decimal or fraction exactly, of a longdouble the shortest text that identifies it.
        if isinstance(value, np.longdouble):
            return bool(np.longdouble(stored) == value)
        return Fraction(stored) == known if not stored.lstrip("-").startswith("0x") else int(stored, 16) == known
    if isinstance(known, Fraction) and isinstance(value, (float, np.floating)) and isinstance(stored, int):
        # PostgreSQL's JSON writes floats without a fraction as integers.
        return Fraction(float(stored)) == known
    if isinstance(value, Decimal) and value.is_nan():
        return exact(stored) in ("NaN", str(value))
    if isinstance(known, (Fraction, bool, str)):
        return exact(stored) == known
    return stored in (known, str(known))


# Units of datetimes that are too far away for numpy to write them.
_COUNTED = {"Y": "years", "M": "months", "W": "weeks", "D": "days"}


def _is_time(known: np.datetime64, stored: Any) -> bool:
    if isinstance(stored, datetime):
        return bool(np.datetime64(stored.astimezone(timezone.utc).replace(tzinfo=None), "us") == known)
    if isinstance(stored, date):
        return bool(np.datetime64(stored, "D") == known)
    text = str(known).replace("T", " ")
    whole = known.item()
    counted = f"{known.astype('int64')} {_COUNTED.get(np.datetime_data(known.dtype)[0])} since 1970"
    forms = {text, f"{text}+00:00", str(whole), f"{whole}+00:00", counted}
    rounded = known.astype("datetime64[us]")
    if rounded == known:
        forms.add(f"{rounded.item()}+00:00")
    return stored in forms


@pytest.fixture
def run(run: sqltrack.Run) -> sqltrack.Run:
    run.add_metrics({"of_floats": 0.5, "of_integers": 1, "of_texts": "a", "of_times": datetime.now(timezone.utc)})
    return run


NAMES = ("of_floats", "of_integers", "of_texts", "of_times", "new")
RELAXED = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


def stored_metric(run: sqltrack.Run, name: str) -> Any:
    """Return the value that a query finds: in the column, or else in extras."""
    cursor = run.client.execute("SELECT * FROM metrics WHERE step = 1")
    row = dict(zip((column[0] for column in cursor.description or ()), cursor.fetchone()))
    value = row.get(name)
    return (row.get("extras") or {}).get(name) if value is None else value


@RELAXED
@example(value=np.datetime64(2**60, "M"), name="of_floats")
@example(value=np.datetime64(-(2**61), "W"), name="new")
@given(value=st.one_of(NUMBERS, TIMES, MISSING), name=st.sampled_from(NAMES))
def test_a_number_or_time_is_never_altered(run: sqltrack.Run, value: Any, name: str) -> None:
    """As a metric in any column, as an argument and as an environment value."""
    with run.client:
        run.add_metrics({name: value, "of_pairs": [value, value]}, step=1)
        run.set_args({"value": value, "in": {"list": (value,)}}).set_env({"VALUE": value})
    stored = stored_metric(run, name)
    assert is_exact(value, stored), (value, stored)
    (first, second) = stored_metric(run, "of_pairs")
    args, env = run.client.execute("SELECT args, env FROM runs").fetchone()
    for found in (first, second, args["value"], args["in"]["list"][0], env["VALUE"]):
        assert is_exact(value, found), (value, found)


OBJECTS = st.recursive(
    st.one_of(
        NUMBERS,
        TIMES,
        MISSING,
        st.text(max_size=5),
        st.binary(max_size=5),
        st.uuids(),
        st.times(),
        st.ip_addresses(),
        st.complex_numbers(),
        st.functions(),
        st.builds(object),
        st.builds(uuid.uuid1),
        st.sampled_from([np.float32, types, len, int, time, ..., NotImplemented, pd.DataFrame({"a": [1]})]),
        hostile(),
    ),
    lambda children: st.one_of(
        st.lists(children, max_size=3),
        st.tuples(children),
        st.dictionaries(
            st.one_of(st.text(max_size=3), st.integers(0, 3), st.none(), st.booleans()), children, max_size=3
        ),
        st.lists(children, max_size=3).map(lambda items: pd.Series(items, dtype=object)),
        st.lists(children, max_size=3).map(collections.deque),
        children.map(lambda child: types.SimpleNamespace(a=child)),
    ),
    max_leaves=6,
)


@RELAXED
@given(value=OBJECTS, key=st.one_of(st.text(max_size=3), st.integers(), hostile()))
def test_no_object_is_more_than_we_can_take(run: sqltrack.Run, value: Any, key: Any) -> None:
    """Any object is stored, and so are the metrics next to it, and only our errors are raised."""
    run.add_metrics({"of_floats": 0.25, "new": value}, step=1)
    assert stored_metric(run, "of_floats") == 0.25
    run.set_args({"value": value, "lr": 0.5, key: 1}).set_env({"VALUE": value, "HOME": "/"}).set_extras({"x": value})
    args, env, extras = run.client.execute("SELECT args, env, extras FROM runs").fetchone()
    assert args["lr"] == 0.5 or key == "lr"
    assert args.get("value") == env["VALUE"] == extras["x"] or key == "value"
    assert len(args) == 3 or key in ("value", "lr")
    for use in (
        lambda: run.add_metrics({"loss": 1.0}, step=value),
        lambda: run.add_metrics({"loss": 1.0}, progress=value),
        lambda: run.add_metrics(value),
        lambda: run.add_metrics_many([value]),
        lambda: run.set_comment(value),
        lambda: run.add_link("kind", value),
    ):
        try:
            use()
        except (UnusableValueError, NaiveDatetimeError, sqltrack.errors.MissingRunError):
            continue
