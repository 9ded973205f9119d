"""Query results become polars data frames with the right types."""

from __future__ import annotations

import math
import sys
from datetime import date, datetime, timedelta, timezone
from typing import Any

import polars as pl
import pytest

import sqltrack
from sqltrack.errors import DatabaseError, MissingPackageError, NotSetUpError
from sqltrack.polars import query_polars

TIME = datetime(2024, 5, 7, 12, 30, 15, 123456, tzinfo=timezone(timedelta(hours=2)))
VALUES: dict[str, Any] = {
    "flag": True,
    "count": 3,
    "loss": math.nan,
    "name": "x",
    "day": date(2024, 5, 7),
    "raw": b"\x00\xff",
    "time": TIME,
    "took": timedelta(seconds=1.5),
    "info": {"a": [1]},
}
TYPES = {
    "flag": pl.Boolean(),
    "count": pl.Int64(),
    "loss": pl.Float64(),
    "name": pl.String(),
    "day": pl.Date(),
    "raw": pl.Binary(),
    "time": pl.Datetime("us", "UTC"),
    "took": pl.Duration("us"),
    "info": pl.Object(),
}
COLUMNS = ", ".join(f'"{name}"' for name in VALUES)


@pytest.fixture
def filled(run: sqltrack.Run) -> sqltrack.Client:
    """A client of a database with a row of values of all types, and a row of NULL."""
    run.add_metrics(VALUES, step=0)
    run.add_metrics({"other": 1}, step=1)
    return run.client


@pytest.mark.parametrize("chunk_rows", [1, 2, 500])
def test_values_have_the_types_of_polars(
    filled: sqltrack.Client, monkeypatch: pytest.MonkeyPatch, chunk_rows: int
) -> None:
    monkeypatch.setattr("sqltrack._frames.columns.CHUNK_ROWS", chunk_rows)
    frame = query_polars(filled, f"SELECT {COLUMNS} FROM metrics ORDER BY step")
    assert dict(frame.schema) == TYPES
    row = frame.row(0, named=True)
    assert math.isnan(row.pop("loss"))
    assert row == {name: value for name, value in VALUES.items() if name != "loss"}
    assert frame.row(1) == (None,) * len(VALUES)


def test_columns_without_values_have_the_types_that_they_are_declared_with(filled: sqltrack.Client) -> None:
    for step in (1, 2):
        frame = query_polars(filled, f"SELECT {COLUMNS} FROM metrics WHERE step = %s", (step,))
        assert dict(frame.schema) == TYPES
        assert frame.height == 2 - step


def test_nan_and_null_stay_distinct(run: sqltrack.Run) -> None:
    for step, loss in enumerate([0.5, math.nan, None, -math.inf]):
        run.add_metrics({"loss": loss}, step=step)
    losses = query_polars(run.client, "SELECT loss FROM metrics ORDER BY step")["loss"]
    assert losses.is_null().to_list() == [False, False, True, False]
    assert losses.is_nan().to_list() == [False, True, None, False]


def test_repeated_names_are_numbered_as_polars_does_it(client: sqltrack.Client) -> None:
    with client.cursor() as cursor:
        frame = query_polars(cursor, "SELECT 1 AS a, 2 AS a, 3 AS a_duplicated_0, 4 AS a")
    assert frame.to_dict(as_series=False) == {
        "a": [1],
        "a_duplicated_1": [2],
        "a_duplicated_0": [3],
        "a_duplicated_2": [4],
    }


def test_a_client_raises_our_errors(client: sqltrack.Client) -> None:
    with pytest.raises(DatabaseError, match="nonsense"):
        query_polars(client, "SELECT nonsense")
    client.execute("DROP TABLE run_links")
    with pytest.raises(NotSetUpError):
        query_polars(client, "SELECT * FROM run_links")


def test_without_polars_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "sqltrack.polars")
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'sqltrack-notebook\[polars\]'"):
        import sqltrack.polars  # noqa: F401
