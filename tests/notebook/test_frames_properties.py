"""Columns of data frames contain the values from the database, with one type, wherever chunks end."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sqltrack
from sqltrack.pandas import query_dataframe
from sqltrack.polars import query_polars
from support.frames import TEXT, use_chunks_of

TIME = datetime(2024, 5, 7, 12, 30, tzinfo=timezone.utc)
ODD_FLOATS = [None, None, None, math.nan, 0.5, math.inf, None, -math.inf, 1e308, 5e-324, -0.0, math.nan, None]

integers = st.integers(-(2**63), 2**63 - 1)
# Types that pandas stores as floats if some values are NULL.
small_integers = st.integers(-(2**53), 2**53)
floats = st.floats(allow_nan=False)
strings = st.text(st.characters(blacklist_categories=("Cs",))).filter(lambda text: text != "NaN")
times = st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)).map(lambda time: time.replace(tzinfo=timezone.utc))
intervals = st.timedeltas(timedelta(days=-10_000), timedelta(days=10_000))
kinds = {
    "boolean": st.booleans(),
    "integer": small_integers,
    "float": floats,
    "number": st.one_of(floats, st.just("NaN"), st.integers(-1000, 1000)),
    "text": st.one_of(strings, st.just("NaN")),
    "bytes": st.binary(),
    "timestamp": times,
    "interval": intervals,
}


class OneColumn:
    """A cursor of some driver, whose queries return one column with these values."""

    description = (("value", None, None, None, None, None, None),)

    def __init__(self, values: Sequence[Any]) -> None:
        self._rows = [(value,) for value in values]

    def execute(self, query: str) -> None:
        """Do nothing, because the result is set."""

    def fetchone(self) -> Any:
        raise AssertionError("rows are fetched in chunks")

    def fetchall(self) -> Any:
        raise AssertionError("rows are fetched in chunks")

    def fetchmany(self, size: int) -> list[Any]:
        rows, self._rows = self._rows[:size], self._rows[size:]
        return rows


def read(function: Callable[..., Any], values: Sequence[Any], chunk_rows: int) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        use_chunks_of(patch, chunk_rows)
        return function(OneColumn(values), "SELECT value")["value"]


PANDAS_TYPES = {
    None: "object",
    "boolean": "bool",
    "integer": "int64",
    "float": "float64",
    "text": TEXT,
    "bytes": "object",
    "timestamp": "datetime64[us, UTC]",
    "interval": "timedelta64[us]",
}
PANDAS_NULLABLE_TYPES = {**PANDAS_TYPES, "boolean": "boolean", "integer": "float64"}
POLARS_TYPES = {
    None: pl.Null(),
    "boolean": pl.Boolean(),
    "integer": pl.Int64(),
    "float": pl.Float64(),
    "text": pl.String(),
    "bytes": pl.Binary(),
    "timestamp": pl.Datetime("us", "UTC"),
    "interval": pl.Duration("us"),
}


def kind_of(kind: str, values: Sequence[Any]) -> str | None:
    """Return the type of a column without a declared type, from its values: None if there are none."""
    present = [value for value in values if value is not None]
    if not present:
        return None
    # Texts that are all NaN are SQLite's form of a metric with only NaN.
    if all(value == "NaN" for value in present):
        return "float"
    if kind == "number":
        return "integer" if all(type(value) is int for value in present) else "float"
    return kind


def comparable(values: Sequence[Any], *, as_numbers: bool) -> list[Any]:
    """Return values in a form that compares NaN as equal; `as_numbers`: convert texts that say NaN."""
    return ["NaN" if as_numbers and (value != value or value == "NaN") else value for value in values]


@st.composite
def columns(draw: st.DrawFn) -> tuple[str, list[Any], int]:
    """Return a kind, values of it with NULL in sequences as long as whole chunks, and the size of chunks."""
    kind = draw(st.sampled_from(sorted(kinds)))
    runs = draw(st.lists(st.one_of(st.lists(kinds[kind], max_size=7), st.integers(1, 5)), max_size=5))
    values = [value for run in runs for value in ([None] * run if isinstance(run, int) else run)]
    return kind, values, draw(st.integers(1, 8))


@given(columns())
def test_a_pandas_column_holds_the_values_and_has_the_type_of_their_kind(column: tuple[str, list[Any], int]) -> None:
    kind, values, chunk_rows = column
    series = read(query_dataframe, values, chunk_rows)
    types = PANDAS_NULLABLE_TYPES if None in values else PANDAS_TYPES
    assert str(series.dtype) == types[kind_of(kind, values)]
    assert series.isna().tolist() == [value is None or (series.dtype == float and value == "NaN") for value in values]
    as_numbers = series.dtype == float
    present = [value for value in values if value is not None and not (as_numbers and value == "NaN")]
    assert series.dropna().tolist() == present


@given(columns())
def test_a_polars_column_holds_the_values_and_has_the_type_of_their_kind(column: tuple[str, list[Any], int]) -> None:
    kind, values, chunk_rows = column
    series = read(query_polars, values, chunk_rows)
    assert series.dtype == POLARS_TYPES[kind_of(kind, values)]
    as_numbers = series.dtype == pl.Float64
    assert comparable(series.to_list(), as_numbers=as_numbers) == comparable(values, as_numbers=as_numbers)


@given(st.lists(st.one_of(st.none(), integers)), st.integers(1, 4))
def test_integers_of_64_bits_are_exact(values: list[int | None], chunk_rows: int) -> None:
    assert read(query_polars, values, chunk_rows).to_list() == values
    assert read(query_dataframe, values, chunk_rows).dropna().tolist() == [
        value for value in values if value is not None
    ]


@given(st.lists(st.sampled_from([None, 1, 0.5, "x", "NaN", b"x", True, TIME])), st.integers(1, 4))
def test_a_column_does_not_depend_on_where_chunks_end(values: list[Any], chunk_rows: int) -> None:
    whole, parts = (read(query_dataframe, values, rows) for rows in (len(values) + 1, chunk_rows))
    pd.testing.assert_series_equal(parts, whole)
    # 1, 1.0 and True are equal.
    assert list(map(type, parts)) == list(map(type, whole))
    whole, parts = (read(query_polars, values, rows) for rows in (len(values) + 1, chunk_rows))
    assert parts.dtype == whole.dtype
    as_numbers = whole.dtype == pl.Float64
    assert comparable(parts.to_list(), as_numbers=as_numbers) == comparable(whole.to_list(), as_numbers=as_numbers)


@pytest.mark.parametrize("storage", ["python", "pyarrow"])
@pytest.mark.parametrize("values", [[], [None, None, "x"], ["NaN", "x", "", "é\0", None]])
def test_texts_are_kept_as_pandas_is_told_to(storage: str, values: list[Any]) -> None:
    """pandas would make the same frame of the values, also with its option for the form of texts."""
    with pd.option_context("mode.string_storage", storage):
        expected = pd.Series(values, dtype=pd.Series(["x"]).dtype if values else object, name="value")
        for chunk_rows in (1, 2, 500):
            series = read(query_dataframe, values, chunk_rows)
            pd.testing.assert_series_equal(series, expected)
            assert getattr(series.dtype, "storage", None) == getattr(expected.dtype, "storage", None)


@pytest.mark.parametrize("chunk_rows", [1, 2, 5, 500])
def test_floats_of_a_metric_are_those_that_were_logged(
    run: sqltrack.Run, monkeypatch: pytest.MonkeyPatch, chunk_rows: int
) -> None:
    """NULL in all rows of the first chunks does not change the type, and NaN is not taken for NULL."""
    use_chunks_of(monkeypatch, chunk_rows)
    run.add_metrics({"loss": 1.0}, step=100)
    run.add_metrics_many({"step": step, "loss": loss} for step, loss in enumerate(ODD_FLOATS))
    query = "SELECT loss FROM metrics WHERE step < %s ORDER BY step"
    series = query_polars(run.client, query, (100,))["loss"]
    assert series.dtype == pl.Float64
    assert comparable(series.to_list(), as_numbers=True) == comparable(ODD_FLOATS, as_numbers=True)
    frame = query_dataframe(run.client, query, (100,))
    assert str(frame["loss"].dtype) == "float64"
    expected = [math.nan if loss is None else loss for loss in ODD_FLOATS]
    assert comparable(frame["loss"].tolist(), as_numbers=True) == comparable(expected, as_numbers=True)


@pytest.mark.parametrize("chunk_rows", [1, 2, 500])
def test_integers_are_exact_in_a_sqlite_column_that_is_declared_for_floats(
    sqlite_client: sqltrack.Client, monkeypatch: pytest.MonkeyPatch, chunk_rows: int
) -> None:
    """In a UNION only the first SELECT has types that SQLite knows."""
    use_chunks_of(monkeypatch, chunk_rows)
    sqlite_client.execute("CREATE TABLE losses (loss REAL)")
    sqlite_client.execute("INSERT INTO losses VALUES (0.5)")
    query = f"SELECT loss FROM losses UNION ALL SELECT {2**62 + 1} UNION ALL SELECT 'x'"
    assert query_dataframe(sqlite_client, query)["loss"].tolist() == [0.5, 2**62 + 1, "x"]


def test_numeric_is_float_in_frames_of_postgresql(
    postgres_config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    use_chunks_of(monkeypatch, 2)
    query = (
        "SELECT value::numeric FROM (VALUES (1, NULL), (2, '0.1'), (3, 'NaN'), (4, '1e300')) AS v (n, value) ORDER BY n"
    )
    series = query_polars(sqltrack.Client(postgres_config), query)["value"]
    assert comparable(series.to_list(), as_numbers=True) == [None, 0.1, "NaN", 1e300]
