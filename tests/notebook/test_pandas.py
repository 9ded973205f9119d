"""Query results become data frames with the right types."""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone
from typing import Any

import pandas as pd
import pytest

import sqltrack
from sqltrack.notebook import format_float
from sqltrack.pandas import query_dataframe

TIME = datetime(2024, 5, 7, 12, 30, 15, 123456, tzinfo=timezone(timedelta(hours=2)))


def test_the_document_s_query_returns_its_table(run: sqltrack.Run) -> None:
    for epoch in range(90):
        run.add_metrics({"loss": 7 ** (1 / (epoch + 1))}, step=epoch)
    frame = query_dataframe(run.client, "SELECT * FROM metrics")
    assert list(frame.columns) == ["run_id", "step", "progress", "loss"]
    assert frame.shape == (90, 4)
    assert [dtype.kind for dtype in frame.dtypes] == ["i", "i", "f", "f"]


def test_values_have_the_types_of_pandas(run: sqltrack.Run) -> None:
    values: dict[str, Any] = {"time": TIME, "took": timedelta(seconds=1.5), "loss": math.nan, "info": {"a": 1}}
    run.add_metrics(values, step=0)
    run.add_metrics({"loss": 0.5, "name": "x"}, step=1)
    with run.client.cursor() as cursor:
        frame = query_dataframe(cursor, "SELECT * FROM metrics WHERE run_id = %s ORDER BY step", (run.id,))
    assert str(frame["time"].dtype).endswith("UTC]")
    assert frame["time"][0] == pd.Timestamp(TIME)
    assert frame["took"].dtype.kind == "m"
    assert frame["loss"].dtype.kind == "f"
    assert math.isnan(frame["loss"][0])
    assert frame["info"][0] == {"a": 1}
    assert frame["name"][1] == "x"


def test_an_empty_result_has_its_columns_and_names_may_repeat(client: sqltrack.Client) -> None:
    assert list(query_dataframe(client, "SELECT id, id, name FROM experiments").columns) == ["id", "id", "name"]


@pytest.mark.parametrize(
    ("value", "text"), [(1.005, "1.00"), (None, "--"), (math.nan, "--"), (math.inf, "inf"), (3, "3.00")]
)
def test_numbers_are_formatted(value: Any, text: str) -> None:
    assert format_float(value) == text


def test_replacements_are_escaped() -> None:
    assert format_float(None, na_rep="<none>") == "&lt;none&gt;"
