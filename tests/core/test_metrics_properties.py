"""Any value under any name is read as it was logged, or refused before anything is stored."""

from __future__ import annotations

import math
import string
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import sqltrack
from sqltrack.errors import UnusableValueError
from support.metrics import RESERVED

pytestmark = pytest.mark.also_on("duckdb")

NAMES = st.one_of(
    st.text(max_size=80),
    st.text(alphabet=string.ascii_letters + "/@%()\"'", min_size=1, max_size=6),
    st.sampled_from([*RESERVED, "ctid", "loss", "Loss", "select", "x" * 63, "x" * 64]),
)
VALUES = st.one_of(
    st.floats(),
    st.integers(),
    st.integers(min_value=-5, max_value=5),
    st.booleans(),
    st.none(),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.datetimes(min_value=datetime(1900, 1, 1), timezones=st.just(timezone.utc)),
    st.timedeltas(min_value=timedelta(days=-1000), max_value=timedelta(days=1000)),
    st.lists(st.integers(), max_size=3),
)


def is_refused(metrics: dict[str, Any]) -> bool:
    return any(not name or "\0" in name or not _has_utf8(name) for name in metrics)


def _has_utf8(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def as_stored(value: Any) -> list[Any]:
    """Forms in which a value may be read: from its column, or as JSON from extras."""
    if isinstance(value, float) and not math.isfinite(value):
        return ["NaN"] if value != value else [value, "Infinity" if value > 0 else "-Infinity"]
    if isinstance(value, str):
        return [value, value.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()]
    return [value, str(value)]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=st.lists(st.dictionaries(NAMES, VALUES, max_size=6), min_size=1, max_size=4))
def test_logged_values_are_read_unchanged(run: sqltrack.Run, calls: list[dict[str, Any]]) -> None:
    """An error leaves no part of the call in the database."""
    client = run.client
    client.execute("DELETE FROM metrics")
    for step, metrics in enumerate(calls):
        if is_refused(metrics):
            try:
                run.add_metrics(metrics, step=step)
            except UnusableValueError:
                assert read(client, step) is None
                continue
            raise AssertionError(f"{metrics!r} was not refused")
        run.add_metrics(metrics, step=step)
        row = read(client, step)
        assert row is not None
        for name, value in metrics.items():
            in_extras = name in (row["extras"] or {}) if "extras" in row else False
            stored = row["extras"][name] if in_extras else row.get(name) if name not in RESERVED else None
            if isinstance(stored, float) and math.isnan(stored):
                stored = "NaN"
            if in_extras and isinstance(value, float) and isinstance(stored, int):
                # JSON has only numbers, and PostgreSQL writes floats without a fraction as integers.
                stored = float(stored)
            assert stored in as_stored(value), (name, value, stored)
            assert kind(stored) == kind(value) or in_extras or stored == "NaN"


def kind(value: Any) -> str:
    """Type of a value; integers and floats count as one, because a column of either keeps both."""
    return "number" if type(value) in (int, float) else type(value).__name__


def read(client: sqltrack.Client, step: int) -> dict[str, Any] | None:
    result = client.execute("SELECT * FROM metrics WHERE step = %s", (step,))
    row = result.fetchone()
    return None if row is None else dict(zip((column[0] for column in result.description or ()), row))
